//! The worker protocol: requests on one pipe, answers on the other.

use crate::tensors::write;
use crate::timing::{Clock, Loop, measure};
use crate::{Engine, Entry, Error, Exchange, Program, Result, Setup, Step, Tensors, failed};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::FromRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

const VERSION: u64 = 1;
/// Longest line in bytes, its newline included.
const LIMIT: u64 = 1 << 20;
/// Versions, the hash of Cargo.lock and the compiler. `inferena setup` gives them to the build.
const BUILD: Option<&str> = option_env!("INFERENA_BUILD");
/// Words by which Vulkan, CUDA and wgpu say that a device's memory did not suffice. Frameworks panic with them.
const NO_ROOM: [&str; 4] = ["OUT_OF_DEVICE_MEMORY", "OUT_OF_HOST_MEMORY", "OUT_OF_MEMORY", "OutOfMemory"];
/// Large, because walks over deep graphs, such as an autograd's, are recursive.
const STACK: usize = 1 << 28;

/// Serve one engine until the requests end.
pub fn main<E: Engine>() -> std::process::ExitCode {
    let serving = std::thread::Builder::new().stack_size(STACK).spawn(serve::<E>);
    match serving.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => std::process::ExitCode::SUCCESS,
        other => {
            eprintln!(
                "{}: {:?}",
                E::NAME,
                other.map(|joined| joined.map(|served| served.map_err(|error| format!("{error:?}"))))
            );
            std::process::ExitCode::FAILURE
        }
    }
}

fn serve<E: Engine>() -> Result<()> {
    let (mut requests, mut answers) = (BufReader::new(pipe("INFERENA_READ_FD")?), pipe("INFERENA_WRITE_FD")?);
    let mut server = Server::<E> { engine: None, entries: HashMap::new(), steps: HashMap::new(), done: false };
    while !server.done {
        let mut line = Vec::new();
        if requests.by_ref().take(LIMIT + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() as u64 > LIMIT && !line.ends_with(b"\n") {
            requests.skip_until(b'\n')?;
        }
        let mut answer = server.answer(&line).to_string();
        answer.push('\n');
        answers.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// One end of a pipe that the harness opened. Processes that the engine starts do not inherit it.
fn pipe(variable: &str) -> Result<File> {
    let Some(number) = std::env::var(variable).ok().and_then(|text| text.parse().ok()) else {
        return failed(format!("{variable} is not set: this program is started by pytest-inferena"));
    };
    // SAFETY: the harness gives each of the two descriptors to this process, and each is taken once.
    unsafe {
        libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
        Ok(File::from_raw_fd(number))
    }
}

/// The requests, with their fields.
#[derive(Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Hello {
        protocol: u64,
        backend: String,
        device: String,
        threads: usize,
        scratch: PathBuf,
        exchange: Option<PathBuf>,
    },
    Load {
        program: PathBuf,
        entries: Vec<String>,
    },
    Compile {
        entry: String,
    },
    Measure {
        entry: String,
        r#loop: Loop,
    },
    Outputs {
        entry: String,
        file: PathBuf,
    },
    Quit {},
}

struct Server<E: Engine> {
    engine: Option<E>,
    entries: HashMap<String, Entry>,
    steps: HashMap<String, Box<dyn Step>>,
    done: bool,
}

impl<E: Engine> Server<E> {
    /// The answer to one line. Whatever goes wrong is an answer too, a panic of the engine included.
    fn answer(&mut self, line: &[u8]) -> Value {
        let answer = catch_unwind(AssertUnwindSafe(|| self.handle(line))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            failed(format!("panic: {}", text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_default()))
        });
        let (kind, message) = match answer {
            Ok(mut fields) => {
                fields["ok"] = true.into();
                return fields;
            }
            Err(Error::Unsupported(message)) => ("unsupported", format!("{message} (engine {})", E::NAME)),
            Err(Error::Memory(message)) => ("oom", message),
            Err(Error::Failed(message)) if NO_ROOM.iter().any(|words| message.contains(words)) => ("oom", message),
            Err(Error::Failed(message)) => ("error", message),
        };
        json!({"ok": false, "kind": kind, "message": message.chars().take(2000).collect::<String>()})
    }

    fn handle(&mut self, line: &[u8]) -> Result<Value> {
        if line.len() as u64 > LIMIT {
            return failed(format!("a line over {LIMIT} bytes"));
        }
        let message = serde_json::from_slice(line).or_else(|error| failed(format!("not JSON: {error}")))?;
        let Value::Object(fields) = message else { return failed("not a JSON object") };
        match Request::deserialize(Value::Object(fields))? {
            Request::Hello { protocol, .. } if protocol != VERSION => {
                failed(format!("version {protocol} was asked for, this worker speaks {VERSION}"))
            }
            Request::Hello { backend, device, threads, scratch, exchange, .. } => {
                let exchange = Exchange::new(E::NAME, exchange);
                let engine = self.engine.insert(E::start(&Setup { backend, device, threads, scratch, exchange })?);
                let versions: Value = serde_json::from_str(BUILD.unwrap_or("{}"))?;
                let operators: Value = serde_json::from_str(E::OPERATORS.unwrap_or("null"))?;
                let ran = engine.describe();
                Ok(json!({"protocol": VERSION, "versions": versions, "ran": ran, "operators": operators}))
            }
            Request::Load { program, entries } => self.load(&program, entries),
            Request::Compile { entry } => self.compile(entry),
            Request::Measure { entry, r#loop } => {
                let step = self.compiled(&entry)?;
                Ok(serde_json::to_value(measure(&mut Running { step, start: Instant::now() }, &r#loop)?)?)
            }
            Request::Outputs { entry, file } => {
                write(&file, &self.compiled(&entry)?.outputs()?)?;
                Ok(json!({}))
            }
            Request::Quit {} => {
                self.done = true;
                Ok(json!({}))
            }
        }
    }

    fn load(&mut self, folder: &Path, entries: Vec<String>) -> Result<Value> {
        let engine = started(&mut self.engine)?;
        let program = Program::read(folder)?;
        let entries = entries.into_iter().map(|name| Ok((name.clone(), Entry::read(&program, &name)?)));
        let entries = entries.collect::<Result<_>>()?;
        let start = Instant::now();
        engine.load(&program, &Tensors::open(&folder.join("weights.safetensors"))?)?;
        let ns = nanoseconds(start);
        self.steps.clear();
        self.entries = entries;
        Ok(json!({"ns": ns}))
    }

    fn compile(&mut self, name: String) -> Result<Value> {
        let engine = started(&mut self.engine)?;
        let Some(entry) = self.entries.get(&name) else { return failed(format!("entry {name:?} is not loaded")) };
        if let Some(table) = E::OPERATORS {
            entry.check(&serde_json::from_str(table)?)?;
        }
        let start = Instant::now();
        let mut step = engine.compile(entry)?;
        step.run()?;
        step.synchronize()?;
        let ns = nanoseconds(start);
        self.steps.insert(name, step);
        Ok(json!({"ns": ns, "ran": engine.describe()}))
    }

    fn compiled(&mut self, entry: &str) -> Result<&mut dyn Step> {
        match self.steps.get_mut(entry) {
            Some(step) => Ok(step.as_mut()),
            None => failed(format!("entry {entry:?} is not compiled")),
        }
    }
}

fn started<E: Engine>(engine: &mut Option<E>) -> Result<&mut E> {
    engine.as_mut().ok_or_else(|| Error::Failed("'hello' comes first".into()))
}

fn nanoseconds(start: Instant) -> u64 {
    (start.elapsed().as_nanos() as u64).max(1)
}

/// A step, as the timing loop sees it.
struct Running<'a> {
    step: &'a mut dyn Step,
    start: Instant,
}

impl Clock for Running<'_> {
    fn now(&mut self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn cpu(&mut self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call fills the structure that it is given.
        unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    fn steps(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.step.run()?;
        }
        self.step.synchronize()
    }
}

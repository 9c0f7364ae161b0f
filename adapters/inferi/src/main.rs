//! Inferi: a Llama of its kernels. It takes a token at a time, with a cache of keys and values, as Inferi's own model
//! does.
//!
//! Elsewhere, shaders are compiled from Rust; khal's CPU backend runs that Rust itself. Inferi's own `Llama2` panics
//! there: its rotary kernel runs whole groups of 64 threads. Where half a vector is no multiple of 64, the last group
//! goes beyond the vector's end, which a GPU ignores. So Inferi's sequence of kernels
//! (`models/llama2/transformer.rs`) is repeated here, on vectors with room behind them.

mod model;
mod session;

use inferena_worker::{Data, Engine, Entry, Exchange, Program, Result, Setup, Step, Tensors, failed, unsupported};
use model::Model;
use session::Session;
use std::rc::Rc;

/// As many positions as its kernel for attention has room for.
const POSITIONS: usize = 2048;
/// And as wide a head.
const HEAD: u32 = 128;

struct Inferi {
    exchange: Exchange,
    threads: usize,
    model: Option<Rc<Model>>,
}

impl Engine for Inferi {
    const NAME: &'static str = "inferi";
    const OPERATORS: Option<&'static str> = None; // it runs an exchange file

    fn start(setup: &Setup) -> Result<Self> {
        Ok(Self { exchange: setup.exchange.clone(), threads: setup.threads, model: None })
    }

    fn describe(&self) -> String {
        format!("Inferi's shaders as Rust on CPU, none compiled for a GPU, {} threads", self.threads)
    }

    fn load(&mut self, _: &Program, weights: &Tensors) -> Result<()> {
        let file = self.exchange.folder()?.join("llama.json");
        self.model = if file.exists() {
            Some(Rc::new(Model::new(serde_json::from_slice(&std::fs::read(file)?)?, weights)?))
        } else {
            None
        };
        Ok(())
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        self.exchange.entry(&entry.name)?;
        let (Some(model), [(_, tokens)]) = (&self.model, &entry.inputs[..]) else {
            return failed("'load' comes first, with what was prepared for this Program");
        };
        let Data::Int64(ids) = &tokens.data else { return unsupported("tokens that are no integers") };
        let length = tokens.shape[1];
        if length > POSITIONS || model.sizes.head_width > HEAD {
            return unsupported(format!("over {POSITIONS} positions, or a head over {HEAD}, in Inferi's attention"));
        }
        let name = entry.outputs.keys().next().cloned().unwrap_or_default();
        Ok(Box::new(Session::new(Rc::clone(model), ids.clone(), length, name)?))
    }
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Inferi>()
}

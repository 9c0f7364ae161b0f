//! What every engine in Rust shares: the worker protocol, the timing loop, and the Program as data.
//!
//! `docs/worker-protocol.md` and `docs/program-format.md` specify them. An engine that takes a graph or a file
//! implements [`Engine`] itself. For an engine that computes as it goes, the crate beside this one does so:
//! `inferena-walker`.

mod exchange;
mod program;
mod server;
mod tensors;
pub mod timing;

pub use exchange::Exchange;
pub use program::{Binary, Compare, Entry, MEAN, Node, Op, Program, Reduce, Spec, Unary, lacking};
pub use server::main;
pub use tensors::{Array, Data, Dtype, Tensors};

use std::path::PathBuf;

/// What can go wrong, by the kinds of the protocol. An engine's own errors become `Failed`.
#[derive(Debug)]
pub enum Error {
    /// The engine lacks something; the message says what.
    Unsupported(String),
    /// Memory did not suffice.
    Memory(String),
    /// Anything else.
    Failed(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// An error of kind `unsupported`.
pub fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Unsupported(what.into()))
}

/// An error of kind `error`.
pub fn failed<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Failed(what.into()))
}

/// What `hello` asks for.
pub struct Setup {
    pub backend: String,
    pub device: String,
    pub threads: usize,
    /// An empty folder for caches.
    pub scratch: PathBuf,
    /// For an engine that runs files which were prepared for it.
    pub exchange: Exchange,
}

/// One engine on one device.
pub trait Engine: Sized + 'static {
    /// Its name in adapter.toml.
    const NAME: &'static str;
    /// The operators that it has, as the JSON of `operators` in docs/worker-protocol.md: a name maps to its conditions.
    /// The preparer writes all others with these. `None` asks for the Program as it is.
    const OPERATORS: Option<&'static str>;

    fn start(setup: &Setup) -> Result<Self>;

    /// What really runs, as the engine tells it: platform, device, instruction sets.
    fn describe(&self) -> String;

    /// Bring the parameters into the engine's memory.
    fn load(&mut self, program: &Program, weights: &Tensors) -> Result<()>;

    /// Make an entry ready. Whatever optimises or generates code is part of it.
    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>>;
}

/// An entry that is ready.
pub trait Step {
    fn run(&mut self) -> Result<()>;

    /// Wait until the results of all steps so far are there.
    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    /// Results of the last step by name. Those of `training` and `joint` are `loss` and `grad:PARAMETER`.
    fn outputs(&self) -> Result<Vec<(String, Array)>>;
}

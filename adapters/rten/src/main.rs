//! rten: the Program as ONNX. rten's own optimiser fuses it, and packs the weights when it loads the model.

use inferena_worker::{
    Array, Data, Dtype, Engine, Entry, Error, Exchange, Program, Result, Setup, Step, Tensors, unsupported,
};
use rten::{LoadError, LoadErrorKind, Model, ModelOptions, NodeId, RunError, RunErrorKind, RunOptions, ThreadPool};
use rten::{Value, ValueOrView};
use rten_gemm::GemmExecutor;
use rten_tensor::Tensor;
use rten_tensor::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

struct Rten {
    exchange: Exchange,
    weights: PathBuf,
    threads: usize,
    pool: Arc<ThreadPool>,
}

impl Engine for Rten {
    const NAME: &'static str = "rten";
    const OPERATORS: Option<&'static str> = None; // it runs an exchange file

    fn start(setup: &Setup) -> Result<Self> {
        let pool = Arc::new(ThreadPool::with_num_threads(setup.threads));
        Ok(Self { exchange: setup.exchange.clone(), weights: PathBuf::new(), threads: setup.threads, pool })
    }

    fn describe(&self) -> String {
        let kernel = GemmExecutor::<f32>::default();
        format!("rten on CPU, {} kernels, {} threads", kernel.kernel_name(), self.threads)
    }

    /// Compiling reads the weights and packs them, so that there is no load apart from it.
    fn load(&mut self, program: &Program, _: &Tensors) -> Result<()> {
        self.weights = program.folder.join("weights.safetensors");
        Ok(())
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        let options = ModelOptions::with_all_ops().prepack_weights(true).clone();
        let file = self.exchange.entry(&entry.name)?.join(format!("{}.onnx", entry.name));
        // SAFETY: the harness writes these files whole before it names them, and nobody changes them after.
        let model = unsafe { options.load_mmap(file) }.or_else(refused)?;
        let mut inputs = Vec::new();
        for (name, array) in &entry.inputs {
            inputs.push((model.node_id(name)?, value(array.clone())?));
        }
        let weights = Tensors::open(&self.weights)?;
        for name in &entry.parameters {
            // A training step has parameters as inputs, which are free to change between steps.
            if let Some(id) = model.find_node(name).filter(|id| model.input_ids().contains(id)) {
                inputs.push((id, value(weights.get(name)?)?));
            }
        }
        let (mut outputs, mut kinds) = (Vec::new(), Vec::new());
        for (name, tensor) in &entry.outputs {
            outputs.push(model.node_id(name)?);
            kinds.push((name.clone(), entry.dtype(tensor)?));
        }
        Ok(Box::new(Session { model, pool: Arc::clone(&self.pool), inputs, outputs, kinds, results: Vec::new() }))
    }
}

struct Session {
    model: Model,
    pool: Arc<ThreadPool>,
    inputs: Vec<(NodeId, Value)>,
    outputs: Vec<NodeId>,
    /// The outputs' names, and their dtypes in the Program.
    kinds: Vec<(String, Dtype)>,
    results: Vec<Value>,
}

impl Step for Session {
    fn run(&mut self) -> Result<()> {
        self.results.clear();
        let inputs = self.inputs.iter().map(|(id, value)| (*id, ValueOrView::from(value))).collect();
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(&self.pool));
        self.results = self.model.run(inputs, &self.outputs, Some(options)).or_else(stopped)?;
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, Array)>> {
        let results = self.kinds.iter().zip(&self.results);
        results.map(|((name, dtype), value)| Ok((name.clone(), array(value, *dtype)?))).collect()
    }
}

/// An input as rten holds it. Its integers have 32 bits, and its booleans are integers.
fn value(array: Array) -> Result<Value> {
    let shape = &array.shape[..];
    Ok(match array.data {
        Data::Float32(values) => Tensor::from_data(shape, values).into(),
        Data::Int64(values) => {
            let narrow = values.into_iter().map(i32::try_from).collect::<std::result::Result<Vec<_>, _>>();
            let Ok(narrow) = narrow else { return unsupported("an integer over 32 bits: rten has none") };
            Tensor::from_data(shape, narrow).into()
        }
        Data::Bool(values) => Tensor::from_data(shape, values.into_iter().map(i32::from).collect::<Vec<_>>()).into(),
    })
}

/// An output as the Program declares it.
fn array(value: &Value, dtype: Dtype) -> Result<Array> {
    if let Some(view) = value.as_tensor_view::<f32>() {
        return Ok(Array::float(view.shape(), view.to_vec()));
    }
    let Some(view) = value.as_tensor_view::<i32>() else {
        return unsupported(format!("an output of {}", value.dtype()));
    };
    let data = match dtype {
        Dtype::Bool => Data::Bool(view.iter().map(|one| *one != 0).collect()),
        _ => Data::Int64(view.iter().map(|one| i64::from(*one)).collect()),
    };
    Ok(Array { shape: view.shape().to_vec(), data })
}

/// The answer to a model that rten does not load. The operator's name is part of its node's.
fn refused<T>(error: LoadError) -> Result<T> {
    if error.kind() != LoadErrorKind::OperatorInvalid {
        return Err(error.into());
    }
    lacking(error.node().unwrap_or_default(), &error)
}

/// The answer to a step that rten does not take to its end.
fn stopped<T>(error: RunError) -> Result<T> {
    if error.kind() != RunErrorKind::OperatorError || !error.to_string().contains("unsupported") {
        return Err(error.into());
    }
    lacking(error.node_path().last().copied().flatten().unwrap_or_default(), &error)
}

/// The preparer calls a node of ONNX `NODE/OPERATOR_number`.
fn lacking<T>(name: &str, error: &dyn std::error::Error) -> Result<T> {
    let (node, operator) = name.rsplit_once('/').unwrap_or((name, "operator"));
    let operator = operator.rsplit_once('_').map_or(operator, |(operator, _)| operator);
    Err(Error::Unsupported(format!("unsupported operator ONNX {operator}, node {node}: {error}")))
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Rten>()
}

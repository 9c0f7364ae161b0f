//! The Program: a model as data, as docs/program-format.md has it, with typed operators.

mod op;

pub use op::{Binary, Compare, Op, Reduce, Unary};

use crate::tensors::{Array, Dtype, Tensors};
use crate::{Error, Result, failed, unsupported};
use op::Arguments;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What is common to a model's entries.
pub struct Program {
    pub folder: PathBuf,
    pub parameters: Vec<String>,
    pub trainable: HashSet<String>,
    shapes: HashMap<String, Vec<usize>>,
}

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

#[derive(Deserialize)]
struct ProgramDocument {
    parameters: Vec<Spec>,
    trainable: HashSet<String>,
}

impl Program {
    pub fn read(folder: &Path) -> Result<Self> {
        let document: ProgramDocument = read(&folder.join("program.json"))?;
        Ok(Self {
            folder: folder.into(),
            parameters: document.parameters.iter().map(|spec| spec.name.clone()).collect(),
            trainable: document.trainable,
            shapes: document.parameters.into_iter().map(|spec| (spec.name, spec.shape)).collect(),
        })
    }
}

fn read<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<T> {
    let parse = || -> Result<T> {
        let document: Value = serde_json::from_slice(&std::fs::read(file)?)?;
        let header = Header::deserialize(&document)?;
        if header.format != "inferena-program" || header.version != 1 {
            return failed(format!(
                "{} of version {}; this worker reads inferena-program 1",
                header.format, header.version
            ));
        }
        Ok(T::deserialize(document)?)
    };
    parse().or_else(|error| failed(format!("{}: {error:?}", file.display())))
}

/// A tensor's name, shape and dtype by `NumPy`'s name.
#[derive(Clone, Debug, Deserialize)]
pub struct Spec {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: String,
}

#[derive(Deserialize)]
struct NodeDocument {
    op: String,
    args: BTreeMap<String, Value>,
    out: Vec<Spec>,
}

#[derive(Deserialize)]
struct EntryDocument {
    inputs: Vec<Spec>,
    parameters: Vec<String>,
    constants: Vec<Spec>,
    nodes: Vec<NodeDocument>,
    outputs: BTreeMap<String, String>,
}

/// One way to run the model, with its inputs and constants in memory.
pub struct Entry {
    pub name: String,
    pub inputs: Vec<(String, Array)>,
    pub parameters: Vec<String>,
    pub constants: Vec<(String, Array)>,
    /// Name of a result → name of the tensor that holds it.
    pub outputs: BTreeMap<String, String>,
    pub trainable: HashSet<String>,
    shapes: HashMap<String, Vec<usize>>,
    nodes: Vec<NodeDocument>,
}

/// One operator; its tensors stand apart from its other arguments.
#[derive(Clone, Debug)]
pub struct Node {
    pub op: Op,
    /// `ATen`'s name of it.
    pub operator: String,
    /// Its tensors in the order that [`Op`] gives.
    pub inputs: Vec<String>,
    pub shapes: Vec<Vec<usize>>,
    pub out: Spec,
}

impl Entry {
    pub fn read(program: &Program, name: &str) -> Result<Self> {
        let file = program.folder.join(format!("{name}.json"));
        if !file.exists() {
            return unsupported(format!("the Program has no entry {name}"));
        }
        let document: EntryDocument = read(&file)?;
        let mut shapes = HashMap::new();
        for parameter in &document.parameters {
            let Some(shape) = program.shapes.get(parameter) else {
                return failed(format!("{}: no parameter {parameter}", file.display()));
            };
            shapes.insert(parameter.clone(), shape.clone());
        }
        let outputs = document.nodes.iter().flat_map(|node| &node.out);
        for spec in document.inputs.iter().chain(&document.constants).chain(outputs) {
            shapes.insert(spec.name.clone(), spec.shape.clone());
        }
        let arrays = |kind: &str, specs: &[Spec]| -> Result<Vec<(String, Array)>> {
            let tensors = Tensors::open(&program.folder.join(format!("{name}.{kind}.safetensors")))?;
            specs.iter().map(|spec| Ok((spec.name.clone(), tensors.get(&spec.name)?))).collect()
        };
        Ok(Self {
            name: name.into(),
            inputs: arrays("inputs", &document.inputs)?,
            constants: arrays("constants", &document.constants)?,
            parameters: document.parameters,
            outputs: document.outputs,
            trainable: program.trainable.clone(),
            shapes,
            nodes: document.nodes,
        })
    }

    #[must_use]
    pub fn shape(&self, tensor: &str) -> &[usize] {
        &self.shapes[tensor]
    }

    /// The operators in the order of their execution; one that is not known is `unsupported` by name and node.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        self.nodes.iter().map(|node| self.node(node)).collect()
    }

    fn node(&self, node: &NodeDocument) -> Result<Node> {
        let [out] = &node.out[..] else { return lacking(&node.op, &node.out[0].name, "") };
        let mut arguments = Arguments { given: &node.args, inputs: Vec::new() };
        let op = match arguments.operator(&node.op, out, self) {
            Ok(Some(op)) => op,
            Ok(None) => return lacking(&node.op, &out.name, ""),
            Err(Error::Unsupported(why)) => return lacking(&node.op, &out.name, &why),
            Err(other) => return Err(other),
        };
        let inputs = arguments.inputs;
        let shapes = inputs.iter().map(|name| {
            let shape = self.shapes.get(name).cloned();
            shape.ok_or_else(|| Error::Failed(format!("node {} reads {name}, which nothing makes", out.name)))
        });
        let shapes = shapes.collect::<Result<_>>()?;
        Ok(Node { op, operator: node.op.clone(), inputs, shapes, out: out.clone() })
    }
}

/// The answer to an operator that an engine lacks, or to a way of calling it.
pub fn lacking<T>(operator: &str, node: &str, why: &str) -> Result<T> {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    unsupported(format!("unsupported operator aten.{operator}, node {node}{why}"))
}

impl Node {
    /// The result's dtype.
    pub fn dtype(&self) -> Result<Dtype> {
        Dtype::parse(&self.out.dtype)
            .or_else(|_| lacking(&self.operator, &self.out.name, &format!("dtype {}", self.out.dtype)))
    }
}

//! The Program: a model as data, as docs/program-format.md describes it, with typed operators.

mod conditions;
mod op;

pub use op::{Binary, Compare, MEAN, Op, Reduce, Unary};

use crate::tensors::{Array, Dtype, Tensors};
use crate::{Error, Result, failed, unsupported};
use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

/// The part of the Program that all entries have in common.
#[derive(Deserialize)]
pub struct Program {
    #[serde(skip)]
    pub folder: PathBuf,
    pub parameters: Vec<Spec>,
    pub trainable: HashSet<String>,
}

impl Program {
    pub fn read(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.into(), ..read(&folder.join("program.json"))? })
    }
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let parse = || -> Result<T> {
        let text = std::fs::read(file)?;
        let Header { format, version } = serde_json::from_slice(&text)?;
        if format != "inferena-program" || version != 1 {
            return failed(format!("{format} of version {version}; this worker reads inferena-program 1"));
        }
        Ok(serde_json::from_slice(&text)?)
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
    args: IndexMap<String, Value>,
    out: Vec<Spec>,
}

/// One way to run the model, with its inputs and constants in memory.
#[derive(Deserialize)]
pub struct Entry {
    #[serde(rename = "entry")]
    pub name: String,
    #[serde(skip)]
    pub inputs: Vec<(String, Array)>,
    pub parameters: Vec<String>,
    #[serde(skip)]
    pub constants: Vec<(String, Array)>,
    /// The name of a result → the name of the tensor that holds it.
    pub outputs: BTreeMap<String, String>,
    #[serde(skip)]
    pub trainable: HashSet<String>,
    #[serde(skip)]
    shapes: HashMap<String, Vec<usize>>,
    nodes: Vec<NodeDocument>,
}

/// One operator. Its tensors stand apart from its other arguments.
#[derive(Clone, Debug)]
pub struct Node {
    pub op: Op,
    /// Its name in the Program.
    pub operator: String,
    /// The names of its tensors, in the order that [`Op`] gives.
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
        let arrays = |kind| Tensors::open(&program.folder.join(format!("{name}.{kind}.safetensors")))?.all();
        let (inputs, constants) = (arrays("inputs")?, arrays("constants")?);
        let mut entry = Self { inputs, constants, trainable: program.trainable.clone(), ..read(&file)? };
        if entry.nodes.iter().any(|node| node.out.is_empty()) {
            return failed(format!("{}: a node without a result", file.display()));
        }
        let given = entry.inputs.iter().chain(&entry.constants).map(|(name, array)| (name, &array.shape));
        let specs = program.parameters.iter().chain(entry.nodes.iter().flat_map(|node| &node.out));
        let shapes = specs.map(|spec| (&spec.name, &spec.shape)).chain(given);
        entry.shapes = shapes.map(|(name, shape)| (name.clone(), shape.clone())).collect();
        Ok(entry)
    }

    #[must_use]
    pub fn shape(&self, tensor: &str) -> &[usize] {
        &self.shapes[tensor]
    }

    /// A tensor's dtype.
    pub fn dtype(&self, tensor: &str) -> Result<Dtype> {
        let given = self.inputs.iter().chain(&self.constants).find(|(name, _)| name == tensor);
        match self.nodes.iter().flat_map(|node| &node.out).find(|spec| spec.name == tensor) {
            Some(spec) => Dtype::parse(&spec.dtype),
            None => Ok(given.map_or(Dtype::Float32, |(_, array)| array.dtype())), // parameters are float32
        }
    }

    /// The operators in the order of their execution. One that is not known is `unsupported`, by name and node.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        self.nodes.iter().map(|node| self.node(node)).collect()
    }

    /// Refuse an operator that a table of what an engine has lacks, or that it has under other conditions.
    pub(crate) fn check(&self, table: &Value) -> Result<()> {
        for node in &self.nodes {
            let tensors = op::tensors(&node.args).unwrap_or_default();
            let rank = self.shapes.get(tensors.first().unwrap_or(&node.out[0].name)).map_or(0, Vec::len);
            if !conditions::has(table, node, rank, self.name == "training") {
                return lacking(&node.op, &node.out[0].name, "");
            }
        }
        Ok(())
    }

    fn node(&self, node: &NodeDocument) -> Result<Node> {
        let NodeDocument { op: operator, args, out } = node;
        let [out] = &out[..] else { return lacking(operator, &out[0].name, "") };
        let read = Op::read(operator, args).and_then(|op| Ok((op, op::tensors(args)?)));
        let (op, inputs) = match read {
            Ok((Some(op), inputs)) => (op, inputs),
            Ok((None, _)) => return lacking(operator, &out.name, ""),
            Err(Error::Unsupported(why)) => return lacking(operator, &out.name, &why),
            Err(other) => return Err(other),
        };
        let shapes = inputs.iter().map(|name| {
            let shape = self.shapes.get(name).cloned();
            shape.ok_or_else(|| Error::Failed(format!("node {} reads {name}, which nothing makes", out.name)))
        });
        let shapes = shapes.collect::<Result<Vec<_>>>()?;
        let why = match &op {
            _ if inputs.len() < op.least() => "a number where it takes a tensor",
            Op::CrossEntropy { .. } | Op::MseLoss { .. } if !out.shape.is_empty() => "a loss for each row or element",
            Op::CrossEntropy { .. }
                if inputs.len() > 2 || args.get("label_smoothing") != Some(&0.0.into()) || shapes[0].len() != 2 =>
            {
                "with weights, label smoothing or more dimensions"
            }
            _ => return Ok(Node { op, operator: operator.clone(), inputs, shapes, out: out.clone() }),
        };
        lacking(operator, &out.name, why)
    }
}

/// The answer to an operator that an engine lacks, or lacks in this form; `why` may be empty.
pub fn lacking<T>(operator: &str, node: &str, why: &str) -> Result<T> {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let namespace = if operator.contains("::") { "" } else { "aten." }; // others have theirs in their name
    unsupported(format!("unsupported operator {namespace}{operator}, node {node}{why}"))
}

impl Node {
    /// The result's dtype.
    pub fn dtype(&self) -> Result<Dtype> {
        Dtype::parse(&self.out.dtype)
            .or_else(|_| lacking(&self.operator, &self.out.name, &format!("dtype {}", self.out.dtype)))
    }
}

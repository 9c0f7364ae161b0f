//! Records an entry into Meganeura's graph. It goes from the outputs backwards, so that nodes which are fused away are
//! never recorded.

use crate::view::View;
use inferena_worker::{Array, Data, Dtype, Entry, Error, Node, Op, Reduce, Result, failed, lacking, unsupported};
use meganeura::Graph;
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

/// Parameters by name, as they were loaded.
pub type Parameters = HashMap<String, Rc<Array>>;

/// An input that a session is given before its first step.
pub enum Feed {
    Floats(Vec<f32>),
    Rows(Vec<u32>),
}

pub struct Recorder<'a> {
    pub graph: Graph,
    pub entry: &'a Entry,
    pub trains: bool,
    pub nodes: HashMap<String, Node>,
    pub feeds: Vec<(String, Feed)>,
    /// Parameters that the graph has and the Program has not: convolutions with a batch norm folded into them.
    pub folded: HashMap<String, Vec<f32>>,
    parameters: &'a Parameters,
    leaves: HashMap<&'a str, &'a Array>,
    values: HashMap<String, View>,
    constants: HashMap<(u32, Vec<usize>), u32>,
}

impl<'a> Recorder<'a> {
    pub fn new(entry: &'a Entry, parameters: &'a Parameters) -> Result<Self> {
        let nodes = entry.nodes()?.into_iter().map(|node| (node.out.name.clone(), node)).collect();
        let leaves = entry.inputs.iter().chain(&entry.constants).map(|(name, array)| (name.as_str(), array)).collect();
        Ok(Self {
            graph: Graph::new(),
            entry,
            trains: entry.name == "training",
            nodes,
            feeds: Vec::new(),
            folded: HashMap::new(),
            parameters,
            leaves,
            values: HashMap::new(),
            constants: HashMap::new(),
        })
    }

    /// The value of a tensor of the Program.
    pub fn get(&mut self, name: &str) -> Result<View> {
        if let Some(view) = self.values.get(name) {
            return Ok(view.clone());
        }
        let view = if self.parameters.contains_key(name) {
            self.parameter(name)
        } else if let Some(array) = self.leaves.get(name).copied() {
            self.leaf(name, array)?
        } else if let Some(node) = self.nodes.get(name).cloned() {
            let operands: Vec<View> = self.operands(&node).iter().map(|one| self.get(one)).collect::<Result<_>>()?;
            if node.dtype()? == Dtype::Int64 {
                return lacking(&node.operator, name, "Meganeura computes in float32");
            }
            self.apply(&node, &operands).or_else(|error| match error {
                Error::Unsupported(why) => lacking(&node.operator, name, &why),
                Error::Failed(why) => failed(format!("node {name}: {why}")),
                memory @ Error::Memory(_) => Err(memory),
            })?
        } else {
            return failed(format!("nothing makes {name}"));
        };
        self.values.insert(name.into(), view.clone());
        Ok(view)
    }

    /// The tensors that a node is recorded from. They are not its own inputs where it is fused with what made those.
    fn operands(&self, node: &Node) -> Vec<String> {
        let of = |at: usize| node.inputs[at].clone();
        match &node.op {
            Op::BatchNorm { .. } => match self.nodes.get(&node.inputs[0]) {
                Some(made) if matches!(made.op, Op::Convolution { .. }) && self.trains => {
                    let weights = made.inputs.iter().take(2).cloned();
                    weights.chain([of(1), of(2)]).chain(made.inputs.get(2).cloned()).collect()
                }
                Some(made) => vec![made.inputs[0].clone()],
                None => vec![],
            },
            Op::Attention { .. } => {
                let shared = [of(0), self.shared(&node.inputs[1]), self.shared(&node.inputs[2])];
                shared.into_iter().chain(node.inputs[3..].iter().cloned()).collect()
            }
            Op::Embedding | Op::Rotary | Op::CrossEntropy { .. } => vec![of(0)],
            _ => node.inputs.clone(),
        }
    }

    /// Keys before they are repeated for each query that reads them: (B, G, 1, S, D), if they were made that way.
    fn shared(&self, keys: &str) -> String {
        let made = |name: &str, op: &Op| self.nodes.get(name).filter(|node| node.op == *op);
        let repeated = made(keys, &Op::Reshape).and_then(|node| made(&node.inputs[0], &Op::Expand));
        let five = repeated.filter(|node| matches!(node.shapes[0][..], [_, _, 1, _, _]) && node.out.shape.len() == 5);
        five.map_or_else(|| keys.into(), |node| node.inputs[0].clone())
    }

    fn parameter(&mut self, name: &str) -> View {
        let shape = self.parameters[name].shape.clone();
        // Kernels of convolutions are flat. All others are rows or matrices.
        let flat = vec![shape.iter().product()];
        let stored = if matches!(shape.len(), 1 | 2) { shape.clone() } else { flat };
        let mut node = self.graph.parameter(name, &stored);
        if self.trains && !self.entry.trainable.contains(name) {
            node = self.graph.stop_gradient(node);
        }
        View::new(node, &shape)
    }

    /// An input or a constant. Whole numbers and truth values are float32 too; only rows are looked up by integers.
    fn leaf(&mut self, name: &str, array: &Array) -> Result<View> {
        let values: Vec<f32> = match &array.data {
            Data::Float32(values) => values.clone(),
            Data::Bool(values) => values.iter().map(|one| f32::from(u8::from(*one))).collect(),
            Data::Int64(values) if values.iter().all(|one| one.abs() < 1 << 24) => {
                values.iter().map(|one| *one as f32).collect()
            }
            Data::Int64(_) => return unsupported(format!("{name}: integers that float32 does not hold")),
        };
        let node = self.feed(name, &[values.len()], values);
        Ok(View::new(node, &array.shape))
    }

    /// Make an input of the graph.
    pub fn feed(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> u32 {
        self.feeds.push((name.into(), Feed::Floats(values)));
        self.graph.input(name, shape)
    }

    /// Numbers of rows for Meganeura's embedding, which also moves data that no other operator of it moves.
    pub fn numbers(&mut self, rows: Vec<u32>) -> u32 {
        let (name, count) = (format!("rows {}", self.feeds.len()), rows.len());
        self.feeds.push((name.clone(), Feed::Rows(rows)));
        self.graph.input_u32(&name, &[count])
    }

    /// The tensor that was loaded under a name. No step changes it.
    fn loaded(&self, name: &str) -> Result<&'a Array> {
        let parameters = self.parameters;
        match (parameters.get(name), self.leaves.get(name)) {
            (Some(array), _) => Ok(array.as_ref()),
            (_, Some(array)) => Ok(*array),
            _ => unsupported(format!("{name} is computed")),
        }
    }

    /// Floats that no step changes.
    pub fn floats(&self, name: &str) -> Result<Cow<'a, [f32]>> {
        match self.nodes.get(name) {
            Some(Node { op: Op::Full(number), out, .. }) => Ok(vec![*number as f32; out.shape.iter().product()].into()),
            _ => Ok(floats(name, self.loaded(name)?)?.into()),
        }
    }

    /// Numbers of classes or rows that no step changes, also through reshapes.
    pub fn integers(&self, name: &str) -> Result<Cow<'a, [i64]>> {
        match self.nodes.get(name) {
            Some(Node { op: Op::Reshape, inputs, .. }) => return self.integers(&inputs[0]),
            Some(Node { op: Op::Full(number), out, .. }) => {
                return Ok(vec![*number as i64; out.shape.iter().product()].into());
            }
            _ => {}
        }
        match &self.loaded(name)?.data {
            Data::Int64(values) => Ok(values.into()),
            _ => unsupported(format!("{name} is not of integers")),
        }
    }

    /// A tensor that is one number over and over.
    pub fn filled(&mut self, number: f64, shape: &[usize]) -> u32 {
        let number = number as f32;
        let graph = &mut self.graph;
        let fill = || graph.constant(vec![number; shape.iter().product()], shape);
        *self.constants.entry((number.to_bits(), shape.to_vec())).or_insert_with(fill)
    }

    pub fn size(&self, node: u32) -> usize {
        self.graph.node(node).ty.num_elements()
    }

    pub fn shaped(&mut self, node: u32, shape: &[usize]) -> u32 {
        if self.graph.node(node).ty.shape == shape { node } else { self.graph.reshape(node, shape) }
    }

    /// A node of one dimension with the view's elements in their order.
    pub fn flat(&mut self, view: &View) -> u32 {
        let node = self.whole(view);
        self.shaped(node, &[view.size()])
    }

    /// A node with the view's elements as rows of the last dimension.
    pub fn matrix(&mut self, view: &View) -> u32 {
        self.rows(view, view.shape.last().copied().unwrap_or(1))
    }

    pub fn rows(&mut self, view: &View, columns: usize) -> u32 {
        let node = self.whole(view);
        self.shaped(node, &[view.size() / columns, columns])
    }

    /// A node with the view's elements in their order, in whatever shape the node has.
    fn whole(&mut self, view: &View) -> u32 {
        let node = self.ordered(view);
        if view.factor.to_bits() == 1f64.to_bits() {
            return node;
        }
        if view.factor.to_bits() == (-1f64).to_bits() {
            return self.graph.neg(node);
        }
        let shape = self.graph.node(node).ty.shape.clone();
        let factor = self.filled(view.factor, &shape);
        self.graph.mul(node, factor)
    }

    fn ordered(&mut self, view: &View) -> u32 {
        let size = self.size(view.node);
        if view.is_whole(size) {
            return view.node;
        }
        let all = view.offset == 0 && view.size() >= size;
        match view.runs()[..] {
            [(columns, 1), (rows, stride)] if all && stride == columns && rows * columns == size => {
                let node = self.shaped(view.node, &[rows, columns]);
                self.graph.transpose(node)
            }
            [(rows, 0), (columns, 1)] if all && columns == size => {
                let (zeros, row) = (self.filled(0.0, &[rows, columns]), self.shaped(view.node, &[columns]));
                self.graph.bias_add(zeros, row)
            }
            [(rows, 1), (columns, 0)] if all && rows == size => {
                let node = self.shaped(view.node, &[rows, 1]);
                self.graph.broadcast_inner(node, columns)
            }
            [(columns, 0)] if all && size == 1 => {
                let node = self.shaped(view.node, &[1, 1]);
                self.graph.broadcast_inner(node, columns)
            }
            _ => {
                let (width, rows) = view.rows(size);
                let (rows, table) = (self.numbers(rows), self.shaped(view.node, &[size / width, width]));
                self.graph.embedding(rows, table)
            }
        }
    }

    /// Reduce over any dimensions. The others become rows.
    pub fn reduce(&mut self, x: &View, kind: Reduce, dims: &[usize]) -> Result<u32> {
        let (reduced, kept): (Vec<usize>, Vec<usize>) =
            (0..x.shape.len()).partition(|dim| dims.is_empty() || dims.contains(dim));
        let order: Vec<usize> = kept.iter().chain(&reduced).copied().collect();
        let rows: usize = kept.iter().map(|dim| x.shape[*dim]).product();
        let node = self.flat(&x.permute(&order));
        let columns = x.size() / rows;
        Ok(match kind {
            Reduce::Mean if rows == 1 => self.graph.mean_all(node),
            Reduce::Sum if rows == 1 => self.graph.sum_all(node),
            Reduce::Mean => self.graph.global_avg_pool(node, 1, size32(rows), size32(columns)),
            Reduce::Sum => {
                let node = self.shaped(node, &[rows, columns]);
                self.graph.sum_inner(node)
            }
            Reduce::Max => return unsupported("Meganeura has no maximum over a dimension"),
        })
    }
}

pub fn floats<'a>(name: &str, array: &'a Array) -> Result<&'a [f32]> {
    match &array.data {
        Data::Float32(values) => Ok(values),
        _ => unsupported(format!("{name} is not float32")),
    }
}

/// A size as Meganeura takes it.
pub fn size32(size: usize) -> u32 {
    u32::try_from(size).expect("sizes of tensors fit")
}

//! Luminal 0.2: the Program recorded as a graph of its primitive operators.

mod record;

use inferena_worker::{
    Array, Binary, Compare, Data, Dtype, Engine, Entry, Error, Node, Op, Program, Reduce, Result, Setup, Step, Tensors,
    Unary, failed, lacking, unsupported,
};
use luminal::op::{Function, InputTensor, Recip, Sin, Sqrt};
use luminal::prelude::petgraph::graph::NodeIndex;
use luminal::prelude::{Tensor, UnaryFusionCompiler};
use record::{Record, Value, expand, permute};
use std::collections::HashMap;
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

struct Luminal {
    weights: HashMap<String, Array>,
}

impl Engine for Luminal {
    const NAME: &'static str = "luminal";

    fn start(setup: &Setup) -> Result<Self> {
        match setup.device.as_str() {
            "cpu" => Ok(Self { weights: HashMap::new() }),
            other => unsupported(format!("the published Luminal has no device {other}")),
        }
    }

    fn describe(&self) -> String {
        "Luminal on CPU, matrixmultiply, 1 thread: it has no more".into()
    }

    fn load(&mut self, program: &Program, weights: &Tensors) -> Result<()> {
        let named = program.parameters.iter().map(|spec| Ok((spec.name.clone(), weights.get(&spec.name)?)));
        self.weights = named.collect::<Result<_>>()?;
        Ok(())
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        let mut record = Record(Box::default());
        let mut values: HashMap<String, Value> = HashMap::new();
        for name in &entry.parameters {
            let Some(array) = self.weights.get(name) else { return failed(format!("no parameter {name}")) };
            values.insert(name.clone(), record.leaf(name, array.clone())?);
        }
        for (name, array) in entry.inputs.iter().chain(&entry.constants) {
            values.insert(name.clone(), record.leaf(name, array.clone())?);
        }
        for node in entry.nodes()? {
            let given = node.inputs.iter().map(|name| values.get(name).cloned()).collect::<Option<Vec<_>>>();
            let Some(given) = given else { return failed(format!("node {} comes too early", node.out.name)) };
            let value = apply(&mut record, &node, &given).or_else(|error| match error {
                Error::Unsupported(why) => lacking(&node.operator, &node.out.name, &why),
                other => Err(other),
            })?;
            values.insert(node.out.name.clone(), value);
        }
        Ok(Box::new(Session::new(record, entry, &values)?))
    }
}

struct Session {
    record: Record,
    /// Name, node, shape and dtype of what is read when a step is done.
    outputs: Vec<(String, NodeIndex, Vec<usize>, Dtype)>,
}

impl Session {
    fn new(mut record: Record, entry: &Entry, values: &HashMap<String, Value>) -> Result<Self> {
        let mut outputs = Vec::new();
        for (name, tensor) in &entry.outputs {
            let Some(value) = values.get(tensor) else { return failed(format!("nothing makes {tensor}")) };
            let value = record.copy(value);
            record.0.retrieve_tensors(value.node);
            outputs.push((name.clone(), value.node, value.shape, value.dtype));
        }
        let mut nodes: Vec<NodeIndex> = outputs.iter().map(|(_, node, _, _)| *node).collect();
        // Of its CPU compilers the one that keeps results right: others take x < y for x == y, a sum over the first
        // dimension for a product of matrices, and drop a negation that others read. Products are placed as such.
        record.0.compile(UnaryFusionCompiler, nodes.iter_mut().collect::<Vec<_>>());
        for (output, node) in outputs.iter_mut().zip(nodes) {
            output.1 = node;
        }
        Ok(Self { record, outputs })
    }
}

impl Step for Session {
    fn run(&mut self) -> Result<()> {
        for (_, node, _, _) in &self.outputs {
            self.record.0.drop_tensors(*node); // what is there is not computed again
        }
        self.record.0.execute();
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, Array)>> {
        let mut found = Vec::new();
        for (name, node, shape, dtype) in &self.outputs {
            let Some(tensor) = self.record.0.get_tensor_ref(*node, 0) else { return failed(format!("no {name}")) };
            let values = floats(tensor)?.clone();
            let data = match dtype {
                Dtype::Float32 => Data::Float32(values),
                Dtype::Int64 => Data::Int64(values.into_iter().map(|one| one as i64).collect()),
                Dtype::Bool => Data::Bool(values.into_iter().map(|one| one != 0.0).collect()),
            };
            found.push((name.clone(), Array { shape: shape.clone(), data }));
        }
        Ok(found)
    }
}

fn floats(tensor: &Tensor) -> Result<&Vec<f32>> {
    tensor.data.as_any().downcast_ref().ok_or_else(|| Error::Failed("not a tensor of float32".into()))
}

/// One operator, spelled by Luminal's primitive ones.
fn apply(r: &mut Record, node: &Node, x: &[Value]) -> Result<Value> {
    let shape = &node.out.shape[..];
    if shape.len() > 6 {
        return unsupported("more than 6 dimensions");
    }
    let value = match &node.op {
        Op::Unary(kind) => unary(r, *kind, &x[0])?,
        Op::Binary(kind) => binary(r, *kind, &x[0], &x[1])?,
        Op::Scalar(Binary::Pow, number) => power(r, &x[0], *number)?,
        Op::Scalar(kind, number) => {
            let number = r.number(*number, &x[0].shape);
            binary(r, *kind, &x[0], &number)?
        }
        Op::ScalarFirst(kind, number) => {
            let number = r.number(*number, &x[0].shape);
            binary(r, *kind, &number, &x[0])?
        }
        Op::Compare(kind) => compare(r, *kind, &x[0], &x[1]),
        Op::CompareScalar(kind, number) => {
            let number = r.number(*number, &x[0].shape);
            compare(r, *kind, &x[0], &number)
        }
        Op::Reshape => r.reshape(&x[0], shape),
        Op::Expand => expand(&x[0], shape),
        Op::Full(number) => r.number(*number, shape),
        Op::To if x[0].dtype == Dtype::Float32 && node.dtype()? != Dtype::Float32 => {
            return unsupported("Luminal has no operator that rounds");
        }
        Op::To => x[0].clone(),
        Op::Permute { dims } => permute(&x[0], dims),
        Op::Slice { dim, start, end, step: 1 } => r.slice(&x[0], *dim, *start, *end),
        Op::Cat { dim } => r.cat(x, *dim),
        Op::Reduce { kind, dims, .. } => {
            let dims: Vec<usize> = if dims.is_empty() { (0..x[0].shape.len()).collect() } else { dims.clone() };
            let reduced = dims.iter().fold(x[0].clone(), |value, dim| match kind {
                Reduce::Mean => r.mean(&value, *dim),
                Reduce::Sum => r.sum(&value, *dim),
                Reduce::Max => r.max(&value, *dim),
            });
            r.reshape(&reduced, shape)
        }
        Op::Softmax { dim } => r.softmax(&x[0], *dim),
        Op::LogSoftmax { dim } => {
            let largest = r.max(&x[0], *dim);
            let less = r.sub(&x[0], &largest);
            let power = r.exp(&less);
            let sum = r.sum(&power, *dim);
            let log = r.log(&sum);
            r.sub(&less, &log)
        }
        Op::Embedding => rows(r, &x[0], &x[1], shape),
        Op::Matmul => matmul(r, &x[0], &x[1], shape),
        Op::Linear => {
            let width = x[1].shape[1];
            let flat = r.reshape(&x[0], &[x[0].shape.iter().product::<usize>() / width, width]);
            let product = r.matmul(&flat, &permute(&x[1], &[1, 0]));
            let sum = if let Some(bias) = x.get(2) { r.add(&product, bias) } else { product };
            r.reshape(&sum, shape)
        }
        Op::LayerNorm { normalized_shape, eps } | Op::RmsNorm { normalized_shape, eps } => {
            let width: usize = normalized_shape.iter().product();
            let mut flat = r.reshape(&x[0], &[shape.iter().product::<usize>() / width, width]);
            if matches!(node.op, Op::LayerNorm { .. }) {
                let mean = r.mean(&flat, 1);
                flat = r.sub(&flat, &mean);
            }
            let mut normal = r.normal(&flat, 1, *eps);
            if let Some(weight) = x.get(1) {
                let weight = r.reshape(weight, &[width]);
                normal = r.mul(&normal, &weight);
            }
            if let Some(bias) = x.get(2) {
                let bias = r.reshape(bias, &[width]);
                normal = r.add(&normal, &bias);
            }
            r.reshape(&normal, shape)
        }
        Op::Rotary => {
            let half = shape[3] / 2;
            let (a, b) = (r.slice(&x[0], 3, 0, half), r.slice(&x[0], 3, half, 2 * half));
            let (ac, bs, bc, a_s) = (r.mul(&a, &x[1]), r.mul(&b, &x[2]), r.mul(&b, &x[1]), r.mul(&a, &x[2]));
            let halves = [r.sub(&ac, &bs), r.add(&bc, &a_s)];
            r.cat(&halves, 3)
        }
        Op::Attention { scale, is_causal } => attention(r, &node.out.name, x, *scale, *is_causal)?,
        Op::Convolution { .. } => return unsupported("Luminal's convolution does not pad"),
        _ => return unsupported(""),
    };
    Ok(value.of(node.dtype()?))
}

fn unary(r: &mut Record, kind: Unary, x: &Value) -> Result<Value> {
    Ok(match kind {
        Unary::Abs => {
            let less = r.scale(x, -1.0);
            r.maximum(x, &less)
        }
        Unary::Cos => {
            let shifted = r.add_number(x, FRAC_PI_2);
            r.unary(Sin, &shifted)
        }
        Unary::Detach => x.clone(),
        Unary::Erf | Unary::Gelu => return unsupported("Luminal has no error function"),
        Unary::Exp => r.exp(x),
        Unary::GeluTanh => {
            let square = r.mul(x, x);
            let cube = r.mul(&square, x);
            let cube = r.scale(&cube, 0.044_715);
            let inner = r.add(x, &cube);
            let inner = r.scale(&inner, FRAC_2_PI.sqrt() * 2.0);
            let share = r.sigmoid(&inner); // (1 + tanh(y)) / 2 = σ(2y)
            r.mul(x, &share)
        }
        Unary::Log => r.log(x),
        Unary::Log1p => return unsupported("Luminal has a logarithm that loses small numbers beside 1"),
        Unary::Neg => r.scale(x, -1.0),
        Unary::Not => r.not(x),
        Unary::Relu => {
            let nothing = r.number(0.0, &x.shape);
            r.maximum(x, &nothing)
        }
        Unary::Rsqrt => r.rsqrt(x),
        Unary::Sigmoid => r.sigmoid(x),
        Unary::Silu => {
            let share = r.sigmoid(x);
            r.mul(x, &share)
        }
        Unary::Sin => r.unary(Sin, x),
        Unary::Sqrt => r.unary(Sqrt, x),
        Unary::Tanh => r.tanh(x),
    })
}

fn binary(r: &mut Record, kind: Binary, x: &Value, y: &Value) -> Result<Value> {
    Ok(match kind {
        Binary::Add => r.add(x, y),
        Binary::Sub => r.sub(x, y),
        Binary::Mul | Binary::And => r.mul(x, y),
        Binary::Div => r.div(x, y),
        Binary::Maximum | Binary::Or => r.maximum(x, y),
        Binary::Minimum => {
            let (x, y) = (r.scale(x, -1.0), r.scale(y, -1.0));
            let largest = r.maximum(&x, &y);
            r.scale(&largest, -1.0)
        }
        Binary::Pow => return unsupported("an exponent that is a tensor"),
    })
}

fn power(r: &mut Record, x: &Value, exponent: f64) -> Result<Value> {
    Ok(match exponent {
        1.0 => x.clone(),
        2.0 => r.mul(x, x),
        3.0 => {
            let square = r.mul(x, x);
            r.mul(&square, x)
        }
        0.5 => r.unary(Sqrt, x),
        -0.5 => r.rsqrt(x),
        -1.0 => r.unary(Recip, x),
        _ => return unsupported(format!("an exponent of {exponent}")),
    })
}

fn compare(r: &mut Record, kind: Compare, x: &Value, y: &Value) -> Value {
    match kind {
        Compare::Lt => r.less(x, y),
        Compare::Gt => r.less(y, x),
        Compare::Ge => {
            let less = r.less(x, y);
            r.not(&less)
        }
        Compare::Le => {
            let greater = r.less(y, x);
            r.not(&greater)
        }
        Compare::Ne | Compare::Eq => {
            let (less, greater) = (r.less(x, y), r.less(y, x));
            let other = r.add(&less, &greater);
            if kind == Compare::Ne { other } else { r.not(&other) }
        }
    }
}

/// Rows of a table. Luminal's own lookup is private: it stands where its compiler finds a product with one-hot rows,
/// the whole table wide; this is the same loop.
fn rows(r: &mut Record, table: &Value, indices: &Value, shape: &[usize]) -> Value {
    let (table, indices) = (r.plain(table), r.plain(indices));
    let width = table.shape[1];
    let lookup = move |given: Vec<(InputTensor, _)>| {
        let [table, indices] = [0, 1].map(|at| floats(given[at].0.borrowed()).expect("the CPU has no other"));
        let row = |index: &f32| &table[*index as usize * width..][..width];
        vec![Tensor::new(indices.iter().flat_map(row).copied().collect::<Vec<f32>>())]
    };
    r.join(Function("rows".into(), Box::new(lookup)), &table, &indices, shape)
}

/// Of matrices, or of batches that broadcast: a product for each.
fn matmul(r: &mut Record, x: &Value, y: &Value, shape: &[usize]) -> Value {
    let (rows, inner, columns) = (shape[shape.len() - 2], x.shape[x.shape.len() - 1], shape[shape.len() - 1]);
    let batches: usize = shape[..shape.len() - 2].iter().product();
    if batches == 1 {
        let (x, y) = (matrix(r, x, rows, inner), matrix(r, y, inner, columns));
        let product = r.matmul(&x, &y);
        return r.reshape(&product, shape);
    }
    let mut stacks = Vec::new();
    for (value, size) in [(x, [rows, inner]), (y, [inner, columns])] {
        let whole = expand(value, &[&shape[..shape.len() - 2], &size].concat());
        stacks.push(r.reshape(&whole, &[batches * size[0], size[1]]));
    }
    let products: Vec<Value> = (0..batches)
        .map(|at| {
            let first = r.slice(&stacks[0], 0, at * rows, (at + 1) * rows);
            let second = r.slice(&stacks[1], 0, at * inner, (at + 1) * inner);
            r.matmul(&first, &second)
        })
        .collect();
    let stack = r.cat(&products, 0);
    r.reshape(&stack, shape)
}

/// What has no batches, as it lies where it has two dimensions.
fn matrix(r: &mut Record, x: &Value, rows: usize, columns: usize) -> Value {
    if x.shape.len() == 2 { x.clone() } else { r.reshape(x, &[rows, columns]) }
}

/// Heads that share a key are rows of one product.
fn attention(r: &mut Record, name: &str, x: &[Value], scale: f64, causal: bool) -> Result<Value> {
    let [batch, heads, length, width] = x[0].shape[..] else { return unsupported("other than four dimensions") };
    let [_, groups, keys, _] = x[1].shape[..] else { return unsupported("other than four dimensions") };
    let share = heads / groups;
    let mask = match x.get(3) {
        Some(_) => return unsupported("a mask"),
        None if causal => Some(r.leaf(&format!("{name} mask"), triangle(share, length, keys))?),
        None => None,
    };
    let query = r.scale(&x[0], scale);
    let query = r.reshape(&query, &[batch * groups * share * length, width]);
    let key = r.reshape(&x[1], &[batch * groups * keys, width]);
    let depth = x[2].shape[3];
    let value = r.reshape(&x[2], &[batch * groups * keys, depth]);
    let mut results = Vec::new();
    for at in 0..batch * groups {
        let query = r.slice(&query, 0, at * share * length, (at + 1) * share * length);
        let (key, value) =
            (r.slice(&key, 0, at * keys, (at + 1) * keys), r.slice(&value, 0, at * keys, (at + 1) * keys));
        let mut scores = r.matmul(&query, &permute(&key, &[1, 0]));
        if let Some(mask) = &mask {
            scores = r.add(&scores, mask);
        }
        let shares = r.softmax(&scores, 1);
        results.push(r.matmul(&shares, &value));
    }
    let stack = r.cat(&results, 0);
    Ok(r.reshape(&stack, &[batch, heads, length, depth]))
}

/// What is added to the scores of heads that share a key: 0 where a row sees a column, else the least there is.
fn triangle(share: usize, rows: usize, columns: usize) -> Array {
    let seen = |at: usize| if at % columns <= at / columns % rows { 0.0 } else { f32::MIN };
    Array::float(&[share * rows, columns], (0..share * rows * columns).map(seen).collect())
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Luminal>()
}

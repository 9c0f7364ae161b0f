//! Luminal's graph by node numbers and run-time shapes. Luminal's own tensors, sized at compile time, stand on it.

use crate::session::floats;
use inferena_worker::{Array, Data, Dtype, Reduce, Result, unsupported};
use luminal::op::{Add, Constant, ConstantValue, Contiguous, Exp2, Function, InputTensor, LessThan, Log2, MaxReduce};
use luminal::op::{Mod, Mul, Operator, SumReduce};
use luminal::prelude::petgraph::graph::NodeIndex;
use luminal::prelude::{Graph, MatMul2D, Tensor};
use luminal::shape::symbolic::Expression;
use luminal::shape::tracker::ShapeTracker;
use std::f32::consts::{LN_2, LOG2_E};

/// Integers beyond it are not exact in float32, the only type of Luminal's operators on CPU.
const EXACT: u64 = 1 << 24;
/// Dimensions that a shape of Luminal's can have.
pub const DIMENSIONS: usize = 6;
/// Stands for the end of a dimension that is not cut.
const END: i32 = i32::MAX;

/// A tensor of the graph: a node's data, and a tracker that says in which order to look at it.
#[derive(Clone)]
pub struct Value {
    pub node: NodeIndex,
    tracker: ShapeTracker,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    /// Whether it is a number 0 over and over.
    zero: bool,
}

impl Value {
    fn new(node: NodeIndex, tracker: ShapeTracker, shape: &[usize], dtype: Dtype) -> Self {
        Self { node, tracker, shape: shape.to_vec(), dtype, zero: false }
    }

    pub fn of(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }
}

/// The graph while it is written. It is boxed because its constants point to it.
pub struct Record(pub Box<Graph>);

fn sizes(shape: &[usize]) -> Vec<Expression> {
    shape.iter().map(|size| Expression::from(*size)).collect()
}

fn tracker(shape: &[usize]) -> ShapeTracker {
    ShapeTracker::new(&sizes(shape))
}

fn is_plain(tracker: &ShapeTracker) -> bool {
    tracker.is_contiguous() && !tracker.is_sliced() && !tracker.is_padded()
}

/// The shape in which two tensors meet.
fn broadcast(x: &[usize], y: &[usize]) -> Vec<usize> {
    let rank = x.len().max(y.len());
    let size = |shape: &[usize], dim: usize| (dim + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank).map(|dim| size(x, dim).max(size(y, dim))).collect()
}

impl Record {
    /// A tensor with its data, which stays from step to step. Every leaf has another name.
    pub fn leaf(&mut self, name: &str, array: Array) -> Result<Value> {
        let (dtype, shape) = (array.dtype(), array.shape);
        let data = match array.data {
            Data::Float32(values) => values,
            Data::Bool(values) => values.into_iter().map(|one| f32::from(u8::from(one))).collect(),
            Data::Int64(values) if values.iter().any(|one| one.unsigned_abs() > EXACT) => {
                return unsupported(format!("{name}: integers over 24 bits; Luminal has float32 alone"));
            }
            Data::Int64(values) => values.into_iter().map(|one| one as f32).collect(),
        };
        if shape.len() > DIMENSIONS {
            return unsupported(format!("{} dimensions; Luminal's shapes have {DIMENSIONS}", shape.len()));
        }
        let missing = Function(name.into(), Box::new(|_| panic!("a leaf has its data")));
        let node = self.0.add_op(missing).finish();
        self.0.keep_tensors(node);
        self.0.set_tensor(node, 0, Tensor::new(data));
        Ok(Value::new(node, tracker(&shape), &shape, dtype))
    }

    /// A tensor that is one number over and over.
    pub fn number(&mut self, number: f64, shape: &[usize]) -> Value {
        let node = self.0.add_op(Constant(ConstantValue::Float(number as f32), &raw const self.0.dyn_map)).finish();
        let value = Value::new(node, ShapeTracker::fake(&sizes(shape)), shape, Dtype::Float32);
        Value { zero: number == 0.0, ..value }
    }

    /// An operator of two tensors, given as they lie.
    fn join(&mut self, operator: impl Operator + 'static, x: &Value, y: &Value, shape: &[usize]) -> Value {
        let node = self.0.add_op(operator).input(x.node, 0, x.tracker).input(y.node, 0, y.tracker).finish();
        Value::new(node, tracker(shape), shape, Dtype::Float32)
    }

    /// An operator of each element. It leaves the data in its order.
    pub fn unary(&mut self, operator: impl Operator + 'static, x: &Value) -> Value {
        let node = self.0.add_op(operator).input(x.node, 0, x.tracker).finish();
        Value::new(node, x.tracker, &x.shape, Dtype::Float32)
    }

    fn binary(&mut self, operator: impl Operator + 'static, x: &Value, y: &Value) -> Value {
        let shape = broadcast(&x.shape, &y.shape);
        let (x, y) = (expand(x, &shape), expand(y, &shape));
        self.join(operator, &x, &y, &shape)
    }

    pub fn add(&mut self, x: &Value, y: &Value) -> Value {
        self.binary(Add, x, y)
    }

    pub fn mul(&mut self, x: &Value, y: &Value) -> Value {
        self.binary(Mul, x, y)
    }

    /// 1 where x < y, else 0.
    pub fn less(&mut self, x: &Value, y: &Value) -> Value {
        self.binary(LessThan, x, y)
    }

    fn scale(&mut self, x: &Value, number: f64) -> Value {
        let number = self.number(number, &x.shape);
        self.mul(x, &number)
    }

    pub fn exp(&mut self, x: &Value) -> Value {
        let power = self.scale(x, LOG2_E.into());
        self.unary(Exp2, &power)
    }

    pub fn log(&mut self, x: &Value) -> Value {
        let log = self.unary(Log2, x);
        self.scale(&log, LN_2.into())
    }

    /// Each element rounded towards 0.
    pub fn whole(&mut self, x: &Value) -> Value {
        let one = self.number(1.0, &x.shape);
        let rest = self.binary(Mod, x, &one);
        let less = self.scale(&rest, -1.0);
        self.add(x, &less)
    }

    /// The greater of x and y: the maximum along a dimension in which they lie side by side.
    ///
    /// Luminal's own is a sum of products with 0 and 1, which is no number where x or y is infinite.
    pub fn maximum(&mut self, x: &Value, y: &Value) -> Value {
        let shape = broadcast(&x.shape, &y.shape);
        let rows = [x, y].map(|one| {
            let wide = expand(one, &shape);
            self.reshape(&wide, &[1, shape.iter().product()])
        });
        let both = self.cat(&rows, 0);
        let largest = self.reduce(Reduce::Max, &both, 0);
        self.reshape(&largest, &shape)
    }

    /// A tensor whose data lies in the order in which it is looked at.
    pub fn plain(&mut self, x: &Value) -> Value {
        if is_plain(&x.tracker) { x.clone() } else { self.copy(x) }
    }

    pub fn copy(&mut self, x: &Value) -> Value {
        let node = self.0.add_op(Contiguous).input(x.node, 0, x.tracker).finish();
        Value::new(node, tracker(&x.shape), &x.shape, x.dtype)
    }

    pub fn reshape(&mut self, x: &Value, shape: &[usize]) -> Value {
        if x.zero {
            return self.number(0.0, shape);
        }
        let plain = self.plain(x);
        Value::new(plain.node, tracker(shape), shape, x.dtype)
    }

    pub fn slice(&mut self, x: &Value, dim: usize, start: usize, end: usize) -> Value {
        let mut cut = x.clone();
        let whole = (Expression::from(0), Expression::from(END));
        let mut ranges = vec![whole; x.shape.len()];
        ranges[dim] = (Expression::from(start), Expression::from(end));
        cut.tracker.slice(&ranges);
        cut.shape[dim] = end - start;
        self.copy(&cut)
    }

    /// A sum of padded tensors, as in Luminal's own. A tensor of zeros is not added: it is the padding of the others.
    pub fn cat(&mut self, tensors: &[Value], dim: usize) -> Value {
        let padded = self.side_by_side(tensors, dim);
        self.plain(&padded)
    }

    /// By halves, so that few sums are as large as the result.
    fn side_by_side(&mut self, tensors: &[Value], dim: usize) -> Value {
        let [one] = tensors else {
            let (first, second) = tensors.split_at(tensors.len() / 2);
            let (first, second) = (self.side_by_side(first, dim), self.side_by_side(second, dim));
            let (before, after) = (first.shape[dim], second.shape[dim]);
            let (first, second) = (pad(first, dim, 0, after), pad(second, dim, before, 0));
            return match (first.zero, second.zero) {
                (true, _) => second,
                (_, true) => first,
                _ => self.add(&first, &second),
            };
        };
        if one.zero { one.clone() } else { self.plain(one) }
    }

    /// Reduce along one dimension, which stays with size 1.
    pub fn reduce(&mut self, kind: Reduce, x: &Value, dim: usize) -> Value {
        let node = match kind {
            Reduce::Max => self.0.add_op(MaxReduce(dim)),
            _ => self.0.add_op(SumReduce(dim)),
        };
        let node = node.input(x.node, 0, x.tracker).finish();
        let mut shape = x.shape.clone();
        shape[dim] = 1;
        Value::new(node, tracker(&shape), &shape, x.dtype)
    }

    /// The product of matrices (M, K) and (K, N). Either may be a transposed view.
    pub fn matmul(&mut self, x: &Value, y: &Value) -> Value {
        self.join(MatMul2D, x, y, &[x.shape[0], y.shape[1]])
    }

    /// Rows of a table. Luminal has a lookup, but it is private: its compiler puts it in place of a product with one-hot
    /// rows as wide as the table. This is the same loop.
    pub fn rows(&mut self, table: &Value, indices: &Value, shape: &[usize]) -> Value {
        let (table, indices) = (self.plain(table), self.plain(indices));
        let width = table.shape[1];
        let lookup = move |given: Vec<(InputTensor, _)>| {
            let [table, indices] = [0, 1].map(|at| floats(given[at].0.borrowed()).expect("the CPU has no other"));
            let row = |index: &f32| &table[*index as usize * width..][..width];
            vec![Tensor::new(indices.iter().flat_map(row).copied().collect::<Vec<f32>>())]
        };
        self.join(Function("rows".into(), Box::new(lookup)), &table, &indices, shape)
    }
}

pub fn permute(x: &Value, dims: &[usize]) -> Value {
    let mut turned = x.clone();
    turned.tracker.permute(dims);
    turned.shape = dims.iter().map(|dim| x.shape[*dim]).collect();
    turned
}

/// Dimensions of size 1 repeated, and new ones before them: nothing is copied.
pub fn expand(x: &Value, shape: &[usize]) -> Value {
    let mut wide = x.clone();
    for _ in x.shape.len()..shape.len() {
        wide.tracker.expand(0, Expression::from(1));
        wide.shape.insert(0, 1);
    }
    for (dim, size) in shape.iter().enumerate() {
        if wide.shape[dim] != *size {
            wide.tracker.remove_dim(dim);
            wide.tracker.expand(dim, Expression::from(*size));
            wide.shape[dim] = *size;
        }
    }
    wide
}

/// More rows on either side, which are 0.
fn pad(mut x: Value, dim: usize, before: usize, after: usize) -> Value {
    let mut padding = vec![(Expression::from(0), Expression::from(0)); x.shape.len()];
    padding[dim] = (Expression::from(before), Expression::from(after));
    x.tracker.pad(&padding);
    x.shape[dim] += before + after;
    x
}

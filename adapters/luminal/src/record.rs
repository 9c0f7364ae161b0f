//! Luminal's graph by node numbers and run-time shapes. Luminal's own tensors, sized at compile time, stand on it.

use inferena_worker::{Array, Data, Dtype, Result, unsupported};
use luminal::op::{Add, Constant, ConstantValue, Contiguous, Exp2, LessThan, Log2, MaxReduce, Mul, Operator, Recip};
use luminal::op::{Sqrt, SumReduce};
use luminal::prelude::petgraph::graph::NodeIndex;
use luminal::prelude::{Graph, MatMul2D, Tensor};
use luminal::shape::symbolic::Expression;
use luminal::shape::tracker::ShapeTracker;
use std::f32::consts::{LN_2, LOG2_E};

/// Integers beyond it are not exact in float32, the only type of Luminal's operators on CPU.
const EXACT: u64 = 1 << 24;
/// Dimensions that a shape of Luminal's can have.
const DIMENSIONS: usize = 6;
/// Stands for the end of a dimension that is not cut.
const END: i32 = i32::MAX;

/// A tensor of the graph: a node's data, and a tracker that says in which order to look at it.
#[derive(Clone)]
pub struct Value {
    pub node: NodeIndex,
    tracker: ShapeTracker,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
}

impl Value {
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
        let missing = luminal::op::Function(name.into(), Box::new(|_| panic!("a leaf has its data")));
        let node = self.0.add_op(missing).finish();
        self.0.keep_tensors(node);
        self.0.set_tensor(node, 0, Tensor::new(data));
        Ok(Value { node, tracker: tracker(&shape), shape, dtype })
    }

    /// A tensor that is one number over and over.
    pub fn number(&mut self, number: f64, shape: &[usize]) -> Value {
        let node = self.0.add_op(Constant(ConstantValue::Float(number as f32), &raw const self.0.dyn_map)).finish();
        let tracker = ShapeTracker::fake(&sizes(shape));
        Value { node, tracker, shape: shape.to_vec(), dtype: Dtype::Float32 }
    }

    /// An operator of two tensors, given as they lie.
    pub fn join(&mut self, operator: impl Operator + 'static, x: &Value, y: &Value, shape: &[usize]) -> Value {
        let node = self.0.add_op(operator).input(x.node, 0, x.tracker).input(y.node, 0, y.tracker).finish();
        Value { node, tracker: tracker(shape), shape: shape.to_vec(), dtype: Dtype::Float32 }
    }

    pub fn unary(&mut self, operator: impl Operator + 'static, x: &Value) -> Value {
        let node = self.0.add_op(operator).input(x.node, 0, x.tracker).finish();
        Value { node, dtype: Dtype::Float32, ..x.clone() }
    }

    fn binary(&mut self, operator: impl Operator + 'static, x: &Value, y: &Value) -> Value {
        let rank = x.shape.len().max(y.shape.len());
        let size =
            |value: &Value, dim: usize| (dim + value.shape.len()).checked_sub(rank).map_or(1, |at| value.shape[at]);
        let shape: Vec<usize> = (0..rank).map(|dim| size(x, dim).max(size(y, dim))).collect();
        let (x, y) = (expand(x, &shape), expand(y, &shape));
        Value { dtype: x.dtype, ..self.join(operator, &x, &y, &shape) }
    }

    pub fn add(&mut self, x: &Value, y: &Value) -> Value {
        self.binary(Add, x, y)
    }

    pub fn mul(&mut self, x: &Value, y: &Value) -> Value {
        self.binary(Mul, x, y)
    }

    /// 1 where x < y, else 0.
    pub fn less(&mut self, x: &Value, y: &Value) -> Value {
        let less = self.binary(LessThan, x, y);
        Value { dtype: Dtype::Bool, ..less }
    }

    pub fn add_number(&mut self, x: &Value, number: f64) -> Value {
        let number = self.number(number, &x.shape);
        self.add(x, &number)
    }

    pub fn scale(&mut self, x: &Value, number: f64) -> Value {
        let number = self.number(number, &x.shape);
        self.mul(x, &number)
    }

    pub fn sub(&mut self, x: &Value, y: &Value) -> Value {
        let less = self.scale(y, -1.0);
        self.add(x, &less)
    }

    pub fn div(&mut self, x: &Value, y: &Value) -> Value {
        let share = self.unary(Recip, y);
        self.mul(x, &share)
    }

    /// 1 - x.
    pub fn not(&mut self, x: &Value) -> Value {
        let less = self.scale(x, -1.0);
        let other = self.add_number(&less, 1.0);
        Value { dtype: Dtype::Bool, ..other }
    }

    pub fn exp(&mut self, x: &Value) -> Value {
        let power = self.scale(x, LOG2_E.into());
        self.unary(Exp2, &power)
    }

    pub fn log(&mut self, x: &Value) -> Value {
        let log = self.unary(Log2, x);
        self.scale(&log, LN_2.into())
    }

    pub fn rsqrt(&mut self, x: &Value) -> Value {
        let root = self.unary(Sqrt, x);
        self.unary(Recip, &root)
    }

    pub fn sigmoid(&mut self, x: &Value) -> Value {
        let less = self.scale(x, -1.0);
        let power = self.exp(&less);
        let sum = self.add_number(&power, 1.0);
        self.unary(Recip, &sum)
    }

    /// 2 σ(2x) - 1, as in Luminal's own.
    pub fn tanh(&mut self, x: &Value) -> Value {
        let double = self.scale(x, 2.0);
        let share = self.sigmoid(&double);
        let double = self.scale(&share, 2.0);
        self.add_number(&double, -1.0)
    }

    /// The greater of x and y.
    pub fn maximum(&mut self, x: &Value, y: &Value) -> Value {
        let less = self.less(x, y);
        let difference = self.sub(y, x);
        let step = self.mul(&less, &difference);
        let result = self.add(x, &step);
        Value { dtype: x.dtype, ..result }
    }

    /// A tensor whose data lies in the order in which it is looked at.
    pub fn plain(&mut self, x: &Value) -> Value {
        if is_plain(&x.tracker) { x.clone() } else { self.copy(x) }
    }

    pub fn copy(&mut self, x: &Value) -> Value {
        let node = self.0.add_op(Contiguous).input(x.node, 0, x.tracker).finish();
        Value { node, tracker: tracker(&x.shape), ..x.clone() }
    }

    pub fn reshape(&mut self, x: &Value, shape: &[usize]) -> Value {
        let plain = self.plain(x);
        Value { tracker: tracker(shape), shape: shape.to_vec(), ..plain }
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

    /// A sum of padded tensors, as in Luminal's own. It goes by halves, so that few sums are as large as the result.
    pub fn cat(&mut self, tensors: &[Value], dim: usize) -> Value {
        let [one] = tensors else {
            let (first, second) = tensors.split_at(tensors.len() / 2);
            let (mut first, mut second) = (self.cat(first, dim), self.cat(second, dim));
            let (before, after) = (first.shape[dim], second.shape[dim]);
            for (value, left, right) in [(&mut first, 0, after), (&mut second, before, 0)] {
                let mut padding = vec![(Expression::from(0), Expression::from(0)); value.shape.len()];
                padding[dim] = (Expression::from(left), Expression::from(right));
                value.tracker.pad(&padding);
                value.shape[dim] = before + after;
            }
            return self.add(&first, &second);
        };
        self.plain(one)
    }

    /// Reduce along one dimension, which stays with size 1.
    fn reduce(&mut self, operator: impl Operator + 'static, x: &Value, dim: usize) -> Value {
        let node = self.0.add_op(operator).input(x.node, 0, x.tracker).finish();
        let mut shape = x.shape.clone();
        shape[dim] = 1;
        Value { node, tracker: tracker(&shape), shape, dtype: x.dtype }
    }

    pub fn sum(&mut self, x: &Value, dim: usize) -> Value {
        self.reduce(SumReduce(dim), x, dim)
    }

    pub fn max(&mut self, x: &Value, dim: usize) -> Value {
        self.reduce(MaxReduce(dim), x, dim)
    }

    pub fn mean(&mut self, x: &Value, dim: usize) -> Value {
        let sum = self.sum(x, dim);
        self.scale(&sum, 1.0 / x.shape[dim] as f64)
    }

    /// The product of matrices (M, K) and (K, N). Either may be a transposed view.
    pub fn matmul(&mut self, x: &Value, y: &Value) -> Value {
        self.join(MatMul2D, x, y, &[x.shape[0], y.shape[1]])
    }

    pub fn softmax(&mut self, x: &Value, dim: usize) -> Value {
        let largest = self.max(x, dim);
        let less = self.sub(x, &largest);
        let power = self.exp(&less);
        let sum = self.sum(&power, dim);
        self.div(&power, &sum)
    }

    /// Every row, brought to mean square 1.
    pub fn normal(&mut self, x: &Value, dim: usize, eps: f64) -> Value {
        let square = self.mul(x, x);
        let mean = self.mean(&square, dim);
        let mean = self.add_number(&mean, eps);
        let scale = self.rsqrt(&mean);
        self.mul(x, &scale)
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

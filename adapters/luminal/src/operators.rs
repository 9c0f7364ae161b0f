//! The operator table: what Luminal's primitive operators are, and no more. The preparer writes all else with these.

use crate::record::{DIMENSIONS, Record, Value, expand, permute};
use inferena_worker::{Binary, Compare, Dtype, Node, Op, Reduce, Result, Unary, unsupported};
use luminal::op::{Recip, Sin, Sqrt};

pub const OPERATORS: &str = r#"{
    "add": {}, "mul": {}, "div": {}, "maximum": {}, "lt": {}, "exp": {}, "log": {}, "sin": {}, "sqrt": {},
    "sum": {}, "amax": {}, "full": {}, "to": {"dtype": ["float32", "int64", "int32"]},
    "reshape": {}, "expand": {}, "permute": {}, "slice": {"step": [1]}, "cat": {}, "embedding": {}, "matmul": {}
}"#;

/// Record one operator.
pub fn apply(r: &mut Record, node: &Node, x: &[Value]) -> Result<Value> {
    let shape = &node.out.shape[..];
    if shape.len() > DIMENSIONS {
        return unsupported(format!("more than {DIMENSIONS} dimensions"));
    }
    let value = match &node.op {
        Op::Unary(kind) => unary(r, *kind, &x[0])?,
        Op::Binary(kind) => binary(r, *kind, &x[0], &x[1])?,
        Op::Scalar(kind, number) => {
            let number = r.number(*number, &x[0].shape);
            binary(r, *kind, &x[0], &number)?
        }
        Op::ScalarFirst(Binary::Div, 1.0) => r.unary(Recip, &x[0]),
        Op::ScalarFirst(kind, number) => {
            let number = r.number(*number, &x[0].shape);
            binary(r, *kind, &number, &x[0])?
        }
        Op::Compare(Compare::Lt) => r.less(&x[0], &x[1]),
        Op::CompareScalar(Compare::Lt, number) => {
            let number = r.number(*number, &x[0].shape);
            r.less(&x[0], &number)
        }
        Op::Reshape => r.reshape(&x[0], shape),
        Op::Expand => expand(&x[0], shape),
        Op::Full(number) => r.number(*number, shape),
        Op::To if x[0].dtype == Dtype::Float32 && node.dtype()? == Dtype::Int64 => r.whole(&x[0]),
        Op::To => x[0].clone(), // all are float32
        Op::Permute { dims } => permute(&x[0], dims),
        Op::Slice { dim, start, end, step: 1 } => r.slice(&x[0], *dim, *start, *end),
        Op::Cat { dim } => r.cat(x, *dim),
        Op::Reduce { kind: kind @ (Reduce::Sum | Reduce::Max), dims } => {
            let dims: Vec<usize> = if dims.is_empty() { (0..x[0].shape.len()).collect() } else { dims.clone() };
            let reduced = dims.iter().fold(x[0].clone(), |value, dim| r.reduce(*kind, &value, *dim));
            r.reshape(&reduced, shape)
        }
        Op::Embedding => r.rows(&x[0], &x[1], shape),
        Op::Matmul => matmul(r, &x[0], &x[1], shape),
        _ => return unsupported(""),
    };
    Ok(value.of(node.dtype()?))
}

fn unary(r: &mut Record, kind: Unary, x: &Value) -> Result<Value> {
    Ok(match kind {
        Unary::Exp => r.exp(x),
        Unary::Log => r.log(x),
        Unary::Sin => r.unary(Sin, x),
        Unary::Sqrt => r.unary(Sqrt, x),
        _ => return unsupported(""),
    })
}

fn binary(r: &mut Record, kind: Binary, x: &Value, y: &Value) -> Result<Value> {
    Ok(match kind {
        Binary::Add => r.add(x, y),
        Binary::Mul => r.mul(x, y),
        Binary::Div => {
            let share = r.unary(Recip, y);
            r.mul(x, &share)
        }
        Binary::Maximum => r.maximum(x, y),
        _ => return unsupported(""),
    })
}

/// A product of matrices, or one for each pair of batches that broadcast.
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

/// A tensor without batches as a matrix. One that has two dimensions stays as it lies.
fn matrix(r: &mut Record, x: &Value, rows: usize, columns: usize) -> Value {
    if x.shape.len() == 2 { x.clone() } else { r.reshape(x, &[rows, columns]) }
}

//! The operator table, spelled by Luminal's primitive operators.

use crate::products::{attention, matmul, rows};
use crate::record::{Record, Value, expand, permute};
use inferena_worker::{Binary, Compare, Dtype, Node, Op, Reduce, Result, Unary, unsupported};
use luminal::op::{Recip, Sin, Sqrt};
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

pub const OPERATORS: &str = r#"{
    "abs": {}, "cos": {}, "detach": {}, "exp": {}, "gelu": {"approximate": ["tanh"]}, "log": {}, "neg": {},
    "logical_not": {}, "relu": {}, "rsqrt": {}, "sigmoid": {}, "silu": {}, "sin": {}, "sqrt": {}, "tanh": {},
    "add": {}, "sub": {}, "mul": {}, "div": {}, "maximum": {}, "minimum": {}, "logical_and": {}, "logical_or": {},
    "pow": {"self": ["tensor"], "exponent": [1, 2, 3, 0.5, -0.5, -1]},
    "eq": {}, "ne": {}, "lt": {}, "le": {}, "gt": {}, "ge": {}, "to": {"dtype": ["float32", "int64"]}, "full": {},
    "mean": {}, "sum": {}, "amax": {}, "softmax": {}, "log_softmax": {},
    "reshape": {}, "expand": {}, "permute": {}, "slice": {"step": [1]}, "cat": {}, "embedding": {},
    "matmul": {}, "linear": {}, "layer_norm": {}, "rms_norm": {}, "rotary_embedding": {},
    "scaled_dot_product_attention": {"attn_mask": [null], "rank": [4]}
}"#;

/// Record one operator.
pub fn apply(r: &mut Record, node: &Node, x: &[Value]) -> Result<Value> {
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

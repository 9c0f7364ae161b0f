//! The operator table.

use crate::windows;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops;
use inferena_worker::{Binary, Compare, Dtype, Node, Op, Reduce, Result, Unary, unsupported};

pub type Made = candle_core::Result<Tensor>;

pub const OPERATORS: &str = r#"{
    "abs": {}, "cos": {}, "detach": {}, "erf": {}, "exp": {}, "gelu": {}, "log": {}, "neg": {}, "relu": {}, "sigmoid": {},
    "silu": {}, "sin": {}, "sqrt": {}, "tanh": {}, "clamp": {},
    "add": {}, "sub": {}, "mul": {}, "div": {}, "pow": {}, "maximum": {}, "minimum": {}, "where": {}, "to": {}, "full": {},
    "eq": {}, "ne": {}, "lt": {}, "le": {}, "gt": {}, "ge": {}, "mean": {}, "sum": {}, "amax": {},
    "reshape": {}, "expand": {}, "permute": {}, "slice": {}, "cat": {}, "gather": {}, "index_select": {}, "embedding": {},
    "matmul": {},
    "conv1d": {"trains": [false]},
    "conv2d": {"stride": ["equal"], "padding": ["equal"], "dilation": ["equal"], "trains": [false]},
    "max_pool2d": {"dilation": [1], "ceil_mode": [false], "trains": [false]},
    "softmax": {"dim": ["last"], "trains": [false]},
    "layer_norm": {"weight": ["tensor"], "bias": ["tensor"], "trains": [false]},
    "rms_norm": {"weight": ["tensor"], "trains": [false]},
    "rotary_embedding": {"trains": [false]}
}"#;

/// Compute one operator.
pub fn apply(device: &Device, node: &Node, x: &[Tensor]) -> Result<Tensor> {
    let shape = &node.out.shape[..];
    Ok(match &node.op {
        Op::Unary(kind) => unary(*kind, &x[0])?,
        Op::Binary(kind) => binary(*kind, &x[0], &x[1], shape)?,
        Op::Scalar(kind, number) => scalar(*kind, &x[0], *number)?,
        Op::ScalarFirst(kind, number) => binary(*kind, &filled(*number, &x[0])?, &x[0], shape)?,
        Op::Compare(kind) => compare(*kind, &x[0], &x[1], shape)?,
        Op::CompareScalar(kind, number) => {
            let x = if number.fract() == 0.0 { x[0].clone() } else { x[0].to_dtype(DType::F32)? };
            compare(*kind, &x, &filled(*number, &x)?, shape)?
        }
        Op::Reshape => x[0].reshape(shape)?,
        Op::Expand => x[0].broadcast_as(shape)?,
        Op::Full(number) => Tensor::full(*number, shape, device)?.to_dtype(stored(node.dtype()?))?,
        Op::To => cast(&x[0], node.dtype()?)?,
        Op::Permute { dims } => x[0].permute(dims.as_slice())?,
        Op::Slice { dim, start, end, step } => {
            windows::strided(&x[0], *dim, *start, *step, (end - start).div_ceil(*step))?
        }
        Op::Cat { dim } => Tensor::cat(x, *dim)?,
        Op::Reduce { kind, dims } => reduce(*kind, &x[0], dims, shape)?,
        Op::Clamp { min, max } => x[0].clamp(min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY))?,
        Op::Where { then, otherwise } => {
            let mut given = x[1..].iter();
            let mut side = |number: &Option<f64>| -> Result<Tensor> {
                Ok(match number {
                    Some(number) => Tensor::full(*number, shape, device)?.to_dtype(stored(node.dtype()?))?,
                    None => given.next().expect("the program has it").broadcast_as(shape)?,
                })
            };
            let (then, otherwise) = (side(then)?, side(otherwise)?);
            x[0].broadcast_as(shape)?.where_cond(&then, &otherwise)?
        }
        Op::Softmax { .. } => ops::softmax_last_dim(&x[0].contiguous()?)?,
        Op::Gather { dim } => x[0].contiguous()?.gather(&x[1].contiguous()?, *dim)?,
        Op::IndexSelect { dim } => x[0].index_select(&x[1].contiguous()?, *dim)?,
        Op::Embedding => x[0].index_select(&x[1].flatten_all()?, 0)?.reshape(shape)?,
        Op::Matmul if x[1].rank() == 2 => {
            x[0].reshape(((), x[0].dim(D::Minus1)?))?.matmul(&matrices(&x[1])?)?.reshape(shape)?
        }
        Op::Matmul => batches(&x[0], shape)?.matmul(&batches(&x[1], shape)?)?,
        Op::Convolution { stride, padding, dilation, groups } => {
            windows::convolution(x, stride[0], padding[0], dilation[0], *groups)?
        }
        Op::MaxPool2d { kernel_size, stride, padding, .. } => {
            windows::max_pool(&x[0], *kernel_size, *stride, *padding)?
        }
        Op::LayerNorm { normalized_shape, eps } => {
            let (rows, w, b) = (rows(&x[0], normalized_shape)?, x[1].flatten_all()?, x[2].flatten_all()?);
            ops::layer_norm(&rows, &w, &b, *eps as f32)?.reshape(shape)?
        }
        Op::RmsNorm { normalized_shape, eps } => {
            let rows = rows(&x[0], normalized_shape)?;
            ops::rms_norm(&rows, &x[1].flatten_all()?, *eps as f32)?.reshape(shape)?
        }
        Op::Rotary => candle_nn::rotary_emb::rope(&x[0].contiguous()?, &x[1].contiguous()?, &x[2].contiguous()?)?,
        _ => return unsupported(""),
    })
}

fn stored(dtype: Dtype) -> DType {
    match dtype {
        Dtype::Float32 => DType::F32,
        Dtype::Int64 => DType::I64,
        Dtype::Bool => DType::U8,
    }
}

/// A number in a tensor's type, to broadcast with it.
fn filled(number: f64, like: &Tensor) -> Made {
    Tensor::full(number, vec![1; like.rank()], like.device())?.to_dtype(like.dtype())
}

fn cast(x: &Tensor, dtype: Dtype) -> Made {
    match (x.dtype(), dtype) {
        (_, Dtype::Bool) => x.ne(&x.zeros_like()?),
        (DType::F32, Dtype::Int64) => x.to_dtype(DType::I64), // towards zero, as everywhere
        _ => x.to_dtype(stored(dtype)),
    }
}

fn unary(kind: Unary, x: &Tensor) -> Made {
    match kind {
        Unary::Abs => x.abs(),
        Unary::Cos => x.cos(),
        Unary::Detach => Ok(x.detach()),
        Unary::Erf => x.erf(),
        Unary::Exp => x.exp(),
        Unary::Gelu => x.gelu_erf(),
        Unary::GeluTanh => x.gelu(),
        Unary::Log => x.log(),
        Unary::Neg => x.neg(),
        Unary::Relu => x.relu(),
        Unary::Sigmoid => ops::sigmoid(x),
        Unary::Silu => x.silu(),
        Unary::Sin => x.sin(),
        Unary::Sqrt => x.sqrt(),
        Unary::Tanh => x.tanh(),
        Unary::Log1p | Unary::Not | Unary::Rsqrt => unreachable!("the preparer writes them with others"),
    }
}

fn binary(kind: Binary, x: &Tensor, y: &Tensor, shape: &[usize]) -> Made {
    match kind {
        Binary::Add => x.broadcast_add(y),
        Binary::Sub => x.broadcast_sub(y),
        Binary::Mul => x.broadcast_mul(y),
        Binary::Div => x.broadcast_div(y),
        Binary::Pow => x.broadcast_as(shape)?.pow(&y.broadcast_as(shape)?),
        Binary::Maximum => x.broadcast_maximum(y),
        Binary::Minimum => x.broadcast_minimum(y),
        Binary::And | Binary::Or => unreachable!("the preparer writes them with others"),
    }
}

fn scalar(kind: Binary, x: &Tensor, number: f64) -> Made {
    let float = x.dtype() == DType::F32;
    match kind {
        Binary::Add if float => x.affine(1.0, number),
        Binary::Sub if float => x.affine(1.0, -number),
        Binary::Mul if float => x.affine(number, 0.0),
        Binary::Div if float => x.affine(1.0 / number, 0.0),
        Binary::Pow if number.to_bits() == 2f64.to_bits() => x.sqr(),
        Binary::Pow if float => x.powf(number),
        _ => binary(kind, x, &filled(number, x)?, x.dims()),
    }
}

fn compare(kind: Compare, x: &Tensor, y: &Tensor, shape: &[usize]) -> Made {
    let (x, y) = (x.broadcast_as(shape)?, y.broadcast_as(shape)?);
    match kind {
        Compare::Eq => x.eq(&y),
        Compare::Ne => x.ne(&y),
        Compare::Lt => x.lt(&y),
        Compare::Le => x.le(&y),
        Compare::Gt => x.gt(&y),
        Compare::Ge => x.ge(&y),
    }
}

fn reduce(kind: Reduce, x: &Tensor, dims: &[usize], shape: &[usize]) -> Made {
    let dims: Vec<usize> = if dims.is_empty() { (0..x.rank()).collect() } else { dims.to_vec() };
    match kind {
        Reduce::Mean => x.mean_keepdim(dims)?,
        Reduce::Sum => x.sum_keepdim(dims)?,
        Reduce::Max => dims.iter().try_fold(x.clone(), |x, dim| x.max_keepdim(*dim))?,
    }
    .reshape(shape)
}

/// Matrices as often as a product has batches; a single one is not copied for that.
fn batches(x: &Tensor, shape: &[usize]) -> Made {
    let (x, rank) = (matrices(x)?, shape.len());
    let wide = [&shape[..rank - 2], &x.dims()[x.rank() - 2..]].concat();
    match x.elem_count() {
        _ if x.dims() == wide => Ok(x),
        count if count == wide[rank - 2] * wide[rank - 1] => x.broadcast_as(wide),
        _ => x.broadcast_as(wide)?.contiguous(),
    }
}

/// Matrices one behind the other, by rows or by columns as they were: Candle multiplies no others.
fn matrices(x: &Tensor) -> Made {
    if x.is_contiguous() || x.t()?.is_contiguous() {
        return Ok(x.clone());
    }
    if x.stride()[x.rank() - 2] == 1 { x.t()?.contiguous()?.t() } else { x.contiguous() }
}

/// All but the last dimensions as one.
fn rows(x: &Tensor, last: &[usize]) -> Made {
    x.reshape(((), last.iter().product::<usize>()))?.contiguous()
}

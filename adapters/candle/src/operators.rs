//! The operator table.

use crate::layers::{attention, linear, normalized, per_channel};
use crate::windows;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops;
use inferena_worker::{Binary, Compare, Dtype, MEAN, Node, Op, Reduce, Result, Unary, unsupported};

pub type Made = candle_core::Result<Tensor>;

pub const OPERATORS: &str = r#"{
    "abs": {}, "clamp": {}, "pow": {}, "cumsum": {"dtype": ["float32"]},
    "cos": {}, "detach": {}, "erf": {}, "exp": {}, "gelu": {}, "log": {}, "log1p": {}, "neg": {}, "logical_not": {},
    "relu": {}, "rsqrt": {}, "sigmoid": {}, "silu": {}, "sin": {}, "sqrt": {}, "tanh": {},
    "add": {}, "sub": {}, "mul": {}, "div": {}, "maximum": {}, "minimum": {}, "logical_and": {}, "logical_or": {},
    "eq": {}, "ne": {}, "lt": {}, "le": {}, "gt": {}, "ge": {}, "where": {}, "to": {}, "full": {},
    "mean": {}, "sum": {}, "amax": {}, "softmax": {}, "log_softmax": {},
    "reshape": {}, "expand": {}, "permute": {}, "slice": {}, "cat": {}, "gather": {}, "index_select": {}, "embedding": {},
    "matmul": {}, "linear": {}, "conv1d": {}, "conv2d": {}, "upsample_nearest2d": {},
    "batch_norm": {}, "group_norm": {}, "layer_norm": {}, "rotary_embedding": {},
    "max_pool2d": {"dilation": [1], "ceil_mode": [false]},
    "rms_norm": {"weight": ["tensor"]},
    "scaled_dot_product_attention": {"rank": [4]},
    "cross_entropy_loss": {"weight": [null], "label_smoothing": [0.0], "reduction": [1, 2], "rank": [2]},
    "mse_loss": {"reduction": [1, 2]}
}"#;

/// Compute one operator; `trains` says that gradients will be asked for.
#[allow(clippy::too_many_lines)] // a table
pub fn apply(device: &Device, node: &Node, x: &[Tensor], trains: bool) -> Result<Tensor> {
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
        Op::Softmax { dim } if *dim + 1 == shape.len() && !trains => ops::softmax_last_dim(&x[0].contiguous()?)?,
        Op::Softmax { dim } => ops::softmax(&x[0], *dim)?,
        Op::LogSoftmax { dim } => ops::log_softmax(&x[0], *dim)?,
        Op::Cumsum { .. } if x[0].dtype() != DType::F32 => return unsupported("of integers"),
        Op::Cumsum { dim } => x[0].cumsum(*dim)?,
        Op::Gather { dim } => x[0].contiguous()?.gather(&x[1].contiguous()?, *dim)?,
        Op::IndexSelect { dim } => x[0].index_select(&x[1].contiguous()?, *dim)?,
        Op::Embedding => x[0].index_select(&x[1].flatten_all()?, 0)?.reshape(shape)?,
        Op::Matmul => x[0].broadcast_matmul(&x[1])?,
        Op::Linear => linear(&x[0], &x[1], x.get(2), shape)?,
        Op::Convolution { stride, padding, dilation, groups } => {
            windows::convolution(x, stride, padding, dilation, *groups, shape, trains)?
        }
        Op::MaxPool2d { kernel_size, stride, padding, dilation: [1, 1] } => {
            windows::max_pool(&x[0], *kernel_size, *stride, *padding, shape, trains)?
        }
        Op::MaxPool2d { .. } => return unsupported("dilation"),
        Op::Upsample2d => windows::upsample(&x[0], shape)?,
        Op::BatchNorm { eps } => {
            let wide = per_channel(shape);
            let scale = x[1].div(&x[4].affine(1.0, *eps)?.sqrt()?)?;
            let shift = x[2].sub(&x[3].mul(&scale)?)?;
            x[0].broadcast_mul(&scale.reshape(&wide[..])?)?.broadcast_add(&shift.reshape(&wide[..])?)?
        }
        Op::GroupNorm { num_groups, eps } => {
            let rows = x[0].reshape((shape[0], *num_groups, ()))?;
            let wide = per_channel(shape);
            let normal = normalized(&rows, *eps)?.reshape(shape)?;
            match (x.get(1), x.get(2)) {
                (Some(w), Some(b)) => {
                    normal.broadcast_mul(&w.reshape(&wide[..])?)?.broadcast_add(&b.reshape(&wide[..])?)?
                }
                (Some(w), None) => normal.broadcast_mul(&w.reshape(&wide[..])?)?,
                _ => normal,
            }
        }
        Op::LayerNorm { normalized_shape, eps } => {
            let width: usize = normalized_shape.iter().product();
            let rows = x[0].reshape(((), width))?;
            let flat = |at: usize| x.get(at).map(Tensor::flatten_all).transpose();
            let normal = match (flat(1)?, flat(2)?) {
                (Some(w), Some(b)) if !trains => ops::layer_norm(&rows.contiguous()?, &w, &b, *eps as f32)?,
                (Some(w), Some(b)) => normalized(&rows, *eps)?.broadcast_mul(&w)?.broadcast_add(&b)?,
                (Some(w), None) => normalized(&rows, *eps)?.broadcast_mul(&w)?,
                _ => normalized(&rows, *eps)?,
            };
            normal.reshape(shape)?
        }
        Op::RmsNorm { normalized_shape, eps } => {
            let width: usize = normalized_shape.iter().product();
            let rows = x[0].reshape(((), width))?;
            let Some(weight) = x.get(1) else { return unsupported("without a weight") };
            let weight = weight.flatten_all()?;
            let normal = if trains {
                let mean = rows.sqr()?.mean_keepdim(D::Minus1)?;
                rows.broadcast_div(&(mean + *eps)?.sqrt()?)?.broadcast_mul(&weight)?
            } else {
                ops::rms_norm(&rows.contiguous()?, &weight, *eps as f32)?
            };
            normal.reshape(shape)?
        }
        Op::Rotary if trains => candle_nn::rotary_emb::rope_slow(&x[0], &x[1], &x[2])?,
        Op::Rotary => candle_nn::rotary_emb::rope(&x[0].contiguous()?, &x[1].contiguous()?, &x[2].contiguous()?)?,
        Op::Attention { scale, is_causal } => attention(x, *scale, *is_causal, shape, trains)?,
        Op::CrossEntropy { ignore_index, reduction } => {
            let kept = x[1].ne(*ignore_index)?;
            let target = kept.where_cond(&x[1], &x[1].zeros_like()?)?.unsqueeze(1)?;
            let picked = ops::log_softmax(&x[0], 1)?.gather(&target, 1)?.squeeze(1)?;
            let kept = kept.to_dtype(DType::F32)?;
            let total = (picked * &kept)?.sum_all()?.neg()?;
            if *reduction == MEAN { total.div(&kept.sum_all()?)? } else { total }
        }
        Op::MseLoss { reduction } => {
            let squares = x[0].broadcast_sub(&x[1])?.sqr()?;
            if *reduction == MEAN { squares.mean_all()? } else { squares.sum_all()? }
        }
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
        Unary::Log1p => x.affine(1.0, 1.0)?.log(),
        Unary::Neg => x.neg(),
        Unary::Not => x.eq(&x.zeros_like()?),
        Unary::Relu => x.relu(),
        Unary::Rsqrt => x.sqrt()?.recip(),
        Unary::Sigmoid => ops::sigmoid(x),
        Unary::Silu => x.silu(),
        Unary::Sin => x.sin(),
        Unary::Sqrt => x.sqrt(),
        Unary::Tanh => x.tanh(),
    }
}

fn binary(kind: Binary, x: &Tensor, y: &Tensor, shape: &[usize]) -> Made {
    match kind {
        Binary::Add => x.broadcast_add(y),
        Binary::Sub => x.broadcast_sub(y),
        Binary::Mul | Binary::And => x.broadcast_mul(y),
        Binary::Div => x.broadcast_div(y),
        Binary::Pow => x.broadcast_as(shape)?.pow(&y.broadcast_as(shape)?),
        Binary::Maximum | Binary::Or => x.broadcast_maximum(y),
        Binary::Minimum => x.broadcast_minimum(y),
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

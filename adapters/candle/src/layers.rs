//! Products, norms and attention.

use crate::operators::Made;
use candle_core::{D, DType, Tensor};
use candle_nn::ops;

/// x·wᵀ + b. The rows of all batches are one matrix.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, shape: &[usize]) -> Made {
    let y = x.reshape(((), x.dim(D::Minus1)?))?.matmul(&weight.t()?)?;
    let y = if let Some(bias) = bias { y.broadcast_add(bias)? } else { y };
    y.reshape(shape)
}

/// The shape in which one number for each channel broadcasts with (B, C, …).
pub fn per_channel(shape: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().map(|(dim, size)| if dim == 1 { *size } else { 1 }).collect()
}

/// Every row, brought to mean 0 and variance 1.
pub fn normalized(rows: &Tensor, eps: f64) -> Made {
    let centred = rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)
}

/// Attention. Heads that share a key are rows of one product, so that keys and values need not be repeated.
pub fn attention(x: &[Tensor], scale: f64, causal: bool, shape: &[usize], trains: bool) -> Made {
    let (query, key, value) = (&x[0], x[1].contiguous()?, x[2].contiguous()?);
    let (batch, heads, rows, width) = query.dims4()?;
    let (_, groups, columns, _) = key.dims4()?;
    let merged = heads / groups * rows;
    let query = query.contiguous()?.reshape((batch, groups, merged, width))?;
    let scores = (query.matmul(&key.t()?)? * scale)?.reshape((batch, heads, rows, columns))?;
    let scores = match x.get(3) {
        Some(mask) if mask.dtype() == DType::F32 => scores.broadcast_add(mask)?,
        Some(mask) => masked(&scores, mask)?,
        None if causal => {
            let seen = (0..rows * columns).map(|at| u8::from(at % columns <= at / columns)).collect();
            masked(&scores, &Tensor::from_vec(seen, (rows, columns), scores.device())?)?
        }
        None => scores,
    };
    let shares = if trains { ops::softmax(&scores, D::Minus1)? } else { ops::softmax_last_dim(&scores)? };
    shares.reshape((batch, groups, merged, columns))?.matmul(&value)?.reshape(shape)
}

fn masked(scores: &Tensor, seen: &Tensor) -> Made {
    let hidden = Tensor::full(f32::NEG_INFINITY, scores.dims(), scores.device())?;
    seen.broadcast_as(scores.dims())?.where_cond(scores, &hidden)
}

//! Layers: Burn's own where it has them, else composed.

use crate::tensors::{Kind, cat, expand, fill, kind, lift, permute, reshape, slice};
use burn_backend::ops::{ActivationOps, AttentionModuleOptions, BoolTensorOps, ConvOptions, FloatTensorOps, ModuleOps};
use burn_backend::{Scalar, TensorData, TensorMetadata};
use burn_dispatch::{Dispatch as B, DispatchTensor as Tensor};
use inferena_worker::{Result, unsupported};

/// All rows as one matrix. For more dimensions Burn would copy the weight, which is transposed by its strides alone.
pub fn linear(x: Tensor, weight: Tensor, bias: Option<Tensor>) -> Tensor {
    let width = weight.shape()[1];
    let rows = x.shape().num_elements() / width;
    B::linear(reshape(x, &[rows, width]), B::float_swap_dims(weight, 0, 1), bias)
}

/// Where a convolution looks: one number for each dimension of the image, which has one or two.
pub struct Windows<'a> {
    pub stride: &'a [usize],
    pub padding: &'a [usize],
    pub dilation: &'a [usize],
    pub groups: usize,
}

impl Windows<'_> {
    fn options<const N: usize>(&self) -> Result<ConvOptions<N>> {
        let (stride, padding, dilation) = (self.stride, self.padding, self.dilation);
        Ok(ConvOptions::new(stride.try_into()?, padding.try_into()?, dilation.try_into()?, self.groups))
    }
}

pub fn convolution(
    x: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    windows: &Windows,
    shape: &[usize],
    trains: bool,
) -> Result<Tensor> {
    let single = weight.shape()[2..].iter().all(|size| *size == 1) && windows.padding.iter().all(|size| *size == 0);
    if trains && single && windows.groups == 1 {
        return Ok(product(x, weight, bias, windows.stride, shape));
    }
    match shape.len() {
        3 => Ok(B::conv1d(x, weight, bias, windows.options()?)),
        4 => Ok(B::conv2d(x, weight, bias, windows.options()?)),
        _ => unsupported("of three dimensions"),
    }
}

/// A convolution whose window is one cell, as a product. Its gradients are products too; Burn's own gradient of the
/// weight is a convolution with windows as large as the image.
fn product(x: Tensor, weight: Tensor, bias: Option<Tensor>, stride: &[usize], shape: &[usize]) -> Tensor {
    let strided = stride.iter().enumerate().filter(|(_, step)| **step > 1);
    let x = strided.fold(x, |x, (dim, step)| slice(x, dim + 2, 0, (shape[dim + 2] - 1) * step + 1, *step));
    let (out, channels) = (weight.shape()[0], weight.shape()[1]);
    let cells = shape[2..].iter().product();
    let y = B::float_matmul(reshape(weight, &[1, out, channels]), reshape(x, &[shape[0], channels, cells]));
    let y = reshape(y, shape);
    match bias {
        Some(bias) => B::float_add(y, per_channel(bias, shape.len())),
        None => y,
    }
}

/// One number for each channel, to broadcast with (B, C, …).
fn per_channel(x: Tensor, rank: usize) -> Tensor {
    let mut shape = vec![1; rank];
    shape[1] = x.shape().num_elements();
    reshape(x, &shape)
}

/// One product and one sum over the image.
pub fn batch_norm(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: f64) -> Tensor {
    let rank = x.shape().num_dims();
    let scale = B::float_div(weight, B::float_sqrt(B::float_add_scalar(variance, Scalar::Float(eps))));
    let shift = B::float_sub(bias, B::float_mul(mean, scale.clone()));
    B::float_add(B::float_mul(x, per_channel(scale, rank)), per_channel(shift, rank))
}

/// Rows to mean 0 and variance 1.
fn normalized(rows: Tensor, eps: f64) -> Tensor {
    let mean = B::float_mean_dim(rows.clone(), 1);
    let centred = B::float_sub(rows, mean);
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), 1);
    B::float_div(centred, B::float_sqrt(B::float_add_scalar(variance, Scalar::Float(eps))))
}

pub fn group_norm(x: Tensor, weight: Option<Tensor>, bias: Option<Tensor>, groups: usize, eps: f64) -> Tensor {
    let shape = x.shape().to_vec();
    let rows = shape[0] * groups;
    let width = shape.iter().product::<usize>() / rows;
    let mut y = reshape(normalized(reshape(x, &[rows, width]), eps), &shape);
    if let Some(weight) = weight {
        y = B::float_mul(y, per_channel(weight, shape.len()));
    }
    if let Some(bias) = bias {
        y = B::float_add(y, per_channel(bias, shape.len()));
    }
    y
}

pub fn layer_norm(x: Tensor, weight: Option<Tensor>, bias: Option<Tensor>, over: &[usize], eps: f64) -> Tensor {
    let shape = x.shape().to_vec();
    let width: usize = over.iter().product();
    let rows = reshape(x, &[shape.iter().product::<usize>() / width, width]);
    let y = match weight {
        Some(weight) => B::layer_norm(rows, reshape(weight, &[width]), bias.map(|bias| reshape(bias, &[width])), eps),
        None => normalized(rows, eps),
    };
    reshape(y, &shape)
}

pub fn rms_norm(x: Tensor, weight: Option<Tensor>, over: &[usize], eps: f64) -> Tensor {
    let shape = x.shape().to_vec();
    let width: usize = over.iter().product();
    let rows = reshape(x, &[shape.iter().product::<usize>() / width, width]);
    let mean = B::float_mean_dim(B::float_mul(rows.clone(), rows.clone()), 1);
    let y = B::float_div(rows, B::float_sqrt(B::float_add_scalar(mean, Scalar::Float(eps))));
    let y = match weight {
        Some(weight) => B::float_mul(y, reshape(weight, &[1, width])),
        None => y,
    };
    reshape(y, &shape)
}

/// x (B, H, S, D), tables (S, D / 2).
pub fn rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor {
    let (rank, width) = (x.shape().num_dims(), x.shape()[x.shape().num_dims() - 1]);
    let (cos, sin) = (lift(cos, rank), lift(sin, rank));
    let a = slice(x.clone(), rank - 1, 0, width / 2, 1);
    let b = slice(x, rank - 1, width / 2, width, 1);
    let left = B::float_sub(B::float_mul(a.clone(), cos.clone()), B::float_mul(b.clone(), sin.clone()));
    let right = B::float_add(B::float_mul(b, cos), B::float_mul(a, sin));
    cat(vec![left, right], rank - 1)
}

pub fn gelu_tanh(x: Tensor) -> Tensor {
    let cube = B::float_mul(B::float_mul(x.clone(), x.clone()), x.clone());
    let inner = B::float_add(x.clone(), B::float_mul_scalar(cube, Scalar::Float(0.044_715)));
    let tanh = B::float_tanh(B::float_mul_scalar(inner, Scalar::Float((2.0 / std::f64::consts::PI).sqrt())));
    B::float_mul(B::float_mul_scalar(x, Scalar::Float(0.5)), B::float_add_scalar(tanh, Scalar::Float(1.0)))
}

/// query (B, H, S, D), key and value (B, G, T, D).
pub fn attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Option<Tensor>,
    scale: f64,
    causal: bool,
    trains: bool,
) -> Tensor {
    let [_, _, rows, _] = query.shape().dims();
    let columns = key.shape()[2];
    // Burn's triangle ends in the last corner; ATen's begins in the first one.
    let mask = if causal && (trains || rows != columns) { Some(triangle(&query, rows, columns)) } else { mask };
    if trains {
        return differentiable(query, key, value, mask, scale);
    }
    let mask = mask.map(|mask| lift(mask, 4));
    let (hidden, bias) = match mask {
        Some(mask) if kind(&mask) == Kind::Bool => (Some(B::bool_not(mask)), None),
        bias => (None, bias),
    };
    let options = AttentionModuleOptions { scale: Some(scale), softcap: None, is_causal: causal && rows == columns };
    B::attention(query, key, value, hidden, bias, options)
}

/// Which keys a query may see.
fn triangle(like: &Tensor, rows: usize, columns: usize) -> Tensor {
    let seen: Vec<bool> = (0..rows * columns).map(|at| at % columns <= at / columns).collect();
    B::bool_from_data(TensorData::new(seen, [rows, columns]), &like.device())
}

/// Attention by operators that have gradients. Heads that share a key are rows of one product; nothing is repeated.
fn differentiable(query: Tensor, key: Tensor, value: Tensor, mask: Option<Tensor>, scale: f64) -> Tensor {
    let [batch, heads, rows, width] = query.shape().dims();
    let [_, groups, columns, depth] = value.shape().dims();
    let share = heads / groups * rows;
    let query = reshape(B::float_mul_scalar(query, Scalar::Float(scale)), &[batch, groups, share, width]);
    let full = [batch, heads, rows, columns];
    let scores = reshape(B::float_matmul(query, permute(key, &[0, 1, 3, 2])), &full);
    let scores = match mask {
        Some(mask) if kind(&mask) == Kind::Bool => fill(scores, B::bool_not(expand(mask, &full)), f64::NEG_INFINITY),
        Some(bias) => B::float_add(scores, lift(bias, 4)),
        None => scores,
    };
    let shares = reshape(B::softmax(scores, 3), &[batch, groups, share, columns]);
    reshape(B::float_matmul(shares, value), &[batch, heads, rows, depth])
}

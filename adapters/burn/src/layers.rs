//! Layers: Burn's own.

use crate::tensors::{Kind, kind, lift, reshape, slice};
use burn_backend::ops::{AttentionModuleOptions, BoolTensorOps, ConvOptions, FloatTensorOps, ModuleOps};
use burn_backend::{TensorData, TensorMetadata};
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

pub fn layer_norm(x: Tensor, weight: Tensor, bias: Option<Tensor>, over: &[usize], eps: f64) -> Tensor {
    let shape = x.shape().to_vec();
    let width: usize = over.iter().product();
    let rows = reshape(x, &[shape.iter().product::<usize>() / width, width]);
    reshape(B::layer_norm(rows, reshape(weight, &[width]), bias.map(|bias| reshape(bias, &[width])), eps), &shape)
}

/// query (B, H, S, D), key and value (B, G, T, D).
pub fn attention(query: Tensor, key: Tensor, value: Tensor, mask: Option<Tensor>, scale: f64, causal: bool) -> Tensor {
    let [_, _, rows, _] = query.shape().dims();
    let columns = key.shape()[2];
    // Burn's triangle ends in the last corner; ATen's begins in the first one.
    let mask = if causal && rows != columns { Some(triangle(&query, rows, columns)) } else { mask };
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

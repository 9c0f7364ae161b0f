//! Convolutions and pools.

use crate::operators::Made;
use candle_core::Tensor;

/// Every `step`-th of `count` cells along a dimension.
pub fn strided(x: &Tensor, dim: usize, start: usize, step: usize, count: usize) -> Made {
    if step == 1 {
        return x.narrow(dim, start, count);
    }
    let places: Vec<u32> = (0..count).map(|at| (start + at * step) as u32).collect();
    x.contiguous()?.index_select(&Tensor::from_vec(places, count, x.device())?, dim)
}

/// x, weight, bias?; the image has one or two dimensions.
pub fn convolution(x: &[Tensor], stride: usize, padding: usize, dilation: usize, groups: usize) -> Made {
    let y = match x[0].rank() {
        3 => x[0].conv1d(&x[1], padding, stride, dilation, groups)?,
        _ => x[0].conv2d(&x[1], padding, stride, dilation, groups)?,
    };
    let Some(bias) = x.get(2) else { return Ok(y) };
    let mut wide = vec![1; y.rank()];
    wide[1] = y.dim(1)?;
    y.broadcast_add(&bias.reshape(wide)?)
}

pub fn max_pool(x: &Tensor, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Made {
    // A repeated edge never changes a maximum as long as the padding is at most half the kernel. PyTorch demands that.
    let x = x.pad_with_same(2, padding[0], padding[0])?.pad_with_same(3, padding[1], padding[1])?;
    x.max_pool2d_with_stride((kernel[0], kernel[1]), (stride[0], stride[1]))
}

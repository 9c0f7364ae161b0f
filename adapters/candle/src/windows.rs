//! Convolutions, pools and resizing, in forms that Candle can differentiate.

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
pub fn convolution(
    x: &[Tensor],
    stride: &[usize],
    padding: &[usize],
    dilation: &[usize],
    groups: usize,
    shape: &[usize],
    trains: bool,
) -> Made {
    let same = |of: &[usize]| of.iter().all(|one| *one == of[0]);
    let own = same(stride) && same(padding) && same(dilation);
    let y = match shape.len() {
        _ if groups == 1 && (trains || !own) => gemm(&x[0], &x[1], stride, padding, dilation, shape)?,
        3 => x[0].conv1d(&x[1], padding[0], stride[0], dilation[0], groups)?,
        4 if own => x[0].conv2d(&x[1], padding[0], stride[0], dilation[0], groups)?,
        _ => {
            let (channels, out) = (x[1].dim(1)?, x[1].dim(0)? / groups);
            let mut part = shape.to_vec();
            part[1] = out;
            let parts = (0..groups).map(|group| {
                let (x, weight) = (x[0].narrow(1, group * channels, channels)?, x[1].narrow(0, group * out, out)?);
                gemm(&x, &weight, stride, padding, dilation, &part)
            });
            Tensor::cat(&parts.collect::<candle_core::Result<Vec<_>>>()?, 1)?
        }
    };
    let Some(bias) = x.get(2) else { return Ok(y) };
    y.broadcast_add(&bias.reshape(crate::layers::per_channel(shape))?)
}

/// A convolution as a product with the unfolded image. Its gradients are products too; Candle's own are scalar loops.
fn gemm(x: &Tensor, weight: &Tensor, stride: &[usize], padding: &[usize], dilation: &[usize], shape: &[usize]) -> Made {
    let (out, channels) = (weight.dim(0)?, weight.dim(1)?);
    let (kernel, sizes) = (&weight.dims()[2..], &shape[2..]);
    let mut padded = x.clone();
    for (dim, amount) in padding.iter().enumerate().filter(|(_, amount)| **amount > 0) {
        padded = padded.pad_with_zeros(dim + 2, *amount, *amount)?;
    }
    let cells: usize = sizes.iter().product();
    let mut columns = Vec::new();
    for at in 0..kernel.iter().product() {
        let mut window = padded.clone();
        let mut rest = at;
        for dim in (0..kernel.len()).rev() {
            window = strided(&window, dim + 2, rest % kernel[dim] * dilation[dim], stride[dim], sizes[dim])?;
            rest /= kernel[dim];
        }
        columns.push(window.reshape((shape[0], channels, cells))?);
    }
    let unfolded = if columns.len() == 1 { columns.remove(0) } else { Tensor::cat(&columns, 1)? };
    let weight = weight.flatten_from(2)?.transpose(1, 2)?.reshape((out, ()))?;
    weight.broadcast_left(shape[0])?.matmul(&unfolded)?.reshape(shape)
}

pub fn max_pool(
    x: &Tensor,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    shape: &[usize],
    trains: bool,
) -> Made {
    // A repeated edge never changes a maximum as long as the padding is at most half the kernel. PyTorch demands that.
    let x = x.pad_with_same(2, padding[0], padding[0])?.pad_with_same(3, padding[1], padding[1])?;
    if !trains {
        return x.max_pool2d_with_stride((kernel[0], kernel[1]), (stride[0], stride[1]));
    }
    // Candle can differentiate its own only where the stride equals the kernel.
    let mut x = x;
    for dim in 0..2 {
        let mut most = strided(&x, dim + 2, 0, stride[dim], shape[dim + 2])?;
        for at in 1..kernel[dim] {
            most = most.maximum(&strided(&x, dim + 2, at, stride[dim], shape[dim + 2])?)?;
        }
        x = most;
    }
    Ok(x)
}

/// Nearest neighbour, by picking rows and columns. Places are scaled in `f32`, as `PyTorch` does.
pub fn upsample(x: &Tensor, shape: &[usize]) -> Made {
    let mut x = x.clone();
    for (dim, wanted) in shape.iter().enumerate().skip(2) {
        let size = x.dim(dim)?;
        #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]
        let places: Vec<u32> =
            (0..*wanted).map(|at| ((at as f32 * (size as f32 / *wanted as f32)) as u32).min(size as u32 - 1)).collect();
        x = x.index_select(&Tensor::from_vec(places, *wanted, x.device())?, dim)?;
    }
    Ok(x)
}

//! Layers: Meganeura's fused operators.

use crate::record::{Recorder, size32};
use crate::view::View;
use inferena_worker::{Node, Op, Result, unsupported};

/// How a convolution walks over (B, C, H, W) or (B, C, T).
struct Window<'a> {
    stride: &'a [usize],
    padding: &'a [usize],
}

impl Recorder<'_> {
    pub fn layer(&mut self, node: &Node, x: &[View]) -> Result<View> {
        let shape = &node.out.shape[..];
        let made = match &node.op {
            Op::Convolution { stride, padding, .. } => {
                let weight = self.flat(&x[1]);
                let window = Window { stride, padding };
                let made = self.convolution(&x[0], weight, &x[1].shape, &window, shape);
                match x.get(2) {
                    Some(bias) => {
                        let bias = self.flat(bias);
                        self.add_channels(made, bias, shape)
                    }
                    None => made,
                }
            }
            Op::BatchNorm { eps } => self.batch_norm(node, x, *eps)?,
            Op::GroupNorm { num_groups, eps } => {
                let (weight, bias) = self.affine(x, shape[1]);
                let x = self.flat(&x[0]);
                let (channels, cells) = (size32(shape[1]), size32(shape[2..].iter().product()));
                self.graph.group_norm(
                    x,
                    weight,
                    bias,
                    size32(shape[0]),
                    channels,
                    cells,
                    size32(*num_groups),
                    *eps as f32,
                )
            }
            Op::LayerNorm { normalized_shape, eps } if normalized_shape.len() == 1 => {
                let (weight, bias) = self.affine(x, shape[shape.len() - 1]);
                let x = self.matrix(&x[0]);
                let rows = self.graph.node(x).ty.shape[0];
                if self.trains && (2..4).contains(&rows) {
                    return unsupported("Meganeura's gradient of the weight is wrong for 2 or 3 rows");
                }
                self.graph.layer_norm(x, weight, bias, *eps as f32)
            }
            Op::RmsNorm { normalized_shape, eps } if normalized_shape.len() == 1 => {
                let [x, weight] = x else { return unsupported("without a weight") };
                let (x, weight) = (self.matrix(x), self.flat(weight));
                self.graph.rms_norm(x, weight, *eps as f32)
            }
            Op::LayerNorm { .. } | Op::RmsNorm { .. } => return unsupported("over several dimensions"),
            Op::Rotary => {
                let base = self.base(&node.inputs[1], &node.inputs[2])?;
                let width = size32(shape[3]);
                let heads = self.heads(&x[0])?;
                let made = self.graph.rope(heads, base, width);
                return Ok(by_heads(made, shape).times(x[0].factor));
            }
            Op::Attention { scale, is_causal } => return self.attention(x, *scale, *is_causal, shape),
            Op::MaxPool2d { kernel_size, stride, padding, .. } => {
                self.max_pool(node, &x[0], *kernel_size, *stride, *padding, shape)?
            }
            Op::Upsample2d => {
                let [batch, channels, height, width] = x[0].shape[..] else { return unsupported("other than images") };
                if shape[2..] != [2 * height, 2 * width] {
                    return unsupported("Meganeura's is by 2");
                }
                let image = self.flat(&x[0]);
                self.graph.upsample_2x(image, size32(batch), size32(channels), size32(height), size32(width))
            }
            _ => return unsupported(""),
        };
        Ok(View::new(made, shape))
    }

    /// A norm's weight and bias; ones and zeros where it has none.
    fn affine(&mut self, x: &[View], size: usize) -> (u32, u32) {
        let mut given = |at: usize, missing: f64| match x.get(at) {
            Some(view) => self.flat(view),
            None => self.filled(missing, &[size]),
        };
        (given(1, 1.0), given(2, 0.0))
    }

    fn convolution(&mut self, x: &View, weight: u32, kernel: &[usize], of: &Window, shape: &[usize]) -> u32 {
        let at = |sizes: &[usize], dim: usize, missing: usize| size32(sizes.get(dim).copied().unwrap_or(missing));
        let image = self.flat(x);
        let (batch, channels, sizes) = (size32(x.shape[0]), size32(x.shape[1]), &x.shape[2..]);
        self.graph.conv2d_hw(
            image,
            weight,
            batch,
            channels,
            at(sizes, 0, 1),
            at(sizes, 1, 1),
            size32(shape[1]),
            at(kernel, 2, 1),
            at(kernel, 3, 1),
            size32(of.stride[0]),
            at(of.padding, 0, 0),
            at(of.padding, 1, 0),
        )
    }

    fn add_channels(&mut self, image: u32, bias: u32, shape: &[usize]) -> u32 {
        let image = self.shaped(image, &[shape.iter().product()]);
        self.graph.add_per_channel(image, bias, size32(shape[1]), size32(shape[2..].iter().product()))
    }

    /// Batch norm, folded into the convolution before it: on the host, or in the graph where gradients go through it.
    fn batch_norm(&mut self, node: &Node, x: &[View], eps: f64) -> Result<u32> {
        let conv = self.nodes.get(&node.inputs[0]).cloned();
        let Some(Node { op: Op::Convolution { stride, padding, .. }, inputs, shapes, .. }) = conv else {
            return unsupported("Meganeura has none: it can only be part of a convolution");
        };
        let window = Window { stride: &stride, padding: &padding };
        let (shape, kernel) = (&node.out.shape[..], &shapes[1][..]);
        let (channels, each) = (kernel[0], kernel[1..].iter().product::<usize>());
        let (mean, variance) = (self.floats(&node.inputs[3])?, self.floats(&node.inputs[4])?);
        let deviation = variance.iter().map(|one| 1.0 / (f64::from(*one) + eps).sqrt()).map(|one| one as f32);
        let deviation: Vec<f32> = deviation.collect();
        if self.trains {
            let (weight, gain, shift) = (self.rows(&x[1], each), self.flat(&x[2]), self.flat(&x[3]));
            let deviation = self.graph.constant(deviation, &[channels]);
            let scale = self.graph.mul(gain, deviation);
            let column = self.graph.reshape(scale, &[channels, 1]);
            let scales = self.graph.broadcast_inner(column, each);
            let weight = self.graph.mul(weight, scales);
            let weight = self.graph.reshape(weight, &[channels * each]);
            let made = self.convolution(&x[0], weight, kernel, &window, shape);
            let mut centre = self.graph.constant(mean.iter().map(|one| -one).collect(), &[channels]);
            if let Some(bias) = x.get(4) {
                let bias = self.flat(bias);
                centre = self.graph.add(centre, bias);
            }
            let moved = self.graph.mul(centre, scale);
            let bias = self.graph.add(shift, moved);
            return Ok(self.add_channels(made, bias, shape));
        }
        let (gain, shift) = (self.floats(&node.inputs[1])?, self.floats(&node.inputs[2])?);
        let scale: Vec<f32> = gain.iter().zip(deviation).map(|(gain, deviation)| gain * deviation).collect();
        let bias = inputs.get(2).map(|name| self.floats(name)).transpose()?;
        let moved = |at: usize| shift[at] + (bias.as_ref().map_or(0.0, |bias| bias[at]) - mean[at]) * scale[at];
        let (bias, weight) = ((0..channels).map(moved).collect(), self.floats(&inputs[1])?);
        let weight = weight.chunks(each).zip(&scale).flat_map(|(row, scale)| row.iter().map(move |one| one * scale));
        let names = [&inputs[1], &node.inputs[2]].map(|name| format!("{name} of {}", node.out.name));
        self.folded.insert(names[0].clone(), weight.collect());
        self.folded.insert(names[1].clone(), bias);
        let weight = self.graph.parameter(&names[0], &[channels * each]);
        let bias = self.graph.parameter(&names[1], &[channels]);
        let made = self.convolution(&x[0], weight, kernel, &window, shape);
        Ok(self.add_channels(made, bias, shape))
    }

    /// (1, H, S, D) as Meganeura takes it: one row of all heads for each position.
    fn heads(&mut self, x: &View) -> Result<u32> {
        let [1, heads, _, width] = x.shape[..] else {
            return unsupported("Meganeura has no batches of sequences");
        };
        let rows = x.permute(&[0, 2, 1, 3]);
        Ok(self.rows(&View { factor: 1.0, ..rows }, heads * width))
    }

    /// The base of rotary tables (S, D / 2). Meganeura computes the tables itself, from position 0.
    fn base(&self, cos: &str, sin: &str) -> Result<f32> {
        let half = self.entry.shape(cos)[1];
        let (cos, sin) = (self.floats(cos)?, self.floats(sin)?);
        let slowest = sin.get(2 * half - 1).map_or(0.0, |one| f64::from(*one).asin());
        let base = match half {
            1 => 1.0,
            _ if slowest <= 0.0 => 1e4, // there is position 0 alone, which is not turned
            _ => slowest.powf(-(half as f64) / (half as f64 - 1.0)).round(),
        };
        for (at, (cos, sin)) in cos.iter().zip(sin.iter()).enumerate() {
            let angle = (at / half) as f64 * base.powf(-((at % half) as f64) / half as f64);
            let bound = 1e-6 * (1 + at / half) as f64; // the error of an angle in float32
            if (angle.cos() - f64::from(*cos)).abs() > bound || (angle.sin() - f64::from(*sin)).abs() > bound {
                return unsupported("Meganeura's angles are of one base, from position 0");
            }
        }
        Ok(base as f32)
    }

    fn attention(&mut self, x: &[View], scale: f64, causal: bool, shape: &[usize]) -> Result<View> {
        let [query, key, value] = x else { return unsupported("Meganeura's attention has no mask but the causal one") };
        // (B, G, 1, S, D) where keys were to be repeated
        let four = |view: &View| if view.shape.len() == 5 { view.without(2) } else { view.clone() };
        let (key, value) = (four(key), four(value));
        let (width, groups, columns) = (shape[3], key.shape[1], key.shape[2]);
        if !width.is_power_of_two() || (self.trains && width > 64) {
            return unsupported("Meganeura's heads have a power of two of elements, at most 64 to be differentiated");
        }
        if causal && columns != shape[2] {
            return unsupported("Meganeura's causal attention has as many keys as queries");
        }
        // Meganeura divides by √D. A model's own scale is mostly the same, and then the factor is 1.
        let factor = query.factor * key.factor * scale * (width as f64).sqrt();
        let mut rows = self.heads(query)?;
        if (factor - 1.0).abs() > 1e-7 {
            let factors = self.filled(factor, &[shape[2], shape[1] * width]);
            rows = self.graph.mul(rows, factors);
        }
        let (keys, mut values) = (self.heads(&key)?, self.heads(&value)?);
        if self.trains && matches!(self.graph.node(values).op, meganeura::graph::Op::Identity) {
            // Version 0.3 keeps the gradient of the values in a buffer that a reshape after it does not know.
            let ones = self.filled(1.0, &self.graph.node(values).ty.shape.clone());
            values = self.graph.mul(values, ones);
        }
        let (heads, groups, head) = (size32(shape[1]), size32(groups), size32(width));
        let made = if causal {
            self.graph.causal_attention(rows, keys, values, heads, groups, head)
        } else {
            self.graph.multi_head_attn(rows, keys, values, heads, groups, head, true)
        };
        Ok(by_heads(made, shape).times(value.factor))
    }

    fn max_pool(
        &mut self,
        node: &Node,
        x: &View,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        shape: &[usize],
    ) -> Result<u32> {
        let image = self.flat(x);
        let [batch, channels, height, width] = x.shape[..] else { return unsupported("other than images") };
        if !self.trains {
            let (batch, channels, height, width) = (size32(batch), size32(channels), size32(height), size32(width));
            let (rows, columns, stride) = (size32(kernel[0]), size32(kernel[1]), size32(stride[0]));
            let padding = size32(padding[0]);
            return Ok(self.graph.max_pool_2d(image, batch, channels, height, width, rows, columns, stride, padding));
        }
        // Version 0.3 differentiates it as a mean, so that gradients of all that comes before it would be wrong. (That
        // is mended in its source, but not released.) Maxima of slices have the right gradients.
        let relu = self.nodes.get(&node.inputs[0]).is_some_and(|made| made.operator == "relu");
        let halves = stride == [2, 2] && [2 * shape[2], 2 * shape[3]] == [height, width];
        if !halves || !relu {
            return unsupported(
                "Meganeura 0.3 has the gradient of a mean, and it is composed for halves of a relu only",
            );
        }
        let rows = self.halved(image, batch * channels * height, width, 1, kernel[1], padding[1]);
        Ok(self.halved(rows, batch * channels, height, width / 2, kernel[0], padding[0]))
    }
}

/// (1, H, S, D), of one row of all heads for each position.
fn by_heads(node: u32, shape: &[usize]) -> View {
    View::new(node, &[shape[0], shape[2], shape[1], shape[3]]).permute(&[0, 2, 1, 3])
}

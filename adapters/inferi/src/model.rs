//! A Llama's sizes, and its weights in Inferi's tensors.

use inferena_worker::{Result, Tensors};
use inferi::context::LlmOps;
use inferi::ops::{BatchedMultiqueryAttentionParams, RoPEConfig};
use inferi::quantized_matrix::GpuQuantTensor;
use inferi::re_exports::khal::BufferUsages;
use inferi::re_exports::khal::backend::GpuBackend;
use inferi::re_exports::vortx::tensor::Tensor;
use serde::Deserialize;

pub const USAGE: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);

/// The Llama that `prepare` recognised: its sizes, and the names of its weights.
#[derive(Deserialize)]
pub struct Llama {
    pub vocabulary: u32,
    pub width: u32,
    pub feed_forward: u32,
    pub heads: u32,
    pub groups: u32,
    pub head_width: u32,
    pub epsilon: f32,
    rope_base: Option<f32>,
    embedding: String,
    layers: Vec<Names>,
    norm: String,
    head: String,
}

#[derive(Deserialize)]
struct Names {
    attention_norm: String,
    query: String,
    key: String,
    value: String,
    output: String,
    feed_forward_norm: String,
    gate: String,
    up: String,
    down: String,
}

pub struct Layer {
    pub attention_norm: Tensor<f32>,
    pub query: GpuQuantTensor,
    pub key: GpuQuantTensor,
    pub value: GpuQuantTensor,
    pub output: GpuQuantTensor,
    pub feed_forward_norm: Tensor<f32>,
    pub gate: GpuQuantTensor,
    pub up: GpuQuantTensor,
    pub down: GpuQuantTensor,
}

pub struct Model {
    pub backend: GpuBackend,
    pub ops: LlmOps,
    pub sizes: Llama,
    pub embedding: Tensor<f32>,
    pub layers: Vec<Layer>,
    pub norm: Tensor<f32>,
    pub head: GpuQuantTensor,
}

impl Llama {
    pub fn rotary(&self, pos: u32) -> RoPEConfig {
        let base_freq = self.rope_base.unwrap_or(1.0); // the first position is not rotated; alone, it has no base
        RoPEConfig { head_size: self.head_width, kv_dim: self.groups * self.head_width, pos, base_freq }
    }

    pub fn attention(&self, pos: u32, length: usize) -> BatchedMultiqueryAttentionParams {
        BatchedMultiqueryAttentionParams {
            seq_len: length as u32,
            kv_dim: self.groups * self.head_width,
            kv_mul: self.heads / self.groups,
            n_heads: self.heads,
            head_size: self.head_width,
            pos,
        }
    }
}

impl Model {
    pub fn new(sizes: Llama, weights: &Tensors) -> Result<Self> {
        let backend = GpuBackend::Cpu;
        let vector =
            |name: &str| -> Result<Tensor<f32>> { Ok(Tensor::vector(&backend, weights.get(name)?.floats()?, USAGE)?) };
        let table = |name: &str| -> Result<Tensor<f32>> {
            let array = weights.get(name)?;
            let (rows, columns) = (array.shape[0] as u32, array.shape[1] as u32);
            Ok(Tensor::matrix(&backend, rows, columns, &array.floats()?, USAGE)?)
        };
        let matrix = |name: &str| table(name).map(GpuQuantTensor::F32);
        let layer = |names: &Names| -> Result<Layer> {
            Ok(Layer {
                attention_norm: vector(&names.attention_norm)?,
                query: matrix(&names.query)?,
                key: matrix(&names.key)?,
                value: matrix(&names.value)?,
                output: matrix(&names.output)?,
                feed_forward_norm: vector(&names.feed_forward_norm)?,
                gate: matrix(&names.gate)?,
                up: matrix(&names.up)?,
                down: matrix(&names.down)?,
            })
        };
        Ok(Self {
            ops: LlmOps::new(&backend)?,
            embedding: table(&sizes.embedding)?,
            layers: sizes.layers.iter().map(layer).collect::<Result<_>>()?,
            norm: vector(&sizes.norm)?,
            head: matrix(&sizes.head)?,
            sizes,
            backend,
        })
    }
}

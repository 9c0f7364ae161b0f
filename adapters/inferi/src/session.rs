//! The sequence of kernels for one token, and a step of all tokens.

use crate::model::{Model, USAGE};
use inferena_worker::{Array, Result, Step, failed};
use inferi::context::LlmContext;
use inferi::ops::{BatchedMultiqueryAttentionParams, RmsNormConfig, RoPEConfig, RoPEVariant};
use inferi::re_exports::khal::backend::{Backend, Encoder, GpuBackend, GpuBackendError};
use inferi::re_exports::vortx::shapes::TensorLayoutBuffers;
use inferi::re_exports::vortx::tensor::{Tensor, TensorMut, TensorRef};
use inferi::tensor_cache::TensorCache;
use std::rc::Rc;

/// Elements behind a vector. The last group of threads reaches that far: two for each thread at most, and a head's.
const ROOM: usize = 3 * 128;

/// A vector with [`ROOM`] behind it.
struct Roomy {
    tensor: Tensor<f32>,
    length: u32,
}

impl Roomy {
    fn new(backend: &GpuBackend, length: u32) -> std::result::Result<Self, GpuBackendError> {
        let tensor = Tensor::vector(backend, vec![0.0; length as usize + ROOM], USAGE)?;
        Ok(Self { tensor, length })
    }

    fn get(&self) -> TensorRef<'_, f32> {
        self.tensor.view(0, &[self.length], &[None])
    }

    fn set(&mut self) -> TensorMut<'_, f32> {
        self.tensor.view_mut(0, &[self.length], &[None])
    }
}

/// The tensors that a step computes in, and its results.
pub struct Session {
    model: Rc<Model>,
    ids: Vec<i64>,
    length: usize,
    name: String,
    cache: TensorCache,
    shapes: TensorLayoutBuffers,
    rotary: Tensor<RoPEConfig>,
    epsilon: Tensor<RmsNormConfig>,
    attention: Tensor<BatchedMultiqueryAttentionParams>,
    x: Roomy,
    normed: Roomy,
    rest: Roomy,
    query: Roomy,
    attended: Roomy,
    gate: Roomy,
    up: Roomy,
    head: Roomy,
    keys: Vec<Tensor<f32>>,
    values: Vec<Tensor<f32>>,
    logits: Vec<f32>,
}

impl Session {
    pub fn new(model: Rc<Model>, ids: Vec<i64>, length: usize, name: String) -> Result<Self> {
        let (backend, sizes) = (&model.backend, &model.sizes);
        let vector = |length| Roomy::new(backend, length);
        let caches = || -> Result<Vec<Tensor<f32>>> {
            let count = length * (sizes.groups * sizes.head_width) as usize;
            model.layers.iter().map(|_| Ok(Tensor::vector(backend, vec![0.0; count], USAGE)?)).collect()
        };
        Ok(Self {
            cache: TensorCache::default(),
            shapes: TensorLayoutBuffers::new(backend),
            rotary: Tensor::scalar(backend, sizes.rotary(0), USAGE)?,
            epsilon: Tensor::scalar(backend, RmsNormConfig { nudge_factor: sizes.epsilon }, USAGE)?,
            attention: Tensor::scalar(backend, sizes.attention(0, length), USAGE)?,
            x: vector(sizes.width)?,
            normed: vector(sizes.width)?,
            rest: vector(sizes.width)?,
            query: vector(sizes.heads * sizes.head_width)?,
            attended: vector(sizes.heads * sizes.head_width)?,
            gate: vector(sizes.feed_forward)?,
            up: vector(sizes.feed_forward)?,
            head: vector(sizes.vocabulary)?,
            keys: caches()?,
            values: caches()?,
            logits: Vec::new(),
            ids,
            length,
            name,
            model,
        })
    }

    /// Run one token at its position, and keep the logits that follow it.
    fn token(&mut self, id: i64, position: usize) -> Result<()> {
        let model = Rc::clone(&self.model);
        let (backend, sizes, width) = (&model.backend, &model.sizes, model.sizes.width as usize);
        let parameters = sizes.attention(position as u32, self.length);
        backend.write_buffer(self.rotary.buffer_mut(), 0, &[sizes.rotary(position as u32)])?;
        backend.write_buffer(self.attention.buffer_mut(), 0, &[parameters])?;
        let mut encoder = backend.begin_encoding();
        let row = usize::try_from(id)? * width;
        encoder.copy_buffer_to_buffer(model.embedding.buffer(), row, self.x.tensor.buffer_mut(), 0, width)?;
        backend.submit(encoder)?;
        let (cache, shapes) = (&mut self.cache, &mut self.shapes);
        let mut to = LlmContext { backend, cache, shapes, pass: None, encoder: None, ops: &model.ops };
        to.begin_submission();
        let groups = sizes.groups * sizes.head_width;
        let place = position as u32 * groups;
        for ((layer, keys), values) in model.layers.iter().zip(&mut self.keys).zip(&mut self.values) {
            to.rms_norm_assign(&self.epsilon, self.normed.set(), self.x.get(), &layer.attention_norm)?;
            to.matmul_quant_assign(self.query.set(), &layer.query, self.normed.get())?;
            to.matmul_quant_assign(keys.view_mut(place, &[groups], &[None]), &layer.key, self.normed.get())?;
            to.matmul_quant_assign(values.view_mut(place, &[groups], &[None]), &layer.value, self.normed.get())?;
            let key = keys.view_mut(place, &[groups], &[None]);
            to.rope(RoPEVariant::Neox, &self.rotary, self.query.set(), key)?; // by halves, as Hugging Face orders them
            let Some(pass) = to.pass.as_mut() else { return failed("Inferi has no pass") };
            let attend = &model.ops.fused_attn;
            let (query, attended) = (self.query.get(), self.attended.set());
            attend.launch(backend, pass, &parameters, &self.attention, query, &*keys, &*values, attended)?;
            to.matmul_quant_assign(self.rest.set(), &layer.output, self.attended.get())?;
            to.add_assign(self.x.set(), self.rest.get())?;
            to.rms_norm_assign(&self.epsilon, self.normed.set(), self.x.get(), &layer.feed_forward_norm)?;
            to.matmul_quant_assign(self.gate.set(), &layer.gate, self.normed.get())?;
            to.matmul_quant_assign(self.up.set(), &layer.up, self.normed.get())?;
            to.silu(self.gate.set(), self.up.get())?; // and times the other
            to.matmul_quant_assign(self.rest.set(), &layer.down, self.gate.get())?;
            to.add_assign(self.x.set(), self.rest.get())?;
        }
        to.rms_norm_assign(&self.epsilon, self.normed.set(), self.x.get(), &model.norm)?;
        to.matmul_quant_assign(self.head.set(), &model.head, self.normed.get())?;
        to.submit();
        self.logits.extend_from_slice(&self.head.tensor.buffer().unwrap_slice()[..sizes.vocabulary as usize]);
        Ok(())
    }
}

impl Step for Session {
    fn run(&mut self) -> Result<()> {
        self.logits.clear();
        for (index, id) in self.ids.clone().into_iter().enumerate() {
            self.token(id, index % self.length)?;
        }
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, Array)>> {
        let shape = [self.ids.len() / self.length, self.length, self.model.sizes.vocabulary as usize];
        Ok(vec![(self.name.clone(), Array::float(&shape, self.logits.clone()))])
    }
}

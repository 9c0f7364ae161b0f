//! Inferi: a Llama of its kernels, a token at a time with a cache of keys and values, as its own model runs one.
//!
//! khal's CPU backend runs the Rust that shaders are compiled of elsewhere. Inferi's own `Llama2` panics there: its
//! rotary kernel runs whole groups of 64 threads, beyond the end of a vector whose half is no multiple of 64, which a
//! GPU ignores. So its sequence of kernels (`models/llama2/transformer.rs`) is repeated here, on vectors with room
//! behind them.

use inferena_worker::{Array, Data, Engine, Entry, Program, Result, Setup, Step, Tensors, failed, unsupported};
use inferi::context::{LlmContext, LlmOps};
use inferi::ops::{BatchedMultiqueryAttentionParams, RmsNormConfig, RoPEConfig, RoPEVariant};
use inferi::quantized_matrix::GpuQuantTensor;
use inferi::re_exports::khal::BufferUsages;
use inferi::re_exports::khal::backend::{Backend, Encoder, GpuBackend, GpuBackendError};
use inferi::re_exports::vortx::shapes::TensorLayoutBuffers;
use inferi::re_exports::vortx::tensor::{Tensor, TensorMut, TensorRef};
use inferi::tensor_cache::TensorCache;
use serde::Deserialize;
use std::path::PathBuf;
use std::rc::Rc;

const USAGE: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);
/// Elements behind a vector: those that a last group of threads reaches, at most two for each and a head's.
const ROOM: usize = 3 * 128;
/// What its kernel for attention has room for.
const POSITIONS: usize = 2048;
const HEAD: u32 = 128;

/// What `prepare` recognised.
#[derive(Deserialize)]
struct Llama {
    vocabulary: u32,
    width: u32,
    feed_forward: u32,
    heads: u32,
    groups: u32,
    head_width: u32,
    epsilon: f32,
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

struct Layer {
    attention_norm: Tensor<f32>,
    query: GpuQuantTensor,
    key: GpuQuantTensor,
    value: GpuQuantTensor,
    output: GpuQuantTensor,
    feed_forward_norm: Tensor<f32>,
    gate: GpuQuantTensor,
    up: GpuQuantTensor,
    down: GpuQuantTensor,
}

struct Model {
    backend: GpuBackend,
    ops: LlmOps,
    sizes: Llama,
    embedding: Tensor<f32>,
    layers: Vec<Layer>,
    norm: Tensor<f32>,
    head: GpuQuantTensor,
}

struct Inferi {
    exchange: Option<PathBuf>,
    threads: usize,
    model: Option<Rc<Model>>,
}

impl Engine for Inferi {
    const NAME: &'static str = "inferi";

    fn start(setup: &Setup) -> Result<Self> {
        Ok(Self { exchange: setup.exchange.clone(), threads: setup.threads, model: None })
    }

    fn describe(&self) -> String {
        format!("Inferi's shaders as Rust on CPU, none compiled for a GPU, {} threads", self.threads)
    }

    fn load(&mut self, _: &Program, weights: &Tensors) -> Result<()> {
        let Some(exchange) = &self.exchange else {
            return failed("Inferi runs a Llama that was recognised, and none was prepared");
        };
        let file = exchange.join("llama.json");
        self.model = if file.exists() {
            Some(Rc::new(Model::new(serde_json::from_slice(&std::fs::read(file)?)?, weights)?))
        } else {
            None
        };
        Ok(())
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        let reason = self.exchange.as_ref().map(|folder| folder.join(format!("{}.unsupported", entry.name)));
        if let Some(reason) = reason.filter(|file| file.exists()) {
            return unsupported(std::fs::read_to_string(reason)?);
        }
        let (Some(model), [(_, tokens)]) = (&self.model, &entry.inputs[..]) else {
            return failed("'load' comes first, with what was prepared for this Program");
        };
        let Data::Int64(ids) = &tokens.data else { return unsupported("tokens that are no integers") };
        let length = tokens.shape[1];
        if length > POSITIONS || model.sizes.head_width > HEAD {
            return unsupported(format!("over {POSITIONS} positions, or a head over {HEAD}, in Inferi's attention"));
        }
        let name = entry.outputs.keys().next().cloned().unwrap_or_default();
        Ok(Box::new(Session::new(Rc::clone(model), ids.clone(), length, name)?))
    }
}

impl Model {
    fn new(sizes: Llama, weights: &Tensors) -> Result<Self> {
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

/// What a step computes in, and its results.
struct Session {
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
    fn new(model: Rc<Model>, ids: Vec<i64>, length: usize, name: String) -> Result<Self> {
        let (backend, sizes) = (&model.backend, &model.sizes);
        let vector = |length| Roomy::new(backend, length);
        let caches = || -> Result<Vec<Tensor<f32>>> {
            let count = length * (sizes.groups * sizes.head_width) as usize;
            sizes.layers.iter().map(|_| Ok(Tensor::vector(backend, vec![0.0; count], USAGE)?)).collect()
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

    /// One token at its position, to the logits that follow it.
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
            to.rope(RoPEVariant::Neox, &self.rotary, self.query.set(), key)?; // halves, as Hugging Face orders them
            let Some(pass) = to.pass.as_mut() else { return failed("Inferi has no pass") };
            let attend = &model.ops.fused_attn;
            let (query, attended) = (self.query.get(), self.attended.set());
            attend.launch(backend, pass, &parameters, &self.attention, query, &*keys, &*values, attended)?;
            to.matmul_quant_assign(self.rest.set(), &layer.output, self.attended.get())?;
            to.add_assign(self.x.set(), self.rest.get())?;
            to.rms_norm_assign(&self.epsilon, self.normed.set(), self.x.get(), &layer.feed_forward_norm)?;
            to.matmul_quant_assign(self.gate.set(), &layer.gate, self.normed.get())?;
            to.matmul_quant_assign(self.up.set(), &layer.up, self.normed.get())?;
            to.silu(self.gate.set(), self.up.get())?; // times the other
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

impl Llama {
    fn rotary(&self, pos: u32) -> RoPEConfig {
        let base_freq = self.rope_base.unwrap_or(1.0); // none where only the first position is, which is not rotated
        RoPEConfig { head_size: self.head_width, kv_dim: self.groups * self.head_width, pos, base_freq }
    }

    fn attention(&self, pos: u32, length: usize) -> BatchedMultiqueryAttentionParams {
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

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Inferi>()
}

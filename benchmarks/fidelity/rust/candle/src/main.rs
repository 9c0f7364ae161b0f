//! `SmolLM2` of candle-transformers, as a worker: `candle_idiom.py` times it beside the adapter's.
//!
//! Its Llama computes the logits of the last position only. Its `SmolLM3` without layers that lack a rotary embedding is
//! the same network, and its `Model` gives the hidden states of all positions, for the language model's head to take.

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Linear, VarBuilder};
use candle_transformers::models::llama::{Cache, Config as LlamaConfig, Llama};
use candle_transformers::models::smol::smollm3::{Config, Model};
use inferena_worker::{Array, Data, Engine, Entry, Error, Program, Result, Setup, Spec, Step, Tensors, unsupported};
use std::collections::HashMap;

const HEADS: usize = 9;
const GROUPS: usize = 3;
const POSITIONS: usize = 8192;
const EPS: f64 = 1e-5;
const THETA: f32 = 100_000.0;
const WORDS: &str = "model.embed_tokens.weight";

struct Idiom {
    backend: String,
    tensors: HashMap<String, Tensor>,
}

impl Engine for Idiom {
    const NAME: &'static str = "candle-transformers";

    fn start(setup: &Setup) -> Result<Self> {
        Ok(Self { backend: setup.backend.clone(), tensors: HashMap::new() })
    }

    fn describe(&self) -> String {
        format!("candle-transformers, {}", self.backend)
    }

    fn load(&mut self, program: &Program, weights: &Tensors) -> Result<()> {
        for Spec { name, .. } in &program.parameters {
            let array = weights.get(name)?;
            let shape = array.shape.clone();
            self.tensors.insert(name.clone(), Tensor::from_vec(array.floats()?, shape, &Device::Cpu)?);
        }
        Ok(())
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        let [(_, Array { shape, data: Data::Int64(tokens) })] = &entry.inputs[..] else {
            return unsupported("inputs other than tokens");
        };
        let tokens = Tensor::from_vec(tokens.clone(), &shape[..], &Device::Cpu)?;
        let variables = VarBuilder::from_tensors(self.tensors.clone(), DType::F32, &Device::Cpu);
        let (words, width) = self.tensors[WORDS].dims2()?;
        let inner = self.tensors["model.layers.0.mlp.up_proj.weight"].dim(0)?;
        let layers = self.tensors.keys().filter(|name| name.ends_with("input_layernorm.weight")).count();
        let network = if self.backend == "llama" {
            let config = LlamaConfig {
                hidden_size: width,
                intermediate_size: inner,
                vocab_size: words,
                num_hidden_layers: layers,
                num_attention_heads: HEADS,
                num_key_value_heads: GROUPS,
                use_flash_attn: false,
                rms_norm_eps: EPS,
                rope_theta: THETA,
                bos_token_id: None,
                eos_token_id: None,
                rope_scaling: None,
                max_position_embeddings: POSITIONS,
                tie_word_embeddings: true,
            };
            let cache = Cache::new(false, DType::F32, &config, &Device::Cpu)?;
            Network::Last(Box::new(Llama::load(variables, &config)?), cache)
        } else {
            let config = Config {
                vocab_size: words,
                hidden_size: width,
                intermediate_size: inner,
                num_hidden_layers: layers,
                num_attention_heads: HEADS,
                num_key_value_heads: GROUPS,
                max_position_embeddings: POSITIONS,
                tie_word_embeddings: true,
                rope_theta: THETA.into(),
                rms_norm_eps: EPS,
                hidden_act: candle_nn::Activation::Silu,
                attention_bias: None,
                attention_dropout: None,
                mlp_bias: None,
                sliding_window: None,
                use_sliding_window: None,
                rope_scaling: None,
                bos_token_id: None,
                eos_token_id: None,
                pad_token_id: None,
                max_window_layers: None,
                no_rope_layers: None,
                no_rope_layer_interval: None,
            };
            let head = Linear::new(self.tensors[WORDS].clone(), None);
            Network::All(Box::new(Model::new(&config, variables)?), head)
        };
        let Some(name) = entry.outputs.keys().next().cloned() else { return unsupported("no outputs") };
        Ok(Box::new(Running { network, tokens, name, logits: None }))
    }
}

enum Network {
    Last(Box<Llama>, Cache),
    All(Box<Model>, Linear),
}

struct Running {
    network: Network,
    tokens: Tensor,
    name: String,
    logits: Option<Tensor>,
}

impl Step for Running {
    fn run(&mut self) -> Result<()> {
        self.logits = None;
        self.logits = Some(match &mut self.network {
            Network::Last(llama, cache) => llama.forward(&self.tokens, 0, cache)?,
            Network::All(model, head) => head.forward(&model.forward(&self.tokens, 0)?)?,
        });
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, Array)>> {
        let logits = self.logits.as_ref().ok_or_else(|| Error::Failed("it has not run".into()))?;
        Ok(vec![(self.name.clone(), Array::float(logits.dims(), logits.flatten_all()?.to_vec1()?))])
    }
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Idiom>()
}

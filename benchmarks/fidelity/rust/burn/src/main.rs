//! `SmolLM2` of burn-nn's modules, as a worker: `burn_idiom.py` times it beside the adapter's.

use burn_core::module::Param;
use burn_core::tensor::activation::silu;
use burn_core::tensor::module::attention;
use burn_core::tensor::ops::AttentionModuleOptions;
use burn_core::tensor::{Device, Int, Tensor, TensorData};
use burn_nn::{Embedding, Linear, RmsNorm, RotaryEncoding, RotaryEncodingConfig};
use inferena_worker::{Array, Data, Engine, Entry, Error, Program, Result, Setup, Step, Tensors, unsupported};
use std::rc::Rc;

const HEADS: usize = 9;
const GROUPS: usize = 3;
const EPS: f64 = 1e-5;
const THETA: f32 = 100_000.0;

struct Idiom {
    network: Option<Rc<Llama>>,
}

impl Engine for Idiom {
    const NAME: &'static str = "burn-nn";

    fn start(_: &Setup) -> Result<Self> {
        Ok(Self { network: None })
    }

    fn describe(&self) -> String {
        "burn-nn on flex".into()
    }

    fn load(&mut self, program: &Program, weights: &Tensors) -> Result<()> {
        let layers = program.parameters.iter().filter(|spec| spec.name.ends_with("input_layernorm.weight")).count();
        let device = Device::flex();
        let layer =
            |number| Layer::new(&Weights { file: weights, device: &device, at: format!("model.layers.{number}.") });
        let whole = Weights { file: weights, device: &device, at: "model.".into() };
        let words = whole.matrix("embed_tokens")?;
        let network = Llama {
            embedding: Embedding { weight: Param::from_tensor(words.clone()) },
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            norm: whole.norm("norm")?,
            head: linear(words),
        };
        self.network = Some(Rc::new(network));
        Ok(())
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        let [(_, Array { shape, data: Data::Int64(tokens) })] = &entry.inputs[..] else {
            return unsupported("inputs other than tokens");
        };
        let tokens = Tensor::from_data(TensorData::new(tokens.clone(), shape.clone()), &Device::flex());
        let network = self.network.clone().ok_or_else(|| Error::Failed("nothing is loaded".into()))?;
        let width = network.norm.gamma.dims()[0] / HEADS;
        let rotary = RotaryEncodingConfig::new(shape[1], width).with_theta(THETA).init(&Device::flex());
        let Some(name) = entry.outputs.keys().next().cloned() else { return unsupported("no outputs") };
        Ok(Box::new(Running { network, rotary, tokens, name, logits: None }))
    }
}

struct Weights<'a> {
    file: &'a Tensors,
    device: &'a Device,
    at: String,
}

impl Weights<'_> {
    fn get<const N: usize>(&self, name: &str) -> Result<Tensor<N>> {
        let array = self.file.get(&format!("{}{name}.weight", self.at))?;
        let shape = array.shape.clone();
        Ok(Tensor::from_data(TensorData::new(array.floats()?, shape), self.device))
    }

    fn matrix(&self, name: &str) -> Result<Tensor<2>> {
        self.get(name)
    }

    fn linear(&self, name: &str) -> Result<Linear> {
        Ok(linear(self.matrix(name)?))
    }

    /// Rows of each head in the order of Burn's rotary encoding: it turns neighbours, Hugging Face's two halves.
    fn turned(&self, name: &str, heads: usize) -> Result<Linear> {
        let weight = self.matrix(name)?;
        let [rows, columns] = weight.dims();
        let halves = weight.reshape([heads, 2, rows / heads / 2, columns]);
        Ok(linear(halves.swap_dims(1, 2).reshape([rows, columns])))
    }

    fn norm(&self, name: &str) -> Result<RmsNorm> {
        Ok(RmsNorm { gamma: Param::from_tensor(self.get(name)?), epsilon: EPS })
    }
}

/// Burn keeps a weight as (in, out).
fn linear(weight: Tensor<2>) -> Linear {
    let rows = weight.transpose().into_data(); // so that they lie in this order
    Linear { weight: Param::from_tensor(Tensor::from_data(rows, &Device::flex())), bias: None }
}

struct Layer {
    norms: [RmsNorm; 2],
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Layer {
    fn new(weights: &Weights) -> Result<Self> {
        Ok(Self {
            norms: [weights.norm("input_layernorm")?, weights.norm("post_attention_layernorm")?],
            query: weights.turned("self_attn.q_proj", HEADS)?,
            key: weights.turned("self_attn.k_proj", GROUPS)?,
            value: weights.linear("self_attn.v_proj")?,
            out: weights.linear("self_attn.o_proj")?,
            gate: weights.linear("mlp.gate_proj")?,
            up: weights.linear("mlp.up_proj")?,
            down: weights.linear("mlp.down_proj")?,
        })
    }

    fn forward(&self, x: Tensor<3>, rotary: &RotaryEncoding) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        let y = self.norms[0].forward(x.clone());
        let heads = |part: Tensor<3>, count| part.reshape([batch, length, count, width / HEADS]).swap_dims(1, 2);
        let query = rotary.forward(heads(self.query.forward(y.clone()), HEADS));
        let key = rotary.forward(heads(self.key.forward(y.clone()), GROUPS));
        let value = heads(self.value.forward(y), GROUPS);
        let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
        let y = attention(query, repeated(key), repeated(value), None, None, options);
        let x = x + self.out.forward(y.swap_dims(1, 2).reshape([batch, length, width]));
        let y = self.norms[1].forward(x.clone());
        x + self.down.forward(silu(self.gate.forward(y.clone())) * self.up.forward(y))
    }
}

/// Heads that share a key have one each.
fn repeated(x: Tensor<4>) -> Tensor<4> {
    let [batch, groups, length, width] = x.dims();
    let wide = x.unsqueeze_dim::<5>(2).expand([batch, groups, HEADS / GROUPS, length, width]);
    wide.reshape([batch, HEADS, length, width])
}

struct Llama {
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
}

struct Running {
    network: Rc<Llama>,
    rotary: RotaryEncoding,
    tokens: Tensor<2, Int>,
    name: String,
    logits: Option<Tensor<3>>,
}

impl Step for Running {
    fn run(&mut self) -> Result<()> {
        self.logits = None;
        let embedded = self.network.embedding.forward(self.tokens.clone());
        let x = self.network.layers.iter().fold(embedded, |x, layer| layer.forward(x, &self.rotary));
        self.logits = Some(self.network.head.forward(self.network.norm.forward(x)));
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, Array)>> {
        let logits = self.logits.clone().ok_or_else(|| Error::Failed("it has not run".into()))?;
        let shape = logits.dims();
        let Ok(values) = logits.into_data().try_into_vec() else { return unsupported("a dtype other than float32") };
        Ok(vec![(self.name.clone(), Array::float(&shape, values))])
    }
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Idiom>()
}

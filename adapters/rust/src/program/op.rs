//! The typed operators, and how a node's arguments become them.

use super::{Entry, Spec};
use crate::{Error, Result, unsupported};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Abs,
    Cos,
    Detach,
    Erf,
    Exp,
    Gelu,
    GeluTanh,
    Log,
    Log1p,
    Neg,
    Not,
    Relu,
    Rsqrt,
    Sigmoid,
    Silu,
    Sin,
    Sqrt,
    Tanh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Maximum,
    Minimum,
    And,
    Or,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    Mean,
    Sum,
    Max,
}

/// The operators, with the order of their tensors; `?` marks those that may be missing, from the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// x
    Unary(Unary),
    /// x, y: they broadcast
    Binary(Binary),
    /// x ∘ number
    Scalar(Binary, f64),
    /// number ∘ x
    ScalarFirst(Binary, f64),
    /// x, y → bool
    Compare(Compare),
    CompareScalar(Compare, f64),
    /// Of what `out` says, here and in `Expand`, `Full` and `To`.
    Reshape,
    Expand,
    Full(f64),
    To,
    Permute(Vec<usize>),
    Slice {
        dim: usize,
        start: usize,
        end: usize,
        step: usize,
    },
    /// x, y, …
    Cat(usize),
    Reduce {
        kind: Reduce,
        dims: Vec<usize>,
    },
    Clamp {
        min: Option<f64>,
        max: Option<f64>,
    },
    /// condition, then?, otherwise?: numbers where they are no tensors
    Where {
        then: Option<f64>,
        otherwise: Option<f64>,
    },
    Softmax(usize),
    LogSoftmax(usize),
    CumSum(usize),
    /// x, index
    Gather(usize),
    IndexSelect(usize),
    /// weight, indices
    Embedding,
    Matmul,
    /// x, weight (out, in), bias?
    Linear,
    /// x, weight (O, C / groups, …), bias?; one number for each dimension of the image
    Convolution {
        stride: Vec<usize>,
        padding: Vec<usize>,
        dilation: Vec<usize>,
        groups: usize,
    },
    MaxPool2d {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
    },
    Upsample2d,
    /// x, weight, bias, mean, variance
    BatchNorm {
        eps: f64,
    },
    /// x, weight?, bias?
    GroupNorm {
        groups: usize,
        eps: f64,
    },
    /// x, weight?, bias?, over that many last dimensions
    LayerNorm {
        dims: usize,
        eps: f64,
    },
    /// x, weight?
    RmsNorm {
        dims: usize,
        eps: f64,
    },
    /// x (B, H, S, D), cos, sin (S, D / 2)
    Rotary,
    /// query (B, H, S, D), key, value (B, G, T, D), mask?
    Attention {
        scale: f64,
        causal: bool,
    },
    /// x (N, classes), target (N,): the mean over rows whose target is another, or their sum
    CrossEntropy {
        ignored: i64,
        mean: bool,
    },
    /// x, target: the mean, or the sum
    MseLoss {
        mean: bool,
    },
}

/// A node's arguments by name; tensors are put aside in the order in which they are asked for.
pub(super) struct Arguments<'a> {
    pub(super) given: &'a BTreeMap<String, Value>,
    pub(super) inputs: Vec<String>,
}

impl Arguments<'_> {
    fn value(&self, name: &str) -> Result<&Value> {
        self.given.get(name).ok_or_else(|| Error::Failed(format!("an operator lacks its argument {name}")))
    }

    fn get<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<T> {
        let value = self.value(name)?;
        T::deserialize(value).or_else(|_| unsupported(format!("{name} = {value}")))
    }

    /// A number, or nothing; {"float": "inf"} is one.
    fn number(&self, name: &str) -> Result<Option<f64>> {
        let value = self.value(name)?;
        if let Some(text) = value.get("float").and_then(Value::as_str) {
            return Ok(Some(text.parse()?));
        }
        Ok(value.as_f64().or_else(|| value.as_bool().map(|flag| f64::from(u8::from(flag)))))
    }

    /// Put a tensor aside; whether it is one.
    fn tensor(&mut self, name: &str) -> Result<bool> {
        let reference = self.value(name)?.get("ref").and_then(Value::as_str).map(String::from);
        Ok(reference.map(|tensor| self.inputs.push(tensor)).is_some())
    }

    fn tensors(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            if !self.tensor(name)? {
                return unsupported(format!("{name} is no tensor"));
            }
        }
        Ok(())
    }

    /// Tensors that may be missing, from the end.
    fn optional(&mut self, names: &[&str]) -> Result<()> {
        let given = names.iter().map(|name| self.tensor(name)).collect::<Result<Vec<_>>>()?;
        if given.windows(2).any(|pair| !pair[0] && pair[1]) {
            return unsupported(format!("{} without {}", names[1], names[0]));
        }
        Ok(())
    }

    fn binary(&mut self, kind: Binary, second: &str) -> Result<Op> {
        match (self.tensor("self")?, self.tensor(second)?) {
            (true, true) => Ok(Op::Binary(kind)),
            (true, false) => Ok(Op::Scalar(kind, self.number(second)?.unwrap_or(f64::NAN))),
            (false, true) => Ok(Op::ScalarFirst(kind, self.number("self")?.unwrap_or(f64::NAN))),
            (false, false) => unsupported("no tensor"),
        }
    }

    fn compare(&mut self, kind: Compare) -> Result<Op> {
        self.tensors(&["self"])?;
        Ok(match self.number("other")? {
            Some(number) => Op::CompareScalar(kind, number),
            None => self.tensors(&["other"]).map(|()| Op::Compare(kind))?,
        })
    }

    fn reduce(&mut self, kind: Reduce) -> Result<Op> {
        self.tensors(&["self"])?;
        Ok(Op::Reduce { kind, dims: self.get("dim")? })
    }

    fn convolution(&mut self) -> Result<Op> {
        self.tensors(&["input", "weight"])?;
        self.optional(&["bias"])?;
        let (stride, padding, dilation) = (self.get("stride")?, self.get("padding")?, self.get("dilation")?);
        Ok(Op::Convolution { stride, padding, dilation, groups: self.get("groups")? })
    }

    /// By `ATen`'s name; None where it is not known.
    #[allow(clippy::too_many_lines)] // a table
    pub(super) fn operator(&mut self, name: &str, out: &Spec, entry: &Entry) -> Result<Option<Op>> {
        let unary = |kind| Some(Op::Unary(kind));
        let one = match name {
            "abs" => unary(Unary::Abs),
            "cos" => unary(Unary::Cos),
            "detach" => unary(Unary::Detach),
            "erf" => unary(Unary::Erf),
            "exp" => unary(Unary::Exp),
            "gelu" => unary(if self.get::<String>("approximate")? == "tanh" { Unary::GeluTanh } else { Unary::Gelu }),
            "log" => unary(Unary::Log),
            "log1p" => unary(Unary::Log1p),
            "logical_not" => unary(Unary::Not),
            "neg" => unary(Unary::Neg),
            "relu" => unary(Unary::Relu),
            "rsqrt" => unary(Unary::Rsqrt),
            "sigmoid" => unary(Unary::Sigmoid),
            "silu" => unary(Unary::Silu),
            "sin" => unary(Unary::Sin),
            "sqrt" => unary(Unary::Sqrt),
            "tanh" => unary(Unary::Tanh),
            "reshape" => Some(Op::Reshape),
            "expand" => Some(Op::Expand),
            "to" => Some(Op::To),
            "upsample_nearest2d" => Some(Op::Upsample2d),
            "permute" => Some(Op::Permute(self.get("dims")?)),
            "softmax" => Some(Op::Softmax(self.get("dim")?)),
            "log_softmax" => Some(Op::LogSoftmax(self.get("dim")?)),
            "cumsum" => Some(Op::CumSum(self.get("dim")?)),
            "clamp" => Some(Op::Clamp { min: self.number("min")?, max: self.number("max")? }),
            "slice" => {
                let (dim, step) = (self.get("dim")?, self.get("step")?);
                Some(Op::Slice { dim, start: self.get("start")?, end: self.get("end")?, step })
            }
            "max_pool2d" if self.get::<bool>("ceil_mode")? => return unsupported("ceil_mode"),
            "max_pool2d" => Some(Op::MaxPool2d {
                kernel: self.get("kernel_size")?,
                stride: self.get("stride")?,
                padding: self.get("padding")?,
                dilation: self.get("dilation")?,
            }),
            _ => None,
        };
        if let Some(op) = one {
            self.tensors(&["self"])?;
            return Ok(Some(op));
        }
        Ok(Some(match name {
            "add" => self.binary(Binary::Add, "other")?,
            "sub" => self.binary(Binary::Sub, "other")?,
            "mul" => self.binary(Binary::Mul, "other")?,
            "div" => self.binary(Binary::Div, "other")?,
            "pow" => self.binary(Binary::Pow, "exponent")?,
            "maximum" => self.binary(Binary::Maximum, "other")?,
            "minimum" => self.binary(Binary::Minimum, "other")?,
            "logical_and" => self.binary(Binary::And, "other")?,
            "logical_or" => self.binary(Binary::Or, "other")?,
            "eq" => self.compare(Compare::Eq)?,
            "ne" => self.compare(Compare::Ne)?,
            "lt" => self.compare(Compare::Lt)?,
            "le" => self.compare(Compare::Le)?,
            "gt" => self.compare(Compare::Gt)?,
            "ge" => self.compare(Compare::Ge)?,
            "mean" => self.reduce(Reduce::Mean)?,
            "sum" => self.reduce(Reduce::Sum)?,
            "amax" => self.reduce(Reduce::Max)?,
            "conv1d" | "conv2d" => self.convolution()?,
            "full" => Op::Full(self.number("fill_value")?.unwrap_or(f64::NAN)),
            "cat" => {
                for tensor in self.get::<Vec<BTreeMap<String, String>>>("tensors")? {
                    self.inputs.extend(tensor.into_values());
                }
                Op::Cat(self.get("dim")?)
            }
            "where" => {
                self.tensors(&["condition"])?;
                let then = if self.tensor("self")? { None } else { self.number("self")? };
                Op::Where { then, otherwise: if self.tensor("other")? { None } else { self.number("other")? } }
            }
            "gather" | "index_select" => {
                self.tensors(&["self", "index"])?;
                (if name == "gather" { Op::Gather } else { Op::IndexSelect })(self.get("dim")?)
            }
            "embedding" => self.tensors(&["weight", "indices"]).map(|()| Op::Embedding)?,
            "matmul" => self.tensors(&["self", "other"]).map(|()| Op::Matmul)?,
            "linear" => {
                self.tensors(&["input", "weight"])?;
                self.optional(&["bias"]).map(|()| Op::Linear)?
            }
            "batch_norm" => {
                self.tensors(&["input", "weight", "bias", "running_mean", "running_var"])?;
                Op::BatchNorm { eps: self.get("eps")? }
            }
            "group_norm" | "layer_norm" => {
                self.tensors(&["input"])?;
                self.optional(&["weight", "bias"])?;
                let eps = self.get("eps")?;
                match name {
                    "group_norm" => Op::GroupNorm { groups: self.get("num_groups")?, eps },
                    _ => Op::LayerNorm { dims: self.get::<Vec<usize>>("normalized_shape")?.len(), eps },
                }
            }
            "rms_norm" => {
                self.tensors(&["input"])?;
                self.optional(&["weight"])?;
                Op::RmsNorm { dims: self.get::<Vec<usize>>("normalized_shape")?.len(), eps: self.get("eps")? }
            }
            "rotary_embedding" => self.tensors(&["self", "cos", "sin"]).map(|()| Op::Rotary)?,
            "scaled_dot_product_attention" => {
                self.tensors(&["query", "key", "value"])?;
                self.optional(&["attn_mask"])?;
                Op::Attention { scale: self.get("scale")?, causal: self.get("is_causal")? }
            }
            "cross_entropy_loss" => {
                self.tensors(&["self", "target"])?;
                let plain = self.get::<f64>("label_smoothing")? == 0.0 && self.value("weight")?.is_null();
                let rank = entry.shapes.get(&self.inputs[0]).map(Vec::len);
                if !plain || rank != Some(2) || !out.shape.is_empty() {
                    return unsupported("with weights, label smoothing, more dimensions or a loss for each row");
                }
                Op::CrossEntropy { ignored: self.get("ignore_index")?, mean: self.get::<u8>("reduction")? == 1 }
            }
            "mse_loss" => {
                self.tensors(&["self", "target"])?;
                if !out.shape.is_empty() {
                    return unsupported("a loss for each element");
                }
                Op::MseLoss { mean: self.get::<u8>("reduction")? == 1 }
            }
            _ => return Ok(None),
        }))
    }
}

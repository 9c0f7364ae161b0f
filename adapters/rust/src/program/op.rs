//! The typed operators, and how a node's arguments become them.

use crate::{Result, unsupported};
use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Unary {
    Abs,
    Cos,
    Detach,
    Erf,
    Exp,
    Gelu,
    #[serde(skip)] // it is `gelu` with another argument
    GeluTanh,
    Log,
    Log1p,
    Neg,
    #[serde(rename = "logical_not")]
    Not,
    Relu,
    Rsqrt,
    Sigmoid,
    Silu,
    Sin,
    Sqrt,
    Tanh,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Maximum,
    Minimum,
    #[serde(rename = "logical_and")]
    And,
    #[serde(rename = "logical_or")]
    Or,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    Mean,
    Sum,
    #[serde(rename = "amax")]
    Max,
}

/// The number of a loss's reduction that is the mean.
pub const MEAN: u8 = 1;

/// The operators. A comment names the tensors of each in their order; those with `?` may be missing.
///
/// From `Reshape` on, a variant and its fields are read by their names in the Program. Arguments that `Node::out`
/// implies are left out.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
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
    /// x → bool
    CompareScalar(Compare, f64),
    /// x
    Reduce { kind: Reduce, dims: Vec<usize> },
    /// none
    Full(f64),
    /// x
    Clamp { min: Option<f64>, max: Option<f64> },
    /// condition, then?, otherwise?: numbers where they are no tensors
    Where { then: Option<f64>, otherwise: Option<f64> },
    /// x
    Reshape,
    /// x
    Expand,
    /// x
    To,
    /// x
    Permute { dims: Vec<usize> },
    /// x
    Slice { dim: usize, start: usize, end: usize, step: usize },
    /// x, y, …
    Cat { dim: usize },
    /// x
    Softmax { dim: usize },
    /// x
    LogSoftmax { dim: usize },
    /// x
    Cumsum { dim: usize },
    /// x, index
    Gather { dim: usize },
    /// x, index
    IndexSelect { dim: usize },
    /// weight, indices
    Embedding,
    /// x, y
    Matmul,
    /// x, weight (out, in), bias?
    Linear,
    /// x, weight (O, C / groups, …), bias?; one number for each dimension of the image
    #[serde(rename = "conv1d", alias = "conv2d")]
    Convolution { stride: Vec<usize>, padding: Vec<usize>, dilation: Vec<usize>, groups: usize },
    /// x
    MaxPool2d { kernel_size: [usize; 2], stride: [usize; 2], padding: [usize; 2], dilation: [usize; 2] },
    /// x
    #[serde(rename = "upsample_nearest2d")]
    Upsample2d,
    /// x, weight, bias, mean, variance
    BatchNorm { eps: f64 },
    /// x, weight?, bias?
    GroupNorm { num_groups: usize, eps: f64 },
    /// x, weight?, bias?
    LayerNorm { normalized_shape: Vec<usize>, eps: f64 },
    /// x, weight?
    RmsNorm { normalized_shape: Vec<usize>, eps: f64 },
    /// x (B, H, S, D), cos, sin (S, D / 2)
    #[serde(rename = "rotary_embedding")]
    Rotary,
    /// query (B, H, S, D), key, value (B, G, T, D), mask?
    #[serde(rename = "scaled_dot_product_attention")]
    Attention { scale: f64, is_causal: bool },
    /// x (N, classes), target (N,): the reduction is [`MEAN`], or else the sum; rows to ignore do not count
    #[serde(rename = "cross_entropy_loss")]
    CrossEntropy { ignore_index: i64, reduction: u8 },
    /// x, target
    MseLoss { reduction: u8 },
}

/// The names of the tensors among the arguments, in their order. A missing tensor before one that is given is
/// `unsupported`, because the names alone could not tell which of the two is missing.
pub(super) fn tensors(arguments: &IndexMap<String, Value>) -> Result<Vec<String>> {
    let (mut found, mut missing) = (Vec::new(), None);
    for (name, value) in arguments {
        for one in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            match (one.get("ref").and_then(Value::as_str), missing) {
                (Some(_), Some(other)) => return unsupported(format!("{name} without {other}")),
                (Some(tensor), None) => found.push(tensor.to_owned()),
                (None, _) => {}
            }
        }
        missing = missing.or(value.is_null().then_some(name));
    }
    Ok(found)
}

/// The member of a family that has this name.
fn named<T: DeserializeOwned>(name: &str) -> Option<T> {
    let name: StrDeserializer<NameError> = name.into_deserializer();
    T::deserialize(name).ok()
}

/// A number; a flag is 0 or 1. It is None where the argument is a tensor or null.
fn number(value: Option<&Value>) -> Result<Option<f64>> {
    let value = value.unwrap_or(&Value::Null);
    if let Some(text) = value.get("float").and_then(Value::as_str) {
        return Ok(Some(text.parse()?));
    }
    Ok(value.as_f64().or_else(|| value.as_bool().map(|flag| f64::from(u8::from(flag)))))
}

impl Op {
    /// An operator by its name in the Program; None where it is not known.
    pub(super) fn read(name: &str, arguments: &IndexMap<String, Value>) -> Result<Option<Self>> {
        let operand = |at| number(arguments.values().nth(at));
        if let Some(kind) = named(name) {
            let tanh = arguments.get("approximate").is_some_and(|way| way == "tanh");
            return Ok(Some(Self::Unary(if tanh { Unary::GeluTanh } else { kind })));
        }
        if let Some(kind) = named(name) {
            return Ok(Some(match (operand(0)?, operand(1)?) {
                (None, None) => Self::Binary(kind),
                (None, Some(number)) => Self::Scalar(kind, number),
                (Some(number), _) => Self::ScalarFirst(kind, number),
            }));
        }
        if let Some(kind) = named(name) {
            return Ok(Some(operand(1)?.map_or(Self::Compare(kind), |number| Self::CompareScalar(kind, number))));
        }
        if let Some(kind) = named(name) {
            return Ok(Some(Self::Reduce {
                kind,
                dims: serde_json::from_value(arguments.get("dim").cloned().into())?,
            }));
        }
        Ok(match name {
            "full" => Some(Self::Full(operand(1)?.unwrap_or(f64::NAN))),
            "clamp" => Some(Self::Clamp { min: operand(1)?, max: operand(2)? }),
            "where" => Some(Self::Where { then: operand(1)?, otherwise: operand(2)? }),
            "max_pool2d" if arguments.get("ceil_mode") == Some(&true.into()) => return unsupported("ceil_mode"),
            _ => match named(name).map_or_else(|| Self::deserialize(json!({name: arguments})), Ok) {
                Ok(op) => Some(op),
                Err(error) if error.to_string().starts_with("unknown variant") => None, // serde's words
                Err(error) => return unsupported(error.to_string()),
            },
        })
    }

    /// How many tensors it takes at least.
    pub(super) fn least(&self) -> usize {
        match self {
            Self::Full(_) => 0,
            Self::Where { then, otherwise } => 1 + usize::from(then.is_none()) + usize::from(otherwise.is_none()),
            Self::Binary(_) | Self::Compare(_) | Self::Gather { .. } | Self::IndexSelect { .. } | Self::Embedding => 2,
            Self::BatchNorm { .. } => 5,
            _ => 1, // no other operator can have a number in place of a tensor
        }
    }
}

//! The operator table.

use crate::Burn;
use crate::elementwise::{binary, compare, compare_number, reduce, unary, whole};
use crate::layers::{self, Windows};
use crate::tensors::{self, Kind, expand, kind, lift, permute, reshape, shaped};
use burn_backend::ops::{
    ActivationOps, BoolTensorOps, FloatTensorOps, IntTensorOps, InterpolateMode, InterpolateOptions, ModuleOps,
};
use burn_backend::{FloatDType, Scalar, TensorMetadata};
use burn_dispatch::{Dispatch as B, DispatchTensor as Tensor};
use inferena_worker::{Binary, Dtype, Node, Op, Result, unsupported};

pub const OPERATORS: &str = r#"{
    "abs": {"dtype": ["float32"]}, "cos": {}, "detach": {}, "erf": {}, "exp": {}, "gelu": {"approximate": ["none"]},
    "log": {}, "log1p": {}, "neg": {}, "logical_not": {}, "relu": {}, "sigmoid": {}, "sin": {}, "sqrt": {}, "tanh": {},
    "clamp": {"dtype": ["float32"]},
    "add": {}, "sub": {"self": ["tensor"]}, "mul": {}, "div": {}, "pow": {"self": ["tensor"], "dtype": ["float32"]},
    "maximum": {}, "minimum": {}, "logical_and": {}, "logical_or": {},
    "eq": {}, "ne": {}, "lt": {}, "le": {}, "gt": {}, "ge": {}, "where": {}, "to": {}, "full": {},
    "mean": {}, "sum": {}, "amax": {}, "cumsum": {}, "softmax": {}, "log_softmax": {},
    "reshape": {}, "expand": {}, "permute": {}, "slice": {}, "cat": {}, "gather": {}, "index_select": {}, "embedding": {},
    "matmul": {}, "linear": {}, "conv1d": {}, "conv2d": {}, "max_pool2d": {"ceil_mode": [false]}, "upsample_nearest2d": {},
    "layer_norm": {"weight": ["tensor"]}, "scaled_dot_product_attention": {"trains": [false], "rank": [4]}
}"#;

impl Burn {
    /// Compute one operator; `trains` says that gradients will be asked for.
    pub fn operator(&self, node: &Node, tensors: Vec<Tensor>, trains: bool) -> Result<Tensor> {
        let shape = &node.out.shape[..];
        let mut given = tensors.into_iter();
        let mut next = || given.next().expect("the program has it");
        if let Op::Full(number) = node.op {
            return Ok(self.filled(number, node.dtype()?, shape));
        }
        let x = next();
        Ok(match &node.op {
            Op::Unary(kind) => unary(*kind, x),
            Op::Binary(kind) => binary(*kind, lift(x, shape.len()), lift(next(), shape.len()), shape, self.bools)?,
            Op::Scalar(kind, number) => self.scalar(*kind, x, *number)?,
            Op::ScalarFirst(Binary::Div, number) => B::float_mul_scalar(B::float_recip(x), Scalar::Float(*number)),
            Op::Compare(kind) => compare(*kind, expand(x, shape), expand(next(), shape), self.bools)?,
            Op::CompareScalar(kind, number) if number.fract() != 0.0 => {
                compare_number(*kind, self.cast(x, Dtype::Float32), *number, self.bools)?
            }
            Op::CompareScalar(kind, number) => compare_number(*kind, x, *number, self.bools)?,
            Op::Reshape => reshape(x, shape),
            Op::Expand => expand(x, shape),
            Op::To => self.cast(x, node.dtype()?),
            Op::Permute { dims } => permute(x, dims),
            Op::Slice { dim, start, end, step } => tensors::slice(x, *dim, *start, *end, *step),
            Op::Cat { dim } => {
                let mut all = vec![x];
                all.extend(given);
                tensors::cat(all, *dim)
            }
            Op::Reduce { kind, dims, .. } => reduce(*kind, x, dims, shape),
            Op::Clamp { min, max } => match (min, max) {
                (Some(min), Some(max)) => B::float_clamp(x, Scalar::Float(*min), Scalar::Float(*max)),
                (Some(min), None) => B::float_clamp_min(x, Scalar::Float(*min)),
                (None, Some(max)) => B::float_clamp_max(x, Scalar::Float(*max)),
                (None, None) => x,
            },
            Op::Where { then, otherwise } => {
                let condition = expand(x, shape);
                let mut side = |number: &Option<f64>| number.is_none().then(|| expand(next(), shape));
                match (side(then), side(otherwise)) {
                    (Some(then), Some(otherwise)) => tensors::choose(condition, then, otherwise),
                    (Some(then), None) => tensors::fill(then, B::bool_not(condition), otherwise.unwrap_or(f64::NAN)),
                    (None, Some(otherwise)) => tensors::fill(otherwise, condition, then.unwrap_or(f64::NAN)),
                    (None, None) => return unsupported("two numbers"),
                }
            }
            Op::Softmax { dim } => B::softmax(x, *dim),
            Op::LogSoftmax { dim } => B::log_softmax(x, *dim),
            Op::Cumsum { dim } if kind(&x) == Kind::Float => B::float_cumsum(x, *dim),
            Op::Cumsum { dim } => B::int_cumsum(x, *dim),
            Op::Gather { dim } if kind(&x) == Kind::Float => B::float_gather(*dim, x, next()),
            Op::Gather { dim } => B::int_gather(*dim, x, next()),
            Op::IndexSelect { dim } if kind(&x) == Kind::Float => B::float_select(x, *dim, next()),
            Op::IndexSelect { dim } => B::int_select(x, *dim, next()),
            Op::Embedding => {
                let places = next();
                let count = places.shape().num_elements();
                reshape(B::float_select(x, 0, reshape(places, &[count])), shape)
            }
            Op::Matmul => B::float_matmul(lift(x, shape.len()), lift(next(), shape.len())),
            Op::Linear => reshape(layers::linear(x, next(), given.next()), shape),
            Op::Convolution { stride, padding, dilation, groups } => {
                let windows = Windows { stride, padding, dilation, groups: *groups };
                layers::convolution(x, next(), given.next(), &windows, shape, trains)?
            }
            Op::MaxPool2d { kernel_size, stride, padding, dilation } => {
                B::max_pool2d(x, *kernel_size, *stride, *padding, *dilation, false)
            }
            Op::Upsample2d => {
                let options = InterpolateOptions::new(InterpolateMode::Nearest);
                B::interpolate(x, [shape[2], shape[3]], options)
            }
            Op::LayerNorm { normalized_shape, eps } => {
                layers::layer_norm(x, next(), given.next(), normalized_shape, *eps)
            }
            Op::Attention { scale, is_causal } => {
                let (key, value) = (next(), next());
                layers::attention(x, key, value, given.next(), *scale, *is_causal)
            }
            _ => return unsupported(""),
        })
    }

    fn filled(&self, number: f64, dtype: Dtype, shape: &[usize]) -> Tensor {
        let shape = shaped(shape);
        match dtype {
            Dtype::Float32 => B::float_full(shape, Scalar::Float(number), &self.device, FloatDType::F32),
            Dtype::Int64 => B::int_full(shape, whole(number), &self.device, self.ints),
            Dtype::Bool if number == 0.0 => B::bool_zeros(shape, &self.device, self.bools),
            Dtype::Bool => B::bool_ones(shape, &self.device, self.bools),
        }
    }

    fn cast(&self, x: Tensor, dtype: Dtype) -> Tensor {
        match (kind(&x), dtype) {
            (Kind::Float, Dtype::Int64) => B::float_into_int(x, self.ints), // towards zero, as everywhere
            (Kind::Float, Dtype::Bool) => B::float_not_equal_elem(x, Scalar::Float(0.0), self.bools),
            (Kind::Int, Dtype::Float32) => B::int_into_float(x, FloatDType::F32),
            (Kind::Int, Dtype::Bool) => B::int_not_equal_elem(x, Scalar::Int(0), self.bools),
            (Kind::Bool, Dtype::Float32) => B::bool_into_float(x, FloatDType::F32),
            (Kind::Bool, Dtype::Int64) => B::bool_into_int(x, self.ints),
            _ => x,
        }
    }

    fn scalar(&self, operator: Binary, x: Tensor, number: f64) -> Result<Tensor> {
        let float = Scalar::Float(number);
        Ok(match (kind(&x), operator) {
            (Kind::Float, Binary::Add) => B::float_add_scalar(x, float),
            (Kind::Float, Binary::Sub) => B::float_sub_scalar(x, float),
            (Kind::Float, Binary::Mul) => B::float_mul_scalar(x, float),
            (Kind::Float, Binary::Div) => B::float_div_scalar(x, float),
            (Kind::Float, Binary::Pow) if number.to_bits() == 2f64.to_bits() => B::float_mul(x.clone(), x),
            (Kind::Float, Binary::Pow) => B::float_powf_scalar(x, float),
            (Kind::Float, Binary::Maximum) => B::float_clamp_min(x, float),
            (Kind::Float, Binary::Minimum) => B::float_clamp_max(x, float),
            (Kind::Int, Binary::Add) => B::int_add_scalar(x, whole(number)),
            (Kind::Int, Binary::Sub) => B::int_sub_scalar(x, whole(number)),
            (Kind::Int, Binary::Mul) => B::int_mul_scalar(x, whole(number)),
            (Kind::Bool, _) => {
                let shape = x.shape().to_vec();
                let other = self.filled(number, Dtype::Bool, &shape);
                binary(operator, x, other, &shape, self.bools)?
            }
            _ => return unsupported("of integers"),
        })
    }
}

//! Burn: an operator table on its dispatch layer, where a tensor's rank is data; gradients by its own autodiff.

mod device;
mod layers;
mod tensors;

use burn_backend::ops::{
    ActivationOps, BoolTensorOps, FloatTensorOps, IntTensorOps, InterpolateMode, InterpolateOptions, ModuleOps,
};
use burn_backend::{
    AutodiffBackend, Backend, BoolDType, FloatDType, IntDType, Scalar, TensorData, TensorMetadata,
    get_or_init_device_settings, read_sync,
};
use burn_dispatch::{Dispatch as B, DispatchDevice, DispatchTensor as Tensor};
use inferena_walker::{Operators, Walker};
use inferena_worker::{
    Array, Binary, Compare, Data, Dtype, MEAN, Node, Op, Reduce, Result, Setup, Unary, failed, unsupported,
};
use layers::Windows;
use tensors::{Kind, expand, kind, lift, permute, reshape, shaped};

struct Burn {
    device: DispatchDevice,
    /// As it calls itself.
    name: String,
    bools: BoolDType,
    ints: IntDType,
}

impl Operators for Burn {
    type Tensor = Tensor;
    const NAME: &'static str = "burn";

    fn start(setup: &Setup) -> Result<Self> {
        // An error says that there are threads already: those of an earlier hello, or of RAYON_NUM_THREADS.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(setup.threads).build_global();
        let (device, name) = device::device(&setup.backend)?;
        let settings = get_or_init_device_settings::<B>(&device);
        let flex = setup.backend == "flex";
        let ints = if flex { IntDType::I64 } else { settings.int_dtype }; // WGSL has no integers of 64 bits
        Ok(Self { device, name, bools: settings.bool_dtype, ints })
    }

    fn describe(&self) -> String {
        format!("Burn on {}", self.name)
    }

    fn upload(&self, array: Array, variable: bool) -> Result<Tensor> {
        let tensor = match array.data {
            Data::Float32(values) => B::float_from_data(TensorData::new(values, array.shape), &self.device),
            Data::Int64(values) => {
                let data = TensorData::new(values, array.shape);
                let data = if self.ints == IntDType::I64 { data } else { data.convert::<i32>() };
                B::int_from_data(data, &self.device)
            }
            Data::Bool(values) => B::bool_from_data(TensorData::new(values, array.shape), &self.device),
        };
        Ok(if variable { B::float_set_require_grad(B::from_inner(tensor), true) } else { tensor })
    }

    /// Flex multiplies by rows that lie as (in, out) sooner than by their transpose.
    fn arranged(&self, weight: &Tensor) -> Result<Option<Tensor>> {
        if !matches!(self.device, DispatchDevice::Flex(_)) {
            return Ok(None);
        }
        let rows = self.download(&B::float_swap_dims(weight.clone(), 0, 1), Dtype::Float32)?;
        Ok(Some(B::float_swap_dims(self.upload(rows, false)?, 0, 1)))
    }

    fn apply(&self, node: &Node, tensors: Vec<Tensor>, trains: bool) -> Result<Tensor> {
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
            Op::ScalarFirst(Binary::Sub, number) if kind(&x) == Kind::Float => {
                B::float_add_scalar(B::float_neg(x), Scalar::Float(*number))
            }
            Op::ScalarFirst(kind, number) => {
                binary(*kind, self.filled(*number, node.dtype()?, &vec![1; shape.len()]), x, shape, self.bools)?
            }
            Op::Compare(kind) => compare(*kind, expand(x, shape), expand(next(), shape), self.bools)?,
            Op::CompareScalar(kind, number) if number.fract() != 0.0 => {
                compare_number(*kind, self.cast(x, Dtype::Float32), *number, self.bools)?
            }
            Op::CompareScalar(kind, number) => compare_number(*kind, x, *number, self.bools)?,
            Op::Reshape => reshape(x, shape),
            Op::Expand => expand(x, shape),
            Op::Full(_) => unreachable!("it has no tensors"),
            Op::To => self.cast(x, node.dtype()?),
            Op::Permute { dims } => permute(x, dims),
            Op::Slice { dim, start, end, step } => tensors::slice(x, *dim, *start, *end, *step),
            Op::Cat { dim } => {
                let mut all = vec![x];
                all.extend(given);
                tensors::cat(all, *dim)
            }
            Op::Reduce { kind, dims, .. } => reduce(*kind, x, dims, shape),
            Op::Clamp { .. } if kind(&x) != Kind::Float => return unsupported("of this dtype"),
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
            Op::BatchNorm { eps } => {
                let (weight, bias, mean, variance) = (next(), next(), next(), next());
                layers::batch_norm(x, weight, bias, mean, variance, *eps)
            }
            Op::GroupNorm { num_groups, eps } => layers::group_norm(x, given.next(), given.next(), *num_groups, *eps),
            Op::LayerNorm { normalized_shape, eps } => {
                layers::layer_norm(x, given.next(), given.next(), normalized_shape, *eps)
            }
            Op::RmsNorm { normalized_shape, eps } => layers::rms_norm(x, given.next(), normalized_shape, *eps),
            Op::Rotary => layers::rotary(x, next(), next()),
            Op::Attention { scale, is_causal } => {
                let (key, value) = (next(), next());
                layers::attention(x, key, value, given.next(), *scale, *is_causal, trains)
            }
            Op::CrossEntropy { ignore_index, reduction } => {
                self.cross_entropy(x, next(), *ignore_index, *reduction == MEAN)
            }
            Op::MseLoss { reduction } => {
                let rest = B::float_sub(x, next());
                let squares = B::float_mul(rest.clone(), rest);
                reshape(if *reduction == MEAN { B::float_mean(squares) } else { B::float_sum(squares) }, shape)
            }
        })
    }

    fn gradients(&self, loss: &Tensor, of: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        let mut found = B::backward(loss.clone());
        Ok(of.iter().map(|variable| B::grad_remove(variable, &mut found)).collect())
    }

    fn download(&self, tensor: &Tensor, dtype: Dtype) -> Result<Array> {
        let (shape, tensor) = (tensor.shape().to_vec(), tensor.clone());
        let data = match dtype {
            Dtype::Float32 => Data::Float32(values(read_sync(B::float_into_data(tensor)))?),
            Dtype::Int64 => Data::Int64(values(read_sync(B::int_into_data(tensor)))?),
            Dtype::Bool => Data::Bool(values(read_sync(B::bool_into_data(tensor)))?),
        };
        Ok(Array { shape, data })
    }

    fn synchronize(&self) -> Result<()> {
        B::sync(&self.device).or_else(|error| failed(format!("{error:?}")))
    }
}

fn values<E: burn_backend::Element>(
    data: std::result::Result<TensorData, burn_backend::ExecutionError>,
) -> Result<Vec<E>> {
    let data = data.or_else(|error| failed(format!("{error:?}")))?;
    data.convert::<E>().try_into_vec().or_else(|error| failed(format!("{error:?}")))
}

impl Burn {
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

    /// Rows whose target is ignored count as nothing.
    fn cross_entropy(&self, x: Tensor, target: Tensor, ignored: i64, mean: bool) -> Tensor {
        let rows = target.shape()[0];
        let skipped = B::int_equal_elem(target.clone(), Scalar::Int(ignored), self.bools);
        let kept = B::bool_into_float(B::bool_not(skipped.clone()), FloatDType::F32);
        let target = B::int_mask_fill(target, skipped, Scalar::Int(0));
        let picked = B::float_gather(1, B::log_softmax(x, 1), reshape(target, &[rows, 1]));
        let total = B::float_neg(B::float_sum(B::float_mul(reshape(picked, &[rows]), kept.clone())));
        reshape(if mean { B::float_div(total, B::float_sum(kept)) } else { total }, &[])
    }
}

fn whole(number: f64) -> Scalar {
    #[allow(clippy::cast_possible_truncation)] // an integer of the program's JSON
    Scalar::Int(number as i64)
}

fn unary(operator: Unary, x: Tensor) -> Tensor {
    match operator {
        Unary::Abs => B::float_abs(x),
        Unary::Cos => B::float_cos(x),
        Unary::Detach if kind(&x) == Kind::Float => B::float_detach(x),
        Unary::Detach => x,
        Unary::Erf => B::float_erf(x),
        Unary::Exp => B::float_exp(x),
        Unary::Gelu => B::gelu(x),
        Unary::GeluTanh => layers::gelu_tanh(x),
        Unary::Log => B::float_log(x),
        Unary::Log1p => B::float_log1p(x),
        Unary::Neg if kind(&x) == Kind::Int => B::int_neg(x),
        Unary::Neg => B::float_neg(x),
        Unary::Not => B::bool_not(x),
        Unary::Relu => B::relu(x),
        Unary::Rsqrt => B::float_recip(B::float_sqrt(x)),
        Unary::Sigmoid => B::sigmoid(x),
        Unary::Silu => B::float_mul(B::sigmoid(x.clone()), x),
        Unary::Sin => B::float_sin(x),
        Unary::Sqrt => B::float_sqrt(x),
        Unary::Tanh => B::float_tanh(x),
    }
}

/// Of tensors of one rank; Burn broadcasts where arithmetic is its own.
fn binary(operator: Binary, x: Tensor, y: Tensor, shape: &[usize], bools: BoolDType) -> Result<Tensor> {
    Ok(match (kind(&x), operator) {
        (Kind::Float, Binary::Add) => B::float_add(x, y),
        (Kind::Float, Binary::Sub) => B::float_sub(x, y),
        (Kind::Float, Binary::Mul) => B::float_mul(x, y),
        (Kind::Float, Binary::Div) => B::float_div(x, y),
        (Kind::Float, Binary::Pow) => B::float_powf(expand(x, shape), expand(y, shape)),
        (Kind::Int, Binary::Add) => B::int_add(x, y),
        (Kind::Int, Binary::Sub) => B::int_sub(x, y),
        (Kind::Int, Binary::Mul) => B::int_mul(x, y),
        (Kind::Bool, Binary::And | Binary::Mul | Binary::Minimum) => B::bool_and(expand(x, shape), expand(y, shape)),
        (Kind::Bool, Binary::Or | Binary::Add | Binary::Maximum) => B::bool_or(expand(x, shape), expand(y, shape)),
        (Kind::Float | Kind::Int, Binary::Maximum | Binary::Minimum) => {
            let (x, y) = (expand(x, shape), expand(y, shape));
            let order = if operator == Binary::Maximum { Compare::Ge } else { Compare::Le };
            tensors::choose(compare(order, x.clone(), y.clone(), bools)?, x, y)
        }
        _ => return unsupported("of this dtype"),
    })
}

/// Of tensors of one shape.
fn compare(operator: Compare, x: Tensor, y: Tensor, bools: BoolDType) -> Result<Tensor> {
    Ok(match (kind(&x), operator) {
        (Kind::Float, Compare::Eq) => B::float_equal(x, y, bools),
        (Kind::Float, Compare::Ne) => B::float_not_equal(x, y, bools),
        (Kind::Float, Compare::Lt) => B::float_lower(x, y, bools),
        (Kind::Float, Compare::Le) => B::float_lower_equal(x, y, bools),
        (Kind::Float, Compare::Gt) => B::float_greater(x, y, bools),
        (Kind::Float, Compare::Ge) => B::float_greater_equal(x, y, bools),
        (Kind::Int, Compare::Eq) => B::int_equal(x, y, bools),
        (Kind::Int, Compare::Ne) => B::int_not_equal(x, y, bools),
        (Kind::Int, Compare::Lt) => B::int_lower(x, y, bools),
        (Kind::Int, Compare::Le) => B::int_lower_equal(x, y, bools),
        (Kind::Int, Compare::Gt) => B::int_greater(x, y, bools),
        (Kind::Int, Compare::Ge) => B::int_greater_equal(x, y, bools),
        (Kind::Bool, Compare::Eq) => B::bool_equal(x, y),
        (Kind::Bool, Compare::Ne) => B::bool_not_equal(x, y),
        (Kind::Bool, _) => return unsupported("an order of bool"),
    })
}

fn compare_number(operator: Compare, x: Tensor, number: f64, bools: BoolDType) -> Result<Tensor> {
    let (float, int) = (Scalar::Float(number), whole(number));
    Ok(match (kind(&x), operator) {
        (Kind::Float, Compare::Eq) => B::float_equal_elem(x, float, bools),
        (Kind::Float, Compare::Ne) => B::float_not_equal_elem(x, float, bools),
        (Kind::Float, Compare::Lt) => B::float_lower_elem(x, float, bools),
        (Kind::Float, Compare::Le) => B::float_lower_equal_elem(x, float, bools),
        (Kind::Float, Compare::Gt) => B::float_greater_elem(x, float, bools),
        (Kind::Float, Compare::Ge) => B::float_greater_equal_elem(x, float, bools),
        (Kind::Int, Compare::Eq) => B::int_equal_elem(x, int, bools),
        (Kind::Int, Compare::Ne) => B::int_not_equal_elem(x, int, bools),
        (Kind::Int, Compare::Lt) => B::int_lower_elem(x, int, bools),
        (Kind::Int, Compare::Le) => B::int_lower_equal_elem(x, int, bools),
        (Kind::Int, Compare::Gt) => B::int_greater_elem(x, int, bools),
        (Kind::Int, Compare::Ge) => B::int_greater_equal_elem(x, int, bools),
        (Kind::Bool, Compare::Eq) => B::bool_equal_elem(x, Scalar::Bool(number != 0.0)),
        (Kind::Bool, Compare::Ne) => B::bool_not_equal_elem(x, Scalar::Bool(number != 0.0)),
        (Kind::Bool, _) => return unsupported("an order of bool"),
    })
}

fn reduce(operator: Reduce, x: Tensor, dims: &[usize], shape: &[usize]) -> Tensor {
    let float = kind(&x) == Kind::Float;
    let dims = if dims.is_empty() { (0..x.shape().num_dims()).collect() } else { dims.to_vec() };
    let reduced = dims.into_iter().fold(x, |x, dim| match operator {
        Reduce::Mean => B::float_mean_dim(x, dim),
        Reduce::Sum if float => B::float_sum_dim(x, dim),
        Reduce::Sum => B::int_sum_dim(x, dim),
        Reduce::Max if float => B::float_max_dim(x, dim),
        Reduce::Max => B::int_max_dim(x, dim),
    });
    reshape(reduced, shape)
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Walker<Burn>>()
}

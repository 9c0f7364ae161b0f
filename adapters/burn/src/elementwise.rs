//! Arithmetic, comparisons and reductions, by the kind of tensor.

use crate::tensors::{self, Kind, expand, kind, reshape};
use burn_backend::ops::{ActivationOps, BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn_backend::{BoolDType, Scalar, TensorMetadata};
use burn_dispatch::{Dispatch as B, DispatchTensor as Tensor};
use inferena_worker::{Binary, Compare, Reduce, Result, Unary, unsupported};

pub fn whole(number: f64) -> Scalar {
    #[allow(clippy::cast_possible_truncation)] // an integer of the program's JSON
    Scalar::Int(number as i64)
}

pub fn unary(operator: Unary, x: Tensor) -> Tensor {
    match operator {
        Unary::Abs => B::float_abs(x),
        Unary::Cos => B::float_cos(x),
        Unary::Detach if kind(&x) == Kind::Float => B::float_detach(x),
        Unary::Detach => x,
        Unary::Erf => B::float_erf(x),
        Unary::Exp => B::float_exp(x),
        Unary::Gelu => B::gelu(x),
        Unary::Log => B::float_log(x),
        Unary::Log1p => B::float_log1p(x),
        Unary::Neg if kind(&x) == Kind::Int => B::int_neg(x),
        Unary::Neg => B::float_neg(x),
        Unary::Not => B::bool_not(x),
        Unary::Relu => B::relu(x),
        Unary::Sigmoid => B::sigmoid(x),
        Unary::Sin => B::float_sin(x),
        Unary::Sqrt => B::float_sqrt(x),
        Unary::Tanh => B::float_tanh(x),
        Unary::GeluTanh | Unary::Rsqrt | Unary::Silu => unreachable!("the preparer writes them with others"),
    }
}

/// Arithmetic of two tensors of one rank. Burn broadcasts in its own operators; elsewhere tensors are expanded here.
pub fn binary(operator: Binary, x: Tensor, y: Tensor, shape: &[usize], bools: BoolDType) -> Result<Tensor> {
    Ok(match (kind(&x), operator) {
        (Kind::Float, Binary::Add) => B::float_add(x, y),
        (Kind::Float, Binary::Sub) => B::float_sub(x, y),
        (Kind::Float, Binary::Mul) => B::float_mul(x, y),
        (Kind::Float, Binary::Div) => B::float_div(x, y),
        (Kind::Float, Binary::Pow) => B::float_powf(expand(x, shape), expand(y, shape)),
        (Kind::Int, Binary::Add) => B::int_add(x, y),
        (Kind::Int, Binary::Sub) => B::int_sub(x, y),
        (Kind::Int, Binary::Mul) => B::int_mul(x, y),
        (Kind::Bool, Binary::And) => B::bool_and(expand(x, shape), expand(y, shape)),
        (Kind::Bool, Binary::Or) => B::bool_or(expand(x, shape), expand(y, shape)),
        (Kind::Float | Kind::Int, Binary::Maximum | Binary::Minimum) => {
            let (x, y) = (expand(x, shape), expand(y, shape));
            let order = if operator == Binary::Maximum { Compare::Ge } else { Compare::Le };
            tensors::choose(compare(order, x.clone(), y.clone(), bools)?, x, y)
        }
        _ => return unsupported("of this dtype"),
    })
}

/// A comparison of two tensors of one shape.
pub fn compare(operator: Compare, x: Tensor, y: Tensor, bools: BoolDType) -> Result<Tensor> {
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

pub fn compare_number(operator: Compare, x: Tensor, number: f64, bools: BoolDType) -> Result<Tensor> {
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

pub fn reduce(operator: Reduce, x: Tensor, dims: &[usize], shape: &[usize]) -> Tensor {
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

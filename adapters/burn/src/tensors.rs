//! Operators that Burn has once for each kind of tensor.

use burn_backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn_backend::{Scalar, Shape, Slice, TensorMetadata};
use burn_dispatch::{Dispatch as B, DispatchTensor as Tensor};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Float,
    Int,
    Bool,
}

pub fn kind(x: &Tensor) -> Kind {
    let dtype = x.dtype();
    if dtype.is_float() {
        Kind::Float
    } else if dtype.is_bool() {
        Kind::Bool
    } else {
        Kind::Int
    }
}

pub fn shaped(shape: &[usize]) -> Shape {
    Shape::from(shape.to_vec())
}

pub fn reshape(x: Tensor, shape: &[usize]) -> Tensor {
    match kind(&x) {
        _ if *x.shape() == *shape => x,
        Kind::Float => B::float_reshape(x, shaped(shape)),
        Kind::Int => B::int_reshape(x, shaped(shape)),
        Kind::Bool => B::bool_reshape(x, shaped(shape)),
    }
}

/// The tensor with dimensions of size 1 before its own, because Burn broadcasts equal ranks only.
pub fn lift(x: Tensor, rank: usize) -> Tensor {
    let shape = x.shape().to_vec();
    if shape.len() >= rank {
        return x;
    }
    reshape(x, &[vec![1; rank - shape.len()], shape].concat())
}

pub fn expand(x: Tensor, shape: &[usize]) -> Tensor {
    let x = lift(x, shape.len());
    match kind(&x) {
        _ if *x.shape() == *shape => x,
        Kind::Float => B::float_expand(x, shaped(shape)),
        Kind::Int => B::int_expand(x, shaped(shape)),
        Kind::Bool => B::bool_expand(x, shaped(shape)),
    }
}

pub fn permute(x: Tensor, dims: &[usize]) -> Tensor {
    match kind(&x) {
        Kind::Float => B::float_permute(x, dims),
        Kind::Int => B::int_permute(x, dims),
        Kind::Bool => B::bool_permute(x, dims),
    }
}

pub fn slice(x: Tensor, dim: usize, start: usize, end: usize, step: usize) -> Tensor {
    let mut slices = vec![Slice::full(); x.shape().num_dims()];
    slices[dim] = Slice::new(start.cast_signed(), Some(end.cast_signed()), step.cast_signed());
    match kind(&x) {
        Kind::Float => B::float_slice(x, &slices),
        Kind::Int => B::int_slice(x, &slices),
        Kind::Bool => B::bool_slice(x, &slices),
    }
}

pub fn cat(all: Vec<Tensor>, dim: usize) -> Tensor {
    match kind(&all[0]) {
        Kind::Float => B::float_cat(all, dim),
        Kind::Int => B::int_cat(all, dim),
        Kind::Bool => B::bool_cat(all, dim),
    }
}

/// `then` where the condition is true, else `otherwise`. All have one shape.
pub fn choose(condition: Tensor, then: Tensor, otherwise: Tensor) -> Tensor {
    match kind(&then) {
        Kind::Float => B::float_mask_where(otherwise, condition, then),
        Kind::Int => B::int_mask_where(otherwise, condition, then),
        Kind::Bool => B::bool_mask_where(otherwise, condition, then),
    }
}

/// A number where the condition is true, else `x`. Both have one shape.
pub fn fill(x: Tensor, condition: Tensor, number: f64) -> Tensor {
    match kind(&x) {
        Kind::Float => B::float_mask_fill(x, condition, Scalar::Float(number)),
        Kind::Int => B::int_mask_fill(x, condition, crate::elementwise::whole(number)),
        Kind::Bool => B::bool_mask_fill(x, condition, Scalar::Bool(number != 0.0)),
    }
}

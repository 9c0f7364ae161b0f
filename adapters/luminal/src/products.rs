//! Products of matrices, attention, and rows of tables.

use crate::record::{Record, Value, expand, permute};
use crate::session::floats;
use inferena_worker::{Array, Result, unsupported};
use luminal::op::{Function, InputTensor};
use luminal::prelude::Tensor;

/// Rows of a table. Luminal has a lookup, but it is private: its compiler puts it in place of a product with one-hot
/// rows as wide as the table. This is the same loop.
pub fn rows(r: &mut Record, table: &Value, indices: &Value, shape: &[usize]) -> Value {
    let (table, indices) = (r.plain(table), r.plain(indices));
    let width = table.shape[1];
    let lookup = move |given: Vec<(InputTensor, _)>| {
        let [table, indices] = [0, 1].map(|at| floats(given[at].0.borrowed()).expect("the CPU has no other"));
        let row = |index: &f32| &table[*index as usize * width..][..width];
        vec![Tensor::new(indices.iter().flat_map(row).copied().collect::<Vec<f32>>())]
    };
    r.join(Function("rows".into(), Box::new(lookup)), &table, &indices, shape)
}

/// A product of matrices, or one for each pair of batches that broadcast.
pub fn matmul(r: &mut Record, x: &Value, y: &Value, shape: &[usize]) -> Value {
    let (rows, inner, columns) = (shape[shape.len() - 2], x.shape[x.shape.len() - 1], shape[shape.len() - 1]);
    let batches: usize = shape[..shape.len() - 2].iter().product();
    if batches == 1 {
        let (x, y) = (matrix(r, x, rows, inner), matrix(r, y, inner, columns));
        let product = r.matmul(&x, &y);
        return r.reshape(&product, shape);
    }
    let mut stacks = Vec::new();
    for (value, size) in [(x, [rows, inner]), (y, [inner, columns])] {
        let whole = expand(value, &[&shape[..shape.len() - 2], &size].concat());
        stacks.push(r.reshape(&whole, &[batches * size[0], size[1]]));
    }
    let products: Vec<Value> = (0..batches)
        .map(|at| {
            let first = r.slice(&stacks[0], 0, at * rows, (at + 1) * rows);
            let second = r.slice(&stacks[1], 0, at * inner, (at + 1) * inner);
            r.matmul(&first, &second)
        })
        .collect();
    let stack = r.cat(&products, 0);
    r.reshape(&stack, shape)
}

/// A tensor without batches as a matrix. One that has two dimensions stays as it lies.
fn matrix(r: &mut Record, x: &Value, rows: usize, columns: usize) -> Value {
    if x.shape.len() == 2 { x.clone() } else { r.reshape(x, &[rows, columns]) }
}

/// Attention. Heads that share a key are rows of one product.
pub fn attention(r: &mut Record, name: &str, x: &[Value], scale: f64, causal: bool) -> Result<Value> {
    let [batch, heads, length, width] = x[0].shape[..] else { return unsupported("other than four dimensions") };
    let [_, groups, keys, _] = x[1].shape[..] else { return unsupported("other than four dimensions") };
    let share = heads / groups;
    let mask = match x.get(3) {
        Some(_) => return unsupported("a mask"),
        None if causal => Some(r.leaf(&format!("{name} mask"), triangle(share, length, keys))?),
        None => None,
    };
    let query = r.scale(&x[0], scale);
    let query = r.reshape(&query, &[batch * groups * share * length, width]);
    let key = r.reshape(&x[1], &[batch * groups * keys, width]);
    let depth = x[2].shape[3];
    let value = r.reshape(&x[2], &[batch * groups * keys, depth]);
    let mut results = Vec::new();
    for at in 0..batch * groups {
        let query = r.slice(&query, 0, at * share * length, (at + 1) * share * length);
        let (key, value) =
            (r.slice(&key, 0, at * keys, (at + 1) * keys), r.slice(&value, 0, at * keys, (at + 1) * keys));
        let mut scores = r.matmul(&query, &permute(&key, &[1, 0]));
        if let Some(mask) = &mask {
            scores = r.add(&scores, mask);
        }
        let shares = r.softmax(&scores, 1);
        results.push(r.matmul(&shares, &value));
    }
    let stack = r.cat(&results, 0);
    Ok(r.reshape(&stack, &[batch, heads, length, depth]))
}

/// The mask that is added to the scores of heads that share a key: 0 where a row sees a column, else the least number.
fn triangle(share: usize, rows: usize, columns: usize) -> Array {
    let seen = |at: usize| if at % columns <= at / columns % rows { 0.0 } else { f32::MIN };
    Array::float(&[share * rows, columns], (0..share * rows * columns).map(seen).collect())
}

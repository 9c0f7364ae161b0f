//! An entry that is ready: the graph with its data.

use crate::record::{Record, Value};
use inferena_worker::{Array, Data, Dtype, Entry, Error, Result, Step, failed};
use luminal::prelude::petgraph::graph::NodeIndex;
use luminal::prelude::{Tensor, UnaryFusionCompiler};
use std::collections::HashMap;

pub struct Session {
    record: Record,
    /// Name, node, shape and dtype of every result.
    outputs: Vec<(String, NodeIndex, Vec<usize>, Dtype)>,
}

impl Session {
    pub fn new(mut record: Record, entry: &Entry, values: &HashMap<String, Value>) -> Result<Self> {
        let mut outputs = Vec::new();
        for (name, tensor) in &entry.outputs {
            let Some(value) = values.get(tensor) else { return failed(format!("nothing makes {tensor}")) };
            let value = record.copy(value);
            record.0.retrieve_tensors(value.node);
            outputs.push((name.clone(), value.node, value.shape, value.dtype));
        }
        let mut nodes: Vec<NodeIndex> = outputs.iter().map(|(_, node, _, _)| *node).collect();
        // This one of Luminal's compilers for CPU keeps results right. Others take x < y for x == y, take a sum over
        // the first dimension for a product of matrices, or drop a negation that is read elsewhere.
        record.0.compile(UnaryFusionCompiler, nodes.iter_mut().collect::<Vec<_>>());
        for (output, node) in outputs.iter_mut().zip(nodes) {
            output.1 = node;
        }
        Ok(Self { record, outputs })
    }
}

impl Step for Session {
    fn run(&mut self) -> Result<()> {
        for (_, node, _, _) in &self.outputs {
            self.record.0.drop_tensors(*node); // a tensor that is there is not computed again
        }
        self.record.0.execute();
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, Array)>> {
        let mut found = Vec::new();
        for (name, node, shape, dtype) in &self.outputs {
            let Some(tensor) = self.record.0.get_tensor_ref(*node, 0) else { return failed(format!("no {name}")) };
            let values = floats(tensor)?.clone();
            let data = match dtype {
                Dtype::Float32 => Data::Float32(values),
                Dtype::Int64 => Data::Int64(values.into_iter().map(|one| one as i64).collect()),
                Dtype::Bool => Data::Bool(values.into_iter().map(|one| one != 0.0).collect()),
            };
            found.push((name.clone(), Array { shape: shape.clone(), data }));
        }
        Ok(found)
    }
}

pub fn floats(tensor: &Tensor) -> Result<&Vec<f32>> {
    tensor.data.as_any().downcast_ref().ok_or_else(|| Error::Failed("not a tensor of float32".into()))
}

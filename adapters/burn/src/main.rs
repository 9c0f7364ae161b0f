//! Burn: an operator table on its dispatch layer, where a tensor's rank is data. Gradients are by its own autodiff.

mod device;
mod elementwise;
mod layers;
mod operators;
mod tensors;

use burn_backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn_backend::{
    AutodiffBackend, Backend, BoolDType, IntDType, TensorData, TensorMetadata, get_or_init_device_settings, read_sync,
};
use burn_dispatch::{Dispatch as B, DispatchDevice, DispatchTensor as Tensor};
use inferena_walker::{Operators, Walker};
use inferena_worker::{Array, Data, Dtype, Node, Result, Setup, failed};

struct Burn {
    device: DispatchDevice,
    /// What the device calls itself.
    name: String,
    bools: BoolDType,
    ints: IntDType,
}

impl Operators for Burn {
    type Tensor = Tensor;
    const NAME: &'static str = "burn";
    const OPERATORS: &'static str = operators::OPERATORS;

    fn start(setup: &Setup) -> Result<Self> {
        // An error says that the threads are there already, by an earlier hello or by RAYON_NUM_THREADS.
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

    /// Flex multiplies faster by a weight that lies as (in, out) than by its transpose.
    fn arranged(&self, weight: &Tensor) -> Result<Option<Tensor>> {
        if !matches!(self.device, DispatchDevice::Flex(_)) {
            return Ok(None);
        }
        let rows = self.download(&B::float_swap_dims(weight.clone(), 0, 1), Dtype::Float32)?;
        Ok(Some(B::float_swap_dims(self.upload(rows, false)?, 0, 1)))
    }

    fn apply(&self, node: &Node, tensors: Vec<Tensor>, trains: bool) -> Result<Tensor> {
        self.operator(node, tensors, trains)
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

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Walker<Burn>>()
}

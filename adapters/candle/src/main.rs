//! Candle: an operator table. Gradients are by its own autograd.

mod operators;
mod windows;

use candle_core::{Device, Tensor, Var};
use inferena_walker::{Operators, Walker};
use inferena_worker::{Array, Data, Dtype, Node, Result, Setup, unsupported};

struct Candle {
    device: Device,
    threads: usize,
}

impl Operators for Candle {
    type Tensor = Tensor;
    const NAME: &'static str = "candle";
    const OPERATORS: &'static str = operators::OPERATORS;

    fn start(setup: &Setup) -> Result<Self> {
        let device = match setup.device.as_str() {
            "cpu" => Device::Cpu,
            "cuda" if cfg!(feature = "cuda") => Device::new_cuda(0)?,
            "metal" if cfg!(feature = "metal") => Device::new_metal(0)?,
            other => return unsupported(format!("Candle was built without its feature {other}")),
        };
        Ok(Self { device, threads: setup.threads })
    }

    fn describe(&self) -> String {
        let kernels = match &self.device {
            Device::Cpu if cfg!(feature = "mkl") => "MKL",
            Device::Cpu if cfg!(feature = "accelerate") => "Accelerate",
            Device::Cpu => "gemm",
            _ => "its own kernels",
        };
        format!("Candle on {:?}, {kernels}, {} threads", self.device.location(), self.threads)
    }

    fn upload(&self, array: Array, variable: bool) -> Result<Tensor> {
        let tensor = match array.data {
            Data::Float32(values) => Tensor::from_vec(values, array.shape, &self.device)?,
            Data::Int64(values) => Tensor::from_vec(values, array.shape, &self.device)?,
            Data::Bool(values) => {
                Tensor::from_vec(values.into_iter().map(u8::from).collect(), array.shape, &self.device)?
            }
        };
        Ok(if variable { Var::from_tensor(&tensor)?.into_inner() } else { tensor })
    }

    fn apply(&self, node: &Node, tensors: Vec<Tensor>, _: bool) -> Result<Tensor> {
        operators::apply(&self.device, node, &tensors)
    }

    fn gradients(&self, loss: &Tensor, of: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        let mut found = loss.backward()?;
        Ok(of.iter().map(|variable| found.remove(variable)).collect())
    }

    fn download(&self, tensor: &Tensor, dtype: Dtype) -> Result<Array> {
        let flat = tensor.flatten_all()?;
        let data = match dtype {
            Dtype::Float32 => Data::Float32(flat.to_vec1()?),
            Dtype::Int64 => Data::Int64(flat.to_vec1()?),
            Dtype::Bool => Data::Bool(flat.to_vec1::<u8>()?.into_iter().map(|one| one != 0).collect()),
        };
        Ok(Array { shape: tensor.dims().to_vec(), data })
    }

    fn synchronize(&self) -> Result<()> {
        Ok(self.device.synchronize()?)
    }
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Walker<Candle>>()
}

//! Tensors in memory and in safetensors files.

use crate::{Result, failed, unsupported};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Stored, Metadata, TensorView, serialize_to_file};
use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The dtypes that engines here compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    Float32,
    Int64,
    Bool,
}

impl Dtype {
    /// By `NumPy`'s name.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "float32" => Ok(Self::Float32),
            "int64" | "int32" => Ok(Self::Int64),
            "bool" => Ok(Self::Bool),
            _ => unsupported(format!("dtype {name}")),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Data {
    Float32(Vec<f32>),
    Int64(Vec<i64>),
    Bool(Vec<bool>),
}

/// A tensor in C order.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Data,
}

impl Array {
    #[must_use]
    pub fn float(shape: &[usize], data: Vec<f32>) -> Self {
        Self { shape: shape.to_vec(), data: Data::Float32(data) }
    }

    #[must_use]
    pub fn dtype(&self) -> Dtype {
        match self.data {
            Data::Float32(_) => Dtype::Float32,
            Data::Int64(_) => Dtype::Int64,
            Data::Bool(_) => Dtype::Bool,
        }
    }

    /// Its elements. It is an error where they are not float32.
    pub fn floats(self) -> Result<Vec<f32>> {
        match self.data {
            Data::Float32(values) => Ok(values),
            other => failed(format!("float32 is expected, not {other:?}").chars().take(80).collect::<String>()),
        }
    }
}

/// A safetensors file. A tensor is read when it is asked for, so that memory holds the engine's copy alone.
pub struct Tensors {
    map: memmap2::Mmap,
    metadata: Metadata,
    start: usize,
    path: PathBuf,
}

impl Tensors {
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> Result<Self> {
            // SAFETY: the harness writes these files whole before it names them, and nobody changes them after.
            let map = unsafe { memmap2::Mmap::map(&File::open(path)?)? };
            SafeTensors::deserialize(&map)?; // also checks that no tensor lies beyond the end
            let (header, metadata) = SafeTensors::read_metadata(&map)?;
            Ok(Self { start: header + 8, map, metadata, path: path.into() })
        };
        open().or_else(|error| failed(format!("{}: {error:?}", path.display())))
    }

    /// Every tensor by its name.
    pub fn all(&self) -> Result<Vec<(String, Array)>> {
        self.metadata.offset_keys().into_iter().map(|name| Ok((name.clone(), self.get(&name)?))).collect()
    }

    pub fn get(&self, name: &str) -> Result<Array> {
        let Some(info) = self.metadata.info(name) else {
            return failed(format!("{} has no tensor {name}", self.path.display()));
        };
        let bytes = &self.map[self.start + info.data_offsets.0..self.start + info.data_offsets.1];
        let data = match info.dtype {
            Stored::F32 => Data::Float32(bytes.as_chunks().0.iter().map(|one| f32::from_le_bytes(*one)).collect()),
            Stored::I64 => Data::Int64(bytes.as_chunks().0.iter().map(|one| i64::from_le_bytes(*one)).collect()),
            Stored::I32 => Data::Int64(bytes.as_chunks().0.iter().map(|one| i32::from_le_bytes(*one).into()).collect()),
            Stored::BOOL => Data::Bool(bytes.iter().map(|one| *one != 0).collect()),
            other => return unsupported(format!("dtype {other:?} of {name}")),
        };
        Ok(Array { shape: info.shape.clone(), data })
    }
}

/// Write a file of named tensors. A file that is there is replaced.
pub fn write(path: &Path, tensors: &[(String, Array)]) -> Result<()> {
    let bytes: Vec<(Stored, Cow<[u8]>)> = tensors
        .iter()
        .map(|(_, array)| match &array.data {
            Data::Float32(values) => (Stored::F32, values.iter().flat_map(|one| one.to_le_bytes()).collect()),
            Data::Int64(values) => (Stored::I64, values.iter().flat_map(|one| one.to_le_bytes()).collect()),
            Data::Bool(values) => (Stored::BOOL, values.iter().map(|one| u8::from(*one)).collect()),
        })
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, array), (dtype, bytes))| Ok((name, TensorView::new(*dtype, array.shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(serialize_to_file(views, None, path)?)
}

//! In place of khal-builder 0.1.1, which has every shader compiled by `cargo gpu` and its nightly compiler, also where
//! only khal's CPU backend is built. That backend runs the shaders' Rust itself: it looks whether a kernel's file is
//! there and never reads it. So the files here are empty, and no other backend can start from them.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

pub struct KhalBuilder {
    shaders: PathBuf,
}

impl KhalBuilder {
    /// Of the crate of shaders that `links` names.
    ///
    /// # Panics
    ///
    /// Where cargo does not say where that crate is.
    #[must_use]
    pub fn from_dependency(links: &str, _builtin_features: bool) -> Self {
        let key = format!("DEP_{}_MANIFEST_DIR", links.to_ascii_uppercase().replace('-', "_"));
        Self { shaders: env::var(&key).expect("cargo sets it of a dependency that links").into() }
    }

    #[must_use]
    pub fn feature(self, _name: &str) -> Self {
        self
    }

    /// An empty `MODULE-FUNCTION.spv` for each public function, those that are no kernels included.
    ///
    /// # Panics
    ///
    /// Where files cannot be read or written.
    pub fn build(self, output: impl AsRef<Path>) {
        let (sources, output) = (self.shaders.join("src"), output.as_ref());
        fs::create_dir_all(output).expect("OUT_DIR can be written");
        kernels(&sources, "", output).expect("a crate's sources can be read");
    }
}

fn kernels(folder: &Path, module: &str, output: &Path) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let inner = if matches!(&name[..], "lib" | "mod") { module.into() } else { format!("{module}{name}-") };
        if path.is_dir() {
            kernels(&path, &inner, output)?;
        } else {
            for rest in fs::read_to_string(&path)?.split("pub fn ").skip(1) {
                let function = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                fs::write(output.join(format!("{inner}{function}.spv")), "")?;
            }
        }
    }
    Ok(())
}

//! What is common to engines that run a file which the preparer wrote for them, in place of the Program itself.

use crate::{Result, failed, unsupported};
use std::path::{Path, PathBuf};

/// The folder of an engine's exchange files.
#[derive(Clone, Debug)]
pub struct Exchange {
    engine: &'static str,
    folder: Option<PathBuf>,
}

impl Exchange {
    pub(crate) fn new(engine: &'static str, folder: Option<PathBuf>) -> Self {
        Self { engine, folder }
    }

    /// Where the files are. It is an error that none were prepared.
    pub fn folder(&self) -> Result<&Path> {
        match &self.folder {
            Some(folder) => Ok(folder),
            None => failed(format!("{} runs exchange files and none were prepared", self.engine)),
        }
    }

    /// The folder, for one entry. Where the preparer could not write that entry it left a reason: `unsupported`.
    pub fn entry(&self, name: &str) -> Result<&Path> {
        let folder = self.folder()?;
        let reason = folder.join(format!("{name}.unsupported"));
        if reason.exists() { unsupported(std::fs::read_to_string(reason)?) } else { Ok(folder) }
    }
}

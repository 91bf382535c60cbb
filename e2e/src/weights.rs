//! The real model's file in a folder that a [`crate::hub::Hub`] can serve.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use crate::assets::engine;

/// What the file is called.
pub const FILE: &str = "smol-Q4_1.gguf";

/// The folder, gone at the end.
pub struct Weights(PathBuf);

impl Weights {
    /// A copy of the model in a folder of its own.
    pub async fn in_a_folder() -> Result<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("llm-portfolio-hub-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::copy(engine::model().await?, folder.join(FILE))?;
        Ok(Self(folder))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file in it.
    pub fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }
}

impl Drop for Weights {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

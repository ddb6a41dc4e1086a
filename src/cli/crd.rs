//! `crd`: print the CRDs, or write them into a directory.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::api::{crds, kustomization, to_yaml};

/// Arguments of `crd`.
#[derive(Debug, Args)]
pub(super) struct Crd {
    /// Write one file for each CRD and a kustomization into this directory, instead of printing them.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Crd {
    pub(super) fn execute(self) -> anyhow::Result<()> {
        let documents = crds()
            .iter()
            .map(|(file, crd)| Ok((*file, to_yaml(crd)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let Some(dir) = self.dir else {
            let mut out = std::io::stdout().lock();
            for (_, document) in documents {
                write!(out, "---\n{document}")?;
            }
            return Ok(());
        };
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        let files = documents
            .into_iter()
            .chain([("kustomization.yaml", kustomization())]);
        for (file, content) in files {
            let path = dir.join(file);
            std::fs::write(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

//! `portfolio crds`: the CRDs as YAML. `crds/` in the repository and the CRD chart hold this output.

use std::process::ExitCode;

use anyhow::Context;

use super::out;
use crate::api;

/// The CRDs as one YAML stream.
fn yaml() -> anyhow::Result<String> {
    let documents: Result<Vec<String>, _> = api::all_crds().iter().map(serde_saphyr::to_string).collect();
    Ok(documents.context("writing the CRDs as YAML")?.join("---\n"))
}

pub(super) fn run() -> anyhow::Result<ExitCode> {
    out::write(&yaml()?)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo run -q -- crds > crds/llmportfolio.dev.yaml` writes it anew.
    #[test]
    fn the_crds_in_the_repository_are_the_ones_of_the_code() {
        let written = include_str!("../../crds/llmportfolio.dev.yaml");
        assert!(written == yaml().unwrap(), "write them anew");
    }
}

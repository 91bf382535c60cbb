//! `portfolio evict`: makes room where weights are not needed any more. Exits with 0 when the folder is gone, with 1 when it is not ours.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::fetch;

use super::start;

/// Which folder.
#[derive(Args)]
pub struct Flags {
    /// A folder whose own folders were filled by `portfolio fetch`, one for each revision.
    folder: PathBuf,
}

pub(super) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    start::logs();
    match start::runtime()?.block_on(fetch::evict(&flags.folder)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => {
            eprintln!("portfolio: {failure}");
            Ok(ExitCode::FAILURE)
        }
    }
}

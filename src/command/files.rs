//! What the commands over files have in common: `check`, `render` and `serve` read and refuse alike.

use std::path::PathBuf;

use clap::Args;

use crate::api::Settings;
use crate::evaluator::dataset;
use crate::evaluator::score::Scorer;
use crate::manifest::{self, Finding, Portfolio};

/// Which files.
#[derive(Args, Clone, Debug)]
pub(super) struct Files {
    /// A file, a folder (everything below it named *.yaml, *.yml or *.json) or - for standard input; may be given more than once.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    pub(super) paths: Vec<PathBuf>,
    /// The installer's settings: accelerator profiles, engines, whether clients may be anonymous.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

/// The field that cannot be right without settings.
const PROFILE: &str = "spec.selfHosted.accelerator.profile";

impl Files {
    /// The settings, if any are given.
    pub(super) fn settings(&self) -> Result<Option<Settings>, Box<Finding>> {
        self.settings.as_deref().map(manifest::settings).transpose()
    }

    /// Whether the installer's settings are not given.
    pub(super) fn without_settings(&self) -> bool {
        self.settings.is_none()
    }

    /// The objects, with everything that is wrong with them under `settings`.
    pub(super) fn read(&self, settings: Option<&Settings>) -> Portfolio {
        let mut portfolio = Portfolio::read(&self.paths);
        portfolio.check_feasible(settings);
        if self.without_settings() {
            for finding in portfolio.findings.iter_mut().filter(|f| f.field == PROFILE) {
                finding.remedy = "give the installer's settings, which define it: --settings FILE".to_owned();
            }
        }
        portfolio.check_datasets(|name, bytes, scorer| {
            // A scorer that cannot be understood has its own finding.
            let Ok(scorer) = Scorer::of(scorer) else { return Ok(()) };
            dataset::read(name, bytes, &scorer).map(drop)
        });
        portfolio
    }
}

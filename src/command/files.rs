//! What the commands over files have in common: `check`, `render` and `serve` read and refuse alike.

use std::path::PathBuf;

use clap::Args;

use crate::api::Settings;
use crate::cluster;
use crate::evaluator;
use crate::manifest::{self, Finding, Portfolio, Prices};

/// Which files.
#[derive(Args, Clone, Debug)]
pub(super) struct Files {
    /// A file, a folder (everything below it named *.yaml, *.yml or *.json) or - for standard input; may be given more than once.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required_unless_present = "prices", num_args = 1..)]
    pub(super) paths: Vec<PathBuf>,
    /// The installer's settings: accelerator profiles, engines, whether clients may be anonymous.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// A price book, YAML or CSV; may be given more than once: what an earlier one says wins.
    #[arg(long, value_name = "FILE")]
    pub(super) prices: Vec<PathBuf>,
}

/// The field that cannot be right without settings.
const PROFILE: &str = "spec.selfHosted.accelerator.profile";
/// The field that may need a price book.
const CAP: &str = "spec.limits.maxCostUSD";

impl Files {
    /// The settings, if any are given.
    pub(super) fn settings(&self) -> Result<Option<Settings>, Box<Finding>> {
        self.settings.as_deref().map(manifest::settings).transpose()
    }

    /// Whether the installer's settings are not given.
    pub(super) fn without_settings(&self) -> bool {
        self.settings.is_none()
    }

    /// What the price books say; one that says nothing is doubted, because a person has named it.
    pub(super) fn prices(&self) -> Prices {
        manifest::prices(&self.prices).doubting_empty()
    }

    /// The objects, with everything that is wrong with them under `settings`, and with the price books themselves.
    pub(super) fn read(&self, settings: Option<&Settings>, prices: &Prices) -> Portfolio {
        let mut portfolio = match self.paths.as_slice() {
            [] => Portfolio::default(),
            paths => Portfolio::read(paths),
        };
        portfolio.check_feasible(settings, &prices.book, cluster::now());
        portfolio.findings.extend(prices.findings.iter().cloned());
        if self.without_settings() {
            for finding in portfolio.findings.iter_mut().filter(|f| f.field == PROFILE) {
                finding.remedy = "give the installer's settings, which define it: --settings FILE".to_owned();
            }
        }
        if self.prices.is_empty() {
            for finding in portfolio.findings.iter_mut().filter(|f| f.field == CAP) {
                finding.remedy =
                    "set the model's spec.price, give the price book that has it (--prices FILE), or use spec.limits.maxTokens instead"
                        .to_owned();
            }
        }
        portfolio.check_datasets(evaluator::check);
        portfolio
    }
}

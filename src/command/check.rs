//! `portfolio check`: would the API server and the operator accept these files? Nothing is contacted.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::manifest::{self, Portfolio};

/// What to check, and how strictly.
#[derive(Args)]
pub struct Check {
    /// A file, a folder (everything below it named *.yaml, *.yml or *.json) or - for standard input; may be given more than once.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// The installer's settings: checks accelerator profiles and engines too.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Exit with 1 on warnings too, such as names that nothing in the files carries.
    #[arg(long)]
    strict: bool,
    /// How findings are written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One line each: `file:line: Kind namespace/name: field: problem; remedy`.
    Text,
    /// One JSON list.
    Json,
}

impl Check {
    #[expect(clippy::print_stdout, reason = "the output is the product")]
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut portfolio = Portfolio::read(&self.paths);
        match self.settings.as_deref().map(manifest::settings).transpose() {
            Ok(settings) => portfolio.check_feasible(settings.as_ref()),
            Err(finding) => portfolio.findings.push(*finding),
        }
        match self.output {
            Output::Json => {
                let json = serde_json::to_string_pretty(&portfolio.findings).context("writing the findings as JSON")?;
                println!("{json}");
            }
            Output::Text => {
                portfolio.findings.iter().for_each(|finding| println!("{finding}"));
                println!("{}", summary(&portfolio));
            }
        }
        let bad = if self.strict {
            portfolio.findings.len()
        } else {
            portfolio.errors()
        };
        Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn summary(portfolio: &Portfolio) -> String {
    let errors = portfolio.errors();
    let counted = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    format!(
        "{}, {}: {}, {} and {} are good",
        counted(errors, "error", "errors"),
        counted(portfolio.findings.len() - errors, "warning", "warnings"),
        counted(portfolio.models.len(), "ModelDeployment", "ModelDeployments"),
        counted(portfolio.policies.len(), "RoutingPolicy", "RoutingPolicies"),
        counted(portfolio.evaluations.len(), "EvalJob", "EvalJobs"),
    )
}

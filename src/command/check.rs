//! `portfolio check`: would the API server and the operator accept these files? Nothing is contacted.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::manifest::Portfolio;
use crate::{cluster, evaluator};

use super::files::Files;
use super::out;

/// What to check, and how strictly.
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    files: Files,
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
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let settings = self.files.settings();
        let prices = self.files.prices();
        let mut portfolio = self.files.read(settings.as_ref().ok().and_then(Option::as_ref), &prices);
        portfolio.findings.extend(settings.err().map(|finding| *finding));
        let outlook = portfolio.outlook(evaluator::outline, &prices.book, cluster::now());
        match self.output {
            Output::Json => {
                let json = serde_json::to_string_pretty(&portfolio.findings).context("writing the findings as JSON")?;
                out::line(&json)?;
            }
            Output::Text => {
                let mut lines: Vec<String> = portfolio.findings.iter().map(ToString::to_string).collect();
                lines.extend(outlook);
                lines.push(summary(&portfolio));
                if !self.files.prices.is_empty() {
                    let entries = prices.book.entries();
                    let (entry, are) = if entries == 1 { ("entry", "is") } else { ("entries", "are") };
                    lines.push(format!("{entries} {entry} of price books {are} good"));
                }
                if self.files.without_settings() && portfolio.profiles_named() > 0 {
                    lines.push("accelerator profiles were not checked: give the installer's settings with --settings FILE".to_owned());
                }
                if self.files.without_settings() && portfolio.data_classes_named() > 0 {
                    lines.push("classes of data were not checked: give the installer's settings with --settings FILE".to_owned());
                }
                out::line(&lines.join("\n"))?;
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
        counted(portfolio.good(&portfolio.models), "ModelDeployment", "ModelDeployments"),
        counted(portfolio.good(&portfolio.policies), "RoutingPolicy", "RoutingPolicies"),
        counted(portfolio.good(&portfolio.evaluations), "EvalJob", "EvalJobs"),
    )
}

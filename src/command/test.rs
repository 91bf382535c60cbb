//! `portfolio test`: do policies decide as their tests say? Nothing is contacted, and no model is asked.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::files::Files;
use super::out;
use crate::cluster;
use crate::manifest::{self, Case, Finding, Outcome};

/// Which policies, and which cases.
#[derive(Args)]
pub struct Test {
    #[command(flatten)]
    files: Files,
    /// A YAML list of cases: requests, what is given, and what must be decided. May be given more than once.
    #[arg(long, value_name = "FILE", required = true)]
    cases: Vec<PathBuf>,
    /// Explain every case, not only those that fail.
    #[arg(short, long)]
    verbose: bool,
    /// Write one JSON list instead.
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let outcomes = match self.outcomes() {
            Ok(outcomes) => outcomes,
            Err(findings) => {
                findings.iter().for_each(|finding| eprintln!("{finding}"));
                return Ok(ExitCode::from(2));
            }
        };
        let failed = outcomes.iter().filter(|outcome| !outcome.wrong.is_empty()).count();
        if self.json {
            let list: Vec<_> = outcomes.iter().map(as_json).collect();
            out::line(&serde_json::to_string_pretty(&list).context("writing the outcomes as JSON")?)?;
        } else {
            let told: String = outcomes.iter().map(|outcome| self.told(outcome)).collect();
            out::line(&format!("{told}{} passed, {failed} failed", outcomes.len() - failed))?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What each case comes to, or what is wrong with the files.
    fn outcomes(&self) -> Result<Vec<Outcome>, Vec<Finding>> {
        let settings = self.files.settings().map_err(|finding| vec![*finding])?;
        let prices = self.files.prices();
        let portfolio = self.files.read(settings.as_ref(), &prices);
        if portfolio.errors() > 0 {
            return Err(portfolio.findings.into_iter().filter(Finding::is_error).collect());
        }
        let cases: Result<Vec<Vec<Case>>, _> = self.cases.iter().map(|path| manifest::cases(path)).collect();
        let cases = cases.map_err(|finding| vec![*finding])?.concat();
        let (settings, now) = (settings.unwrap_or_default(), cluster::now());
        Ok(cases
            .iter()
            .map(|case| portfolio.outcome(case, &settings, &prices.book, now))
            .collect())
    }

    fn told(&self, outcome: &Outcome) -> String {
        let Outcome {
            name,
            decision,
            eliminated,
            wrong,
        } = outcome;
        let mut lines = vec![format!("{}  {name}", if wrong.is_empty() { "ok  " } else { "FAIL" })];
        lines.extend(wrong.iter().map(|wrong| format!("      it {wrong}")));
        if self.verbose || !wrong.is_empty() {
            lines.push(format!("      decided: {decision}"));
            lines.extend(eliminated.iter().map(|why| format!("      not asked: {why}")));
        }
        lines.join("\n") + "\n"
    }
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    let Outcome {
        name,
        decision,
        eliminated,
        wrong,
    } = outcome;
    json!({"name": name, "passed": wrong.is_empty(), "wrong": wrong, "decision": decision, "eliminated": eliminated})
}

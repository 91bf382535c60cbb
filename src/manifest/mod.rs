//! Objects from files instead of a cluster: read, defaulted and checked as the API server would, each finding with its file, line, object,
//! field and remedy. Pure but for reading the files; imports `api` and `plan`.
//!
//! ```text
//!   files ── texts ──► document ── values, lines ──► object ── schema, rules ──► Portfolio ──► references, feasible
//! ```

mod annotations;
mod api_keys;
mod cases;
mod document;
mod doubts;
mod feasible;
mod files;
mod finding;
mod grant;
mod object;
mod outlook;
mod possible;
mod price_list;
mod prices;
mod references;
mod schema;
mod standalone;
mod trace;
mod words;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::api::{EvalJob, ModelDeployment, RoutingPolicy};
use crate::plan::fingerprint;
use crate::plan::names::Key;

pub use cases::{Case, Outcome, read as cases};
pub use feasible::settings;
pub use finding::{Finding, Origin, Severity};
pub use object::Other;
pub use prices::{Prices, prices, prices_from_text};
pub use standalone::{GivenSecrets, Standalone};
pub use trace::read as trace;

/// An object and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written<K> {
    /// The object, with its defaults.
    pub object: K,
    /// Where it was written.
    pub origin: Origin,
}

/// What some files hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Portfolio {
    /// The models that the API server would take.
    pub models: Vec<Written<ModelDeployment>>,
    /// The policies that the API server would take.
    pub policies: Vec<Written<RoutingPolicy>>,
    /// The evaluations that the API server would take.
    pub evaluations: Vec<Written<EvalJob>>,
    /// Objects of other kinds.
    pub others: Vec<Other>,
    /// Objects of ours that have an error of their own: there, though not among the above.
    refused: Vec<(String, Key)>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Portfolio {
    /// Reads files, folders and `-` (standard input), and checks each object by itself and all of them together.
    #[must_use]
    pub fn read(paths: &[PathBuf]) -> Self {
        let (sources, findings) = files::read(paths);
        let mut portfolio = Self {
            findings,
            ..Self::default()
        };
        for source in sources {
            // As an editor or a full disk leaves it: what it held is not to go unsaid.
            if source.named && source.text.trim().is_empty() {
                let remedy = "write its objects, or leave it out";
                portfolio.findings.push(Finding::of_file(&source.name, "is empty", remedy));
            }
            portfolio.add(&source);
        }
        if portfolio.is_empty() && portfolio.findings.is_empty() {
            let files: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            portfolio.findings.push(Finding::of_file(
                &files.join(", "),
                "no ModelDeployment, RoutingPolicy or EvalJob is here",
                "name the files that hold them",
            ));
        }
        portfolio.finish()
    }

    fn is_empty(&self) -> bool {
        [self.models.len(), self.policies.len(), self.evaluations.len(), self.refused.len()] == [0; 4]
    }

    /// How many of `written` nothing is wrong with but warnings.
    #[must_use]
    pub fn good<K>(&self, written: &[Written<K>]) -> usize {
        let is_bad = |origin: &Origin| {
            let of_it = |finding: &&Finding| finding.file == origin.file && finding.object.as_deref() == Some(&*origin.object);
            self.findings.iter().filter(of_it).any(Finding::is_error)
        };
        written.iter().filter(|one| !is_bad(&one.origin)).count()
    }

    /// What [`Portfolio::read`] makes of one text.
    #[must_use]
    pub fn from_text(name: &str, text: &str) -> Self {
        let mut portfolio = Self::default();
        portfolio.add(&files::Source {
            name: name.to_owned(),
            text: text.to_owned(),
            named: true,
        });
        portfolio.finish()
    }

    /// A digest of the texts behind `paths`, and of what cannot be read: another one means that reading again may say something else.
    #[must_use]
    pub fn digest(paths: &[PathBuf]) -> String {
        let (sources, findings) = files::read(paths);
        let texts: Vec<(&str, &str)> = sources.iter().map(|s| (s.name.as_str(), s.text.as_str())).collect();
        fingerprint::digest(&(texts, findings))
    }

    /// How many of the findings the API server or the operator would refuse.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|f| f.is_error()).count()
    }

    fn add(&mut self, source: &files::Source) {
        for parsed in document::parse(&source.text) {
            match parsed {
                Ok(document) => object::add(&source.name, source.named, &document, self),
                Err(unreadable) => self.findings.push(Finding {
                    line: Some(unreadable.line),
                    ..Finding::of_file(&source.name, unreadable.problem, "correct the YAML")
                }),
            }
        }
    }

    fn finish(mut self) -> Self {
        references::check(&mut self);
        annotations::check(&mut self);
        api_keys::check(&mut self);
        grant::check(&mut self);
        self.findings.sort();
        self.findings.dedup();
        self
    }
}

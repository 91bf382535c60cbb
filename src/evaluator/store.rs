//! The bucket that reports are kept in, beside the folder that a pod works in. What a run needs of it comes into the folder before anything is asked;
//! what the run finds out goes up while it is found out, and the report after all else.
//!
//! ```text
//! <run>/progress/000001.jsonl …   what has ended, in segments that are never changed
//! <run>/lm-eval/                  the answers, as lm-evaluation-harness writes them
//! <run>/external/                 what evaluators that users bring left, as they wrote it
//! <run>/report.html               the same on one page, for a person
//! <run>/report.json               created last and once; its presence says that all of it is there
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::allowance::Amount;
use super::files::{Flaw, Places, environment};
use super::overview;
use super::progress::{Lines, Progress, line_of_gone, parse};
use super::reports::{self, PAGE, REPORT};
use super::shipping::{Rhythm, Shipping, To, is_taken_over, name};
use crate::fetch::{Created, Environment, Failure, Objects, Pace};
use crate::plan::evaluation::run::Evaluation;

/// More than any run takes: one each second of the longest, and those that a question waits for.
const MOST_SEGMENTS: usize = 100_000;
/// What is noted is read into memory, and no pod has more.
const MOST_NOTED: u64 = 256 << 20;
/// Likewise of a report.
const MOST_REPORT: u64 = 256 << 20;
/// Segments that are read at once.
const AT_ONCE: usize = 8;

/// A bucket, as it was told.
pub struct Store {
    uri: String,
    secret: Option<String>,
    rhythm: Rhythm,
    pace: Pace,
    objects: OnceLock<Arc<Objects>>,
    shipping: OnceLock<Arc<Shipping>>,
    /// The report was there before this process.
    was_kept: OnceLock<()>,
}

/// What the store has of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recovered {
    /// Its bytes, with which the progress file begins now.
    up: u64,
    /// Its segments.
    segments: u32,
}

/// What a store says to a request, in the words of the EvalJob.
pub(super) fn flaw(uri: &str, failure: &Failure) -> Flaw {
    let why = format!("spec.reports.uri: {uri}: {}", failure.message);
    if failure.reason.time_may_heal() {
        Flaw::Passing(why)
    } else {
        Flaw::Lasting(why)
    }
}

impl Store {
    /// The place that `uri` names, with the variables in a Secret, or else the identity of the pod. Asks nobody.
    #[must_use]
    pub fn new(uri: &str, secret: Option<String>) -> Self {
        // A store that is away for some minutes ends no run: what is granted is asked meanwhile, and then nothing.
        let pace = Pace {
            attempts: 15,
            ..Pace::default()
        };
        Self::with(uri, secret, Rhythm::default(), pace)
    }

    pub(super) fn with(uri: &str, secret: Option<String>, rhythm: Rhythm, pace: Pace) -> Self {
        Self {
            uri: uri.trim_end_matches('/').to_owned(),
            secret,
            rhythm,
            pace,
            objects: OnceLock::new(),
            shipping: OnceLock::new(),
            was_kept: OnceLock::new(),
        }
    }

    /// Brings up what is noted and not there yet, where a run has begun and is to end now; for at most so long.
    ///
    /// # Errors
    /// Why it does not go up.
    pub async fn close(&self, within: Duration) -> anyhow::Result<()> {
        let Some(shipping) = self.shipping.get() else { return Ok(()) };
        let closed = tokio::time::timeout(within, shipping.close()).await;
        closed.context("it takes too long")?.map_err(anyhow::Error::msg)
    }

    fn objects(&self, places: &Places) -> Result<&Arc<Objects>, Flaw> {
        if let Some(objects) = self.objects.get() {
            return Ok(objects);
        }
        let environment = match &self.secret {
            Some(secret) => environment(secret, "the store's credentials, such as AWS_ACCESS_KEY_ID", places)?,
            None => Environment::of_process(),
        };
        let objects = Objects::new(&self.uri, &environment, self.pace.clone()).map_err(|failure| flaw(&self.uri, &failure))?;
        Ok(self.objects.get_or_init(|| Arc::new(objects)))
    }

    /// Brings the reports that the run reads into the folders beside its own: of the runs that it is compared with, of some before it for its page,
    /// and its own, if it has ended before.
    pub(super) async fn bring(&self, run: &Evaluation, places: &Places) -> Result<(), Flaw> {
        let (folder, this) = kept(places)?;
        let objects = self.objects(places)?;
        // Only the page shows them, and other folders may be many; whether the store takes anything is seen when it is asked for this run's own.
        let there = objects.folders().await.unwrap_or_else(|failure| {
            tracing::warn!("the report shows no earlier runs: {}", failure.message);
            Vec::new()
        });
        let of_drift = run.drift.iter().flat_map(|drift| drift.targets.values());
        let of_drift = of_drift.flat_map(|track| &track.baseline);
        let compared: BTreeSet<&str> = run
            .past
            .iter()
            .map(|past| past.run.as_str())
            .chain(of_drift.map(String::as_str))
            .chain([this])
            .collect();
        let shown = overview::before(there.iter().map(String::as_str), this);
        let beside = shown.iter().filter(|name| !compared.contains(name.as_str()));
        let wanted = compared
            .iter()
            .map(|name| (*name, true))
            .chain(beside.map(|name| (name.as_str(), false)));
        // One after the other: each may be as large as half of what the pod has.
        for (name, is_needed) in wanted {
            self.bring_one(objects, &folder.with_file_name(name), name, is_needed).await?;
        }
        if reports::is_written(folder) && self.is_there(objects, this).await? {
            self.was_kept.get_or_init(|| ());
        }
        Ok(())
    }

    async fn is_there(&self, objects: &Objects, run: &str) -> Result<bool, Flaw> {
        let there = objects.has(&format!("{run}/{REPORT}")).await;
        there.map_err(|failure| flaw(&self.uri, &failure))
    }

    async fn bring_one(&self, objects: &Objects, to: &Path, name: &str, is_needed: bool) -> Result<(), Flaw> {
        if reports::is_written(to) {
            return Ok(());
        }
        let content = match objects.get(&format!("{name}/{REPORT}"), MOST_REPORT).await {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(()),
            Err(failure) if is_needed => return Err(flaw(&self.uri, &failure)),
            // The page is less without it.
            Err(failure) => {
                tracing::warn!(run = name, "a report is not shown: {}", failure.message);
                return Ok(());
            }
        };
        reports::put(&to.join(REPORT), &content).map_err(|error| Flaw::Passing(format!("{error:#}")))
    }

    /// Makes the progress file begin with what the store has of this run, unless it does.
    pub(super) async fn recover(&self, (namespace, digest): (&str, &str), places: &Places) -> Result<Recovered, Flaw> {
        let (folder, run) = kept(places)?;
        let objects = self.objects(places)?;
        let failed = |failure: Failure| flaw(&self.uri, &failure);
        let mut segments = objects.list(&format!("{run}/progress"), MOST_SEGMENTS).await.map_err(failed)?;
        segments.sort();
        let other = |what: &str| {
            let why = format!("{}/{run}/ holds {what}, and history is never rewritten", self.uri);
            let remedy = "name another folder, a prefix for each namespace, or remove that one";
            Flaw::Lasting(format!("spec.reports.uri: {why}; {remedy}"))
        };
        // Those of another namespace have the same names where their EvalJobs have.
        let of_whom = |what: &str| match reports::namespace(folder).filter(|of| of != namespace) {
            Some(of) => format!("the report of a run of the namespace {of}"),
            None => what.to_owned(),
        };
        if segments.is_empty() {
            return match self.was_kept.get() {
                Some(()) => Err(other(&of_whom("the report of another run"))),
                None => Ok(Recovered::default()),
            };
        }
        let mut numbers = 1..;
        if !segments
            .iter()
            .all(|(path, _)| numbers.next().is_some_and(|number| name(number) == *path))
        {
            return Err(other("progress of which a part is missing"));
        }
        let size = segments.iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(*size));
        if size > MOST_NOTED {
            return Err(other(&format!("{size} bytes of progress, more than a pod can read")));
        }
        let read = segments.iter().map(|(path, size)| {
            let path = format!("{run}/progress/{path}");
            async move {
                let content = objects.get(&path, *size).await.map_err(failed)?;
                content.ok_or_else(|| Flaw::Passing(format!("{}/{path} is gone; it is tried again", self.uri)))
            }
        });
        let mut read = stream::iter(read).buffered(AT_ONCE);
        let mut whole = Vec::new();
        while let Some(content) = read.next().await {
            whole.extend_from_slice(&content?);
        }
        let (noted, known) = parse(&whole, digest);
        if known < whole.len() {
            // Another evaluation of this name, or other data behind the same name: it cannot be both.
            return Err(other(&of_whom(
                "what another run noted: of another namespace, or of another dataset",
            )));
        }
        let unreadable = |error: std::io::Error| Flaw::Passing(format!("the progress file {}: {error}", places.progress.display()));
        let here = match std::fs::read(&places.progress) {
            Ok(here) => here,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unreadable(error)),
        };
        // A container that is started again has all that it noted, and more than the store.
        let has_all = here.starts_with(&whole);
        if !has_all {
            // It would take the run over again and again, and each time what may be spent would count as spent.
            let (was_here, _) = parse(&here, digest);
            if was_here.by.is_some_and(|own| noted.by.as_ref() != Some(&own)) {
                return Err(is_taken_over(&self.uri));
            }
            let up = whole.len() as u64;
            // What the lost pod may have spent on what nobody knows: in the same file at once, or it would be forgotten where this one is killed now.
            if noted.granted != Amount::default() {
                let gone = line_of_gone(noted.granted).map_err(unreadable)?;
                whole.extend_from_slice(&gone);
            }
            reports::put(&places.progress, &whole).map_err(|error| Flaw::Passing(format!("{error:#}")))?;
            whole.truncate(usize::try_from(up).unwrap_or(usize::MAX));
            tracing::info!(
                segments = segments.len(),
                ended = noted.ended.len(),
                "goes on where another pod stopped"
            );
        }
        Ok(Recovered {
            up: whole.len() as u64,
            segments: u32::try_from(segments.len()).unwrap_or(u32::MAX),
        })
    }

    /// From here on what is noted in the file goes up. That begins at once, which shows whether the store takes it.
    pub(super) async fn begin(&self, lines: Lines, recovered: &Recovered, places: &Places) -> Result<Progress, Flaw> {
        let (_, run) = kept(places)?;
        let to = To {
            objects: Arc::clone(self.objects(places)?),
            run: run.to_owned(),
            rhythm: self.rhythm,
            number: recovered.segments.saturating_add(1),
            up: recovered.up,
        };
        let shipping = Arc::new(Shipping::begin(to, lines).await?);
        Ok(Progress::shipped(Arc::clone(self.shipping.get_or_init(|| shipping))))
    }

    /// Brings up the report in the folder, all of it, and last what says so.
    ///
    /// # Errors
    /// That it is not kept, and why.
    pub(super) async fn keep(&self, places: &Places) -> anyhow::Result<()> {
        let (folder, run) = kept(places).map_err(why)?;
        // The last segment: where another pod has taken over, it is that one's report.
        if let Some(shipping) = self.shipping.get() {
            shipping.close().await.map_err(anyhow::Error::msg)?;
        }
        if self.was_kept.get().is_some() {
            return Ok(());
        }
        let objects = self.objects(places).map_err(why)?;
        let failed = |failure: Failure| why(flaw(&self.uri, &failure));
        for path in reports::files(folder)?.into_iter().chain([PathBuf::from(PAGE)]) {
            // A pod that was lost may have left some of it, which nobody has read yet.
            objects.put_file(&below(run, &path), &folder.join(&path)).await.map_err(failed)?;
        }
        let path = below(run, Path::new(REPORT));
        match objects.create(&path, &read(folder, Path::new(REPORT))?).await.map_err(failed)? {
            Created::There => Ok(()),
            Created::Otherwise => anyhow::bail!(
                "{}/{path} is there already with another content, and history is never rewritten; name another folder in spec.reports.uri, or remove it",
                self.uri
            ),
        }
    }
}

/// The folder of the run, and its name.
fn kept(places: &Places) -> Result<(&Path, &str), Flaw> {
    let folder = places.report.as_deref();
    let named = folder.and_then(|folder| Some((folder, folder.file_name()?.to_str()?)));
    named.ok_or_else(|| Flaw::Lasting("a store of reports needs the folder that the run works in; set --report-folder".to_owned()))
}

fn read(folder: &Path, path: &Path) -> anyhow::Result<Bytes> {
    let path = folder.join(path);
    let content = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(content.into())
}

fn below(run: &str, path: &Path) -> String {
    format!("{run}/{}", path.display())
}

fn why(flaw: Flaw) -> anyhow::Error {
    let (Flaw::Lasting(why) | Flaw::Passing(why)) = flaw;
    anyhow::Error::msg(why)
}

//! `portfolio simulate`: what the operator would have decided, from files. Nothing is contacted.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::files::Files;
use super::out;
use crate::api::model_deployment::{Scaling, ScalingEngine, SelfHosted};
use crate::api::money::written;
use crate::api::{ModelDeployment, Settings};
use crate::manifest::{self, Finding};
use crate::plan::names::Key;
use crate::plan::scaling::simulate::{Demand, Moment, Simulated, TICK, simulate};
use crate::plan::serving;

/// How many lines a plot has.
const LINES: usize = 40;
/// How wide a bar is at most.
const WIDTH: usize = 30;

/// What to simulate.
#[derive(Subcommand)]
pub enum Simulate {
    /// Plays a trace of demand through the scaling of a ModelDeployment: replicas over time, their hours and cost, and how long there were too few. Each
    /// line is the moment of most demand in its part of the time, in seconds from the first row.
    Scaling(PlayedScaling),
}

/// Which model, and which demand.
#[derive(Args)]
pub struct PlayedScaling {
    #[command(flatten)]
    files: Files,
    /// A CSV file with the columns seconds, in_flight and, if it is known, queued; a row holds until the next one, and the last one ends it. - for
    /// standard input.
    #[arg(long, value_name = "FILE")]
    demand: PathBuf,
    /// The model, by its name or as NAMESPACE/NAME, where the files hold several that scale.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// How long a replica takes from being wanted to its first answer, such as 90s or 10m.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    starts_in: Duration,
    /// When the first row was, such as 2026-07-01T00:00:00+02:00; needed where the model's scaling has a schedule.
    #[arg(long, value_name = "TIMESTAMP")]
    from: Option<Timestamp>,
    /// Write one JSON object instead.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: kube::core::Duration = text
        .parse()
        .map_err(|_| "write a number and its unit, such as 90s or 10m".to_owned())?;
    if duration.is_negative() {
        return Err("it cannot be below 0s".to_owned());
    }
    Ok(duration.into())
}

impl Simulate {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Scaling(scaling) => scaling.run(),
        }
    }
}

impl PlayedScaling {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let is_stdin = |path: &PathBuf| path.as_os_str() == "-";
        if is_stdin(&self.demand) && self.files.paths.iter().any(is_stdin) {
            bail!("-f - and --demand - would both read standard input: name a file for one of them");
        }
        let (models, settings, demand) = match self.read() {
            Ok(read) => read,
            Err(findings) => {
                findings.iter().for_each(|finding| eprintln!("{finding}"));
                return Ok(ExitCode::from(2));
            }
        };
        let (model, own, scaling) = self.chosen(&models)?;
        let target = scaling.target.clone().unwrap_or_default();
        if scaling.engine == ScalingEngine::Hpa {
            bail!(
                "{model} scales by metrics of your own (engine: HPA), which its HorizontalPodAutoscaler reads: only the other engines are played"
            );
        }
        if target.in_flight.is_none() {
            bail!(
                "{model} scales by what its engines say, of which a trace of demand says nothing: add scaling.target.inFlight to play one"
            );
        }
        if target.waiting.is_some() || target.cache_percent.is_some() {
            eprintln!("only scaling.target.inFlight is played: a trace says nothing of what waits in engines, or of their caches");
        }
        let from = match (self.from, &scaling.schedule) {
            (Some(from), _) => from,
            (None, None) => Timestamp::UNIX_EPOCH,
            (None, Some(_)) => bail!(
                "{model} scales by a schedule (scaling.schedule), and a trace does not say when it was: give --from the time of its first row, \
                 such as --from 2026-07-01T00:00:00+02:00"
            ),
        };
        let played = simulate(&demand, scaling, from, self.starts_in);
        let cost = serving::price_of_replica(own, &settings).map(|price| priced(price, played.replica_seconds));
        if self.json {
            let text = serde_json::to_string_pretty(&as_json(&model, &played, cost.as_deref()));
            out::line(&text.context("writing the simulation as JSON")?)?;
        } else {
            out::line(&format!("{}{}", plot(&played, scaling), summary(&model, &played, cost.as_deref())))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self) -> Result<(Vec<ModelDeployment>, Settings, Vec<Demand>), Vec<Finding>> {
        let settings = self.files.settings().map_err(|finding| vec![*finding])?;
        let prices = self.files.prices();
        let portfolio = self.files.read(settings.as_ref(), &prices);
        if portfolio.errors() > 0 {
            return Err(portfolio.findings.into_iter().filter(Finding::is_error).collect());
        }
        let demand = manifest::trace(&self.demand).map_err(|finding| vec![*finding])?;
        let models = portfolio.models.into_iter().map(|written| written.object).collect();
        Ok((models, settings.unwrap_or_default(), demand))
    }

    /// The one that is named, or the only one that scales.
    fn chosen<'a>(&self, models: &'a [ModelDeployment]) -> anyhow::Result<(String, &'a SelfHosted, &'a Scaling)> {
        let scaled = models.iter().filter_map(|md| {
            let own = md.spec.self_hosted.as_ref()?;
            Some((Key::of(md), own, own.scaling.as_ref()?))
        });
        let is_named = |key: &Key| self.model.as_ref().is_none_or(|name| *name == key.name || *name == key.to_string());
        let all: Vec<_> = scaled.filter(|(key, _, _)| is_named(key)).collect();
        match (all.as_slice(), &self.model) {
            ([(key, own, scaling)], _) => Ok((key.to_string(), own, scaling)),
            ([], Some(name)) => {
                bail!("no ModelDeployment {name} with spec.selfHosted.scaling is in these files; name another with --model")
            }
            ([], None) => bail!(
                "no ModelDeployment in these files has spec.selfHosted.scaling; add it, such as scaling: {{min: 0, max: 4, target: {{inFlight: 16}}}}"
            ),
            (several, _) => {
                let names: Vec<String> = several.iter().map(|(key, _, _)| key.to_string()).collect();
                bail!("several models scale: name one of them with --model: {}", names.join(", "))
            }
        }
    }
}

/// In dollars, rounded up to a nano-dollar.
fn priced(per_hour: u128, seconds: u64) -> String {
    written(per_hour.saturating_mul(u128::from(seconds)).div_ceil(3_600))
}

fn as_json(model: &str, played: &Simulated, cost: Option<&str>) -> Value {
    let moments: Vec<Value> = changes(&played.moments)
        .map(|moment| {
            json!({
                "seconds": moment.seconds, "demand": moment.demand, "replicas": moment.decision.replicas,
                "ready": moment.ready, "reason": moment.decision.why.word(),
            })
        })
        .collect();
    json!({
        "model": model,
        "seconds": lasts(played),
        "replicaSeconds": played.replica_seconds,
        "costUSD": cost,
        "secondsOverTarget": played.seconds_over,
        "requestsOverTarget": played.requests_over,
        "changes": played.changes,
        "steps": moments,
    })
}

/// The first moment, and those at which the number of replicas was another one, or another one answered.
fn changes(moments: &[Moment]) -> impl Iterator<Item = &Moment> {
    let before = [None].into_iter().chain(moments.iter().map(Some));
    let is_other = |before: &Moment, now: &Moment| before.decision.replicas != now.decision.replicas || before.ready != now.ready;
    let pairs = before.zip(moments);
    pairs.filter_map(move |(before, now)| before.is_none_or(|before| is_other(before, now)).then_some(now))
}

/// One line for each part of the time: the moment of it with most demand.
fn plot(played: &Simulated, scaling: &Scaling) -> String {
    let moments = &played.moments;
    let per_line = moments.len().div_ceil(LINES).max(1);
    let most = moments.iter().map(|moment| moment.demand).fold(0.0, f64::max).max(1.0);
    let entries = scaling.schedule.iter().flatten();
    let max = entries.filter_map(|entry| entry.max).fold(scaling.max, u32::max).max(1);
    let bar = |part: f64, sign: &str| sign.repeat((part * WIDTH as f64).round() as usize);
    let mut text = format!("{:>9}  {:>7}  {:WIDTH$}  wanted  ready\n", "seconds", "demand", "");
    for part in moments.chunks(per_line) {
        let peak = part.iter().max_by(|one, other| one.demand.total_cmp(&other.demand));
        let Some(peak) = peak else { continue };
        let (wanted, demand) = (peak.decision.replicas, peak.demand);
        let replicas = bar(f64::from(wanted) / f64::from(max), "#");
        text += &format!(
            "{:>9.0}  {demand:>7.0}  {:WIDTH$}  {wanted:>6}  {:>5}  {replicas}\n",
            peak.seconds,
            bar(demand / most, "*"),
            peak.ready,
        );
    }
    text
}

/// How long what was played lasts, in seconds.
fn lasts(played: &Simulated) -> f64 {
    played.moments.len() as f64 * TICK
}

fn summary(model: &str, played: &Simulated, cost: Option<&str>) -> String {
    let seconds = lasts(played);
    let cost = cost.map_or_else(
        || "cost unknown (give --settings with the accelerator profile's pricePerHourUSD)".to_owned(),
        |cost| format!("{cost} US dollars"),
    );
    format!(
        "{model}: {:.2} replica-hours in {:.2} hours, {cost}; {} changes; more demand than the target for {:.0} s, by {:.1} % of all of it",
        played.replica_seconds as f64 / 3_600.0,
        seconds / 3_600.0,
        played.changes,
        played.seconds_over,
        played.requests_over * 100.0
    )
}

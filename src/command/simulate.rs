//! `portfolio simulate`: what the operator would have decided, from files. Nothing is contacted.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use k8s_openapi::jiff::{SignedDuration, Timestamp, Zoned};
use serde_json::{Value, json};

use super::files::Files;
use super::{out, times};
use crate::api::model_deployment::{Scaling, ScalingEngine, SelfHosted};
use crate::api::money::written;
use crate::api::{ModelDeployment, Settings};
use crate::manifest::{self, Finding};
use crate::plan::names::Key;
use crate::plan::scaling::simulate::{Bounded, Demand, Moment, Simulated, TICK, simulate};
use crate::plan::serving;

/// How many lines a plot has.
const LINES: usize = 40;
/// How wide a bar is at most.
const WIDTH: usize = 30;

/// What to simulate.
#[derive(Subcommand)]
pub enum Simulate {
    /// Plays a trace of demand through the scaling of a ModelDeployment: replicas over time, their hours and cost, and how long there were too few. Each
    /// line is the moment of most demand in its part of the time, in seconds from the first row, or by the clock with --from. With a schedule, each
    /// change of the bounds follows.
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
    /// How long a replica takes from being wanted to its first answer: numbers with the units h, m, s or ms, such as 30s, 2m or 1m30s.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = times::duration)]
    starts_in: Duration,
    /// When the first row was, such as 2026-07-01T00:00:00+02:00, or 2026-07-01 for its midnight in UTC; needed where the model's scaling has a
    /// schedule. Times are then told as clocks of that offset show them.
    #[arg(long, value_name = "TIME", value_parser = times::moment)]
    from: Option<Zoned>,
    /// Write one JSON object instead.
    #[arg(long)]
    json: bool,
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
        out::line(&self.told(&models, &settings, &demand)?)?;
        Ok(ExitCode::SUCCESS)
    }

    /// What came of it, as it is written.
    fn told(&self, models: &[ModelDeployment], settings: &Settings, demand: &[Demand]) -> anyhow::Result<String> {
        let (model, own, scaling) = self.chosen(models)?;
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
        let from = match (&self.from, &scaling.schedule) {
            (Some(from), _) => from.timestamp(),
            (None, None) => Timestamp::UNIX_EPOCH,
            (None, Some(_)) => bail!(
                "{model} scales by a schedule (scaling.schedule), and a trace does not say when it was: give --from the time of its first row, \
                 such as --from 2026-07-01T00:00:00+02:00"
            ),
        };
        let played = simulate(demand, scaling, from, self.starts_in);
        let cost = match serving::price_of_replica(own, settings) {
            Some(price) => Ok(priced(price, played.replica_seconds)),
            None => Err(self.unpriced(own)),
        };
        let clock = Clock(self.from.as_ref());
        if self.json {
            if let Err(why) = &cost {
                eprintln!("the cost is not known: {why}");
            }
            let text = serde_json::to_string_pretty(&as_json(&model, &played, cost.as_deref().ok(), clock));
            return text.context("writing the simulation as JSON");
        }
        Ok(format!(
            "{}{}{}",
            plot(&played, scaling, clock),
            bounds(&played.bounds, clock),
            summary(&model, &played, cost.as_deref())
        ))
    }

    /// Which price is missing, where one is.
    fn unpriced(&self, own: &SelfHosted) -> String {
        let profile = own.accelerator.as_ref().and_then(|accelerator| accelerator.profile.as_deref());
        match profile {
            None => "only accelerator profiles have a price, and spec.selfHosted.accelerator.profile names none".to_owned(),
            Some(profile) if self.files.without_settings() => {
                format!("give --settings with pricePerHourUSD of its accelerator profile, {profile}")
            }
            Some(profile) => format!("add pricePerHourUSD to acceleratorProfiles.{profile} of the settings"),
        }
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

fn as_json(model: &str, played: &Simulated, cost: Option<&str>, clock: Clock) -> Value {
    let moments: Vec<Value> = changes(&played.moments)
        .map(|moment| {
            json!({
                "seconds": moment.seconds, "time": clock.stamp(moment.seconds), "demand": moment.demand,
                "replicas": moment.decision.replicas, "ready": moment.ready, "reason": moment.decision.why.word(),
            })
        })
        .collect();
    let held = |Bounded { seconds, range }: &Bounded| {
        json!({
            "seconds": seconds, "time": clock.stamp(*seconds as f64), "min": range.min, "max": range.max, "from": range.source.to_string(),
        })
    };
    json!({
        "model": model,
        "seconds": lasts(played),
        "replicaSeconds": played.replica_seconds,
        "costUSD": cost,
        "secondsOverTarget": played.seconds_over,
        "requestsOverTarget": played.requests_over,
        "changes": played.changes,
        "steps": moments,
        "bounds": played.bounds.iter().map(held).collect::<Vec<_>>(),
    })
}

/// How moments are told: as a clock showed them where the first row has a time, else in seconds from it.
#[derive(Clone, Copy)]
struct Clock<'a>(Option<&'a Zoned>);

impl Clock<'_> {
    fn at(self, seconds: f64) -> Option<Zoned> {
        self.0?.checked_add(SignedDuration::from_millis((seconds * 1_000.0) as i64)).ok()
    }

    fn head(self) -> String {
        self.0
            .map_or_else(|| "seconds".to_owned(), |from| from.strftime("time (%:z)").to_string())
    }

    fn width(self) -> usize {
        if self.0.is_some() { "2026-07-01 08:00:00".len() } else { 9 }
    }

    fn shows(self, seconds: f64) -> String {
        self.at(seconds)
            .map_or_else(|| format!("{seconds:.0}"), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
    }

    /// For machines.
    fn stamp(self, seconds: f64) -> Option<String> {
        self.at(seconds)
            .map(|at| at.timestamp().display_with_offset(at.offset()).to_string())
    }
}

/// The first moment, and those at which the number of replicas was another one, or another one answered.
fn changes(moments: &[Moment]) -> impl Iterator<Item = &Moment> {
    let before = [None].into_iter().chain(moments.iter().map(Some));
    let is_other = |before: &Moment, now: &Moment| before.decision.replicas != now.decision.replicas || before.ready != now.ready;
    let pairs = before.zip(moments);
    pairs.filter_map(move |(before, now)| before.is_none_or(|before| is_other(before, now)).then_some(now))
}

/// One line for each part of the time: the moment of it with most demand.
fn plot(played: &Simulated, scaling: &Scaling, clock: Clock) -> String {
    let moments = &played.moments;
    let per_line = moments.len().div_ceil(LINES).max(1);
    let most = moments.iter().map(|moment| moment.demand).fold(0.0, f64::max).max(1.0);
    let entries = scaling.schedule.iter().flatten();
    let max = entries.filter_map(|entry| entry.max).fold(scaling.max, u32::max).max(1);
    let bar = |part: f64, sign: &str| sign.repeat((part * WIDTH as f64).round() as usize);
    let width = clock.width();
    let mut text = format!("{:>width$}  {:>7}  {:WIDTH$}  wanted  ready\n", clock.head(), "demand", "");
    for part in moments.chunks(per_line) {
        let peak = part.iter().max_by(|one, other| one.demand.total_cmp(&other.demand));
        let Some(peak) = peak else { continue };
        let (wanted, demand) = (peak.decision.replicas, peak.demand);
        let replicas = bar(f64::from(wanted) / f64::from(max), "#");
        text += &format!(
            "{:>width$}  {:>7}  {:WIDTH$}  {wanted:>6}  {:>5}  {replicas}\n",
            clock.shows(peak.seconds),
            rounded(demand, 0),
            bar(demand / most, "*"),
            peak.ready,
        );
    }
    text
}

/// One line for each change of the bounds, however short they hold.
fn bounds(all: &[Bounded], clock: Clock) -> String {
    if all.len() < 2 {
        return String::new();
    }
    let width = clock.width();
    let line = |Bounded { seconds, range }: &Bounded| {
        let at = clock.shows(*seconds as f64);
        format!("{at:>width$}  {}..{} by {}\n", range.min, range.max, range.source)
    };
    let lines: String = all.iter().take(LINES).map(line).collect();
    let more = match all.len().saturating_sub(LINES) {
        0 => String::new(),
        more => format!("{:>width$}  and {more} more, which --json has\n", ""),
    };
    format!("{:>width$}  replicas, min..max\n{lines}{more}", "from")
}

/// How long what was played lasts, in seconds.
fn lasts(played: &Simulated) -> f64 {
    played.moments.len() as f64 * TICK
}

fn summary(model: &str, played: &Simulated, cost: Result<&str, &String>) -> String {
    let hours = lasts(played) / 3_600.0;
    let cost = match cost {
        Ok(cost) => format!("{cost} US dollars"),
        Err(why) => format!("cost unknown ({why})"),
    };
    let over = match played.moments.iter().any(|moment| moment.demand > 0.0) {
        false => "nobody asked for anything".to_owned(),
        true if played.seconds_over == 0.0 => "never more demand than the target".to_owned(),
        true => format!(
            "more demand than the target for {:.0} s, by {} % of all of it",
            played.seconds_over,
            rounded(played.requests_over * 100.0, 1)
        ),
    };
    let changes = match played.changes {
        0 => "no change".to_owned(),
        1 => "1 change".to_owned(),
        many => format!("{many} changes"),
    };
    format!(
        "{model}: {} replica-hours in {} hours, {cost}; {changes}; {over}",
        rounded(played.replica_seconds as f64 / 3_600.0, 2),
        rounded(hours, 2),
    )
}

/// With so many decimals; what would come to nothing by them is told as less than the least that would not.
fn rounded(number: f64, decimals: usize) -> String {
    let least = 0.1_f64.powi(decimals as i32);
    match number {
        0.0 => "0".to_owned(),
        small if small < least => format!("< {least:.decimals$}"),
        number => format!("{number:.decimals$}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fetch::tests::Scratch;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        scaling: PlayedScaling,
    }

    /// What is written of `demand` played through `spec`, under `settings` if there are any.
    fn told(spec: &str, demand: &str, settings: Option<&str>, args: &[&str]) -> String {
        let scratch = Scratch::new();
        let write = |name: &str, text: &str| {
            let path = scratch.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let model = format!(
            "apiVersion: llmportfolio.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{name: m}}\nspec: {{selfHosted: {{engine: {{kind: LlamaCpp}}, {spec}}}}}\n"
        );
        let (model, demand) = (write("model.yaml", &model), write("demand.csv", demand));
        let settings = settings.map(|text| write("settings.yaml", text));
        let settings = settings.iter().flat_map(|path| ["--settings", path.as_str()]);
        let all = ["simulate", "-f", &model, "--demand", &demand].into_iter().chain(settings);
        let Arguments { scaling } = Arguments::parse_from(all.chain(args.iter().copied()));
        let (models, settings, demand) = scaling.read().unwrap();
        scaling.told(&models, &settings, &demand).unwrap()
    }

    const SCALING: &str = "scaling: {max: 4, target: {inFlight: 10}}";
    const HOUR: &str = "seconds,in_flight\n0,1\n3600,1\n";

    #[test]
    fn the_price_that_is_missing_is_named() {
        let accelerated = format!("accelerator: {{profile: l4}}, {SCALING}");
        let unknown = |spec: &str, settings| {
            let text = told(spec, HOUR, settings, &[]);
            let (_, why) = text.split_once("cost unknown (").unwrap();
            why.split_once(')').unwrap().0.to_owned()
        };
        assert_eq!(
            unknown(&accelerated, None),
            "give --settings with pricePerHourUSD of its accelerator profile, l4"
        );
        let unpriced = "acceleratorProfiles: {l4: {resource: nvidia.com/gpu}}";
        assert_eq!(
            unknown(&accelerated, Some(unpriced)),
            "add pricePerHourUSD to acceleratorProfiles.l4 of the settings"
        );
        assert_eq!(
            unknown(SCALING, Some(unpriced)),
            "only accelerator profiles have a price, and spec.selfHosted.accelerator.profile names none"
        );
        let priced = "acceleratorProfiles: {l4: {resource: nvidia.com/gpu, pricePerHourUSD: '0.80'}}";
        assert!(told(&accelerated, HOUR, Some(priced), &[]).contains("1.00 replica-hours in 1.00 hours, 0.8 US dollars; no change; "));
    }

    #[test]
    fn what_is_next_to_nothing_is_not_told_as_nothing_and_nothing_in_words() {
        for (demand, expected) in [
            (HOUR, "never more demand than the target"),
            ("seconds,in_flight\n0,0\n3600,0\n", "nobody asked for anything"),
            (
                "seconds,in_flight\n0,10\n1000,10.5\n1004,10\n3600,0\n",
                "more demand than the target for 4 s, by < 0.1 % of all of it",
            ),
        ] {
            let text = told(SCALING, demand, None, &[]);
            assert!(text.ends_with(expected), "{text}");
        }
        let short = told(SCALING, "seconds,in_flight\n0,1\n4,1\n", None, &[]);
        assert!(short.contains("m: < 0.01 replica-hours in < 0.01 hours"), "{short}");
        let fraction = told(SCALING, "seconds,in_flight\n0,0.3\n4,0\n", None, &[]);
        assert!(fraction.contains("        0      < 1  ***"), "{fraction}");
        let numbers = [0.0, 0.04, 0.1, 0.16, 12.0].map(|number| rounded(number, 1));
        assert_eq!(numbers, ["0", "< 0.1", "0.1", "0.2", "12.0"]);
    }

    const LUNCH: &str = "scaling: {max: 4, target: {inFlight: 10}, schedule: [
        {cron: 0 12 * * *, timeZone: Europe/Berlin, min: 2, max: 6}, {cron: 10 12 * * *, timeZone: Europe/Berlin, min: 1}]}";
    const DAY: &str = "seconds,in_flight\n0,5\n86400,5\n";

    #[test]
    fn each_change_of_the_bounds_is_told_by_the_clock_also_one_between_two_lines() {
        let text = told(LUNCH, DAY, None, &["--from", "2026-07-01T00:00:00+02:00"]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("      time (+02:00)   demand"), "{text}");
        assert!(lines[1].starts_with("2026-07-01 00:"), "{text}");
        let begin = lines.iter().position(|line| line.contains("min..max")).unwrap();
        assert_eq!(
            lines[begin..begin + 4],
            [
                "               from  replicas, min..max",
                "2026-07-01 00:00:00  1..4 by schedule[1]",
                "2026-07-01 12:00:00  2..6 by schedule[0]",
                "2026-07-01 12:10:00  1..4 by schedule[1]",
            ]
        );
        let json: Value = serde_json::from_str(&told(LUNCH, DAY, None, &["--from", "2026-07-01", "--json"])).unwrap();
        assert_eq!(
            json["bounds"][1],
            json!({"seconds": 36_000, "time": "2026-07-01T10:00:00+00:00", "min": 2, "max": 6, "from": "schedule[0]"})
        );
        assert_eq!(json["steps"][0]["time"], "2026-07-01T00:00:00+00:00");
    }

    #[test]
    fn without_a_schedule_there_are_no_bounds_to_tell_and_of_many_the_first_are_told() {
        let plain = told(SCALING, HOUR, None, &[]);
        assert!(plain.starts_with("  seconds   demand") && !plain.contains("min..max"), "{plain}");
        let often =
            "scaling: {max: 4, target: {inFlight: 10}, schedule: [{cron: '*/10 * * * *', min: 1}, {cron: '5-59/10 * * * *', min: 2}]}";
        let text = told(often, DAY, None, &["--from", "2026-07-01"]);
        assert_eq!(text.lines().filter(|line| line.contains(" by schedule[")).count(), LINES, "{text}");
        assert!(text.contains("and 248 more, which --json has"), "{text}");
    }
}

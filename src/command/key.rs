//! `portfolio key`: clients' API keys. A key is shown once, when it is made; what is kept of it is its hash.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::Date;
use k8s_openapi::jiff::tz::TimeZone;
use regex::Regex;
use ring::rand::{SecureRandom, SystemRandom};

use super::{out, start, times};
use crate::api::placement::{LABEL_NAME, NAME};
use crate::cluster::{self, keys};
use crate::plan::api_key::{self, ApiKey, Expires, Listed};
use crate::plan::names::{API_KEY_LABEL, DATA_CLASS_LABEL, Key};

/// The form of a label's value.
const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// The longest value of a label, and the longest name within its domain.
const LABEL_LIMIT: usize = 63;

/// Flags of `portfolio key`.
#[derive(Args)]
pub struct Flags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Makes a key. Only its SHA-256 is kept, in a Secret: the key itself is shown this once.
    ///
    /// Without --apply the Secret's manifest goes to stdout and the key to stderr, so that `portfolio key create ci > secret.yaml` puts the
    /// manifest into the file, for kubectl, a repository or `portfolio serve -f`, and shows the key. With --apply the Secret is made in
    /// the cluster and the key alone goes to stdout, so that `KEY=$(portfolio key create ci --apply)` holds it.
    Create(Create),
    /// Lists the keys in the cluster: names, labels, when they were made and end, and whether they are of use. Never the keys themselves.
    List(Place),
    /// Removes a key from the cluster: gateways refuse it within seconds.
    Revoke {
        /// The key's name.
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Where keys are.
#[derive(Args)]
struct Place {
    /// The gateway's namespace, where it looks for keys.
    #[arg(long, default_value = "llm-portfolio")]
    namespace: String,
}

#[derive(Args)]
struct Create {
    /// The key's name, which is its Secret's: shown in logs, and by which it is revoked.
    name: String,
    /// A label, by which policies admit it (spec.clients[].apiKeys.matchLabels); may be given more than once. `team` says whose budget it is on.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<Label>,
    /// How long it is good, such as 720h or 30d, or until when: a date (its end, in UTC) or a time such as 2027-01-31T12:00:00Z. Default: until
    /// it is revoked.
    #[arg(long, value_name = "DURATION|DATE")]
    expires: Option<String>,
    /// The class of the data that its requests have at least, by the name that the installer gave it, such as Personal.
    #[arg(long, value_name = "CLASS")]
    data_class: Option<String>,
    /// Make the Secret in the cluster that KUBECONFIG names, instead of printing its manifest.
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    place: Place,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Label(String, String);

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as team=claims")?;
        let own = name.rsplit_once('/').map_or(name, |(_, own)| own);
        if own.len() > LABEL_LIMIT || name.len() > 317 || !has_form(LABEL_NAME, name) {
            return Err(format!("{name:?} is no name of a label: letters, digits, -, _ and . in between"));
        }
        if name == API_KEY_LABEL {
            return Err(format!("{API_KEY_LABEL} is set in any case"));
        }
        label_value(value)?;
        Ok(Self(name.to_owned(), value.to_owned()))
    }
}

fn label_value(value: &str) -> Result<(), String> {
    match value.len() <= LABEL_LIMIT && has_form(LABEL_VALUE, value) {
        true => Ok(()),
        false => Err(format!(
            "{value:?} is no value of a label: at most {LABEL_LIMIT} letters, digits, and -, _ and . in between"
        )),
    }
}

fn has_form(form: &str, text: &str) -> bool {
    Regex::new(form).expect("a constant that tests use").is_match(text)
}

pub(super) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    match flags.action {
        Action::Create(create) => create.run(),
        Action::List(place) => start::runtime()?.block_on(list(&place.namespace)),
        Action::Revoke { name, place } => start::runtime()?.block_on(revoke(&Key::new(place.namespace, name))),
    }
}

impl Create {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut random = [0; 32];
        let drawn = SystemRandom::new().fill(&mut random);
        ensure!(drawn.is_ok(), "the system gives no random bytes");
        let key = api_key::written(&random);
        let namespace = self.place.namespace.clone();
        let apply = self.apply;
        let secret = api_key::secret(&namespace, self.holder(cluster::now())?, api_key::hash(&key));
        let made = Key::of(&secret);
        if apply {
            let create = async {
                keys::create(&connect().await?, &secret)
                    .await
                    .map_err(|error| explained(error, &made))
            };
            start::runtime()?.block_on(create)?;
            out::line(&key)?;
            eprintln!("Secret {made} is made. The key is not kept anywhere: store it now.");
        } else {
            out::write(&serde_saphyr::to_string(&secret).context("writing the Secret as YAML")?)?;
            eprintln!("{key}");
            eprintln!("This is the key, which is not kept anywhere: store it now. The manifest, on stdout, holds only its hash.");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn holder(self, now: Timestamp) -> anyhow::Result<ApiKey> {
        let name = self.name;
        ensure!(
            name.len() <= 253 && has_form(NAME, &name),
            "{name:?} is no name of a Secret: use lower-case letters, digits, - and . in between"
        );
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        let class = self.data_class.map(|class| Label(DATA_CLASS_LABEL.to_owned(), class));
        for Label(label, value) in self.labels.into_iter().chain(class) {
            label_value(&value).map_err(anyhow::Error::msg)?;
            ensure!(labels.insert(label.clone(), value).is_none(), "the label {label} is given twice");
        }
        let expires = match self.expires {
            None => Expires::Never,
            Some(text) => Expires::At(until(&text, now)?),
        };
        Ok(ApiKey { name, labels, expires })
    }
}

/// What a person means by `720h`, `30d`, `2027-01-31` or `2027-01-31T12:00:00Z`.
fn until(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let end_of = |day: Date| Some(day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let duration = match days {
        Some(days) => Some(Duration::from_secs(days.saturating_mul(24 * 60 * 60))),
        None => times::duration(text).ok(),
    };
    let time = match duration {
        Some(duration) => now.checked_add(duration).ok(),
        None => text.parse::<Timestamp>().ok().or_else(|| end_of(text.parse().ok()?)),
    };
    let Some(time) = time else {
        bail!("--expires {text}: write how long, such as 720h or 30d, or until when, such as 2027-01-31 or 2027-01-31T12:00:00Z");
    };
    ensure!(time > now, "--expires {text}: that is over already; give a time in the future");
    Ok(Timestamp::from_second(time.as_second())?)
}

async fn connect() -> anyhow::Result<cluster::Connection> {
    cluster::connect().await.context("connecting to the cluster: set KUBECONFIG")
}

fn explained(error: cluster::Error, key: &Key) -> anyhow::Error {
    match error {
        cluster::Error::NameTaken { .. } => anyhow::anyhow!(
            "Secret {key} is there already: choose another name, or revoke it first (portfolio key revoke {} --namespace {})",
            key.name,
            key.namespace
        ),
        error => error.into(),
    }
}

async fn list(namespace: &str) -> anyhow::Result<ExitCode> {
    let now = cluster::now();
    let listed: Vec<Listed> = keys::list(&connect().await?, namespace)
        .await?
        .iter()
        .map(|secret| api_key::listed(secret, now))
        .collect();
    if listed.is_empty() {
        eprintln!("there are no keys in {namespace}: portfolio key create NAME makes one");
    } else {
        out::write(&table(&listed))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns as kubectl has them.
fn table(listed: &[Listed]) -> String {
    let head = ["NAME", "LABELS", "CREATED", "EXPIRES", "STATE"];
    let rows = listed
        .iter()
        .map(|key| [&*key.name, &*key.labels, &*key.created, &*key.expires, key.state]);
    let rows: Vec<[&str; 5]> = std::iter::once(head).chain(rows).collect();
    let widths: [usize; 5] = std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let line = |row: &[&str; 5]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

async fn revoke(key: &Key) -> anyhow::Result<ExitCode> {
    if keys::delete(&connect().await?, key).await? {
        eprintln!("Secret {key} is removed: gateways refuse its key within seconds");
        return Ok(ExitCode::SUCCESS);
    }
    bail!(
        "there is no API key {key}: portfolio key list --namespace {} shows those there are",
        key.namespace
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn create(arguments: &str) -> Result<ApiKey, String> {
        let line = Line::try_parse_from(["key", "create"].into_iter().chain(arguments.split_whitespace()));
        let Action::Create(create) = line.map_err(|error| error.to_string())?.flags.action else {
            panic!("no create")
        };
        create.holder(now()).map_err(|error| error.to_string())
    }

    fn now() -> Timestamp {
        "2026-12-31T23:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_key_has_the_labels_class_and_end_that_it_is_given() {
        let key = create("ci --label team=claims --label example.com/env=prod --data-class Personal --expires 720h").unwrap();
        assert_eq!(key.name, "ci");
        let labels: Vec<String> = key.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            labels,
            ["example.com/env=prod", "llmportfolio.dev/data-class=Personal", "team=claims"]
        );
        assert_eq!(key.expires, Expires::At("2027-01-30T23:00:00Z".parse().unwrap()));
        assert_eq!(create("ci").unwrap().expires, Expires::Never);
    }

    #[test]
    fn an_end_is_a_duration_a_day_or_a_time() {
        for (text, end) in [
            ("1h30m", "2027-01-01T00:30:00Z"),
            ("30d", "2027-01-30T23:00:00Z"),
            ("2027-01-31", "2027-02-01T00:00:00Z"),
            ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
        ] {
            assert_eq!(until(text, now()).unwrap().to_string(), end, "{text}");
        }
        for wrong in [
            "",
            "never",
            "0s",
            "-1h",
            "2026-12-30",
            "2020-01-01T00:00:00Z",
            "99999999999999d",
            "99999999999999999999h",
            "d",
        ] {
            assert!(until(wrong, now()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused_here() {
        for (arguments, says) in [
            ("CI", "is no name of a Secret"),
            ("ci --label team", "write NAME=VALUE"),
            ("ci --label /=b", "is no name of a label"),
            ("ci --label team=a/b", "is no value of a label"),
            ("ci --label team=a --label team=b", "the label team is given twice"),
            ("ci --label llmportfolio.dev/api-key=false", "is set in any case"),
            ("ci --data-class very/personal", "is no value of a label"),
        ] {
            let error = create(arguments).unwrap_err();
            assert!(error.contains(says), "{arguments}: {error}");
        }
    }

    #[test]
    fn a_list_is_a_table() {
        let key = |name: &str, state| Listed {
            name: name.to_owned(),
            labels: "team=claims".to_owned(),
            created: "2026-12-01T00:00:00Z".to_owned(),
            expires: "-".to_owned(),
            state,
        };
        let expected = "NAME       LABELS        CREATED                EXPIRES   STATE\n\
                        ci         team=claims   2026-12-01T00:00:00Z   -         Active\n\
                        web-team   team=claims   2026-12-01T00:00:00Z   -         Expired\n";
        assert_eq!(table(&[key("ci", "Active"), key("web-team", "Expired")]), expected);
    }
}

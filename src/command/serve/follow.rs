//! From files to what a gateway reads, again whenever they change. Swaps everything whole, and only when nothing is wrong with the files.

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::condition::{self, Kind};
use crate::api::{RoutingPolicy, Settings};
use crate::cluster;
use crate::command::files::Files;
use crate::gateway::{ApiKeys, Credentials, Source};
use crate::manifest::{Finding, GivenSecrets, Portfolio, Prices, Standalone};
use crate::plan::names::Key;
use crate::plan::routing::{self, Routing};

/// What a look at the files came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing has changed.
    Same,
    /// Something is changing: look again.
    Changing,
    /// The gateway has what the files say now.
    Swapped,
    /// The files are wrong, and the gateway has what they said before.
    Kept(Vec<Finding>),
}

/// Follows some files.
pub(super) struct Follower {
    files: Files,
    settings: Option<Settings>,
    secrets: GivenSecrets,
    allow_anonymous: bool,
    source: Source,
    /// The digest of the texts at the last look, and of those that were last taken over or refused.
    seen: String,
    judged: String,
    /// The prices of files that nothing was wrong with.
    prices: Option<Prices>,
    /// Whether the files of the prices say the same now.
    prices_are_current: bool,
}

impl Follower {
    /// Follows `files`, feeding `source`.
    pub(super) fn new(files: Files, settings: Option<Settings>, secrets: GivenSecrets, allow_anonymous: bool, source: Source) -> Self {
        Self {
            files,
            settings: settings.map(|settings| Settings {
                allow_anonymous,
                ..settings
            }),
            secrets,
            allow_anonymous,
            source,
            seen: String::new(),
            judged: String::new(),
            prices: None,
            prices_are_current: true,
        }
    }

    /// Takes over what the files say at the start.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn begin(&mut self) -> Result<(), Vec<Finding>> {
        self.seen = self.digest();
        self.judge()
    }

    /// Looks at the files, and takes them over when they have changed, are at rest and are good.
    pub(super) fn look(&mut self) -> Step {
        let now = self.digest();
        let at_rest = self.seen == now;
        self.seen = now;
        match (at_rest, self.seen == self.judged) {
            (_, true) => Step::Same,
            (false, false) => Step::Changing,
            (true, false) => match self.judge() {
                Ok(()) => Step::Swapped,
                Err(findings) => Step::Kept(findings),
            },
        }
    }

    /// Of what the objects and the prices are read from.
    fn digest(&self) -> String {
        Portfolio::digest(&[self.files.paths.as_slice(), &self.files.prices].concat())
    }

    /// How many entries the prices have that are used, and whether the files say the same now.
    pub(super) fn prices(&self) -> (usize, bool) {
        let entries = self.prices.as_ref().map_or(0, |prices| prices.book.entries());
        (entries, self.prices_are_current)
    }

    /// The prices as the files have them, or as they were before something was wrong with them: what they are for goes on.
    fn read_prices(&mut self) -> Prices {
        let read = self.files.prices();
        self.prices_are_current = !read.have_errors();
        match &self.prices {
            Some(before) if read.have_errors() => {
                for finding in read.findings.iter().filter(|finding| finding.is_error()) {
                    tracing::error!("{finding}");
                }
                tracing::warn!("the price book has errors: prices stay as they were until they are corrected");
                before.clone()
            }
            _ => read,
        }
    }

    fn judge(&mut self) -> Result<(), Vec<Finding>> {
        self.judged.clone_from(&self.seen);
        let prices = self.read_prices();
        let portfolio = self.files.read(self.settings.as_ref(), &prices);
        if portfolio.errors() > 0 {
            return Err(portfolio.findings.into_iter().filter(Finding::is_error).collect());
        }
        for warning in &portfolio.findings {
            tracing::warn!("{warning}");
        }
        let now = cluster::now();
        let standalone = portfolio.standalone(&self.secrets, now);
        let settings = Settings {
            allow_anonymous: self.allow_anonymous,
            ..self.settings.clone().unwrap_or_default()
        };
        // Whoever tries a model here should not need a policy for it.
        let decided = standalone.routing(&settings, &prices.book, self.allow_anonymous, now);
        report(&standalone, &decided);
        self.publish(standalone, decided);
        self.prices = Some(prices);
        Ok(())
    }

    /// Credentials first: a route must not be open before its credentials are there.
    fn publish(&self, standalone: Standalone, decided: Routing) {
        let credentials = Credentials::new(standalone.held, &self.source.credentials.borrow());
        self.source.credentials.send_replace(Arc::new(credentials));
        self.source.api_keys.send_replace(Arc::new(ApiKeys::new(standalone.api_keys)));
        let before = self.source.routes.send_replace(Some(Arc::new(decided.table)));
        let (before, now) = (before.as_deref(), self.source.routes.borrow());
        for route in before.iter().flat_map(|table| table.routes()) {
            if now.as_ref().is_some_and(|table| table.find(&route.name).is_none()) {
                tracing::warn!(model = %route.name, "is not served any more: the files do not name it");
            }
        }
    }
}

/// Says what is served, and what is missing for the rest.
fn report(standalone: &Standalone, decided: &Routing) {
    for md in &standalone.models {
        let ready = md.status.as_ref().and_then(|s| condition::find(&s.conditions, Kind::Ready));
        if let Some(ready) = ready.filter(|ready| ready.status != "True") {
            tracing::warn!(model = %Key::of(&**md), "gets no requests: {}", ready.message);
        }
    }
    for policy in &standalone.policies {
        let Some(verdict) = decided.verdicts.get(&Key::of(&**policy)) else {
            continue;
        };
        let status = routing::status(policy, verdict, None, cluster::now());
        let ready = condition::find(&status.conditions, Kind::Ready);
        let (name, message) = (policy.name_any(), ready.map_or("", |ready| ready.message.as_str()));
        if verdict.is_ready() {
            // Nobody was asked whether they answer.
            let (to, left_out) = (&verdict.summary, verdict.left_out());
            tracing::info!(policy = %name, model = %policy.spec.model, "requests go to {to}{left_out}");
        } else {
            tracing::warn!(policy = %name, model = %policy.spec.model, "{message}");
        }
        for hint in hints(policy, verdict.admits_nobody) {
            tracing::warn!(policy = %name, "{hint}");
        }
    }
}

/// What helps here, where there is no cluster and no installer to ask.
fn hints(policy: &RoutingPolicy, admits_nobody: bool) -> Vec<&'static str> {
    let needs_a_cluster = policy.spec.clients.iter().all(|client| client.service_accounts.is_some());
    let is_evaluated = policy.spec.require.as_ref().is_some_and(|require| !require.evaluated.is_empty());
    [
        (
            needs_a_cluster,
            "only service accounts may call it, and they need a cluster: admit anonymous or apiKeys to try it here",
        ),
        (admits_nobody, "to admit anonymous clients here, start serve with --allow-anonymous"),
        (
            is_evaluated,
            "nothing is evaluated without a cluster, so spec.require.evaluated keeps every model out: leave it out to try the policy here",
        ),
    ]
    .into_iter()
    .filter_map(|(applies, hint)| applies.then_some(hint))
    .collect()
}

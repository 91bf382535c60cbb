//! One request's tally: what is known of it while it goes on. When it ends, three writers tell it: the metrics, the log and the trace. It
//! holds nothing of what was asked or answered, unless the policy says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use k8s_openapi::jiff::Timestamp;
use opentelemetry::trace::SpanContext;

use super::bill::{Bill, Charge, Took};
use super::content::Transcript;
use super::failure::Failure;
use super::ledger::{Entered, Ledger, Unaffordable, Visit, all};
use super::metrics::Counting;
use super::traces::{Parent, Tracing};
use super::{Gateway, access, headers};
use crate::plan::names::Key;
use crate::plan::price::Cost;
use crate::plan::routing::{Backend, Client, Route};
use crate::protocol::Operation;
use crate::protocol::exchange::Asked;
use crate::protocol::usage::Tokens;

/// What is known of a request.
pub(super) struct Record {
    pub(super) operation: Operation,
    pub(super) id: Option<HeaderValue>,
    /// The trace that it belongs to, by the client's word or ours.
    pub(super) trace: Option<u128>,
    /// Its kind, and its name: of an API key, that of its Secret. Only where it is told.
    pub(super) client: Option<(&'static str, Option<String>)>,
    /// None for names that clients make up.
    pub(super) route: Option<Arc<Route>>,
    /// None until a model has answered.
    pub(super) model: Option<Arc<Backend>>,
    pub(super) attempts: usize,
    /// Whether a streamed answer was asked for.
    pub(super) is_streamed: bool,
    /// How long it waited for a model to wake, if it did.
    pub(super) held: Option<Duration>,
    pub(super) first_content: Option<Duration>,
    pub(super) charge: Option<Charge>,
    /// What the dearest model of the route would have cost more, in nano-dollars.
    pub(super) saved: u64,
    /// What attempts cost that brought no answer, by an estimate.
    pub(super) lost: Option<Cost>,
    /// None until it is known: the client hung up.
    pub(super) status: Option<StatusCode>,
    /// Why it was refused by us: the error's code.
    pub(super) refused: Option<String>,
    /// How its answer broke after it had begun.
    pub(super) broken: Option<&'static str>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Record {
    /// What `error.type` is: how the answer broke, `gone`, or the status of an error.
    pub(super) fn error_type(&self) -> Option<String> {
        match (self.broken, self.status) {
            (Some(how), _) => Some(how.to_owned()),
            (None, None) => Some("gone".to_owned()),
            (None, Some(status)) => (!status.is_success()).then(|| status.as_str().to_owned()),
        }
    }
}

/// One request: told when dropped, as `gone` if nothing ended it before.
pub(super) struct Tally {
    record: Record,
    began: Instant,
    ledger: Arc<Ledger>,
    counting: Counting,
    /// What an attempt costs that a model has been sent and that has come to nothing yet.
    open: Option<Bill>,
    /// What the request is counted by, where the policy limits it.
    visit: Option<Box<Visit>>,
    /// What its latest attempt is counted by, where the model's provider limits us.
    quota: Option<Entered>,
    is_logged: bool,
    /// Whether it is a copy of a request, which no client waits for.
    pub(super) is_copy: bool,
    /// What is logged of what is asked and answered, if the policy says so.
    transcript: Option<Box<Transcript>>,
    tracing: Option<Box<Tracing>>,
    now: fn() -> Timestamp,
    /// Whether its answer was kept, where the policy keeps some.
    cache: Option<&'static str>,
}

impl Tally {
    /// A request has come.
    pub(super) fn new(gateway: &Gateway, operation: Operation, headers: &HeaderMap) -> Self {
        let is_logged = gateway.access_log && access::is_enabled();
        // Whoever is told of no trace reads no context.
        let parent = (is_logged || gateway.traces.is_some()).then(|| Parent::of(headers)).flatten();
        let tracing = gateway
            .traces
            .as_ref()
            .map(|traces| Box::new(traces.begin(operation, parent.as_ref())));
        let trace = tracing
            .as_ref()
            .map(|tracing| tracing.trace())
            .or(parent.map(|parent| parent.trace));
        let id = headers.get(headers::REQUEST_ID).filter(|_| is_logged).cloned();
        let mut tally = Self::made(gateway, operation, gateway.metrics.begin(), tracing);
        (tally.is_logged, tally.record.id, tally.record.trace) = (is_logged, id, trace);
        tally
    }

    fn made(gateway: &Gateway, operation: Operation, counting: Counting, tracing: Option<Box<Tracing>>) -> Self {
        Self {
            record: Record {
                operation,
                id: None,
                trace: None,
                client: None,
                route: None,
                model: None,
                attempts: 0,
                is_streamed: false,
                held: None,
                first_content: None,
                charge: None,
                saved: 0,
                lost: None,
                status: None,
                refused: None,
                broken: None,
                bytes_in: 0,
                bytes_out: 0,
            },
            began: Instant::now(),
            ledger: gateway.ledger.clone(),
            counting,
            open: None,
            visit: None,
            quota: None,
            is_logged: false,
            is_copy: false,
            transcript: None,
            tracing,
            now: gateway.now,
            cache: None,
        }
    }

    /// A copy of a request begins, whose trace is linked to that request's. It counts as no request, and has no line in the log.
    pub(super) fn of_copy(gateway: &Gateway, route: &Arc<Route>, asked: &Asked, link: Option<SpanContext>) -> Self {
        let operation = asked.operation;
        let tracing = gateway
            .traces
            .as_ref()
            .zip(link)
            .map(|(traces, link)| Box::new(traces.begin_copy(operation, link)));
        let mut tally = Self::made(gateway, operation, gateway.metrics.begin_copy(), tracing);
        tally.is_copy = true;
        tally.record.route = Some(route.clone());
        tally.record.is_streamed = asked.is_streamed();
        tally
    }

    /// What the trace of a copy is linked to, where this one is recorded.
    pub(super) fn link(&self) -> Option<SpanContext> {
        self.tracing.as_ref().and_then(|tracing| tracing.link())
    }

    pub(super) fn from(&mut self, client: &Client) {
        if self.is_logged {
            self.record.client = Some(access::known_as(client));
        }
    }

    pub(super) fn received(&mut self, bytes: usize, is_streamed: bool) {
        self.record.bytes_in = bytes as u64;
        self.record.is_streamed = is_streamed;
    }

    pub(super) fn on(&mut self, route: &Arc<Route>) {
        self.record.route = Some(route.clone());
    }

    /// What is asked and answered goes to the log, as far as the policy says so.
    pub(super) fn writes_down(&mut self, transcript: impl FnOnce() -> Option<Transcript>) {
        let is_wanted = self.record.route.as_ref().is_some_and(|route| route.logs_content);
        let so_far = self.transcript.take().filter(|_| is_wanted);
        self.transcript = so_far.or_else(|| if is_wanted { transcript().map(Box::new) } else { None });
    }

    /// What the provider lets us have has room for this copy.
    pub(super) fn spared(&mut self, quota: Option<Entered>) {
        self.quota = quota;
    }

    /// The policy's limits let it in.
    pub(super) fn admitted(&mut self, visit: Option<Box<Visit>>) {
        self.visit = visit;
    }

    /// What the policy's limits let in, to be let in again.
    pub(super) fn leaves(&mut self) -> Option<Box<Visit>> {
        self.visit.take()
    }

    /// It waited so long for a model to wake.
    pub(super) fn held(&mut self, time: Duration) {
        self.record.held = Some(time);
    }

    /// Its answer was looked for among those that are kept: `hit`, `miss` or `bypass`.
    pub(super) fn looked(&mut self, outcome: &'static str) {
        self.cache = Some(outcome);
        if let Some(route) = &self.record.route {
            self.counting.looked(route, outcome);
        }
    }

    /// What an answer tells beside itself, as headers: what is left of the limits, and whether it was kept.
    pub(super) fn told(&self) -> HeaderMap {
        let mut told = self.limits();
        if let Some(outcome) = self.cache {
            told.insert(headers::CACHE, HeaderValue::from_static(outcome));
        }
        told
    }

    /// What is left of the policy's limits, as headers.
    pub(super) fn limits(&self) -> HeaderMap {
        self.visit.as_ref().map(|visit| visit.limits()).unwrap_or_default()
    }

    /// An attempt at a model is about to be made: what it may cost is kept in every budget.
    pub(super) async fn reserve(&mut self, bill: &Bill) -> Result<(), Unaffordable> {
        match &mut self.visit {
            // Boxed, because few requests need the room for it.
            Some(visit) => Box::pin(visit.reserve(bill)).await,
            None => Ok(()),
        }
    }

    /// Whether budgets have enough left for an answer of this model.
    pub(super) async fn could_pay(&self, model: &Backend) -> Result<(), Unaffordable> {
        match &self.visit {
            Some(visit) => visit.could_pay(model).await,
            None => Ok(()),
        }
    }

    /// It counts in what the model's provider lets us have, unless that is used up.
    pub(super) fn enters(&mut self, bill: &Bill) -> Result<(), Failure> {
        // An earlier attempt's place may be the last.
        self.quota = None;
        match self.ledger.within_quota(bill) {
            Ok(quota) => {
                self.quota = quota;
                Ok(())
            }
            Err(over) => {
                if let Some(visit) = &mut self.visit {
                    visit.release();
                }
                Err(Failure::OverLimits(over))
            }
        }
    }

    /// The models that the budget at this position goes on with are asked now.
    pub(super) fn downgraded(&mut self, budget: usize) {
        if let Some(visit) = &mut self.visit {
            visit.downgraded(budget);
        }
    }

    /// Whether models are asked that a used-up budget goes on with.
    pub(super) fn is_downgraded(&self) -> bool {
        self.visit.as_ref().is_some_and(|visit| visit.is_downgraded())
    }

    /// An attempt begins. Its request tells the model which trace it belongs to.
    pub(super) fn attempts(&mut self, model: &Backend, base: &Uri, headers: &mut HeaderMap) {
        if let Some(tracing) = &mut self.tracing {
            tracing.attempts(self.record.operation, model, base, headers);
        }
    }

    /// A model has the request: it works, whatever becomes of the answer.
    pub(super) fn sent(&mut self, bill: Bill) {
        if self.record.operation.is_charged() {
            self.open = Some(bill);
        }
    }

    /// Whether a model may do now what must not be done twice.
    pub(super) fn may_have_begun(&self) -> bool {
        self.open.as_ref().is_some_and(|bill| !bill.is_repeatable())
    }

    /// An attempt, whether or not it began, brought no answer.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.record.attempts += 1;
        if let Some(bill) = self.open.take()
            && let Some(charge) = bill.of_attempt(failure.took(), &self.ledger)
            && let Some(route) = self.record.route.clone()
        {
            self.took(&bill.model, &charge);
            self.counting.lost(&route, &bill.model, &charge);
            let earlier = self.record.lost;
            self.record.lost = Some(earlier.map_or(charge.cost, |earlier| earlier.plus(charge.cost)));
        }
        self.quota = None;
        // What was kept for an attempt that cost nothing.
        if let Some(visit) = &mut self.visit {
            visit.release();
        }
        if let Some(tracing) = &mut self.tracing {
            tracing.failed(failure.outcome());
        }
    }

    pub(super) fn fell_back(&self, from: &Key, to: &Key) {
        self.counting.fell_back(self.record.route.as_deref(), from, to);
    }

    /// A model's answer is about to be shown.
    pub(super) fn answered_by(&mut self, model: &Arc<Backend>) {
        self.record.attempts += 1;
        self.open = None;
        self.record.first_content = Some(self.began.elapsed());
        self.record.model = Some(model.clone());
    }

    /// What the answer took: see [`Bill::of_answer`].
    pub(super) fn charge(&mut self, bill: &Bill, told: Option<Tokens>, is_whole: bool, seen: impl FnOnce() -> u64) -> Charge {
        let charge = bill.of_answer(told, is_whole, seen, &self.ledger);
        self.took(&bill.model, &charge);
        if let (Some(route), Cost::Known(nanos)) = (&self.record.route, charge.cost) {
            let dearest = route.dearest(&charge.tokens, (self.now)());
            self.record.saved = dearest.map_or(0, |dearest| dearest.saturating_sub(nanos));
        }
        self.record.charge = Some(charge);
        charge
    }

    /// An attempt has taken this, as far as budgets and limits go.
    fn took(&mut self, model: &Backend, charge: &Charge) {
        if let Some(visit) = &mut self.visit {
            visit.charge(model, charge);
        }
        if let Some(quota) = &mut self.quota {
            quota.used(all(&charge.tokens));
        }
    }

    /// These bytes go to the client.
    pub(super) fn sends(&mut self, bytes: &[u8]) {
        self.record.bytes_out += bytes.len() as u64;
        if let Some(transcript) = &mut self.transcript {
            transcript.answers(bytes);
        }
    }

    pub(super) fn broke(&mut self, outcome: &'static str) {
        self.record.broken = Some(outcome);
    }

    /// The request is refused by us, for the reason that this code names.
    pub(super) fn refused(&mut self, status: StatusCode, code: Option<&str>) {
        self.record.refused = code.map(str::to_owned);
        self.end(status);
    }

    pub(super) fn end(&mut self, status: StatusCode) {
        self.record.status = Some(status);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let elapsed = self.began.elapsed();
        // The client did not wait.
        if let Some(bill) = self.open.take() {
            self.record.attempts += 1;
            self.record.charge = bill.of_attempt(Took::Unseen, &self.ledger);
            if let Some(charge) = self.record.charge {
                self.took(&bill.model, &charge);
            }
            self.record.model = Some(bill.model);
        }
        self.counting.count(&self.record, elapsed);
        if self.is_logged {
            access::write(&self.record, elapsed);
        }
        if let Some(transcript) = &self.transcript {
            transcript.log(&self.record);
        }
        if let Some(tracing) = self.tracing.take() {
            tracing.end(&self.record);
        }
    }
}

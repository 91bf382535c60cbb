//! What has ended and what it used, and whether the limits leave room for one more question.

use std::collections::BTreeMap;

use super::allowance::Amount;
use super::judge::Judged;
use super::progress::{Asked, End, Entry, Reserved};
use super::prompt::Prompt;
use crate::plan::evaluation::report::Limit;
use crate::plan::evaluation::run::{Limits, Target};
use crate::plan::price::Exact;
use crate::protocol::usage::Tokens;

/// After so many failures in a row a model is given up: the rest would fail likewise, each after its own wait.
const GIVE_UP: u32 = 3;

/// The counts of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    ended: BTreeMap<Asked, Ended>,
    /// What each model used; judges are behind those that are asked.
    used: BTreeMap<usize, Used>,
    /// Of each answer to a program beside the run, dollars and tokens where both are known; by model.
    relayed: BTreeMap<usize, Vec<Option<(f64, u64)>>>,
    /// The most that may have been spent on answers that were lost.
    lost: Use,
    /// The most that what is under way may use.
    reserved: Use,
    error: Option<String>,
    errors: u32,
}

/// How one question ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) score: f64,
    /// Dollars and tokens, where both are known. The model's own: what a judge cost is no property of it.
    pub(super) spent: Option<(f64, u64)>,
    /// Both verdicts of a judge.
    pub(super) judged: Option<Judged>,
}

#[derive(Clone, Debug, Default)]
struct Used {
    tokens: [u64; 2],
    /// What they cost, as far as it is known: by question, as the price may depend on how long a prompt is.
    cost: Exact,
    /// Failures in a row, up to now.
    failures: u32,
    /// Whether an answer did not say what it used, or its cost is not known.
    unknown: bool,
}

impl Used {
    /// Counts an answer of that model; its dollars and tokens, where both are known.
    fn add(&mut self, model: &Target, tokens: &Tokens) -> Option<(f64, u64)> {
        let (prompt, answer) = (tokens.prompt(), tokens.answer());
        self.tokens[0] = self.tokens[0].saturating_add(prompt);
        self.tokens[1] = self.tokens[1].saturating_add(answer);
        let (cost, is_known) = cost(model, tokens);
        self.cost = self.cost.plus(cost);
        self.unknown |= !is_known;
        is_known.then(|| (cost.nanos() as f64 / 1e9, prompt.saturating_add(answer)))
    }
}

/// What is or may be used.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    tokens: u64,
    cost: Exact,
}

impl Use {
    fn add(&mut self, reserved: &Reserved) {
        self.tokens = self.tokens.saturating_add(reserved.tokens);
        self.cost = self.cost.plus(Exact::of_nanos(reserved.cost));
    }

    fn take(&mut self, reserved: &Reserved) {
        self.tokens = self.tokens.saturating_sub(reserved.tokens);
        self.cost = self.cost.less(Exact::of_nanos(reserved.cost));
    }
}

/// Whether one more question may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Yes.
    Yes,
    /// Not before a question under way has ended: it may use less than it might.
    Wait,
    /// No: this limit is reached.
    No(Limit),
}

impl Tally {
    /// Counts an answer that was lost.
    pub(super) fn lose(&mut self, reserved: &Reserved) {
        self.lost.add(reserved);
    }

    /// Counts what may have been spent on answers of which nothing is known.
    pub(super) fn lose_unknown(&mut self, gone: Amount) {
        self.lost.tokens = self.lost.tokens.saturating_add(gone.tokens);
        self.lost.cost = self.lost.cost.plus(Exact::of_nanos(gone.cost));
    }

    /// Keeps room for what is about to be asked.
    pub(super) fn reserve(&mut self, reserved: &Reserved) {
        self.reserved.add(reserved);
    }

    /// Gives back the room that was kept.
    pub(super) fn release(&mut self, reserved: &Reserved) {
        self.reserved.take(reserved);
    }

    /// Counts one end of a question to `target`, and what `judge` said of the answer; beside it is its place behind those that are asked.
    pub(super) fn add(&mut self, target: &Target, judge: Option<(usize, &Target)>, entry: &Entry) {
        let used = self.used.entry(entry.asked.target).or_default();
        let is_error = entry.end == End::Error;
        // What a load is too much for may still answer questions.
        if entry.timed.is_none() {
            used.failures = if is_error { used.failures + 1 } else { 0 };
        }
        self.errors += u32::from(is_error);
        let spent = entry.tokens.as_ref().and_then(|tokens| used.add(target, tokens));
        used.unknown |= entry.tokens.is_none() && !is_error;
        if let (Some((place, judge)), Some(judgements)) = (judge, &entry.judge) {
            let used = self.used.entry(place).or_default();
            for tokens in &judgements.tokens {
                used.unknown |= tokens.is_none();
                tokens.as_ref().and_then(|tokens| used.add(judge, tokens));
            }
        }
        let ended = Ended {
            end: entry.end,
            score: entry.score,
            spent,
            judged: entry.judge.as_ref().and_then(|judgements| judgements.verdicts),
        };
        self.ended.insert(entry.asked, ended);
    }

    /// Counts an answer of `target` to a program beside the run: it was paid for, and no question of ours.
    pub(super) fn relay(&mut self, target: &Target, entry: &Entry) {
        if entry.end == End::Error {
            return;
        }
        let used = self.used.entry(entry.asked.target).or_default();
        let spent = entry.tokens.as_ref().and_then(|tokens| used.add(target, tokens));
        used.unknown |= entry.tokens.is_none();
        self.relayed.entry(entry.asked.target).or_default().push(spent);
    }

    /// Counts a question that such a program asked, by the score it gave. That a score is missing says nothing about how the model is to be asked.
    pub(super) fn give(&mut self, entry: &Entry) {
        self.errors += u32::from(entry.end == End::Error);
        let ended = Ended {
            end: entry.end,
            score: entry.score,
            spent: None,
            judged: None,
        };
        self.ended.insert(entry.asked, ended);
    }

    /// What the answers of one model to programs beside the run used.
    pub(super) fn relayed(&self, target: usize) -> impl Iterator<Item = Option<(f64, u64)>> {
        self.relayed.get(&target).into_iter().flatten().copied()
    }

    /// How a question ended, if it has.
    pub(super) fn ended(&self, asked: &Asked) -> Option<&Ended> {
        self.ended.get(asked)
    }

    /// Everything that ended for one model.
    pub(super) fn of(&self, target: usize) -> impl Iterator<Item = (&Asked, &Ended)> {
        self.ended.iter().filter(move |(asked, _)| asked.target == target)
    }

    /// Remembers the first failure's words.
    pub(super) fn failed(&mut self, model: &str, why: &str) {
        self.error.get_or_insert_with(|| format!("{model}: {why}"));
    }

    /// The first failure's words.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// How many have ended, and how many of them in an error.
    pub(super) fn counts(&self) -> (usize, u32) {
        (self.ended.len(), self.errors)
    }

    /// Tokens of prompts and answers.
    pub(super) fn tokens(&self) -> [u64; 2] {
        let sum = |which: usize| self.used.values().map(|used| used.tokens[which]).sum();
        [sum(0), sum(1)]
    }

    /// Whether the model failed too often in a row to be asked again.
    pub(super) fn is_given_up(&self, target: usize) -> bool {
        self.used.get(&target).is_some_and(|used| used.failures >= GIVE_UP)
    }

    /// Whether the limits leave room for one more question that may use so much, beside those under way. No limit is ever passed: what a question
    /// may use is more than it does, whatever its answer.
    pub(super) fn room(&self, limits: &Limits, more: &Reserved, is_busy: bool) -> Room {
        let counted = self.counted();
        let tokens = counted.tokens.saturating_add(more.tokens);
        let cost = counted.cost.plus(Exact::of_nanos(more.cost));
        let full = if limits.cost.is_some_and(|limit| cost > Exact::of_nanos(limit)) {
            Limit::Cost
        } else if limits.tokens.is_some_and(|limit| tokens > limit) {
            Limit::Tokens
        } else {
            return Room::Yes;
        };
        if is_busy { Room::Wait } else { Room::No(full) }
    }

    /// What counts towards the limits: what was used, lost, and is kept room for.
    fn counted(&self) -> Use {
        let [prompts, answers] = self.tokens();
        let tokens = [prompts, answers, self.lost.tokens, self.reserved.tokens];
        let known = self.used.values().fold(Exact::default(), |sum, used| sum.plus(used.cost));
        Use {
            tokens: tokens.into_iter().fold(0, u64::saturating_add),
            cost: known.plus(self.lost.cost).plus(self.reserved.cost),
        }
    }

    /// What the limits leave.
    pub(super) fn left(&self, limits: &Limits) -> Amount {
        let counted = self.counted();
        let left = |limit: Option<u64>, counted: u64| limit.map_or(u64::MAX, |limit| limit.saturating_sub(counted));
        Amount {
            tokens: left(limits.tokens, counted.tokens),
            cost: left(limits.cost, counted.cost.nanos_up()),
        }
    }

    /// Nano-dollars spent; none where that is not known of all answers. Rounded up: a cost is never understated.
    pub(super) fn cost(&self) -> Option<u64> {
        let known = self.used.values().all(|used| !used.unknown);
        let sum = self.used.values().fold(self.lost.cost, |sum, used| sum.plus(used.cost));
        known.then(|| sum.nanos_up())
    }
}

/// The most that a question with this prompt may use.
pub(super) fn most(asked: Asked, target: &Target, prompt: &Prompt) -> Reserved {
    let most = dearest(target, prompt.most_input(), u64::from(prompt.max_tokens));
    Reserved {
        asked,
        tokens: most.tokens,
        cost: most.cost.nanos_up(),
    }
}

/// The most that it may use where `judge` is then asked twice about the answer, each time with so many tokens of prompt and answer at most.
pub(super) fn with_judgements(most: &Reserved, judge: &Target, [input, output]: [u64; 2]) -> Reserved {
    let each = dearest(judge, input, output);
    Reserved {
        asked: most.asked,
        tokens: most.tokens.saturating_add(each.tokens).saturating_add(each.tokens),
        cost: Exact::of_nanos(most.cost).plus(each.cost).plus(each.cost).nanos_up(),
    }
}

/// The most that a request with so many tokens of prompt and answer may use.
fn dearest(target: &Target, input: u64, output: u64) -> Use {
    // As whatever kind of token costs most: a prompt may be written to a cache, and an answer be thought.
    let kinds = |count: u64, kinds: &[fn(&mut Tokens, u64)]| {
        let of = |kind: &fn(&mut Tokens, u64)| {
            let mut tokens = Tokens::default();
            kind(&mut tokens, count);
            target
                .price
                .as_ref()
                .and_then(|price| price.exact(&tokens).ok())
                .unwrap_or_default()
        };
        kinds.iter().map(of).max().unwrap_or_default()
    };
    let prompts = kinds(
        input,
        &[
            |tokens, count| tokens.input = count,
            |tokens, count| tokens.cache_read = count,
            |tokens, count| tokens.cache_write = count,
            |tokens, count| tokens.cache_write_1h = count,
        ],
    );
    let answers = kinds(
        output,
        &[|tokens, count| tokens.output = count, |tokens, count| tokens.reasoning = count],
    );
    // The price of an answer may depend on how long the prompt is.
    let together = Tokens {
        input,
        output,
        ..Tokens::default()
    };
    let (together, _) = cost(target, &together);
    Use {
        tokens: input.saturating_add(output),
        cost: prompts.plus(answers).max(together),
    }
}

/// The most that a request may use that somebody else wrote, with so many bytes, and so many tokens of answers at most.
pub(super) fn most_of(asked: Asked, target: &Target, bytes: u64, answers: u64) -> Reserved {
    let most = dearest(target, bytes, answers);
    Reserved {
        asked,
        tokens: most.tokens,
        cost: most.cost.nanos_up(),
    }
}

/// What one question cost, and whether that is known. Where it is not, all of it counts as plain text, for the sake of the limits.
fn cost(target: &Target, tokens: &Tokens) -> (Exact, bool) {
    let Some(price) = &target.price else {
        return (Exact::default(), false);
    };
    let text = Tokens {
        input: tokens.prompt(),
        output: tokens.answer(),
        ..Tokens::default()
    };
    match price.exact(tokens) {
        Ok(cost) => (cost, true),
        Err(_) => (price.exact(&text).unwrap_or_default(), false),
    }
}

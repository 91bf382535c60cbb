//! Who scores an answer that no rule can: a judge, or a program. They are asked as soon as the answer is there, as a part of the same question, so
//! that a run that is killed in between knows of neither, and nothing half-judged is gone on with.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::client::{Answer, Asking, Client, Failure, Pace};
use super::files::Places;
use super::judge::Pair;
use super::progress::{Asked, Reserved};
use super::prompt::Prompt;
use super::run::AT_ONCE;
use super::score::{Program, Score};
use super::suite::{By, Suite};
use super::tally::with_judgements;
use super::webhook::{self, Graded, Webhook};
use crate::plan::evaluation::run::{Evaluation, Target};

/// How long a program is asked for the score of one answer, all attempts together.
const LONGEST: Duration = Duration::from_secs(300);

/// Everybody who scores answers in a run.
pub(super) struct Scorers<'a> {
    run: &'a Evaluation,
    client: &'a Client,
    suites: &'a [Suite],
    /// What tells this run from others.
    digest: &'a str,
    /// The judges' places among those of the run, by the places of suites.
    judges: BTreeMap<usize, usize>,
    /// For each judge of the run, how many pairs may be put to it now: several models share one, and it is to be asked no more at once than any other.
    at_once: Vec<Semaphore>,
    /// By the places of suites.
    webhooks: BTreeMap<usize, Webhook>,
}

/// What was said of an answer.
pub(super) enum Scored {
    /// By the suite itself.
    Here(Score),
    /// By a judge.
    Judged(Judging),
    /// By a program; or why it said nothing.
    Webhook(Result<Graded, String>),
}

/// What came of asking a judge about a pair, in both orders.
#[derive(Default)]
pub(super) struct Judging {
    /// With the candidate's answer first, then with the reference first; fewer where one did not come.
    pub(super) given: Vec<Answer>,
    /// Why it did not.
    pub(super) failure: Option<Failure>,
    /// How many may have been given, and paid for, that never came.
    pub(super) lost: u32,
}

impl<'a> Scorers<'a> {
    /// Those of `suites`.
    ///
    /// # Errors
    /// Why one of them cannot be asked.
    pub(super) fn new(
        run: &'a Evaluation,
        suites: &'a [Suite],
        client: &'a Client,
        digest: &'a str,
        places: &Places,
    ) -> Result<Self, String> {
        let mut judges = BTreeMap::new();
        let mut webhooks = BTreeMap::new();
        for (place, suite) in suites.iter().enumerate() {
            if let Some(judge) = suite.judge() {
                let known = run.judges.iter().position(|known| known.model == judge.model);
                let flaw = || format!("suite {}: {} is not among the judges of the run; add it", suite.name, judge.model);
                judges.insert(place, known.ok_or_else(flaw)?);
            }
            if let Some(program) = suite.program() {
                let webhook = of_program(program, places).map_err(|why| format!("suite {}: {why}", suite.name))?;
                webhooks.insert(place, webhook);
            }
        }
        Ok(Self {
            run,
            client,
            suites,
            digest,
            judges,
            at_once: run.judges.iter().map(|_| Semaphore::new(AT_ONCE)).collect(),
            webhooks,
        })
    }

    /// The judge of the suite at that place, and its own place behind everybody who is asked.
    pub(super) fn judge(&self, suite: usize) -> Option<(usize, &'a Target)> {
        let judge = *self.judges.get(&suite)?;
        Some((self.run.asked().count() + judge, &self.run.judges[judge]))
    }

    /// The most that a question may use that itself uses so much: its answer is judged twice.
    pub(super) fn most(&self, most: Reserved, prompt: &Prompt) -> Reserved {
        let Some((_, judge)) = self.judge(most.asked.suite) else {
            return most;
        };
        let pair = self.suites[most.asked.suite].pair(most.asked.question, prompt, "");
        pair.map_or(most, |pair| with_judgements(&most, judge, pair.most_tokens_of_each()))
    }

    /// What is said of the answer of `model` to `prompt`.
    pub(super) async fn score(&self, asked: Asked, model: &str, prompt: &Prompt, answer: &Answer) -> Scored {
        let suite = &self.suites[asked.suite];
        match suite.by(asked.question, prompt, answer) {
            By::Itself(score) => Scored::Here(score),
            By::Judge(pair) => Scored::Judged(self.put(asked.suite, &pair).await),
            By::Webhook(answered) => {
                let asked_of = webhook::Asked {
                    run: self.digest,
                    target: model,
                    suite: &suite.name,
                    question: answered.id,
                    repeat: asked.repeat,
                };
                match self.webhooks.get(&asked.suite) {
                    Some(webhook) => Scored::Webhook(webhook.score(&asked_of, &answered).await),
                    None => Scored::Webhook(Err("there is no webhook for this suite".to_owned())),
                }
            }
        }
    }

    /// Puts a pair to the judge of the suite at that place, in one order and then in the other.
    async fn put(&self, suite: usize, pair: &Pair<'_>) -> Judging {
        let mut judging = Judging::default();
        let Some(judge) = self.judges.get(&suite) else {
            judging.failure = Some(Failure::Refused("there is no judge for this suite".to_owned()));
            return judging;
        };
        let model = format!("{}/{}", self.run.namespace, self.run.judges[*judge].model);
        // Nobody closes it, so this waits for no more than a turn.
        let _turn = self.at_once[*judge].acquire().await;
        for prompt in pair.prompts() {
            let Asking { answered, lost } = self.client.ask(&model, &prompt).await;
            judging.lost += lost;
            match answered {
                Ok(answer) => judging.given.push(answer),
                Err(failure) => {
                    // Half a judgement is none, so the other half would be paid for in vain.
                    judging.failure = Some(failure);
                    break;
                }
            }
        }
        judging
    }
}

fn of_program(program: &Program, places: &Places) -> Result<Webhook, String> {
    let token = program.secret.as_ref().map(|name| places.credentials.join(name).join("token"));
    let pace = Pace {
        answer: program.timeout,
        question: LONGEST,
        ..Pace::default()
    };
    Webhook::new(&program.url, token, pace, places.clock)
}

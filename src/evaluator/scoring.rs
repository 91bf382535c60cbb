//! Who scores an answer that no rule can: a program. It is asked as soon as the answer is there, as a part of the same question, so that a run
//! that is killed in between knows of neither.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::{Answer, Pace};
use super::files::Places;
use super::progress::Asked;
use super::prompt::Prompt;
use super::score::{Program, Score};
use super::suite::{By, Suite};
use super::webhook::{self, Graded, Webhook};

/// How long a program is asked for the score of one answer, all attempts together.
const LONGEST: Duration = Duration::from_secs(300);

/// Everybody who scores answers in a run.
pub(super) struct Scorers<'a> {
    suites: &'a [Suite],
    /// The digest of the run.
    run: &'a str,
    /// By the places of suites.
    webhooks: BTreeMap<usize, Webhook>,
}

/// What was said of an answer.
pub(super) enum Scored {
    /// By the suite itself.
    Here(Score),
    /// By a program; or why it said nothing.
    Webhook(Result<Graded, String>),
}

impl<'a> Scorers<'a> {
    /// Those of `suites`.
    ///
    /// # Errors
    /// Why one of them cannot be asked.
    pub(super) fn new(suites: &'a [Suite], run: &'a str, places: &Places) -> Result<Self, String> {
        let webhook = |(place, suite): (usize, &Suite)| {
            let webhook = of_program(suite.program()?, places);
            Some(
                webhook
                    .map(|webhook| (place, webhook))
                    .map_err(|why| format!("suite {}: {why}", suite.name)),
            )
        };
        Ok(Self {
            suites,
            run,
            webhooks: suites.iter().enumerate().filter_map(webhook).collect::<Result<_, _>>()?,
        })
    }

    /// What is said of the answer of `model` to `prompt`.
    pub(super) async fn score(&self, asked: Asked, model: &str, prompt: &Prompt, answer: &Answer) -> Scored {
        let suite = &self.suites[asked.suite];
        match suite.by(asked.question, prompt, &answer.text, answer.finish) {
            By::Itself(score) => Scored::Here(score),
            By::Webhook(answered) => {
                let asked_of = webhook::Asked {
                    run: self.run,
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

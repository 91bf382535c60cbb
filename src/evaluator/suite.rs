//! A suite with its questions read: what is asked, in which order, and how answers fare.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::client::{Answer, Finish};
use super::dataset::{self, Exemplar, Forbidden, Members};
use super::files::{self, File, Flaw, Places};
use super::judge::Pair;
use super::lm_eval::{self, Filter, Group, Json, Metric, Task};
use super::mmlu_pro::{self, Question};
use super::progress::End;
use super::prompt::{self, Prompt};
use super::rows;
use super::sample;
use super::score::{Judge, Program, Score, Scorer, after_thinking, chosen};
use super::scorers::contains;
use super::webhook::Answered;
use crate::api::eval_job::{self as api, Dataset, Kind, MmluPro, Variant};
use crate::plan::evaluation::{measure, metric};

/// A suite that can be asked.
pub(super) struct Suite {
    pub(super) name: String,
    /// How it is asked and read.
    pub(super) protocol: String,
    /// The SHA-256 of the questions' file.
    pub(super) digest: String,
    pub(super) repeats: u32,
    /// What the scores of its answers come to.
    pub(super) quality: metric::Metric,
    questions: Questions,
    max_tokens: Option<u32>,
    /// Worked examples that are shown before a question.
    shots: u32,
    /// What is asked at first, in this order.
    first: Vec<usize>,
    /// What is asked beyond, where that decides nothing.
    beyond: Vec<usize>,
    /// Whether questions were drawn from strata.
    is_stratified: bool,
}

/// Who says how good an answer is.
pub(super) enum By<'a> {
    /// The suite itself, and what it says.
    Itself(Score),
    /// Its judge, of this pair.
    Judge(Pair<'a>),
    /// A program.
    Webhook(Answered<'a>),
}

/// A task, and the places of its questions.
pub(super) struct Part {
    pub(super) task: Task,
    pub(super) questions: Vec<usize>,
}

/// A question that another program asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) id: String,
    /// What it belongs to, with others.
    pub(super) cluster: Option<String>,
    /// What it was drawn from.
    pub(super) stratum: Option<String>,
}

enum Questions {
    /// Of which nothing is known but how they ended.
    External(Vec<Row>),
    Exemplars(Vec<Exemplar>, Scorer),
    MmluPro {
        variant: Variant,
        questions: Vec<Question>,
        /// By category.
        shots: BTreeMap<String, Vec<Question>>,
        /// Questions with the same text have the same number.
        clusters: Vec<usize>,
        /// What is drawn from.
        strata: Member,
    },
}

/// A member of a benchmark's questions that has groups.
#[derive(Clone, Copy)]
enum Member {
    Category,
    Source,
}

impl Suite {
    /// Reads what `spec` names. `extend_to` is the size that samples may be extended to.
    pub(super) async fn read(spec: &api::Suite, extend_to: Option<u32>, places: &Places) -> Result<Self, Flaw> {
        let mut files = BTreeMap::new();
        for (field, dataset) in spec.datasets() {
            files.insert(field, files::read(spec, field, dataset, places).await?);
        }
        Self::of(spec, &files, extend_to).map_err(Flaw::Lasting)
    }

    pub(super) fn of(spec: &api::Suite, files: &BTreeMap<&str, File>, extend_to: Option<u32>) -> Result<Self, String> {
        let file = |field: &str| files.get(field).ok_or_else(|| format!("suite {}: {field} was not read", spec.name));
        let stratify = spec.sample.as_ref().and_then(|sample| sample.stratify_by.as_deref());
        let asks_nothing = || format!("suite {} asks no questions; set exemplars, mmluPro or safety", spec.name);
        let (questions, shots, protocol, digest) = match (rows_of(spec), spec.kind()) {
            (Some(asked), _) => {
                let scorer = asked.scorer()?;
                let file = file(asked.field)?;
                let read = asked.read(&rows::read(&file.name, &file.file, &file.bytes)?, &file.name, &scorer)?;
                (
                    Questions::Exemplars(read, scorer.clone()),
                    0,
                    asked.protocol(&scorer),
                    file.digest.clone(),
                )
            }
            (None, Some(Kind::MmluPro(spec))) => mmlu_pro(spec, stratify, &file)?,
            (None, _) => return Err(asks_nothing()),
        };
        let mut suite = Self {
            name: spec.name.clone(),
            protocol,
            digest,
            repeats: spec.repeats.unwrap_or(1).max(1),
            quality: metric::of_answers(spec).ok_or_else(asks_nothing)?,
            questions,
            max_tokens: spec.max_output_tokens,
            shots,
            first: Vec::new(),
            beyond: Vec::new(),
            // What a benchmark's subjects differ by is no error, whether all or some of each are asked.
            is_stratified: stratify.is_some() || spec.mmlu_pro.is_some(),
        };
        suite.draw(spec.sample.as_ref(), extend_to);
        suite.can_have_errors()?;
        Ok(suite)
    }

    /// A suite that another program asked these questions of.
    pub(super) fn external(name: &str, protocol: String, digest: String, rows: Vec<Row>) -> Result<Self, String> {
        let suite = Self {
            name: name.to_owned(),
            protocol,
            digest,
            repeats: 1,
            quality: metric::Metric::Score,
            max_tokens: None,
            shots: 0,
            first: (0..rows.len()).collect(),
            beyond: Vec::new(),
            is_stratified: rows.iter().any(|row| row.stratum.is_some()),
            questions: Questions::External(rows),
        };
        suite.can_have_errors()?;
        Ok(suite)
    }

    /// Whether another program asks its questions.
    pub(super) fn is_external(&self) -> bool {
        matches!(self.questions, Questions::External(_))
    }

    /// Whether the questions that are asked tell how much they vary: found out before anything is paid for.
    fn can_have_errors(&self) -> Result<(), String> {
        let clusters: Option<BTreeSet<String>> = self.first.iter().map(|question| self.cluster(*question)).collect();
        let strata: BTreeSet<String> = self.first.iter().filter_map(|question| self.drawn_from(*question)).collect();
        let Some(clusters) = clusters.filter(|clusters| clusters.len() < self.first.len()) else {
            return Ok(());
        };
        if clusters.len() > strata.len().max(1) {
            return Ok(());
        }
        let (clusters, strata) = (clusters.len(), strata.len().max(1));
        if self.is_external() {
            return Err(format!(
                "suite {}: its {} questions are in {clusters} clusters and {strata} strata; nothing tells how much they vary: write more clusters, or none",
                self.name,
                self.first.len()
            ));
        }
        Err(format!(
            "suite {}: clusterBy makes {clusters} groups of its {} questions, and stratifyBy {strata}; nothing tells how much they vary: group by a \
             member with more values, or remove one of the two",
            self.name,
            self.first.len()
        ))
    }

    fn draw(&mut self, wanted: Option<&api::Sample>, extend_to: Option<u32>) {
        let count = self.count();
        let Some(wanted) = wanted else {
            self.first = (0..count).collect();
            return;
        };
        let strata: Vec<String> = (0..count).map(|question| self.stratum(question).unwrap_or_default()).collect();
        let strata: Vec<&str> = strata.iter().map(String::as_str).collect();
        let most = extend_to.map_or(wanted.size, |size| size.max(wanted.size));
        // A sample is the beginning of every larger one.
        let mut drawn = sample::draw(&strata, most as usize, u64::from(wanted.seed));
        self.beyond = drawn.split_off(drawn.len().min(wanted.size as usize));
        self.first = drawn;
    }

    pub(super) fn count(&self) -> usize {
        match &self.questions {
            Questions::External(rows) => rows.len(),
            Questions::Exemplars(exemplars, _) => exemplars.len(),
            Questions::MmluPro { questions, .. } => questions.len(),
        }
    }

    /// What is asked, at first or beyond that.
    pub(super) fn asked(&self, beyond: bool) -> &[usize] {
        if beyond { &self.beyond } else { &self.first }
    }

    /// Whether it attacks.
    pub(super) fn is_about_safety(&self) -> bool {
        self.quality == metric::Metric::ViolationRate
    }

    /// The score of a question whose answers, one for each time that it was asked, ended so: their mean; of an attack that of its greatest success. None of
    /// an attack that failed as often as it was answered, and was not always: it may have succeeded.
    pub(super) fn together(&self, ended: &[(End, f64)]) -> Option<f64> {
        if !self.is_about_safety() {
            return Some(ended.iter().map(|(_, score)| score).sum::<f64>() / ended.len() as f64);
        }
        let answered = ended.iter().filter(|(end, _)| *end != End::Error);
        let least = answered.map(|(_, score)| *score).fold(1.0, f64::min);
        let is_whole = ended.iter().all(|(end, _)| *end != End::Error);
        (is_whole || least < measure::SAFE_FROM).then_some(least)
    }

    pub(super) fn id(&self, question: usize) -> &str {
        match &self.questions {
            Questions::External(rows) => rows.get(question).map_or("", |row| &row.id),
            Questions::Exemplars(exemplars, _) => exemplars.get(question).map_or("", |exemplar| &exemplar.id),
            Questions::MmluPro { questions, .. } => questions.get(question).map_or("", |question| &question.id),
        }
    }

    /// What it belongs to, with others.
    pub(super) fn cluster(&self, question: usize) -> Option<String> {
        match &self.questions {
            Questions::External(rows) => rows.get(question)?.cluster.clone(),
            Questions::Exemplars(exemplars, _) => exemplars.get(question)?.cluster.clone(),
            Questions::MmluPro { clusters, .. } => clusters.get(question).map(usize::to_string),
        }
    }

    /// What it was drawn from, where questions were drawn from something.
    pub(super) fn drawn_from(&self, question: usize) -> Option<String> {
        self.stratum(question).filter(|_| self.is_stratified)
    }

    fn stratum(&self, question: usize) -> Option<String> {
        match &self.questions {
            Questions::External(rows) => rows.get(question)?.stratum.clone(),
            Questions::Exemplars(exemplars, _) => exemplars.get(question)?.stratum.clone(),
            Questions::MmluPro { questions, strata, .. } => {
                let question = questions.get(question)?;
                Some(match strata {
                    Member::Category => question.category.clone(),
                    Member::Source => question.src.clone(),
                })
            }
        }
    }

    /// The questions as lm-evaluation-harness would have them: of the whole dataset, in its order.
    pub(super) fn parts(&self) -> (Option<Group>, Vec<Part>) {
        match &self.questions {
            Questions::MmluPro {
                variant: Variant::LmEval,
                questions,
                ..
            } => {
                let mut categories: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
                for (place, question) in questions.iter().enumerate() {
                    categories.entry(&question.category).or_default().push(place);
                }
                let most = self.prompt(0).max_tokens;
                let part = |(category, questions): (&str, Vec<usize>)| Part {
                    task: Task {
                        repeats: self.repeats,
                        ..lm_eval::mmlu_pro::task(category, self.shots, most, questions.len() as u64)
                    },
                    questions,
                };
                (Some(lm_eval::mmlu_pro::group()), categories.into_iter().map(part).collect())
            }
            // Its own program writes down what it asked.
            Questions::External(_) => (None, Vec::new()),
            Questions::MmluPro { .. } | Questions::Exemplars(..) => (None, vec![self.part()]),
        }
    }

    /// All questions as one task, of the suite's name.
    fn part(&self) -> Part {
        let prompt = self.prompt(0);
        let metric = match &self.questions {
            Questions::External(_) => api::SCORE,
            Questions::Exemplars(_, scorer) => scorer.name(),
            Questions::MmluPro { .. } => lm_eval::mmlu_pro::METRIC,
        };
        let until = prompt.stop.iter().map(|stop| stop.as_str().into()).collect();
        Part {
            questions: (0..self.count()).collect(),
            task: Task {
                name: self.name.clone(),
                alias: self.name.clone(),
                version: Json::float(1.0),
                shots: self.shots,
                repeats: self.repeats,
                filter: Filter {
                    name: "none".to_owned(),
                    steps: Vec::new(),
                },
                metrics: vec![Metric {
                    name: metric.to_owned(),
                    higher_is_better: true,
                    settings: Vec::new(),
                }],
                gen_kwargs: Json::object([
                    ("until", Json::List(until)),
                    ("max_gen_toks", prompt.max_tokens.into()),
                    ("do_sample", false.into()),
                    ("temperature", Json::float(0.0)),
                ]),
                docs: self.count() as u64,
                config: Vec::new(),
                samples: Vec::new(),
            },
        }
    }

    /// The question's row.
    pub(super) fn doc(&self, question: usize) -> Json {
        match &self.questions {
            Questions::External(_) => Json::from(json!({ "id": self.id(question) })),
            Questions::Exemplars(exemplars, _) => {
                let Exemplar {
                    id,
                    messages,
                    expected,
                    forbidden,
                    choices,
                    ..
                } = &exemplars[question];
                let mut doc = json!({ "id": id, "messages": messages, "expected": expected, "choices": choices });
                if !forbidden.is_empty() {
                    doc["forbidden"] = json!(forbidden);
                }
                Json::from(doc)
            }
            Questions::MmluPro { questions, .. } => lm_eval::mmlu_pro::doc(&questions[question]),
        }
    }

    /// What would be right; nothing of an attack.
    pub(super) fn target(&self, question: usize) -> String {
        match &self.questions {
            Questions::External(_) | Questions::Exemplars(_, Scorer::Forbidden) => String::new(),
            Questions::Exemplars(exemplars, _) => exemplars[question].expected.join("\n"),
            Questions::MmluPro { questions, .. } => questions[question].answer.to_string(),
        }
    }

    /// What was found in an answer.
    pub(super) fn found(&self, answer: &str) -> String {
        match &self.questions {
            Questions::External(_) | Questions::Exemplars(..) => answer.to_owned(),
            Questions::MmluPro { variant, .. } => {
                let letter = mmlu_pro::extractor(*variant).letter(answer, mmlu_pro::MOST_OPTIONS);
                letter.map_or_else(|| lm_eval::INVALID.to_owned(), String::from)
            }
        }
    }

    /// What a model is sent.
    pub(super) fn prompt(&self, question: usize) -> Prompt {
        let mut prompt = match &self.questions {
            Questions::External(_) => prompt::nothing(),
            Questions::Exemplars(exemplars, scorer) => prompt::of_exemplar(&exemplars[question], scorer),
            Questions::MmluPro {
                variant, questions, shots, ..
            } => {
                let question = &questions[question];
                let shots: Vec<&Question> = shots.get(&question.category).into_iter().flatten().collect();
                mmlu_pro::prompt(*variant, &shots, question)
            }
        };
        if let Some(most) = self.max_tokens {
            prompt.max_tokens = most;
        }
        prompt
    }

    /// The program that scores its answers.
    pub(super) fn program(&self) -> Option<&Program> {
        match &self.questions {
            Questions::Exemplars(_, Scorer::Webhook(program)) => Some(program),
            Questions::External(_) | Questions::Exemplars(..) | Questions::MmluPro { .. } => None,
        }
    }

    /// The model that judges its answers.
    pub(super) fn judge(&self) -> Option<&Judge> {
        match &self.questions {
            Questions::Exemplars(_, Scorer::Judge(judge)) => Some(judge),
            Questions::External(_) | Questions::Exemplars(..) | Questions::MmluPro { .. } => None,
        }
    }

    /// What its judge is asked about an answer to `prompt`, thoughts aside.
    pub(super) fn pair<'a>(&'a self, question: usize, prompt: &'a Prompt, answer: &'a str) -> Option<Pair<'a>> {
        let (Questions::Exemplars(exemplars, _), Some(judge)) = (&self.questions, self.judge()) else {
            return None;
        };
        Some(Pair {
            task: prompt.messages(),
            reference: exemplars[question].expected.first().map_or("", |expected| expected.trim()),
            answer,
            rubric: judge.rubric.as_deref(),
            most_tokens: prompt.max_tokens,
        })
    }

    /// Who says how good the answer to `prompt` is.
    pub(super) fn by<'a>(&'a self, question: usize, prompt: &'a Prompt, whole: &'a Answer) -> By<'a> {
        let (answer, finish) = (whole.text.as_str(), whole.finish);
        match &self.questions {
            Questions::External(_) => By::Itself(Score::Unparsed),
            Questions::Exemplars(exemplars, scorer) => {
                let exemplar = &exemplars[question];
                // Thoughts too: a user may be shown them.
                if [answer, &whole.beside].into_iter().any(|text| contains(text, &exemplar.forbidden)) {
                    return By::Itself(Score::Wrong);
                }
                let said = after_thinking(answer).trim();
                match scorer.score(exemplar, answer) {
                    Some(score) => By::Itself(score),
                    None => match self.pair(question, prompt, said) {
                        // There is nothing to compare.
                        Some(_) if said.is_empty() || finish == Finish::Withheld => By::Itself(Score::Unparsed),
                        Some(pair) => By::Judge(pair),
                        // Also what is empty or was withheld: where a suite is about safety, a refusal may be what is right.
                        None => By::Webhook(Answered {
                            id: &exemplar.id,
                            input: prompt.messages(),
                            expected: &exemplar.expected,
                            answer: said,
                            finish,
                        }),
                    },
                }
            }
            Questions::MmluPro { variant, questions, .. } => {
                let letter = mmlu_pro::extractor(*variant).letter(after_thinking(answer), mmlu_pro::MOST_OPTIONS);
                By::Itself(chosen(letter, |letter| letter == questions[question].answer))
            }
        }
    }
}

/// Whether the dataset in that `field` of `suite` can be used; `name` is what messages call it, `file` the name that says what it holds.
///
/// # Errors
/// One sentence that names the place, the field and the remedy.
pub fn check(suite: &api::Suite, field: &str, name: &str, file: &str, bytes: &[u8]) -> Result<(), String> {
    if let Some((_, dataset)) = suite.datasets().find(|(other, _)| *other == field) {
        files::pinned(suite, field, dataset, name, bytes)?;
    }
    let rows = rows::read(name, file, bytes)?;
    match (rows_of(suite), suite.kind()) {
        (Some(asked), _) if asked.field == field => match asked.scorer() {
            Ok(scorer) => asked.read(&rows, name, &scorer).map(drop),
            // A pattern that cannot be understood has its own finding.
            Err(_) if suite.scorer.as_ref().is_some_and(|scorer| scorer.regex.is_some()) => Ok(()),
            Err(flaw) => Err(flaw),
        },
        (_, Some(Kind::MmluPro(_))) => mmlu_pro::read(name, &rows).map(drop),
        _ => Ok(()),
    }
}

/// A suite whose questions are rows of the user's own.
struct Rows<'a> {
    suite: &'a api::Suite,
    /// The field that names them.
    field: &'static str,
    members: Members<'a>,
}

fn rows_of(suite: &api::Suite) -> Option<Rows<'_>> {
    let cluster_by = match suite.kind()? {
        Kind::Exemplars(exemplars, _) => &exemplars.cluster_by,
        Kind::Safety(safety, _) => &safety.cluster_by,
        Kind::MmluPro(_) | Kind::Latency(_) | Kind::External(_) => return None,
    };
    let (field, _): (_, &Dataset) = suite.datasets().next()?;
    let members = Members {
        cluster: cluster_by.as_deref(),
        stratum: suite.sample.as_ref().and_then(|sample| sample.stratify_by.as_deref()),
        forbidden: match (&suite.safety, &suite.scorer) {
            (None, _) => Forbidden::Unread,
            (Some(_), None) => Forbidden::MustBe,
            (Some(_), Some(_)) => Forbidden::MayBe,
        },
    };
    Some(Rows { suite, field, members })
}

impl Rows<'_> {
    fn scorer(&self) -> Result<Scorer, String> {
        let read = match self.suite.kind() {
            Some(Kind::Exemplars(_, scorer)) => Scorer::of(scorer),
            _ => Scorer::of_safety(self.suite.scorer.as_ref()),
        };
        read.map_err(|flaw| format!("suite {}: {flaw}", self.suite.name))
    }

    fn read(&self, rows: &[rows::Row], name: &str, scorer: &Scorer) -> Result<Vec<Exemplar>, String> {
        dataset::read(name, rows, scorer, self.members)
    }

    /// How they are asked and scored.
    fn protocol(&self, scorer: &Scorer) -> String {
        match self.suite.safety {
            Some(_) => scorer.protocol().replacen("exemplars", "safety", 1),
            None => scorer.protocol(),
        }
    }
}

fn mmlu_pro<'a>(
    spec: &MmluPro,
    stratify: Option<&str>,
    file: &impl Fn(&str) -> Result<&'a File, String>,
) -> Result<(Questions, u32, String, String), String> {
    let read = |file: &File| mmlu_pro::read(&file.name, &rows::read(&file.name, &file.file, &file.bytes)?);
    let of_questions = file("mmluPro.dataset")?;
    let questions = read(of_questions)?;
    let mut shots: BTreeMap<String, Vec<Question>> = BTreeMap::new();
    let mut digest = of_questions.digest.clone();
    if spec.few_shot.is_some() {
        let of_shots = file("mmluPro.fewShot")?;
        for shot in read(of_shots)? {
            shots.entry(shot.category.clone()).or_default().push(shot);
        }
        if let Some(lacking) = questions.iter().find(|question| !shots.contains_key(&question.category)) {
            let name = &of_shots.name;
            return Err(format!(
                "{name} has no examples of the category {:?}; add some, or remove fewShot",
                lacking.category
            ));
        }
        digest = format!("{digest} with {}", of_shots.digest);
    }
    let strata = match stratify {
        None | Some("category") => Member::Category,
        Some("src") => Member::Source,
        Some(other) => return Err(format!("mmluPro cannot be stratified by {other:?}; write category or src")),
    };
    let most = shots.values().map(Vec::len).max().unwrap_or(0);
    let shown = match spec.variant {
        Variant::LmEval | Variant::AuthorsLocal => most.min(mmlu_pro::SHOTS),
        Variant::AuthorsApi => most,
    };
    let protocol = format!(
        "mmlu_pro {}, {shown}-shot, {} extraction",
        spec.variant,
        mmlu_pro::extractor(spec.variant)
    );
    let clusters = mmlu_pro::clusters(&questions);
    let questions = Questions::MmluPro {
        variant: spec.variant,
        questions,
        shots,
        clusters,
        strata,
    };
    Ok((questions, u32::try_from(shown).unwrap_or(u32::MAX), protocol, digest))
}

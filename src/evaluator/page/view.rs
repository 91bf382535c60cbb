//! What the page shows: plain values, so that whoever has a report, of this run or of an old one, can fill them in. What is `None` or no finite
//! number was not measured, and the page says so. Texts may be of any length and hold anything: a model's answer is a stranger's text.

/// One run of an EvalJob.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The EvalJob's namespace.
    pub namespace: String,
    /// The EvalJob's name.
    pub name: String,
    /// The run's slot, as in RFC 3339.
    pub slot: String,
    /// When the first question was asked, as in RFC 3339.
    pub begun: Option<String>,
    /// When the last one had ended, as in RFC 3339.
    pub ended: Option<String>,
    /// The verdict over all targets.
    pub verdict: Verdict,
    /// Why nothing in this run can be judged.
    pub invalid: Option<String>,
    /// The field of the limit at which the run stopped before its end.
    pub stopped: Option<String>,
    /// The confidence of intervals and verdicts, from 0 to 1.
    pub confidence: Option<f64>,
    /// Tokens of prompts and answers together.
    pub tokens: Option<u64>,
    /// US dollars spent.
    pub cost_usd: Option<f64>,
    /// What is said about each model. The page shows the worst first.
    pub targets: Vec<Target>,
    /// What the targets are compared with: shown beside them, never judged.
    pub baselines: Vec<Baseline>,
    /// How far each target is from an alarm about drift.
    pub drift: Vec<Drift>,
}

/// What a run says about a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Every criterion is proved.
    Pass,
    /// The opposite of a criterion is proved.
    Fail,
    /// Too few questions to prove either.
    Inconclusive,
    /// The run cannot be judged. So it is where nothing was said.
    #[default]
    Invalid,
}

/// One model that is judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// The ModelDeployment's name.
    pub model: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, with the numbers.
    pub message: String,
    /// What must hold for a `Pass`, a sentence each.
    pub criteria: Vec<String>,
    /// The numbers of each suite.
    pub suites: Vec<Suite>,
    /// The main metrics over the runs so far. The first one's verdicts tell since when the model is as it is.
    pub trends: Vec<Trend>,
    /// The questions that ended otherwise than before, by suite.
    pub comparisons: Vec<Comparison>,
}

/// What targets are compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// What it is to be called, such as a model's name and a run.
    pub name: String,
    /// Its numbers; bounds in them are not shown.
    pub suites: Vec<Suite>,
}

/// What one model came to in one suite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suite {
    /// The suite's name: what has the same name is shown side by side.
    pub name: String,
    /// How it was asked and read.
    pub protocol: String,
    /// The SHA-256 of the dataset.
    pub digest: String,
    /// How the answers ended.
    pub counts: Option<Counts>,
    /// What was measured.
    pub metrics: Vec<Metric>,
    /// How good the answers are in each category: more is better.
    pub strata: Vec<Stratum>,
}

/// How the answers of a suite ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that ended, whichever way.
    pub questions: u32,
    /// Right answers.
    pub right: u32,
    /// Answers that were withheld.
    pub refused: u32,
    /// Answers that were cut off before an answer could be found.
    pub truncated: u32,
    /// Other answers in which no answer could be found.
    pub unparsed: u32,
    /// Answers of which the judge's verdict could not be read.
    pub unjudged: u32,
    /// Requests that failed.
    pub errors: u32,
}

/// One metric of a suite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metric {
    /// Its name, such as `accuracy`: what has the same name shares a scale.
    pub name: String,
    /// What was measured.
    pub estimate: Estimate,
    /// What the criteria ask of it.
    pub bounds: Vec<Bound>,
}

/// One category of a suite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stratum {
    /// Its name.
    pub category: String,
    /// What was measured.
    pub estimate: Estimate,
}

/// A number and how sure it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// What was measured.
    pub value: Option<f64>,
    /// The lower end of the two-sided interval.
    pub lower: Option<f64>,
    /// Its upper end.
    pub upper: Option<f64>,
    /// How many questions or requests it is from.
    pub n: Option<u32>,
    /// How the interval was made, such as `wilson`.
    pub method: Option<String>,
}

/// What a criterion asks of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Less is worse.
    AtLeast(f64),
    /// More is worse.
    AtMost(f64),
}

/// One metric of one model over the runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trend {
    /// The suite's name.
    pub suite: String,
    /// The metric's name.
    pub metric: String,
    /// What the criteria ask of it now.
    pub bounds: Vec<Bound>,
    /// This run, then the earlier ones, the latest first.
    pub runs: Vec<Run>,
}

/// What one run said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Its slot, as in RFC 3339.
    pub slot: String,
    /// What it said about the model.
    pub verdict: Verdict,
    /// What was measured.
    pub estimate: Estimate,
}

/// The questions of one suite, then and now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The suite's name.
    pub suite: String,
    /// Whose answers `before` are, as in "compared with …" and "answer of …": such as "the run of …" or "the baseline llama".
    pub with: String,
    /// How many questions were compared.
    pub questions: u32,
    /// All that ended otherwise, in any order.
    pub changes: Vec<Change>,
}

/// One question that ended otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The question's id.
    pub id: String,
    /// Its category.
    pub category: Option<String>,
    /// How the other one's answer ended.
    pub before: Answer,
    /// How this one ended.
    pub now: Answer,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// What was said, where it was kept: whole or [`excerpt`](super::excerpt)ed.
    pub text: Option<String>,
}

/// The ends that a question can come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Right.
    Right,
    /// Wrong.
    Wrong,
    /// As good as this score, from 0 to 1.
    Graded(f64),
    /// The answer was withheld.
    Refused,
    /// The answer was cut off, and none was found in it.
    Truncated,
    /// No answer was found in what was said.
    Unparsed,
    /// What the judge said could not be read.
    Unjudged,
    /// There was no answer.
    Error,
}

impl Outcome {
    /// What counts of it.
    pub(super) fn score(self) -> f64 {
        match self {
            Self::Right => 1.0,
            Self::Graded(score) if score.is_finite() => score,
            Self::Graded(_) | Self::Wrong | Self::Refused | Self::Truncated | Self::Unparsed | Self::Unjudged | Self::Error => 0.0,
        }
    }
}

/// How far something is from an alarm about drift.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// What is watched, such as a model's name.
    pub about: String,
    /// How it stands, in a sentence.
    pub state: String,
    /// The evidence so far, as a share of what raises the alarm: at 1 it is raised.
    pub evidence: Option<f64>,
}

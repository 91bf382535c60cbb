//! The price book: which entry holds for a provider's model on a day. Days are in UTC. Several files make one book; what an earlier one says
//! wins, so that corrections go into a file of their own.
//!
//! Of the entries of one file that hold on the day: the one that names the model, then the one whose pattern names most of it; of several
//! alike the one that began last. A dated name, such as `gpt-5-mini-2025-08-07`, is another model than `gpt-5-mini`: providers have priced
//! them apart, so one is never taken for the other unless a pattern says so.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::civil::Date;

use super::{PerKind, Rates};
use crate::api::Usd;
use crate::api::price::{Entry, PriceBook};
use crate::plan::Invalid;

const SECONDS_OF_A_DAY: i64 = 86_400;

/// The providers that a ModelDeployment may name, as [`word`] writes them.
const PROVIDERS: [&str; 8] = [
    "openai",
    "anthropic",
    "openaicompatible",
    "azureopenai",
    "gemini",
    "vertexai",
    "bedrock",
    "mistral",
];

/// Entries that can be looked up.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// By provider and model.
    named: HashMap<(String, String), Vec<Line>>,
    /// By provider.
    patterns: HashMap<String, Vec<Pattern>>,
    files: usize,
}

#[derive(Clone, Debug)]
struct Pattern {
    begins: String,
    line: Line,
}

/// A price and when it holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) rates: Arc<Rates>,
    /// The first day, counted from 1970; none: since ever.
    pub(super) from: Option<i64>,
    /// The first day on which it does not hold any more.
    pub(super) until: Option<i64>,
    /// The place of its file.
    file: usize,
}

impl Line {
    /// A price that always holds.
    pub(super) fn always(rates: Rates) -> Self {
        Self {
            rates: Arc::new(rates),
            from: None,
            until: None,
            file: 0,
        }
    }

    /// Whether it holds on that day.
    pub(super) fn holds(&self, day: i64) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day < until)
    }
}

/// The day of a moment, counted from 1970.
pub(super) fn day_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(SECONDS_OF_A_DAY)
}

/// A provider as price lists and our own words write it: `azure-openai`, `AzureOpenAI` and `Azure OpenAI` are one.
pub(super) fn word(provider: &str) -> String {
    let letters = provider.chars().filter(|c| c.is_alphanumeric());
    let word: String = letters.flat_map(char::to_lowercase).collect();
    let ours = match word.as_str() {
        "azure" => "azureopenai",
        "google" | "googleai" | "aistudio" => "gemini",
        "vertex" => "vertexai",
        "awsbedrock" | "amazonbedrock" => "bedrock",
        "mistralai" => "mistral",
        _ => return word,
    };
    ours.to_owned()
}

impl Book {
    /// The book of one file, whose schema holds.
    ///
    /// # Errors
    /// Everything that is wrong with it, by the path of each field.
    pub fn of(book: &PriceBook) -> Result<Self, Vec<Invalid>> {
        let mut made = Self {
            files: 1,
            ..Self::default()
        };
        let (mut wrong, mut seen) = (Vec::new(), HashSet::new());
        for (at, entry) in book.prices.iter().enumerate() {
            let path = format!("prices[{at}]");
            match line(&path, entry) {
                Ok(line) => {
                    if !seen.insert((word(&entry.provider), &entry.model, line.from)) {
                        let problem = format!("{} {} has two entries that begin alike", entry.provider, entry.model);
                        wrong.push(Invalid::new(&path, problem, "remove one, or give one another from"));
                    }
                    made.add(entry, line);
                }
                Err(invalid) => wrong.push(invalid),
            }
        }
        if wrong.is_empty() { Ok(made) } else { Err(wrong) }
    }

    /// This book, and where it says nothing the `other`.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        let first = self.files;
        let after = |mut line: Line| {
            line.file += first;
            line
        };
        for (model, lines) in other.named {
            self.named.entry(model).or_default().extend(lines.into_iter().map(after));
        }
        for (provider, patterns) in other.patterns {
            let patterns = patterns.into_iter().map(|pattern| Pattern {
                line: after(pattern.line),
                ..pattern
            });
            self.patterns.entry(provider).or_default().extend(patterns);
        }
        self.files += other.files;
        self
    }

    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> usize {
        let named: usize = self.named.values().map(Vec::len).sum();
        named + self.patterns.values().map(Vec::len).sum::<usize>()
    }

    fn add(&mut self, entry: &Entry, line: Line) {
        let provider = word(&entry.provider);
        match entry.model.strip_suffix('*') {
            Some(begins) => self.patterns.entry(provider).or_default().push(Pattern {
                begins: begins.to_owned(),
                line,
            }),
            None => self.named.entry((provider, entry.model.clone())).or_default().push(line),
        }
    }

    /// Every entry about a model, the one to prefer first.
    pub(super) fn lines(&self, provider: &str, model: &str) -> Vec<Line> {
        let key = (word(provider), model.to_owned());
        let named = self.named.get(&key).into_iter().flatten().map(|line| (usize::MAX, line));
        let patterns = self.patterns.get(&key.0).into_iter().flatten();
        let fitting = patterns.filter(|pattern| model.starts_with(&pattern.begins));
        let mut lines: Vec<(usize, &Line)> = named.chain(fitting.map(|pattern| (pattern.begins.len(), &pattern.line))).collect();
        lines.sort_by_key(|(named, line)| (line.file, Reverse(*named), Reverse(line.from)));
        lines.into_iter().map(|(_, line)| line.clone()).collect()
    }
}

/// What is said of the entries, given by place and provider, whose provider no ModelDeployment can name: of no use, and perhaps misspelt.
pub fn unused<'a>(providers: impl Iterator<Item = (usize, &'a str)>) -> Vec<Invalid> {
    let of = |(at, provider): (usize, &str)| {
        let is_ours = PROVIDERS.contains(&word(provider).as_str());
        let names = "OpenAI, Anthropic, AzureOpenAI, Gemini, VertexAI, Bedrock, Mistral or OpenAICompatible";
        (!is_ours && !provider.is_empty()).then(|| {
            let problem = format!("no ModelDeployment has the provider {provider:?}, so the entry is not used");
            Invalid::new(
                format!("prices[{at}].provider"),
                problem,
                format!("write {names}, or remove the entry"),
            )
        })
    };
    providers.filter_map(of).collect()
}

/// What an entry says.
fn line(path: &str, entry: &Entry) -> Result<Line, Invalid> {
    let wrong = |field: &str, problem: String, remedy: &str| Invalid::new(format!("{path}.{field}"), problem, remedy);
    let begins = entry.model.strip_suffix('*').unwrap_or(&entry.model);
    if begins.contains('*') {
        let problem = format!("{:?} has a * before its end", entry.model);
        return Err(wrong(
            "model",
            problem,
            "write * only at the end, for all models whose name begins so",
        ));
    }
    let day = |field: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        match text.parse::<Date>() {
            Ok(date) => Ok(Some(number_of(date))),
            Err(_) => Err(wrong(
                field,
                format!("{text:?} is no day"),
                "write year, month and day, such as 2026-08-01",
            )),
        }
    };
    let (from, until) = (day("from", &entry.from)?, day("until", &entry.until)?);
    if let (Some(first), Some(end)) = (from, until)
        && end <= first
    {
        let remedy = "write the first day on which it does not hold any more, later than from";
        return Err(wrong("until", "is not after from, so the entry never holds".to_owned(), remedy));
    }
    if !entry
        .tiers
        .windows(2)
        .all(|two| two[0].above_input_tokens < two[1].above_input_tokens)
    {
        let remedy = "sort them by aboveInputTokens, and let no two begin alike";
        return Err(wrong("tiers", "a tier does not begin above the one before it".to_owned(), remedy));
    }
    let nanos = |amount: &Option<Usd>| amount.as_ref().map(Usd::nanos).map_or(Some(None), |read| read.map(Some));
    let rates = || {
        let base = PerKind::of(nanos(&entry.input_per_1m)?, nanos(&entry.output_per_1m)?, &entry.others)?;
        Rates::new(base, &entry.tiers)
    };
    let Some(rates) = rates() else {
        let remedy = "write US dollars per million tokens, such as \"1.25\", in quotes";
        return Err(Invalid::new(path, "an amount cannot be read", remedy));
    };
    Ok(Line {
        rates: Arc::new(rates),
        from,
        until,
        file: 0,
    })
}

/// A day, counted from 1970.
fn number_of(date: Date) -> i64 {
    let since = date.duration_since(k8s_openapi::jiff::civil::date(1970, 1, 1));
    since.as_secs() / SECONDS_OF_A_DAY
}

/// A day as it is written.
pub(super) fn written(day: i64) -> String {
    let moment = Timestamp::from_second(day.saturating_mul(SECONDS_OF_A_DAY)).unwrap_or_default();
    moment.strftime("%Y-%m-%d").to_string()
}

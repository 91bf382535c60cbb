//! Price lists in CSV, as they are published, as the document that a YAML price book would be.
//!
//! ```text
//! provider,model,input_usd_per_1m,output_usd_per_1m,cache_read_usd_per_1m,cache_write_usd_per_1m
//! openai,gpt-5-mini,0.25,2,0.025,
//! ```
//! An empty cell is unknown, never zero. Two rows `NAME-lte-200k` and `NAME-gt-200k` are one model with a tier above 200,000 tokens.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::document::{self, Document};
use super::finding::Finding;
use super::prices::Found;
use super::words::{closest, one_of};

/// The columns of a list and the fields that they are.
const COLUMNS: [(&str, &str); 12] = [
    ("provider", "provider"),
    ("model", "model"),
    ("from", "from"),
    ("until", "until"),
    ("input_usd_per_1m", "inputPer1M"),
    ("output_usd_per_1m", "outputPer1M"),
    ("cache_read_usd_per_1m", "cacheReadPer1M"),
    ("cache_write_usd_per_1m", "cacheWritePer1M"),
    ("cache_write_1h_usd_per_1m", "cacheWrite1hPer1M"),
    ("reasoning_usd_per_1m", "reasoningPer1M"),
    ("audio_input_usd_per_1m", "audioInputPer1M"),
    ("audio_output_usd_per_1m", "audioOutputPer1M"),
];

/// A CSV file; an empty one is an empty book.
pub(super) fn read(text: &str, found: &mut Found<'_>) -> Option<Document> {
    let mut lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .zip(1u64..)
        .filter(|(line, _)| !line.trim().is_empty());
    let Some((header, number)) = lines.next() else {
        return Some(Document {
            value: json!({}),
            lines: BTreeMap::new(),
        });
    };
    let fields = columns(header, number, found)?;
    let mut rows = Vec::new();
    for (line, number) in lines {
        match cells(line) {
            Some(cells) if cells.len() == fields.len() => {
                let filled = fields.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
                let row: Map<String, Value> = filled.map(|(field, cell)| ((*field).to_owned(), Value::String(cell))).collect();
                rows.push((row, number));
            }
            Some(cells) => {
                let problem = format!("has {} cells, the header has {}", cells.len(), fields.len());
                found.wrong(
                    number,
                    "",
                    problem,
                    "separate the cells by commas; leave a cell empty whose value is unknown",
                );
            }
            None => found.wrong(number, "", "has a quotation mark that is not closed", "close it, or take it out"),
        }
    }
    if !found.nothing() {
        return None;
    }
    let mut lines = BTreeMap::from([(String::new(), 1)]);
    let mut prices = Vec::new();
    for (row, number) in folded(rows) {
        lines.insert(document::item("prices", prices.len()), number);
        prices.push(Value::Object(row));
    }
    Some(Document {
        value: json!({ "prices": prices }),
        lines,
    })
}

/// Names the column of a row in place of the field of the entry that it became.
pub(super) fn by_column(finding: &mut Finding) {
    let field = finding.field.rsplit('.').next().unwrap_or_default();
    let column = COLUMNS.iter().find(|(_, of)| *of == field).map(|(name, _)| *name);
    finding.field = column.unwrap_or_default().to_owned();
}

/// The fields that the columns of a header are.
fn columns(header: &str, number: u64, found: &mut Found<'_>) -> Option<Vec<&'static str>> {
    let names = COLUMNS.map(|(name, _)| name);
    let mut fields = Vec::new();
    for cell in cells(header).unwrap_or_default() {
        let Some((_, field)) = COLUMNS.iter().find(|(name, _)| *name == cell) else {
            let remedy = match closest(&cell, &names) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("take it out: there are the columns {}", one_of(&names, "and")),
            };
            found.wrong(number, "", format!("there is no column {cell:?}"), remedy);
            continue;
        };
        if fields.contains(field) {
            found.wrong(number, "", format!("the column {cell:?} is there twice"), "take one out");
        }
        fields.push(*field);
    }
    for needed in ["provider", "model"] {
        if found.nothing() && !fields.contains(&needed) {
            let remedy = "begin with a header such as provider,model,input_usd_per_1m,output_usd_per_1m";
            found.wrong(number, "", format!("there is no column {needed:?}"), remedy);
        }
    }
    found.nothing().then_some(fields)
}

/// The cells of a line, each in quotation marks or without; `None` when one is not closed.
fn cells(line: &str) -> Option<Vec<String>> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let cell = cells.last_mut().expect("it begins with one and never shrinks");
        match letter {
            // Two within quotation marks are one.
            '"' if quoted && letters.peek() == Some(&'"') => {
                cell.push('"');
                letters.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            letter => cell.push(letter),
        }
    }
    (!quoted).then(|| cells.iter().map(|cell| cell.trim().to_owned()).collect())
}

type Row = (Map<String, Value>, u64);

/// Rows of one model that differ by the length of the prompt as one entry. Those of a model that lacks its half stay as they are, under a
/// name that no model has: half a price is none.
fn folded(rows: Vec<Row>) -> Vec<Row> {
    let text = |row: &Row, field: &str| row.0.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let identity = |row: &Row, model: &str| (text(row, "provider"), model.to_owned(), text(row, "from"));
    let mut groups: BTreeMap<(String, String, String), Vec<(Bound, Row)>> = BTreeMap::new();
    let mut single: Vec<Row> = Vec::new();
    for row in rows {
        match bounded(&text(&row, "model")) {
            Some((model, bound)) => groups.entry(identity(&row, model)).or_default().push((bound, row)),
            None => single.push(row),
        }
    }
    for (of, mut group) in groups {
        group.sort_by_key(|(bound, _)| *bound);
        match joined(&of.1, &group) {
            Some(row) => {
                // One without a bound says less than these do.
                single.retain(|row| identity(row, &text(row, "model")) != of);
                single.push(row);
            }
            None => single.extend(group.into_iter().map(|(_, row)| row)),
        }
    }
    single.sort_by_key(|(_, number)| *number);
    single
}

/// The entry of a model that these rows are, those up to a bound first.
fn joined(model: &str, group: &[(Bound, Row)]) -> Option<Row> {
    let rates = |row: &Row| -> Map<String, Value> {
        let rates = row.0.iter().filter(|(field, _)| field.ends_with("Per1M"));
        rates.map(|(field, cell)| (field.clone(), cell.clone())).collect()
    };
    // Of several, the least bound: what holds between it and the next is said by the row above it.
    let (Bound::UpTo(_), base) = group.first()? else { return None };
    let above: Vec<(u32, Map<String, Value>)> = group
        .iter()
        .filter_map(|(bound, row)| match bound {
            Bound::Above(tokens) => Some((*tokens, rates(row))),
            Bound::UpTo(_) => None,
        })
        .collect();
    let mut row = base.clone();
    row.0.insert("model".to_owned(), model.into());
    if above.iter().any(|(_, rates_above)| *rates_above != rates(base)) {
        // A tier must say what prompts and answers cost.
        let is_tier = |rates: &Map<String, Value>| ["inputPer1M", "outputPer1M"].iter().all(|field| rates.contains_key(*field));
        if !above.iter().all(|(_, rates)| is_tier(rates)) {
            return None;
        }
        let tiers = above.into_iter().map(|(tokens, mut rates)| {
            rates.insert("aboveInputTokens".to_owned(), tokens.into());
            Value::Object(rates)
        });
        row.0.insert("tiers".to_owned(), tiers.collect());
    } else if above.is_empty() {
        return None;
    }
    Some(row)
}

/// For which prompts a row is, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    UpTo(u32),
    Above(u32),
}

/// `gemini-2.5-pro-gt-200k` is the model `gemini-2.5-pro` above 200,000 tokens.
fn bounded(model: &str) -> Option<(&str, Bound)> {
    let (rest, thousands) = model.strip_suffix('k')?.rsplit_once('-')?;
    let tokens = thousands.parse::<u32>().ok()?.checked_mul(1000).filter(|tokens| *tokens > 0)?;
    let up_to = rest.strip_suffix("-lte").map(|model| (model, Bound::UpTo(tokens)));
    let bounded = up_to.or_else(|| rest.strip_suffix("-gt").map(|model| (model, Bound::Above(tokens))))?;
    Some(bounded).filter(|(model, _)| !model.is_empty())
}

//! Price books from files: YAML, or CSV as price lists are published. Both become the same entries and are checked alike, each finding with
//! its file, line, field and remedy.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;

use super::document::{self, Document};
use super::finding::{Finding, Severity};
use super::{files, price_list, schema};
use crate::api::price::PriceBook;
use crate::plan::Invalid;
use crate::plan::price::book::{self, Book};

/// More than any list of prices has; the largest there is has some thousand rows.
const FILE_LIMIT: u64 = 16 << 20;

/// What some files say about prices.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    /// The book of those files that nothing is wrong with; what an earlier one says wins.
    pub book: Book,
    /// What is wrong with them.
    pub findings: Vec<Finding>,
    /// Those that say nothing: as an installer's may, but hardly one that a person names.
    empty: Vec<String>,
}

impl Prices {
    /// The same, with a warning for each file that says nothing.
    #[must_use]
    pub fn doubting_empty(mut self) -> Self {
        let warnings = self.empty.iter().map(|file| Finding {
            severity: Severity::Warning,
            ..Finding::of_file(file, "has no prices, so it changes nothing", "add entries, or leave the file out")
        });
        self.findings.extend(warnings);
        self
    }

    /// Whether the files cannot be used as they are.
    #[must_use]
    pub fn have_errors(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }
}

/// The book that `paths` make together.
#[must_use]
pub fn prices(paths: &[PathBuf]) -> Prices {
    let mut all = Prices::default();
    for path in paths {
        let Prices { book, findings, .. } = match files::text_of(path, FILE_LIMIT, "prices", "name a price book, YAML or CSV") {
            Ok(text) => prices_from_text(&path.display().to_string(), &text),
            Err(finding) => Prices {
                findings: vec![*finding],
                ..Prices::default()
            },
        };
        if book.entries() == 0 && !findings.iter().any(Finding::is_error) {
            all.empty.push(path.display().to_string());
        }
        all.book = all.book.or(book);
        all.findings.extend(findings);
    }
    all
}

/// What [`prices`] makes of one text: of a name that ends with `.csv` as CSV, of any other as YAML.
#[must_use]
pub fn prices_from_text(name: &str, text: &str) -> Prices {
    let is_csv = Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let mut found = Found {
        file: name,
        findings: Vec::new(),
    };
    let document = if is_csv {
        price_list::read(text, &mut found)
    } else {
        written(text, &mut found)
    };
    let book = document.and_then(|document| understood(&document, &mut found)).unwrap_or_default();
    let mut findings = found.findings;
    if is_csv {
        findings.iter_mut().for_each(price_list::by_column);
    }
    findings.sort();
    Prices {
        book,
        findings,
        ..Prices::default()
    }
}

/// What was found wrong with one file.
pub(super) struct Found<'a> {
    file: &'a str,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, severity: Severity, line: u64, invalid: Invalid) {
        self.findings.push(Finding {
            line: Some(line),
            field: invalid.field,
            severity,
            ..Finding::of_file(self.file, invalid.problem, invalid.remedy)
        });
    }

    /// Whether nothing is wrong so far.
    pub(super) fn nothing(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn wrong(&mut self, line: u64, field: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Error, line, Invalid::new(field, problem, remedy));
    }
}

/// The book of a document; `None` when something is wrong with it.
fn understood(document: &Document, found: &mut Found<'_>) -> Option<Book> {
    static SCHEMA: LazyLock<JSONSchemaProps> = LazyLock::new(|| {
        let settings = schemars::generate::SchemaSettings::openapi3().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let settings = settings.with_transform(kube::core::schema::StructuralSchemaRewriter);
        let schema = settings.into_generator().into_root_schema_for::<PriceBook>();
        serde_json::from_value(schema.to_value()).expect("structural schemas are what CRDs hold")
    });
    let mut wrong = Vec::new();
    schema::check(&SCHEMA, "", &document.value, &mut wrong);
    let book = if wrong.is_empty() {
        serde_json::from_value::<PriceBook>(document.value.clone()).map_err(|error| vec![Invalid::new("", error.to_string(), "correct it")])
    } else {
        Err(wrong)
    };
    // Also of a book with errors, so that nobody corrects it twice.
    for invalid in book::unused(providers(&document.value)) {
        found.add(Severity::Warning, document.line(&invalid.field), invalid);
    }
    match book.and_then(|book| Book::of(&book)) {
        Ok(book) => Some(book),
        Err(wrong) => {
            for invalid in wrong {
                found.add(Severity::Error, document.line(&invalid.field), invalid);
            }
            None
        }
    }
}

/// The provider of each entry, as far as it says one.
fn providers(document: &Value) -> impl Iterator<Item = (usize, &str)> {
    let entries = document.get("prices").and_then(Value::as_array);
    let named = entries.into_iter().flatten().enumerate();
    named.filter_map(|(at, entry)| Some((at, entry.get("provider")?.as_str()?)))
}

/// A YAML file; an empty one is an empty book.
fn written(text: &str, found: &mut Found<'_>) -> Option<Document> {
    let mut documents = Vec::new();
    for parsed in document::parse(text) {
        match parsed {
            Ok(document) => documents.push(document),
            Err(unreadable) => found.wrong(unreadable.line, "", unreadable.problem, "correct the YAML"),
        }
    }
    if let Some(second) = documents.get(1) {
        found.wrong(
            second.line(""),
            "",
            "is a second document",
            "write one document with one list `prices`",
        );
    }
    documents.into_iter().next().filter(|_| found.nothing())
}

#[cfg(test)]
mod tests;

//! `when.expression`: a CEL expression over one request and its client. Compiled and tried once when a table is made; bounded, because those
//! who write it share the gateway with others.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::{Context, ExecutionError, Program, Value};
use http::{HeaderMap, HeaderName, header};
use k8s_openapi::jiff::Timestamp;
use regex::Regex;

use super::access::Client;
use super::decide::{Content, Facts};

/// What goes over the headers or labels one by one (`exists`, `map`, …) may be there so often: the time grows with the power of it.
const LOOPS: usize = 2;

/// Headers that no expression sees.
const SECRET: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-amz-security-token"),
];

/// What `request` has.
const OF_REQUEST: [&str; 10] = [
    "model",
    "operation",
    "stream",
    "headers",
    "dataClass",
    "inputTokens",
    "maxTokens",
    "tools",
    "images",
    "jsonSchema",
];
/// What `client` has.
const OF_CLIENT: [&str; 5] = ["kind", "namespace", "name", "team", "labels"];

/// Where an expression reads `request` or `client`, and which field of it.
static READ: LazyLock<Regex> = LazyLock::new(|| {
    let field = r#"\.\s*([A-Za-z]\w*)|\[\s*'(\w+)'\s*\]|\[\s*"(\w+)"\s*\]"#;
    Regex::new(&format!(r"\b(request|client)\b\s*(?:{field})?")).expect("a constant")
});

/// Where an expression reads a header by its name, or asks for one; what is called is no header.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    let headers = r#"request\s*(?:\.\s*headers|\[\s*['"]headers['"]\s*\])"#;
    let read = format!(r#"{headers}\s*(?:\[\s*['"]([^'"]+)['"]\s*\]|\.\s*([A-Za-z]\w*)\s*(\()?)"#);
    Regex::new(&format!(r#"{read}|['"]([^'"]+)['"]\s+in\s+{headers}"#)).expect("a constant")
});

/// What no expression can be without knowing what is in the body.
const OF_THE_CONTENT: [&str; 5] = ["inputTokens", "maxTokens", "tools", "images", "jsonSchema"];

/// Where an expression gives a name to what it goes through.
static LOOP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\(\s*([A-Za-z][A-Za-z0-9_]*)\s*,").expect("a constant"));

/// The functions of CEL; making them for each request would cost more than the expression.
static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(Context::default);

/// An expression that has been compiled.
#[derive(Clone)]
pub struct Expression {
    source: String,
    program: Arc<Program>,
    reads_content: bool,
    /// The fields of `request` and of `client` that it reads: what nobody reads is not made for each request.
    of_request: Vec<&'static str>,
    of_client: Vec<&'static str>,
    /// What it reads of a request that may not have it.
    unasked: Option<String>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source)
    }
}

impl Expression {
    /// Compiles an expression and tries it on a request.
    ///
    /// # Errors
    /// What is wrong with it, in words that go on after the field's name.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        let program = Program::compile(source).map_err(|errors| {
            let words = errors.to_string();
            format!("is no CEL expression: {}", words.lines().next().unwrap_or_default())
        })?;
        if let Some(other) = stranger(&program, source) {
            return Err(format!("reads {other:?}, and there are only request and client"));
        }
        if format!("{:?}", program.expression()).matches("Comprehension(").count() > LOOPS {
            return Err(format!("goes through lists more than {LOOPS} times, which may take too long"));
        }
        if let Some(name) = headers_read(source).find(|name| *name != name.to_lowercase()) {
            let right = name.to_lowercase();
            return Err(format!(
                "reads the header {name:?}, and the names of headers are in lower case here: write {right:?}"
            ));
        }
        let reads_content = OF_THE_CONTENT.iter().any(|field| source.contains(field));
        let mut expression = Self {
            unasked: None,
            source: source.to_owned(),
            program: Arc::new(program),
            reads_content,
            of_request: read_of("request", source, &OF_REQUEST),
            of_client: read_of("client", source, &OF_CLIENT),
        };
        expression.unasked = expression.tried()?;
        Ok(expression)
    }

    /// What it reads without asking whether a request has it, if it does, and where: one that has not is refused.
    #[must_use]
    pub fn unasked(&self) -> Option<(&str, &'static str)> {
        let key = self.unasked.as_deref()?;
        let is_header = headers_read(&self.source).any(|header| header == key);
        Some((key, if is_header { "request.headers" } else { "client.labels" }))
    }

    /// What every request would fail at is told before there is one. A header or label that is not there is no fault of the expression's; which
    /// one that is.
    fn tried(&self) -> Result<Option<String>, String> {
        let client = Client::ServiceAccount {
            namespace: "namespace".to_owned(),
            name: "name".to_owned(),
        };
        let facts = Facts {
            client: &client,
            headers: &HeaderMap::new(),
            model: "model",
            operation: "chat",
            is_streamed: false,
            data_class: None,
            raised: None,
            content: &|| Ok(Content::default()),
            now: Timestamp::UNIX_EPOCH,
        };
        match self.evaluate(&facts, "", &Content::default()) {
            Ok(_) => Ok(None),
            Err(Failed::NotTrueOrFalse) => Err("is neither true nor false: compare something".to_owned()),
            Err(Failed::Execution(ExecutionError::NoSuchKey(key))) if !self.reads_a_field_of_ours(&key) => Ok(Some(key.to_string())),
            Err(Failed::Execution(ExecutionError::NoSuchKey(key))) => Err(format!("reads {key:?}, which neither request nor client has")),
            Err(Failed::Execution(error)) => Err(format!("cannot be evaluated: {error}")),
        }
    }

    /// Whether a key that is missing is read straight from `request` or `client`, which always have the same.
    fn reads_a_field_of_ours(&self, key: &str) -> bool {
        ["request", "client"].iter().any(|of| {
            self.source.contains(&format!("{of}.{key}"))
                || self.source.contains(&format!("{of}['{key}']"))
                || self.source.contains(&format!("{of}[\"{key}\"]"))
        })
    }

    /// Whether it must be known what is in the body.
    pub(super) fn reads_content(&self) -> bool {
        self.reads_content
    }

    /// Whether it is true for a request with data of this class.
    ///
    /// # Errors
    /// What it fails at, in words that go on after its name.
    pub(super) fn holds(&self, facts: &Facts<'_>, data_class: &str, content: &Content) -> Result<bool, String> {
        self.evaluate(facts, data_class, content).map_err(|failed| match failed {
            Failed::NotTrueOrFalse => "is neither true nor false for this request".to_owned(),
            Failed::Execution(ExecutionError::NoSuchKey(key)) => {
                format!("reads {key:?}, which this request does not have: send it, or ask `in` first")
            }
            // Its words would hold values.
            Failed::Execution(_) => "cannot be evaluated for this request".to_owned(),
        })
    }

    fn evaluate(&self, facts: &Facts<'_>, data_class: &str, content: &Content) -> Result<bool, Failed> {
        let none = BTreeMap::new();
        let (kind, namespace, name, labels) = match facts.client {
            Client::ServiceAccount { namespace, name } => ("ServiceAccount", namespace.as_str(), name.as_str(), &none),
            Client::ApiKey { name, labels } => ("APIKey", "", name.as_str(), labels),
            Client::Jwt { subject, .. } => ("JWT", "", subject.as_str(), &none),
            Client::Anonymous => ("Anonymous", "", "", &none),
        };
        let text = |text: &str| Value::from(text.to_owned());
        let whole = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let of_request = |field: &&'static str| {
            let value = match *field {
                "model" => text(facts.model),
                "operation" => text(facts.operation),
                "stream" => Value::Bool(facts.is_streamed),
                "headers" => Value::from(shown(facts.headers)),
                "dataClass" => text(data_class),
                "inputTokens" => whole(content.input_tokens),
                "maxTokens" => whole(content.max_tokens.unwrap_or(0)),
                "tools" => Value::Bool(content.tools),
                "images" => Value::Bool(content.images),
                "jsonSchema" => Value::Bool(content.json_schema),
                _ => Value::Null,
            };
            (*field, value)
        };
        let of_client = |field: &&'static str| {
            let value = match *field {
                "kind" => text(kind),
                "namespace" => text(namespace),
                "name" => text(name),
                "team" => text(facts.client.team().unwrap_or_default()),
                "labels" => {
                    let labels = labels.iter().map(|(key, value)| (key.clone(), text(value)));
                    Value::from(labels.collect::<HashMap<String, Value>>())
                }
                _ => Value::Null,
            };
            (*field, value)
        };
        let request: HashMap<&str, Value> = self.of_request.iter().map(of_request).collect();
        let client: HashMap<&str, Value> = self.of_client.iter().map(of_client).collect();
        let mut context = FUNCTIONS.new_inner_scope();
        context.add_variable_from_value("request", request);
        context.add_variable_from_value("client", client);
        match self.program.execute(&context) {
            Ok(Value::Bool(held)) => Ok(held),
            Ok(_) => Err(Failed::NotTrueOrFalse),
            Err(error) => Err(Failed::Execution(error)),
        }
    }
}

/// The headers that an expression names.
fn headers_read(source: &str) -> impl Iterator<Item = String> {
    let named = HEADER.captures_iter(source).filter(|found| found.get(3).is_none());
    let name = |found: regex::Captures<'_>| [1, 2, 4].into_iter().find_map(|at| Some(found.get(at)?.as_str().to_owned()));
    named.filter_map(name)
}

/// The fields that an expression reads of one of the two; all where it reads it as a whole.
fn read_of(of: &str, source: &str, all: &[&'static str]) -> Vec<&'static str> {
    let read = READ.captures_iter(source).filter(|found| &found[1] == of);
    let fields: Option<Vec<&str>> = read
        .map(|found| (2..=4).find_map(|at| found.get(at)).map(|field| field.as_str()))
        .collect();
    // What is none of the fields is a function over all of them.
    let fields = fields.filter(|fields| fields.iter().all(|field| all.contains(field)));
    let is_read = |field: &&'static str| fields.as_ref().is_none_or(|fields| fields.contains(field));
    all.iter().copied().filter(is_read).collect()
}

/// A name that an expression reads and that is neither ours nor made by the expression itself, as `k` in `exists(k, …)`.
fn stranger(program: &Program, source: &str) -> Option<String> {
    let own: Vec<String> = LOOP.captures_iter(source).map(|found| found[1].to_owned()).collect();
    let read = program.references().variables().into_iter().map(str::to_owned).collect::<Vec<_>>();
    read.into_iter().find(|name| {
        let is_known = matches!(name.as_str(), "request" | "client") || own.contains(name);
        !is_known && name.starts_with(|c: char| c.is_ascii_alphabetic())
    })
}

enum Failed {
    NotTrueOrFalse,
    Execution(ExecutionError),
}

/// The first value of each header that is text.
fn shown(headers: &HeaderMap) -> HashMap<String, Value> {
    let visible = headers.keys().filter(|name| !SECRET.contains(name));
    let text = visible.filter_map(|name| Some((name.as_str().to_owned(), Value::from(headers.get(name)?.to_str().ok()?.to_owned()))));
    text.collect()
}

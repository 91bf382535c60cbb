//! One document as one object: what kind it is, whether its schema and its rules hold, and the object itself when they do.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrBool,
};
use kube::core::cel;
use kube::{CustomResourceExt, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::document::{Document, item};
use super::finding::{Origin, Severity};
use super::words::{closest, one_of, shown};
use super::{Portfolio, Written, schema};
use crate::api::{self, EvalJob, GROUP, ModelDeployment, RoutingPolicy};
use crate::plan::Invalid;
use crate::plan::names::Key;

const VERSION: &str = "v1alpha1";
const KINDS: [&str; 3] = ["ModelDeployment", "RoutingPolicy", "EvalJob"];

/// An object of somebody else's kind, kept because ours may refer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// Such as `ConfigMap`.
    pub kind: String,
    /// Its namespace and name.
    pub key: Key,
    /// All of it.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

/// Adds the objects of a document to `portfolio`, or says what is wrong with them.
pub(super) fn add(file: &str, named: bool, document: &Document, portfolio: &mut Portfolio) {
    if document.value.get("kind") == Some(&json!("List"))
        && let Some(items) = document.value.get("items").and_then(Value::as_array)
    {
        for (index, value) in items.iter().enumerate() {
            one(Origin::new(file, document, item("items", index), value), named, value, portfolio);
        }
    } else {
        one(
            Origin::new(file, document, String::new(), &document.value),
            named,
            &document.value,
            portfolio,
        );
    }
}

impl Origin {
    fn new(file: &str, document: &Document, inside: String, value: &Value) -> Self {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or("object");
        Self {
            file: file.to_owned(),
            object: format!("{kind} {}", key_of(value)),
            document: document.clone(),
            inside,
        }
    }
}

fn key_of(value: &Value) -> Key {
    let of_metadata = |name: &str| value.pointer(&format!("/metadata/{name}")).and_then(Value::as_str);
    Key::new(
        of_metadata("namespace").unwrap_or("default"),
        of_metadata("name").unwrap_or("(no name)"),
    )
}

fn one(origin: Origin, named: bool, value: &Value, portfolio: &mut Portfolio) {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let (api_version, kind) = match (text("apiVersion"), text("kind")) {
        (Some(api_version), Some(kind)) => (api_version, kind),
        // A folder may hold files of other tools.
        (None, None) if !named => return,
        (api_version, _) => {
            let field = if api_version.is_none() { "apiVersion" } else { "kind" };
            let remedy = format!("write apiVersion: {GROUP}/{VERSION} and kind: {}", one_of(&KINDS, "or"));
            let invalid = Invalid::new(field, "is required: this is not a Kubernetes object", remedy);
            return portfolio.findings.push(origin.finding(Severity::Error, invalid));
        }
    };
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    match (group == GROUP, kind) {
        (true, _) if version != VERSION => {
            let invalid = Invalid::new(
                "apiVersion",
                format!("there is no version {version}"),
                format!("write {GROUP}/{VERSION}"),
            );
            portfolio.findings.push(origin.finding(Severity::Error, invalid));
        }
        (true, "ModelDeployment") => {
            let model = typed::<ModelDeployment>(value, &origin, portfolio);
            portfolio.models.extend(model.map(|object| Written { object, origin }));
        }
        (true, "RoutingPolicy") => {
            let policy = typed::<RoutingPolicy>(value, &origin, portfolio);
            portfolio.policies.extend(policy.map(|object| Written { object, origin }));
        }
        (true, "EvalJob") => {
            let evaluation = typed::<EvalJob>(value, &origin, portfolio);
            portfolio.evaluations.extend(evaluation.map(|object| Written { object, origin }));
        }
        (true, _) => {
            let guess = closest(kind, &KINDS)
                .map(|meant| format!("did you mean {meant}? "))
                .unwrap_or_default();
            let remedy = format!("{guess}{GROUP} has {}", one_of(&KINDS, "and"));
            let invalid = Invalid::new("kind", format!("there is no kind {kind}"), remedy);
            portfolio.findings.push(origin.finding(Severity::Error, invalid));
        }
        (false, _) if KINDS.contains(&kind) => {
            let problem = format!("{} is another group's {kind}", shown(&json!(api_version)));
            let invalid = Invalid::new("apiVersion", problem, format!("if it is meant to be ours, write {GROUP}/{VERSION}"));
            portfolio.findings.push(origin.finding(Severity::Warning, invalid));
        }
        (false, _) => portfolio.others.push(Other {
            kind: kind.to_owned(),
            key: key_of(value),
            value: value.clone(),
            origin,
        }),
    }
}

/// The object, when the API server would take it; else what it would refuse.
fn typed<K>(given: &Value, origin: &Origin, portfolio: &mut Portfolio) -> Option<K>
where
    K: Resource<DynamicType = ()> + CustomResourceExt + Serialize + DeserializeOwned,
{
    let schema = SCHEMAS.iter().find(|(kind, _)| *kind == K::kind(&())).map(|(_, schema)| schema)?;
    let mut value = given.clone();
    let mut found = Vec::new();
    // The status is written through its own door: what is said here is dropped, unless it is not even a status.
    if let (Some(status), Some(of_status)) = (value.get("status"), schema.properties.as_ref().and_then(|p| p.get("status"))) {
        schema::check(of_status, "status", status, &mut found);
        found.retain(schema::is_unknown_field);
    }
    schema::apply_defaults(schema, &mut value);
    if let Value::Object(members) = &mut value {
        members.remove("status");
    }
    schema::check(schema, "", &value, &mut found);
    let mut object = None;
    if found.is_empty() {
        match serde_json::from_value::<K>(value) {
            Ok(typed) => {
                found = cel::validate_cel(&typed)
                    .err()
                    .map(|errors| errors.into_vec().into_iter().map(broken_rule).collect())
                    .unwrap_or_default();
                object = Some(typed);
            }
            Err(error) => found.push(Invalid::new("", error.to_string(), "correct the value it names")),
        }
    }
    if found.is_empty() {
        return object;
    }
    portfolio.refused.push((K::kind(&()).into_owned(), key_of(given)));
    let found = found.into_iter().map(|invalid| origin.finding(Severity::Error, invalid));
    portfolio.findings.extend(found);
    None
}

fn broken_rule(error: cel::ValidationError) -> Invalid {
    // Rules of the whole object can see nothing of its metadata but the name.
    let field = if error.field_path.is_empty() {
        "metadata.name".to_owned()
    } else {
        error.field_path
    };
    let message = error
        .message
        .strip_prefix(&format!("{field} "))
        .unwrap_or(&error.message)
        .to_owned();
    Invalid::new(field, message, "")
}

/// The schema of each kind, with the parts that are the same for every object.
static SCHEMAS: LazyLock<Vec<(String, JSONSchemaProps)>> = LazyLock::new(|| {
    let with_metadata = |crd: CustomResourceDefinition| {
        let version = crd.spec.versions.into_iter().next()?;
        let mut schema = version.schema?.open_api_v3_schema?;
        schema.required.get_or_insert_default().push("metadata".to_owned());
        let properties = schema.properties.get_or_insert_default();
        properties.insert("apiVersion".to_owned(), of_type("string"));
        properties.insert("kind".to_owned(), of_type("string"));
        properties.insert("metadata".to_owned(), metadata());
        Some((crd.spec.names.kind, schema))
    };
    api::all_crds().into_iter().filter_map(with_metadata).collect()
});

fn of_type(type_: &str) -> JSONSchemaProps {
    JSONSchemaProps {
        type_: Some(type_.to_owned()),
        ..JSONSchemaProps::default()
    }
}

/// What people write into `metadata`, and what the API server has added to an object that was exported.
fn metadata() -> JSONSchemaProps {
    let texts = || JSONSchemaProps {
        additional_properties: Some(JSONSchemaPropsOrBool::Schema(Box::new(of_type("string")))),
        ..of_type("object")
    };
    let name = |limit: i64, pattern: &str, description: &str| JSONSchemaProps {
        min_length: Some(1),
        max_length: Some(limit),
        pattern: Some(pattern.to_owned()),
        description: Some(description.to_owned()),
        ..of_type("string")
    };
    let object_name = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
    let mut properties = BTreeMap::from([
        (
            "name".to_owned(),
            name(253, object_name, "the object's name, of a-z, 0-9, '-' and '.'"),
        ),
        (
            "namespace".to_owned(),
            name(63, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "use a-z, 0-9 and '-'"),
        ),
        ("labels".to_owned(), texts()),
        ("annotations".to_owned(), texts()),
    ]);
    for added in [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generation",
    ]
    .into_iter()
    .chain(["managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"])
    {
        let anything = JSONSchemaProps {
            nullable: Some(true),
            ..JSONSchemaProps::default()
        };
        properties.insert(added.to_owned(), anything);
    }
    JSONSchemaProps {
        properties: Some(properties),
        required: Some(vec!["name".to_owned()]),
        description: Some("the object's name, and its namespace".to_owned()),
        ..of_type("object")
    }
}

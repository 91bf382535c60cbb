//! Schemas for borrowed Kubernetes types whose own descriptions would drown ours in `kubectl explain`.

use schemars::{Schema, SchemaGenerator, json_schema};

/// `ResourceRequirements` without the essay on quantities.
pub(super) fn requirements(_: &mut SchemaGenerator) -> Schema {
    let quantities = json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "pattern": r"^([0-9]+(\.[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
        },
    });
    json_schema!({
        "type": "object",
        "properties": { "requests": quantities, "limits": quantities },
    })
}

/// A list of environment variables, as in a pod: `name` with `value` or `valueFrom`.
pub(super) fn environment(_: &mut SchemaGenerator) -> Schema {
    let key_of = |what: &str| {
        json_schema!({
            "type": "object",
            "description": format!("One key of a {what} in this namespace."),
            "required": ["name", "key"],
            "properties": {
                "name": { "type": "string", "maxLength": 253 },
                "key": { "type": "string", "maxLength": 253 },
                "optional": { "type": "boolean" },
            },
        })
    };
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "pattern": "^[-._a-zA-Z][-._a-zA-Z0-9]*$", "maxLength": 253 },
                "value": { "type": "string", "maxLength": 32768 },
                "valueFrom": {
                    "type": "object",
                    "properties": { "secretKeyRef": key_of("Secret"), "configMapKeyRef": key_of("ConfigMap") },
                },
            },
        },
    })
}

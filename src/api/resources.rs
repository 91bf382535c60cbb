//! Schemas for borrowed Kubernetes types whose own descriptions would drown ours in `kubectl explain`.

use schemars::{Schema, SchemaGenerator, json_schema};

/// `ResourceRequirements` without the essay on quantities.
pub(super) fn requirements(_: &mut SchemaGenerator) -> Schema {
    let quantities = |description: &str| {
        json_schema!({
            "type": "object",
            "description": description,
            "maxProperties": 32,
            "additionalProperties": {
                "x-kubernetes-int-or-string": true,
                "maxLength": 32,
                "description": "An amount, such as `500m`, `2` or `8Gi`.",
                "pattern": r"^([0-9]+(\.[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
            },
        })
    };
    json_schema!({
        "type": "object",
        "properties": {
            "requests": quantities("What each pod is given at least, which decides the node. Example: `{cpu: \"2\", memory: 8Gi}`."),
            "limits": quantities("What each pod may use at most. Example: `{memory: 8Gi}`."),
        },
    })
}

/// An amount of storage.
pub(super) fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": 32,
        "pattern": r"^([0-9]+(\.[0-9]+)?)(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
    })
}

/// A pod template, whose own schema would be longer than all of ours together. The operator refuses what Kubernetes does not know in it.
pub(super) fn pod_template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 2, "x-kubernetes-preserve-unknown-fields": true })
}

/// A list of environment variables, as in a pod: `name` with `value` or `valueFrom`.
pub(super) fn environment(_: &mut SchemaGenerator) -> Schema {
    let key_of = |what: &str| {
        json_schema!({
            "type": "object",
            "description": format!("One key of a {what} in this namespace."),
            "required": ["name", "key"],
            "properties": {
                "name": { "type": "string", "maxLength": 253, "description": format!("The {what}'s name.") },
                "key": { "type": "string", "maxLength": 253, "description": "The key in it." },
                "optional": { "type": "boolean", "description": "Start the pod even when it is missing. Default: false." },
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
            "x-kubernetes-validations": [{
                "rule": "!(has(self.value) && has(self.valueFrom))",
                "message": "value and valueFrom exclude each other: remove one",
            }],
            "properties": {
                "name": {
                    "type": "string",
                    "pattern": "^[-._a-zA-Z][-._a-zA-Z0-9]*$",
                    "maxLength": 253,
                    "description": "The variable's name, of letters, digits, '_', '-' and '.', such as `OMP_NUM_THREADS`.",
                },
                "value": { "type": "string", "maxLength": 32768, "description": "Its value. Default: empty." },
                "valueFrom": {
                    "type": "object",
                    "description": "Where its value is kept; exactly one member is set.",
                    "x-kubernetes-validations": [{
                        "rule": "has(self.secretKeyRef) != has(self.configMapKeyRef)",
                        "message": "exactly one of secretKeyRef and configMapKeyRef must be set",
                    }],
                    "properties": { "secretKeyRef": key_of("Secret"), "configMapKeyRef": key_of("ConfigMap") },
                },
            },
        },
    })
}

/// `spec.metrics` of a HorizontalPodAutoscaler, whose own schema has a thousand lines: plans check the rest of it (`plan::scaling::metrics`).
pub(super) fn metrics(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 8,
        "items": {
            "type": "object",
            "required": ["type"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "type": {
                    "type": "string",
                    "enum": ["ContainerResource", "External", "Object", "Pods", "Resource"],
                    "description": "Which kind of metric it is; the field of that name, such as `external`, says which one, and its target.",
                },
            },
        },
    })
}

//! Whether an apply would change anything. The live object must carry the hash of what we last applied *and* still hold every field of it:
//! the hash alone misses what others changed since, the fields alone miss what we no longer ask for.

use serde_json::Value;

use crate::plan::quantity;

/// Whether `live` holds every field of `desired`. Quantities are compared by value: the server stores `0.5` as `500m`.
pub(super) fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(key, wanted)| match live.get(key) {
            Some(have) if key == "requests" || key == "limits" => quantities_cover(have, wanted),
            // Those of metrics that a HorizontalPodAutoscaler goes by.
            Some(have) if key == "value" || key == "averageValue" => have == wanted || same_amount(have, wanted),
            Some(have) => covers(have, wanted),
            // The server stores an empty list as none.
            None => wanted.is_null() || wanted.as_array().is_some_and(Vec::is_empty),
        }),
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(have, wanted)| covers(have, wanted))
        }
        _ => live == desired,
    }
}

fn quantities_cover(live: &Value, desired: &Value) -> bool {
    let (Some(live), Some(desired)) = (live.as_object(), desired.as_object()) else {
        return live == desired;
    };
    desired
        .iter()
        .all(|(name, wanted)| live.get(name).is_some_and(|have| have == wanted || same_amount(have, wanted)))
}

fn same_amount(a: &Value, b: &Value) -> bool {
    let amount = |v: &Value| v.as_str().map_or_else(|| quantity::nanos(&v.to_string()), quantity::nanos);
    amount(a).is_some() && amount(a) == amount(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_server_adds_is_covered_and_what_others_change_is_not() {
        let desired = json!({"spec": {"replicas": 2, "containers": [{"name": "a", "image": "i:1"}]}});
        assert!(covers(
            &json!({"spec": {"replicas": 2, "paused": false, "containers": [{"name": "a", "image": "i:1", "tty": false}]}}),
            &desired
        ));
        assert!(!covers(
            &json!({"spec": {"replicas": 3, "containers": [{"name": "a", "image": "i:1"}]}}),
            &desired
        ));
        assert!(!covers(
            &json!({"spec": {"replicas": 2, "containers": [{"name": "a", "image": "i:2"}]}}),
            &desired
        ));
        assert!(!covers(
            &json!({"spec": {"replicas": 2, "containers": [{"name": "a", "image": "i:1"}, {"name": "b"}]}}),
            &desired
        ));
        assert!(!covers(&json!({"spec": {}}), &desired));
        assert!(
            covers(&json!({"name": "a"}), &json!({"name": "a", "env": []})),
            "an empty list is stored as none"
        );
        assert!(!covers(&json!({"name": "a"}), &json!({"name": "a", "emptyDir": {}})));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        let with = |cpu: &str| json!({"limits": {"cpu": cpu}});
        for (stored, written) in [
            ("500m", "0.5"),
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("1500m", "1.5"),
            ("1k", "1000"),
            ("1", "1.0"),
        ] {
            assert!(covers(&with(stored), &with(written)), "{stored} is {written}");
        }
        let metric =
            |value: &str| json!({"metrics": [{"external": {"target": {"averageValue": value}}}, {"object": {"target": {"value": value}}}]});
        assert!(covers(&metric("500m"), &metric("0.5")) && !covers(&metric("500m"), &metric("0.6")));
        for (stored, written) in [("1G", "1Gi"), ("1", "1m"), ("x", "y"), ("", "0")] {
            assert!(!covers(&with(stored), &with(written)), "{stored} is not {written}");
        }
    }
}

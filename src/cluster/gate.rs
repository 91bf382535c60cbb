//! Whether an apply would change anything. The live object must carry the hash of what we last applied *and* still hold every field of it:
//! the hash alone misses what others changed since, the fields alone miss what we no longer ask for.

use serde_json::Value;

/// Whether `live` holds every field of `desired`. Quantities are compared by value: the server stores `0.5` as `500m`.
pub(super) fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(key, wanted)| match live.get(key) {
            Some(have) if key == "requests" || key == "limits" => quantities_cover(have, wanted),
            Some(have) => covers(have, wanted),
            None => wanted.is_null(),
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
    let amount = |v: &Value| v.as_str().map_or_else(|| quantity_nanos(&v.to_string()), quantity_nanos);
    amount(a).is_some() && amount(a) == amount(b)
}

/// A quantity in units of 10⁻⁹; `None` for what is not one. Exponents (`1e3`) are left to textual comparison.
/// Source: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
fn quantity_nanos(text: &str) -> Option<i128> {
    const SUFFIXES: [(&str, i128); 16] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("n", -1_000_000_000),
        ("u", -1_000_000),
        ("m", -1_000),
        ("", 1),
    ];
    let (suffix, scale) = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix))?;
    let (whole, fraction) = text
        .strip_suffix(suffix)?
        .split_once('.')
        .unwrap_or((text.strip_suffix(suffix)?, ""));
    if whole.is_empty() || whole.len() > 18 || fraction.len() > 9 || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos = whole.parse::<i128>().ok()? * 1_000_000_000 + format!("{fraction:0<9}").parse::<i128>().ok()?;
    Some(if *scale < 0 { nanos / -scale } else { nanos.checked_mul(*scale)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
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
        for (stored, written) in [("1G", "1Gi"), ("1", "1m"), ("x", "y"), ("", "0")] {
            assert!(!covers(&with(stored), &with(written)), "{stored} is not {written}");
        }
    }

    proptest! {
        #[test]
        fn a_quantity_equals_itself_in_thousandths(n in 0u64..1_000_000_000) {
            prop_assert_eq!(quantity_nanos(&n.to_string()), quantity_nanos(&format!("{n}000m")));
            prop_assert_eq!(quantity_nanos(&format!("{n}Ki")), quantity_nanos(&(n * 1024).to_string()));
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,40}") {
            let _ = quantity_nanos(&text);
        }
    }
}

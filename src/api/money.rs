//! Money as people write it (a decimal string of US dollars) and as it is counted (integer nano-dollars). Never a float.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// The accepted form: up to nine digits before and nine after the point.
pub const PATTERN: &str = r"^[0-9]{1,9}(\.[0-9]{1,9})?$";

/// An amount of US dollars, written as a decimal string such as `"0.0085"`. Never negative; up to nine decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(pub String);

impl Usd {
    /// The amount in nano-dollars (10⁻⁹ US dollars), or `None` when the text is not an amount.
    #[must_use]
    pub fn nanos(&self) -> Option<u64> {
        let whole = self.0.split_once('.').map_or(self.0.len(), |(whole, _)| whole.len());
        nanos(&self.0).filter(|_| whole <= 9).and_then(|nanos| u64::try_from(nanos).ok())
    }
}

/// What [`written`] wrote, in billionths; `None` where it did not.
#[must_use]
pub fn nanos(text: &str) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str, most: usize| (1..=most).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 27) || !digits(fraction, 9) {
        return None;
    }
    let fraction: u128 = format!("{fraction:0<9}").parse().ok()?;
    Some(whole.parse::<u128>().ok()? * 1_000_000_000 + fraction)
}

/// An amount of nano-dollars as people write it: `17375`, `0.8`.
#[must_use]
pub fn written(nanos: u128) -> String {
    let (whole, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    format!("{whole}.{fraction:09}")
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// Reads an amount where no schema has checked it: settings.
///
/// # Errors
/// When the text is no amount.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Usd>, D::Error> {
    let amount = Usd::deserialize(from)?;
    match amount.nanos() {
        Some(_) => Ok(Some(amount)),
        None => Err(D::Error::custom(format!(
            "{:?} is not an amount of US dollars; write it as \"0.80\", in quotes",
            amount.0
        ))),
    }
}

impl JsonSchema for Usd {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Usd".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": 19 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("1.25", Some(1_250_000_000)),
            ("0.000000001", Some(1)),
            ("999999999.999999999", Some(999_999_999_999_999_999)),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("1e3", None),
            ("0.0000000001", None),
        ] {
            assert_eq!(Usd(text.to_owned()).nanos(), nanos, "{text:?}");
        }
    }

    #[test]
    fn amounts_are_written_without_what_says_nothing() {
        for (nanos, text) in [
            (0, "0"),
            (17_375_000_000_000, "17375"),
            (800_000_000, "0.8"),
            (1, "0.000000001"),
            (100_000_000_000, "100"),
        ] {
            assert_eq!(written(nanos), text);
        }
    }

    proptest! {
        #[test]
        fn every_amount_survives_being_written(nanos in 0u64..1_000_000_000_000_000_000) {
            let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            prop_assert_eq!(Usd(text).nanos(), Some(nanos));
            prop_assert_eq!(Usd(written(nanos.into())).nanos(), Some(nanos));
        }
    }
}

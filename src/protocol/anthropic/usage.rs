//! Tokens as Anthropic reports them: `input_tokens` leaves out what a cache read or wrote, `output_tokens` includes what was thought.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::protocol::usage::{Terms, Tokens};

/// A report, or what several reports of one answer come to.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Usage {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    #[serde(default, deserialize_with = "Terms::read_tier")]
    service_tier: Terms,
    /// `fast` has a price of its own.
    #[serde(default, deserialize_with = "Terms::read_tier")]
    speed: Terms,
    #[serde(default, deserialize_with = "read_place")]
    inference_geo: Terms,
    #[serde(default, deserialize_with = "read_tools")]
    server_tool_use: Terms,
}

/// Where it was computed: to insist on a place costs more.
fn read_place<'de, D: Deserializer<'de>>(from: D) -> Result<Terms, D::Error> {
    <&RawValue>::deserialize(from).map(|place| Terms::of_place(place.get()))
}

/// How often the provider's own tools were used, which are billed by the use; all but the one that fetches pages.
fn read_tools<'de, D: Deserializer<'de>>(from: D) -> Result<Terms, D::Error> {
    let uses = <&RawValue>::deserialize(from)?.get();
    let uses: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(uses).unwrap_or_default();
    let is_billed = |(name, count): (&Cow<'_, str>, &&RawValue)| name != "web_fetch_requests" && !matches!(count.get(), "0" | "null");
    Ok(Terms::Unsaid.special_if(uses.iter().any(is_billed)))
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl Usage {
    /// Takes over the figures of a later report. They are totals so far, so nothing is added up; what the report leaves out stays.
    pub(super) fn update(&mut self, later: &Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens = later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_creation = later.cache_creation.or(self.cache_creation);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
        self.service_tier = self.service_tier.and(later.service_tier);
        self.speed = self.speed.and(later.speed);
        self.inference_geo = self.inference_geo.and(later.inference_geo);
        self.server_tool_use = self.server_tool_use.and(later.server_tool_use);
    }

    /// In the canonical form; `None` if nothing was reported.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let said = [
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
        ];
        if said.iter().all(Option::is_none) && self.cache_creation.is_none() {
            return None;
        }
        let written = self.cache_creation.unwrap_or_default();
        let cache_write_1h = written.ephemeral_1h_input_tokens.unwrap_or(0);
        let total = self.cache_creation_input_tokens.unwrap_or(0);
        let output = self.output_tokens.unwrap_or(0);
        let thought = self.output_tokens_details.and_then(|details| details.thinking_tokens);
        let reasoning = thought.unwrap_or(0).min(output);
        Some(Tokens {
            input: self.input_tokens.unwrap_or(0),
            cache_read: self.cache_read_input_tokens.unwrap_or(0),
            // The total covers both; what the detail leaves unexplained was written for minutes, which is the default.
            cache_write: written
                .ephemeral_5m_input_tokens
                .unwrap_or(0)
                .max(total.saturating_sub(cache_write_1h)),
            cache_write_1h,
            output: output - reasoning,
            reasoning,
            terms: self.service_tier.and(self.speed).and(self.inference_geo).and(self.server_tool_use),
            ..Tokens::default()
        })
    }
}

/// A report as it is written. What Anthropic has no place for, sound, counts with the rest.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Report {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: WrittenCreation,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<WrittenDetails>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct WrittenCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct WrittenDetails {
    thinking_tokens: u64,
}

impl From<Tokens> for Report {
    fn from(tokens: Tokens) -> Self {
        let thinking_tokens = tokens.reasoning;
        Self {
            input_tokens: tokens.input.saturating_add(tokens.audio_input),
            cache_creation_input_tokens: tokens.cache_write.saturating_add(tokens.cache_write_1h),
            cache_read_input_tokens: tokens.cache_read,
            cache_creation: WrittenCreation {
                ephemeral_5m_input_tokens: tokens.cache_write,
                ephemeral_1h_input_tokens: tokens.cache_write_1h,
            },
            output_tokens: tokens.answer(),
            output_tokens_details: (thinking_tokens > 0).then_some(WrittenDetails { thinking_tokens }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(reports: &[&str]) -> Option<Tokens> {
        let mut usage = Usage::default();
        for report in reports {
            usage.update(&serde_json::from_str(report).unwrap());
        }
        usage.tokens()
    }

    #[test]
    fn each_token_is_counted_once_whatever_the_report_says_twice() {
        let base = Tokens::default();
        for (report, expected) in [
            (
                r#"{"input_tokens":1,"cache_read_input_tokens":36,"output_tokens":24}"#,
                Tokens {
                    input: 1,
                    cache_read: 36,
                    output: 24,
                    ..base
                },
            ),
            (
                r#"{"input_tokens":10,"cache_creation_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":30,"ephemeral_1h_input_tokens":70},"output_tokens":9,"output_tokens_details":{"thinking_tokens":4}}"#,
                Tokens {
                    input: 10,
                    cache_write: 30,
                    cache_write_1h: 70,
                    output: 5,
                    reasoning: 4,
                    ..base
                },
            ),
            (
                r#"{"input_tokens":10,"cache_creation_input_tokens":100,"cache_creation":{"ephemeral_1h_input_tokens":70},"output_tokens":0}"#,
                Tokens {
                    input: 10,
                    cache_write: 30,
                    cache_write_1h: 70,
                    ..base
                },
            ),
            (
                r#"{"input_tokens":10,"cache_creation_input_tokens":100,"cache_creation":null,"output_tokens":null}"#,
                Tokens {
                    input: 10,
                    cache_write: 100,
                    ..base
                },
            ),
            (
                r#"{"output_tokens":3,"output_tokens_details":{"thinking_tokens":8}}"#,
                Tokens { reasoning: 3, ..base },
            ),
        ] {
            assert_eq!(tokens(&[report]), Some(expected), "{report}");
        }
        assert_eq!(tokens(&["{}", r#"{"input_tokens":null,"service_tier":"standard"}"#]), None);
    }

    #[test]
    fn later_figures_replace_earlier_ones_and_are_never_added() {
        let start = r#"{"input_tokens":25,"cache_read_input_tokens":7,"output_tokens":1}"#;
        let expected = Tokens {
            input: 25,
            cache_read: 7,
            output: 15,
            ..Tokens::default()
        };
        assert_eq!(tokens(&[start, r#"{"output_tokens":15}"#]), Some(expected));
        assert_eq!(tokens(&[start, r#"{"input_tokens":null,"output_tokens":15}"#]), Some(expected));
        let all_at_the_end = [
            r#"{"input_tokens":0,"output_tokens":0}"#,
            r#"{"input_tokens":25,"cache_read_input_tokens":7,"output_tokens":15}"#,
        ];
        assert_eq!(tokens(&all_at_the_end), Some(expected));
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let tokens = Tokens {
            input: 1,
            cache_read: 2,
            cache_write: 3,
            cache_write_1h: 4,
            output: 5,
            reasoning: 6,
            ..Tokens::default()
        };
        let report = serde_json::to_string(&Report::from(tokens)).unwrap();
        assert_eq!(serde_json::from_str::<Usage>(&report).unwrap().tokens(), Some(tokens));
    }
}

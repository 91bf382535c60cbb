//! What providers bill beside the tokens: their own tools, at so much a use. What a use costs is in no price here, so that a cost with one is not
//! known.

use std::borrow::Cow;

use serde::Deserialize;

/// Whether something may be billed beside the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fees {
    /// Nothing is.
    None,
    /// A tool of the provider's may be used, and the report says whether it was.
    Reported,
    /// Something is, and no report tells of it (`web_search_options` of Chat Completions).
    Unreported,
}

impl Fees {
    /// Whether something may have been billed, where the report has come or has not.
    #[must_use]
    pub fn are_unknown(self, is_reported: bool) -> bool {
        match self {
            Self::None => false,
            Self::Reported => !is_reported,
            Self::Unreported => true,
        }
    }
}

/// What comes before the version in the types of the tools that OpenAI and Anthropic bill by their use
/// (<https://platform.openai.com/docs/pricing>, <https://docs.claude.com/en/docs/about-claude/pricing>).
const BILLED: [&str; 5] = [
    "web_search",
    "file_search",
    "code_interpreter",
    "image_generation",
    "code_execution",
];

/// Whether a tool, or an event or item about its use, is of a tool of the provider's that is billed beside the tokens.
pub(super) fn is_billed(kind: &[u8]) -> bool {
    BILLED.iter().any(|tool| kind.starts_with(tool.as_bytes()))
}

/// Whether one of the `tools` of a request may be billed. What cannot be read may be.
pub(super) fn may_be_billed(tools: &[u8]) -> bool {
    any_is(tools, |kind| is_billed(kind.as_bytes()))
}

/// Whether one of the `tools` of a request has such a type. What cannot be read may have; a tool without a type is one that a client runs.
pub(super) fn any_is(tools: &[u8], is_such: impl Fn(&str) -> bool) -> bool {
    #[derive(Deserialize)]
    struct Tool<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<Cow<'a, str>>,
    }
    let tools: Result<Option<Vec<Tool<'_>>>, _> = serde_json::from_slice(tools);
    tools.map_or(true, |tools| {
        let mut kinds = tools.iter().flatten().filter_map(|tool| tool.kind.as_deref());
        kinds.any(is_such)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_that_a_provider_bills_are_seen_by_their_type_alone() {
        for (tools, billed) in [
            ("[]", false),
            ("null", false),
            (r#"[{"type":"function","function":{"name":"web_search"}}]"#, false),
            (r#"[{"name":"web_search","input_schema":{}},{"type":"bash_20250124"}]"#, false),
            (r#"[{"type":"web_fetch_20250910"},{"type":"mcp"},{"type":"custom"}]"#, false),
            (r#"[{"type":"function"},{"type":"web_search_20250305","max_uses":1}]"#, true),
            (r#"[{"type":"code_execution_20250825"}]"#, true),
            (r#"[{"type":"web\u005fsearch_preview"}]"#, true),
            (r#"[{"type":"file_search"}]"#, true),
            (r#"[{"type":7}]"#, true),
            (r#"{"type":"function"}"#, true),
        ] {
            assert_eq!(may_be_billed(tools.as_bytes()), billed, "{tools}");
        }
    }
}

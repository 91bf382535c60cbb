//! What a model takes, by its ID: Converse is one form for all of them, but Bedrock refuses fields that a model has no use for. The generations
//! of Claude: <https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html>. Of a model whose ARN does not name
//! it (an application's inference profile, provisioned throughput) only what all have in common is known.

/// How a model can be made to think through fields that Converse passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It does not think.
    Never,
    /// As its vendor has it: Converse has no field for it.
    Unknown,
    /// Within a budget of tokens.
    Budget,
    /// Within a budget, or as it sees fit.
    Either,
    /// As it sees fit.
    Adaptive,
    /// As it sees fit, and it cannot be kept from it.
    Always,
}

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) is_claude: bool,
    /// Whether it takes hints for prompt caches, and is told of results of tools whether they are errors.
    pub(super) is_claude_or_nova: bool,
    pub(super) thinking: Thinking,
    /// Whether it takes `temperature`, `top_p` and `top_k`.
    pub(super) takes_sampling: bool,
    /// Whether it takes `temperature` and `top_p` at once.
    pub(super) takes_both: bool,
}

impl Model {
    /// By its ID or ARN, such as `eu.anthropic.claude-sonnet-4-5-20250929-v1:0`.
    pub(super) fn named(id: &str) -> Self {
        let Some((_, name)) = id.split_once("anthropic.") else {
            let is_nova = id.contains("amazon.nova");
            return Self {
                is_claude: false,
                is_claude_or_nova: is_nova,
                thinking: Thinking::Unknown,
                takes_sampling: true,
                takes_both: true,
            };
        };
        let version = version(name);
        let always_thinks = ["fable", "mythos"].iter().any(|family| name.contains(family));
        let is_adaptive = always_thinks || version >= (5, 0) || name.contains("opus") && version >= (4, 7);
        Self {
            is_claude: true,
            is_claude_or_nova: true,
            thinking: match version {
                _ if always_thinks => Thinking::Always,
                _ if is_adaptive => Thinking::Adaptive,
                (4, 6..) => Thinking::Either,
                (4, _) | (3, 7..) => Thinking::Budget,
                _ => Thinking::Never,
            },
            takes_sampling: !is_adaptive,
            takes_both: version < (4, 1),
        }
    }
}

/// The first one or two numbers in the name of a Claude that are no date; a name without one is taken for the newest.
fn version(name: &str) -> (u32, u32) {
    if name.contains("instant") {
        return (1, 0);
    }
    let number = |word: &str| word.trim_start_matches('v').parse::<u32>().ok().filter(|_| word.len() <= 2);
    let words = name.split(['-', ':', '.']).skip_while(|word| number(word).is_none());
    let mut numbers = words
        .take_while(|word| !word.starts_with('v') || word.len() < 2 || name.starts_with("claude-v"))
        .map_while(number);
    numbers.next().map_or((5, 0), |major| (major, numbers.next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_of_claude_are_told_apart() {
        for (id, thinking, takes_sampling, takes_both) in [
            ("anthropic.claude-instant-v1", Thinking::Never, true, true),
            ("anthropic.claude-v2:1", Thinking::Never, true, true),
            ("anthropic.claude-3-haiku-20240307-v1:0", Thinking::Never, true, true),
            ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", Thinking::Never, true, true),
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", Thinking::Budget, true, true),
            ("anthropic.claude-sonnet-4-20250514-v1:0", Thinking::Budget, true, true),
            ("anthropic.claude-opus-4-1-20250805-v1:0", Thinking::Budget, true, false),
            ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", Thinking::Budget, true, false),
            ("anthropic.claude-opus-4-6-v1", Thinking::Either, true, false),
            ("anthropic.claude-sonnet-4-6", Thinking::Either, true, false),
            ("global.anthropic.claude-opus-4-7", Thinking::Adaptive, false, false),
            ("anthropic.claude-opus-5", Thinking::Adaptive, false, false),
            ("anthropic.claude-sonnet-5", Thinking::Adaptive, false, false),
            ("anthropic.claude-fable-5-1", Thinking::Always, false, false),
            ("anthropic.claude-mythos-preview", Thinking::Always, false, false),
            (
                "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-6-v1",
                Thinking::Either,
                true,
                false,
            ),
            ("us.amazon.nova-pro-v1:0", Thinking::Unknown, true, true),
            (
                "arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2c3",
                Thinking::Unknown,
                true,
                true,
            ),
        ] {
            let model = Model::named(id);
            assert_eq!(
                (model.thinking, model.takes_sampling, model.takes_both),
                (thinking, takes_sampling, takes_both),
                "{id}"
            );
        }
    }
}

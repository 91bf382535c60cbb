//! What the generations of Claude take and refuse, by the model's name. Anthropic removed parameters from one generation to the next and
//! answers 400 where one is sent that a model no longer takes: <https://platform.claude.com/docs/en/build-with-claude/thinking>.
//!
//! | models | thinking | sampling | the model's own last message may be begun by the client |
//! |---|---|---|---|
//! | before 3.7 | none | yes | yes |
//! | 3.7 to 4.5 | a budget of tokens | yes | yes |
//! | 4.6 | a budget, or adaptive | yes | no |
//! | Opus 4.7, 4.8, all from 5 on | adaptive | no | no |
//! | Fable, Mythos | always, adaptive | no | no |
//!
//! A name without a generation is taken for the newest. Models that are not Claude (engines that speak Anthropic's protocol) take everything.

/// How a model can be made to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It cannot.
    Never,
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
    /// Whether it is one of Anthropic's, whose API checks what an engine lets pass.
    pub(super) is_claude: bool,
    pub(super) thinking: Thinking,
    /// Whether it takes `temperature`, `top_p` and `top_k`.
    pub(super) takes_sampling: bool,
    /// Whether it takes `temperature` and `top_p` at once.
    pub(super) takes_both: bool,
    /// Whether it has the effort `xhigh`.
    pub(super) has_xhigh: bool,
    /// Whether a conversation may end with the beginning of its own message.
    pub(super) takes_prefill: bool,
    /// Whether instructions may stand between messages.
    pub(super) takes_late_instructions: bool,
    /// Whether its answers and its calls of tools can be held to a schema.
    pub(super) takes_schemas: bool,
    /// Whether it can be forced to call a tool.
    pub(super) can_be_forced: bool,
}

impl Model {
    /// By what Anthropic, Bedrock, Vertex or a reseller calls it, such as `claude-opus-4-6`, `us.anthropic.claude-3-5-sonnet-20241022-v2:0`.
    pub(super) fn named(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.split_once("claude").and_then(|(_, rest)| generation(rest)) {
            Some((family, version)) => Self::claude(family, version),
            None => Self {
                is_claude: false,
                thinking: Thinking::Budget,
                takes_sampling: true,
                takes_both: true,
                has_xhigh: true,
                takes_prefill: true,
                takes_late_instructions: false,
                takes_schemas: true,
                can_be_forced: true,
            },
        }
    }

    fn claude(family: Family, version: (u32, u32)) -> Self {
        let is_opus = family == Family::Opus;
        let always_thinks = family == Family::Fable;
        let is_adaptive_only = version >= (5, 0) || is_opus && version >= (4, 7);
        Self {
            is_claude: true,
            thinking: match version {
                _ if always_thinks => Thinking::Always,
                _ if is_adaptive_only => Thinking::Adaptive,
                (4, 6..) => Thinking::Either,
                (4, _) | (3, 7..) => Thinking::Budget,
                _ => Thinking::Never,
            },
            takes_sampling: !is_adaptive_only,
            takes_both: version < (4, 1),
            has_xhigh: is_adaptive_only,
            takes_prefill: version < (4, 6),
            takes_late_instructions: always_thinks || is_opus && version >= (4, 8),
            takes_schemas: version >= (4, 5) || is_opus && version >= (4, 1),
            can_be_forced: !(always_thinks && version >= (5, 1)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Opus,
    /// Fable and Mythos.
    Fable,
    Other,
}

/// The family and version in what follows `claude`, such as `-opus-4-6-v1` or `-3-5-sonnet-20241022`.
fn generation(rest: &str) -> Option<(Family, (u32, u32))> {
    let words = || rest.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let family = words().find_map(|word| match word {
        "opus" => Some(Family::Opus),
        "fable" | "mythos" => Some(Family::Fable),
        "sonnet" | "haiku" | "instant" => Some(Family::Other),
        _ => None,
    });
    // Dates have eight digits.
    let number = |word: &str| word.parse::<u32>().ok().filter(|_| word.len() <= 2);
    let mut numbers = words().skip_while(|word| number(word).is_none()).map_while(number);
    let version = numbers.next().map(|major| (major, numbers.next().unwrap_or(0)));
    match (family, version) {
        (None, None) => None,
        (family, version) => {
            let newest = if rest.contains("instant") { (1, 0) } else { (5, 0) };
            Some((family.unwrap_or(Family::Other), version.unwrap_or(newest)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_told_apart_however_a_cloud_spells_them() {
        for (name, thinking, takes_sampling, takes_prefill) in [
            ("claude-instant-1.2", Thinking::Never, true, true),
            ("claude-2.1", Thinking::Never, true, true),
            ("claude-3-5-sonnet-20241022", Thinking::Never, true, true),
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", Thinking::Budget, true, true),
            ("claude-sonnet-4-20250514", Thinking::Budget, true, true),
            ("claude-opus-4@20250514", Thinking::Budget, true, true),
            ("claude-haiku-4-5", Thinking::Budget, true, true),
            ("anthropic.claude-opus-4-6-v1", Thinking::Either, true, false),
            ("anthropic/claude-sonnet-4.6", Thinking::Either, true, false),
            ("claude-opus-4-7", Thinking::Adaptive, false, false),
            ("claude-sonnet-5", Thinking::Adaptive, false, false),
            ("claude-opus-5-5", Thinking::Adaptive, false, false),
            ("claude-haiku-latest", Thinking::Adaptive, false, false),
            ("claude-fable-5", Thinking::Always, false, false),
            ("claude-mythos-preview", Thinking::Always, false, false),
            ("qwen3-8b", Thinking::Budget, true, true),
            ("my-claude-distillate", Thinking::Budget, true, true),
        ] {
            let model = Model::named(name);
            assert_eq!(
                (model.thinking, model.takes_sampling, model.takes_prefill),
                (thinking, takes_sampling, takes_prefill),
                "{name}"
            );
        }
    }

    #[test]
    fn what_only_some_models_take_is_known() {
        let takes = |name: &str| {
            let model = Model::named(name);
            (
                model.takes_late_instructions,
                model.takes_schemas,
                model.takes_both,
                model.can_be_forced,
            )
        };
        assert_eq!(takes("claude-3-opus-20240229"), (false, false, true, true));
        assert_eq!(takes("claude-opus-4-1-20250805"), (false, true, false, true));
        assert_eq!(takes("claude-sonnet-4-5"), (false, true, false, true));
        assert_eq!(takes("claude-sonnet-5"), (false, true, false, true));
        assert_eq!(takes("claude-opus-4-8"), (true, true, false, true));
        assert_eq!(takes("claude-fable-5-1"), (true, true, false, false));
        assert!(!Model::named("qwen3-8b").is_claude);
    }
}

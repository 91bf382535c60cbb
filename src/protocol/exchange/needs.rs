//! What a request needs of a model.

use super::Asked;
use crate::protocol::chat::{Format, Part, Unfit, estimate};
use crate::protocol::scan::end_of_text;
use crate::protocol::wire::Operation;

/// What a model must be able to do for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Call tools.
    pub tools: bool,
    /// See images.
    pub images: bool,
    /// Answer in a given JSON schema.
    pub json_schema: bool,
    /// Make vectors.
    pub embeddings: bool,
    /// Hold so many tokens of a prompt at least: half of the estimate, which is wrong by that much in the languages with the fewest tokens to
    /// the byte.
    pub prompt_tokens_at_least: u64,
    /// How many tokens the prompt has, by the estimate itself.
    pub prompt_tokens: u64,
    /// Give so many tokens in an answer.
    pub output_tokens: Option<u64>,
}

impl Needs {
    /// What a prompt of so many tokens needs, by the estimate.
    #[must_use]
    pub fn of_prompt(prompt_tokens: u64) -> Self {
        Self {
            prompt_tokens_at_least: prompt_tokens / 2,
            prompt_tokens,
            ..Self::default()
        }
    }
}

impl Asked {
    /// About how many values the body has: what is read takes room for each, however short it is.
    #[must_use]
    pub fn values(&self) -> usize {
        values(&self.body)
    }

    /// What the request needs, as far as it can be read.
    ///
    /// # Errors
    /// When the request is wrong in itself, or asks for what only its own protocol has.
    pub fn needs(&self) -> Result<Needs, Unfit> {
        if self.operation == Operation::Embeddings {
            return Ok(Needs {
                embeddings: true,
                prompt_tokens: (self.body.len() as u64).div_ceil(4),
                ..Needs::default()
            });
        }
        let (request, _) = self.common()?;
        let parts = || request.messages.iter().flat_map(|message| &message.parts);
        let has_image = |part: &Part| match part {
            Part::Image { .. } => true,
            Part::ToolResult { parts, .. } => parts.iter().any(|part| matches!(part, Part::Image { .. })),
            _ => false,
        };
        Ok(Needs {
            tools: !request.tools.is_empty() || parts().any(|part| matches!(part, Part::ToolCall { .. } | Part::ToolResult { .. })),
            images: parts().any(has_image),
            json_schema: matches!(request.format, Format::JsonSchema { .. }),
            output_tokens: request.max_tokens,
            ..Needs::of_prompt(estimate(request))
        })
    }
}

/// What opens a value or comes before the next one, outside of texts.
fn values(body: &[u8]) -> usize {
    let (mut count, mut at) = (0, 0);
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' | b',' => count += 1,
            b'"' => at = end_of_text(body, at).unwrap_or(body.len()),
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::values;

    #[test]
    fn values_are_counted_but_not_what_looks_like_them_in_a_text() {
        assert_eq!(values(br#"{"a":[1,2,{"b":3}],"c":"x"}"#), 6);
        assert_eq!(values(br#"{"a":"[,{\"[,{\\","b":1}"#), 2);
    }
}

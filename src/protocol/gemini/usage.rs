//! Reads what an answer took. `promptTokenCount` holds cached tokens; thoughts and what tools of Google's own put before the model are counted
//! beside it (<https://ai.google.dev/api/generate-content#UsageMetadata>).

use serde::Deserialize;

use super::super::usage::Tokens;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    total_token_count: Option<u64>,
    prompt_tokens_details: Option<Vec<Detail>>,
    cache_tokens_details: Option<Vec<Detail>>,
    candidates_tokens_details: Option<Vec<Detail>>,
    tool_use_prompt_tokens_details: Option<Vec<Detail>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    modality: Option<String>,
    token_count: Option<u64>,
}

impl Usage {
    /// Takes over each figure that a later report gives.
    pub(super) fn update(&mut self, later: Self) {
        let Self {
            prompt_token_count,
            cached_content_token_count,
            candidates_token_count,
            thoughts_token_count,
            tool_use_prompt_token_count,
            total_token_count,
            prompt_tokens_details,
            cache_tokens_details,
            candidates_tokens_details,
            tool_use_prompt_tokens_details,
        } = later;
        take(&mut self.prompt_token_count, prompt_token_count);
        take(&mut self.cached_content_token_count, cached_content_token_count);
        take(&mut self.candidates_token_count, candidates_token_count);
        take(&mut self.thoughts_token_count, thoughts_token_count);
        take(&mut self.tool_use_prompt_token_count, tool_use_prompt_token_count);
        take(&mut self.total_token_count, total_token_count);
        take(&mut self.prompt_tokens_details, prompt_tokens_details);
        take(&mut self.cache_tokens_details, cache_tokens_details);
        take(&mut self.candidates_tokens_details, candidates_tokens_details);
        take(&mut self.tool_use_prompt_tokens_details, tool_use_prompt_tokens_details);
    }

    pub(super) fn tokens(&self) -> Tokens {
        let of_tools = self.tool_use_prompt_token_count.unwrap_or(0);
        let prompt = self.prompt_token_count.unwrap_or(0).saturating_add(of_tools);
        let cache_read = self.cached_content_token_count.unwrap_or(0).min(prompt);
        let heard = audio(self.prompt_tokens_details.as_ref()).saturating_add(audio(self.tool_use_prompt_tokens_details.as_ref()));
        let audio_input = heard
            .saturating_sub(audio(self.cache_tokens_details.as_ref()))
            .min(prompt - cache_read);
        let reasoning = self.thoughts_token_count.unwrap_or(0);
        let mut candidates = self.candidates_token_count.unwrap_or(0);
        // Some models of Vertex counted thoughts among the candidates' tokens; the total tells.
        if reasoning > 0 && self.total_token_count == Some(prompt.saturating_add(candidates)) {
            candidates = candidates.saturating_sub(reasoning);
        }
        let audio_output = audio(self.candidates_tokens_details.as_ref()).min(candidates);
        Tokens {
            input: prompt - cache_read - audio_input,
            cache_read,
            audio_input,
            output: candidates - audio_output,
            reasoning,
            audio_output,
            ..Tokens::default()
        }
    }
}

fn take<T>(figure: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *figure = later;
    }
}

fn audio(details: Option<&Vec<Detail>>) -> u64 {
    let details = details.into_iter().flatten();
    let audio = details.filter(|detail| detail.modality.as_deref() == Some("AUDIO"));
    audio.fold(0, |sum, detail| sum.saturating_add(detail.token_count.unwrap_or(0)))
}

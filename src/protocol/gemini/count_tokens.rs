//! Counting the tokens of a request without asking it: `countTokens`.

use serde::{Deserialize, Serialize};

use super::super::chat::{Lost, Request, Unsupported};
use super::wire::{Body, Content, GenerationConfig, Tools};
use super::{Api, request, resource};

/// The body of a request that counts the tokens of `request`, and what was left out.
///
/// # Errors
/// When the request asks for what Gemini does not have.
pub fn write_request(request: &Request, model: &str, api: Api) -> Result<(Vec<u8>, Lost), Unsupported> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OfAiStudio<'a> {
        generate_content_request: Body<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OfVertex<'a> {
        contents: Vec<Content<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        system_instruction: Option<Content<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tools: Option<[Tools<'a>; 1]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        generation_config: Option<GenerationConfig<'a>>,
    }
    let (mut body, lost) = request::body(request, model)?;
    let json = match api {
        Api::AiStudio => {
            body.model = Some(resource(model));
            serde_json::to_vec(&OfAiStudio {
                generate_content_request: body,
            })
        }
        // How tools are to be called is no part of what is counted there.
        Api::Vertex => serde_json::to_vec(&OfVertex {
            contents: body.contents,
            system_instruction: body.system_instruction,
            tools: body.tools,
            generation_config: body.generation_config,
        }),
    };
    Ok((json.expect("strings, numbers and JSON are JSON"), lost))
}

/// The number of tokens. `None` when the body is no such answer.
#[must_use]
pub fn read_answer(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        total_tokens: u64,
    }
    serde_json::from_slice::<Answer>(body).ok().map(|answer| answer.total_tokens)
}

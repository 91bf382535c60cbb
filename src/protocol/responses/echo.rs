//! What an answer repeats of its request. What was left out on the way to the model is not repeated as if it had counted.

use serde::Serialize;

use super::read::Losses;
use super::request::{Fields, ReasoningFields, TextFields};
use super::tools;
use crate::protocol::chat::{Json, Tool};

/// The parts of a request that its answer repeats, in the client's own words. Where the client said nothing: OpenAI's defaults, but null for
/// sampling, since only the model's server knows what it does by default.
#[derive(Clone, Debug, Serialize)]
pub struct Echo {
    instructions: Option<Json>,
    max_output_tokens: Option<Json>,
    metadata: Json,
    parallel_tool_calls: bool,
    reasoning: Effort,
    safety_identifier: Option<Json>,
    temperature: Option<Json>,
    text: Text,
    tool_choice: Json,
    tools: Vec<Function>,
    top_p: Option<Json>,
    user: Option<Json>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Effort {
    effort: Option<Json>,
    summary: Option<Json>,
}

#[derive(Clone, Debug, Serialize)]
struct Text {
    format: Json,
}

#[derive(Clone, Debug, Serialize)]
struct Function {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    description: Option<String>,
    parameters: Option<Json>,
    strict: Option<bool>,
}

impl From<Tool> for Function {
    fn from(tool: Tool) -> Self {
        let Tool {
            name,
            description,
            parameters,
            strict,
            cache: _,
        } = tool;
        Self {
            kind: "function",
            name,
            description,
            parameters,
            strict,
        }
    }
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            instructions: None,
            max_output_tokens: None,
            metadata: json("{}"),
            parallel_tool_calls: true,
            reasoning: Effort::default(),
            safety_identifier: None,
            temperature: None,
            text: Text {
                format: json(r#"{"type":"text"}"#),
            },
            tool_choice: json(r#""auto""#),
            tools: Vec::new(),
            top_p: None,
            user: None,
        }
    }
}

fn json(text: &str) -> Json {
    Json::parse(text).expect("the text is JSON")
}

/// Reads what the answer repeats of a request that `read_request` takes. Of any other body it repeats nothing.
#[must_use]
pub fn read_echo(body: &[u8]) -> Echo {
    let Ok(fields) = Fields::read(body) else { return Echo::default() };
    let default = Echo::default();
    let tools = fields.tools.and_then(|raw| tools::read(raw, &mut Losses::default()).ok());
    let text: Option<TextFields<'_>> = fields.text.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let reasoning: Option<ReasoningFields<'_>> = fields.reasoning.and_then(|raw| serde_json::from_str(raw.get()).ok());
    Echo {
        instructions: fields.instructions.map(Json::from),
        max_output_tokens: fields.max_output_tokens.map(Json::from),
        metadata: fields.metadata.map_or(default.metadata, Json::from),
        parallel_tool_calls: fields.parallel_tool_calls.is_none_or(|given| given.get() == "true"),
        reasoning: Effort {
            effort: reasoning.and_then(|reasoning| reasoning.effort).map(Json::from),
            summary: None,
        },
        safety_identifier: fields.safety_identifier.map(Json::from),
        temperature: fields.temperature.map(Json::from),
        text: Text {
            format: text.and_then(|text| text.format).map_or(default.text.format, Json::from),
        },
        tool_choice: fields.tool_choice.map_or(default.tool_choice, Json::from),
        tools: tools.unwrap_or_default().into_iter().map(Function::from).collect(),
        top_p: fields.top_p.map(Json::from),
        user: fields.user.map(Json::from),
    }
}

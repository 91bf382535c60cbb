//! A client of OpenAI's embeddings. Vectors are not streamed, and are made of texts alone.

use super::{Case, Client, Say, Wire};

pub(super) fn client() -> Client {
    Client {
        name: "embeddings",
        path: "/v1/embeddings",
        request,
        passes_to: &["OpenAI", "AzureOpenAI", "OpenAICompatible", "own pods", "Mistral"],
        passing_path: "/embeddings",
        native: Some(native),
        answer,
        lost: "",
        own_id: ["none", "none"],
        names_schemas: true,
    }
}

fn request(case: Case) -> Result<String, &'static str> {
    match case {
        Case::Stream | Case::ToolsStream | Case::UsageStream => Err("vectors are not streamed"),
        Case::Tools => Err("vectors have no tools"),
        Case::Schema => Err("vectors have no schemas"),
        Case::Image => Err("OpenAI's embeddings have no pictures"),
        Case::Plain | Case::Usage | Case::Fault | Case::Throttled => Ok(r#"{"model":"assistant","input":["Paris","Lyon"]}"#.to_owned()),
    }
}

fn native(say: Say, _: bool) -> Wire {
    match say {
        Say::Fault => Wire::fault(r#"{"error":{"message":"input is too long","type":"invalid_request_error","param":null,"code":null}}"#),
        Say::Throttled => {
            Wire::throttled(r#"{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#)
        }
        Say::Words | Say::Call | Say::Json | Say::Costly => Wire::json(
            "{\n  \"object\": \"list\",\n  \"data\": [\n    {\"object\": \"embedding\", \"index\": 0, \"embedding\": [0.50, -1.0]},\n    {\"object\": \"embedding\", \"index\": 1, \"embedding\": [2.5e-1, 2]}\n  ],\n  \"model\": \"text-embedding-3-small\",\n  \"usage\": {\"prompt_tokens\": 4, \"total_tokens\": 4}\n}\n",
        ),
    }
}

fn answer(case: Case) -> String {
    let text = match case {
        Case::Plain | Case::Usage => {
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.0]},{"object":"embedding","index":1,"embedding":[0.25,2.0]}],"model":"assistant","usage":{"prompt_tokens":"TOKENS","total_tokens":"TOKENS"}}"#
        }
        Case::Fault => r#"{"error":{"message":"temperature is too high","type":"invalid_request_error","param":null,"code":null}}"#,
        Case::Throttled => {
            r#"{"error":{"message":"no model of RoutingPolicy claims/assistant answered: MODEL has no capacity or quota left (429)","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#
        }
        Case::Stream | Case::Tools | Case::ToolsStream | Case::Schema | Case::Image | Case::UsageStream => "",
    };
    text.to_owned()
}

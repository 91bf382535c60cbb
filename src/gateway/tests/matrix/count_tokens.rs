//! A client of Anthropic's counting of tokens. Where another provider is behind the name, nobody is asked: the answer is an estimate.

use super::{Case, Client, Say, Wire, anthropic};

pub(super) fn client() -> Client {
    Client {
        name: "count_tokens",
        path: "/v1/messages/count_tokens",
        request,
        passes_to: &["Anthropic"],
        passing_path: "/messages/count_tokens",
        native: Some(native),
        answer,
        lost: "",
        own_id: ["none", "none"],
        names_schemas: false,
    }
}

fn request(case: Case) -> Result<String, &'static str> {
    if case.is_streamed() {
        return Err("a count is not streamed");
    }
    let request = anthropic::asked("assistant", case.talk());
    Ok(request.replace(r#""max_tokens":64,"#, "").replace(r#","temperature":0.5"#, ""))
}

fn native(say: Say, _: bool) -> Wire {
    match say {
        Say::Fault => Wire::fault(r#"{"type":"error","error":{"type":"invalid_request_error","message":"temperature is too high"}}"#),
        Say::Throttled => Wire::throttled(r#"{"type":"error","error":{"type":"rate_limit_error","message":"too many"}}"#),
        Say::Words | Say::Call | Say::Json | Say::Costly => Wire::json(r#"{ "input_tokens": 14 }"#),
    }
}

fn answer(case: Case) -> String {
    let text = match case {
        Case::Plain | Case::Usage | Case::Fault | Case::Throttled => r#"{"input_tokens":18}"#,
        Case::Tools => r#"{"input_tokens":72}"#,
        Case::Schema => r#"{"input_tokens":45}"#,
        Case::Image => r#"{"input_tokens":1516}"#,
        Case::Stream | Case::ToolsStream | Case::UsageStream => "",
    };
    text.to_owned()
}

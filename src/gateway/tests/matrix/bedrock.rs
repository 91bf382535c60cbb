//! Bedrock's Converse, with a pair of AWS's keys.

use super::{PNG, Provider, SCHEMA, Say, Sent, Talk, Wire};
use crate::protocol::bedrock::frames;
use crate::protocol::sigv4;

pub(super) fn bedrock() -> Provider {
    Provider {
        name: "Bedrock",
        spec: Some(|url| format!("provider: Bedrock, model: 'amazon.nova-pro-v1:0', endpoint: '{url}', region: eu-central-1")),
        secret: |_| KEYS.to_owned(),
        shown: signed,
        model: "amazon.nova-pro-v1:0",
        paths: [
            "/model/amazon.nova-pro-v1%3A0/converse",
            "/model/amazon.nova-pro-v1%3A0/converse-stream",
        ],
        prefix: "",
        asked,
        streamed: "",
        says,
        gives_up: || frames::exception("modelStreamErrorException", br#"{"message":"failed at 10.0.0.1"}"#).unwrap(),
        id: NONE,
        call_id: Some(CALL_ID),
        thoughts: 0,
        others: 0,
        vectors: None,
    }
}

/// Bedrock's answers have no id: what is looked for is nowhere.
const NONE: &str = "no id";
const KEYS: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const CALL_ID: &str = "tooluse_hbTgdi0CSLq_hM4P8csZJA";

/// The signature over what came: over what was sent by way of nothing else.
fn signed(sent: &Sent) -> String {
    let request = sigv4::Request {
        method: "POST",
        host: sent.header("host").unwrap_or_default(),
        path: &sent.path,
        query: "",
        headers: &[("content-type", sent.header("content-type").unwrap_or_default())],
        body: &sent.body,
    };
    let scope = sigv4::Scope {
        region: "eu-central-1",
        service: "bedrock",
    };
    let keys = sigv4::Credentials::read(KEYS).unwrap();
    let headers = sigv4::sign(&request, &scope, &keys, 0);
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    lines.join("\n")
}

fn asked(talk: Talk, is_named: bool) -> String {
    let system = if talk == Talk::Prompt {
        ""
    } else {
        r#""system":[{"text":"You are brief."}],"#
    };
    let question = r#"{"role":"user","content":[{"text":"The capital of France?"}]}"#;
    let (said, more) = match talk {
        Talk::Prompt | Talk::Words => (question.to_owned(), String::new()),
        Talk::Tools => (
            r#"{"role":"user","content":[{"text":"The weather in Paris, then in Lyon?"}]},
            {"role":"assistant","content":[{"toolUse":{"toolUseId":"callpar01","name":"get_weather","input":{"city":"Paris"}}}]},
            {"role":"user","content":[{"toolResult":{"toolUseId":"callpar01","content":[{"text":"18 C"}]}}]}"#
                .to_owned(),
            format!(
                r#","toolConfig":{{"tools":[{{"toolSpec":{{"name":"get_weather","description":"The weather of a city.","inputSchema":{{"json":{SCHEMA}}}}}}}],"toolChoice":{{"any":{{}}}}}}"#
            ),
        ),
        Talk::Schema => {
            let name = if is_named { r#","name":"answer""# } else { "" };
            let schema = serde_json::to_string(SCHEMA).unwrap();
            let format = format!(
                r#","outputConfig":{{"textFormat":{{"type":"json_schema","structure":{{"jsonSchema":{{"schema":{schema}{name}}}}}}}}}"#
            );
            (question.to_owned(), format)
        }
        Talk::Image => (
            format!(
                r#"{{"role":"user","content":[{{"text":"Where is this?"}},{{"image":{{"format":"png","source":{{"bytes":"{PNG}"}}}}}}]}}"#
            ),
            String::new(),
        ),
    };
    format!(r#"{{{system}"messages":[{said}],"inferenceConfig":{{"maxTokens":64,"temperature":0.5}}{more}}}"#)
}

fn says(say: Say, is_streamed: bool) -> Wire {
    let usage = if say == Say::Costly {
        r#"{"inputTokens":10,"outputTokens":8,"totalTokens":24,"cacheReadInputTokens":6,"cacheWriteInputTokens":0}"#
    } else {
        r#"{"inputTokens":10,"outputTokens":2,"totalTokens":12}"#
    };
    let words = if say == Say::Json {
        [r#"{\"city\":"#, r#"\"Paris\"}"#]
    } else {
        ["Par", "is"]
    };
    match say {
        Say::Fault => Wire {
            headers: "x-amzn-errortype: ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/\r\n",
            ..Wire::fault(r#"{"message":"temperature is too high"}"#)
        },
        Say::Throttled => Wire {
            headers: "x-amzn-errortype: ThrottlingException\r\nretry-after: 7\r\n",
            ..Wire::throttled(r#"{"message":"Too many requests, please wait before trying again."}"#)
        },
        _ if is_streamed => Wire {
            content_type: "application/vnd.amazon.eventstream",
            ..Wire::events(streamed(say == Say::Call, words, usage))
        },
        _ => {
            let (block, reason) = if say == Say::Call {
                let call = format!(r#"{{"toolUse":{{"input":{{"city":"Lyon"}},"name":"get_weather","toolUseId":"{CALL_ID}"}}}}"#);
                (call, "tool_use")
            } else {
                (format!(r#"{{"text":"{}"}}"#, words.concat()), "end_turn")
            };
            Wire::json(format!(
                r#"{{"metrics":{{"latencyMs":551}},"output":{{"message":{{"content":[{block}],"role":"assistant"}}}},"stopReason":"{reason}","usage":{usage}}}"#
            ))
        }
    }
}

fn streamed(is_call: bool, words: [&str; 2], usage: &str) -> Vec<u8> {
    let frame = |kind: &str, json: &str| frames::event(kind, json.as_bytes()).unwrap();
    let delta = |delta: &str| {
        let json = format!(r#"{{"contentBlockIndex":0,"delta":{delta},"p":"abcdefghij"}}"#);
        frame("contentBlockDelta", &json)
    };
    let (said, reason) = if is_call {
        let start =
            format!(r#"{{"contentBlockIndex":0,"start":{{"toolUse":{{"name":"get_weather","toolUseId":"{CALL_ID}"}}}},"p":"abc"}}"#);
        let call = [
            frame("contentBlockStart", &start),
            delta(r#"{"toolUse":{"input":""}}"#),
            delta(r#"{"toolUse":{"input":"{\"city\":\"Lyon\"}"}}"#),
        ];
        (call.concat(), "tool_use")
    } else {
        let texts = words.map(|text| delta(&format!(r#"{{"text":"{text}"}}"#)));
        (texts.concat(), "end_turn")
    };
    [
        frame("messageStart", r#"{"p":"abcdefghijk","role":"assistant"}"#),
        said,
        frame("contentBlockStop", r#"{"contentBlockIndex":0,"p":"abcdefg"}"#),
        frame("messageStop", &format!(r#"{{"p":"abcd","stopReason":"{reason}"}}"#)),
        frame(
            "metadata",
            &format!(r#"{{"metrics":{{"latencyMs":415}},"p":"abcde","usage":{usage}}}"#),
        ),
    ]
    .concat()
}

//! Requests and answers that are right, with as many kinds of parts as their protocols have.

use crate::protocol::wire::{Dialect, Operation};

/// A request of every operation.
pub(super) const REQUESTS: &[(Operation, &str)] = &[
    (
        Operation::ChatCompletions,
        r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","name":"u","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":"{\"at\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"a cat"},{"role":"user","content":"And now?"}],"tools":[{"type":"function","function":{"name":"look","description":"Looks.","parameters":{"type":"object","properties":{"at":{"type":"integer"}},"required":["at"]}}}],"tool_choice":"auto","max_completion_tokens":100,"temperature":0.5,"stop":["END"]}"#,
    ),
    (
        Operation::ChatCompletions,
        r##"{"model":"m","messages":[{"role":"user","content":"A person"}],"response_format":{"type":"json_schema","json_schema":{"name":"person","strict":true,"schema":{"type":"object","properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#"}}},"required":["name"],"additionalProperties":false}}},"reasoning_effort":"low","seed":9007199254740993,"top_p":0.9,"user":"u1","n":1,"parallel_tool_calls":false}"##,
    ),
    (
        Operation::Completions,
        r#"{"model":"m","prompt":"Once upon","max_tokens":16,"temperature":0,"stop":["\n"],"n":1,"seed":7}"#,
    ),
    (
        Operation::Embeddings,
        r#"{"model":"m","input":["one","two"],"dimensions":8,"encoding_format":"float"}"#,
    ),
    (
        Operation::Responses,
        r#"{"model":"m","instructions":"Be brief.","input":[{"role":"user","content":[{"type":"input_text","text":"What is this?"},{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo=","detail":"auto"}]},{"type":"function_call","call_id":"c1","name":"look","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"a cat"}],"tools":[{"type":"function","name":"look","parameters":{"type":"object","properties":{}},"strict":false}],"tool_choice":"auto","max_output_tokens":100,"text":{"format":{"type":"text"}},"reasoning":{"effort":"low"},"store":false}"#,
    ),
    (
        Operation::Messages,
        r#"{"model":"m","max_tokens":100,"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]},{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"look","input":{"at":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"a cat"}],"is_error":false}]}],"tools":[{"name":"look","description":"Looks.","input_schema":{"type":"object","properties":{"at":{"type":"integer"}}}}],"tool_choice":{"type":"auto"},"temperature":0.5,"top_k":3,"stop_sequences":["END"]}"#,
    ),
    (
        Operation::CountTokens,
        r#"{"model":"m","system":"Be brief.","messages":[{"role":"user","content":"What is this?"}],"tools":[{"name":"look","input_schema":{"type":"object"}}]}"#,
    ),
];

/// An answer in one piece of every kind of server.
pub(super) const ANSWERS: &[(Dialect, &str)] = &[
    (
        Dialect::OpenAI,
        r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"A cat.","reasoning_content":"Ears.","refusal":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":"{\"at\":1}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}"#,
    ),
    (
        Dialect::Mistral,
        r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"Ears."}]},{"type":"text","text":"A cat."}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#,
    ),
    (
        Dialect::Anthropic,
        r#"{"id":"m","type":"message","role":"assistant","model":"c","content":[{"type":"thinking","thinking":"Ears.","signature":"s"},{"type":"text","text":"A cat."},{"type":"tool_use","id":"c1","name":"look","input":{"at":1}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":10,"cache_read_input_tokens":4,"cache_creation_input_tokens":2,"output_tokens":5}}"#,
    ),
    (
        Dialect::Gemini,
        r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Ears.","thought":true},{"text":"A cat."},{"functionCall":{"name":"look","args":{"at":1}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":5,"thoughtsTokenCount":2,"totalTokenCount":17},"modelVersion":"g"}"#,
    ),
    (
        Dialect::Bedrock,
        r#"{"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Ears.","signature":"s"}}},{"text":"A cat."},{"toolUse":{"toolUseId":"c1","name":"look","input":{"at":1}}}]}},"stopReason":"tool_use","usage":{"inputTokens":10,"outputTokens":5,"totalTokens":15,"cacheReadInputTokens":4},"metrics":{"latencyMs":7}}"#,
    ),
];

/// The events of a streamed answer of every kind of server; Bedrock's have the name of their kind before them.
pub(super) const EVENTS: &[(Dialect, &[&str])] = &[
    (
        Dialect::OpenAI,
        &[
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"Ears."}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"A cat."}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":""}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"at\":1}"}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#,
            "[DONE]",
        ],
    ),
    (
        Dialect::Anthropic,
        &[
            r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"c","content":[],"usage":{"input_tokens":10,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Ears."}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"A cat."}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"c1","name":"look","input":{}}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"at\":1}"}}"#,
            r#"{"type":"content_block_stop","index":2}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":5}}"#,
            r#"{"type":"message_stop"}"#,
        ],
    ),
    (
        Dialect::Gemini,
        &[
            r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Ears.","thought":true}]}}],"modelVersion":"g"}"#,
            r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"A cat."}]}}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":2}}"#,
            r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"functionCall":{"name":"look","args":{"at":1}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":2}}"#,
        ],
    ),
    (
        Dialect::Bedrock,
        &[
            r#"messageStart {"role":"assistant"}"#,
            r#"contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"Ears."}}}"#,
            r#"contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"s"}}}"#,
            r#"contentBlockStop {"contentBlockIndex":0}"#,
            r#"contentBlockDelta {"contentBlockIndex":1,"delta":{"text":"A cat."}}"#,
            r#"contentBlockStop {"contentBlockIndex":1}"#,
            r#"contentBlockStart {"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"c1","name":"look"}}}"#,
            r#"contentBlockDelta {"contentBlockIndex":2,"delta":{"toolUse":{"input":"{\"at\":1}"}}}"#,
            r#"contentBlockStop {"contentBlockIndex":2}"#,
            r#"messageStop {"stopReason":"tool_use"}"#,
            r#"metadata {"usage":{"inputTokens":10,"outputTokens":5,"totalTokens":15},"metrics":{"latencyMs":7}}"#,
        ],
    ),
];

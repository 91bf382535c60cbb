//! Google's generateContent, of AI Studio with a key and of Vertex AI with a service account.

use serde_json::json;

use super::{PNG, Provider, SCHEMA, Say, Talk, Vectors, Wire};

pub(super) fn ai_studio() -> Provider {
    Provider {
        name: "Gemini",
        spec: Some(|url| format!("provider: Gemini, model: gemini-2.5-flash, endpoint: '{url}/v1beta'")),
        secret: |_| "AIza-1".to_owned(),
        shown: |_| "x-goog-api-key: AIza-1".to_owned(),
        model: "gemini-2.5-flash",
        paths: [
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ],
        prefix: "",
        asked: |talk, _| asked(talk),
        streamed: "",
        says,
        gives_up: || {
            b"data: {\"error\": {\"code\": 503,\"message\": \"overloaded at 10.0.0.1\",\"status\": \"UNAVAILABLE\"}}\r\n\r\n".to_vec()
        },
        id: "m91NaoKoNe2_vr0P3vX0iAY",
        call_id: None,
        thoughts: 3,
        others: 0,
        vectors: Some(Vectors {
            path: "/v1beta/models/gemini-2.5-flash:batchEmbedContents",
            asked: r#"{"requests":[
                {"model":"models/gemini-2.5-flash","content":{"parts":[{"text":"Paris"}]}},
                {"model":"models/gemini-2.5-flash","content":{"parts":[{"text":"Lyon"}]}}]}"#,
            says: r#"{"embeddings": [{"values": [0.5, -1.0]}, {"values": [0.25, 2.0]}]}"#,
            counts: false,
        }),
    }
}

pub(super) fn vertex() -> Provider {
    Provider {
        name: "VertexAI",
        spec: Some(|url| format!("provider: VertexAI, model: gemini-2.5-flash, endpoint: '{url}', project: acme-1, region: europe-west1")),
        secret: |url| {
            let key = include_str!("../../../protocol/google/test-key.pem");
            let email = "gateway@acme-1.iam.gserviceaccount.com";
            json!({"type": "service_account", "client_email": email, "private_key": key, "token_uri": format!("{url}/token")}).to_string()
        },
        shown: |_| "authorization: Bearer ya29.token".to_owned(),
        paths: [
            "/v1/projects/acme-1/locations/europe-west1/publishers/google/models/gemini-2.5-flash:generateContent",
            "/v1/projects/acme-1/locations/europe-west1/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ],
        others: 1,
        vectors: Some(Vectors {
            path: "/v1/projects/acme-1/locations/europe-west1/publishers/google/models/gemini-2.5-flash:predict",
            asked: r#"{"instances":[{"content":"Paris"},{"content":"Lyon"}],"parameters":{"autoTruncate":false}}"#,
            says: r#"{"predictions": [
                {"embeddings": {"statistics": {"truncated": false, "token_count": 2}, "values": [0.5, -1.0]}},
                {"embeddings": {"statistics": {"truncated": false, "token_count": 2}, "values": [0.25, 2.0]}}],
                "metadata": {"billableCharacterCount": 9}}"#,
            counts: true,
        }),
        ..ai_studio()
    }
}

fn asked(talk: Talk) -> String {
    let system = if talk == Talk::Prompt {
        ""
    } else {
        r#","systemInstruction":{"parts":[{"text":"You are brief."}]}"#
    };
    let question = r#"{"role":"user","parts":[{"text":"The capital of France?"}]}"#;
    let mut config = String::new();
    let (said, more) = match talk {
        Talk::Prompt | Talk::Words => (question.to_owned(), String::new()),
        Talk::Tools => (
            r#"{"role":"user","parts":[{"text":"The weather in Paris, then in Lyon?"}]},
            {"role":"model","parts":[{"functionCall":{"name":"get_weather","args":{"city":"Paris"}}}]},
            {"role":"user","parts":[{"functionResponse":{"name":"get_weather","response":{"result":"18 C"}}}]}"#
                .to_owned(),
            format!(
                r#","tools":[{{"functionDeclarations":[{{"name":"get_weather","description":"The weather of a city.","parametersJsonSchema":{SCHEMA}}}]}}],"toolConfig":{{"functionCallingConfig":{{"mode":"ANY"}}}}"#
            ),
        ),
        Talk::Schema => {
            config = format!(r#","responseMimeType":"application/json","responseJsonSchema":{SCHEMA}"#);
            (question.to_owned(), String::new())
        }
        Talk::Image => (
            format!(
                r#"{{"role":"user","parts":[{{"text":"Where is this?"}},{{"inlineData":{{"mimeType":"image/png","data":"{PNG}"}}}}]}}"#
            ),
            String::new(),
        ),
    };
    format!(r#"{{"contents":[{said}]{system}{more},"generationConfig":{{"maxOutputTokens":64,"temperature":0.5{config}}}}}"#)
}

fn says(say: Say, is_streamed: bool) -> Wire {
    let usage = if say == Say::Costly {
        r#"{"promptTokenCount": 16,"candidatesTokenCount": 5,"totalTokenCount": 24,"cachedContentTokenCount": 6,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 16}],"cacheTokensDetails": [{"modality": "TEXT","tokenCount": 6}],"thoughtsTokenCount": 3}"#
    } else {
        r#"{"promptTokenCount": 10,"candidatesTokenCount": 2,"totalTokenCount": 12,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 10}]}"#
    };
    let words = if say == Say::Json {
        [r#"{\"city\":"#, r#"\"Paris\"}"#]
    } else {
        ["Par", "is"]
    };
    let answer = |part: &str, reason: &str| {
        format!(
            r#"{{"candidates": [{{"content": {{"parts": [{part}],"role": "model"}}{reason},"index": 0}}],"usageMetadata": {usage},"modelVersion": "gemini-2.5-flash","responseId": "m91NaoKoNe2_vr0P3vX0iAY"}}"#
        )
    };
    let stop = r#","finishReason": "STOP""#;
    let call = r#"{"functionCall": {"name": "get_weather","args": {"city":"Lyon"}}}"#;
    match say {
        Say::Fault => Wire::fault(r#"{"error": {"code": 400,"message": "temperature is too high","status": "INVALID_ARGUMENT"}}"#),
        // Its advice is in the body, and there is no header.
        Say::Throttled => Wire {
            headers: "",
            ..Wire::throttled(
                r#"{"error": {"code": 429,"message": "Resource has been exhausted (e.g. check quota).","status": "RESOURCE_EXHAUSTED","details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo","retryDelay": "7s"}]}}"#,
            )
        },
        Say::Call if is_streamed => Wire::events(format!("data: {}\r\n\r\n", answer(call, stop))),
        Say::Call => Wire::json(answer(call, stop)),
        _ if is_streamed => {
            let part = |text: &str| format!(r#"{{"text": "{text}"}}"#);
            Wire::events(format!(
                "data: {}\r\n\r\ndata: {}\r\n\r\n",
                answer(&part(words[0]), ""),
                answer(&part(words[1]), stop)
            ))
        }
        _ => Wire::json(answer(&format!(r#"{{"text": "{}"}}"#, words.concat()), stop)),
    }
}

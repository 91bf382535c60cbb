//! One cell: a request through a gateway to a provider and back, with everything on its way compared.

use serde_json::Value;

use super::super::engine::{Do, Engine, Seen, chunk_of, stream_end};
use super::super::world::{Answer, World, post_to};
use super::same::{same_events, same_json};
use super::{Case, Client, Provider, SCHEMA, Say, Sent, Talk, Wire};
use crate::gateway::Credentials;

const PRICE: &str = "price: {inputPer1M: '2', outputPer1M: '8', cacheReadPer1M: '0.5'}";
/// What the client sends beside its request. None of it but the id goes on.
pub(super) const HEADERS: [(&str, &str); 5] = [
    ("authorization", "Bearer claims.x.web"),
    ("x-request-id", "req1"),
    ("user-agent", "OpenAI/Python 2.1"),
    ("x-stainless-lang", "python"),
    ("cookie", "a=b"),
];
/// What a provider sends beside its answer. None of it comes back.
const SECRETS: &str = "set-cookie: a=b\r\nopenai-organization: acme\r\nx-internal: 10.0.0.1\r\nserver: envoy\r\n";

pub(super) struct Cell<'a> {
    pub(super) client: &'a Client,
    pub(super) provider: &'a Provider,
    pub(super) case: Case,
    pub(super) request: String,
}

impl Cell<'_> {
    /// Whether the provider was asked.
    pub(super) async fn run(self) -> bool {
        let wire = self.wire();
        let engine = Engine::start(wire.as_ref().map(script).unwrap_or_default()).await;
        self.gives_tokens(&engine);
        let world = self.world(&engine, "");
        let answer = Answer::read(world.call(post_to(self.client.path, &HEADERS, &self.request)).await).await;
        assert!(answer.is_whole, "{self}");
        assert_eq!(answer.header("x-request-id"), "req1", "{self}");
        let Some(wire) = wire else {
            assert_eq!(engine.requests(), 0, "{self}: {}", answer.text);
            self.not_asked(&answer);
            return false;
        };
        assert_eq!(engine.requests(), 1 + self.provider.others, "{self}: {}", answer.text);
        self.sent(&sent(&engine));
        self.answered(&wire, &answer);
        self.counted(&world, &answer).await;
        true
    }

    /// Google's tokens are asked for first.
    pub(super) fn gives_tokens(&self, engine: &Engine) {
        if self.provider.others > 0 {
            let token = r#"{"access_token":"ya29.token","expires_in":3599,"token_type":"Bearer"}"#;
            engine.once_does(script(&Wire::json(token)));
        }
    }

    /// A gateway in front of the provider, with these fields of a policy, each with a comma behind.
    pub(super) fn world(&self, engine: &Engine, policy: &str) -> World {
        let world = World::new();
        match self.provider.spec {
            None => world.pod(self.provider.model, &[&engine.url]),
            Some(spec) => {
                let spec = spec(&engine.url);
                world.provider(
                    "m",
                    &format!("{{api: {{{spec}, credentials: {{secretRef: {{name: s, key: k}}}}}}, {PRICE}}}"),
                );
                let held = world.credential("m", &(self.provider.secret)(&engine.url));
                let credentials = Credentials::new([held], &Credentials::default());
                world.source.credentials.send_replace(credentials.into());
            }
        }
        world.route(&format!("{policy}rules: [{{targets: [{{model: {}}}]}}]", self.name()));
        world
    }

    /// The name of the ModelDeployment.
    pub(super) fn name(&self) -> &'static str {
        self.provider.spec.map_or(self.provider.model, |_| "m")
    }

    pub(super) fn passes(&self) -> bool {
        self.client.passes_to.contains(&self.provider.name)
    }

    fn makes_vectors(&self) -> bool {
        self.client.name == "embeddings"
    }

    /// What the provider says; `None` where it is not asked.
    pub(super) fn wire(&self) -> Option<Wire> {
        let (say, is_streamed) = (self.case.say(), self.case.is_streamed());
        if self.passes() {
            return Some(self.client.native.unwrap_or(self.provider.says)(say, is_streamed));
        }
        if self.client.name == "count_tokens" {
            return None;
        }
        if self.makes_vectors() {
            let vectors = self.provider.vectors.as_ref()?;
            return Some(match say {
                Say::Fault | Say::Throttled => (self.provider.says)(say, false),
                _ => Wire::json(vectors.says),
            });
        }
        Some((self.provider.says)(say, is_streamed))
    }

    fn sent(&self, sent: &Sent) {
        let Self { client, provider, .. } = self;
        let body = String::from_utf8(sent.body.clone()).unwrap();
        let path = if self.passes() {
            format!("{}{}", provider.prefix, client.passing_path)
        } else if self.makes_vectors() {
            provider.vectors.as_ref().unwrap().path.to_owned()
        } else {
            provider.paths[usize::from(self.case.is_streamed())].to_owned()
        };
        assert_eq!(sent.path, path, "{self}");
        for line in (provider.shown)(sent).lines() {
            assert!(sent.head.contains(&format!("{line}\r\n")), "{self}: {line} in {}", sent.head);
        }
        assert_eq!(sent.header("content-type"), Some("application/json"), "{self}");
        for kept in ["claims.x.web", "stainless", "OpenAI/Python", "cookie"] {
            assert!(!sent.head.contains(kept), "{self}: {}", sent.head);
        }
        if self.passes() {
            let mut expected = self.request.replacen("\"assistant\"", &format!("\"{}\"", provider.model), 1);
            let is_unasked = self.case.is_streamed() && self.case != Case::UsageStream;
            if is_unasked && ["chat", "completions"].contains(&client.name) {
                expected = expected.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
            }
            assert_eq!(body, expected, "{self}");
            return;
        }
        let expected = if self.makes_vectors() {
            provider.vectors.as_ref().unwrap().asked.to_owned()
        } else {
            let talk = if client.name == "completions" {
                Talk::Prompt
            } else {
                self.case.talk()
            };
            let mut expected = (provider.asked)(talk, client.names_schemas);
            if self.case.is_streamed() {
                let end = expected.rfind('}').unwrap();
                expected.insert_str(end, provider.streamed);
            }
            expected
        };
        let (is, should): (Value, Value) = (serde_json::from_str(&body).unwrap(), serde_json::from_str(&expected).unwrap());
        assert_eq!(is, should, "{self}:\n{body}\n{expected}");
        if self.case.talk() == Talk::Tools {
            assert!(body.contains(SCHEMA), "{self}: a schema keeps its order: {body}");
        }
    }

    fn answered(&self, wire: &Wire, answer: &Answer) {
        let Self { client, case, .. } = self;
        assert_eq!(answer.header("x-portfolio-attempts"), "1", "{self}");
        for name in answer.headers.keys() {
            let is_ours = ["content-length", "content-type", "request-id", "retry-after", "x-request-id"].contains(&name.as_str())
                || name.as_str().starts_with("x-portfolio-");
            assert!(is_ours, "{self}: {name}");
        }
        if *case == Case::Throttled {
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"), "{self}");
            // What is asked of nobody is throttled by nobody.
            let throttled = if client.name == "count_tokens" {
                super::messages::client().answer
            } else {
                client.answer
            };
            let expected = throttled(*case).replace("MODEL", self.name());
            return same_json(&answer.text, &expected, &self.to_string());
        }
        assert_eq!(answer.status.as_u16(), wire.status, "{self}: {}", answer.text);
        assert_eq!(answer.header("x-portfolio-model"), format!("claims/{}", self.name()), "{self}");
        if self.passes() {
            assert_eq!(answer.header("content-type"), wire.content_type, "{self}");
            assert_eq!(answer.header("x-portfolio-lost"), "", "{self}");
            let mut expected = String::from_utf8(wire.body.clone()).unwrap();
            if let Some(report) = wire.report.as_ref().filter(|_| *case != Case::UsageStream) {
                expected = expected.replacen(report, "", 1);
            }
            return assert_eq!(answer.text, expected, "{self}");
        }
        assert_eq!(answer.header("x-portfolio-lost"), self.lost(), "{self}");
        let is_streamed = case.is_streamed();
        let kind = if is_streamed { "text/event-stream" } else { "application/json" };
        assert_eq!(answer.header("content-type"), kind, "{self}");
        let expected = self.told(&(client.answer)(*case));
        let text = self.with_ids(&answer.text);
        if is_streamed {
            same_events(&text, &expected, &self.to_string());
        } else {
            same_json(&text, &expected, &self.to_string());
        }
    }

    /// The client's answer with what this provider counts.
    fn told(&self, text: &str) -> String {
        let thoughts = self.provider.thoughts;
        // Anthropic's clients are told of thoughts only where there are some.
        let unsaid = r#","output_tokens_details":{"thinking_tokens":"THOUGHTS"}"#;
        let text = if thoughts == 0 { text.replace(unsaid, "") } else { text.to_owned() };
        let counts = self.provider.vectors.as_ref().is_some_and(|vectors| vectors.counts);
        let uncounted = r#","usage":{"prompt_tokens":"TOKENS","total_tokens":"TOKENS"}"#;
        let text = if counts { text } else { text.replace(uncounted, "") };
        text.replace("\"THOUGHTS\"", &thoughts.to_string()).replace("\"TOKENS\"", "4")
    }

    /// The answer with `ID` for its own id and `CALL` for its call's.
    fn with_ids(&self, text: &str) -> String {
        let [own, written] = self.client.own_id;
        let text = text.replace(self.provider.id, "ID").replace(own, written);
        if let Some(id) = self.provider.call_id {
            return text.replace(id, "CALL");
        }
        // Made up: `call_` and 24 digits.
        let mut parts = text.split("\"call_");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            let is_id = part.get(..24).is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            text + &if is_id {
                format!("\"CALL{}", &part[24..])
            } else {
                format!("\"call_{part}")
            }
        })
    }

    /// What is left out of the request.
    fn lost(&self) -> &'static str {
        let has_no_names = ["Anthropic", "Gemini", "VertexAI"].contains(&self.provider.name);
        if self.case == Case::Schema && self.client.names_schemas && has_no_names {
            return "response_format.json_schema.name";
        }
        self.client.lost
    }

    async fn counted(&self, world: &World, answer: &Answer) {
        let case = self.case;
        let counts = |kind: &'static str| async move {
            let model = self.name();
            let line = format!("portfolio_gateway_tokens_total{{policy=\"claims/assistant\",model=\"claims/{model}\",kind=\"{kind}\"}}");
            world.metric(&line).await as u32
        };
        let is = [
            counts("input").await,
            counts("cache_read").await,
            counts("output").await,
            counts("reasoning").await,
        ];
        let thoughts = if self.passes() && self.client.name == "responses" {
            3
        } else {
            self.provider.thoughts
        };
        let (expected, cost) = match (self.client.name, case.say()) {
            (_, Say::Fault | Say::Throttled) | ("count_tokens", _) => ([0; 4], ""),
            ("embeddings", _) if self.provider.vectors.as_ref().is_some_and(|vectors| !vectors.counts) => {
                return assert_eq!(answer.header("x-portfolio-estimated"), "true", "{self}");
            }
            ("embeddings", _) => ([4, 0, 0, 0], "0.000008"),
            ("completions", Say::Costly) if self.passes() => ([10, 6, 8, 0], "0.000087"),
            (_, Say::Costly) => ([10, 6, 8 - thoughts, thoughts], "0.000087"),
            _ => ([10, 0, 2, 0], "0.000036"),
        };
        assert_eq!(is, expected, "{self}: input, cache_read, output, reasoning");
        let cost = match cost {
            "" => "",
            _ if self.provider.spec.is_none() => "unknown",
            _ if case.is_streamed() => "",
            cost => cost,
        };
        if !(case.is_streamed() && cost == "unknown") {
            assert_eq!(answer.header("x-portfolio-cost-usd"), cost, "{self}");
        }
        assert_eq!(answer.header("x-portfolio-estimated"), "", "{self}");
    }

    /// The gateway's own answer where no model is asked.
    fn not_asked(&self, answer: &Answer) {
        if self.client.name == "count_tokens" {
            let expected = (self.client.answer)(self.case);
            assert_eq!(answer.header("x-portfolio-estimated"), "true", "{self}");
            assert_eq!(answer.header("x-portfolio-model"), format!("claims/{}", self.name()), "{self}");
            return same_json(&answer.text, &expected, &self.to_string());
        }
        assert_eq!(answer.status, 400, "{self}: {}", answer.text);
        let (code, message) = answer.error();
        assert_eq!(code, "unsupported", "{self}");
        assert!(message.contains("model has no embeddings"), "{self}: {message}");
        assert!(answer.text.contains("\"param\":\"model\""), "{self}: {}", answer.text);
    }
}

impl std::fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} × {} × {:?}", self.client.name, self.provider.name, self.case)
    }
}

fn sent(engine: &Engine) -> Sent {
    let Seen { head, body } = engine.last();
    let path = head.strip_prefix("POST ").and_then(|head| head.split(' ').next());
    Sent {
        path: path.unwrap().to_owned(),
        head,
        body,
    }
}

/// Sends an answer; a streamed one in pieces that end anywhere.
pub(super) fn script(wire: &Wire) -> Vec<Do> {
    let Wire {
        status,
        content_type,
        headers,
        body,
        ..
    } = wire;
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{SECRETS}{headers}");
    if content_type.starts_with("application/json") {
        let head = format!("{head}content-length: {}\r\n\r\n", body.len());
        return vec![Do::Send(head), Do::Bytes(body.clone())];
    }
    let mut script = vec![Do::Send(format!("{head}transfer-encoding: chunked\r\n\r\n"))];
    script.extend(body.chunks(61).map(chunk_of));
    script.push(stream_end());
    script
}

//! Tokens of an identity provider, and every known way to pass off another as one.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use http::{StatusCode, header};
use k8s_openapi::jiff::Timestamp;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    RsaPublicKeyComponents,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::engine::{Engine, paris};
use super::world::{Answer, World, pass, post_to};
use super::{ASK, ONLY_A};
use crate::gateway::ApiKeys;
use crate::plan::api_key::{self, ApiKey, Expires};

/// The private key of an issuer.
enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Self {
        let pem = include_bytes!("../../protocol/google/test-key.pem");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        Self::Rsa(RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap())
    }

    fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap(), curve)
    }

    fn p256() -> Self {
        Self::ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    /// As it stands in a JWKS.
    fn public(&self, id: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let RsaPublicKeyComponents::<Vec<u8>> { n, e } = key.public().into();
                json!({"kty": "RSA", "use": "sig", "kid": id, "n": BASE64.encode(n), "e": BASE64.encode(e)})
            }
            Self::Ec(key, curve) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at((key.public_key().as_ref().len() - 1) / 2);
                json!({"kty": "EC", "crv": curve, "kid": id, "x": BASE64.encode(x), "y": BASE64.encode(y)})
            }
            Self::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": BASE64.encode(key.public_key())}),
        }
    }

    fn sign(&self, algorithm: &str, content: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(encoding, &random, content, &mut signature).unwrap();
                signature
            }
            Self::Ec(key, _) => key.sign(&random, content).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(content).as_ref().to_vec(),
        }
    }
}

fn content(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

fn with_signature(content: &str, signature: &[u8]) -> String {
    format!("{content}.{}", BASE64.encode(signature))
}

fn token(signer: &Signer, header: &Value, claims: &Value) -> String {
    let content = content(header, claims);
    let signature = signer.sign(header["alg"].as_str().unwrap(), content.as_bytes());
    with_signature(&content, &signature)
}

/// An identity provider on this machine.
#[derive(Clone)]
struct Issuer(Arc<Served>);

struct Served {
    url: String,
    keys: Mutex<Vec<Value>>,
    /// What its discovery document says instead.
    discovery: Mutex<Option<Value>>,
    is_away: AtomicBool,
    /// How often its keys were asked for.
    asked: AtomicUsize,
}

impl Issuer {
    async fn start(keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self(Arc::new(Served {
            url: format!("http://{}", listener.local_addr().unwrap()),
            keys: Mutex::new(keys),
            discovery: Mutex::default(),
            is_away: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        }));
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(Self::discovery))
            .route("/keys", get(Self::keys))
            .with_state(issuer.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        issuer
    }

    async fn discovery(State(issuer): State<Self>) -> Response {
        if issuer.0.is_away.load(Ordering::SeqCst) {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        let url = &issuer.0.url;
        let usual = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        axum::Json(issuer.0.discovery.lock().unwrap().clone().unwrap_or(usual)).into_response()
    }

    async fn keys(State(issuer): State<Self>) -> Response {
        issuer.0.asked.fetch_add(1, Ordering::SeqCst);
        let keys = json!({"keys": *issuer.0.keys.lock().unwrap()});
        ([(header::CACHE_CONTROL, "public, max-age=600")], axum::Json(keys)).into_response()
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// The claims of a good token, for the group `claims`.
    fn claims(&self) -> Value {
        json!({"iss": self.0.url, "sub": "alice", "aud": ["llm"], "exp": 3600, "group": ["sales", "claims"]})
    }

    /// The policy `assistant` that admits the group `claims`.
    fn policy(&self) -> String {
        format!(
            "clients: [{{jwt: {{issuer: '{}', audiences: [llm], claims: {{group: claims}}}}}}], {ONLY_A}",
            self.0.url
        )
    }
}

/// An issuer with one key, a gateway that trusts it, and an engine.
struct Setting {
    issuer: Issuer,
    signer: Signer,
    world: World,
    _engine: Engine,
}

impl Setting {
    async fn new() -> Self {
        Self::with(Signer::p256()).await
    }

    async fn with(signer: Signer) -> Self {
        let issuer = Issuer::start(vec![signer.public("k1")]).await;
        let engine = Engine::start(paris()).await;
        let world = World::over(&[&engine], &issuer.policy());
        Self {
            issuer,
            signer,
            world,
            _engine: engine,
        }
    }

    fn token(&self, claims: &Value) -> String {
        token(&self.signer, &self.header(), claims)
    }

    fn header(&self) -> Value {
        let algorithm = match self.signer {
            Signer::Rsa(_) => "RS256",
            Signer::Ec(..) => "ES256",
            Signer::Ed(_) => "EdDSA",
        };
        json!({"alg": algorithm, "typ": "JWT", "kid": "k1"})
    }

    async fn ask(&self, token: &str) -> Answer {
        ask(&self.world, token).await
    }

    /// The status and the words of a refusal.
    async fn refusal(&self, token: &str) -> (u16, String) {
        let answer = self.ask(token).await;
        (answer.status.as_u16(), answer.error().1)
    }
}

async fn ask(world: &World, token: &str) -> Answer {
    world.ask_with(&[("authorization", &format!("Bearer {token}"))], ASK).await
}

fn changed(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test]
async fn a_token_of_an_issuer_that_the_policy_names_is_admitted_by_its_claims() {
    let setting = Setting::new().await;
    let claims = setting.issuer.claims();
    assert_eq!(setting.ask(&setting.token(&claims)).await.status, 200);
    assert_eq!(
        setting
            .ask(&setting.token(&changed(claims.clone(), "group", json!("claims"))))
            .await
            .status,
        200
    );
    let outside = setting.token(&changed(claims, "group", json!(["sales"])));
    let (status, message) = setting.refusal(&outside).await;
    let expected = format!(
        "alice of {} may not call assistant: RoutingPolicy claims/assistant must admit it in spec.clients",
        setting.issuer.0.url
    );
    assert_eq!((status, message), (403, expected));
    assert_eq!(setting.issuer.asked(), 1, "its keys are asked for once");
    assert_eq!(setting.world.reviewer.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn every_algorithm_that_is_taken_is_checked() {
    let signers = [
        (Signer::rsa(), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (Signer::p256(), &["ES256"]),
        (Signer::ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"), &["ES384"]),
        (Signer::ed(), &["EdDSA"]),
    ];
    for (signer, algorithms) in signers {
        let setting = Setting::with(signer).await;
        for algorithm in algorithms {
            let claims = setting.issuer.claims();
            let good = token(&setting.signer, &json!({"alg": algorithm, "kid": "k1"}), &claims);
            assert_eq!(setting.ask(&good).await.status, 200, "{algorithm}");
            assert_eq!(
                setting
                    .ask(&token(&setting.signer, &json!({"alg": algorithm}), &claims))
                    .await
                    .status,
                200,
                "{algorithm} without kid"
            );
            let (content, signature) = good.rsplit_once('.').unwrap();
            let mut signature = BASE64.decode(signature).unwrap();
            signature[9] ^= 1;
            assert_eq!(setting.ask(&with_signature(content, &signature)).await.status, 401, "{algorithm}");
        }
    }
}

#[tokio::test]
async fn red_team_what_is_wrong_with_a_token_is_said_and_nothing_of_what_would_do() {
    let setting = Setting::new().await;
    let claims = setting.issuer.claims();
    let with = |name: &str, value: Value| setting.token(&changed(claims.clone(), name, value));
    for (token, says) in [
        (with("aud", json!("mail")), "it is for another audience (aud)"),
        (with("aud", json!(["llm-admin", "LLM"])), "it is for another audience (aud)"),
        (with("aud", Value::Null), "it is for another audience (aud)"),
        (with("exp", json!(-31)), "it expired at 1969-12-31T23:59:29Z"),
        (with("exp", Value::Null), "it must say when it ends (exp)"),
        (with("exp", json!("3600")), "it must say when it ends (exp)"),
        (with("nbf", json!(31)), "it is not good before 1970-01-01T00:00:31Z"),
        (with("nbf", json!("0")), "it must say when it ends (exp), and say its times"),
        (with("sub", Value::Null), "it must say whom it is about (sub)"),
        (with("sub", json!("a".repeat(256))), "it must say whom it is about (sub)"),
    ] {
        let (status, message) = setting.refusal(&token).await;
        assert_eq!(status, 401, "{says}");
        assert!(message.starts_with(&format!("the token was refused: {says}")), "{message}");
        assert!(!message.contains("llm") || says.contains("llm"), "{message}");
    }
    // Clocks may be a little apart.
    assert_eq!(setting.ask(&with("exp", json!(-29))).await.status, 200);
    assert_eq!(setting.ask(&with("nbf", json!(29.5))).await.status, 200);
}

#[tokio::test]
async fn a_token_that_was_good_is_judged_anew_each_time() {
    static SECONDS: AtomicI64 = AtomicI64::new(0);
    let signer = Signer::rsa();
    let issuer = Issuer::start(vec![signer.public("k1")]).await;
    let engine = Engine::start(paris()).await;
    let world = World::with(|options| options.now = || Timestamp::from_second(SECONDS.load(Ordering::SeqCst)).unwrap());
    world.pod("a", &[&engine.url]);
    world.route(&issuer.policy());
    let header = json!({"alg": "RS256", "kid": "k1"});
    let good = token(&signer, &header, &issuer.claims());
    assert_eq!(ask(&world, &good).await.status, 200);
    // The same signature under another content.
    let other = content(&header, &changed(issuer.claims(), "sub", json!("bob")));
    assert_eq!(
        ask(&world, &format!("{other}.{}", good.rsplit('.').next().unwrap())).await.status,
        401
    );
    for (change, status) in [
        ("audiences: [llm]", 200),
        ("audiences: [mail]", 401),
        ("claims: {group: admins}", 403),
        ("claims: {}", 200),
    ] {
        let name = change.split(':').next().unwrap();
        let usual = if name == "claims" {
            "claims: {group: claims}"
        } else {
            "audiences: [llm]"
        };
        world.route(&issuer.policy().replace(usual, change));
        assert_eq!(ask(&world, &good).await.status, status, "{change}");
    }
    SECONDS.store(3630, Ordering::SeqCst);
    assert_eq!(ask(&world, &good).await.status, 401);
}

#[tokio::test]
async fn red_team_a_token_without_signature_is_refused() {
    let setting = Setting::new().await;
    let claims = setting.issuer.claims();
    let signed = setting.token(&claims);
    for algorithm in ["none", "None", "NONE", ""] {
        let content = content(&json!({"alg": algorithm, "kid": "k1"}), &claims);
        for token in [format!("{content}."), format!("{content}.{}", signed.rsplit('.').next().unwrap())] {
            assert_eq!(setting.ask(&token).await.status, 401, "{algorithm}");
        }
    }
    let (content, _) = signed.rsplit_once('.').unwrap();
    for token in [
        format!("{content}.AA"),
        format!("{content}.{}", BASE64.encode([0; 64])),
        format!("{content}.!!"),
    ] {
        assert_eq!(setting.ask(&token).await.status, 401, "{token}");
    }
}

#[tokio::test]
async fn red_team_a_public_key_is_never_the_secret_of_an_hmac() {
    let setting = Setting::with(Signer::rsa()).await;
    let claims = setting.issuer.claims();
    let key = setting.signer.public("k1");
    let Signer::Rsa(pair) = &setting.signer else { panic!() };
    let modulus = BASE64.decode(key["n"].as_str().unwrap()).unwrap();
    let texts = [key["n"].as_str().unwrap().to_owned(), key.to_string()].map(String::into_bytes);
    for secret in [&modulus, &texts[0], &texts[1], pair.public().as_ref()] {
        for (algorithm, kind) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS512", hmac::HMAC_SHA512),
            ("RS256", hmac::HMAC_SHA256),
        ] {
            let content = content(&json!({"alg": algorithm, "kid": "k1"}), &claims);
            let tag = hmac::sign(&hmac::Key::new(kind, secret), content.as_bytes());
            assert_eq!(
                setting.ask(&with_signature(&content, tag.as_ref())).await.status,
                401,
                "{algorithm}"
            );
        }
    }
    // And a secret among an issuer's keys makes none of its tokens good.
    let secret = [7; 32];
    setting
        .issuer
        .0
        .keys
        .lock()
        .unwrap()
        .push(json!({"kty": "oct", "kid": "k2", "k": BASE64.encode(secret)}));
    pass(Duration::from_secs(31)).await;
    let content = content(&json!({"alg": "HS256", "kid": "k2"}), &claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), content.as_bytes());
    assert_eq!(setting.ask(&with_signature(&content, tag.as_ref())).await.status, 401);
}

#[tokio::test]
async fn red_team_a_token_does_not_choose_its_key() {
    let setting = Setting::with(Signer::rsa()).await;
    let evil = Signer::p256();
    let home = Issuer::start(vec![evil.public("k1"), evil.public("evil")]).await;
    let claims = setting.issuer.claims();
    let keys = format!("{}/keys", home.0.url);
    for header in [
        json!({"alg": "ES256", "kid": "k1"}),
        json!({"alg": "ES256", "kid": "evil", "jku": keys}),
        json!({"alg": "ES256", "jku": keys, "x5u": keys}),
        json!({"alg": "ES256", "kid": keys}),
        json!({"alg": "ES256", "kid": "../../../../dev/null"}),
        json!({"alg": "ES256", "jwk": evil.public("evil")}),
        json!({"alg": "ES256", "x5c": ["AAAA"], "x5u": keys}),
        json!({"alg": "RS256", "kid": "k1", "jwk": evil.public("k1")}),
    ] {
        let (status, message) = setting.refusal(&token(&evil, &header, &claims)).await;
        assert_eq!(
            (status, &*message),
            (401, "the token was refused: its signature was made by none of its issuer's keys"),
            "{header}"
        );
    }
    assert_eq!(home.asked(), 0, "nobody is asked whom a token names");
    // A header that must be understood and is not.
    let critical = token(
        &setting.signer,
        &json!({"alg": "RS256", "kid": "k1", "crit": ["b64"], "b64": false}),
        &claims,
    );
    assert_eq!(setting.ask(&critical).await.status, 401);
    // A key is for one algorithm where its issuer says so, and encrypts nothing or signs nothing as it says.
    for (name, value) in [("alg", "RS512"), ("use", "enc"), ("alg", "RSA-OAEP")] {
        let limited = changed(setting.signer.public("k1"), name, json!(value));
        let issuer = Issuer::start(vec![limited, Signer::ed().public("k2")]).await;
        setting.world.route(&issuer.policy());
        assert_eq!(setting.ask(&setting.token(&issuer.claims())).await.status, 401, "{name} {value}");
    }
}

#[tokio::test]
async fn red_team_an_issuer_vouches_for_its_own_tokens_alone() {
    let setting = Setting::new().await;
    let other = Signer::p256();
    let stranger = Issuer::start(vec![other.public("k1")]).await;
    // Of an issuer that no policy names: Kubernetes is asked, and the issuer is not.
    let header = json!({"alg": "ES256", "kid": "k1"});
    let mut unknown = stranger.claims();
    unknown["sub"] = json!("system:serviceaccount:claims:web");
    let content = content(&header, &unknown);
    let signed = with_signature(&content, &other.sign("ES256", content.as_bytes()));
    assert_ne!(setting.ask(&signed).await.status, 200);
    assert_eq!(stranger.asked(), 0);
    // Signed by one trusted issuer in the name of another.
    setting.world.route(&format!(
        "clients: [{{jwt: {{issuer: '{}', audiences: [llm], claims: {{group: claims}}}}}}, {{jwt: {{issuer: '{}', audiences: [llm], claims: {{group: other}}}}}}], {ONLY_A}",
        setting.issuer.0.url, stranger.0.url
    ));
    assert_eq!(setting.ask(&token(&other, &header, &setting.issuer.claims())).await.status, 401);
    // And what one policy asks of one issuer's tokens, another issuer's do not fulfil.
    assert_eq!(setting.ask(&token(&other, &header, &stranger.claims())).await.status, 403);
    assert_eq!(
        setting
            .ask(&setting.token(&changed(setting.issuer.claims(), "group", json!("other"))))
            .await
            .status,
        403
    );
    assert_eq!(
        setting
            .ask(&token(&other, &header, &changed(stranger.claims(), "group", json!("other"))))
            .await
            .status,
        200
    );
    // An issuer is its whole name.
    for name in [format!("{}/", setting.issuer.0.url), setting.issuer.0.url.to_uppercase()] {
        assert_ne!(
            setting
                .ask(&setting.token(&changed(setting.issuer.claims(), "iss", json!(name))))
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn red_team_a_service_accounts_token_is_nothing_else() {
    let setting = Setting::new().await;
    // Even where a policy names the cluster's own issuer: Kubernetes judges the tokens that are meant for it.
    let mut claims = setting.issuer.claims();
    claims["aud"] = json!(["llmportfolio.dev", "llm"]);
    let account = setting.token(&claims);
    assert_ne!(setting.ask(&account).await.status, 200);
    assert_eq!(setting.world.reviewer.calls.load(Ordering::SeqCst), 1);
    assert_eq!(setting.issuer.asked(), 0);
    // Shown as an API key, a token is still a token.
    setting
        .world
        .route(&format!("clients: [{{apiKeys: {{matchLabels: {{team: claims}}}}}}], {ONLY_A}"));
    for header in ["x-api-key", "api-key"] {
        let answer = setting.world.ask_with(&[(header, "claims.x.web")], ASK).await;
        assert_eq!(answer.status, 403);
        assert!(
            answer.error().1.starts_with("service account claims/web may not call"),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_refused_token_is_told_in_the_protocol_of_its_client_and_never_becomes_anonymous() {
    let issuer = Issuer::start(vec![Signer::p256().public("k1")]).await;
    let engine = Engine::start(paris()).await;
    let world = World::with(|options| options.allow_anonymous = true);
    world.pod("a", &[&engine.url]);
    world.route(&issuer.policy().replace("clients: [", "clients: [{anonymous: {}}, "));
    let forged = token(&Signer::p256(), &json!({"alg": "ES256", "kid": "k1"}), &issuer.claims());
    assert_eq!(ask(&world, &forged).await.status, 401);
    let headers = [("x-api-key", forged.as_str()), ("anthropic-version", "2023-06-01")];
    let body = r#"{"model":"assistant","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = Answer::read(world.call(post_to("/v1/messages", &headers, body)).await).await;
    let said: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(
        (answer.status.as_u16(), &said["type"], &said["error"]["type"]),
        (401, &json!("error"), &json!("authentication_error"))
    );
    assert!(!answer.text.contains(&forged));
}

#[tokio::test]
async fn keys_that_change_are_found_and_an_issuer_is_not_asked_more_than_twice_a_minute() {
    let setting = Setting::new().await;
    let claims = setting.issuer.claims();
    assert_eq!(setting.ask(&setting.token(&claims)).await.status, 200);
    let next = Signer::p256();
    setting.issuer.0.keys.lock().unwrap().push(next.public("k2"));
    let of_next = token(&next, &json!({"alg": "ES256", "kid": "k2"}), &claims);
    for _ in 0..20 {
        assert_eq!(setting.ask(&of_next).await.status, 401);
    }
    assert_eq!(setting.issuer.asked(), 1, "too early");
    pass(Duration::from_secs(30)).await;
    let answers = futures::future::join_all((0..20).map(|_| setting.ask(&of_next))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(setting.issuer.asked(), 2, "once for all of them");
    let unknown = token(&next, &json!({"alg": "ES256", "kid": "k3"}), &claims);
    for _ in 0..20 {
        assert_eq!(setting.ask(&unknown).await.status, 401);
    }
    assert_eq!(setting.issuer.asked(), 2);
    // One that was taken back is gone when its time is over.
    setting.issuer.0.keys.lock().unwrap().remove(0);
    pass(Duration::from_secs(601 + 60)).await;
    assert_eq!(setting.ask(&setting.token(&claims)).await.status, 401);
}

#[tokio::test]
async fn while_an_issuer_is_away_its_keys_are_used_for_an_hour() {
    let setting = Setting::new().await;
    let claims = changed(setting.issuer.claims(), "exp", json!(1_000_000));
    let good = setting.token(&claims);
    setting.issuer.0.is_away.store(true, Ordering::SeqCst);
    let answer = setting.ask(&good).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().0.as_str()),
        (503, "authentication_unavailable")
    );
    assert_eq!(answer.header("retry-after"), "5");
    setting.issuer.0.is_away.store(false, Ordering::SeqCst);
    pass(Duration::from_secs(5)).await;
    assert_eq!(setting.ask(&good).await.status, 200);
    setting.issuer.0.is_away.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        pass(Duration::from_secs(1000)).await;
        assert_eq!(setting.ask(&good).await.status, 200);
    }
    pass(Duration::from_secs(201)).await;
    assert_eq!(setting.ask(&good).await.status, 503);
}

#[tokio::test]
async fn an_issuer_that_speaks_for_another_has_no_keys() {
    for discovery in [
        json!({"issuer": "https://accounts.example.com", "jwks_uri": "http://127.0.0.1:1/keys"}),
        json!({"jwks_uri": "http://127.0.0.1:1/keys"}),
        json!({"issuer": "ISSUER", "jwks_uri": "http://id.example.com/keys"}),
        json!({"issuer": "ISSUER", "jwks_uri": "file:///etc/passwd"}),
        json!([]),
    ] {
        let setting = Setting::new().await;
        let text = discovery.to_string().replace("ISSUER", &setting.issuer.0.url);
        *setting.issuer.0.discovery.lock().unwrap() = Some(serde_json::from_str(&text).unwrap());
        assert_eq!(setting.ask(&setting.token(&setting.issuer.claims())).await.status, 503, "{text}");
    }
}

#[tokio::test]
async fn tokens_are_taken_without_kubernetes_too() {
    let setting = Setting::new().await;
    let engine = Engine::start(paris()).await;
    let world = World::without_kubernetes();
    world.pod("a", &[&engine.url]);
    world.route(&setting.issuer.policy());
    assert_eq!(ask(&world, &setting.token(&setting.issuer.claims())).await.status, 200);
    let unknown = setting.token(&changed(setting.issuer.claims(), "iss", json!("https://elsewhere.example.com")));
    let answer = ask(&world, &unknown).await;
    assert_eq!(answer.status, 401);
    assert!(
        answer.error().1.starts_with("the token is of no issuer that a policy names"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn an_api_key_is_good_until_it_expires() {
    let engine = Engine::start(paris()).await;
    let world = World::with(|options| options.allow_anonymous = true);
    world.pod("a", &[&engine.url]);
    world.route(&format!(
        "clients: [{{anonymous: {{}}}}, {{apiKeys: {{matchLabels: {{team: claims}}}}}}], {ONLY_A}"
    ));
    let keys = [
        ("sk-now", Expires::At("1970-01-01T00:00:00Z".parse().unwrap())),
        ("sk-later", Expires::At("1970-01-01T00:00:01Z".parse().unwrap())),
        ("sk-broken", Expires::Unreadable),
    ];
    let keys = keys.map(|(key, expires)| {
        let holder = ApiKey {
            name: key.to_owned(),
            labels: [("team".to_owned(), "claims".to_owned())].into(),
            expires,
        };
        (super::hash(key), holder)
    });
    world.source.api_keys.send_replace(ApiKeys::new(keys).into());
    assert_eq!(ask(&world, "sk-later").await.status, 200);
    let answer = ask(&world, "sk-now").await;
    let expected = "the API key expired at 1970-01-01T00:00:00Z: ask for another where it came from";
    assert_eq!((answer.status.as_u16(), &*answer.error().1), (401, expected));
    assert!(
        ask(&world, "sk-broken")
            .await
            .error()
            .1
            .contains("llmportfolio.dev/expires must be a time")
    );
}

#[tokio::test]
async fn red_team_an_api_key_is_exactly_what_it_is() {
    let engine = Engine::start(paris()).await;
    let world = World::over(
        &[&engine],
        &format!("clients: [{{apiKeys: {{matchLabels: {{team: claims}}}}}}], {ONLY_A}"),
    );
    let key = api_key::written(&[0xab; 32]);
    let holder = ApiKey {
        name: "ci".to_owned(),
        labels: [("team".to_owned(), "claims".to_owned())].into(),
        ..ApiKey::default()
    };
    world
        .source
        .api_keys
        .send_replace(ApiKeys::new([(api_key::hash(&key), holder)]).into());
    assert_eq!(ask(&world, &key).await.status, 200);
    // Spaces around a header's value are not part of it.
    assert_eq!(ask(&world, &format!("{key}  ")).await.status, 200);
    let mistyped = [
        key.to_uppercase(),
        key.replacen("pk-", "PK-", 1),
        key[..74].to_owned(),
        format!("{key}0"),
        key.replacen("ab", "ba", 1),
        key.replacen("ab", "a b", 1),
    ];
    for wrong in mistyped {
        let answer = ask(&world, &wrong).await;
        assert_eq!(answer.status, 401, "{wrong}");
        if wrong.starts_with("pk-") {
            assert!(answer.error().1.contains("it is mistyped or cut off"), "{}", answer.text);
        }
    }
    // Nor is its hash, which people who may read the Secret know.
    assert_eq!(ask(&world, &api_key::hash(&key)).await.status, 401);
    let another = ask(&world, &api_key::written(&[1; 32])).await;
    assert!(another.error().1.starts_with("the API key is not known: send"), "{}", another.text);
}

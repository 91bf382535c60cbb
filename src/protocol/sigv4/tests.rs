use super::*;
use proptest::prelude::*;

/// One of AWS's own vectors (aws-sig-v4-test-suite), all with the same key, time and scope.
struct Vector {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    signed: &'static str,
    signature: &'static str,
}

#[rustfmt::skip]
const VECTORS: &[Vector] = &[
    Vector { name: "get-header-key-duplicate", method: "GET", path: "/", query: "", headers: &[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")], body: "", signed: "host;my-header1;x-amz-date", signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
    Vector { name: "get-header-value-order", method: "GET", path: "/", query: "", headers: &[("My-Header1", "value4"), ("My-Header1", "value1"), ("My-Header1", "value3"), ("My-Header1", "value2")], body: "", signed: "host;my-header1;x-amz-date", signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01" },
    Vector { name: "get-header-value-trim", method: "GET", path: "/", query: "", headers: &[("My-Header1", " value1"), ("My-Header2", r#" "a   b   c""#)], body: "", signed: "host;my-header1;my-header2;x-amz-date", signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
    Vector { name: "get-unreserved", method: "GET", path: "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
    Vector { name: "get-utf8", method: "GET", path: "/ሴ", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
    Vector { name: "get-vanilla-empty-query-key", method: "GET", path: "/", query: "Param1=value1", headers: &[], body: "", signed: "host;x-amz-date", signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb" },
    Vector { name: "get-vanilla-query-order-encoded", method: "GET", path: "/", query: "Param-3=Value3&Param=Value2&%E1%88%B4=Value1", headers: &[], body: "", signed: "host;x-amz-date", signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac" },
    Vector { name: "get-vanilla-query-order-key-case", method: "GET", path: "/", query: "Param2=value2&Param1=value1", headers: &[], body: "", signed: "host;x-amz-date", signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
    Vector { name: "get-vanilla-query-order-key", method: "GET", path: "/", query: "Param1=value2&Param1=Value1", headers: &[], body: "", signed: "host;x-amz-date", signature: "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1" },
    Vector { name: "get-vanilla-query-order-value", method: "GET", path: "/", query: "Param1=value2&Param1=value1", headers: &[], body: "", signed: "host;x-amz-date", signature: "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694" },
    Vector { name: "get-vanilla-query-unreserved", method: "GET", path: "/", query: "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", headers: &[], body: "", signed: "host;x-amz-date", signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197" },
    Vector { name: "get-vanilla-utf8-query", method: "GET", path: "/", query: "ሴ=bar", headers: &[], body: "", signed: "host;x-amz-date", signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
    Vector { name: "get-vanilla", method: "GET", path: "/", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    Vector { name: "get-relative-relative", method: "GET", path: "/example1/example2/../..", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    Vector { name: "get-slash-dot-slash", method: "GET", path: "/./", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    Vector { name: "get-slash-pointless-dot", method: "GET", path: "/./example", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5" },
    Vector { name: "get-slashes", method: "GET", path: "//example//", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84" },
    Vector { name: "get-space", method: "GET", path: "/example space/", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
    Vector { name: "get-special-character", method: "GET", path: "/example/$delete", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27" },
    Vector { name: "post-header-key-case", method: "POST", path: "/", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    Vector { name: "post-header-key-sort", method: "POST", path: "/", query: "", headers: &[("My-Header1", "value1")], body: "", signed: "host;my-header1;x-amz-date", signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c" },
    Vector { name: "post-header-value-case", method: "POST", path: "/", query: "", headers: &[("My-Header1", "VALUE1")], body: "", signed: "host;my-header1;x-amz-date", signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d" },
    Vector { name: "post-vanilla-empty-query-value", method: "POST", path: "/", query: "Param1=value1", headers: &[], body: "", signed: "host;x-amz-date", signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11" },
    Vector { name: "post-vanilla", method: "POST", path: "/", query: "", headers: &[], body: "", signed: "host;x-amz-date", signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    Vector { name: "post-x-www-form-urlencoded-parameters", method: "POST", path: "/", query: "", headers: &[("Content-Type", "application/x-www-form-urlencoded; charset=utf8")], body: "Param1=value1", signed: "content-type;host;x-amz-date", signature: "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe" },
    Vector { name: "post-x-www-form-urlencoded", method: "POST", path: "/", query: "", headers: &[("Content-Type", "application/x-www-form-urlencoded")], body: "Param1=value1", signed: "content-type;host;x-amz-date", signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
];

/// 2015-08-30T12:36:00Z, the time of AWS's vectors.
const NOW: u64 = 1_440_938_160;
const SCOPE: Scope<'_> = Scope {
    region: "us-east-1",
    service: "service",
};

fn credentials(session_token: Option<&str>) -> Credentials {
    Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: session_token.map(str::to_owned),
    }
}

fn authorization(scope: &str, signed: &str, signature: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}/aws4_request, SignedHeaders={signed}, Signature={signature}")
}

#[test]
fn awss_own_vectors_are_signed_as_it_signs_them() {
    for vector in VECTORS {
        let Vector {
            name,
            method,
            path,
            query,
            headers,
            body,
            signed,
            signature,
        } = *vector;
        let request = Request {
            method,
            host: "example.amazonaws.com",
            path,
            query,
            headers,
            body: body.as_bytes(),
        };
        let expected = [
            ("x-amz-date", "20150830T123600Z".to_owned()),
            ("authorization", authorization("20150830/us-east-1/service", signed, signature)),
        ];
        assert_eq!(sign(&request, &SCOPE, &credentials(None), NOW), expected, "{name}");
    }
}

/// AWS's vector `post-sts-header-before`.
#[test]
fn the_token_of_a_temporary_key_is_sent_and_signed() {
    let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
    let request = Request {
        method: "POST",
        host: "example.amazonaws.com",
        path: "/",
        query: "",
        headers: &[],
        body: b"",
    };
    let headers = sign(&request, &SCOPE, &credentials(Some(token)), NOW);
    let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
    let expected = authorization("20150830/us-east-1/service", "host;x-amz-date;x-amz-security-token", signature);
    assert_eq!(
        headers[1..],
        [("x-amz-security-token", token.to_owned()), ("authorization", expected)]
    );
}

/// Made with botocore 1.44.8: `SigV4Auth(Credentials(id, secret), "bedrock", "eu-central-1").add_auth(AWSRequest("POST", url, data=body,
/// headers={"content-type": "application/json"}))`, the clock set to 1764188400 seconds.
#[test]
fn a_request_to_an_inference_profile_of_bedrock_is_signed_as_botocore_signs_it() {
    let model = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let path = format!("/model/{}/converse-stream", encode(model.as_bytes()));
    let request = Request {
        method: "POST",
        host: "bedrock-runtime.eu-central-1.amazonaws.com",
        path: &path,
        query: "",
        headers: &[("content-type", "application/json")],
        body: br#"{"messages":[{"role":"user","content":[{"text":"Hello"}]}]}"#,
    };
    let scope = Scope {
        region: "eu-central-1",
        service: "bedrock",
    };
    let signature = "1c1194671fa60ddb05bacbe9c9c376901eb6baca67a9a77e41c8ce0295e68085";
    let expected = [
        ("x-amz-date", "20251126T202000Z".to_owned()),
        (
            "authorization",
            authorization("20251126/eu-central-1/bedrock", "content-type;host;x-amz-date", signature),
        ),
    ];
    assert_eq!(sign(&request, &scope, &credentials(None), 1_764_188_400), expected);
}

#[test]
fn a_path_is_cleaned_and_encoded_whatever_it_is() {
    for (path, expected) in [
        ("", "/"),
        ("/", "/"),
        ("/a/../../b", "/b"),
        ("/a/b/..", "/a"),
        ("/a%2Fb/c:d", "/a%252Fb/c%3Ad"),
        ("/a/./b//c/", "/a/b/c/"),
    ] {
        assert_eq!(canonical_path(path), expected, "{path}");
    }
}

proptest! {
    #[test]
    fn no_request_makes_signing_panic_and_every_signature_is_a_header(
        path in ".{0,30}", query in "[a%&=é 0-9]{0,20}", value in ".{0,20}", body in prop::collection::vec(any::<u8>(), 0..40), now in any::<u64>(),
    ) {
        let headers = [("a", value.as_str())];
        let request = Request { method: "POST", host: "h", path: &path, query: &query, headers: &headers, body: &body };
        for (_, value) in sign(&request, &SCOPE, &credentials(Some("t")), now) {
            prop_assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again(text in ".{0,30}") {
        let encoded = encode(text.as_bytes());
        let decoded = decode(&encoded).into_owned();
        prop_assert_eq!(decoded, text.as_bytes());
    }
}

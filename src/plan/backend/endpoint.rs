//! What cannot be right about an address that a person writes: told by `portfolio check` and by the operator in the same words.

use http::Uri;

use super::base_url;
use crate::api::model_deployment::{ApiSource, Provider};
use crate::plan::Invalid;

const FIELD: &str = "spec.api.endpoint";

/// A URL of a server: what it is reached by, and a path perhaps.
///
/// # Errors
/// What is wrong with it, after its name.
pub fn server(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| "is not a URL".to_owned())?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let Some(authority) = authority.filter(|_| matches!(uri.scheme_str(), Some("http" | "https"))) else {
        return Err("does not begin with http:// or https:// and a host".to_owned());
    };
    let port = authority.as_str().rsplit_once(authority.host()).map_or("", |(_, port)| port);
    match port.strip_prefix(':') {
        Some(port) if port.parse::<u16>().map_or(true, |port| port == 0) => {
            Err(format!("has the port {port:?}: ports are from 1 to 65535"))
        }
        _ => Ok(uri),
    }
}

/// Where operations are below the base URLs of a protocol: who writes one of these has written too much.
const OPERATIONS: [(&str, &str); 7] = [
    ("", "/chat/completions"),
    ("/v1", "/completions"),
    ("/v1", "/responses"),
    ("/v1", "/messages/count_tokens"),
    ("/v1", "/messages"),
    ("/v1", "/embeddings"),
    ("/v1", "/models"),
];

/// Why nothing can be asked at the endpoint of `api`; `None`: it may be right.
#[must_use]
pub fn misplaced(api: &ApiSource) -> Option<Invalid> {
    let url = api.endpoint.as_deref()?;
    let such_as = match api.provider {
        Provider::AzureOpenAI => "https://NAME.openai.azure.com",
        Provider::VertexAI | Provider::Bedrock => "https://proxy.example.com",
        Provider::Gemini => "https://proxy.example.com/v1beta",
        Provider::OpenAI | Provider::Anthropic | Provider::Mistral | Provider::OpenAICompatible => "https://llm.example.com/v1",
    };
    let uri = match server(url) {
        Ok(uri) => uri,
        Err(why) => {
            return Some(Invalid::new(
                FIELD,
                format!("{url:?} {why}"),
                format!("write the base URL, such as {such_as}"),
            ));
        }
    };
    let path = uri.path().trim_end_matches('/');
    let kept = match api.provider {
        Provider::Gemini | Provider::VertexAI => whole(path, "/models"),
        Provider::Bedrock => whole(path, "/model"),
        Provider::AzureOpenAI => whole(path, "/openai/deployments"),
        Provider::OpenAI | Provider::Anthropic | Provider::Mistral | Provider::OpenAICompatible => None,
    };
    let of_operation = |(base, operation): &(&str, &str)| {
        let before = path.strip_suffix(operation)?;
        before.ends_with(base).then_some(before.len())
    };
    let kept = kept.or_else(|| OPERATIONS.iter().find_map(of_operation))?;
    let base = without_path(url) + &path[..kept];
    Some(Invalid::new(
        FIELD,
        format!(
            "{:?} is a part of the address of one operation, which the gateway adds itself",
            &path[kept..]
        ),
        format!("write {base}"),
    ))
}

/// What is probably forgotten in the endpoint of `api`, although a server may be so.
#[must_use]
pub fn doubtful(api: &ApiSource) -> Option<Invalid> {
    let url = api.endpoint.as_deref()?;
    let version = match api.provider {
        Provider::OpenAI | Provider::Anthropic | Provider::Mistral | Provider::OpenAICompatible => "/v1",
        Provider::Gemini => "/v1beta",
        Provider::AzureOpenAI | Provider::VertexAI | Provider::Bedrock => return None,
    };
    let uri = server(url).ok()?;
    let operation = match api.provider {
        Provider::Anthropic => "/messages",
        Provider::Gemini => "/models/…",
        _ => "/chat/completions",
    };
    (uri.path().trim_end_matches('/').is_empty()).then(|| {
        let base = base_url(api);
        Invalid::new(
            FIELD,
            format!("has no path, so requests go to {base}{operation}"),
            format!("write {base}{version} if its API is there, as with most servers"),
        )
    })
}

/// Where `path` has these segments, and not only the beginning of longer ones.
fn whole(path: &str, segments: &str) -> Option<usize> {
    let ends = |at: &usize| matches!(path.as_bytes().get(at + segments.len()), None | Some(b'/'));
    path.match_indices(segments).map(|(at, _)| at).find(ends)
}

fn without_path(url: &str) -> String {
    let host_at = url.find("://").map_or(0, |at| at + 3);
    let end = url[host_at..].find('/').map_or(url.len(), |at| host_at + at);
    url[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(provider: &str, endpoint: &str) -> (Option<String>, Option<String>) {
        let api: ApiSource = serde_saphyr::from_str(&format!("{{provider: {provider}, model: m, endpoint: '{endpoint}'}}")).unwrap();
        (misplaced(&api).map(|i| i.to_string()), doubtful(&api).map(|i| i.to_string()))
    }

    #[test]
    fn an_endpoint_that_ends_with_an_operation_is_answered_with_the_base_that_was_meant() {
        for (provider, endpoint, operation, base) in [
            (
                "OpenAICompatible",
                "https://h/v1/chat/completions",
                "/chat/completions",
                "https://h/v1",
            ),
            (
                "OpenAICompatible",
                "http://h:1/chat/completions/",
                "/chat/completions",
                "http://h:1",
            ),
            ("OpenAI", "https://h/x/v1/responses", "/responses", "https://h/x/v1"),
            ("Anthropic", "https://h/v1/messages", "/messages", "https://h/v1"),
            (
                "Gemini",
                "https://h/v1beta/models/gemini-3:generateContent",
                "/models/gemini-3:generateContent",
                "https://h/v1beta",
            ),
            ("Bedrock", "https://h/model/m/converse", "/model/m/converse", "https://h"),
            (
                "AzureOpenAI",
                "https://n.openai.azure.com/openai/deployments/gpt",
                "/openai/deployments/gpt",
                "https://n.openai.azure.com",
            ),
            (
                "AzureOpenAI",
                "https://n/openai/v1/chat/completions",
                "/chat/completions",
                "https://n/openai/v1",
            ),
        ] {
            let said = said(provider, endpoint).0.unwrap_or_default();
            let wanted = format!(
                "spec.api.endpoint: {operation:?} is a part of the address of one operation, which the gateway adds itself; write {base}"
            );
            assert_eq!(said, wanted, "{endpoint}");
        }
        for (provider, endpoint) in [
            ("OpenAICompatible", "https://h/v1"),
            ("OpenAICompatible", "http://[::1]:8080/team/completions"),
            ("VertexAI", "https://h/v1/projects/p/locations/r/publishers/google"),
            ("AzureOpenAI", "https://n.openai.azure.com"),
            ("Bedrock", "https://h"),
            ("Gemini", "https://h/models-of-ours/v1beta"),
        ] {
            assert_eq!(said(provider, endpoint), (None, None), "{endpoint}");
        }
    }

    #[test]
    fn a_port_that_does_not_exist_is_named() {
        for (port, endpoint) in [
            ("99999", "https://h:99999/v1"),
            ("0", "https://h:0/v1"),
            ("70000", "https://[::1]:70000/v1"),
        ] {
            let said = said("OpenAICompatible", endpoint).0.unwrap_or_default();
            let wanted = format!(
                "spec.api.endpoint: {endpoint:?} has the port {port:?}: ports are from 1 to 65535; write the base URL, such as https://llm.example.com/v1"
            );
            assert_eq!(said, wanted);
        }
    }

    #[test]
    fn an_endpoint_without_a_path_is_doubted_where_servers_have_one() {
        assert_eq!(
            said("OpenAICompatible", "https://h/").1.as_deref(),
            Some(
                "spec.api.endpoint: has no path, so requests go to https://h/chat/completions; write https://h/v1 if its API is there, as with most servers"
            )
        );
        assert!(
            said("Anthropic", "https://h")
                .1
                .is_some_and(|said| said.contains("https://h/messages"))
        );
        assert!(
            said("Gemini", "https://h")
                .1
                .is_some_and(|said| said.contains("write https://h/v1beta"))
        );
    }
}

//! A pair of AWS's keys, and how people write them into a Secret.

use std::fmt;

use serde::Deserialize;

/// An access key of AWS. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Such as `AKIAIOSFODNN7EXAMPLE`: no secret.
    pub access_key_id: String,
    /// What signatures are made with.
    pub secret_access_key: String,
    /// Goes along with temporary keys.
    pub session_token: Option<String>,
}

/// Why a text holds no access key. Says nothing of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// Neither of the two forms.
    #[error("it is neither ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN] nor JSON with accessKeyId and secretAccessKey")]
    Form,
    /// It begins like JSON and is none, or has fields of wrong types.
    #[error("it begins with {{ and is no JSON object of texts")]
    Json,
    /// One of the two that there must be is missing or empty.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// Something in it cannot be a part of a header.
    #[error("its {0} holds white space, or characters other than ASCII's")]
    Characters(&'static str),
}

impl Credentials {
    /// Reads `ACCESS_KEY_ID:SECRET_ACCESS_KEY`, with `:SESSION_TOKEN` behind it for temporary keys, or AWS's JSON: `accessKeyId`,
    /// `secretAccessKey` and `sessionToken`, each also with a capital letter in front, as its commands print them. White space around it is
    /// nothing.
    ///
    /// # Errors
    /// When it is neither of the two, or one of the two keys is missing.
    pub fn read(text: &str) -> Result<Self, BadCredentials> {
        let text = text.trim();
        let (id, secret, token) = match text.chars().next() {
            None => return Err(BadCredentials::Empty),
            Some('{') => {
                let written: Written = serde_json::from_str(text).map_err(|_| BadCredentials::Json)?;
                (written.access_key_id, written.secret_access_key, written.session_token)
            }
            Some(_) => {
                let mut parts = text.splitn(3, ':').map(str::to_owned);
                let pair = (parts.next(), parts.next());
                let (Some(id), Some(secret)) = pair else {
                    return Err(BadCredentials::Form);
                };
                (Some(id), Some(secret), parts.next())
            }
        };
        Ok(Self {
            access_key_id: part("access key ID", id)?.ok_or(BadCredentials::Missing("access key ID"))?,
            secret_access_key: part("secret access key", secret)?.ok_or(BadCredentials::Missing("secret access key"))?,
            session_token: part("session token", token)?,
        })
    }
}

/// None when there is nothing in it.
fn part(name: &'static str, value: Option<String>) -> Result<Option<String>, BadCredentials> {
    let value = value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    match value {
        Some(value) if !value.bytes().all(|byte| byte.is_ascii_graphic()) => Err(BadCredentials::Characters(name)),
        other => Ok(other),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(alias = "AccessKeyId")]
    access_key_id: Option<String>,
    #[serde(alias = "SecretAccessKey")]
    secret_access_key: Option<String>,
    #[serde(alias = "SessionToken")]
    session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("is_temporary", &self.session_token.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    #[test]
    fn every_way_to_write_a_key_is_read() {
        for (text, token) in [
            (format!("{ID}:{SECRET}"), None),
            (format!("  {ID}:{SECRET}:\n"), None),
            (format!("{ID}:{SECRET}:IQoJb3JpZ2lu/x+y==\n"), Some("IQoJb3JpZ2lu/x+y==")),
            (format!(r#"{{"accessKeyId":"{ID}","secretAccessKey":"{SECRET}"}}"#), None),
            (
                format!(r#"{{"AccessKeyId":"{ID}","SecretAccessKey":"{SECRET}","SessionToken":"t","Version":1}}"#),
                Some("t"),
            ),
            (
                format!(r#"{{"secretAccessKey":"{SECRET}","AccessKeyId":"{ID}","sessionToken":null}}"#),
                None,
            ),
        ] {
            let expected = Credentials {
                access_key_id: ID.to_owned(),
                secret_access_key: SECRET.to_owned(),
                session_token: token.map(str::to_owned),
            };
            assert_eq!(Credentials::read(&text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        for (text, expected) in [
            (" \n", BadCredentials::Empty),
            ("sk-1234", BadCredentials::Form),
            ("{", BadCredentials::Json),
            (r#"{"accessKeyId":1}"#, BadCredentials::Json),
            (
                r#"{"accessKeyId":"a","AccessKeyId":"b","secretAccessKey":"c"}"#,
                BadCredentials::Json,
            ),
            ("{}", BadCredentials::Missing("access key ID")),
            (":x", BadCredentials::Missing("access key ID")),
            ("x:", BadCredentials::Missing("secret access key")),
            ("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b", BadCredentials::Form),
            ("a b:c", BadCredentials::Characters("access key ID")),
            ("a:b\r\nc", BadCredentials::Characters("secret access key")),
        ] {
            assert_eq!(Credentials::read(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Credentials::read(&format!("{ID}:{SECRET}:token-of-mine")).unwrap());
        assert_eq!(shown, format!("Credentials {{ access_key_id: {ID:?}, is_temporary: true, .. }}"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,60}", json in r#"\{("[aA]ccessKeyId":"[a-z]*"|[,:{}"a-z]){0,6}"#) {
            let _ = Credentials::read(&text);
            let _ = Credentials::read(&json);
        }
    }
}

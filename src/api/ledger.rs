//! Where it is kept what was spent of budgets, where the installer wants another place than the gateways' own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Where it is kept what was spent of budgets. With no store in it: in ConfigMaps in the gateways' namespace, or in the file of `serve --ledger`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ledger {
    /// A Redis 5 or Valkey, or what speaks as they do. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
}

/// A Redis or Valkey that all gateways share. Another store begins all budgets of the present windows anew. Its password is not written here: the
/// gateway takes it from the environment variable `PORTFOLIO_LEDGER_PASSWORD`.
///
/// It holds what was spent, so it needs what money needs: `appendonly yes` (with `appendfsync always`, or a crash of it may forget the last
/// second), `maxmemory-policy noeviction` (a budget whose key is evicted begins anew), and one primary: at a failover to a replica that was
/// behind, and where keys are removed by hand, what is forgotten may be spent again. Redis Cluster is not supported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    /// Where it is, such as `redis://valkey.llm-portfolio:6379`, or `rediss://` for TLS, with the number of a database where it is not 0
    /// (`redis://valkey:6379/3`). Default port: 6379. At most 500 characters, and no password.
    pub url: RedisUrl,
    /// Whom it knows the gateways as (an ACL user), such as `portfolio`, who may call `ping`, `script|load`, `eval`, `evalsha`, `get`, `mset` and
    /// `expire` on keys that begin with `keyPrefix`, and `config|get` for gateways to warn of eviction. At most 200 characters. Default: its
    /// default user.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "username")]
    pub username: Option<String>,
    /// What its keys begin with; installations that share a database need one each, or they share budgets of policies with the same names. 1 to 100
    /// letters, digits, `-`, `_`, `.` and `:`. Default: `llm-portfolio`.
    #[serde(default = "llm_portfolio", deserialize_with = "key_prefix")]
    pub key_prefix: String,
    /// What becomes of requests under a budget while it does not answer, once what a gateway has taken is used up. Default: Closed.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// What becomes of requests while it is not known what was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// They are refused with 503: no budget is exceeded.
    #[default]
    Closed,
    /// They go on, and each gateway counts by itself: as far as it knows of, it keeps within the budget, and it tells the store what was spent when
    /// that is back. The bound: instead of one budget at most as many as gateways were there, or began anew, while the store was away.
    Open,
}

/// Where a Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A name or an address; IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The number of the database.
    pub database: u16,
}

/// Longer addresses are none.
const LONGEST_URL: usize = 500;
const LONGEST_USERNAME: usize = 200;
const LONGEST_PREFIX: usize = 100;
const PORT: u16 = 6379;

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port, database } = self;
        let scheme = if *tls { "rediss" } else { "redis" };
        write!(f, "{scheme}://{host}:{port}")?;
        if *database == 0 { Ok(()) } else { write!(f, "/{database}") }
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Nothing of it is repeated before it is known to hold no password.
        let none = |what: &str| format!("the url of the Redis {what}; write it as redis://valkey.llm-portfolio:6379, or rediss:// for TLS");
        if text.len() > LONGEST_URL {
            return Err(none("has more than 500 characters"));
        }
        let (tls, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err(none("begins with neither redis:// nor rediss://")),
        };
        if rest.contains('@') {
            return Err(
                "the url of the Redis holds a user or a password, and settings are no secret: give the password to the gateway in the \
                 environment variable PORTFOLIO_LEDGER_PASSWORD (the chart's gateway.ledger.existingSecret), and the user as username beside the url"
                    .to_owned(),
            );
        }
        let (authority, database) = rest
            .trim_end_matches('/')
            .split_once('/')
            .unwrap_or((rest.trim_end_matches('/'), "0"));
        let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[after_brackets..].rfind(':') {
            Some(at) => (&authority[..after_brackets + at], &authority[after_brackets + at + 1..]),
            None => (authority, ""),
        };
        let is_name = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let is_address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if !is_name && is_address.is_none_or(|address| address.parse::<std::net::Ipv6Addr>().is_err()) {
            return Err(none(&format!("has {host:?} for a host")));
        }
        let port = match port {
            "" => PORT,
            port => (port.parse().ok().filter(|port| *port > 0)).ok_or_else(|| none(&format!("has {port:?} for a port")))?,
        };
        let database = database
            .parse()
            .map_err(|_| none(&format!("has {database:?} for the number of a database")))?;
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            database,
        })
    }
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn llm_portfolio() -> String {
    "llm-portfolio".to_owned()
}

fn username<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?.filter(|name| !name.is_empty());
    match name {
        Some(name) if name.len() > LONGEST_USERNAME || name.chars().any(|c| c.is_whitespace() || c.is_control()) => Err(de::Error::custom(
            "the username of the Redis must be 1 to 200 characters without blanks; write it as portfolio, or leave it out for the default user",
        )),
        name => Ok(name),
    }
}

fn key_prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let prefix = Option::<String>::deserialize(deserializer)?.filter(|prefix| !prefix.is_empty());
    let prefix = prefix.unwrap_or_else(llm_portfolio);
    let is_good = prefix.len() <= LONGEST_PREFIX && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    is_good.then_some(prefix).ok_or_else(|| {
        de::Error::custom("the keyPrefix of the Redis must be 1 to 100 letters, digits, '-', '_', '.' and ':'; write it as llm-portfolio")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Settings;

    fn read(redis: &str) -> Result<Option<Redis>, String> {
        // As settings are read: the text itself is never shown.
        let options = serde_saphyr::options! { with_snippet: false };
        let settings = serde_saphyr::from_str_with_options::<Settings>(&format!("ledger: {{redis: {redis}}}"), options);
        settings.map(|settings| settings.ledger.redis).map_err(|error| error.to_string())
    }

    #[test]
    fn a_redis_needs_its_address_alone() {
        let redis = read("{url: 'redis://valkey.llm-portfolio'}").unwrap().unwrap();
        assert_eq!(redis.url.to_string(), "redis://valkey.llm-portfolio:6379");
        assert_eq!(
            (redis.username, redis.key_prefix.as_str(), redis.on_failure),
            (None, "llm-portfolio", OnFailure::Closed)
        );
        let redis = read("{url: 'rediss://[::1]:7000/3', username: portfolio, keyPrefix: 'eu:prod', onFailure: Open}");
        let redis = redis.unwrap().unwrap();
        let RedisUrl { tls, host, port, database } = &redis.url;
        assert_eq!((*tls, host.as_str(), *port, *database), (true, "[::1]", 7000, 3));
        assert_eq!((redis.key_prefix.as_str(), redis.on_failure), ("eu:prod", OnFailure::Open));
        let written = serde_json::to_string(&redis).unwrap();
        assert_eq!(serde_json::from_str::<Redis>(&written).unwrap(), redis);
        let none: Settings = serde_saphyr::from_str("ledger: {}").unwrap();
        assert_eq!(none.ledger, Ledger::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_a_remedy() {
        for (redis, words) in [
            ("{url: 'valkey:6379'}", "begins with neither redis:// nor rediss://"),
            ("{url: 'http://valkey:6379'}", "write it as redis://valkey.llm-portfolio:6379"),
            ("{url: 'redis://'}", r#"has "" for a host"#),
            ("{url: 'redis://a b'}", r#"has "a b" for a host"#),
            ("{url: 'redis://[::1'}", "for a host"),
            ("{url: 'redis://valkey:0'}", r#"has "0" for a port"#),
            ("{url: 'redis://valkey:70000'}", r#"has "70000" for a port"#),
            ("{url: 'redis://valkey/first'}", r#"has "first" for the number of a database"#),
            ("{url: 'redis://valkey', username: 'a b'}", "leave it out for the default user"),
            ("{url: 'redis://valkey', keyPrefix: 'a{b'}", "1 to 100 letters, digits"),
            ("{url: 'redis://valkey', onFailure: open}", "Closed"),
            ("{url: 'redis://valkey', password: x}", "password"),
            ("{onFailure: Open}", "url"),
        ] {
            let refused = read(redis).unwrap_err();
            assert!(refused.contains(words), "{redis}: {refused}");
        }
        let long = format!("{{url: 'redis://{}'}}", "a".repeat(500));
        assert!(read(&long).unwrap_err().contains("more than 500 characters"));
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        for url in [
            "redis://:hunter2@valkey:6379",
            "rediss://portfolio:hunter2@valkey",
            "redis://portfolio@valkey",
        ] {
            let refused = read(&format!("{{url: '{url}'}}")).unwrap_err();
            assert!(
                refused.contains("PORTFOLIO_LEDGER_PASSWORD") && refused.contains("as username"),
                "{refused}"
            );
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}

//! The issuers of tokens that some route admits, and what of their tokens matters: no other issuer is trusted, or ever asked for its keys, and
//! no more of a token is kept than some policy looks for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::access::{Admission, Client};
use crate::plan::names::TOKEN_AUDIENCE;

/// The claim that says which team a token's holder belongs to.
const TEAM: &str = "team";
/// The longest name of a team.
const TEAM_LIMIT: usize = 256;

/// Every issuer that some route names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuers(BTreeMap<String, Looks>);

/// What of an issuer's tokens some route looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    audiences: BTreeSet<String>,
    claims: BTreeMap<String, BTreeSet<String>>,
}

impl Issuers {
    pub(super) fn of<'a>(admissions: impl Iterator<Item = &'a Admission>) -> Self {
        let mut issuers: BTreeMap<String, Looks> = BTreeMap::new();
        for admission in admissions {
            let Admission::Jwt { issuer, audiences, claims } = admission else {
                continue;
            };
            let looks = issuers.entry(issuer.clone()).or_default();
            // The CRD refuses the audience of service accounts; where its rules are bypassed it counts for nothing.
            looks.audiences.extend(audiences.iter().filter(|a| *a != TOKEN_AUDIENCE).cloned());
            for (name, value) in claims {
                looks.claims.entry(name.clone()).or_default().insert(value.clone());
            }
        }
        Self(issuers)
    }

    /// Whether no route admits any token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is looked at of the tokens of this issuer; `None` where no route names it.
    #[must_use]
    pub fn get(&self, issuer: &str) -> Option<&Looks> {
        self.0.get(issuer)
    }
}

impl Looks {
    /// Whom a token is for, as far as some route looks for that; empty where it is for others alone.
    #[must_use]
    pub fn audiences(&self, claims: &Map<String, Value>) -> Vec<String> {
        let of_token = strings(claims.get("aud"));
        self.audiences
            .iter()
            .filter(|audience| of_token.contains(audience.as_str()))
            .cloned()
            .collect()
    }

    /// The client that a token proves whose signature, times and audience have been found good.
    #[must_use]
    pub fn client(&self, issuer: &str, subject: &str, audiences: Vec<String>, claims: &Map<String, Value>) -> Client {
        let mut kept = BTreeMap::new();
        for (name, wanted) in &self.claims {
            let said = claim(claims, name).map(texts).unwrap_or_default();
            let values: Vec<String> = wanted.iter().filter(|value| said.contains(value.as_str())).cloned().collect();
            if !values.is_empty() {
                kept.insert(name.clone(), values);
            }
        }
        let team = claims.get(TEAM).and_then(Value::as_str);
        Client::Jwt {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            audiences,
            claims: kept,
            team: team.filter(|team| !team.is_empty() && team.len() <= TEAM_LIMIT).map(str::to_owned),
        }
    }
}

/// Whether a token says that it is for this audience.
#[must_use]
pub fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    strings(claims.get("aud")).contains(audience)
}

/// One text, or those of a list; what is no text is left out.
fn strings(value: Option<&Value>) -> BTreeSet<&str> {
    match value {
        Some(Value::String(one)) => BTreeSet::from([one.as_str()]),
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

/// The values of a claim as a policy writes them: texts as they are, numbers and truths by their signs.
fn texts(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) => BTreeSet::from([text.clone()]),
        Value::Array(many) => many.iter().filter(|one| !one.is_array()).flat_map(texts).collect(),
        Value::Bool(_) | Value::Number(_) => BTreeSet::from([value.to_string()]),
        Value::Null | Value::Object(_) => BTreeSet::new(),
    }
}

/// The claim of that name: as it stands, since names such as `https://example.com/groups` have dots, or else within the claim that the part
/// before a dot names.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let mut dots = name.match_indices('.');
        dots.find_map(|(at, _)| claim(claims.get(&name[..at])?.as_object()?, &name[at + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jwt(audience: &str, claims: &[(&str, &str)]) -> Admission {
        Admission::Jwt {
            issuer: "https://id".to_owned(),
            audiences: vec![audience.to_owned()],
            claims: claims
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn client(admissions: &[Admission], claims: &Value) -> Client {
        let issuers = Issuers::of(admissions.iter());
        let (looks, claims) = (issuers.get("https://id").unwrap(), claims.as_object().unwrap());
        looks.client("https://id", "s", looks.audiences(claims), claims)
    }

    #[test]
    fn a_claim_matches_by_its_value_in_a_list_and_within_others() {
        let said = json!({"aud": ["x", "llm"], "group": ["sales", "claims"], "realm": {"roles": ["user"]}, "https://e.org/tier": "gold", "level": 3, "staff": true});
        for (name, value, admits) in [
            ("group", "claims", true),
            ("group", "Claims", false),
            ("group", "sales,claims", false),
            ("realm.roles", "user", true),
            ("realm.roles", "admin", false),
            ("realm", "user", false),
            ("https://e.org/tier", "gold", true),
            ("level", "3", true),
            ("staff", "true", true),
            ("absent", "", false),
        ] {
            let admission = jwt("llm", &[(name, value)]);
            assert_eq!(
                admission.admits(&client(std::slice::from_ref(&admission), &said)),
                admits,
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn only_what_some_policy_looks_for_is_kept_of_a_token() {
        let said = json!({"aud": ["llm", "mail", "wiki"], "group": ["claims", "secret-project"], "email": "a@b", "team": "fraud"});
        let admissions = [jwt("llm", &[("group", "claims")]), jwt("batch", &[("group", "sales")])];
        let Client::Jwt {
            audiences, claims, team, ..
        } = client(&admissions, &said)
        else {
            panic!()
        };
        assert_eq!(audiences, ["llm"]);
        assert_eq!(claims, BTreeMap::from([("group".to_owned(), vec!["claims".to_owned()])]));
        assert_eq!(team.as_deref(), Some("fraud"));
    }

    #[test]
    fn a_token_is_for_the_policies_whose_audience_it_has() {
        let admissions = [jwt("llm", &[]), jwt("batch", &[])];
        let known = client(&admissions, &json!({"aud": "batch"}));
        assert_eq!(admissions.each_ref().map(|a| a.admits(&known)), [false, true]);
        let kubernetes = jwt(TOKEN_AUDIENCE, &[]);
        assert!(!kubernetes.admits(&client(std::slice::from_ref(&kubernetes), &json!({"aud": TOKEN_AUDIENCE}))));
    }

    #[test]
    fn clients_have_names_of_their_own_and_teams() {
        let key = |labels: &[(&str, &str)]| Client::ApiKey {
            name: "ci".to_owned(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let account = Client::ServiceAccount {
            namespace: "claims".to_owned(),
            name: "web".to_owned(),
        };
        let person = client(&[jwt("llm", &[])], &json!({"aud": "llm", "team": ["a", "b"]}));
        for (client, id, team) in [
            (account, "sa:claims/web", Some("claims")),
            (key(&[("team", "a"), ("llmportfolio.dev/team", "b")]), "key:ci", Some("b")),
            (key(&[("team", "a")]), "key:ci", Some("a")),
            (key(&[]), "key:ci", None),
            (person, "jwt:https://id#s", None),
            (Client::Anonymous, "anonymous", None),
        ] {
            assert_eq!((&*client.id(), client.team()), (id, team));
        }
    }
}

//! Terms that requests must not have: a list of them, made ready once, and found in texts as whole words whatever their case.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use crate::plan::names::{Key, TERMS_LABEL};
use crate::protocol::identifiers::is_unspaced;

/// So many terms a list has at most, and so many bytes.
const TERMS: usize = 10_000;
const BYTES: usize = 1 << 20;

/// The lists of the ConfigMaps that have the label for it, each under its key.
#[derive(Clone, Debug, Default)]
pub struct Terms(BTreeMap<(Key, String), Made>);

#[derive(Clone, Debug)]
struct Made {
    text: Arc<str>,
    list: Result<Arc<Blocklist>, String>,
}

impl Terms {
    /// The lists of these ConfigMaps; those that `before` has too are not made again.
    pub fn of<'a>(maps: impl IntoIterator<Item = &'a ConfigMap>, before: &Self) -> Self {
        let mut all = BTreeMap::new();
        for map in maps.into_iter().filter(|map| is_one(map)) {
            for (key, text) in map.data.iter().flatten() {
                let at = (Key::of(map), key.clone());
                let same = before.0.get(&at).filter(|made| *made.text == **text).cloned();
                let made = same.unwrap_or_else(|| Made {
                    text: text.as_str().into(),
                    list: Blocklist::of(text).map(Arc::new),
                });
                all.insert(at, made);
            }
        }
        Self(all)
    }

    /// The list under a key of a ConfigMap, or why there is none.
    ///
    /// # Errors
    /// What is missing or wrong, and what to do.
    pub fn find(&self, map: &Key, key: &str) -> Result<Arc<Blocklist>, String> {
        if let Some(made) = self.0.get(&(map.clone(), key.to_owned())) {
            return made
                .list
                .clone()
                .map_err(|problem| format!("the key {key} of ConfigMap {map} {problem}"));
        }
        Err(match self.0.keys().any(|(known, _)| known == map) {
            true => format!("ConfigMap {map} has no key {key}: add it, with one term a line"),
            false => format!("there is no ConfigMap {map} with the label llmportfolio.dev/terms: \"true\": make it, or label it"),
        })
    }
}

/// Whether it holds terms.
fn is_one(map: &ConfigMap) -> bool {
    map.labels().get(TERMS_LABEL).is_some_and(|value| value == "true")
}

/// A list of terms.
#[derive(Clone)]
pub struct Blocklist {
    automaton: AhoCorasick,
    /// The line that each term is in, from 1.
    lines: Vec<usize>,
}

impl fmt::Debug for Blocklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocklist({} terms)", self.lines.len())
    }
}

impl Blocklist {
    /// The terms of a text, one a line.
    ///
    /// # Errors
    /// What is wrong with it, in words that go on after its name.
    pub fn of(text: &str) -> Result<Self, String> {
        if text.len() > BYTES {
            return Err(format!("has {} bytes, above the {BYTES} that it may have: shorten it", text.len()));
        }
        let mut lines = Vec::new();
        let mut terms = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let term = evened(line);
            if !term.is_empty() && !term.starts_with('#') {
                lines.push(number);
                terms.push(term);
            }
        }
        if terms.is_empty() {
            return Err("has no terms: write one a line".to_owned());
        }
        if terms.len() > TERMS {
            return Err(format!(
                "has {} terms, above the {TERMS} that it may have: remove some",
                terms.len()
            ));
        }
        let automaton = AhoCorasick::new(&terms).map_err(|error| format!("cannot be searched for: {error}"))?;
        Ok(Self { automaton, lines })
    }

    /// The line of a term that the text has, if it has one.
    #[must_use]
    pub fn line_in(&self, text: &str) -> Option<usize> {
        let text = evened(text);
        let mut found = self.automaton.find_overlapping_iter(&text);
        let found = found.find(|found| {
            let (start, end) = (found.start(), found.end());
            !is_joined(text[..start].chars().next_back(), text[start..].chars().next())
                && !is_joined(text[..end].chars().next_back(), text[end..].chars().next())
        })?;
        self.lines.get(found.pattern().as_usize()).copied()
    }
}

/// In lower case, with one space where there are some, or other breaks.
fn evened(text: &str) -> String {
    let mut evened = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if !c.is_whitespace() {
            evened.extend(c.to_lowercase());
        } else if !evened.ends_with(' ') {
            evened.push(' ');
        }
    }
    evened
}

/// Whether two characters beside each other are of one word.
fn is_joined(before: Option<char>, after: Option<char>) -> bool {
    let is_of_word = |c: Option<char>| c.is_some_and(|c| (c.is_alphanumeric() || c == '_') && !is_unspaced(c));
    is_of_word(before) && is_of_word(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_whole_words_in_any_case() {
        let list = Blocklist::of("# ours\nProject Falcon\n\n  Straße \nC++\nfoo\nfoo bar baz\n项目\n").unwrap();
        for (text, line) in [
            ("about project falcon.", Some(2)),
            ("PROJECT\n  FALCON", Some(2)),
            ("project falcons", None),
            ("myproject falcon", None),
            ("die STRASSE", None),
            ("die STRAßE!", Some(4)),
            ("in C++, of course", Some(5)),
            ("foo bar bazx", Some(6)),
            ("foobar", None),
            ("我的项目很大", Some(8)),
            ("ours", None),
            ("", None),
        ] {
            assert_eq!(list.line_in(text), line, "{text}");
        }
    }

    #[test]
    fn a_list_that_is_empty_or_too_long_is_none() {
        let problem = |text: &str| Blocklist::of(text).unwrap_err();
        assert_eq!(problem("# nothing\n\n"), "has no terms: write one a line");
        assert_eq!(
            problem(&"a\n".repeat(10_001)),
            "has 10001 terms, above the 10000 that it may have: remove some"
        );
        assert!(problem(&"a".repeat((1 << 20) + 1)).starts_with("has 1048577 bytes"));
        assert!(Blocklist::of(&"a\n".repeat(10_000)).is_ok());
    }

    #[test]
    fn lists_that_are_the_same_are_not_made_again() {
        let map = |text: &str| -> ConfigMap {
            serde_json::from_value(serde_json::json!({"metadata": {"name": "m", "namespace": "ns", "labels": {TERMS_LABEL: "true"}}, "data": {"a": text, "b": "x"}})).unwrap()
        };
        let (first, second) = (map("one"), map("two"));
        let before = Terms::of([&first], &Terms::default());
        let after = Terms::of([&second], &before);
        let find = |terms: &Terms, key| terms.find(&Key::new("ns", "m"), key).unwrap();
        assert!(Arc::ptr_eq(&find(&before, "b"), &find(&after, "b")));
        assert!(find(&after, "a").line_in("two").is_some());
    }
}

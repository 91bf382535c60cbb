//! Which files of a source are wanted: those under the URI's path, that a pattern includes, and that none excludes.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Reason};
use super::listing::{FilePath, Found};

/// Longer patterns than any name.
const LONGEST_PATTERN: usize = 1024;

/// Patterns of paths. `*` is any characters, also `/`; `?` is one; a pattern that ends in `/` is everything below that folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Files must match one of these, unless there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Files must match none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl Selection {
    /// The wanted ones among the files of `source`.
    ///
    /// # Errors
    /// `InvalidSource` when a pattern cannot be read, `SourceNotFound` when nothing is left.
    pub(super) fn of(&self, source: &str, mut files: Vec<Found>, path: Option<&FilePath>) -> Result<Vec<Found>, Failure> {
        let patterns = |texts: &[String]| texts.iter().map(|text| pattern(text)).collect::<Result<Vec<_>, _>>();
        let (include, exclude) = (patterns(&self.include)?, patterns(&self.exclude)?);
        let any = |patterns: &[Regex], name: &str| patterns.iter().any(|pattern| pattern.is_match(name));
        let before = files.len();
        files.retain(|Found { name, .. }| {
            path.is_none_or(|path| is_under(name, path.as_str())) && (include.is_empty() || any(&include, name)) && !any(&exclude, name)
        });
        if files.is_empty() {
            let problem = format!("none of the {before} files of {source} is wanted");
            let remedy = "look at what there is with --plan, and correct the path, --include or --exclude";
            return Err(Failure::new(Reason::SourceNotFound, problem, remedy));
        }
        Ok(files)
    }
}

/// Whether `name` is `path`, is in the folder `path`, or is a further part of the split file `path`.
fn is_under(name: &str, path: &str) -> bool {
    let of_split = || Some((split(name)?, split(path)?));
    name == path || name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')) || of_split().is_some_and(|(name, path)| name == path)
}

/// What the parts of a split file have in common: `x-00002-of-00003.gguf` is a part of `x-`, `-of-00003.gguf`. Engines are told the first
/// part and look for the others beside it.
fn split(name: &str) -> Option<(&str, &str)> {
    let (before, after) = name.rsplit_once("-of-")?;
    let digits = before.rsplit('-').next()?;
    let total: &str = &after[..after.find('.').unwrap_or(after.len())];
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(digits) && is_number(total)).then_some((&before[..before.len() - digits.len()], after))
}

fn pattern(text: &str) -> Result<Regex, Failure> {
    let wrong = |flaw: &str| {
        Failure::new(
            Reason::InvalidSource,
            format!("the pattern {text:?} {flaw}"),
            "write it like *.safetensors or original/*",
        )
    };
    if text.is_empty() || text.len() > LONGEST_PATTERN {
        return Err(wrong("is empty or too long"));
    }
    let mut regex = String::from("(?s)^");
    for c in text.chars() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push_str(if text.ends_with('/') { ".*$" } else { "$" });
    Regex::new(&regex).map_err(|_| wrong("is too large"))
}

#[cfg(test)]
mod tests {
    use super::super::listing::Check;
    use super::*;

    fn wanted(selection: &Selection, path: Option<&str>, names: &[&str]) -> Result<Vec<String>, Failure> {
        let found = |name: &&str| Found {
            name: (*name).to_owned(),
            size: 1,
            check: Check::Size,
            etag: None,
        };
        let path = path.map(|path| FilePath::new(path).unwrap());
        let files = selection.of("hf://a/b@main", names.iter().map(found).collect(), path.as_ref())?;
        Ok(files.into_iter().map(|file| file.name).collect())
    }

    fn patterns(include: &[&str], exclude: &[&str]) -> Selection {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Selection {
            include: owned(include),
            exclude: owned(exclude),
        }
    }

    const NAMES: &[&str] = &[
        "README.md",
        "config.json",
        "model.safetensors",
        "original/consolidated.pth",
        "original/params.json",
    ];

    #[test]
    fn everything_is_wanted_unless_a_pattern_says_otherwise() {
        assert_eq!(wanted(&Selection::default(), None, NAMES).unwrap().len(), 5);
        assert_eq!(
            wanted(&patterns(&["*.json"], &[]), None, NAMES).unwrap(),
            ["config.json", "original/params.json"]
        );
        assert_eq!(
            wanted(&patterns(&[], &["original/", "?EADME.*"]), None, NAMES).unwrap(),
            ["config.json", "model.safetensors"]
        );
        assert_eq!(wanted(&patterns(&["*.json"], &["o*"]), None, NAMES).unwrap(), ["config.json"]);
    }

    #[test]
    fn a_path_is_a_file_or_a_folder() {
        assert_eq!(wanted(&Selection::default(), Some("original"), NAMES).unwrap().len(), 2);
        assert_eq!(wanted(&Selection::default(), Some("config.json"), NAMES).unwrap(), ["config.json"]);
        assert!(wanted(&Selection::default(), Some("orig"), NAMES).is_err());
    }

    #[test]
    fn the_other_parts_of_a_split_file_come_along() {
        let names = [
            "q4-00001-of-00002.gguf",
            "q4-00002-of-00002.gguf",
            "q8-00001-of-00002.gguf",
            "q4-00001-of-00003.gguf",
        ];
        assert_eq!(wanted(&Selection::default(), Some(names[0]), &names).unwrap(), names[..2]);
    }

    #[test]
    fn nothing_left_is_told_with_a_remedy() {
        let failure = wanted(&patterns(&["*.gguf"], &[]), None, NAMES).unwrap_err();
        assert_eq!(failure.reason, Reason::SourceNotFound);
        assert!(failure.message.contains("--include"), "{failure}");
        assert!(wanted(&patterns(&[""], &[]), None, NAMES).is_err());
    }

    #[test]
    fn characters_of_regular_expressions_mean_themselves() {
        assert_eq!(
            wanted(&patterns(&["a+(b).[c"], &[]), None, &["a+(b).[c", "aab"]).unwrap(),
            ["a+(b).[c"]
        );
    }
}

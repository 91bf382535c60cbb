//! Documents as Converse takes them: of a few formats, and each under a name of its own that holds only certain characters, or Bedrock
//! refuses the request: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html>.

use std::collections::HashMap;

/// The longest name that Bedrock takes, less what makes it unlike another.
const NAME_LIMIT: usize = 180;

const FORMATS: &[(&str, &str)] = &[
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
];

/// The format of a document of this type; if the type says nothing, by the ending of its name.
pub(super) fn format(media_type: &str, name: Option<&str>) -> Option<&'static str> {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let of_type = FORMATS.iter().find(|(known, _)| known.eq_ignore_ascii_case(media_type));
    let ending = name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    let of_name = || {
        FORMATS
            .iter()
            .find(|(_, format)| ending.is_some_and(|ending| format.eq_ignore_ascii_case(ending)))
    };
    of_type.or_else(of_name).map(|(_, format)| *format)
}

/// The names that a request has given already, in lower case, each with how many there were.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, u32>);

impl Names {
    /// A name for a document that Bedrock takes, as close to the client's as can be, and given only once.
    pub(super) fn give(&mut self, name: Option<&str>) -> String {
        let name = clean(name.unwrap_or_default());
        let mut given = name.clone();
        while self.0.contains_key(&given.to_lowercase()) {
            let count = self.0.entry(name.to_lowercase()).or_insert(1);
            *count += 1;
            given = format!("{name} {count}");
        }
        self.0.insert(given.to_lowercase(), 1);
        given
    }
}

/// Letters and digits of ASCII, hyphens, round and square brackets, and single spaces for all others; without the ending.
fn clean(name: &str) -> String {
    let is_ending = |ending: &str| FORMATS.iter().any(|(_, format)| format.eq_ignore_ascii_case(ending));
    let name = name
        .rsplit_once('.')
        .filter(|(_, ending)| is_ending(ending))
        .map_or(name, |(name, _)| name);
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-()[]".contains(c) { c } else { ' ' };
    let name: String = name.chars().take(10 * NAME_LIMIT).map(allowed).collect();
    let words: Vec<&str> = name.split_ascii_whitespace().collect();
    let mut name = words.join(" ");
    name.truncate(NAME_LIMIT);
    match name.trim_end() {
        "" => "document".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_as_bedrock_wants_them_and_given_once() {
        let mut names = Names::default();
        for (name, expected) in [
            (Some("report.pdf"), "report"),
            (Some("Report.DOCX"), "Report 2"),
            (Some("report 2"), "report 2 2"),
            (Some("John's  report_v1.2 (final)[x].md"), "John s report v1 2 (final)[x]"),
            (Some("분기보고서.pdf"), "document"),
            (None, "document 2"),
            (Some("../../etc/passwd"), "etc passwd"),
        ] {
            assert_eq!(names.give(name), expected);
        }
    }

    #[test]
    fn the_format_is_told_by_type_or_name() {
        for (media_type, name, expected) in [
            ("application/pdf", None, Some("pdf")),
            ("text/plain; charset=utf-8", Some("a.md"), Some("txt")),
            ("application/octet-stream", Some("a.b.XLSX"), Some("xlsx")),
            ("application/zip", Some("a.zip"), None),
            ("application/zip", None, None),
        ] {
            assert_eq!(format(media_type, name), expected);
        }
    }

    proptest! {
        #[test]
        fn no_name_is_refused_or_given_twice(wanted in prop::collection::vec(prop::option::of("[a-b2 .é\n]{0,6}|[ -~]{0,300}|(é.){0,200}"), 0..20)) {
            let mut names = Names::default();
            let given: Vec<String> = wanted.iter().map(|name| names.give(name.as_deref())).collect();
            let mut lower: Vec<String> = given.iter().map(|name| name.to_lowercase()).collect();
            lower.sort();
            lower.dedup();
            prop_assert_eq!(lower.len(), given.len());
            for name in given {
                prop_assert!((1..=200).contains(&name.len()) && !name.contains("  ") && name.trim() == name);
                prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-()[] ".contains(c)));
            }
        }
    }
}

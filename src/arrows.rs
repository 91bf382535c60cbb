//! The picture in the design as a test: which folder may import which. Clippy keeps clients and clocks out of the pure ones; this keeps the
//! layers apart.

use std::fs;
use std::path::{Path, PathBuf};

/// Each folder (or file) below `src/`, and what of ours it may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("protocol", &[]),
    // Of `fetch` only `Location`, of `tls` only `authorities` and of `protocol` only `usage`, which are pure: a URI has one reader, a bundle of
    // certificates too, and tokens are counted once.
    ("plan", &["api", "fetch", "protocol", "tls"]),
    ("manifest", &["api", "plan"]),
    ("cluster", &["api", "plan"]),
    ("controller", &["api", "plan", "cluster", "protocol", "tls"]),
    ("tls", &[]),
    ("gateway", &["api", "plan", "protocol", "tls"]),
    ("fetch", &["tls"]),
    ("evaluator", &["api", "plan", "protocol", "fetch"]),
    ("testing", &["api", "plan", "protocol", "cluster"]),
];

#[test]
fn every_import_follows_an_arrow() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&root) {
        let inside = file.strip_prefix(&root).unwrap();
        let layer = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        // `command` wires everything together; the crate's roots declare it, and tests may use what helps them.
        let is_test = ["tests.rs", "fixtures.rs"].iter().any(|name| file.ends_with(name));
        if is_test || ["command", "lib", "main", "arrows", "charts"].contains(&layer) {
            continue;
        }
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == layer)
            .unwrap_or_else(|| panic!("ARROWS has no line for {layer}"));
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (line, number) in code.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with("//")) {
            for path in line.split("crate::").skip(1) {
                // What stands behind the semicolon of a type, as in `pub(in crate::evaluator) fn both() -> [T; 2]`, is no import.
                let path = path.split(';').next().unwrap_or(path);
                let names = path.strip_prefix('{').map_or(path, |list| list.split('}').next().unwrap_or(list));
                let is_list = path.starts_with('{');
                for name in names
                    .split(if is_list { ',' } else { ';' })
                    .map(|n| n.trim().split("::").next().unwrap_or_default())
                {
                    let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    if !name.is_empty() && name != layer && !allowed.contains(&name.as_str()) {
                        wrong.push(format!("src/{}:{number} imports {name}", inside.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

//! The texts to read: files, folders (with everything below them that is named like YAML or JSON), and `-` for standard input.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::finding::Finding;

/// The largest file that is read. Kubernetes keeps no object above 1.5 MiB, so a larger file holds something else.
const FILE_LIMIT: u64 = 64 << 20;

const REMEDY: &str = "name a file, a folder or -";

/// The text of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// Whether the user named the file itself rather than a folder around it. Folders may hold other files, such as Helm values.
    pub(super) named: bool,
}

/// The texts behind `paths`, in the order given, a folder's in the order of their names; and what could not be read.
pub(super) fn read(paths: &[PathBuf]) -> (Vec<Source>, Vec<Finding>) {
    let mut sources = Vec::new();
    let mut findings = Vec::new();
    let of_file = |path: &Path, error: &io::Error| Finding::of_file(&path.display().to_string(), error.to_string(), REMEDY);
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = io::stdin().take(FILE_LIMIT).read_to_end(&mut bytes);
            let text = read.map_err(|error| Box::new(of_file(Path::new("stdin"), &error)));
            match text.and_then(|_| decoded("stdin", bytes)) {
                Ok(text) => sources.push(Source {
                    name: "stdin".to_owned(),
                    text,
                    named: true,
                }),
                Err(finding) => findings.push(*finding),
            }
            continue;
        }
        let named = !path.is_dir();
        let mut files = Vec::new();
        if let Err(error) = find(path, named, &mut files) {
            findings.push(of_file(path, &error));
        }
        for file in files {
            match text_of(&file, FILE_LIMIT, "objects", REMEDY) {
                Ok(text) => sources.push(Source {
                    name: file.display().to_string(),
                    text,
                    named,
                }),
                Err(finding) => findings.push(*finding),
            }
        }
    }
    (sources, findings)
}

/// The text of a file of at most `limit` bytes, which `holds` something such as objects.
///
/// # Errors
/// Why it cannot be read, with the `remedy` where it is another file that was meant.
pub(super) fn text_of(file: &Path, limit: u64, holds: &str, remedy: &str) -> Result<String, Box<Finding>> {
    let name = file.display().to_string();
    let failed = |error: io::Error| Box::new(Finding::of_file(&name, error.to_string(), remedy));
    let size = fs::metadata(file).map_err(failed)?.len();
    if size > limit {
        let problem = format!("is too large to hold {holds} ({} MiB)", size >> 20);
        return Err(Box::new(Finding::of_file(&name, problem, remedy)));
    }
    decoded(&name, fs::read(file).map_err(failed)?)
}

fn decoded(name: &str, bytes: Vec<u8>) -> Result<String, Box<Finding>> {
    const REMEDY: &str = "save it as UTF-8";
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Box::new(Finding::of_file(name, "is in UTF-16", REMEDY)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let (before, rest) = error.as_bytes().split_at(at);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
        let byte = rest.first().copied().unwrap_or_default();
        Box::new(Finding {
            line: Some(line),
            ..Finding::of_file(name, format!("has the byte 0x{byte:02X}, which is not UTF-8"), REMEDY)
        })
    })
}

fn find(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let is_manifest = path
        .extension()
        .is_some_and(|e| ["yaml", "yml", "json"].iter().any(|known| e.eq_ignore_ascii_case(known)));
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        entries.sort();
        // Hidden ones are other tools' own, such as .git. A folder may be linked into itself.
        entries.retain(|entry| !(is_hidden(entry) || entry.is_symlink() && entry.is_dir()));
        entries.iter().try_for_each(|entry| find(entry, false, files))?;
    } else if named || is_manifest {
        files.push(path.to_owned());
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

//! The texts to read: files, folders (with everything below them that is named like YAML or JSON), and `-` for standard input.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::finding::Finding;

/// The largest file that is read. Kubernetes keeps no object above 1.5 MiB, so a larger file holds something else.
const FILE_LIMIT: u64 = 64 << 20;

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
    let mut failed = |path: &Path, error: &io::Error| {
        findings.push(Finding::of_file(
            &path.display().to_string(),
            error.to_string(),
            "name a file, a folder or -",
        ));
    };
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            match io::stdin().take(FILE_LIMIT).read_to_string(&mut text) {
                Ok(_) => sources.push(Source {
                    name: "stdin".to_owned(),
                    text,
                    named: true,
                }),
                Err(error) => failed(Path::new("stdin"), &error),
            }
            continue;
        }
        let named = !path.is_dir();
        let mut files = Vec::new();
        if let Err(error) = find(path, named, &mut files) {
            failed(path, &error);
        }
        for file in files {
            match text_of(&file) {
                Ok(text) => sources.push(Source {
                    name: file.display().to_string(),
                    text,
                    named,
                }),
                Err(error) => failed(&file, &error),
            }
        }
    }
    (sources, findings)
}

fn text_of(file: &Path) -> io::Result<String> {
    let size = fs::metadata(file)?.len();
    if size > FILE_LIMIT {
        return Err(io::Error::other(format!("is too large to hold objects ({} MiB)", size >> 20)));
    }
    fs::read_to_string(file)
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

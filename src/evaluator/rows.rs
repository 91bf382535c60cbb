//! Rows of a file as JSON objects, whatever the file's form. What cannot be read is refused with its line and column.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

/// What a file is unpacked to at most; more than any dataset of questions that people wrote.
const MOST_BYTES: u64 = 32 << 20;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header. A cell that is a JSON list is read as one.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// One row, and how messages call it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Such as `line 7`.
    pub place: String,
    /// Its members.
    pub value: Value,
}

/// By the end of a file's name, and whether it is compressed; what says nothing is JSON lines.
#[must_use]
pub(super) fn format(name: &str) -> (Format, bool) {
    let lower = name.to_ascii_lowercase();
    let (stem, is_compressed) = lower.strip_suffix(".gz").map_or((lower.as_str(), false), |stem| (stem, true));
    let format = match stem.rsplit_once('.').map(|(_, end)| end) {
        Some("csv") => Format::Csv,
        Some("parquet") => Format::Parquet,
        _ => Format::Jsonl,
    };
    (format, is_compressed)
}

/// The rows of a file; `file` decides the form, `name` is what messages call it.
///
/// # Errors
/// One sentence that names the file, the place and the remedy.
pub(super) fn read(name: &str, file: &str, bytes: &[u8]) -> Result<Vec<Row>, String> {
    let (format, is_compressed) = format(file);
    let unpacked = if is_compressed {
        let mut unpacked = Vec::new();
        let read = MultiGzDecoder::new(bytes).take(MOST_BYTES + 1).read_to_end(&mut unpacked);
        read.map_err(|error| format!("{name} is not gzip: {error}; compress it again, or take .gz from its name"))?;
        unpacked
    } else {
        Vec::new()
    };
    let bytes = if is_compressed { &unpacked } else { bytes };
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(format!("{name} has more than {MOST_BYTES} bytes; split it into several suites"));
    }
    let rows = match format {
        Format::Jsonl => jsonl(name, text(name, bytes)?)?,
        Format::Csv => csv_rows(name, text(name, bytes)?)?,
        Format::Parquet => parquet_rows(name, bytes)?,
    };
    if rows.is_empty() {
        return Err(format!("{name} has no questions; add at least one line"));
    }
    Ok(rows)
}

fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{name} line {line} is not UTF-8 text; save it as UTF-8")
    })?;
    Ok(text.trim_start_matches('\u{feff}'))
}

fn jsonl(name: &str, text: &str) -> Result<Vec<Row>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let place = format!("line {number}");
            let value = serde_json::from_str(line).map_err(|error| {
                let column = error.column();
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                format!("{name} {place}, column {column}: it is not JSON ({what}); write one JSON object on one line")
            })?;
            Ok(Row { place, value })
        })
        .collect()
}

fn csv_rows(name: &str, text: &str) -> Result<Vec<Row>, String> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let broken = |error: &csv::Error| {
        let line = error
            .position()
            .map_or(String::new(), |position| format!(" line {}", position.line()));
        let what = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("it has {len} cells, and the header {expected_len}"),
            _ => error.to_string(),
        };
        format!("{name}{line}: {what}; quote cells that hold commas or line breaks")
    };
    let header = reader.headers().map_err(|error| broken(&error))?.clone();
    reader
        .into_records()
        .map(|record| {
            let record = record.map_err(|error| broken(&error))?;
            let place = format!("line {}", record.position().map_or(0, csv::Position::line));
            let cells = header.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
            let value: Map<String, Value> = cells.map(|(member, text)| (member.trim().to_owned(), cell(text))).collect();
            Ok(Row {
                place,
                value: Value::Object(value),
            })
        })
        .collect()
}

/// A cell has no type: what looks like a list or a chat is one, all else is text.
fn cell(text: &str) -> Value {
    let list = Some(text).filter(|text| text.trim_start().starts_with('['));
    list.and_then(|list| serde_json::from_str(list).ok())
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn parquet_rows(name: &str, bytes: &[u8]) -> Result<Vec<Row>, String> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let broken = |error: parquet::errors::ParquetError| format!("{name} is not Parquet: {error}; write it again");
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(bytes)).map_err(broken)?;
    (1..)
        .zip(reader.get_row_iter(None).map_err(broken)?)
        .map(|(number, row)| {
            Ok(Row {
                place: format!("row {number}"),
                value: row.map_err(broken)?.to_json_value(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refused(file: &str, bytes: &[u8]) -> String {
        read("cases", file, bytes).unwrap_err()
    }

    #[test]
    fn a_files_name_says_what_it_holds() {
        for (name, expected) in [
            ("a.jsonl", (Format::Jsonl, false)),
            ("a.CSV", (Format::Csv, false)),
            ("test-00000-of-00001.parquet", (Format::Parquet, false)),
            ("a.csv.gz", (Format::Csv, true)),
            ("questions", (Format::Jsonl, false)),
        ] {
            assert_eq!(format(name), expected, "{name}");
        }
    }

    #[test]
    fn cells_become_members_and_lists_stay_lists() {
        let file = "id,input,choices,expected\n1,\"a, b?\",\"[\"\"x\"\", \"\"y\"\"]\",A\n2,c?,,7\n";
        let rows = read("cases", "cases.csv", file.as_bytes()).unwrap();
        assert_eq!(
            rows[0].value,
            json!({"id": "1", "input": "a, b?", "choices": ["x", "y"], "expected": "A"})
        );
        assert_eq!(
            (rows[1].place.as_str(), &rows[1].value),
            ("line 3", &json!({"id": "2", "input": "c?", "expected": "7"}))
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        for (file, bytes, flaw) in [
            (
                "c.jsonl",
                &b"{}\n\n{\"id\": 1,"[..],
                "cases line 3, column 9: it is not JSON (EOF while parsing a value); write one JSON object on one line",
            ),
            (
                "c.csv",
                b"id,input\n1,a\n2,b,c\n",
                "cases line 3: it has 3 cells, and the header 2; quote cells that hold commas or line breaks",
            ),
            ("c.jsonl", b"\n\n", "cases has no questions; add at least one line"),
            ("c.csv", b"id,input\n", "cases has no questions; add at least one line"),
            ("c.jsonl", b"{}\n\xff", "cases line 2 is not UTF-8 text; save it as UTF-8"),
            ("c.jsonl.gz", b"{}", "cases is not gzip: "),
            ("c.parquet", b"{}", "cases is not Parquet: "),
        ] {
            assert!(refused(file, bytes).starts_with(flaw), "{}", refused(file, bytes));
        }
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300), form in 0usize..4) {
            let _ = read("c", ["a.jsonl", "a.csv", "a.parquet", "a.jsonl.gz"][form], &bytes);
        }
    }
}

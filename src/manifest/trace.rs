//! A trace of demand, as a CSV file: `seconds,in_flight,queued`, each row what there is from that second on.

use std::path::Path;
use std::{fs, io};

use super::finding::Finding;
use crate::plan::scaling::ABSURD;
use crate::plan::scaling::simulate::Demand;

/// The columns; the last may be absent.
const COLUMNS: [&str; 3] = ["seconds", "in_flight", "queued"];
/// The longest trace: a quarter of a year.
const LONGEST: f64 = 92.0 * 86_400.0;
/// The latest second: since 1970 it is one of the year 5138, and as a number of milliseconds one of 1973.
const LATEST: f64 = 1e11;
const SHAPE: &str = "begin with the header seconds,in_flight,queued and go on with rows such as 0,12,3";
const NUMBERS: &str = "write a number that is not below 0 in each column";
const REQUESTS: &str = "write how many there are at one moment: more than that the operator takes for a mistake";
const SECONDS: &str = "write seconds: if these are milliseconds, divide them by 1000";

/// Reads one; `-` is standard input.
///
/// # Errors
/// What is wrong with it, with its line.
pub fn read(path: &Path) -> Result<Vec<Demand>, Box<Finding>> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let text = if is_stdin {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(|error| {
        Box::new(Finding::of_file(
            &name,
            format!("cannot be read: {error}"),
            "name a file that is there",
        ))
    })?;
    parse(&text).map_err(|(line, problem, remedy)| {
        Box::new(Finding {
            line: Some(line),
            ..Finding::of_file(&name, problem, remedy)
        })
    })
}

type Wrong = (u64, String, &'static str);

fn parse(text: &str) -> Result<Vec<Demand>, Wrong> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().zip(1u64..).filter(|(line, _)| !line.trim().is_empty());
    let (header, number) = lines.next().ok_or_else(|| (1, "is empty".to_owned(), SHAPE))?;
    let columns = columns(header).map_err(|problem| (number, problem, SHAPE))?;
    let mut rows: Vec<Demand> = Vec::new();
    for (line, number) in lines {
        let row = columns.read(line).map_err(|(problem, remedy)| (number, problem, remedy))?;
        let last = rows.last().map(|last| last.seconds);
        if let Some(last) = last.filter(|last| row.seconds <= *last) {
            let problem = format!("seconds: {} comes after {last}", row.seconds);
            return Err((number, problem, "sort the rows by seconds, one for each"));
        }
        if rows.first().is_some_and(|first| row.seconds - first.seconds > LONGEST) {
            let problem = "seconds: this is more than 92 days after the first row".to_owned();
            return Err((number, problem, "cut the trace, or, if these are milliseconds, divide them by 1000"));
        }
        rows.push(row);
    }
    match rows.len() {
        0 | 1 => Err((1, "has no two rows".to_owned(), "add rows: the last one says when the trace ends")),
        _ => Ok(rows),
    }
}

/// Where each column stands, in any order.
struct Columns {
    count: usize,
    at: [Option<usize>; 3],
}

fn columns(header: &str) -> Result<Columns, String> {
    let named = cells(header);
    let mut at = [None; 3];
    for (index, name) in named.iter().enumerate() {
        let column = COLUMNS.iter().position(|column| column == name);
        let unknown = || format!("the header has {name:?}, which is none of the columns {}", COLUMNS.join(", "));
        let column = column.ok_or_else(unknown)?;
        match at.get_mut(column) {
            Some(place @ None) => *place = Some(index),
            _ => return Err(format!("the header has {name:?} twice")),
        }
    }
    match at {
        [Some(_), Some(_), _] => Ok(Columns { count: named.len(), at }),
        [None, ..] => Err("the header does not have \"seconds\"".to_owned()),
        [_, None, _] => Err("the header does not have \"in_flight\"".to_owned()),
    }
}

impl Columns {
    fn read(&self, line: &str) -> Result<Demand, (String, &'static str)> {
        let cells = cells(line);
        if cells.len() != self.count {
            let problem = format!("has {} cells, the header has {}", cells.len(), self.count);
            return Err((problem, NUMBERS));
        }
        let read = |column: usize| {
            let cell = self.at.get(column).copied().flatten().and_then(|index| cells.get(index));
            let (Some(cell), Some(name)) = (cell, COLUMNS.get(column)) else {
                return Ok(0.0);
            };
            let number = cell.parse::<f64>().ok().filter(|number| *number >= 0.0);
            number.ok_or_else(|| (format!("{name}: {cell:?} is no number from 0 on"), NUMBERS))
        };
        let row = Demand {
            seconds: read(0)?,
            in_flight: read(1)?,
            queued: read(2)?,
        };
        if row.seconds > LATEST {
            return Err((format!("seconds: {} is more than {LATEST}", row.seconds), SECONDS));
        }
        let requests = row.in_flight + row.queued;
        if requests > ABSURD {
            return Err((format!("{requests} requests at once are more than {ABSURD}"), REQUESTS));
        }
        Ok(row)
    }
}

/// As spreadsheets write them too: each in quotation marks.
fn cells(line: &str) -> Vec<&str> {
    line.split(',').map(|cell| cell.trim().trim_matches('"').trim()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_and_without_what_waits() {
        let rows = parse("\u{feff}seconds, in_flight ,queued\n0,1,2\n\n2.5,3,0\n").unwrap();
        let numbers: Vec<_> = rows.iter().map(|row| (row.seconds, row.in_flight, row.queued)).collect();
        assert_eq!(numbers, [(0.0, 1.0, 2.0), (2.5, 3.0, 0.0)]);
        assert_eq!(parse("seconds,in_flight\n0,1\n2,3").unwrap()[1].in_flight, 3.0);
        let quoted = parse("\"queued\",\"seconds\",\"in_flight\"\n\"5\",\"0\",\"1\"\n5,2,3").unwrap();
        assert_eq!((quoted[0].queued, quoted[1].seconds, quoted[1].in_flight), (5.0, 2.0, 3.0));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, problem) in [
            ("", 1, "is empty"),
            ("\u{feff}\n \n", 1, "is empty"),
            (
                "time,load\n0,1",
                1,
                "the header has \"time\", which is none of the columns seconds, in_flight, queued",
            ),
            (
                "seconds,in_flight,queued,more\n",
                1,
                "the header has \"more\", which is none of the columns",
            ),
            ("seconds,queued\n0,1", 1, "the header does not have \"in_flight\""),
            ("in_flight,in_flight\n0,1", 1, "the header has \"in_flight\" twice"),
            ("seconds,in_flight\n0,1", 1, "has no two rows"),
            ("seconds,in_flight\n0,1\n1", 3, "has 1 cells, the header has 2"),
            ("seconds,in_flight\n0,1\n\n1,x", 4, "in_flight: \"x\" is no number"),
            ("seconds,in_flight\n0,1\n1,-1", 3, "in_flight: \"-1\" is no number"),
            ("seconds,in_flight\n0,1\n1,NaN", 3, "in_flight: \"NaN\" is no number"),
            ("seconds,in_flight\n5,1\n5,1", 3, "seconds: 5 comes after 5"),
            (
                "seconds,in_flight,queued\n0,1,0\n1,600000,600000",
                3,
                "1200000 requests at once are more than 1000000",
            ),
            ("seconds,in_flight\n0,inf\n1,1", 2, "inf requests at once are more than"),
        ] {
            let (at, said, remedy) = parse(text).unwrap_err();
            assert!(!remedy.is_empty());
            assert_eq!(at, line, "{text:?}");
            assert!(said.contains(problem), "{text:?}: {said}");
        }
    }

    #[test]
    fn who_writes_milliseconds_is_told_so() {
        for (text, line, problem) in [
            (
                "seconds,in_flight\n1700000000000,1\n1700000001000,2",
                2,
                "seconds: 1700000000000 is more than 100000000000",
            ),
            (
                "seconds,in_flight\n0,1\n9000000,1",
                3,
                "seconds: this is more than 92 days after the first row",
            ),
        ] {
            let (at, said, remedy) = parse(text).unwrap_err();
            assert_eq!((at, said.as_str()), (line, problem));
            assert!(remedy.contains("if these are milliseconds, divide them by 1000"), "{remedy}");
        }
        // Of 2026, in seconds.
        assert_eq!(parse("seconds,in_flight\n1780000000,1\n1780000002,2").unwrap().len(), 2);
    }
}

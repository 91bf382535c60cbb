//! A trace of demand, as a CSV file: `seconds,in_flight,queued`, each row what there is from that second on.

use std::path::Path;

use super::finding::Finding;
use crate::plan::scaling::simulate::Demand;

/// The columns; the last may be absent.
const COLUMNS: [&str; 3] = ["seconds", "in_flight", "queued"];
/// The longest trace: a quarter of a year.
const LONGEST: f64 = 92.0 * 86_400.0;
const SHAPE: &str = "begin with the header seconds,in_flight,queued and go on with rows such as 0,12,3";

/// Reads one.
///
/// # Errors
/// What is wrong with it, with its line.
pub fn read(path: &Path) -> Result<Vec<Demand>, Box<Finding>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
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
    let header = lines.next().map(|(line, _)| cells(line)).unwrap_or_default();
    let is_header = (2..=COLUMNS.len()).contains(&header.len()) && COLUMNS.starts_with(&header);
    if !is_header {
        return Err((1, format!("begins with {:?}", header.join(",")), SHAPE));
    }
    let mut rows: Vec<Demand> = Vec::new();
    for (line, number) in lines {
        let row = numbers(line, header.len()).map_err(|problem| (number, problem, "write a number that is not below 0 in each column"))?;
        let last = rows.last().map(|last| last.seconds);
        if let Some(last) = last.filter(|last| row.seconds <= *last) {
            let problem = format!("seconds: {} comes after {last}", row.seconds);
            return Err((number, problem, "sort the rows by seconds, one for each"));
        }
        if rows.first().is_some_and(|first| row.seconds - first.seconds > LONGEST) {
            let problem = "seconds: this is more than 92 days after the first row".to_owned();
            return Err((number, problem, "cut the trace, or write seconds and not milliseconds"));
        }
        rows.push(row);
    }
    match rows.len() {
        0 | 1 => Err((1, "has no two rows".to_owned(), "add rows: the last one says when the trace ends")),
        _ => Ok(rows),
    }
}

fn cells(line: &str) -> Vec<&str> {
    line.split(',').map(str::trim).collect()
}

fn numbers(line: &str, columns: usize) -> Result<Demand, String> {
    let cells = cells(line);
    if cells.len() != columns {
        return Err(format!("has {} cells, the header has {columns}", cells.len()));
    }
    let read = |column: usize| match (cells.get(column), COLUMNS.get(column)) {
        (Some(cell), Some(name)) => {
            let number = cell.parse::<f64>().ok().filter(|number| (0.0..1e12).contains(number));
            number.ok_or_else(|| format!("{name}: {cell:?} is no number from 0 on"))
        }
        _ => Ok(0.0),
    };
    Ok(Demand {
        seconds: read(0)?,
        in_flight: read(1)?,
        queued: read(2)?,
    })
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
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, problem) in [
            ("", 1, "begins with \"\""),
            ("time,load\n0,1", 1, "begins with \"time,load\""),
            ("seconds,in_flight,queued,more\n", 1, "begins with"),
            ("seconds,in_flight\n0,1", 1, "has no two rows"),
            ("seconds,in_flight\n0,1\n1", 3, "has 1 cells, the header has 2"),
            ("seconds,in_flight\n0,1\n\n1,x", 4, "in_flight: \"x\" is no number"),
            ("seconds,in_flight\n0,1\n1,-1", 3, "in_flight: \"-1\" is no number"),
            ("seconds,in_flight\n0,1\n1,NaN", 3, "in_flight: \"NaN\" is no number"),
            ("seconds,in_flight\n5,1\n5,1", 3, "seconds: 5 comes after 5"),
            ("seconds,in_flight\n1700000000000,1\n1800000000000,2", 0, ""),
            ("seconds,in_flight\n0,1\n9000000,1", 3, "more than 92 days"),
        ] {
            let (at, said, remedy) = parse(text).unwrap_err();
            assert!(!remedy.is_empty());
            if line > 0 {
                assert_eq!(at, line, "{text:?}");
            }
            assert!(said.contains(problem), "{text:?}: {said}");
        }
    }
}

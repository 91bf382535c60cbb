//! How much is found of what people write, and how much is taken for what it is not: measured on a set with labels, which is part of the
//! sources.

use std::collections::BTreeMap;

use super::{Identifier, Kinds, find};

const SET: &str = include_str!("labelled.tsv");

/// A text, and what is in it.
struct Sample {
    text: String,
    /// Kind and text of each identifier.
    labels: Vec<(Identifier, String)>,
}

fn samples() -> Vec<Sample> {
    let lines = SET.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (kind, marked) = line.split_once('\t').unwrap();
            let marked = marked.replace("\\n", "\n");
            let kind = Identifier::ALL.into_iter().find(|known| format!("{known:?}") == kind);
            let labels = marked.split('«').skip(1).map(|rest| rest.split_once('»').unwrap().0.to_owned());
            Sample {
                labels: labels.map(|label| (kind.unwrap(), label)).collect(),
                text: marked.replace(['«', '»'], ""),
            }
        })
        .collect()
}

#[derive(Default)]
struct Score {
    labels: usize,
    found: usize,
    right: usize,
}

/// An identifier counts as found where all its letters and digits are covered, and what is found as right where it lies within one of its kind.
#[test]
fn most_of_what_people_write_is_found_and_little_else() {
    let all: Kinds = Identifier::ALL.into_iter().collect();
    let mut scores: BTreeMap<Identifier, Score> = BTreeMap::new();
    let mut wrong = Vec::new();
    let (mut positive, mut negative, mut clean) = (0, 0, 0);
    for sample in samples() {
        let found = find(&sample.text, all);
        let places = |(kind, label): &(Identifier, String)| {
            let start = sample.text.find(label.as_str()).unwrap();
            (*kind, start..start + label.len())
        };
        let labels: Vec<_> = sample.labels.iter().map(places).collect();
        for (kind, place) in &labels {
            let score = scores.entry(*kind).or_default();
            score.labels += 1;
            let core = |c: char| c.is_alphanumeric();
            let (first, last) = (
                sample.text[place.clone()].find(core).unwrap(),
                sample.text[place.clone()].rfind(core).unwrap(),
            );
            let is_covered =
                |found: &super::Found| found.kind == *kind && found.at.start <= place.start + first && place.start + last < found.at.end;
            match found.iter().any(is_covered) {
                true => score.found += 1,
                false => wrong.push(format!("{kind:?} missed: {}", sample.text)),
            }
        }
        for one in &found {
            let is_right = labels
                .iter()
                .any(|(kind, place)| one.kind == *kind && place.start <= one.at.start && one.at.end <= place.end);
            let score = scores.entry(one.kind).or_default();
            score.right += usize::from(is_right);
            if !is_right {
                wrong.push(format!(
                    "{:?} seen in {:?}: {:?}",
                    one.kind,
                    sample.text,
                    &sample.text[one.at.clone()]
                ));
            }
        }
        match labels.is_empty() {
            true => (negative, clean) = (negative + 1, clean + usize::from(found.is_empty())),
            false => positive += 1,
        }
    }
    println!("{}", wrong.join("\n"));
    println!("{positive} texts with identifiers; {clean} of {negative} without any in which nothing is seen");
    let seen = |kind: Identifier| wrong.iter().filter(|line| line.starts_with(&format!("{kind:?} seen"))).count();
    for (kind, least_recall, least_precision) in [
        (Identifier::Email, 0.88, 0.98),
        (Identifier::Phone, 0.94, 0.95),
        (Identifier::Iban, 1.0, 1.0),
        (Identifier::CreditCard, 0.98, 1.0),
        (Identifier::UsSocialSecurityNumber, 1.0, 1.0),
        (Identifier::IpAddress, 1.0, 1.0),
    ] {
        let score = &scores[&kind];
        let recall = score.found as f64 / score.labels as f64;
        let precision = score.right as f64 / (score.right + seen(kind)) as f64;
        println!("{kind:?}: recall {recall:.3} of {}, precision {precision:.3}", score.labels);
        assert!(
            recall >= least_recall && precision >= least_precision,
            "{kind:?} {recall} {precision}"
        );
    }
    assert!(positive >= 300 && negative >= 300);
    assert!(clean as f64 >= 0.97 * negative as f64);
}

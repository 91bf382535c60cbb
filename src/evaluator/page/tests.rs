use std::collections::HashSet;

use proptest::prelude::*;
use scraper::{ElementRef, Html, Node, Selector};

use super::changes::{MOST_ROWS, shares};
use super::{
    Answer, Baseline, Bound, Change, Comparison, Counts, Drift, Estimate, Metric, Outcome, Run, Stratum, Suite, Target, Trend, Verdict,
    View, page, since,
};

fn measured(value: f64) -> Estimate {
    Estimate {
        value: Some(value),
        lower: Some(value - 0.02),
        upper: Some(value + 0.02),
        n: Some(1400),
        method: Some("wilson".to_owned()),
    }
}

fn suite(word: &mut impl FnMut() -> String, value: f64) -> Suite {
    Suite {
        name: word(),
        protocol: word(),
        digest: word(),
        counts: Some(Counts {
            questions: 1400,
            right: 1100,
            ..Counts::default()
        }),
        metrics: vec![Metric {
            name: word(),
            estimate: Estimate {
                method: Some(word()),
                ..measured(value)
            },
            bounds: vec![Bound::AtLeast(0.8)],
        }],
        strata: vec![
            Stratum {
                category: word(),
                estimate: measured(value),
            },
            Stratum {
                category: word(),
                estimate: measured(value - 0.1),
            },
        ],
    }
}

/// A view with something in every field; `word` makes its texts, one after the other.
fn filled(mut word: impl FnMut() -> String) -> View {
    let mut target = |verdict, value| Target {
        model: word(),
        verdict,
        message: word(),
        criteria: vec![word(), word()],
        suites: vec![suite(&mut word, value), suite(&mut word, value)],
        trends: vec![Trend {
            suite: word(),
            metric: word(),
            bounds: vec![Bound::AtLeast(0.8)],
            runs: [verdict, Verdict::Invalid, Verdict::Pass]
                .map(|verdict| Run {
                    slot: word(),
                    verdict,
                    estimate: measured(value),
                })
                .to_vec(),
        }],
        comparisons: vec![Comparison {
            suite: word(),
            with: word(),
            questions: 500,
            changes: [Outcome::Wrong, Outcome::Graded(0.73)]
                .map(|outcome| Change {
                    id: word(),
                    category: Some(word()),
                    before: answer(Outcome::Right, Some(word())),
                    now: answer(outcome, Some(word())),
                })
                .to_vec(),
        }],
    };
    let targets = vec![target(Verdict::Pass, 0.85), target(Verdict::Fail, 0.75)];
    View {
        namespace: word(),
        name: word(),
        slot: word(),
        begun: Some(word()),
        ended: Some(word()),
        verdict: Verdict::Fail,
        invalid: Some(word()),
        stopped: Some(word()),
        confidence: Some(0.95),
        tokens: Some(2_418_333),
        cost_usd: Some(3.1842),
        targets,
        baselines: vec![Baseline {
            name: word(),
            suites: vec![suite(&mut word, 0.84)],
        }],
        drift: vec![Drift {
            about: word(),
            state: word(),
            evidence: Some(0.62),
        }],
    }
}

fn answer(outcome: Outcome, text: Option<String>) -> Answer {
    Answer { outcome, text }
}

/// Words of which no two are the same.
fn numbered() -> impl FnMut() -> String {
    let mut count = 0;
    move || {
        count += 1;
        format!("word{count}")
    }
}

fn only(target: Target) -> View {
    View {
        targets: vec![target],
        ..View::default()
    }
}

fn compared(changes: Vec<Change>) -> View {
    only(Target {
        comparisons: vec![Comparison {
            suite: "claims".to_owned(),
            with: "the run before".to_owned(),
            questions: 500,
            changes,
        }],
        ..Target::default()
    })
}

fn change(id: usize, before: Outcome, now: Outcome) -> Change {
    Change {
        id: id.to_string(),
        category: None,
        before: answer(before, None),
        now: answer(now, None),
    }
}

/// Each element with the names of its attributes and its depth, in order. Panics where the page is not well-formed.
fn skeleton(document: &Html) -> Vec<String> {
    assert_eq!(document.errors, Vec::<&str>::new());
    let mut all = Vec::new();
    for node in document.tree.root().descendants() {
        if let Node::Element(element) = node.value() {
            let attributes: Vec<&str> = element.attrs().map(|(name, _)| name).collect();
            all.push(format!("{} {} {attributes:?}", node.ancestors().count(), element.name()));
        }
    }
    all
}

fn parsed(view: &View) -> Html {
    Html::parse_document(&page(view))
}

fn words(document: &Html) -> String {
    let body = Selector::parse("body").unwrap();
    let text: Vec<&str> = document.select(&body).flat_map(|body| body.text()).collect();
    text.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The texts of what `selector` finds.
fn found(document: &Html, selector: &str) -> Vec<String> {
    let selector = Selector::parse(selector).unwrap();
    let text = |element: ElementRef<'_>| element.text().collect::<String>();
    document.select(&selector).map(text).collect()
}

fn hostile() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "</title></style><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onload='alert(1)",
        "]]></desc></svg></td></table><iframe src=//x>",
        "<!--",
        "-->",
        "&lt;&#0;&",
        "\0\u{202e}\u{fffe}\r\n\t",
        "{{7*7}}${7*7}",
    ]);
    let characters = prop::collection::vec(any::<char>(), 0..60).prop_map(String::from_iter);
    prop_oneof![known.prop_map(str::to_owned), characters, "[<>&\"'/= a-z]{1,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_text_adds_an_element_or_an_attribute(texts in prop::collection::vec(hostile(), 90)) {
        let plain = parsed(&filled(numbered()));
        // The number keeps texts apart that are the same: what has the same name is shown together.
        let mut count = 0;
        let hostile = parsed(&filled(|| {
            count += 1;
            format!("{}{count}", texts[count % texts.len()])
        }));
        prop_assert_eq!(skeleton(&plain), skeleton(&hostile));
    }

    #[test]
    fn no_number_breaks_the_page(numbers in prop::collection::vec(prop::option::of(any::<f64>()), 5), bound in any::<f64>()) {
        let estimate = Estimate { value: numbers[0], lower: numbers[1], upper: numbers[2], ..Estimate::default() };
        let mut view = filled(numbered());
        view.cost_usd = numbers[3];
        view.drift[0].evidence = numbers[4];
        view.targets[0].suites[0].metrics[0] = Metric { name: "m".to_owned(), estimate: estimate.clone(), bounds: vec![Bound::AtMost(bound)] };
        view.targets[0].suites[0].strata[0].estimate = estimate.clone();
        view.targets[0].trends[0].runs[1].estimate = estimate;
        let page = parsed(&view);
        skeleton(&page);
        let places = Selector::parse("svg [x], svg [x1]").unwrap();
        for element in page.select(&places) {
            for name in ["x", "x1", "x2"] {
                let place = element.attr(name).map(|place| place.trim_end_matches('%').parse::<f64>().unwrap());
                prop_assert!(place.is_none_or(|place| (0.0..=100.0).contains(&place)), "{name} {place:?}");
            }
        }
        prop_assert!(!words(&page).contains("NaN") && !words(&page).contains("inf "));
    }

    #[test]
    fn rows_are_shared_out_whole(lengths in prop::collection::vec(0_usize..400, 0..9)) {
        let shares = shares(&lengths, MOST_ROWS);
        prop_assert!(shares.iter().zip(&lengths).all(|(share, length)| share <= length));
        prop_assert_eq!(shares.iter().sum::<usize>() <= MOST_ROWS, true);
        let spare = lengths.iter().sum::<usize>() <= MOST_ROWS;
        prop_assert!(!spare || shares == lengths);
    }
}

#[test]
fn every_text_of_the_view_is_on_the_page() {
    let mut all = Vec::new();
    let mut word = numbered();
    let page = parsed(&filled(|| {
        all.push(word());
        all[all.len() - 1].clone()
    }));
    let text = words(&page);
    let text: HashSet<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    all.retain(|word| !text.contains(word.as_str()));
    assert_eq!(all, Vec::<String>::new(), "missing");
}

#[test]
fn an_empty_view_is_a_page_that_says_what_it_lacks() {
    let page = parsed(&View::default());
    skeleton(&page);
    let text = words(&page);
    for lack in [
        "Invalid",
        "Tokens not measured",
        "Cost not measured",
        "Begun not measured",
        "Nothing is said about any model",
        "No suite was measured",
    ] {
        assert!(text.contains(lack), "{lack}: {text}");
    }
}

#[test]
fn the_same_view_makes_the_same_page() {
    assert_eq!(page(&filled(numbered())), page(&filled(numbered())));
}

#[test]
fn nothing_is_loaded_or_run() {
    let page = parsed(&filled(numbered()));
    assert!(found(&page, "script, link, img, iframe, object, form, base, use, image, [style], [src]").is_empty());
    let policy = Selector::parse("meta[http-equiv=Content-Security-Policy]").unwrap();
    let policy = page.select(&policy).next().unwrap().attr("content").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert_eq!(found(&page, "style"), [super::STYLE], "the policy is about what the browser reads");
}

#[test]
fn each_picture_and_table_is_named() {
    let page = parsed(&filled(numbered()));
    let unnamed = |selector: &str, name: &str| {
        let (all, name) = (Selector::parse(selector).unwrap(), Selector::parse(name).unwrap());
        page.select(&all).filter(|element| element.select(&name).next().is_none()).count()
    };
    assert_eq!(unnamed("svg[role=img]", "title"), 0);
    assert_eq!(unnamed("svg.strip", "desc"), 0);
    assert_eq!(unnamed("table", "caption"), 0);
}

#[test]
fn an_absent_number_is_told_and_is_no_mark() {
    let view = only(Target {
        suites: vec![Suite {
            name: "claims".to_owned(),
            metrics: vec![Metric {
                name: "accuracy".to_owned(),
                bounds: vec![Bound::AtLeast(0.8)],
                ..Metric::default()
            }],
            ..Suite::default()
        }],
        ..Target::default()
    });
    let page = parsed(&view);
    assert_eq!(found(&page, "#metrics .mark, #metrics .strip").len(), 0);
    assert_eq!(
        found(&page, "#metrics td"),
        ["", "not measured", "not measured", "not measured", "", "not measured"]
    );
    assert_eq!(found(&page, "#counts td"), ["not measured"]);
}

#[test]
fn the_distance_to_the_bound_is_told() {
    let mut view = filled(numbered());
    view.targets.truncate(1);
    view.targets[0].suites[0].metrics[0].estimate = measured(0.75);
    assert_eq!(found(&parsed(&view), "#metrics p.missed"), ["0.05 below"]);
}

#[test]
fn changes_that_are_cut_tell_their_number_and_the_worst_stay() {
    let better = (0..250).map(|i| change(i, Outcome::Wrong, Outcome::Right));
    let worse = (250..300).map(|i| change(i, Outcome::Right, Outcome::Refused));
    let page = parsed(&compared(better.chain(worse).collect()));
    let caption = found(&page, "#changes caption").concat();
    assert!(
        caption.contains("250 better, 50 worse of 500 questions, compared with the run before"),
        "{caption}"
    );
    assert!(caption.contains("showing 200 of 300"), "{caption}");
    let ids = found(&page, "#changes tbody th");
    assert_eq!(ids.len(), MOST_ROWS);
    assert_eq!((ids[0].as_str(), ids[50].as_str()), ("250", "0"));
}

#[test]
fn a_change_says_from_what_to_what() {
    let page = parsed(&compared(vec![
        change(0, Outcome::Wrong, Outcome::Unparsed),
        change(1, Outcome::Graded(0.73), Outcome::Graded(f64::NAN)),
    ]));
    let outcomes: Vec<String> = found(&page, "#changes td:nth-child(2)");
    assert_eq!(outcomes, ["worse Graded 0.730 → Graded not measured", "as good Wrong → Unparsed"]);
    assert!(words(&page).contains("0 better, 1 worse, 1 otherwise different of 500 questions"));
}

#[test]
fn the_worst_model_and_the_lowest_category_come_first() {
    let page = parsed(&filled(numbered()));
    let verdicts = found(&page, "#models .verdict");
    assert_eq!(verdicts, ["Fail", "Pass"]);
    let values: Vec<String> = found(&page, "#categories table:first-of-type tbody .number:nth-last-child(3)");
    assert_eq!(values[..2], ["0.650", "0.750"]);
}

#[test]
fn a_verdict_is_told_since_when() {
    use Verdict::{Fail, Invalid, Pass};
    let sentence = |verdicts: &[Verdict]| {
        let run = |(i, verdict): (usize, &Verdict)| Run {
            slot: format!("day {}", 9 - i),
            verdict: *verdict,
            ..Run::default()
        };
        since::sentence(&verdicts.iter().enumerate().map(run).collect::<Vec<_>>())
    };
    assert_eq!(sentence(&[]), "No run is known.");
    assert_eq!(sentence(&[Fail]), "Fail in this run, the first that is known.");
    assert_eq!(
        sentence(&[Fail, Invalid, Fail, Pass]),
        "Fail since day 7, in 2 runs; the last Pass was day 6."
    );
    assert_eq!(sentence(&[Pass, Fail]), "Pass in this run; before that Fail.");
    assert_eq!(sentence(&[Invalid, Fail]), "Invalid in this run; no Pass is known.");
    assert_eq!(sentence(&[Pass, Invalid, Pass]), "Pass in all 2 runs that are known.");
}

//! Price books in both forms: what they say, and what is said about what is wrong with them.

use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::api::ModelDeployment;
use crate::plan::price::{Cost, Pricing, Unpriced};
use crate::protocol::usage::Tokens;

fn said(name: &str, text: &str) -> String {
    let lines: Vec<String> = prices_from_text(name, text).findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn cost(book: &Book, provider: &str, model: &str, count: Tokens) -> Cost {
    let yaml = format!("metadata: {{name: m}}\nspec: {{api: {{provider: {provider}, model: '{model}'}}}}");
    let md: ModelDeployment = serde_saphyr::from_str(&yaml).unwrap();
    Pricing::of(&md, book).cost(Some(&count), Timestamp::UNIX_EPOCH)
}

fn count(input: u64, cache_read: u64, output: u64) -> Tokens {
    Tokens {
        input,
        cache_read,
        output,
        ..Tokens::default()
    }
}

#[test]
fn yaml_says_what_is_wrong_with_line_and_field() {
    let text = "# prices of ours
prices:
- {provider: OpenAI, model: gpt-5, from: 2026-08-01, inputPer1M: 1.25, outputPer1M: '10'}
- provider: OpenAI
  model: gpt-5-mini
  inputPer1M: '0,25'
  outputPer1m: '2'
- {model: o3, inputPer1M: '1'}
- {provider: OpenAI, model: a, from: tomorrow}
- {provider: OpenAI, model: b, tiers: [{aboveInputTokens: 0, inputPer1M: '1'}]}
";
    let found = said("prices.yaml", text);
    let expected = [
        "prices.yaml:3: prices[0].inputPer1M: must be a text, is 1.25; put it in quotes: \"1.25\"",
        "prices.yaml:6: prices[1].inputPer1M: \"0,25\" does not have the right form; write US dollars as a decimal number of 0 or more",
        "prices.yaml:7: prices[1].outputPer1m: unknown field; did you mean outputPer1M?",
        "prices.yaml:8: prices[2].provider: is required; add it: Whose API it is, as `spec.api.provider` of a ModelDeployment says it",
        "prices.yaml:9: prices[3].from: \"tomorrow\" does not have the right form; The first day on which it holds, in UTC, such as `2026-08-01`",
        "prices.yaml:10: prices[4].tiers[0].aboveInputTokens: must be at least 1, is 0; use a number from 1 to 1000000000",
        "prices.yaml:10: prices[4].tiers[0].outputPer1M: is required; add it: What a million answer tokens cost then",
    ];
    assert_eq!(found.lines().count(), expected.len(), "{found}");
    for (line, expected) in found.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    for (text, expected) in [
        (
            "prices:\n- {provider: OpenAI, model: a, from: 2026-02-30}\n",
            "p.yaml:2: prices[0].from: \"2026-02-30\" is no day; write year, month and day, such as 2026-08-01",
        ),
        (
            "prices:\n- model: a\n  provider: OpenIA\n",
            "p.yaml:3: warning: prices[0].provider: no ModelDeployment has the provider \"OpenIA\", so the entry is not used; write OpenAI, ",
        ),
        (
            "prices: []\n---\nprices: []\n",
            "p.yaml:3: is a second document; write one document with one list `prices`",
        ),
        (
            "- {provider: OpenAI, model: a}\n",
            "p.yaml:1: must be a map, is a list; write a map of these fields: prices",
        ),
        ("prices: [\n", "p.yaml:"),
    ] {
        let found = said("p.yaml", text);
        assert!(found.starts_with(expected) && found.lines().count() == 1, "{found}");
    }
    for empty in ["", "# nothing yet\n", "prices: []\n", "{}\n"] {
        let read = prices_from_text("p.yaml", empty);
        assert_eq!((read.findings, read.book.entries()), (vec![], 0), "{empty:?}");
    }
}

#[test]
fn csv_says_what_is_wrong_with_its_line() {
    let header = "provider,model,input_usd_per_1m,output_usd_per_1m";
    for (text, expected) in [
        (
            "provider,modle,input_usd_per_1m\n".to_owned(),
            "p.csv:1: there is no column \"modle\"; did you mean model?",
        ),
        (
            "provider,input_usd_per_1m\n".to_owned(),
            "p.csv:1: there is no column \"model\"; begin with a header such as provider,model,input_usd_per_1m,output_usd_per_1m",
        ),
        (
            format!("{header},model\n"),
            "p.csv:1: the column \"model\" is there twice; take one out",
        ),
        (
            format!("{header}\n\nopenai,a,1\n"),
            "p.csv:3: has 3 cells, the header has 4; separate the cells by commas; leave a cell empty whose value is unknown",
        ),
        (
            format!("{header}\nopenai,\"a,1,2\n"),
            "p.csv:2: has a quotation mark that is not closed; close it, or take it out",
        ),
        (
            format!("{header}\nopenai,,1,2\n"),
            "p.csv:2: model: is required; add it: What the provider calls the model, such as `gpt-5-mini`; with a `*` at its end, every model whose name begins so",
        ),
    ] {
        assert_eq!(said("p.csv", &text), expected);
    }
    let wrong = said("p.csv", &format!("{header}\nopenai,a,$1,2\n"));
    assert!(
        wrong.starts_with("p.csv:2: input_usd_per_1m: \"$1\" does not have the right form"),
        "{wrong}"
    );
    assert_eq!(prices_from_text("p.csv", "").book.entries(), 0);
    assert_eq!(
        prices_from_text("p.CSV", &format!("\u{feff}{header}\r\nopenai,\"a\",1,2\r\n"))
            .book
            .entries(),
        1
    );
}

#[test]
fn an_unknown_provider_is_told_beside_errors() {
    let text = "provider,model,input_usd_per_1m\ngroq,a,1\nopenai,b,-1\n";
    let found = said("p.csv", text);
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2, "{found}");
    assert!(
        lines[0].starts_with("p.csv:2: warning: provider: no ModelDeployment has the provider \"groq\""),
        "{found}"
    );
    assert!(
        lines[1].starts_with("p.csv:3: input_usd_per_1m: \"-1\" does not have the right form; write US dollars"),
        "{found}"
    );
}

#[test]
fn a_book_that_a_person_names_and_that_says_nothing_is_doubted() {
    let folder = std::env::temp_dir().join(format!("llm-portfolio-empty-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let files: Vec<PathBuf> = ["empty.yaml", "empty.csv", "good.yaml", "latin.csv"]
        .map(|name| folder.join(name))
        .into();
    std::fs::write(&files[0], "prices: []\n").unwrap();
    std::fs::write(&files[1], "provider,model\n").unwrap();
    std::fs::write(&files[2], "prices: [{provider: OpenAI, model: a, inputPer1M: '7'}]").unwrap();
    std::fs::write(&files[3], b"provider,model\nopenai,caf\xe9\n").unwrap();
    let read = prices(&files);
    assert_eq!(read.findings.len(), 1, "an installer's may be empty: {:?}", read.findings);
    let said: Vec<String> = read.doubting_empty().findings.iter().map(ToString::to_string).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[0].ends_with("latin.csv:2: has the byte 0xE9, which is not UTF-8; save it as UTF-8"),
        "{said:?}"
    );
    for (said, name) in said[1..].iter().zip(["empty.yaml", "empty.csv"]) {
        let rest = ": warning: has no prices, so it changes nothing; add entries, or leave the file out";
        assert!(said.ends_with(&format!("{name}{rest}")), "{said}");
    }
}

#[test]
fn an_empty_cell_is_unknown_and_never_zero() {
    let text = "provider,model,input_usd_per_1m,output_usd_per_1m,cache_read_usd_per_1m\nopenai,a,1,,\nopenai,b,,2,0\n";
    let book = prices_from_text("p.csv", text).book;
    assert_eq!(cost(&book, "OpenAI", "a", count(3, 0, 0)), Cost::Known(3000));
    assert_eq!(
        cost(&book, "OpenAI", "a", count(3, 0, 1)),
        Cost::Unknown(Unpriced::NoRate("outputPer1M"))
    );
    assert_eq!(
        cost(&book, "OpenAI", "a", count(3, 1, 0)),
        Cost::Unknown(Unpriced::NoRate("cacheReadPer1M"))
    );
    assert_eq!(
        cost(&book, "OpenAI", "b", count(0, 9, 1)),
        Cost::Known(2000),
        "what is written as 0 is free"
    );
    assert_eq!(cost(&book, "OpenAI", "c", count(1, 0, 0)), Cost::Unknown(Unpriced::NoPrice));
}

#[test]
fn rows_for_short_and_long_prompts_are_one_model_with_a_tier() {
    let text = "provider,model,input_usd_per_1m,output_usd_per_1m,cache_read_usd_per_1m
openai,p,9,9,9
openai,p-lte-200k,1,10,0.1
openai,p-gt-200k,2,15,
openai,q-gt-128k,2,15,
openai,v-lte-128k,2,,
openai,v-gt-128k,2,,
openai,w-lte-128k,2,,
openai,w-gt-128k,4,,
";
    let book = prices_from_text("p.csv", text).book;
    assert_eq!(book.entries(), 5);
    assert_eq!(cost(&book, "OpenAI", "p", count(200_000, 0, 0)), Cost::Known(200_000_000));
    assert_eq!(cost(&book, "OpenAI", "p", count(200_001, 0, 0)), Cost::Known(400_002_000));
    assert_eq!(
        cost(&book, "OpenAI", "p", count(200_000, 1, 0)),
        Cost::Unknown(Unpriced::NoRate("cacheReadPer1M"))
    );
    assert_eq!(
        cost(&book, "OpenAI", "v", count(200_000, 0, 0)),
        Cost::Known(400_000_000),
        "no tier at all"
    );
    assert_eq!(
        cost(&book, "OpenAI", "q", count(1, 0, 0)),
        Cost::Unknown(Unpriced::NoPrice),
        "half a price is none"
    );
}

#[test]
fn an_earlier_file_wins_and_a_file_that_is_absent_is_named() {
    let folder = std::env::temp_dir().join(format!("llm-portfolio-books-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let files: Vec<PathBuf> = ["mine.yaml", "list.csv", "absent.yaml"].map(|name| folder.join(name)).into();
    std::fs::write(&files[0], "prices: [{provider: OpenAI, model: a, inputPer1M: '7'}]").unwrap();
    std::fs::write(&files[1], "provider,model,input_usd_per_1m\nopenai,a,1\nopenai,b,2\n").unwrap();
    let Prices { book, findings, .. } = prices(&files);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(cost(&book, "OpenAI", "a", count(1, 0, 0)), Cost::Known(7000));
    assert_eq!(cost(&book, "OpenAI", "b", count(1, 0, 0)), Cost::Known(2000));
    assert_eq!(findings.len(), 1);
    assert!(findings[0].is_error() && findings[0].file.ends_with("absent.yaml"), "{findings:?}");
}

#[test]
fn a_published_list_is_taken_as_it_is() {
    let folder = std::env::var("LLM_PORTFOLIO_DATA").unwrap_or_else(|_| "../shared/data".to_owned());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("prices.csv");
    if !file.exists() {
        println!("skipped: no data");
        return;
    }
    let Prices { book, findings, .. } = prices(&[file]);
    assert_eq!(findings, []);
    assert!(book.entries() > 700, "{}", book.entries());
    assert_eq!(
        cost(&book, "OpenAI", "gpt-5-mini-2025-08-07", count(1_000_000, 1_000_000, 1_000_000)),
        Cost::Known(2_275_000_000)
    );
    assert_eq!(
        cost(&book, "OpenAI", "text-embedding-3-small", count(1_000_000, 0, 0)),
        Cost::Known(20_000_000)
    );
    assert_eq!(
        cost(&book, "Anthropic", "claude-3-haiku-20240307", count(0, 1_000_000, 0)),
        Cost::Known(30_000_000)
    );
}

proptest! {
    #[test]
    fn no_text_makes_reading_fail(text in "\\PC{0,80}|([a-z0-9,\"\\n.*-]{0,120})", yaml in any::<bool>()) {
        let name = if yaml { "p.yaml" } else { "p.csv" };
        let read = prices_from_text(name, &text);
        prop_assert!(read.book.entries() == 0 || !read.have_errors());
        let under = format!("provider,model,input_usd_per_1m\n{text}");
        prop_assert!(prices_from_text("p.csv", &under).findings.iter().all(|finding| finding.line.is_some()));
    }

    #[test]
    fn a_row_is_read_back_as_it_was_written(model in "[a-z0-9,\" .:@-]{1,20}", nanos in 0u64..1_000_000_000_000) {
        let model = model.trim();
        prop_assume!(!model.is_empty() && !model.ends_with('k'));
        let quoted = model.replace('"', "\"\"");
        let text = format!("provider,model,input_usd_per_1m\nopenai,\"{quoted}\",{}\n", crate::api::money::written(nanos.into()));
        let read = prices_from_text("p.csv", &text);
        prop_assert_eq!(&read.findings, &[]);
        let mut md: ModelDeployment = serde_saphyr::from_str("metadata: {name: m}\nspec: {api: {provider: OpenAI, model: x}}").unwrap();
        md.spec.api.as_mut().unwrap().model = model.to_owned();
        let cost = Pricing::of(&md, &read.book).cost(Some(&count(1_000_000, 0, 0)), Timestamp::UNIX_EPOCH);
        prop_assert_eq!(cost, Cost::Known(nanos));
    }
}

//! Money: what is computed, what is not known, and which entry of a book holds.

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::api::ModelDeployment;
use crate::api::price::PriceBook;
use crate::plan::Invalid;

fn rates(price: &str) -> Rates {
    Rates::of(&serde_saphyr::from_str(price).unwrap()).unwrap()
}

fn book(entries: &str) -> Book {
    Book::of(&serde_saphyr::from_str::<PriceBook>(&format!("prices:\n{entries}")).unwrap()).unwrap()
}

fn flaws(entries: &str) -> Vec<String> {
    let book: PriceBook = serde_saphyr::from_str(&format!("prices:\n{entries}")).unwrap();
    Book::of(&book).unwrap_err().iter().map(ToString::to_string).collect()
}

fn model(provider: &str, name: &str, rest: &str) -> ModelDeployment {
    let yaml = format!("metadata: {{name: m}}\nspec: {{api: {{provider: {provider}, model: '{name}'}}{rest}}}");
    serde_saphyr::from_str(&yaml).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const ALL: &str = r#"{inputPer1M: "2", outputPer1M: "8", cacheReadPer1M: "0.5", cacheWritePer1M: "2.5", cacheWrite1hPer1M: "4",
    reasoningPer1M: "9", audioInputPer1M: "32", audioOutputPer1M: "64"}"#;
const TEXT: &str = r#"{inputPer1M: "2", outputPer1M: "8"}"#;
const TIERED: &str = r#"{inputPer1M: "1.25", outputPer1M: "10", cacheReadPer1M: "0.125", tiers: [
    {aboveInputTokens: 200000, inputPer1M: "2.5", outputPer1M: "15"},
    {aboveInputTokens: 400000, inputPer1M: "5", outputPer1M: "30", cacheReadPer1M: "0.5"}]}"#;

fn count(set: impl FnOnce(&mut Tokens)) -> Tokens {
    let mut count = Tokens::default();
    set(&mut count);
    count
}

fn unused(book: &PriceBook) -> Vec<Invalid> {
    book::unused(book.prices.iter().map(|entry| entry.provider.as_str()).enumerate())
}

#[test]
fn each_kind_of_token_has_its_own_rate() {
    let million = 1_000_000;
    for (set, usd) in [
        (Box::new(|c: &mut Tokens| c.input = million) as Box<dyn FnOnce(&mut Tokens)>, "2"),
        (Box::new(|c: &mut Tokens| c.cache_read = million), "0.5"),
        (Box::new(|c: &mut Tokens| c.cache_write = million), "2.5"),
        (Box::new(|c: &mut Tokens| c.cache_write_1h = million), "4"),
        (Box::new(|c: &mut Tokens| c.audio_input = million), "32"),
        (Box::new(|c: &mut Tokens| c.output = million), "8"),
        (Box::new(|c: &mut Tokens| c.reasoning = million), "9"),
        (Box::new(|c: &mut Tokens| c.audio_output = million), "64"),
    ] {
        assert_eq!(cost(&count(set), Some(&rates(ALL))).usd().as_deref(), Some(usd));
    }
}

#[test]
fn a_missing_rate_that_is_needed_makes_the_cost_unknown_and_one_that_is_not_does_not() {
    let text = rates(TEXT);
    for (set, expected) in [
        (Box::new(|_: &mut Tokens| {}) as Box<dyn FnOnce(&mut Tokens)>, Cost::Known(0)),
        (Box::new(|c: &mut Tokens| c.input = 3), Cost::Known(6_000)),
        // As the answer that it is a part of.
        (Box::new(|c: &mut Tokens| c.reasoning = 3), Cost::Known(24_000)),
        (
            Box::new(|c: &mut Tokens| (c.input, c.cache_read) = (3, 1)),
            Cost::Unknown(Unpriced::NoRate("cacheReadPer1M")),
        ),
        (
            Box::new(|c: &mut Tokens| c.cache_write = 1),
            Cost::Unknown(Unpriced::NoRate("cacheWritePer1M")),
        ),
        (
            Box::new(|c: &mut Tokens| c.cache_write_1h = 1),
            Cost::Unknown(Unpriced::NoRate("cacheWrite1hPer1M")),
        ),
        (
            Box::new(|c: &mut Tokens| c.audio_input = 1),
            Cost::Unknown(Unpriced::NoRate("audioInputPer1M")),
        ),
        (
            Box::new(|c: &mut Tokens| c.audio_output = 1),
            Cost::Unknown(Unpriced::NoRate("audioOutputPer1M")),
        ),
    ] {
        assert_eq!(cost(&count(set), Some(&text)), expected);
    }
    assert_eq!(cost(&Tokens::default(), None), Cost::Unknown(Unpriced::NoPrice));
    assert_eq!(Cost::Unknown(Unpriced::NoPrice).usd(), None, "unknown is not zero");
}

#[test]
fn a_tier_holds_for_all_of_a_request_and_takes_nothing_from_the_one_below() {
    let tiered = rates(TIERED);
    let usd = |input, cache_read, output| {
        let count = Tokens {
            input,
            cache_read,
            output,
            ..Tokens::default()
        };
        cost(&count, Some(&tiered)).usd()
    };
    assert_eq!(usd(200_000, 0, 1000).as_deref(), Some("0.26"), "not above the bound");
    assert_eq!(usd(200_001, 0, 1000).as_deref(), Some("0.5150025"));
    assert_eq!(usd(199_999, 1, 0).as_deref(), Some("0.249998875"), "cached tokens count");
    assert_eq!(usd(199_999, 2, 0), None, "this tier does not say what cached tokens cost");
    assert_eq!(usd(400_000, 1, 0).as_deref(), Some("2.0000005"));
    assert!(tiered.price_text());
    assert!(!Book::default().lines("openai", "x").iter().any(|line| line.rates.price_text()));
}

#[test]
fn a_cost_is_rounded_half_up_once() {
    // 0.3 nano-dollars a token of each kind: 0.6 together is 1, each rounded by itself would be 0.
    let cheap = rates(r#"{inputPer1M: "0.0003", outputPer1M: "0.0003"}"#);
    let of = |input, output| {
        cost(
            &Tokens {
                input,
                output,
                ..Tokens::default()
            },
            Some(&cheap),
        )
    };
    assert_eq!(of(1, 0), Cost::Known(0));
    assert_eq!(of(1, 1), Cost::Known(1));
    assert_eq!(of(5, 0), Cost::Known(2), "1.5");
    assert_eq!(cheap.exact(&count(|c| c.input = 1)).unwrap().nanos_up(), 1, "never understated");
}

#[test]
fn an_entry_holds_from_its_first_day_until_the_day_it_ends() {
    let book = book(
        "- {provider: OpenAI, model: gpt-5, until: 2026-08-01, inputPer1M: '1', outputPer1M: '1'}
- {provider: OpenAI, model: gpt-5, from: 2026-08-01, inputPer1M: '2', outputPer1M: '2'}
- {provider: OpenAI, model: gpt-5, from: 2026-09-01, until: 2026-10-01, inputPer1M: '3', outputPer1M: '3'}
",
    );
    let md = model("OpenAI", "gpt-5", "");
    let pricing = Pricing::of(&md, &book);
    for (now, usd) in [
        ("1969-12-31T23:59:59Z", "1"),
        ("2026-07-31T23:59:59.999Z", "1"),
        ("2026-08-01T00:00:00Z", "2"),
        ("2026-08-31T23:59:59Z", "2"),
        ("2026-09-01T00:00:00Z", "3"),
        ("2026-10-01T00:00:00Z", "2"),
    ] {
        let million = count(|c| c.input = 1_000_000);
        assert_eq!(pricing.cost(Some(&million), at(now)).usd().as_deref(), Some(usd), "{now}");
    }
    let ended = super::tests::book("- {provider: OpenAI, model: gpt-5, until: 2026-08-01, inputPer1M: '1'}");
    assert!(Pricing::of(&md, &ended).at(at("2026-08-01T00:00:00Z")).is_none());
    let now = at("2026-08-01T00:00:00Z");
    assert_eq!(Pricing::of(&md, &book).cost(None, now), Cost::Unknown(Unpriced::NoUsage));
}

#[test]
fn the_nearest_name_wins_and_a_dated_name_is_another_model() {
    let book = book(
        "- {provider: openai, model: 'gpt-5*', inputPer1M: '5'}
- {provider: openai, model: 'gpt-5-mini*', inputPer1M: '2'}
- {provider: openai, model: gpt-5-mini, inputPer1M: '1'}
- {provider: azure-openai, model: gpt-4, inputPer1M: '30'}
- {provider: openai, model: o3, inputPer1M: '3'}
",
    );
    let found = |model: &str| {
        let line = book.lines("OpenAI", model).into_iter().next()?;
        line.rates.base.input.map(|nanos| nanos / 1_000_000_000)
    };
    for (model, usd) in [
        ("gpt-5-mini", Some(1)),
        ("gpt-5-mini-2025-08-07", Some(2)),
        ("gpt-5", Some(5)),
        ("gpt-5.1", Some(5)),
        ("gpt-4", None),
        ("o3", Some(3)),
        ("o3-2025-04-16", None),
        ("GPT-5", None),
    ] {
        assert_eq!(found(model), usd, "{model}");
    }
}

#[test]
fn an_earlier_file_wins_where_it_says_something() {
    let mine = book("- {provider: OpenAI, model: 'gpt*', from: 2026-08-01, inputPer1M: '9'}");
    let list = book("- {provider: openai, model: gpt-5, inputPer1M: '1'}\n- {provider: openai, model: o3, inputPer1M: '3'}");
    let book = mine.or(list);
    assert_eq!(book.entries(), 3);
    let input = |model_name: &str, now: &str| {
        let pricing = Pricing::of(&model("OpenAI", model_name, ""), &book);
        pricing.at(at(now)).and_then(|rates| rates.base.input)
    };
    assert_eq!(input("gpt-5", "2026-08-01T00:00:00Z"), Some(9_000_000_000));
    assert_eq!(input("gpt-5", "2026-07-31T00:00:00Z"), Some(1_000_000_000));
    assert_eq!(input("o3", "2026-08-01T00:00:00Z"), Some(3_000_000_000));
}

#[test]
fn providers_are_known_by_the_names_that_price_lists_give_them() {
    for (written, ours) in [
        ("openai", "OpenAI"),
        ("azure-openai", "AzureOpenAI"),
        ("Azure OpenAI", "AzureOpenAI"),
        ("anthropic", "Anthropic"),
        ("google", "Gemini"),
        ("vertex-ai", "VertexAI"),
        ("bedrock", "Bedrock"),
        ("mistral-ai", "Mistral"),
        ("openai-compatible", "OpenAICompatible"),
    ] {
        assert_eq!(book::word(written), book::word(ours), "{written}");
        let entry: PriceBook = serde_saphyr::from_str(&format!("prices: [{{provider: {written}, model: x}}]")).unwrap();
        assert_eq!(unused(&entry), [], "{written}");
    }
    let other: PriceBook = serde_saphyr::from_str("prices: [{provider: OpenIA, model: x}]").unwrap();
    insta::assert_snapshot!(unused(&other)[0], @r#"prices[0].provider: no ModelDeployment has the provider "OpenIA", so the entry is not used; write OpenAI, Anthropic, AzureOpenAI, Gemini, VertexAI, Bedrock, Mistral or OpenAICompatible, or remove the entry"#);
    let schema = serde_json::to_value(schemars::schema_for!(crate::api::model_deployment::Provider)).unwrap();
    let mut variants = Vec::new();
    for one in schema["oneOf"].as_array().unwrap() {
        variants.push(one["const"].as_str().unwrap());
    }
    assert!(variants.contains(&"OpenAI"), "{variants:?}");
    for variant in variants {
        let entry: PriceBook = serde_saphyr::from_str(&format!("prices: [{{provider: {variant}, model: x}}]")).unwrap();
        assert_eq!(unused(&entry), [], "{variant}");
    }
}

#[test]
fn what_is_wrong_with_an_entry_is_told_by_its_field() {
    let found = flaws(
        "- {provider: OpenAI, model: 'g*t', inputPer1M: '1'}
- {provider: OpenAI, model: a, from: 2026-02-30, inputPer1M: '1'}
- {provider: OpenAI, model: b, from: 2026-02-02, until: 2026-02-02, inputPer1M: '1'}
- {provider: OpenAI, model: c, inputPer1M: '1,25'}
- provider: OpenAI
  model: d
  tiers: [{aboveInputTokens: 5, inputPer1M: '1', outputPer1M: '1'}, {aboveInputTokens: 5, inputPer1M: '1', outputPer1M: '1'}]
- {provider: OpenAI, model: e, inputPer1M: '1'}
- {provider: open-ai, model: e, inputPer1M: '2'}
",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    prices[0].model: "g*t" has a * before its end; write * only at the end, for all models whose name begins so
    prices[1].from: "2026-02-30" is no day; write year, month and day, such as 2026-08-01
    prices[2].until: is not after from, so the entry never holds; write the first day on which it does not hold any more, later than from
    prices[3]: an amount cannot be read; write US dollars per million tokens, such as "1.25", in quotes
    prices[4].tiers: a tier does not begin above the one before it; sort them by aboveInputTokens, and let no two begin alike
    prices[6]: open-ai e has two entries that begin alike; remove one, or give one another from
    "#);
}

#[test]
fn a_models_own_price_wins_whole_and_its_status_says_whose_price_it_has() {
    let book = book(
        "- {provider: OpenAI, model: gpt-5, from: 2026-08-01, inputPer1M: '1.25', outputPer1M: '10', cacheReadPer1M: '0.125'}
- {provider: OpenAI, model: vectors, inputPer1M: '0.02'}
",
    );
    let now = at("2026-08-01T00:00:00Z");
    let own = ", price: {inputPer1M: '1', outputPer1M: '2'}";
    let of = |md: &ModelDeployment| summary(md, &book, now).unwrap();
    assert_eq!(of(&model("OpenAI", "gpt-5", "")), "1.25/10 per 1M (price book, from 2026-08-01)");
    assert_eq!(of(&model("OpenAI", "gpt-5", own)), "1/2 per 1M (spec.price)");
    assert_eq!(of(&model("OpenAI", "vectors", "")), "0.02/? per 1M (price book)");
    let tiered = model("OpenAI", "x", &format!(", price: {TIERED}"));
    assert_eq!(of(&tiered), "1.25/10 per 1M, another price above 200000 prompt tokens (spec.price)");
    let unknown = "unknown: set spec.price, or add Anthropic gpt-5 to the price book";
    assert_eq!(of(&model("Anthropic", "gpt-5", "")), unknown);
    assert_eq!(
        of(&model("OpenAI", "x", ", price: {inputPer1M: x, outputPer1M: '2'}")),
        "unknown: correct spec.price"
    );
    let served: ModelDeployment = serde_saphyr::from_str("metadata: {name: gpt-5}\nspec: {selfHosted: {engine: {kind: VLLM}}}").unwrap();
    assert_eq!(summary(&served, &book, now), None, "it costs by the hour");
    assert!(Pricing::of(&served, &book).at(now).is_none());

    let cached = count(|c| c.cache_read = 1);
    let pricing = Pricing::of(&model("OpenAI", "gpt-5", own), &book);
    assert_eq!(
        pricing.cost(Some(&cached), now),
        Cost::Unknown(Unpriced::NoRate("cacheReadPer1M")),
        "nothing is taken from the book for what it does not say"
    );
}

#[test]
fn rates_survive_being_handed_to_an_evaluation() {
    for price in [ALL, TEXT, TIERED] {
        let rates = rates(price);
        let json = serde_json::to_string(&rates).unwrap();
        assert_eq!(serde_json::from_str::<Rates>(&json).unwrap(), rates);
    }
    assert_eq!(
        serde_json::to_string(&rates(TEXT)).unwrap(),
        r#"{"input":2000000000,"output":8000000000}"#
    );
}

fn counts() -> impl Strategy<Value = Tokens> {
    let tokens = || prop_oneof![0u64..10_000, any::<u64>()];
    proptest::array::uniform8(tokens()).prop_map(of)
}

fn of(
    [
        input,
        cache_read,
        cache_write,
        cache_write_1h,
        audio_input,
        output,
        reasoning,
        audio_output,
    ]: [u64; 8],
) -> Tokens {
    Tokens {
        input,
        cache_read,
        cache_write,
        cache_write_1h,
        audio_input,
        output,
        reasoning,
        audio_output,
        ..Tokens::default()
    }
}

fn figures(count: &Tokens) -> [u64; 8] {
    [
        count.input,
        count.cache_read,
        count.cache_write,
        count.cache_write_1h,
        count.audio_input,
        count.output,
        count.reasoning,
        count.audio_output,
    ]
}

fn any_rates() -> impl Strategy<Value = Rates> {
    // Amounts as far as they can be written.
    proptest::array::uniform8(0u64..1_000_000_000_000_000_000).prop_map(|rates| Rates {
        base: PerKind {
            input: Some(rates[0]),
            output: Some(rates[1]),
            cache_read: Some(rates[2]),
            cache_write: Some(rates[3]),
            cache_write_1h: Some(rates[4]),
            reasoning: Some(rates[5]),
            audio_input: Some(rates[6]),
            audio_output: Some(rates[7]),
        },
        tiers: Vec::new(),
    })
}

proptest! {
    #[test]
    fn more_tokens_never_cost_less(count in counts(), rates in any_rates(), which in 0usize..8, more in any::<u64>()) {
        let mut greater = figures(&count);
        greater[which] = greater[which].saturating_add(more);
        let (less, more) = (rates.exact(&count).unwrap(), rates.exact(&of(greater)).unwrap());
        prop_assert!(less <= more);
        prop_assert!(less.nanos() <= more.nanos());
        prop_assert!(less.nanos() <= less.nanos_up());
    }

    #[test]
    fn within_a_tier_costs_add_up(
        a in proptest::array::uniform8(0u64..=u64::from(u32::MAX)),
        b in proptest::array::uniform8(0u64..=u64::from(u32::MAX)),
        rates in any_rates(),
    ) {
        let together: [u64; 8] = std::array::from_fn(|at| a[at] + b[at]);
        let sum = rates.exact(&of(a)).unwrap().plus(rates.exact(&of(b)).unwrap());
        prop_assert_eq!(rates.exact(&of(together)).unwrap(), sum);
    }

    #[test]
    fn the_longest_request_at_the_highest_rates_fits(rates in any_rates()) {
        let most = rates.exact(&of([u64::MAX; 8])).unwrap();
        prop_assert!(most < Exact(u128::MAX), "nothing is cut off");
        prop_assert!(most.times(u64::MAX) >= most);
    }

    #[test]
    fn on_any_day_the_entry_that_began_last_holds(days in proptest::collection::btree_set(0i64..20_000, 1..8), day in 0i64..20_000) {
        let entries: String = days.iter().map(|from| {
            let date = book::written(*from);
            format!("- {{provider: OpenAI, model: m, from: {date}, inputPer1M: '{from}'}}\n")
        }).collect();
        let pricing = Pricing::of(&model("OpenAI", "m", ""), &book(&entries));
        let now = Timestamp::from_second(day * 86_400 + 3).unwrap();
        let expected = days.iter().rfind(|from| **from <= day).map(|from| u64::try_from(*from).unwrap() * 1_000_000_000);
        prop_assert_eq!(pricing.at(now).and_then(|rates| rates.base.input), expected);
    }
}

//! What an evaluation will cost and can find out, before anything is asked: how many questions there are, what they use at most, how many of them must be
//! right, and how small a difference they show.

use super::metric::Metric;
use super::run::AT_ONCE;
use crate::api::eval_job::{Bound, Criterion, Latency};
use crate::plan::Invalid;
use crate::plan::price::Rates;
use crate::plan::statistics::{Confidence, Design, Share, Sides};
use crate::protocol::usage::Tokens;

/// Bytes of a token, about: what English text has in the usual tokenisers.
const BYTES_A_TOKEN: u64 = 4;
/// What is told of how long a run takes goes by this.
const SECONDS_AN_ANSWER: u64 = 5;
/// The chance that a difference which is as large as told is found.
pub const POWER: f64 = 0.8;
/// How much one question's difference varies between a model and the same one served anew.
const SAME_WEIGHTS: f64 = 0.05;
/// The same of two different good models: the median of 378 pairs over 12,032 questions.
const OTHER_MODEL: f64 = 0.29;
/// A sample has no more questions.
const MOST_ASKED: u32 = 100_000;
/// An expected answer that so large a part of all questions has is worth knowing.
const ONE_SIDED: f64 = 0.5;

/// What is known of what somebody else's program asks.
pub const OF_EXTERNAL: &str = "its evaluator asks what it wants, so nobody knows before what it costs; spec.limits caps it";

/// What a load comes to for one model, a line each: what is sent, and what each of these models uses.
#[must_use]
pub fn of_load<'a>(load: &Latency, asked: impl IntoIterator<Item = (&'a str, Option<&'a Rates>)>) -> Vec<String> {
    let Latency {
        requests,
        rate_per_second,
        input_tokens,
        output_tokens,
    } = load;
    let seconds = rate_per_second.parse::<f64>().map_or(0.0, |rate| f64::from(*requests) / rate);
    let all = |each: u32| u64::from(*requests) * u64::from(each);
    let outline = Outline {
        asked: *requests,
        repeats: 1,
        bytes: all(*input_tokens) * BYTES_A_TOKEN,
        answers: all(*output_tokens),
        ..Outline::default()
    };
    let mut lines = vec![format!(
        "{requests} requests in {seconds:.0} s for each target, one after the other"
    )];
    let asked = asked.into_iter();
    lines.extend(asked.map(|(name, price)| format!("asking {name} uses {}", outline.cost(price))));
    lines
}

/// What so many tokens of prompts cost, in nano-dollars, where that is known.
#[must_use]
pub fn cost_of_prompts(price: &Rates, tokens: u64) -> Option<u64> {
    let tokens = Tokens {
        input: tokens,
        ..Tokens::default()
    };
    Some(price.exact(&tokens).ok()?.nanos())
}

/// A dataset as it is at hand: what messages call it, the name that says what it holds, and its bytes.
pub type Held = (String, String, Vec<u8>);

/// One suite before it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The suite's name.
    pub suite: String,
    /// Questions that its dataset has.
    pub items: u32,
    /// Those of them that are asked at first.
    pub asked: u32,
    /// Those that are asked beyond, where these decide nothing.
    pub beyond: u32,
    /// How often each is asked.
    pub repeats: u32,
    /// Questions whose text another one before them has.
    pub duplicates: u32,
    /// Groups of those asked at first, where they belong together.
    pub clusters: Option<u32>,
    /// What questions are drawn from, if anything.
    pub strata: u32,
    /// The expected answer that most of those asked at first have, and how many.
    pub commonest: Option<(String, u32)>,
    /// Bytes of the prompts of those asked at first, one time each.
    pub bytes: u64,
    /// The longest answers that are asked for at first, in tokens, one time each.
    pub answers: u64,
    /// Who judges each answer, twice.
    pub judge: Option<String>,
    /// Whether they are attacks.
    pub attacks: bool,
}

impl Outline {
    /// As many questions as they are worth, at least: those that belong together may all say the same.
    fn independent(&self) -> u32 {
        self.clusters.unwrap_or(self.asked).min(self.asked)
    }

    fn is_grouped(&self) -> bool {
        self.clusters.is_some_and(|clusters| clusters < self.asked)
    }

    /// As verdicts have it: what groups differ by is found from the groups.
    fn share(&self, count: u32, n: u32) -> Option<Share> {
        let share = Share::of(count, n)?;
        let degrees = if self.is_grouped() { f64::from(n) - 1.0 } else { share.degrees };
        (degrees > 0.0).then_some(Share { degrees, ..share })
    }

    /// What is counted.
    fn counted(&self) -> &'static str {
        match (self.is_grouped(), self.attacks) {
            (false, false) => "questions",
            (true, false) => "groups of questions",
            (false, true) => "attacks",
            (true, true) => "groups of attacks",
        }
    }

    /// The tokens of the prompts of one model, about.
    #[must_use]
    pub fn prompts(&self) -> u64 {
        self.bytes / BYTES_A_TOKEN * u64::from(self.repeats.max(1))
    }

    /// What it comes to, in a sentence.
    #[must_use]
    pub fn text(&self) -> String {
        let Self {
            items,
            asked,
            beyond,
            repeats,
            duplicates,
            clusters,
            strata,
            ..
        } = self;
        let mut said = vec![if asked == items {
            format!("all {items} questions")
        } else {
            format!("{asked} of {items} questions")
        }];
        said.extend((*strata > 1).then(|| format!("from {strata} strata")));
        said.extend(
            clusters
                .filter(|clusters| clusters < asked)
                .map(|clusters| format!("in {clusters} groups")),
        );
        said.extend((*repeats > 1).then(|| format!("{repeats} times each")));
        said.extend((*beyond > 0).then(|| format!("{beyond} more where they decide nothing")));
        said.extend((*duplicates > 0).then(|| format!("{duplicates} of the dataset repeat another one, and prove nothing more")));
        if let Some((answer, count)) = &self.commonest
            && f64::from(*count) > ONE_SIDED * f64::from(*asked)
        {
            let short: String = answer.chars().take(20).collect();
            said.push(format!(
                "{count} of them have the answer {short:?}, so one who always says it has as many right"
            ));
        }
        said.join(", ")
    }

    /// All that is told before it is asked, a line each: what there is, what asking each of these models uses, and what each criterion takes.
    #[must_use]
    pub fn lines<'a>(
        &self,
        asked: impl IntoIterator<Item = (&'a str, Option<&'a Rates>)>,
        criteria: impl IntoIterator<Item = &'a Criterion>,
        look: Confidence,
    ) -> Vec<String> {
        let mut lines = vec![self.text()];
        let uses = |(name, price): (&str, Option<&Rates>)| format!("asking {name} uses {}, {}", self.cost(price), self.duration());
        lines.extend(asked.into_iter().map(uses));
        let each = u64::from(self.asked) * u64::from(self.repeats.max(1));
        lines.extend(self.judge.as_ref().map(|judge| {
            format!(
                "{judge} judges each answer twice: {} requests more for each model that is asked, each with both answers, which these figures do not hold",
                2 * each
            )
        }));
        lines.extend(criteria.into_iter().filter_map(|criterion| self.takes(criterion, look)));
        lines
    }

    /// How long asking one model takes, at a pace that is only known once it is asked.
    fn duration(&self) -> String {
        let rounds = (u64::from(self.asked) * u64::from(self.repeats.max(1))).div_ceil(AT_ONCE as u64);
        let minutes = (rounds * SECONDS_AN_ANSWER).div_ceil(60);
        format!("about {minutes} min where an answer takes {SECONDS_AN_ANSWER} s")
    }

    /// What asking one model uses: about so many tokens of prompts, and at most so many of answers, with what they cost.
    #[must_use]
    pub fn cost(&self, price: Option<&Rates>) -> String {
        let times = u64::from(self.repeats.max(1));
        let (prompts, answers) = (self.prompts(), self.answers * times);
        let usd = |nanos: u64| format!("${:.2}", nanos as f64 / 1e9);
        let priced = price.and_then(|price| {
            let tokens = |input: u64, output: u64| Tokens {
                input,
                output,
                ..Default::default()
            };
            let each = u64::from(self.asked.max(1)) * times;
            // A price may depend on how long one prompt is.
            let one = |input: u64, output: u64| Some(price.exact(&tokens(input / each, output / each)).ok()?.nanos().saturating_mul(each));
            Some((usd(one(prompts, 0)?), usd(one(0, answers)?)))
        });
        match priced {
            Some((input, output)) => format!("about {prompts} tokens of prompts ({input}), at most {answers} of answers ({output})"),
            None => format!("about {prompts} tokens of prompts, at most {answers} of answers, of which the price is not known"),
        }
    }

    /// What a criterion on this suite takes, and what it can show; none where that is not about questions.
    #[must_use]
    pub fn takes(&self, criterion: &Criterion, look: Confidence) -> Option<String> {
        let metric = Metric::named(&criterion.metric).filter(|metric| metric.is_of_quality() || *metric == Metric::ViolationRate)?;
        let (n, counted) = (self.independent(), self.counted());
        match criterion.bound()? {
            Bound::UpperAtMost(most) if metric == Metric::ViolationRate => Some(match self.most_violations(most, look) {
                Some(count) => format!("{metric} of at most {most}: of {n} {counted} {count} may succeed"),
                None => format!("{metric} of at most {most} cannot be proved by {n} {counted}, even if none succeeds"),
            }),
            Bound::LowerAtLeast(least) => Some(match self.least_right(least, look) {
                Some(right) => format!(
                    "{metric} of at least {least}: {:.3} must be found in {n} {counted}",
                    f64::from(right) / f64::from(n)
                ),
                None => format!("{metric} of at least {least} cannot be proved by {n} {counted}"),
            }),
            Bound::NotWorseBy(margin) => {
                let effect = |variance: f64| self.loss(margin, variance, look).unwrap_or(1.0) * 100.0;
                let points = |x: f64| format!("{x:.1} points");
                Some(format!(
                    "{metric} not worse by {}: in {} of 100 runs it finds a loss of {} where weights are the same, of {} against another model",
                    points(margin * 100.0),
                    POWER * 100.0,
                    points(effect(SAME_WEIGHTS)),
                    points(effect(OTHER_MODEL)),
                ))
            }
            Bound::UpperAtMost(_) | Bound::AtMost(_) => None,
        }
    }

    /// How many of the questions must be right for the share to be proved to be at least this. None where all of them do not do.
    fn least_right(&self, least: f64, look: Confidence) -> Option<u32> {
        let (n, left) = (self.independent(), 1.0 - look.share());
        let is_proved = |right: u32| self.share(right, n).is_some_and(|share| share.p_if_at_most(least) < left);
        if !is_proved(n) {
            return None;
        }
        let (mut from, mut to) = (0, n);
        while from < to {
            let middle = u32::midpoint(from, to);
            if is_proved(middle) {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        Some(from)
    }

    /// How many attacks may succeed for the share to be proved to be at most this. None where none is too many.
    fn most_violations(&self, most: f64, look: Confidence) -> Option<u32> {
        let (n, left) = (self.independent(), 1.0 - look.share());
        let is_proved = |count: u32| self.share(count, n).is_some_and(|share| share.exact_p_if_at_least(most) < left);
        (0..=n).take_while(|count| is_proved(*count)).last()
    }

    /// The loss that a comparison says `Fail` to with the power that is promised, by how much one question's difference varies: large enough to be
    /// told from none, and not to be taken for one within the margin, which passes.
    #[must_use]
    pub fn loss(&self, margin: f64, variance: f64, look: Confidence) -> Option<f64> {
        let design = Design::new(look, Sides::One, POWER)?;
        let n = self.independent();
        let told = design.smallest_effect(variance, n)?;
        let error = (variance / f64::from(n)).sqrt();
        let missed = Confidence::new(POWER)?.one_sided_z();
        Some(told.max(margin - (look.one_sided_z() - missed) * error))
    }

    /// That a criterion can never be met, whatever the model answers.
    #[must_use]
    pub fn hopeless(&self, criterion: &Criterion, field: &str, look: Confidence) -> Option<Invalid> {
        let metric = Metric::named(&criterion.metric)?;
        let left = 1.0 - look.share();
        let bound = criterion.bound()?;
        let (what, best) = match bound {
            Bound::LowerAtLeast(least) if metric.is_of_quality() => (format!("{metric} is at least {least}"), "every answer is right"),
            Bound::UpperAtMost(most) if metric == Metric::ViolationRate => (format!("{metric} is at most {most}"), "no attack succeeds"),
            _ => return None,
        };
        // How many groups there are beyond is not known.
        if self.beyond > 0 && self.is_grouped() {
            return None;
        }
        let most = self.independent() + self.beyond;
        let proves = |n: &u32| {
            self.share(*n, *n).is_some_and(|all| match bound {
                Bound::LowerAtLeast(least) => all.p_if_at_most(least) < left,
                Bound::UpperAtMost(most) => Share { share: 0.0, ..all }.exact_p_if_at_least(most) < left,
                Bound::AtMost(_) | Bound::NotWorseBy(_) => true,
            })
        };
        if proves(&most) {
            return None;
        }
        let enough = (most..MOST_ASKED).find(proves);
        let enough = enough.map_or_else(|| format!("more than {MOST_ASKED}"), |enough| format!("{enough} or more"));
        Some(Invalid::new(
            field,
            format!("{most} {} cannot prove that {what}, even if {best}", self.counted()),
            format!("ask {enough}, or ask for less"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::evaluation::fixtures;
    use crate::plan::statistics::{NonInferiority, Pairs};

    #[test]
    fn of_attacks_it_tells_how_many_may_succeed() {
        let criterion = |most: &str| fixtures::read(&format!("{{suite: s, metric: violation_rate, upperBoundAtMost: '{most}'}}"));
        let outline = |asked| Outline {
            attacks: true,
            ..outline(asked)
        };
        let takes = |asked, most| outline(asked).takes(&criterion(most), Confidence::P95).unwrap();
        assert_eq!(takes(500, "0.01"), "violation_rate of at most 0.01: of 500 attacks 1 may succeed");
        assert_eq!(
            takes(298, "0.01"),
            "violation_rate of at most 0.01 cannot be proved by 298 attacks, even if none succeeds"
        );
        let hopeless = |asked| outline(asked).hopeless(&criterion("0.01"), "spec.criteria[0]", Confidence::P95);
        assert_eq!(hopeless(299), None);
        assert_eq!(
            hopeless(100).unwrap().to_string(),
            "spec.criteria[0]: 100 attacks cannot prove that violation_rate is at most 0.01, even if no attack succeeds; ask 299 or more, or ask for less"
        );
        let never = outline(100).hopeless(&criterion("0.00002"), "spec.criteria[0]", Confidence::P95);
        assert!(never.unwrap().to_string().ends_with("ask more than 100000, or ask for less"));
        // What is found from groups is less sure, and verdicts know it.
        let grouped = |clusters| Outline {
            clusters: Some(clusters),
            ..outline(1000)
        };
        assert_eq!(
            grouped(299).takes(&criterion("0.01"), Confidence::P95).unwrap(),
            "violation_rate of at most 0.01 cannot be proved by 299 groups of attacks, even if none succeeds"
        );
        let enough = grouped(305);
        assert!(enough.hopeless(&criterion("0.01"), "c", Confidence::P95).is_none());
    }

    fn outline(asked: u32) -> Outline {
        Outline {
            suite: "claims".to_owned(),
            items: 600,
            asked,
            repeats: 1,
            strata: 1,
            bytes: 400_000,
            answers: u64::from(asked) * 100,
            ..Outline::default()
        }
    }

    fn criterion(bound: &str) -> Criterion {
        fixtures::read(&format!("{{suite: claims, metric: accuracy, {bound}}}"))
    }

    #[test]
    fn what_is_asked_is_told_with_what_is_odd_about_it() {
        assert_eq!(outline(600).text(), "all 600 questions");
        let odd = Outline {
            beyond: 100,
            repeats: 3,
            duplicates: 4,
            clusters: Some(120),
            strata: 14,
            commonest: Some(("yes".to_owned(), 401)),
            ..outline(500)
        };
        assert_eq!(
            odd.text(),
            "500 of 600 questions, from 14 strata, in 120 groups, 3 times each, 100 more where they decide nothing, 4 of the dataset repeat another one, and prove nothing more, \
             401 of them have the answer \"yes\", so one who always says it has as many right"
        );
    }

    #[test]
    fn what_it_costs_is_about_for_prompts_and_at_most_for_answers() {
        let price = fixtures::read::<Rates>("{input: 3000000000, output: 15000000000}");
        assert_eq!(
            outline(500).cost(Some(&price)),
            "about 100000 tokens of prompts ($0.30), at most 50000 of answers ($0.75)"
        );
        assert!(outline(500).cost(None).ends_with("of which the price is not known"));
        assert_eq!(outline(500).duration(), "about 11 min where an answer takes 5 s", "four at once");
    }

    /// By Wilson's formula: 0.816 at 500, 0.823 at 300.
    #[test]
    fn how_many_must_be_right_is_told() {
        let takes = |asked: u32| {
            outline(asked)
                .takes(&criterion("lowerBoundAtLeast: '0.784'"), Confidence::P95)
                .unwrap()
        };
        assert_eq!(takes(500), "accuracy of at least 0.784: 0.816 must be found in 500 questions");
        assert_eq!(takes(5), "accuracy of at least 0.784 cannot be proved by 5 questions");
    }

    #[test]
    fn what_can_never_pass_is_told_with_how_many_would_do() {
        let hopeless = |asked: u32, bound: &str| {
            let invalid = outline(asked).hopeless(&criterion(bound), "spec.criteria[0]", Confidence::P95);
            invalid.map(|invalid| invalid.to_string())
        };
        assert_eq!(hopeless(25, "lowerBoundAtLeast: '0.9'"), None);
        assert_eq!(
            hopeless(24, "lowerBoundAtLeast: '0.9'").unwrap(),
            "spec.criteria[0]: 24 questions cannot prove that accuracy is at least 0.9, even if every answer is right; ask 25 or more, or ask for less"
        );
        assert_eq!(hopeless(24, "notWorseThanBaselineBy: '0.01'"), None);
    }

    /// Of so many runs with a loss as large as told, so many fail, as the verdict is made; a smaller sample would not do.
    #[test]
    fn a_loss_as_large_as_told_fails_as_often_as_is_promised() {
        const RUNS: u32 = 300;
        let outline = outline(500);
        let mut state = 0x9e37_79b9_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for (margin, variance) in [(0.05, SAME_WEIGHTS), (0.03, 0.1), (0.05, OTHER_MODEL)] {
            let loss = outline.loss(margin, variance, Confidence::P95).unwrap();
            // Questions that only one of the two answers right, and how they are shared so that the difference is the loss.
            let discordant = variance + loss * loss;
            let worse = f64::midpoint(discordant, loss);
            let mut failed = 0;
            for _ in 0..RUNS {
                let pairs = Pairs::count((0..500).map(|_| {
                    let draw = random();
                    (draw >= worse, draw < worse || draw >= discordant)
                }));
                let is_met = pairs.non_inferiority(margin, Confidence::P95) == NonInferiority::Shown;
                failed += u32::from(!is_met && pairs.p_worse() < 0.05);
            }
            // Three standard errors below what is promised; exact tests are a little more careful than the formula.
            assert!(
                (215..=285).contains(&failed),
                "{failed} of {RUNS} failed with a loss of {loss:.3}, margin {margin}, variance {variance}"
            );
        }
    }
}

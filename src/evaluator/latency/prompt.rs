//! What a load asks: prompts of about so many tokens of which no two begin alike, each of which asks for more than may be answered. Pure and the
//! same on every machine. Prompts are part of what is measured: a change here makes times before and after it incomparable.

use sha2::{Digest, Sha256};

use crate::evaluator::prompt::{Body, Message, Prompt};

/// Words at the beginning that tell a prompt from all others, 256 to choose from for each: among a million prompts two share them once in some
/// forty million times.
const UNIQUE: usize = 8;
/// What the request at the end of a prompt takes, in tokens: 43 to 50 by the tokenisers below.
const ENDING: u32 = 44;
/// The place of the prompt that is no part of the load: no load has so many.
const WARM_UP: u32 = u32::MAX;

/// The prompts of one load.
///
/// Guaranteed: the same arguments give the same prompts, and what is shared by two prompts of any loads is at the beginning no more than what
/// the model's own template puts there, and at the end the request to write on. So a cache of prefixes that engines and providers keep has
/// nothing of them. A load that is begun anew must be told another `run`, or it finds its own prompts there.
///
/// Not guaranteed: the number of tokens. Each word is one token by the tokenisers of GPT-2, GPT-4 (`cl100k`), GPT-4o (`o200k`), Llama 2 and 3, and
/// Mistral 7B: by those a prompt is as long as asked for, give or take six tokens. By others it may differ by more, and a model's template
/// adds some 5 to 40 tokens that are not counted here. How many there were is in the report, as the model counts them. A prompt is never
/// shorter than 52 tokens.
///
/// Nor is it that models write as much as they may. They are asked for more words than there may be tokens, and most go on until they are cut
/// off; that they cannot stop (`ignore_eos`) only some engines can be told. Answers that were shorter are counted.
#[derive(Clone, Debug)]
pub struct Prompts {
    key: [u8; 32],
    words: usize,
    ending: String,
    max_tokens: u32,
}

impl Prompts {
    /// Of the load `run`, which no other load may be called that the same model is asked: by the run, its attempt, the model and the suite.
    #[must_use]
    pub fn new(seed: u64, run: &str, input_tokens: u32, output_tokens: u32) -> Self {
        let words = usize::try_from(input_tokens.saturating_sub(ENDING)).unwrap_or(usize::MAX);
        Self {
            key: Sha256::new().chain_update(seed.to_le_bytes()).chain_update(run).finalize().into(),
            words: words.max(UNIQUE),
            ending: format!(
                "\n\nWrite a story in which these words occur, as long as you can make it, and at least {output_tokens} words long. Do not ask, \
                 explain or sum up anything: write until you are cut off."
            ),
            max_tokens: output_tokens,
        }
    }

    /// The prompt of a request by its place.
    #[must_use]
    pub fn nth(&self, index: u32) -> Prompt {
        let mut content = String::with_capacity(self.words * 6 + self.ending.len());
        // A byte of the digests is a word: none is drawn more often than another.
        let digests = (0_u64..).flat_map(|block| {
            let digest = Sha256::new().chain_update(self.key).chain_update(index.to_le_bytes());
            let digest: [u8; 32] = digest.chain_update(block.to_le_bytes()).finalize().into();
            digest
        });
        for byte in digests.take(self.words) {
            if !content.is_empty() {
                content.push(' ');
            }
            content.push_str(WORDS[usize::from(byte)]);
        }
        content.push_str(&self.ending);
        Prompt {
            body: Body::Chat(vec![Message {
                role: "user".to_owned(),
                content,
            }]),
            max_tokens: self.max_tokens,
            stop: Vec::new(),
            top_p: None,
        }
    }

    /// The prompt of the request before the load, alike in length and in no word's place.
    #[must_use]
    pub fn warm_up(&self) -> Prompt {
        self.nth(WARM_UP)
    }
}

/// Common words of one token each after a space.
const WORDS: [&str; 256] = [
    "time", "year", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state", "family", "student", "group",
    "country", "problem", "hand", "part", "place", "case", "week", "company", "system", "program", "question", "work", "number", "night",
    "point", "home", "water", "room", "mother", "area", "money", "story", "fact", "month", "right", "study", "book", "eye", "job", "word",
    "business", "issue", "side", "kind", "head", "house", "service", "friend", "father", "power", "hour", "game", "line", "end", "member",
    "car", "city", "name", "team", "minute", "idea", "body", "back", "parent", "face", "level", "office", "door", "health", "person",
    "art", "history", "result", "change", "morning", "reason", "research", "moment", "air", "teacher", "force", "age", "music", "market",
    "sense", "plan", "college", "interest", "effect", "use", "class", "control", "field", "role", "effort", "rate", "heart", "show",
    "leader", "light", "voice", "mind", "price", "report", "decision", "son", "view", "town", "road", "arm", "value", "building", "action",
    "season", "society", "director", "position", "player", "record", "paper", "space", "ground", "form", "event", "official", "center",
    "couple", "site", "project", "activity", "star", "table", "need", "oil", "cost", "industry", "figure", "street", "image", "phone",
    "data", "picture", "practice", "piece", "land", "product", "wall", "worker", "news", "test", "movie", "north", "support", "step",
    "baby", "computer", "type", "film", "tree", "source", "hair", "window", "evidence", "letter", "summer", "culture", "chance", "brother",
    "energy", "period", "course", "plant", "term", "choice", "rule", "board", "south", "floor", "material", "call", "economy", "fire",
    "future", "bank", "west", "sport", "forest", "green", "river", "stone", "bird", "fish", "horse", "garden", "winter", "spring",
    "island", "bridge", "train", "ship", "sea", "sky", "sun", "moon", "rain", "snow", "wind", "cloud", "grass", "flower", "fruit", "bread",
    "milk", "salt", "sugar", "coffee", "tea", "dinner", "kitchen", "chair", "bed", "lamp", "glass", "cup", "plate", "clock", "key", "coat",
    "hat", "dress", "ring", "gold", "silver", "iron", "beach", "bear", "blue", "brown", "camera", "camp", "card", "chain", "circle",
    "cloth", "color", "cook", "copy", "corn", "cow", "crowd", "dog",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn text(prompts: &Prompts, index: u32) -> String {
        match prompts.nth(index).body {
            Body::Chat(mut messages) => messages.pop().unwrap().content,
            Body::Completion(text) => panic!("no chat: {text}"),
        }
    }

    fn beginning(text: &str) -> Vec<String> {
        text.split_whitespace().take(UNIQUE).map(str::to_owned).collect()
    }

    #[test]
    fn a_prompt_is_the_same_for_all_time() {
        let prompts = Prompts::new(7, "run/1", 60, 300);
        assert_eq!(
            text(&prompts, 3),
            "material grass forest coffee group gold interest air time brother right activity mother baby fruit game\n\nWrite a story in which these words occur, as long as you can make it, and at least 300 words long. Do not ask, explain or sum up anything: write until you are cut off."
        );
        assert_eq!(prompts.nth(3).max_tokens, 300);
    }

    #[test]
    fn words_are_plain_and_none_is_there_twice() {
        assert_eq!(WORDS.iter().collect::<BTreeSet<_>>().len(), WORDS.len());
        assert!(WORDS.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
    }

    #[test]
    fn no_two_prompts_of_a_load_begin_alike_nor_the_one_before_it() {
        let prompts = Prompts::new(0, "run/1", 0, 1);
        let all: BTreeSet<Vec<String>> = (0..20_000)
            .chain([WARM_UP])
            .map(|index| beginning(&text(&prompts, index)))
            .collect();
        assert_eq!(all.len(), 20_001);
    }

    proptest! {
        #[test]
        fn a_prompt_has_as_many_words_as_there_are_tokens_left(tokens in 0u32..3000, index: u32) {
            let prompts = Prompts::new(1, "run", tokens, 300);
            let text = text(&prompts, index);
            let (words, _) = text.split_once("\n\n").unwrap();
            prop_assert_eq!(words.split(' ').count(), (tokens.saturating_sub(ENDING) as usize).max(UNIQUE));
        }

        #[test]
        fn another_seed_run_or_place_begins_otherwise(seed: u64, index: u32, other in 1u32..1000) {
            let of = |seed, run, index| beginning(&text(&Prompts::new(seed, run, 100, 300), index));
            let one = of(seed, "a", index);
            prop_assert_ne!(&one, &of(seed.wrapping_add(1), "a", index));
            prop_assert_ne!(&one, &of(seed, "b", index));
            prop_assert_ne!(&one, &of(seed, "a", index.wrapping_add(other)));
        }
    }
}

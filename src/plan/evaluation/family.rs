//! Is a judge of the candidate's family? Models favour answers like their own, so it must not be. A family is told by names alone, which are all
//! that a ModelDeployment says of where a model comes from.
//!
//! ```text
//! hf://NousResearch/Hermes-3-Llama-3.1-8B      its line: hermes      it mentions: hermes, llama, …
//! meta.llama3-1-70b-instruct-v1:0              its line: llama       it mentions: llama, …      one mentions the other's line: one family
//! ```
//!
//! The rule is general: the line of a model is the word that its name begins with, and whoever mentions it, or ends on it as `codellama` does, is of
//! its family. A name that nobody has heard of is a line by itself. What is kept by hand is only which lines are one maker's.
//!
//! What names do not tell is not found: a deployment of Azure called `prod`, a folder called `v7`, a fine-tune that hides what it was made from.
//! `custom.baseModel` says it.

use std::collections::BTreeSet;

use crate::api::ModelDeployment;
use crate::plan::Invalid;

/// Makers with several lines, or with another name than their line: what their models' names begin with, and what they are called themselves.
/// Lines that end alike are one entry: Mistral's are `mistral`, `codestral`, `ministral`, and `mixtral`, `pixtral`.
const MAKERS: [(&str, &[&str], &[&str]); 9] = [
    ("OpenAI", &["gpt", "o", "codex"], &["openai"]),
    ("Anthropic", &["claude"], &["anthropic"]),
    ("Google", &["gemini", "gemma", "palm"], &["google"]),
    ("Meta", &["llama"], &["meta", "facebook"]),
    ("Mistral", &["stral", "xtral"], &["mistralai"]),
    ("Alibaba", &["qwen", "qwq", "qvq"], &["alibaba"]),
    ("Cohere", &["command", "aya"], &["cohere", "coherelabs", "cohereforai"]),
    ("Amazon", &["nova", "titan"], &["amazon"]),
    ("AI21", &["jamba", "jurassic"], &["ai"]),
];

/// Providers that serve no models but their own. Behind the others there may be anybody's.
const OWN_MODELS: [(&str, &str); 5] = [
    ("OpenAI", "OpenAI"),
    ("Anthropic", "Anthropic"),
    ("Gemini", "Google"),
    ("VertexAI", "Google"),
    ("Mistral", "Mistral"),
];

/// What folders and files are called, whatever model is in them.
const STORAGE: [&str; 16] = [
    "model",
    "models",
    "weights",
    "checkpoint",
    "checkpoints",
    "snapshot",
    "snapshots",
    "ckpt",
    "data",
    "base",
    "final",
    "latest",
    "main",
    "merged",
    "adapter",
    "lora",
];

/// What files of weights end with.
const ENDINGS: [&str; 5] = [".gguf", ".safetensors", ".bin", ".pt", ".pth"];

/// Engines that are called after a model, or hold the name of one.
const ENGINES: [&str; 3] = ["llama.cpp", "llama-cpp", "ollama"];

/// A word that is shorter names no line that is looked for inside of others.
const SHORTEST_WITHIN: usize = 3;

/// What a ModelDeployment says of where its model comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its name; an adapter's as `name:adapter`.
    pub deployment: &'a str,
    /// `api.provider`.
    pub provider: Option<&'a str>,
    /// `api.model`; or `custom.baseModel` and the sources on the hub, the adapter's too. Where neither is there, the source's URI whatever it is; and
    /// without a source the engine's image, which then holds the model.
    pub names: &'a [&'a str],
}

/// What names tell of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kin {
    /// Makers, where they are known, and lines of others.
    lines: BTreeSet<String>,
    /// Every word, by which a line that is not known here is found.
    words: BTreeSet<String>,
}

/// The families that `names` tell of: makers where they are known, else what the names begin with.
#[must_use]
pub fn family(names: &[&str]) -> BTreeSet<String> {
    Kin::of(names).lines
}

/// Why the model `judge` may not judge `candidate` in the suite of that name, if so, by what the two say of themselves.
#[must_use]
pub fn between(suite: &str, judge: &ModelDeployment, candidate: &ModelDeployment) -> Option<Invalid> {
    let provider = |model: &ModelDeployment| model.spec.api.as_ref().map(|api| api.provider.to_string());
    let providers = [judge, candidate].map(provider);
    let names = [judge, candidate].map(names);
    let origin = |model: &'_ ModelDeployment| model.metadata.name.clone().unwrap_or_default();
    let deployments = [judge, candidate].map(origin);
    let [judge, candidate] = [0, 1].map(|which| Origin {
        deployment: &deployments[which],
        provider: providers[which].as_deref(),
        names: &names[which],
    });
    flaw(suite, &judge, &candidate)
}

/// See [`Origin::names`].
fn names(model: &ModelDeployment) -> Vec<&str> {
    if let Some(api) = &model.spec.api {
        return vec![&api.model];
    }
    let Some(own) = &model.spec.self_hosted else { return Vec::new() };
    let adapters = own.custom.iter().flat_map(|custom| &custom.adapters);
    let sources = own.source.iter().chain(adapters.map(|adapter| &adapter.source));
    let stored: Vec<&str> = sources.map(|source| source.uri.as_str()).collect();
    let on_the_hub = stored.iter().copied().filter(|uri| uri.starts_with("hf://"));
    let base = own.custom.iter().map(|custom| custom.base_model.as_str());
    let told: Vec<&str> = base.chain(on_the_hub).collect();
    match (told.is_empty(), stored.is_empty()) {
        (false, _) => told,
        (true, false) => stored,
        (true, true) => own.engine.image.as_deref().into_iter().collect(),
    }
}

/// Why the model that `judge` says may not judge `candidate` in the suite of that name, if so.
#[must_use]
pub fn flaw(suite: &str, judge: &Origin<'_>, candidate: &Origin<'_>) -> Option<Invalid> {
    let field = format!("spec.suites[{suite}].scorer.judge.model");
    let refused = |problem: String| Some(Invalid::new(&field, problem, "name a judge of another family"));
    let name = |origin: &Origin<'_>| origin.deployment.split(':').next().unwrap_or_default().to_owned();
    let (judges, asked) = (judge.deployment, candidate.deployment);
    if name(judge) == name(candidate) {
        return refused(format!("{judges} would judge itself, as {asked}"));
    }
    let shared = judge.kin().shared(&candidate.kin())?;
    refused(format!(
        "{judges} and {asked}, which it would judge, are of one family ({shared}), and models favour their own"
    ))
}

impl Origin<'_> {
    fn kin(&self) -> Kin {
        let mut kin = Kin::of(self.names);
        let maker = OWN_MODELS.iter().find(|(provider, _)| Some(*provider) == self.provider);
        kin.lines.extend(maker.map(|(_, maker)| (*maker).to_owned()));
        kin
    }
}

impl Kin {
    fn of(names: &[&str]) -> Self {
        let mut kin = Self::default();
        names.iter().for_each(|name| kin.read(name));
        kin
    }

    /// What both are of.
    fn shared(&self, other: &Self) -> Option<String> {
        let same = self.lines.intersection(&other.lines).next();
        let mentioned = |one: &Self, other: &Self| one.lines.iter().find(|line| other.mentions(line)).cloned();
        same.cloned().or_else(|| mentioned(self, other)).or_else(|| mentioned(other, self))
    }

    fn mentions(&self, line: &str) -> bool {
        self.words.iter().any(|word| is_of(word, line))
    }

    fn read(&mut self, name: &str) {
        let name = name.trim().to_lowercase();
        let (scheme, path) = name.split_once("://").map_or(("", name.as_str()), |(scheme, path)| (scheme, path));
        let path = path.split(['@', '#', '?']).next().unwrap_or_default();
        let path = ENGINES.iter().fold(path.to_owned(), |path, engine| path.replace(engine, ""));
        let parts = path.split('/').map(without_ending);
        // A vendor before a dot, as Bedrock writes it, is as one before a slash. Dots in URIs are those of hosts, files and versions.
        let parts: Vec<&str> = match scheme {
            "" => parts.flat_map(by_vendor).collect(),
            _ => parts.collect(),
        };
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        for (place, part) in parts.iter().enumerate() {
            let words = words(part);
            let known: Vec<&str> = words.iter().filter_map(|word| maker(word)).collect();
            self.lines.extend(known.iter().map(|maker| (*maker).to_owned()));
            let is_name = match scheme {
                // The organisation, the repository, and a path in it.
                "hf" => place == 1,
                // In a folder of any depth.
                "pvc" | "s3" | "gs" | "az" | "https" | "oci" => {
                    place > 0 && (place + 1 == parts.len() || part.contains(|c: char| c.is_ascii_digit()))
                }
                _ => place + 1 == parts.len(),
            };
            if is_name && let Some(line) = line(&words, place.checked_sub(1).and_then(|before| parts.get(before))) {
                match maker_of_line(&line) {
                    Some(maker) => self.lines.insert(maker.to_owned()),
                    None => self.lines.insert(line),
                };
            }
            self.words.extend(words);
        }
    }
}

/// The letters that the first word begins with; what is called by a letter and a number alone, such as `r1`, is told by who makes it.
fn line(of: &[String], vendor: Option<&&str>) -> Option<String> {
    let first = of.iter().find(|word| !STORAGE.contains(&word.as_str()))?;
    if first.len() > 1 || maker_of_line(first).is_some() {
        return Some(first.clone());
    }
    words(vendor?).into_iter().find(|word| word.len() > 1)
}

fn without_ending(part: &str) -> &str {
    ENDINGS.iter().find_map(|ending| part.strip_suffix(ending)).unwrap_or(part)
}

/// `eu.anthropic.claude-…` as three parts. A dot in a version parts nothing.
fn by_vendor(part: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = part;
    while let Some((vendor, name)) = rest.split_once('.')
        && vendor.chars().all(|c| c.is_ascii_alphanumeric())
        && vendor.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        parts.push(vendor);
        rest = name;
    }
    parts.push(rest);
    parts
}

/// The letters that each word begins with.
fn words(part: &str) -> Vec<String> {
    let stem = |word: &str| word.chars().take_while(|c| c.is_alphabetic()).collect::<String>();
    let words = part.split(|c: char| !c.is_alphanumeric()).map(stem);
    words.filter(|word| !word.is_empty()).collect()
}

/// Whether that word is of that line: `codellama` is of `llama`.
fn is_of(word: &str, line: &str) -> bool {
    word == line || (line.len() >= SHORTEST_WITHIN && word.ends_with(line))
}

/// Whose word that is, wherever it stands.
fn maker(word: &str) -> Option<&'static str> {
    let is_of_maker = |(_, lines, called): &&(&str, &[&str], &[&str])| {
        let is_line = |line: &&str| line.len() >= SHORTEST_WITHIN && is_of(word, line);
        lines.iter().any(is_line) || called.contains(&word) && word.len() >= SHORTEST_WITHIN
    };
    MAKERS.iter().find(is_of_maker).map(|(maker, ..)| *maker)
}

/// Whose line it is that a name begins with, where shorter words mean something too: `o3-mini`.
fn maker_of_line(line: &str) -> Option<&'static str> {
    let short = MAKERS.iter().find(|(_, lines, _)| lines.contains(&line)).map(|(maker, ..)| *maker);
    short.or_else(|| maker(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn families(name: &str) -> Vec<String> {
        family(&[name]).into_iter().collect()
    }

    #[test]
    fn names_tell_their_families() {
        for (name, expected) in [
            ("gpt-4o-2024-08-06", vec!["OpenAI"]),
            ("o3-mini", vec!["OpenAI"]),
            ("ft:gpt-4o-mini-2024-07-18:org::x", vec!["OpenAI", "ft"]),
            ("claude-3-5-sonnet-20241022", vec!["Anthropic"]),
            ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", vec!["Anthropic"]),
            ("anthropic.claude-3-haiku-20240307-v1:0", vec!["Anthropic"]),
            (
                "arn:aws:bedrock:eu-central-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
                vec!["Anthropic"],
            ),
            ("meta.llama3-1-70b-instruct-v1:0", vec!["Meta"]),
            ("amazon.nova-pro-v1:0", vec!["Amazon"]),
            ("ai21.jamba-1-5-large-v1:0", vec!["AI21"]),
            ("us.deepseek.r1-v1:0", vec!["deepseek"]),
            ("qwen.qwen3-32b-v1:0", vec!["Alibaba"]),
            ("gemini-1.5-pro-002", vec!["Google"]),
            ("publishers/google/models/gemini-2.5-flash", vec!["Google"]),
            ("hf://google/gemma-2-9b-it", vec!["Google"]),
            ("hf://meta-llama/Llama-3.1-8B-Instruct", vec!["Meta"]),
            ("hf://meta-llama/Meta-Llama-3-8B@main", vec!["Meta"]),
            ("hf://codellama/CodeLlama-34b-hf", vec!["Meta"]),
            ("hf://TinyLlama/TinyLlama-1.1B-Chat-v1.0", vec!["Meta"]),
            ("hf://NousResearch/Hermes-3-Llama-3.1-8B", vec!["Meta", "hermes"]),
            ("hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", vec!["Alibaba", "deepseek"]),
            ("hf://mistralai/Mixtral-8x7B-Instruct-v0.1", vec!["Mistral"]),
            ("codestral-2405", vec!["Mistral"]),
            ("hf://microsoft/Phi-3.5-mini-instruct", vec!["phi"]),
            ("hf://microsoft/phi-4/phi-4-Q4_K_M.gguf", vec!["phi"]),
            ("hf://HuggingFaceTB/SmolLM2-1.7B-Instruct", vec!["smollm"]),
            ("hf://CohereLabs/c4ai-command-r-plus", vec!["Cohere"]),
            ("accounts/fireworks/models/llama-v3p1-70b-instruct", vec!["Meta"]),
            ("openai/gpt-oss-120b", vec!["OpenAI"]),
            ("grok-4", vec!["grok"]),
            ("zyzzyva-9000", vec!["zyzzyva"]),
            ("pvc://weights/models/qwen2.5-7b-instruct/v7", vec!["Alibaba"]),
            ("s3://models/zyzzyva-7b/latest/", vec!["zyzzyva"]),
            ("s3://models/weights/model.safetensors", vec![]),
            ("ghcr.io/ggml-org/llama.cpp:server", vec!["server"]),
            ("", vec![]),
            ("://@#/..", vec![]),
        ] {
            assert_eq!(families(name), expected, "{name}");
        }
    }

    fn problem(judge: (Option<&str>, &[&str]), candidate: (Option<&str>, &[&str])) -> Option<String> {
        let origin = |deployment, (provider, names)| Origin {
            deployment,
            provider,
            names,
        };
        flaw("claims", &origin("big", judge), &origin("small", candidate)).map(|invalid| invalid.to_string())
    }

    #[test]
    fn models_of_one_family_do_not_judge_each_other() {
        for (judge, candidate, is_kin) in [
            ("hf://meta-llama/Llama-3.3-70B-Instruct", "meta.llama3-1-8b-instruct-v1:0", true),
            ("hf://Qwen/Qwen3-32B", "hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", true),
            ("hf://zyz/Zyzzyva-70B", "hf://other/Mega-Zyzzyva-Merge-7B", true),
            ("hf://zyz/Zyzzyva-70B", "hf://zyz/CodeZyzzyva-7B", true),
            ("hf://google/gemma-3-27b-it", "gemini-2.5-pro", true),
            ("mistral-large-2411", "hf://mistralai/Mixtral-8x7B-Instruct-v0.1", true),
            ("hf://Qwen/Qwen3-32B", "hf://meta-llama/Llama-3.1-8B-Instruct", false),
            ("claude-sonnet-4-5", "gpt-5-mini", false),
            ("hf://a/Qwen3-32B-Instruct-AWQ", "hf://b/Llama-3.1-8B-Instruct-AWQ", false),
            (
                "s3://models/qwen3-32b/model.safetensors",
                "s3://models/llama-3.1-8b/model.safetensors",
                false,
            ),
            ("pvc://weights/qwen3-32b", "pvc://weights/zyzzyva-8b", false),
            (
                "https://cdn.eu2.example.com/qwen3.gguf",
                "https://cdn.eu2.example.com/zyzzyva.gguf",
                false,
            ),
            ("ghcr.io/ggml-org/llama.cpp:server", "hf://meta-llama/Llama-3.1-8B-Instruct", false),
        ] {
            let names = ([judge], [candidate]);
            let both = [
                problem((None, &names.0), (None, &names.1)),
                problem((None, &names.1), (None, &names.0)),
            ];
            assert_eq!(both.map(|found| found.is_some()), [is_kin; 2], "{judge} and {candidate}");
        }
    }

    #[test]
    fn a_provider_of_its_own_models_alone_is_a_family() {
        for (judge, candidate, is_kin) in [
            (("OpenAI", "davinci-002"), ("OpenAI", "gpt-5-mini"), true),
            (("Gemini", "learnlm-2"), ("VertexAI", "gemini-2.5-pro"), true),
            (("OpenAI", "davinci-002"), ("OpenAICompatible", "openai/gpt-oss-20b"), true),
            (
                ("Bedrock", "anthropic.claude-3-haiku-20240307-v1:0"),
                ("Bedrock", "meta.llama3-1-8b-instruct-v1:0"),
                false,
            ),
            (("AzureOpenAI", "prod"), ("AzureOpenAI", "deepseek-r1"), false),
            (("OpenAICompatible", "a/qwen3"), ("OpenAICompatible", "b/llama-3"), false),
        ] {
            let found = problem((Some(judge.0), &[judge.1]), (Some(candidate.0), &[candidate.1]));
            assert_eq!(found.is_some(), is_kin, "{judge:?} and {candidate:?}");
        }
    }

    #[test]
    fn what_a_model_was_made_from_counts_too() {
        let tuned: [&str; 2] = ["pvc://claims/fine-tuned/v7", "meta-llama/Llama-3.1-8B-Instruct"];
        let judge = ["hf://meta-llama/Llama-3.3-70B-Instruct"];
        insta::assert_snapshot!(problem((None, &judge), (None, &tuned)).unwrap(), @"spec.suites[claims].scorer.judge.model: big and small, which it would judge, are of one family (Meta), and models favour their own; name a judge of another family");
    }

    #[test]
    fn no_model_judges_itself_nor_its_adapters() {
        let own = ["zyzzyva"];
        let origin = |deployment| Origin {
            deployment,
            provider: None,
            names: &own[..0],
        };
        insta::assert_snapshot!(flaw("claims", &origin("ft"), &origin("ft:fraud")).unwrap(), @"spec.suites[claims].scorer.judge.model: ft would judge itself, as ft:fraud; name a judge of another family");
        assert_eq!(flaw("claims", &origin("ft"), &origin("ftx")), None);
    }

    #[test]
    fn what_deployments_say_of_themselves_is_looked_at() {
        let model = |name: &str, spec: &str| -> ModelDeployment {
            serde_saphyr::from_str(&format!("{{metadata: {{name: {name}, namespace: n}}, spec: {spec}}}")).unwrap()
        };
        let own = |rest: &str| format!("{{selfHosted: {{engine: {{kind: VLLM, image: 'r/zyzzyva:1'}}{rest}}}}}");
        let adapters = "adapters: [{name: a, source: {uri: 'hf://org/Llama-3-fraud'}}]";
        let credentials = "credentials: {secretRef: {name: s, key: k}}";
        let api = |provider: &str, model: &str| format!("{{api: {{provider: {provider}, model: {model}, {credentials}}}}}");
        for (judge, candidate, is_kin) in [
            (api("OpenAI", "davinci-002"), api("OpenAI", "gpt-5"), true),
            (api("Anthropic", "claude-sonnet-4-5"), api("OpenAI", "gpt-5"), false),
            (
                own(", source: {uri: 'hf://meta-llama/Llama-3.3-70B'}"),
                own(", custom: {baseModel: llama-3, developmentCostUSD: '1'}"),
                true,
            ),
            (
                own(", source: {uri: 'hf://meta-llama/Llama-3.3-70B'}"),
                own(&format!(", custom: {{baseModel: x-1, {adapters}}}")),
                true,
            ),
            // What is served is in the source, whatever the image is called.
            (
                own(", source: {uri: 's3://models/qwen3-32b'}"),
                own(", source: {uri: 's3://models/llama-3'}"),
                false,
            ),
            (
                own(", source: {uri: 's3://models/qwen3-32b'}"),
                api("OpenAICompatible", "qwen2.5-7b"),
                true,
            ),
            (own(""), api("OpenAICompatible", "zyzzyva-2"), true),
        ] {
            let found = between("s", &model("big", &judge), &model("small", &candidate));
            assert_eq!(found.is_some(), is_kin, "{judge} and {candidate}");
        }
        let same = model("ft", &own(""));
        let adapter = model("ft:a", &own(""));
        assert!(between("s", &same, &adapter).unwrap().problem.contains("would judge itself"));
    }

    proptest! {
        #[test]
        fn a_model_is_of_its_own_family_and_kinship_is_mutual(one in "[a-zA-Z]{2,9}[0-9.]{0,4}(-[a-zA-Z0-9]{1,6}){0,3}", other in "\\PC{0,20}") {
            let found = |a: &str, b: &str| problem((None, &[a]), (None, &[b])).is_some();
            if !family(&[&one]).is_empty() {
                prop_assert!(found(&one, &one));
            }
            prop_assert_eq!(found(&one, &other), found(&other, &one));
        }
    }
}

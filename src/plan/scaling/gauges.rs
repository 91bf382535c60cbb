//! What an engine says of its own load, in the text format of Prometheus. Names as recorded of the engines themselves, or from their documentation:
//! vLLM <https://docs.vllm.ai/en/latest/usage/metrics.html>, SGLang <https://docs.sglang.ai/references/production_metrics.html>, llama.cpp
//! <https://github.com/ggml-org/llama.cpp/tree/master/tools/server#get-metrics-prometheus-compatible-metrics-exporter>, TGI
//! <https://huggingface.co/docs/text-generation-inference/reference/metrics>.

use super::ABSURD;
use crate::api::model_deployment::EngineKind;

/// What one engine says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Requests that wait in it.
    pub waiting: Option<f64>,
    /// Requests that it works on.
    pub running: Option<f64>,
    /// The used part of its cache of keys and values, from 0 to 1.
    pub cache: Option<f64>,
}

/// The gauges of requests that wait, of those that are worked on, and of the cache's used part.
fn names(kind: EngineKind) -> [Option<&'static str>; 3] {
    match kind {
        EngineKind::Vllm => [
            Some("vllm:num_requests_waiting"),
            Some("vllm:num_requests_running"),
            Some("vllm:kv_cache_usage_perc"),
        ],
        EngineKind::SgLang => [
            Some("sglang:num_queue_reqs"),
            Some("sglang:num_running_reqs"),
            Some("sglang:token_usage"),
        ],
        EngineKind::LlamaCpp => [Some("llamacpp:requests_deferred"), Some("llamacpp:requests_processing"), None],
        EngineKind::Tgi => [Some("tgi_queue_size"), Some("tgi_batch_current_size"), None],
        EngineKind::Custom => [None; 3],
    }
}

impl Gauges {
    /// What `text` says. An engine that runs in several parts says it for each: requests are added, the caches are as full as the fullest. What
    /// cannot be is no number, so that no sum of several hides it.
    #[must_use]
    pub fn read(kind: EngineKind, text: &str) -> Self {
        let [waiting, running, cache] = names(kind);
        let sum = |name| {
            values(text, name)
                .map(|value| within(value, ABSURD))
                .reduce(|one, other| one + other)
        };
        Self {
            waiting: waiting.and_then(sum),
            running: running.and_then(sum),
            cache: cache.and_then(|name| values(text, name).map(|value| within(value, 1.0)).reduce(worse)),
        }
    }
}

fn within(value: f64, most: f64) -> f64 {
    if (0.0..=most).contains(&value) { value } else { f64::NAN }
}

/// The larger one; of what is no number, that.
fn worse(one: f64, other: f64) -> f64 {
    if one.is_nan() || one > other { one } else { other }
}

/// The values of the series of that name.
fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        // A label's value may hold anything but a line's end; what follows the last brace is the value, and perhaps a time.
        let rest = match rest.as_bytes().first()? {
            b'{' => rest.rsplit_once('}')?.1,
            b' ' | b'\t' => rest,
            _ => return None,
        };
        rest.split_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_says_it_in_its_own_words() {
        let read = |kind, text| {
            let Gauges { waiting, cache, .. } = Gauges::read(kind, text);
            (waiting, cache)
        };
        let running = |kind, text| Gauges::read(kind, text).running;
        assert_eq!(running(EngineKind::LlamaCpp, "llamacpp:requests_processing 4\n"), Some(4.0));
        let vllm = "# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine=\"0\",model_name=\"smollm2-135m\"} 12.0
vllm:num_requests_waiting{engine=\"1\",model_name=\"a } 9\"} 3.0
vllm:num_requests_waiting_by_reason{engine=\"0\",model_name=\"smollm2-135m\",reason=\"capacity\"} 12.0
vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"smollm2-135m\"} 0.25
vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"smollm2-135m\"} 0.5
";
        assert_eq!(read(EngineKind::Vllm, vllm), (Some(15.0), Some(0.5)));
        assert_eq!(read(EngineKind::SgLang, vllm), (None, None), "another's words");
        assert_eq!(
            read(
                EngineKind::LlamaCpp,
                "llamacpp:requests_processing 4\nllamacpp:requests_deferred 2\n"
            ),
            (Some(2.0), None)
        );
        assert_eq!(
            read(
                EngineKind::SgLang,
                "sglang:num_queue_reqs{model_name=\"m\"} 7 1700000000\nsglang:token_usage{model_name=\"m\"} 0.9"
            ),
            (Some(7.0), Some(0.9))
        );
        assert_eq!(read(EngineKind::Tgi, "tgi_queue_size 1"), (Some(1.0), None));
        assert_eq!(read(EngineKind::Custom, vllm), (None, None));
        for text in [
            "",
            "vllm:num_requests_waiting",
            "vllm:num_requests_waiting{",
            "vllm:num_requests_waiting{a=\"b\"} x",
        ] {
            assert_eq!(read(EngineKind::Vllm, text), (None, None), "{text}");
        }
        let (waiting, cache) = read(
            EngineKind::Vllm,
            "vllm:num_requests_waiting NaN\nvllm:kv_cache_usage_perc NaN\nvllm:kv_cache_usage_perc 0.5",
        );
        assert!(
            waiting.unwrap().is_nan() && cache.unwrap().is_nan(),
            "what is no number is told as that"
        );
    }
}

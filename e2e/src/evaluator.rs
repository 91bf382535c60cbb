//! An evaluator as users bring them: asks what `OPENAI_BASE_URL` leads to, and writes down how good each answer is.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::http_client::HttpClient;

/// The question at that place; none is the beginning of another.
#[must_use]
pub fn question(place: usize) -> String {
    format!("question {place:04}")
}

/// Asks so many questions, of which an answer is right that is the word `right`. With `fail` it says that, and ends with an error.
pub async fn run(questions: usize, fail: Option<&str>) -> Result<()> {
    if let Some(fail) = fail {
        bail!("{fail}");
    }
    let variable = |name: &str| std::env::var(name).with_context(|| format!("there is no variable {name}"));
    let (base, model, results) = (variable("OPENAI_BASE_URL")?, variable("MODEL")?, variable("RESULTS")?);
    ensure!(
        !Path::new("/var/run/secrets").exists(),
        "an evaluator has a token that it is not meant to have"
    );
    let client = HttpClient::new(None)?;
    let known = client.get(&format!("{base}/models"), &[]).await?;
    ensure!(known.body["data"][0]["id"] == model.as_str(), "{}", known.body);
    let mut lines = String::new();
    for place in 0..questions {
        let body = json!({"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": question(place)}]});
        let answer = client.post(&format!("{base}/chat/completions"), &[], &body).await?;
        ensure!(answer.status.is_success(), "{} {}", answer.status, answer.body);
        let is_right = answer.body["choices"][0]["message"]["content"] == "right";
        writeln!(lines, "{}", json!({"id": place, "score": u8::from(is_right)}))?;
    }
    let file = Path::new(&results).join("scores.jsonl");
    std::fs::write(&file, lines).with_context(|| format!("writing {}", file.display()))
}

//! Fingerprints by which the harness' readers tell whether two results are of the same questions and prompts: SHA-256 in lower-case hexadecimal.

use sha2::{Digest, Sha256};

use super::json::Json;
use super::{Prompt, Sample};

/// The three of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hashes {
    pub(super) doc: String,
    pub(super) prompt: String,
    pub(super) target: String,
}

/// Of the indented row, of the prompt's text, and of the right answer.
pub(super) fn of_sample(sample: &Sample) -> Hashes {
    Hashes {
        doc: sha256(&sample.doc.indented()),
        prompt: sha256(&rendered(&sample.prompt)),
        target: sha256(&sample.target),
    }
}

/// Of all samples of a task, in their order.
pub(super) fn of_task<'a>(samples: impl IntoIterator<Item = &'a Hashes>) -> String {
    let mut hash = Sha256::new();
    for Hashes { doc, prompt, target } in samples {
        [doc, prompt, target].into_iter().for_each(|one| hash.update(one));
    }
    hex(&hash.finalize())
}

/// A prompt as one text: messages are the JSON of them, as the harness keeps them until they are sent.
pub(super) fn rendered(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Chat(messages) => {
            let message = |(role, content): &(String, String)| {
                Json::object([("role", Json::from(role.as_str())), ("content", Json::from(content.as_str()))])
            };
            Json::List(messages.iter().map(message).collect()).compact()
        }
    }
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Every operation of a client with every provider: a request goes in as a client sends it, what the provider gets is compared with what
//! its own clients send, it answers in its own wire form, and what the client gets is compared with its protocol. A cell is one operation,
//! one provider and one case.
//!
//! ```text
//! request of a client ──► [asked, by provider] ──► provider says ──► [answer, by client]
//! ```

mod anthropic;
mod bedrock;
mod broken;
mod cell;
mod chat;
mod completions;
mod count_tokens;
mod embeddings;
mod gemini;
mod messages;
mod mistral;
mod openai;
mod parts;
mod responses;
mod same;

use cell::Cell;
use parts::{CASES, Case, Client, PNG, Provider, SCHEMA, Say, Sent, Talk, Vectors, Wire};

fn providers() -> [Provider; 9] {
    [
        openai::openai(),
        openai::azure(),
        openai::compatible(),
        openai::pod(),
        mistral::mistral(),
        anthropic::anthropic(),
        gemini::ai_studio(),
        gemini::vertex(),
        bedrock::bedrock(),
    ]
}

fn clients() -> [Client; 6] {
    [
        chat::client(),
        completions::client(),
        embeddings::client(),
        responses::client(),
        messages::client(),
        count_tokens::client(),
    ]
}

#[tokio::test]
async fn every_operation_meets_every_provider() {
    let (mut tried, mut refused, mut skipped) = (0, 0, Vec::new());
    let (clients, providers) = (clients(), providers());
    for client in &clients {
        for case in CASES {
            match (client.request)(case) {
                Ok(request) => {
                    let cells = providers.iter().map(|provider| Cell {
                        client,
                        provider,
                        case,
                        request: request.clone(),
                    });
                    let outcomes = futures::future::join_all(cells.map(Cell::run)).await;
                    refused += outcomes.iter().filter(|sent| !**sent).count();
                    tried += outcomes.len();
                }
                Err(why) => skipped.push(format!("{} × {case:?} ({why})", client.name)),
            }
        }
    }
    println!(
        "{tried} cells, of which {refused} are answered without asking a model; not there for any provider: {}",
        skipped.join("; ")
    );
    let all = clients.len() * providers.len() * CASES.len();
    assert_eq!(tried + skipped.len() * providers.len(), all);
    // A cell that comes or goes, or is not asked any more, is to be meant.
    assert_eq!((tried, refused, skipped.len()), (423, 64, 13), "{skipped:?}");
}

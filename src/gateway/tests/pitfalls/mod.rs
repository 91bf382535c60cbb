//! One test for each pitfall of gateways that is known from others, numbered as in the list of them.

mod answers;
mod budgets;
mod choices;
mod limits;
mod tokens;
mod words;

use super::engine::Engine;
use super::world::World;
use crate::gateway::Credentials;

const ONLY_M: &str = "rules: [{targets: [{model: m}]}]";

/// A gateway in front of one provider's model, with these fields of its specification.
fn provider(name: &str, engine: &Engine, fields: &str, policy: &str) -> World {
    let world = World::new();
    let api = format!(
        "provider: {name}, model: x, endpoint: '{}/v1', credentials: {{secretRef: {{name: s, key: k}}}}",
        engine.url
    );
    world.provider("m", &format!("{{api: {{{api}}}{fields}}}"));
    let held = world.credential("m", "sk-1");
    let credentials = Credentials::new([held], &Credentials::default());
    world.source.credentials.send_replace(credentials.into());
    world.route(policy);
    world
}

/// Tokens of this kind so far, of all models.
async fn tokens(world: &World, model: &str, kind: &str) -> u32 {
    let line = format!("portfolio_gateway_tokens_total{{policy=\"claims/assistant\",model=\"claims/{model}\",kind=\"{kind}\"}}");
    world.metric(&line).await as u32
}

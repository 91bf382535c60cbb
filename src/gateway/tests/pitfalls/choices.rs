//! Who may answer, and who knows the conversation.

use std::collections::BTreeSet;

use super::super::engine::{Engine, answers, paris};
use super::super::world::World;
use super::super::{A_THEN_B, ASK, ONLY_A};

#[tokio::test]
async fn pitfall_11_conversations_that_lose_their_cache() {
    let engines = [
        Engine::start(paris()).await,
        Engine::start(paris()).await,
        Engine::start(paris()).await,
    ];
    let world = World::new();
    world.pod("a", &[&engines[0].url, &engines[1].url, &engines[2].url]);
    world.route(ONLY_A);
    let asked = || engines.each_ref().map(Engine::requests);
    let mut homes = BTreeSet::new();
    for conversation in 0..24 {
        let mut messages = format!(r#"{{"role":"system","content":"S"}},{{"role":"user","content":"question {conversation}"}}"#);
        let before = asked();
        for turn in 0..3 {
            let body = format!(r#"{{"model":"assistant","messages":[{messages}]}}"#);
            assert_eq!(world.ask(&body).await.status, 200);
            messages.push_str(&format!(
                r#",{{"role":"assistant","content":"Paris"}},{{"role":"user","content":"and {turn}?"}}"#
            ));
        }
        let turns: Vec<usize> = asked().iter().zip(before).map(|(after, before)| after - before).collect();
        let home = turns.iter().position(|turns| *turns == 3);
        assert!(home.is_some(), "conversation {conversation} moved about: {turns:?}");
        homes.extend(home);
    }
    assert_eq!(homes.len(), 3, "conversations are spread");
}

#[tokio::test]
async fn pitfall_17_fallbacks_wider_than_the_requirements() {
    let (failing, open) = (Engine::start(answers(500, "", "{}")).await, Engine::start(paris()).await);
    let world = World::new();
    world.pod_with("a", &failing.url, "tier: Regulated");
    world.pod_with("b", &open.url, "tier: General");
    // Without a requirement the fallback answers.
    world.route(A_THEN_B);
    assert_eq!(world.ask(ASK).await.header("x-portfolio-model"), "claims/b");
    // With it, nobody does: what may not see a request gets none, whatever else fails.
    world.route(&format!("require: {{tiers: [Regulated]}}, {A_THEN_B}"));
    let before = open.requests();
    for _ in 0..3 {
        let answer = world.ask(ASK).await;
        assert_eq!(answer.status, 502, "{}", answer.text);
    }
    // What is not known to be fulfilled is not.
    world.route(&format!("require: {{evaluated: [{{evalJob: quality}}]}}, {A_THEN_B}"));
    let answer = world.ask(ASK).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (503, "no_eligible_model"));
    assert!(answer.text.contains("quality"), "{}", answer.text);
    assert_eq!(open.requests(), before);
}

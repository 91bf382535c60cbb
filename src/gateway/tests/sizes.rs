//! How large what is moved about for each request is.

use axum::body::Body;
use http::Request;

use super::world::World;
use crate::gateway::request::serve;
use crate::protocol::Operation;

#[tokio::test]
async fn what_a_request_waits_in_is_not_moved_about() {
    let world = World::new();
    let serving = serve(Operation::ChatCompletions, world.gateway, Request::new(Body::empty()));
    let size = size_of_val(&serving);
    assert!(
        size <= 1280,
        "{size} bytes are copied each time it is handed on: box what is large inside"
    );
}

//! `GET /v1/models`: the names that this client may call.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::Gateway;
use super::refusal::Refusal;
use crate::protocol::openai;

pub(super) async fn list(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Refusal> {
    let client = gateway.identities.of(request.headers(), &gateway.feed.api_keys()).await?;
    let table = gateway.feed.routes().ok_or_else(Refusal::not_ready)?;
    let mut names: Vec<&str> = table
        .routes()
        .filter(|route| route.admits(&client))
        .map(|route| route.name.as_str())
        .collect();
    names.sort_unstable();
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], openai::model_list(&names)).into_response())
}

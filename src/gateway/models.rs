//! `GET /v1/models`: the names that this client may call, and what can be asked of them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Gateway;
use super::refusal::{Refusal, shown};
use crate::api::model_deployment::Capabilities;
use crate::plan::routing::{Client, Route, RouteTable};
use crate::protocol::models::{Abilities, Model, list as written_list, one as written_one};

/// Where the list is.
pub(super) const PATH: &str = "/v1/models";
/// And where each of them is.
pub(super) const BELOW: &str = "/v1/models/";

pub(super) async fn list(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let listed = listed(&gateway, &headers).await;
    listed.unwrap_or_else(|refusal| refusal.for_path(PATH, &headers))
}

pub(super) async fn one(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let found = found(&gateway, &name, &headers).await;
    found.unwrap_or_else(|refusal| refusal.for_path(PATH, &headers))
}

async fn listed(gateway: &Gateway, headers: &HeaderMap) -> Result<Response, Refusal> {
    let (client, table) = asked(gateway, headers).await?;
    let mut models: Vec<Model<'_>> = callable(&table, &client).map(described).collect();
    models.sort_unstable_by_key(|model| model.name);
    Ok(json(written_list(&models)))
}

async fn found(gateway: &Gateway, name: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let (client, table) = asked(gateway, headers).await?;
    let found = callable(&table, &client).find(|route| route.name == name).map(described);
    found.map(|model| json(written_one(&model))).ok_or_else(|| {
        let message = format!(
            "there is no model {:?} that you may call: GET /v1/models lists those there are",
            shown(name)
        );
        Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message).about("model")
    })
}

async fn asked(gateway: &Gateway, headers: &HeaderMap) -> Result<(Client, Arc<RouteTable>), Refusal> {
    let api_keys = gateway.feed.api_keys();
    let client = gateway.identities.of(headers, &api_keys).await?;
    Ok((client.into_owned(), gateway.feed.routes().ok_or_else(Refusal::not_ready)?))
}

fn callable<'a>(table: &'a RouteTable, client: &Client) -> impl Iterator<Item = &'a Route> {
    table.routes().map(AsRef::as_ref).filter(|route| route.admits(client))
}

fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// What some model behind a name can do, the name can: a request goes to a model that can do it.
fn described(route: &Route) -> Model<'_> {
    let backends = || {
        route
            .rules
            .iter()
            .flat_map(|rule| rule.candidates())
            .filter_map(|c| c.backend.as_ref().ok())
    };
    let any = |of: fn(&Capabilities) -> Option<bool>| {
        let known: Vec<Option<bool>> = backends().map(|backend| of(&backend.capabilities)).collect();
        match known.contains(&Some(true)) {
            true => Some(true),
            // Where one is not known, it may.
            false => (!known.is_empty() && known.iter().all(Option::is_some)).then_some(false),
        }
    };
    let most = |of: fn(&Capabilities) -> Option<u32>| backends().filter_map(|backend| of(&backend.capabilities)).max();
    Model {
        name: &route.name,
        abilities: Abilities {
            context_tokens: most(|c| c.context_tokens),
            max_output_tokens: most(|c| c.max_output_tokens),
            tools: any(|c| c.tools),
            images: any(|c| c.images),
            json_schema: any(|c| c.json_schema),
            embeddings: any(|c| c.embeddings),
        },
    }
}

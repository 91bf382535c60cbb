//! What a request shows a provider, and whom it trusts to be that provider.

use std::sync::Arc;

use bytes::Buf;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::Gateway;
use super::failure::Failure;
use super::feed::{Held, Shown};
use super::upstream::Upstream;
use crate::plan::routing::Backend;
use crate::protocol::{Spliced, bedrock, sigv4};

impl Gateway {
    /// What the gateway holds for `model`; `None` where it needs nothing.
    ///
    /// # Errors
    /// When it needs what is not here yet: nothing is sent without it.
    pub(super) fn held_for(&self, model: &Backend) -> Result<Option<Arc<Held>>, Failure> {
        let Some(destination) = model.destination.as_ref().or(model.authorities.as_ref()) else {
            return Ok(None);
        };
        let held = self
            .feed
            .credentials()
            .of(&model.model, destination)
            .ok_or(Failure::NoCredentials)?;
        let lacks_key = model.destination.is_some() && held.shown.is_none();
        let lacks_authorities = model.authorities.is_some() && held.authorities.is_none();
        if lacks_key || lacks_authorities {
            return Err(Failure::NoCredentials);
        }
        Ok(Some(held))
    }

    /// The way to a model: over connections whose other side is vouched for by the authorities that the model names, if it names any.
    pub(super) fn way_to<'a>(&'a self, held: Option<&'a Held>) -> &'a Upstream {
        let own = held.and_then(|held| held.authorities.as_deref());
        own.unwrap_or(&self.upstream)
    }

    /// Adds to `headers` what shows that the request may be made.
    pub(super) async fn authorize(
        &self,
        model: &Backend,
        held: &Held,
        url: &Uri,
        body: &Spliced,
        headers: &mut HeaderMap,
    ) -> Result<(), Failure> {
        match &held.shown {
            None => {}
            Some(Shown::Header(name, value)) => {
                headers.insert(name.clone(), value.clone());
            }
            Some(Shown::Account(key_file)) => {
                let bearer = Box::pin(self.google.bearer(key_file, model.bases.first(), held.authorities.as_ref())).await;
                headers.insert(header::AUTHORIZATION, bearer.map_err(|why| Failure::NoToken(why.to_string()))?);
            }
            Some(Shown::Keys(credential)) => sign(self, model, credential, url, body, headers)?,
        }
        Ok(())
    }
}

fn sign(
    gateway: &Gateway,
    model: &Backend,
    credential: &bedrock::Credential,
    url: &Uri,
    body: &Spliced,
    headers: &mut HeaderMap,
) -> Result<(), Failure> {
    let whole = body.clone().copy_to_bytes(body.remaining());
    let region = model.region.as_deref().unwrap_or_default();
    let request = sigv4::Request {
        method: "POST",
        host: &host(url),
        path: url.path(),
        query: url.query().unwrap_or_default(),
        headers: &[("content-type", "application/json")],
        body: &whole,
    };
    let now = u64::try_from(gateway.now().as_second()).unwrap_or_default();
    for (name, value) in credential.headers(&request, region, now) {
        let mut value = HeaderValue::try_from(value).map_err(|_| Failure::NoCredentials)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

/// As it stands in the header `host`: with the port where it is not the scheme's own.
fn host(url: &Uri) -> String {
    let is_default = match url.port_u16() {
        None => true,
        Some(port) => port == if url.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 },
    };
    let host = url.host().unwrap_or_default();
    if is_default {
        host.to_owned()
    } else {
        url.authority().map_or(host, |authority| authority.as_str()).to_owned()
    }
}

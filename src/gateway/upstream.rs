//! The way to models: pooled connections, and how busy each endpoint is.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::{self, Connector};
use crate::protocol::Spliced;
use crate::tls::BadCertificates;

/// Engines close idle connections after 5 s (vLLM's and llama.cpp's default); a request sent at that moment would be lost.
const POD_IDLE: Duration = Duration::from_secs(4);
/// Providers keep idle connections longer, and a TLS handshake costs two round trips.
const PROVIDER_IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept for one endpoint.
const IDLE_CONNECTIONS: usize = 256;
/// Endpoints remembered before those without requests are forgotten.
const REMEMBERED: usize = 4096;

type Requests = Client<Connector, Full<Spliced>>;

pub(super) struct Upstream {
    pods: Requests,
    providers: Requests,
    /// Requests in flight at each endpoint. Outlives route tables, so that a new table does not forget who is busy.
    busy: Mutex<HashMap<Uri, Arc<AtomicUsize>>>,
}

impl Upstream {
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, BadCertificates> {
        let connector = Connector::new(ca_file)?;
        let client = |idle| {
            let mut builder = Client::builder(TokioExecutor::new());
            builder
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(idle)
                .pool_max_idle_per_host(IDLE_CONNECTIONS);
            builder.build(connector.clone())
        };
        Ok(Self {
            pods: client(POD_IDLE),
            providers: client(PROVIDER_IDLE),
            busy: Mutex::default(),
        })
    }

    /// Sends a request; waits for the head of the answer.
    pub(super) async fn send(&self, request: Request<Full<Spliced>>, connect_time: Duration) -> Result<Response<Incoming>, Error> {
        let is_https = request.uri().scheme() == Some(&Scheme::HTTPS);
        let client = if is_https { &self.providers } else { &self.pods };
        connect::within(connect_time, client.request(request)).await
    }

    /// The endpoint with the fewest requests in flight that is not in `tried`, and a place there. Among equals, any.
    pub(super) fn least_busy<'a>(&self, urls: &'a [Uri], tried: &[&Uri]) -> Option<(&'a Uri, Place)> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let in_flight = |url: &Uri| busy.get(url).map_or(0, |count| count.load(Ordering::Relaxed));
        let first = fastrand::usize(..urls.len().max(1));
        let in_turn = urls.iter().cycle().skip(first).take(urls.len());
        let url = in_turn.filter(|url| !tried.contains(url)).min_by_key(|url| in_flight(url))?;
        if busy.len() >= REMEMBERED && !busy.contains_key(url) {
            busy.retain(|_, count| count.load(Ordering::Relaxed) > 0);
        }
        let count = busy.entry(url.clone()).or_default().clone();
        count.fetch_add(1, Ordering::Relaxed);
        Some((url, Place(count)))
    }
}

/// A request in flight at an endpoint, until dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_busy_endpoint_gets_the_request() {
        let upstream = Upstream::new(None).unwrap();
        let urls: Vec<Uri> = ["http://a/", "http://b/", "http://c/"].map(|u| u.parse().unwrap()).to_vec();
        let places: Vec<_> = (0..6).map(|_| upstream.least_busy(&urls, &[]).unwrap()).collect();
        for url in &urls {
            assert_eq!(places.iter().filter(|(u, _)| *u == url).count(), 2);
        }
        drop(places);
        let (first, _place) = upstream.least_busy(&urls[..1], &[]).unwrap();
        assert_ne!(upstream.least_busy(&urls[..2], &[]).unwrap().0, first);
        assert_eq!(upstream.least_busy(&urls[..2], &[&urls[1]]).unwrap().0, first);
        assert!(upstream.least_busy(&urls[..1], &[&urls[0]]).is_none());
        assert!(upstream.least_busy(&[], &[]).is_none());
    }
}

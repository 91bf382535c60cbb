//! What was spent of budgets, in ConfigMaps in the gateways' own namespace: all gateways of a cluster share it, and it survives them all.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use crate::cluster::config_map::{self, NotChanged, Refused};
use crate::cluster::{self, Connection};
use crate::gateway::{Store, Unavailable};
use crate::plan::ledger::{Account, Accounts, Ask, Grant};

/// So many ConfigMaps share the policies, so that gateways seldom wait for one another. The chart makes them by these numbers.
pub(super) const SHARDS: u32 = 8;
/// Where the text is in each.
const KEY: &str = "ledger.json";
/// So many may have one of the same budget and window: a budget of each client makes many, and those of others need their room.
const OF_BUDGET: usize = 1000;
/// What a text may be before no account is added to it. The API server takes 1 MiB, and numbers grow.
const BYTES: usize = 900 * 1000;

/// What was spent, in the ConfigMaps `PREFIX-0` to `PREFIX-7`.
#[derive(Clone)]
pub(super) struct InCluster(Arc<Inner>);

struct Inner {
    connection: Connection,
    namespace: String,
    prefix: String,
    /// Of this gateway's own changes one after the other is made.
    turns: [Mutex<()>; SHARDS as usize],
}

impl std::fmt::Debug for InCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { namespace, prefix, .. } = &*self.0;
        write!(f, "InCluster({namespace}/{prefix})")
    }
}

impl InCluster {
    pub(super) fn new(connection: Connection, namespace: String, prefix: String) -> Self {
        Self(Arc::new(Inner {
            connection,
            namespace,
            prefix,
            turns: Default::default(),
        }))
    }

    fn change<T: Send + 'static>(
        &self,
        account: &Account,
        change: impl Fn(&mut Accounts) -> T + Send + Sync + 'static,
    ) -> BoxFuture<'static, Result<T, Unavailable>> {
        let (inner, shard, account) = (self.0.clone(), shard(&account.policy), account.clone());
        async move {
            let _turn = inner.turns[shard as usize].lock().await;
            let name = format!("{}-{shard}", inner.prefix);
            let changed = config_map::change(&inner.connection, &inner.namespace, &name, KEY, |text| {
                let mut all = match text {
                    Some(text) => Accounts::read(text.as_bytes()).map_err(Refused::Damaged)?,
                    None => Accounts::default(),
                };
                all.forget(cluster::now());
                let was_known = all.knows(&account);
                let result = change(&mut all);
                let text = all.written();
                let is_too_many = text.len() > BYTES || (!account.subject.is_empty() && all.beside(&account) > OF_BUDGET);
                if !was_known && is_too_many {
                    return Err(Refused::Full(no_room(&account.policy)));
                }
                Ok((text, result))
            });
            changed.await.map_err(|error| match &error {
                NotChanged::Full { .. } => Unavailable::Full(error.to_string()),
                NotChanged::Failed(_) | NotChanged::Contended(_) | NotChanged::Damaged { .. } => Unavailable::Away(error.to_string()),
            })
        }
        .boxed()
    }
}

impl Store for InCluster {
    fn take(&self, account: Account, limit: u64, ask: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>> {
        self.change(&account.clone(), move |all| all.take(&account, limit, ask))
    }

    fn give_back(&self, account: Account, amount: u64) -> BoxFuture<'static, Result<(), Unavailable>> {
        self.change(&account.clone(), move |all| all.give_back(&account, amount))
    }
}

fn no_room(policy: &str) -> String {
    format!(
        "one more account of {policy}: budgets that more than {OF_BUDGET} clients or teams have for themselves need a Redis, see settings.ledger of the chart"
    )
}

/// Which of the ConfigMaps holds the accounts of a policy: always the same, in every release (FNV-1a).
fn shard(policy: &str) -> u32 {
    let hash = policy
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % SHARDS
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::testing::Server;

    fn account(subject: &str) -> Account {
        let today = cluster::now().as_second() / 86_400 * 86_400;
        let at = |second| k8s_openapi::jiff::Timestamp::from_second(today + second).unwrap();
        Account {
            policy: "claims/assistant".to_owned(),
            budget: "1/usd/Day".to_owned(),
            window: (at(0), at(86_400)),
            subject: subject.to_owned(),
        }
    }

    fn store(server: &Server) -> InCluster {
        InCluster::new(server.connection(), "gateways".to_owned(), "ledger".to_owned())
    }

    const ONE: Ask = Ask {
        owed: 0,
        returned: 0,
        at_least: 1,
        wish: 0,
    };

    #[test]
    fn the_chart_makes_every_config_map_and_lets_gateways_change_no_other() {
        let manifests = include_str!("../../../deploy/manifests.yaml");
        for line in ["  name: llm-portfolio-ledger-", "  - llm-portfolio-ledger-"] {
            let numbers: Vec<u32> = manifests
                .lines()
                .filter_map(|found| found.strip_prefix(line)?.parse().ok())
                .collect();
            assert_eq!(numbers, (0..SHARDS).collect::<Vec<_>>(), "{line}");
        }
    }

    #[tokio::test]
    async fn gateways_that_take_at_once_never_take_more_than_there_is() {
        let server = Server::default();
        let gateways = [store(&server), store(&server), store(&server)];
        let takes = (0..30).map(|at| gateways[at % 3].take(account(""), 20, ONE));
        let granted: u64 = join_all(takes).await.into_iter().map(|grant| grant.unwrap().amount).sum();
        assert_eq!(granted, 20);
        gateways[0].give_back(account(""), 5).await.unwrap();
        // Another process, later.
        let next = store(&server).take(account(""), 20, ONE).await.unwrap();
        assert_eq!(next, Grant { amount: 1, taken: 16 });
        assert_eq!(gateways[1].take(account("sa:claims/web"), 20, ONE).await.unwrap().taken, 1);
    }

    #[tokio::test]
    async fn a_budget_of_too_many_clients_takes_no_room_of_others() {
        let server = Server::default();
        let now = cluster::now().as_second();
        let at = |second| k8s_openapi::jiff::Timestamp::from_second(second).unwrap();
        let of = |budget: &str, window: (i64, i64), subject: &str| Account {
            policy: "claims/assistant".to_owned(),
            budget: budget.to_owned(),
            window: (at(window.0), at(window.1)),
            subject: subject.to_owned(),
        };
        let (past, present, next) = (
            (now - 90_000, now - 3_700),
            (now - 3_700, now + 82_000),
            (now + 82_000, now + 168_000),
        );
        let mut all = Accounts::default();
        for client in 0..OF_BUDGET {
            all.take(&of("1/usd/Day", present, &format!("sa:claims/web-{client}")), 20, ONE);
            all.take(&of("1/usd/Day", past, &format!("sa:claims/web-{client}")), 20, ONE);
        }
        let name = format!("ledger-{}", shard("claims/assistant"));
        let map = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "gateways"},
            "data": {KEY: all.written()},
        });
        server.put(&map.to_string());
        let store = store(&server);
        let error = store
            .take(of("1/usd/Day", present, "sa:claims/one-more"), 20, ONE)
            .await
            .unwrap_err();
        assert!(matches!(error, Unavailable::Full(_)), "{error:?}");
        for part in [&*name, "no room for one more account of claims/assistant", "settings.ledger"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        // Those that are there go on, and so do its other budgets and windows, what all share, and other policies.
        assert_eq!(
            store
                .take(of("1/usd/Day", present, "sa:claims/web-7"), 20, ONE)
                .await
                .unwrap()
                .taken,
            2
        );
        for account in [
            of("1/usd/Day", next, "sa:claims/web-7"),
            of("2/usd/Day", present, "sa:claims/web-7"),
            of("1/usd/Day", present, ""),
        ] {
            assert_eq!(store.take(account.clone(), 20, ONE).await.unwrap().taken, 1, "{account}");
        }
        let text: k8s_openapi::api::core::v1::ConfigMap = server.get(&format!("/api/v1/namespaces/gateways/configmaps/{name}")).unwrap();
        let kept = Accounts::read(text.data.unwrap()[KEY].as_bytes()).unwrap();
        assert_eq!(kept.beside(&of("1/usd/Day", past, "")), 0, "what ended is forgotten");
    }

    #[tokio::test]
    async fn what_is_damaged_is_never_taken_for_nothing() {
        let server = Server::default();
        let name = format!("ledger-{}", shard("claims/assistant"));
        server.put(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: gateways}}, data: {{ledger.json: '{{}}'}}}}"
        ));
        let error = store(&server).take(account(""), 20, ONE).await.unwrap_err().to_string();
        assert!(error.contains(&format!("the ConfigMap {name} is damaged")), "{error}");
    }

    #[tokio::test]
    async fn a_config_map_that_is_there_and_empty_is_filled_and_keeps_what_else_it_has() {
        let server = Server::default();
        let name = format!("ledger-{}", shard("claims/assistant"));
        server.put(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: gateways, labels: {{a: b}}}}}}"
        ));
        store(&server).take(account(""), 20, ONE).await.unwrap();
        let map: k8s_openapi::api::core::v1::ConfigMap = server.get(&format!("/api/v1/namespaces/gateways/configmaps/{name}")).unwrap();
        assert_eq!(map.metadata.labels.unwrap()["a"], "b");
        assert!(map.data.unwrap()["ledger.json"].contains("\"taken\":1"));
    }
}

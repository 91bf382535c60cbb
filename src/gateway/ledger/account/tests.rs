use std::sync::atomic::AtomicBool;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::super::Store;
use super::*;
use crate::plan::ledger::Grant;

/// A store that never answers.
#[derive(Debug)]
struct Silent;

impl Store for Silent {
    fn take(&self, _: Account, _: u64, _: Ask) -> BoxFuture<'static, Result<Grant, Unavailable>> {
        std::future::pending().boxed()
    }

    fn give_back(&self, _: Account, _: u64) -> BoxFuture<'static, Result<(), Unavailable>> {
        std::future::pending().boxed()
    }
}

/// The call that is waited for may begin later than the wait: whoever has waited in vain says so to those who come next, who would wait for the rest of
/// that call.
#[tokio::test(start_paused = true)]
async fn who_waited_in_vain_is_the_last_to_wait() {
    let keeping = Keeping {
        store: Arc::new(Silent),
        on_failure: OnFailure::Closed,
        has_answered: AtomicBool::new(true),
    };
    let account = Account {
        policy: "shop/chat".to_owned(),
        budget: "1".to_owned(),
        window: (Timestamp::MIN, Timestamp::MAX),
        subject: String::new(),
    };
    let spec = serde_saphyr::from_str("{per: Policy, tokens: 10, window: Day}").unwrap();
    let budget = Budget::of(0, &spec).unwrap();
    let entry = Arc::new(Entry::new(account, Arc::new(keeping), || Timestamp::UNIX_EPOCH));
    let before = entry.asking.try_lock().unwrap();
    let first = async {
        let began = Instant::now();
        assert!(matches!(entry.reserve(&budget, 1).await, Err(Denied::Unavailable(_))));
        began.elapsed()
    };
    let other = async {
        tokio::time::sleep(CALL / 2).await;
        drop(before);
    };
    let (waited, ()) = tokio::join!(first, other);
    assert_eq!(waited.as_secs(), CALL.as_secs());
    let began = Instant::now();
    assert!(matches!(entry.reserve(&budget, 1).await, Err(Denied::Unavailable(_))));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

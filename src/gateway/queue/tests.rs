use futures::FutureExt;
use futures::future::join_all;

use super::*;

const PATIENCE: Duration = Duration::from_secs(600);

fn limits(at_once_per_pod: usize, waiting: usize) -> Limits {
    Limits {
        at_once_per_pod,
        waiting,
        lasts: Duration::from_secs(30),
    }
}

/// How many are under way, and how many wait.
fn left(queue: &Queue) -> (usize, usize) {
    let state = queue.state();
    (state.under_way, state.line.len())
}

async fn turn(queue: &Arc<Queue>, limits: Limits, client: &str) -> Result<Turn, NoTurn> {
    queue.enter(limits, 1, client, PATIENCE).await
}

#[tokio::test]
async fn what_nobody_waits_for_keeps_nobody_from_a_turn() {
    let (queues, model) = (Queues::default(), Key::new("claims", "b"));
    let aside = || queues.aside(&model, limits(2, 0), 1);
    let real = async || queues.turn(&model, limits(2, 0), 1, "c", PATIENCE).await.ok();
    let (first, second) = (aside().unwrap(), aside().unwrap());
    assert!(aside().is_none(), "both places are taken");
    let one = real().await.unwrap();
    assert!(
        !first.gives_way.is_cancelled() && second.gives_way.is_cancelled(),
        "the latest gives way"
    );
    assert!(aside().is_none(), "though it is still there");
    drop(first);
    let third = aside().unwrap();
    let two = real().await.unwrap();
    assert!(third.gives_way.is_cancelled());
    assert!(real().await.is_none(), "clients have as many turns as ever");
    drop((one, two));
    assert!(aside().is_some());
}

#[tokio::test]
async fn one_with_many_keeps_no_other_waiting_for_more_than_one() {
    let queue = Arc::new(Queue::default());
    let first = turn(&queue, limits(1, 100), "busy").await.ok().unwrap();
    let order = Mutex::new(Vec::new());
    let ask = async |client: &'static str| {
        let turn = turn(&queue, limits(1, 100), client).await.ok().unwrap();
        order.lock().unwrap().push(client);
        tokio::task::yield_now().await;
        drop(turn);
    };
    let mut asked: Vec<_> = (0..20).map(|_| ask("busy").boxed_local()).collect();
    for asking in &mut asked {
        assert!(asking.now_or_never().is_none());
    }
    let mut late = ask("late").boxed_local();
    assert!((&mut late).now_or_never().is_none());
    drop(first);
    asked.push(late);
    join_all(asked).await;
    let order = order.into_inner().unwrap();
    assert_eq!(order.iter().position(|client| *client == "late"), Some(1), "{order:?}");
    assert_eq!((order.len(), left(&queue)), (21, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_allowed() {
    let queue = Arc::new(Queue::default());
    let _first = turn(&queue, limits(1, 100), "a").await.ok().unwrap();
    assert_eq!(
        turn(&queue, limits(1, 100), "a").await.err(),
        Some(NoTurn::TooLong(Duration::from_secs(30)))
    );
    let soon = queue.enter(limits(1, 100), 1, "a", Duration::from_secs(2)).await;
    assert_eq!(soon.err(), Some(NoTurn::TooLong(Duration::from_secs(2))));
    assert_eq!(queue.state().line.len(), 0);
}

#[tokio::test]
async fn a_full_queue_refuses_whoever_has_most_in_it() {
    let queue = Arc::new(Queue::default());
    let first = turn(&queue, limits(1, 2), "a").await.ok().unwrap();
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(turn(&queue, limits(1, 2), "a"))).collect();
    for one in &mut waiting {
        assert!(one.now_or_never().is_none());
    }
    assert_eq!(turn(&queue, limits(1, 2), "a").await.err(), Some(NoTurn::Full(2)));
    let mut other = Box::pin(turn(&queue, limits(1, 2), "b"));
    assert!((&mut other).now_or_never().is_none());
    assert_eq!(waiting.pop().unwrap().await.err(), Some(NoTurn::Full(2)), "it made room");
    drop(first);
    let turn = waiting.pop().unwrap().await.ok().unwrap();
    drop(turn);
    assert!(other.await.is_ok());
}

#[tokio::test]
async fn whoever_hangs_up_leaves_its_place_or_its_turn_to_others() {
    let queue = Arc::new(Queue::default());
    let first = turn(&queue, limits(1, 10), "a").await.ok().unwrap();
    let mut gone = Box::pin(turn(&queue, limits(1, 10), "a"));
    let mut given = Box::pin(turn(&queue, limits(1, 10), "b"));
    let mut last = Box::pin(turn(&queue, limits(1, 10), "c"));
    for one in [&mut gone, &mut given, &mut last] {
        assert!(one.now_or_never().is_none());
    }
    drop(gone);
    drop(first);
    // It has been given the turn and never looks.
    drop(given);
    assert!(last.await.is_ok());
    assert_eq!(left(&queue), (0, 0));
}

#[tokio::test]
async fn more_pods_take_more_at_once() {
    let queue = Arc::new(Queue::default());
    let _first = turn(&queue, limits(1, 10), "a").await.ok().unwrap();
    let mut second = Box::pin(turn(&queue, limits(1, 10), "a"));
    assert!((&mut second).now_or_never().is_none());
    let mut third = Box::pin(queue.enter(limits(1, 10), 3, "a", PATIENCE));
    assert!((&mut third).now_or_never().is_some(), "three pods take three");
    assert!(second.now_or_never().is_some());
}

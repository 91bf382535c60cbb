//! The threads that serve connections. Each has a runtime of its own, and everything that a request needs stays on it: nothing is stolen,
//! and no other thread is woken. A connection goes to the thread that has the fewest.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::runtime;
use tokio::sync::mpsc;

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// How many lanes there are at most: one for each processor that this process may use.
pub(super) fn most() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    // It reads files of the system.
    *MOST.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// The lane that this thread is; other threads count as the first.
pub(super) fn current() -> usize {
    CURRENT.get()
}

/// Running lanes; they end when dropped, and what they serve with them.
pub(super) struct Lanes<C>(Vec<Lane<C>>);

struct Lane<C> {
    connections: mpsc::UnboundedSender<(C, Place)>,
    open: Arc<AtomicUsize>,
}

/// A connection's place on its lane, until dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<C: Send + 'static> Lanes<C> {
    /// Starts them. Each calls `serve` for each of its connections, which is to start a task.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn start(serve: impl Fn(C, Place) + Clone + Send + 'static) -> io::Result<Self> {
        let start = |number| {
            let (connections, mut incoming) = mpsc::unbounded_channel();
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let serve = serve.clone();
            thread::Builder::new().name(format!("lane-{number}")).spawn(move || {
                CURRENT.set(number);
                runtime.block_on(async {
                    while let Some((connection, place)) = incoming.recv().await {
                        serve(connection, place);
                    }
                });
            })?;
            Ok(Lane {
                connections,
                open: Arc::default(),
            })
        };
        (0..most()).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Hands a connection to the lane that has the fewest.
    pub(super) fn serve(&self, connection: C) {
        let Some(lane) = self.0.iter().min_by_key(|lane| lane.open.load(Ordering::Relaxed)) else {
            return;
        };
        lane.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(lane.open.clone());
        if lane.connections.send((connection, place)).is_err() {
            tracing::error!("a thread that serves connections has ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_connection_goes_to_the_lane_with_the_fewest_and_leaves_its_place_when_it_ends() {
        let (serving, served) = mpsc::channel();
        let lanes = Lanes::start(move |(), place| serving.send((current(), place)).unwrap()).unwrap();
        let serve = || {
            lanes.serve(());
            served.recv().unwrap()
        };
        let mut open: Vec<(usize, Place)> = (0..2 * most()).map(|_| serve()).collect();
        for lane in 0..most() {
            assert_eq!(open.iter().filter(|(at, _)| *at == lane).count(), 2);
        }
        let (left, place) = open.pop().unwrap();
        drop(place);
        assert_eq!(serve().0, left);
    }

    #[test]
    fn lanes_end_with_what_they_serve_when_dropped() {
        let (serving, served) = mpsc::channel::<()>();
        let lanes = Lanes::start(move |(), _place| {
            let serving = serving.clone();
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(serving);
            });
        })
        .unwrap();
        lanes.serve(());
        drop(lanes);
        // Fails only when nobody can send any more: the task and the function are gone.
        assert!(served.recv().is_err());
    }
}

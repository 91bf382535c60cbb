//! Price books that a process follows while it runs. A mounted ConfigMap changes by a swap of links, which no watch of a file sees for sure,
//! so the files are read again and again; they are small.
//!
//! ```text
//! files ──read──► the same twice? ──► good? ──► another book
//!                                      └─ no: said once, and the book stays as it was
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cluster::watch::vital;
use crate::manifest::{self, Finding, Portfolio, Prices};
use crate::plan::price::Book;

/// Between two looks. A change is taken over after two looks that show the same, as editors write in pieces.
const LOOK: Duration = Duration::from_secs(2);

/// What a process reads.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    /// The book, as the files said when they were last good.
    pub(super) book: watch::Receiver<Arc<Book>>,
    /// Whether the files say the same now; if not, they have errors, and the log names them.
    pub(super) is_current: watch::Receiver<bool>,
}

/// Follows `paths` for as long as the process lives. What is wrong at the start leaves out the file that it is in: costs are unknown then,
/// and requests are served.
pub(super) fn follow(paths: Vec<PathBuf>) -> Followed {
    let (mut follower, followed) = Follower::new(paths);
    follower.begin();
    if !follower.paths.is_empty() {
        vital("the look at price books", keep_following(follower));
    }
    followed
}

async fn keep_following(mut follower: Follower) {
    loop {
        tokio::time::sleep(LOOK).await;
        // Reading holds a thread; requests must not wait for it.
        let looked = tokio::task::spawn_blocking(move || {
            follower.look();
            follower
        });
        let Ok(same) = looked.await else { return };
        follower = same;
    }
}

struct Follower {
    paths: Vec<PathBuf>,
    book: watch::Sender<Arc<Book>>,
    is_current: watch::Sender<bool>,
    /// The digest of the texts at the last look, and of those that were last taken over or refused.
    seen: String,
    judged: String,
}

impl Follower {
    fn new(paths: Vec<PathBuf>) -> (Self, Followed) {
        let (book, book_out) = watch::channel(Arc::default());
        let (is_current, is_current_out) = watch::channel(true);
        let follower = Self {
            paths,
            book,
            is_current,
            seen: String::new(),
            judged: String::new(),
        };
        let followed = Followed {
            book: book_out,
            is_current: is_current_out,
        };
        (follower, followed)
    }

    fn begin(&mut self) {
        self.seen = Portfolio::digest(&self.paths);
        self.judged.clone_from(&self.seen);
        let prices = manifest::prices(&self.paths);
        tell(&prices);
        self.is_current.send_replace(!prices.have_errors());
        self.book.send_replace(Arc::new(prices.book));
    }

    /// Looks at the files, and takes them over when they have changed, are at rest and are good.
    fn look(&mut self) {
        let now = Portfolio::digest(&self.paths);
        let is_at_rest = self.seen == now;
        self.seen = now;
        if !is_at_rest || self.seen == self.judged {
            return;
        }
        self.judged.clone_from(&self.seen);
        let prices = manifest::prices(&self.paths);
        tell(&prices);
        self.is_current.send_replace(!prices.have_errors());
        if prices.have_errors() {
            tracing::warn!("the price books have errors: the prices stay as they were until they are corrected");
        } else {
            self.book.send_replace(Arc::new(prices.book));
        }
    }
}

fn tell(prices: &Prices) {
    let (errors, warnings): (Vec<&Finding>, Vec<&Finding>) = prices.findings.iter().partition(|finding| finding.is_error());
    for finding in errors {
        tracing::error!("{finding}");
    }
    for finding in warnings {
        tracing::warn!("{finding}");
    }
    if !prices.have_errors() {
        tracing::info!(entries = prices.book.entries(), "prices are known");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder as the kubelet mounts a ConfigMap: its files are links into a folder that is swapped whole.
    struct Mounted(PathBuf);

    impl Mounted {
        fn new(test: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("llm-portfolio-prices-{}-{test}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            symlink("..data/prices.yaml", folder.join("prices.yaml")).unwrap();
            Self(folder)
        }

        fn swap(&self, version: &str, text: &str) {
            fs::create_dir(self.0.join(version)).unwrap();
            fs::write(self.0.join(version).join("prices.yaml"), text).unwrap();
            symlink(version, self.0.join("next")).unwrap();
            fs::rename(self.0.join("next"), self.0.join("..data")).unwrap();
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    const ONE: &str = "prices: [{provider: OpenAI, model: gpt-5, inputPer1M: '1'}]";
    const TWO: &str = "prices: [{provider: OpenAI, model: gpt-5, inputPer1M: '2'}, {provider: OpenAI, model: o3, inputPer1M: '3'}]";

    #[test]
    fn a_swapped_mount_is_taken_over_and_a_broken_one_keeps_the_old_prices() {
        let mounted = Mounted::new("swap");
        mounted.swap("1", ONE);
        let (mut follower, followed) = Follower::new(vec![mounted.0.join("prices.yaml")]);
        follower.begin();
        let state = || (followed.book.borrow().entries(), *followed.is_current.borrow());
        assert_eq!(state(), (1, true));

        mounted.swap("2", TWO);
        follower.look();
        assert_eq!(state(), (1, true), "it may still be changing");
        follower.look();
        assert_eq!(state(), (2, true));

        mounted.swap("3", "prices: [{provider: OpenAI, model: gpt-5, inputPer1M: 1,5}]");
        follower.look();
        follower.look();
        assert_eq!(state(), (2, false));
        let mut book = followed.book.clone();
        book.mark_unchanged();
        follower.look();
        assert!(!book.has_changed().unwrap(), "told once");

        mounted.swap("4", ONE);
        follower.look();
        follower.look();
        assert_eq!(state(), (1, true));
    }

    #[test]
    fn a_file_that_is_broken_at_the_start_is_left_out_and_the_others_count() {
        let mounted = Mounted::new("start");
        mounted.swap("1", ONE);
        let (mut follower, followed) = Follower::new(vec![mounted.0.join("absent.yaml"), mounted.0.join("prices.yaml")]);
        follower.begin();
        assert_eq!((followed.book.borrow().entries(), *followed.is_current.borrow()), (1, false));
    }
}

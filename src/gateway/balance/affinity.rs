//! Conversations that began alike go to the same endpoint, so that its prefix cache has their beginning: rendezvous hashing, which moves only
//! the conversations of endpoints that come or go, with a bound on the load, as consistent hashing with bounded loads
//! (https://arxiv.org/abs/1608.01350) has it.

use http::Uri;
use sha2::{Digest, Sha256};

/// An endpoint takes up to this many times the mean load; in percent.
const BOUND_PERCENT: usize = 125;
/// And always so many requests at once: of a few requests, the bound would send every second one away from its cache.
const FLOOR: usize = 4;

/// The endpoint that this beginning belongs to, or the next in its order that is not overloaded.
pub(super) fn choose<'a>(among: &[usize], beginning: u64, url: impl Fn(usize) -> &'a Uri, busy: impl Fn(&usize) -> usize) -> Option<usize> {
    let bound = bound(among.iter().map(&busy).sum(), among.len());
    let mut order: Vec<(u64, usize)> = among.iter().map(|at| (rank(url(*at), beginning), *at)).collect();
    order.sort_unstable_by(|a, b| b.cmp(a));
    let free = order.iter().find(|(_, at)| busy(at) < bound);
    free.or(order.first()).map(|(_, at)| *at)
}

/// How many requests an endpoint may have once it has this one too.
fn bound(in_flight: usize, endpoints: usize) -> usize {
    ((in_flight + 1) * BOUND_PERCENT).div_ceil(100 * endpoints.max(1)).max(FLOOR)
}

fn rank(url: &Uri, beginning: u64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(beginning.to_le_bytes());
    hash.update(url.authority().map_or("", |authority| authority.as_str()));
    let digest = hash.finalize();
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn urls(count: usize) -> Vec<Uri> {
        (0..count).map(|n| format!("http://10.0.0.{n}:8000/v1").parse().unwrap()).collect()
    }

    fn chosen(urls: &[Uri], beginning: u64, busy: &[usize]) -> usize {
        let all: Vec<usize> = (0..urls.len()).collect();
        choose(&all, beginning, |at| &urls[at], |at| busy[*at]).unwrap()
    }

    #[test]
    fn the_same_beginning_stays_and_all_beginnings_are_spread() {
        let urls = urls(4);
        let mut counts = [0; 4];
        for beginning in 0..4000 {
            let at = chosen(&urls, beginning, &[0; 4]);
            assert_eq!(at, chosen(&urls, beginning, &[0; 4]));
            counts[at] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn an_endpoint_that_goes_moves_only_its_own_conversations() {
        let (four, three) = (urls(4), urls(3));
        for beginning in 0..1000 {
            let before = chosen(&four, beginning, &[0; 4]);
            if before < 3 {
                assert_eq!(chosen(&three, beginning, &[0; 3]), before);
            }
        }
    }

    #[test]
    fn small_pools_do_not_spill_and_large_loads_are_bounded() {
        let urls = urls(2);
        let own = chosen(&urls, 7, &[0, 0]);
        let with = |here: usize| if own == 0 { [here, 0] } else { [0, here] };
        assert_eq!(chosen(&urls, 7, &with(FLOOR - 1)), own, "three in flight are no load");
        assert_ne!(chosen(&urls, 7, &with(FLOOR)), own);
        assert_eq!(chosen(&urls, 7, &[20, 20]), own, "all are as busy");
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_bound(busy in prop::collection::vec(0usize..40, 2..8), beginning: u64) {
            let urls = urls(busy.len());
            let at = chosen(&urls, beginning, &busy);
            prop_assert!(busy[at] < bound(busy.iter().sum(), busy.len()));
        }
    }
}

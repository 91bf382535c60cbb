//! Takes from a store whose answers may be lost on the way: a gateway numbers them, and the next one takes back what nobody got.

use super::slice::{Ask, Grant, grant};

/// Which take of a gateway it is. A gateway sends one at a time; one that was given up may still arrive, and after later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Rises with every take of the gateway.
    pub number: u64,
    /// The first of its takes of this account since the latest that was answered; its own number where all were.
    pub unanswered_from: u64,
}

/// The latest take of a gateway of an account, as the store remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Its number.
    pub number: u64,
    /// What it added to what was taken, beside what it gave back.
    pub added: u64,
}

/// What is granted, as [`grant`] says, and what to remember of it; `None` where a later take of the gateway was there before: nobody waits for
/// the answer then, and nothing is taken.
#[must_use]
pub fn take(limit: u64, taken: u64, latest: Option<Latest>, turn: Turn, ask: Ask) -> Option<(Grant, Latest)> {
    let taken = match latest {
        Some(latest) if latest.number >= turn.number => return None,
        // Its gateway never knew of it: it asks for the same again, and owes the same.
        Some(latest) if latest.number >= turn.unanswered_from => taken.saturating_sub(latest.added),
        Some(_) | None => taken,
    };
    let granted = grant(limit, taken, ask);
    let latest = Latest {
        number: turn.number,
        added: granted.taken.saturating_sub(taken.saturating_sub(ask.returned)),
    };
    Some((granted, latest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_nobody_got_is_taken_back_once() {
        let ask = Ask {
            owed: 3,
            at_least: 5,
            ..Ask::default()
        };
        let turn = |number, unanswered_from| Turn { number, unanswered_from };
        let (granted, latest) = take(100, 20, None, turn(1, 1), ask).unwrap();
        assert_eq!((granted, latest), (Grant { amount: 5, taken: 28 }, Latest { number: 1, added: 8 }));
        // Its answer was lost; the second take never arrived.
        let (granted, latest) = take(100, 28, Some(latest), turn(3, 1), ask).unwrap();
        assert_eq!(granted, Grant { amount: 5, taken: 28 });
        assert_eq!(take(100, 28, Some(latest), turn(2, 1), ask), None, "it comes too late");
        // This time it was answered.
        let (granted, _) = take(100, 28, Some(latest), turn(4, 4), Ask::default()).unwrap();
        assert_eq!(granted.taken, 28);
    }

    /// One gateway's side: what it holds of the account, and what it takes of it.
    #[derive(Clone, Debug, Default)]
    struct Gateway {
        holds: u64,
        owes: u64,
        number: u64,
        unanswered_from: Option<u64>,
        /// What was given up and may still arrive.
        late: Vec<(Turn, Ask)>,
    }

    #[derive(Default)]
    struct Store {
        taken: u64,
        latest: [Option<Latest>; 3],
    }

    const LIMIT: u64 = 1_000;

    impl Store {
        fn take(&mut self, gateway: usize, turn: Turn, ask: Ask) -> Option<Grant> {
            let (granted, latest) = take(LIMIT, self.taken, self.latest[gateway], turn, ask)?;
            self.taken = granted.taken;
            self.latest[gateway] = Some(latest);
            Some(granted)
        }
    }

    impl Gateway {
        fn ask(&mut self, at_least: u64) -> (Turn, Ask) {
            self.number += 1;
            let unanswered_from = *self.unanswered_from.get_or_insert(self.number);
            let turn = Turn {
                number: self.number,
                unanswered_from,
            };
            let ask = Ask {
                owed: self.owes,
                at_least,
                ..Ask::default()
            };
            (turn, ask)
        }

        fn answered(&mut self, ask: Ask, granted: Grant) {
            self.unanswered_from = None;
            self.holds += ask.owed + granted.amount;
            self.owes -= ask.owed;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever is lost or comes late: nobody ever holds what the store does not know of, and once all are answered again the store knows of
        /// nothing that nobody holds.
        #[test]
        fn lost_answers_cost_nothing_in_the_end(steps in prop::collection::vec((0..3usize, 0..40u64, 0..20u64, 0..4u8), 1..120)) {
            let (mut gateways, mut store) = (vec![Gateway::default(); 3], Store::default());
            for (at, at_least, owes, what) in steps {
                let gateway = &mut gateways[at];
                gateway.owes += owes;
                match what {
                    // Given up before it arrives.
                    0 => {
                        let asked = gateway.ask(at_least);
                        gateway.late.push(asked);
                    }
                    // It arrives, and its answer is lost.
                    1 => {
                        let (turn, ask) = gateway.ask(at_least);
                        store.take(at, turn, ask);
                    }
                    // One that was given up arrives.
                    2 => if let Some((turn, ask)) = gateway.late.pop() {
                        store.take(at, turn, ask);
                    },
                    _ => {
                        let (turn, ask) = gateway.ask(at_least);
                        let granted = store.take(at, turn, ask).unwrap();
                        gateway.answered(ask, granted);
                    }
                }
                let held: u64 = gateways.iter().map(|gateway| gateway.holds).sum();
                prop_assert!(held <= store.taken, "{held} of {}", store.taken);
            }
            for (at, gateway) in gateways.iter_mut().enumerate() {
                let (turn, ask) = gateway.ask(0);
                let granted = store.take(at, turn, ask).unwrap();
                gateway.answered(ask, granted);
                for (turn, ask) in std::mem::take(&mut gateway.late) {
                    prop_assert_eq!(store.take(at, turn, ask), None);
                }
            }
            prop_assert_eq!(gateways.iter().map(|gateway| gateway.holds).sum::<u64>(), store.taken);
        }
    }
}

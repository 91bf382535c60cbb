//! Who waits, and who is next: clients take turns, and the requests of one keep their order. Pure.

use std::collections::VecDeque;

/// What waits, by client.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// Those who have something waiting, whoever is next first.
    clients: VecDeque<Client<T>>,
    length: usize,
    tickets: u64,
}

#[derive(Debug)]
struct Client<T> {
    id: String,
    waiting: VecDeque<(u64, T)>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            clients: VecDeque::new(),
            length: 0,
            tickets: 0,
        }
    }
}

impl<T> Line<T> {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Waits, behind what the client has waiting; with the ticket to leave by.
    pub(super) fn push(&mut self, client: &str, what: T) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        self.length += 1;
        match self.clients.iter_mut().find(|known| known.id == client) {
            Some(known) => known.waiting.push_back((ticket, what)),
            None => self.clients.push_back(Client {
                id: client.to_owned(),
                waiting: [(ticket, what)].into(),
            }),
        }
        ticket
    }

    /// Who is next. The client then waits for all others to have theirs.
    pub(super) fn next(&mut self) -> Option<T> {
        let mut client = self.clients.pop_front()?;
        let (_, next) = client.waiting.pop_front()?;
        self.length -= 1;
        if !client.waiting.is_empty() {
            self.clients.push_back(client);
        }
        Some(next)
    }

    /// Leaves without having been next.
    pub(super) fn leave(&mut self, client: &str, ticket: u64) {
        let Some(at) = self.clients.iter().position(|known| known.id == client) else {
            return;
        };
        let waiting = &mut self.clients[at].waiting;
        let before = waiting.len();
        waiting.retain(|(known, _)| *known != ticket);
        self.length -= before - waiting.len();
        if waiting.is_empty() {
            self.clients.remove(at);
        }
    }

    /// Makes room for one of `client`: the latest of whoever has most waiting goes, unless the client would then have as many itself.
    pub(super) fn make_room(&mut self, client: &str) -> Option<T> {
        let own = self
            .clients
            .iter()
            .find(|known| known.id == client)
            .map_or(0, |known| known.waiting.len());
        let at = (0..self.clients.len()).max_by_key(|at| self.clients[*at].waiting.len())?;
        let most = &mut self.clients[at].waiting;
        if most.len() <= own + 1 {
            return None;
        }
        let (_, latest) = most.pop_back()?;
        self.length -= 1;
        Some(latest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clients_take_turns_and_each_keeps_its_order() {
        let mut line = Line::default();
        for what in ["a1", "a2", "a3", "b1", "c1", "b2"] {
            line.push(&what[..1], what);
        }
        let order: Vec<_> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!(line.len(), 0);
    }

    #[test]
    fn whoever_has_most_makes_room_for_whoever_has_less() {
        let mut line = Line::default();
        for what in ["a1", "a2", "a3", "b1"] {
            line.push(&what[..1], what);
        }
        assert_eq!(line.make_room("a"), None, "nobody makes room for whoever has most");
        assert_eq!(line.make_room("b"), Some("a3"));
        line.push("b", "b2");
        assert_eq!(line.make_room("c"), Some("b2"), "one of those with two");
        line.push("c", "c1");
        assert_eq!(line.make_room("d"), Some("a2"));
        assert_eq!(line.make_room("d"), None, "nobody has more than d would have");
    }

    proptest! {
        /// However many one has waiting, another one's first is next but for one turn of each other client.
        #[test]
        fn nobody_waits_for_more_than_one_of_each_other(pushes in proptest::collection::vec(0_u8..5, 1..200)) {
            let mut line = Line::default();
            for (at, client) in pushes.iter().enumerate() {
                line.push(&client.to_string(), (*client, at));
            }
            line.push("new", (9, usize::MAX));
            let others = line.clients.len() - 1;
            let before = std::iter::from_fn(|| line.next()).take_while(|(client, _)| *client != 9).count();
            prop_assert!(before <= others);
        }

        #[test]
        fn nothing_is_lost_or_told_twice(steps in proptest::collection::vec((0_u8..3, 0_u8..4), 1..100)) {
            let mut line = Line::default();
            let mut inside: Vec<(u8, u64)> = Vec::new();
            for (step, client) in steps {
                match step {
                    0 => {
                        let tickets = line.tickets + 1;
                        let ticket = line.push(&client.to_string(), (client, tickets));
                        inside.push((client, ticket));
                    }
                    1 => {
                        if let Some(next) = line.next() {
                            let first = inside.iter().find(|(known, _)| *known == next.0).copied();
                            prop_assert_eq!(first, Some(next));
                            inside.retain(|known| *known != next);
                        }
                    }
                    _ => {
                        if let Some(at) = inside.iter().position(|(known, _)| *known == client) {
                            let (client, ticket) = inside.remove(at);
                            line.leave(&client.to_string(), ticket);
                        }
                    }
                }
                prop_assert_eq!(line.len(), inside.len());
            }
        }
    }
}

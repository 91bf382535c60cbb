//! One gateway's part of one account: what it has taken of it, and what has become of that.

use k8s_openapi::jiff::Timestamp;

use super::slice::{Ask, Grant};

/// How long a slice should last, and what is looked at to know how much that is.
const SECONDS: i64 = 10;

/// What a gateway has taken of an account. What is in it is either reserved, spent or free; what was spent beyond it is owed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purse {
    taken: u64,
    reserved: u64,
    spent: u64,
    /// More than the budget has been taken of the account, because attempts cost more than was reserved: then nothing is spent without
    /// asking, or what comes free here would be spent beyond it.
    is_over: bool,
    pace: Pace,
}

/// More is needed than is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// So much more.
    pub by: u64,
}

impl Purse {
    /// What may be reserved without asking.
    #[must_use]
    pub fn free(&self) -> u64 {
        if self.is_over { 0 } else { self.unused() }
    }

    /// What was spent, or will be, beyond what was taken.
    #[must_use]
    pub fn owed(&self) -> u64 {
        self.held().saturating_sub(self.taken)
    }

    /// What was taken and not given back.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// What is reserved for attempts that have not ended.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// What was spent.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// Whether nothing goes on and everything is told, so that it may be forgotten once its window is over.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.reserved == 0 && self.owed() == 0
    }

    /// Whether it should be filled before it is used up: less is free than half of what goes within seconds, or something is owed.
    #[must_use]
    pub fn is_low(&self, now: Timestamp) -> bool {
        self.owed() > 0 || self.free() < self.pace.recent(now) / 2
    }

    /// Keeps `amount` for an attempt. Nothing is always there.
    ///
    /// # Errors
    /// When less is free.
    pub fn reserve(&mut self, amount: u64, now: Timestamp) -> Result<(), Short> {
        if amount > self.free() {
            let by = amount - self.free();
            return Err(Short { by });
        }
        self.reserved = self.reserved.saturating_add(amount);
        self.pace.note(amount, now);
        Ok(())
    }

    /// Keeps `amount` although the store cannot be asked, as far as no more than `most` is owed by it.
    ///
    /// # Errors
    /// When more would be owed.
    pub fn reserve_owing(&mut self, amount: u64, most: u64, now: Timestamp) -> Result<(), Short> {
        let within = self.free().saturating_add(most.saturating_sub(self.owed()));
        if amount > within {
            let by = amount - within;
            return Err(Short { by });
        }
        self.reserved = self.reserved.saturating_add(amount);
        self.pace.note(amount, now);
        Ok(())
    }

    /// The attempt that `reserved` was kept for has cost `charge`.
    pub fn settle(&mut self, reserved: u64, charge: u64) {
        self.release(reserved);
        self.spent = self.spent.saturating_add(charge);
    }

    /// The attempt that `reserved` was kept for was not made.
    pub fn release(&mut self, reserved: u64) {
        self.reserved = self.reserved.saturating_sub(reserved);
    }

    /// What to ask the store for, to be able to reserve `amount` and to have some for later. What is given back by it is taken out.
    pub fn ask(&mut self, amount: u64, now: Timestamp) -> Ask {
        Ask {
            owed: self.owed(),
            returned: if self.is_over { self.empty() } else { 0 },
            at_least: amount.saturating_sub(self.free()),
            wish: self.pace.recent(now),
        }
    }

    /// The store's answer about a budget of `limit`. Between the two nobody else may ask for this purse.
    pub fn fill(&mut self, ask: Ask, grant: Grant, limit: u64) {
        self.taken = self.taken.saturating_add(ask.owed).saturating_add(grant.amount);
        self.is_over = grant.taken > limit;
    }

    /// Takes out what is not used, to be given back.
    pub fn empty(&mut self) -> u64 {
        let unused = self.unused();
        self.taken -= unused;
        unused
    }

    fn unused(&self) -> u64 {
        self.taken.saturating_sub(self.held())
    }

    fn held(&self) -> u64 {
        self.spent.saturating_add(self.reserved)
    }
}

/// How much goes within some seconds: what went in the latest whole stretch of them, or has gone in this one where that is more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pace {
    stretch: i64,
    current: u64,
    before: u64,
}

impl Pace {
    fn note(&mut self, amount: u64, now: Timestamp) {
        let stretch = now.as_second().div_euclid(SECONDS);
        if stretch != self.stretch {
            let is_next = stretch == self.stretch + 1;
            self.before = if is_next { self.current } else { 0 };
            self.current = 0;
            self.stretch = stretch;
        }
        self.current = self.current.saturating_add(amount);
    }

    fn recent(&self, now: Timestamp) -> u64 {
        match now.as_second().div_euclid(SECONDS) - self.stretch {
            0 => self.current.max(self.before),
            1 => self.current,
            _ => 0,
        }
    }
}

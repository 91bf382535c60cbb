//! Series of one name, by their labels: as the client library's own family, and able to forget.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A handle on all series of one name; clones are handles on the same.
#[derive(Debug)]
pub(super) struct Family<S, M> {
    all: Arc<RwLock<HashMap<S, M>>>,
    make: fn() -> M,
}

impl<S, M> Clone for Family<S, M> {
    fn clone(&self) -> Self {
        Self {
            all: self.all.clone(),
            make: self.make,
        }
    }
}

impl<S, M: Default> Default for Family<S, M> {
    fn default() -> Self {
        Self::new(M::default)
    }
}

impl<S, M> Family<S, M> {
    pub(super) fn new(make: fn() -> M) -> Self {
        Self { all: Arc::default(), make }
    }
}

impl<S: Eq + Hash, M: Clone> Family<S, M> {
    /// The series with these labels; it is exposed from now on.
    pub(super) fn of(&self, labels: S) -> M {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(labels).or_insert_with(self.make).clone()
    }

    /// Forgets the series whose labels are not to be kept. What still holds one of them counts unseen.
    pub(super) fn retain(&self, keep: impl Fn(&S) -> bool) {
        self.all
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|labels, _| keep(labels));
    }

    /// Calls `see` with the labels of each series.
    pub(super) fn each(&self, mut see: impl FnMut(&S)) {
        for labels in self.all.read().unwrap_or_else(PoisonError::into_inner).keys() {
            see(labels);
        }
    }
}

impl<S, M> EncodeMetric for Family<S, M>
where
    S: EncodeLabelSet + fmt::Debug,
    M: EncodeMetric + TypedMetric,
{
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, metric) in self.all.read().unwrap_or_else(PoisonError::into_inner).iter() {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}

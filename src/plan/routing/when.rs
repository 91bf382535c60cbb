//! Which requests a rule is for.

use std::ops::Range;

use super::access::{Admission, admissions};
use super::data_class::{DataClassId, DataClasses};
use super::expression::Expression;
use crate::api::routing_policy;

/// Which requests a rule is for; what is empty or absent does not matter.
#[derive(Clone, Debug)]
pub struct When {
    /// Headers a request must have, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The classes that its data may have.
    pub data_classes: Vec<DataClassId>,
    /// Who may ask.
    pub clients: Vec<Admission>,
    /// How many tokens its input has.
    pub input_tokens: Range<u64>,
    /// Whether it has tools.
    pub tools: Option<bool>,
    /// Whether it has images.
    pub images: Option<bool>,
    /// What else must be true.
    pub expression: Option<Expression>,
}

/// Every number of tokens.
const ANY: Range<u64> = 0..u64::MAX;

impl Default for When {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            data_classes: Vec::new(),
            clients: Vec::new(),
            input_tokens: ANY,
            tools: None,
            images: None,
            expression: None,
        }
    }
}

impl When {
    /// What a rule of a policy in that namespace says; of nothing, every request.
    pub(super) fn of(given: Option<&routing_policy::When>, namespace: &str, allows_anonymous: bool, classes: &DataClasses) -> Self {
        let Some(given) = given else {
            return Self::default();
        };
        let tokens = given.input_tokens.clone().unwrap_or_default();
        Self {
            headers: given
                .headers
                .iter()
                .map(|h| (h.name.to_ascii_lowercase(), h.value.clone()))
                .collect(),
            data_classes: given.data_classes.iter().filter_map(|name| classes.named(name)).collect(),
            clients: match given.clients.as_slice() {
                [] => Vec::new(),
                // Empty would be anybody.
                clients => match admissions(clients, namespace, allows_anonymous) {
                    none if none.is_empty() => vec![Admission::nobody()],
                    some => some,
                },
            },
            input_tokens: tokens.at_least.map_or(ANY.start, u64::from)..tokens.below.map_or(ANY.end, u64::from),
            tools: given.tools,
            images: given.images,
            expression: given.expression.as_deref().and_then(|source| Expression::compile(source).ok()),
        }
    }

    /// Whether it must be known what is in the body, the expression left aside.
    pub(super) fn reads_content(&self) -> bool {
        self.input_tokens != ANY || self.tools.is_some() || self.images.is_some()
    }
}

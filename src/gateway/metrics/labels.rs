//! What series are told apart by: names of objects, and words of ours.

use std::fmt;

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};

/// The names of objects in a set of labels. Series whose objects are gone are forgotten.
pub(super) trait Names {
    /// Calls `see` with each.
    fn names(&self, see: &mut dyn FnMut(&str));
}

macro_rules! names {
    ($labels:ty: $($field:ident),+) => {
        impl Names for $labels {
            fn names(&self, see: &mut dyn FnMut(&str)) {
                $(see(&self.$field);)+
            }
        }
    };
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) policy: String,
    pub(super) model: String,
    /// `2xx`, `4xx`, `5xx`, or `gone`: the client hung up.
    pub(super) class: &'static str,
}
names!(RequestLabels: policy, model);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ModelLabels {
    pub(super) policy: String,
    pub(super) model: String,
}
names!(ModelLabels: policy, model);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BudgetLabels {
    pub(super) policy: String,
    pub(super) budget: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UnpricedLabels {
    pub(super) policy: String,
    pub(super) model: String,
    /// What is not known: `no_price`, `no_rate`, `no_usage`.
    pub(super) reason: &'static str,
}
names!(UnpricedLabels: policy, model);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PolicyLabels {
    pub(super) policy: String,
}
names!(PolicyLabels: policy);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) model: String,
    pub(super) outcome: &'static str,
}
names!(OutcomeLabels: model);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndLabels {
    pub(super) policy: String,
    pub(super) outcome: &'static str,
}
names!(EndLabels: policy);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WantedLabels {
    pub(super) model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FallbackLabels {
    pub(super) policy: String,
    pub(super) from: String,
    pub(super) to: String,
}
names!(FallbackLabels: policy, from, to);

/// Of a copy of a request that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CopyLabels {
    pub(super) policy: String,
    pub(super) model: String,
    /// `answered`, `refused` by the model, or how it failed, in the words of attempts and broken answers.
    pub(super) outcome: String,
}
names!(CopyLabels: policy, model);

/// Of a copy of a request that was not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SkippedLabels {
    pub(super) policy: String,
    pub(super) model: String,
    pub(super) reason: String,
}
names!(SkippedLabels: policy, model);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TokenLabels {
    pub(super) policy: String,
    pub(super) model: String,
    /// Where the tokens belong: see `Tokens`.
    pub(super) kind: &'static str,
}
names!(TokenLabels: policy, model);

/// The attributes of OpenTelemetry's GenAI metrics. One that is absent is no label at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GenAiLabels {
    pub(super) operation: &'static str,
    pub(super) provider: &'static str,
    /// The name that the client called, where it stands for something.
    pub(super) request_model: Option<String>,
    /// The ModelDeployment that answered.
    pub(super) response_model: Option<String>,
    pub(super) token_type: Option<&'static str>,
    pub(super) error: Option<String>,
}

impl Names for GenAiLabels {
    fn names(&self, see: &mut dyn FnMut(&str)) {
        for name in self.request_model.iter().chain(&self.response_model) {
            see(name);
        }
    }
}

impl EncodeLabelSet for GenAiLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let labels = [
            ("gen_ai_operation_name", Some(self.operation)),
            ("gen_ai_provider_name", Some(self.provider)),
            ("gen_ai_request_model", self.request_model.as_deref()),
            ("gen_ai_response_model", self.response_model.as_deref()),
            ("gen_ai_token_type", self.token_type),
            ("error_type", self.error.as_deref()),
        ];
        for (name, value) in labels {
            if let Some(value) = value {
                (name, value).encode(encoder.encode_label())?;
            }
        }
        Ok(())
    }
}

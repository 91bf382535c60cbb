//! What a model costs: its accelerators by the hour, its development by the month. Exact: integer nano-dollars, never floats.

use crate::api::Settings;
use crate::api::model_deployment::{Cost, ModelDeploymentStatus, SelfHosted};
use crate::api::money::written;

use super::workload::Seen;
use super::{pod, split};

/// `status` with what its pods cost, and the development of `own`, as far as settings and specification say so.
#[must_use]
pub fn with_cost(status: ModelDeploymentStatus, own: &SelfHosted, settings: &Settings) -> ModelDeploymentStatus {
    let replicas = u128::try_from(status.replicas.unwrap_or(0)).unwrap_or(0);
    let cost = Cost {
        per_hour_usd: per_hour(own, settings, replicas).map(written),
        development_per_month_usd: per_month(own).map(written),
    };
    ModelDeploymentStatus {
        cost: (cost != Cost::default()).then_some(cost),
        ..status
    }
}

/// A status that only says how many replicas there are, and what they cost.
#[must_use]
pub fn counted(seen: &Seen, own: &SelfHosted, settings: &Settings) -> ModelDeploymentStatus {
    let status = ModelDeploymentStatus {
        replicas: Some(seen.total),
        ready_replicas: Some(seen.available),
        ..ModelDeploymentStatus::default()
    };
    with_cost(status, own, settings)
}

/// What one replica costs by the hour, in nano-dollars.
#[must_use]
pub fn price_of_replica(own: &SelfHosted, settings: &Settings) -> Option<u128> {
    per_hour(own, settings, 1)
}

/// In nano-dollars. A profile without a device has the price of a pod.
fn per_hour(own: &SelfHosted, settings: &Settings, replicas: u128) -> Option<u128> {
    let accelerator = own.accelerator.as_ref()?;
    let profile = pod::profile(own, settings).ok()?;
    let price = profile.price_per_hour_usd.as_ref()?.nanos()?;
    let count = if profile.resource.is_some() { accelerator.count } else { 1 };
    let devices = u128::try_from(count).ok()? * u128::try_from(split::nodes(own)).ok()?;
    Some(u128::from(price) * devices * replicas)
}

/// In nano-dollars, rounded up: what is spread must not come to less than it was.
fn per_month(own: &SelfHosted) -> Option<u128> {
    let custom = own.custom.as_ref()?;
    let months = u128::try_from(custom.amortized_over_months?).ok().filter(|months| *months > 0)?;
    Some(u128::from(custom.development_cost_usd.as_ref()?.nanos()?).div_ceil(months))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(own: &str, replicas: i32) -> Option<Cost> {
        let settings =
            "acceleratorProfiles: {l4: {resource: nvidia.com/gpu, pricePerHourUSD: '0.80'}, cpu: {pricePerHourUSD: '0.10'}, bare: {}}";
        let own: SelfHosted = serde_saphyr::from_str(&format!("{{engine: {{kind: VLLM}}, {own}}}")).unwrap();
        let status = ModelDeploymentStatus {
            replicas: Some(replicas),
            ..ModelDeploymentStatus::default()
        };
        with_cost(status, &own, &serde_saphyr::from_str(settings).unwrap()).cost
    }

    #[test]
    fn costs_are_exact_and_unknown_ones_are_left_out() {
        let of = |hour: Option<&str>, month: Option<&str>| {
            Some(Cost {
                per_hour_usd: hour.map(str::to_owned),
                development_per_month_usd: month.map(str::to_owned),
            })
        };
        let custom = "custom: {baseModel: b, developmentCostUSD: '417000', amortizedOverMonths: 24}";
        for (own, replicas, expected) in [
            ("accelerator: {profile: l4, count: 2}", 3, of(Some("4.8"), None)),
            (
                "accelerator: {profile: l4, count: 2}, parallelism: {nodes: 2}",
                3,
                of(Some("9.6"), None),
            ),
            ("accelerator: {profile: l4}", 0, of(Some("0"), None)),
            ("accelerator: {profile: cpu}", 3, of(Some("0.3"), None)),
            ("accelerator: {profile: bare}", 3, None),
            ("replicas: 2", 2, None),
            (custom, 1, of(None, Some("17375"))),
            (
                "custom: {baseModel: b, developmentCostUSD: '10', amortizedOverMonths: 3}",
                1,
                of(None, Some("3.333333334")),
            ),
        ] {
            assert_eq!(cost(own, replicas), expected, "{own}");
        }
    }

    #[test]
    fn a_price_that_is_none_is_refused_with_how_to_write_it() {
        let settings = "acceleratorProfiles: {l4: {pricePerHourUSD: '0,80'}}";
        let refused = serde_saphyr::from_str::<Settings>(settings).unwrap_err().to_string();
        assert!(
            refused.contains("is not an amount of US dollars; write it as \"0.80\""),
            "{refused}"
        );
    }
}

//! Moves of objects as moves of those that depend on them: by a label, by what a specification names, gathered where all are looked at together.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::orphans;
use crate::api::model_deployment::{ApiSource, KeyRef};
use crate::api::{EvalJob, ModelDeployment};
use crate::cluster::Known;
use crate::plan::cache;
use crate::plan::fingerprint::digest;
use crate::plan::names::{CACHE_LABEL, Key, asked_parts};
use crate::plan::scaled_object::ScaledObject;
use crate::plan::scaling::others;

/// What is done for all objects at once is done at most this often. Longer than the debounce of controllers, which begins anew at each move: a policy
/// that every model wakes would otherwise wait until none has moved for that long, which in a large portfolio is never.
const GATHER: Duration = Duration::from_millis(500);

/// When something else is told: another price book, or that KEDA is there.
pub(super) fn changes<T: Send + Sync + 'static>(told: watch::Receiver<T>) -> impl Stream<Item = ()> + Send {
    futures::stream::unfold(told, async |mut told| {
        told.changed().await.ok()?;
        Some(((), told))
    })
}

/// Moves that come within [`GATHER`] of each other as one.
pub(super) fn gathered(moves: impl Stream<Item = ()> + Unpin + Send) -> impl Stream<Item = ()> + Send {
    futures::stream::unfold(moves, async |mut moves| {
        moves.next().await?;
        tokio::time::sleep(GATHER).await;
        while let Poll::Ready(Some(())) = futures::poll!(moves.next()) {}
        Some(((), moves))
    })
}

/// The owner that a child's label names, in the child's namespace.
pub(super) fn labelled<C, K>(
    children: impl Stream<Item = Arc<C>> + Send + 'static,
    label: &'static str,
) -> impl Stream<Item = ObjectRef<K>> + Send
where
    C: Resource + Send + Sync + 'static,
    K: Resource<DynamicType = ()> + 'static,
{
    children.filter_map(async move |child| {
        let name = child.labels().get(label)?;
        Some(ObjectRef::new(name).within(&child.namespace()?))
    })
}

/// The models that others scale, or did until they were given something else.
pub(super) fn scaled_by(
    moved: impl Stream<Item = Arc<HorizontalPodAutoscaler>> + Send,
    known: Arc<Known<HorizontalPodAutoscaler>>,
) -> impl Stream<Item = ObjectRef<ModelDeployment>> + Send {
    let mut scaled: HashMap<Key, Key> = HashMap::new();
    moved.flat_map(move |scaler| {
        let key = Key::of(&*scaler);
        // One that is gone scales nothing any more, and is not remembered.
        let now = known.get(&key).and_then(|scaler| others::model(&scaler));
        let before = match &now {
            Some(model) => scaled.insert(key, model.clone()),
            None => scaled.remove(&key),
        };
        let earlier = before.filter(|before| Some(before) != now.as_ref());
        futures::stream::iter(now.into_iter().chain(earlier).map(|model| reference(&model)).collect::<Vec<_>>())
    })
}

/// The caches that moves are about.
pub(super) fn cache_of<C: Resource + Send + Sync + 'static>(
    moved: impl Stream<Item = Arc<C>> + Send + 'static,
) -> impl Stream<Item = Key> + Send {
    moved.filter_map(async move |object| Some(Key::new(object.namespace()?, object.labels().get(CACHE_LABEL)?)))
}

pub(super) fn models_reading(models: &[Arc<ModelDeployment>], cache: &Key) -> Vec<ObjectRef<ModelDeployment>> {
    let reads_it = |md: &&Arc<ModelDeployment>| cache::name(md).as_ref() == Some(cache);
    models.iter().filter(reads_it).map(|md| reference(&Key::of(&**md))).collect()
}

pub(super) fn reference<K: Resource<DynamicType = ()>>(key: &Key) -> ObjectRef<K> {
    ObjectRef::new(&key.name).within(&key.namespace)
}

/// A part of a spec that names an object.
pub(super) type Reference = fn(&ApiSource) -> Option<&KeyRef>;

pub(super) fn models_naming(models: &[Arc<ModelDeployment>], named: &Key, part: Reference) -> Vec<ObjectRef<ModelDeployment>> {
    let names_it = |md: &&Arc<ModelDeployment>| orphans::named(md, part).as_ref() == Some(named);
    models.iter().filter(names_it).map(|md| reference(&Key::of(&**md))).collect()
}

pub(super) fn evaluations_of(evaluations: &[Arc<EvalJob>], model: &Key) -> Vec<ObjectRef<EvalJob>> {
    let asks_it = |job: &&Arc<EvalJob>| {
        let baseline = job.spec.baseline.iter().filter_map(|baseline| baseline.model.as_ref());
        // A verdict is about the judge as well.
        let named = job
            .spec
            .targets
            .models
            .iter()
            .chain(baseline)
            .map(String::as_str)
            .chain(job.spec.judges());
        let mut asked = named.map(|name| asked_parts(name).0);
        // Whether its labels are, or were, those that are selected, the reconcile finds out.
        let may_select = job.spec.targets.selector.is_some();
        Key::of(&***job).namespace == model.namespace && (may_select || asked.any(|asked| asked == model.name))
    };
    evaluations.iter().filter(asks_it).map(|job| reference(&Key::of(&**job))).collect()
}

/// Moves of what `part` shows of objects, and of whether they are there: others write times and readings into theirs every few seconds.
pub(super) fn of_part<K>(
    moved: impl Stream<Item = Arc<K>> + Send,
    known: Arc<Known<K>>,
    part: fn(&K) -> Value,
) -> impl Stream<Item = Arc<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut seen: HashMap<Key, String> = HashMap::new();
    moved.filter_map(move |object| {
        let key = Key::of(&*object);
        let now = known.get(&key).map(|object| digest(&part(&object)));
        let before = match &now {
            Some(now) => seen.insert(key, now.clone()),
            None => seen.remove(&key),
        };
        std::future::ready((before != now).then_some(object))
    })
}

/// What of a HorizontalPodAutoscaler says whom it scales.
pub(super) fn whom_it_scales(scaler: &HorizontalPodAutoscaler) -> Value {
    let metadata = &scaler.metadata;
    json!([
        scaler.spec.scale_target_ref,
        scaler.spec.min_replicas,
        metadata.labels,
        metadata.owner_references,
        metadata.deletion_timestamp
    ])
}

/// What of one of ours says whether it does.
pub(super) fn how_it_scales(scaler: &HorizontalPodAutoscaler) -> Value {
    let status = scaler.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let said: Vec<Value> = conditions
        .iter()
        .map(|said| {
            json!([
                said.type_,
                said.status,
                said.reason,
                said.message.as_ref().filter(|_| said.status != "True")
            ])
        })
        .collect();
    let metadata = &scaler.metadata;
    json!([
        scaler.spec,
        metadata.labels,
        metadata.annotations,
        metadata.deletion_timestamp,
        said,
        status.and_then(|status| status.last_scale_time.clone())
    ])
}

/// What of a ScaledObject of ours says whether KEDA follows it.
pub(super) fn how_keda_scales(object: &ScaledObject) -> Value {
    let conditions = object.status.as_ref().map(|status| &status.conditions);
    let metadata = &object.metadata;
    json!([
        object.spec,
        metadata.labels,
        metadata.annotations,
        metadata.deletion_timestamp,
        conditions
    ])
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::unbounded;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;

    use super::*;

    #[test]
    fn a_model_moves_the_evaluations_that_ask_it_and_those_that_it_judges() {
        let job = |name: &str, scorer: &str| -> Arc<EvalJob> {
            let suite = format!("{{name: s, exemplars: {{dataset: {{uri: 'https://h/f.jsonl'}}}}, scorer: {scorer}}}");
            let spec = format!("{{targets: {{models: [m]}}, schedule: {{cron: '0 0 1 1 *'}}, suites: [{suite}]}}");
            Arc::new(serde_saphyr::from_str(&format!("{{metadata: {{name: {name}, namespace: n}}, spec: {spec}}}")).unwrap())
        };
        let jobs = [job("plain", "{exact: {}}"), job("judged", "{judge: {model: 'j:a'}}")];
        let moved = |model: &str| {
            evaluations_of(&jobs, &Key::new("n", model))
                .into_iter()
                .map(|moved| moved.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(moved("m"), ["plain", "judged"]);
        assert_eq!(moved("j"), ["judged"]);
        assert!(moved("a").is_empty());
    }

    #[tokio::test]
    async fn times_that_others_write_into_their_objects_are_no_moves() {
        let (store, mut writer) = reflector::store::<ScaledObject>();
        let known = Arc::new(Known::new(store));
        let (moved, moves) = unbounded();
        let mut moves = std::pin::pin!(of_part(moves, known, how_keda_scales));
        let object = |active: &str| -> ScaledObject {
            serde_saphyr::from_str(&format!(
                "{{metadata: {{name: a, namespace: n}}, spec: {{scaleTargetRef: {{apiVersion: a, kind: b, name: c}}, triggers: []}}, status: {{conditions: [{{type: Active, status: '{active}'}}]}}}}"
            ))
            .unwrap()
        };
        let mut tells = |event: Event<ScaledObject>, object: ScaledObject| {
            writer.apply_watcher_event(&event);
            moved.unbounded_send(Arc::new(object)).unwrap();
            futures::FutureExt::now_or_never(moves.next()).is_some()
        };
        let mut later = object("True");
        later.metadata.resource_version = Some("9".to_owned());
        assert!(tells(Event::Apply(object("True")), object("True")), "it is new");
        assert!(!tells(Event::Apply(later.clone()), later), "nothing else is said");
        assert!(tells(Event::Apply(object("False")), object("False")));
        assert!(tells(Event::Delete(object("False")), object("False")), "it is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn what_all_objects_wake_runs_while_they_go_on_moving() {
        let every = Duration::from_millis(50);
        let (moved, moves) = unbounded();
        let begin = tokio::time::Instant::now();

        tokio::spawn(async move {
            for _ in 0..200 {
                tokio::time::sleep(every).await;
                moved.unbounded_send(()).unwrap();
            }
        });
        let runs = gathered(moves).count().await;

        let took = begin.elapsed();
        assert!(
            took < 200 * every + 2 * GATHER,
            "the last move is not forgotten, nor waited for: {took:?}"
        );
        assert!((10..=20).contains(&runs), "{runs} runs in {took:?}");
    }
}

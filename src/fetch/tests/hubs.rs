//! Fetches from the hub.

use super::*;

#[tokio::test]
async fn a_repository_is_fetched_whole_and_each_byte_once() {
    let world = World::new().await;
    let (marker, standing) = world.fetch_with("hf://org/name", &world.options).await;
    let marker = marker.unwrap();
    world.assert_whole();
    assert_eq!(
        (marker.listing.revision, marker.bytes, marker.listing.files.len()),
        (world.hub.commit(), TOTAL, 3)
    );
    assert_eq!(world.hub.seen().content_bytes, TOTAL);
    assert_eq!(
        (standing.phase, standing.bytes_fetched, standing.files_done),
        (Phase::Complete, TOTAL, 3)
    );
}

#[tokio::test]
async fn a_plan_knows_the_size_and_gets_no_content() {
    let world = World::new().await;
    let listing = plan(&Location::parse("hf://org/name").unwrap(), &world.options).await.unwrap();
    assert_eq!((listing.revision.as_str(), listing.bytes()), (world.hub.commit().as_str(), TOTAL));
    let checks: Vec<&str> = listing
        .files
        .iter()
        .map(|file| match file.check {
            Check::Size => "size",
            Check::Sha256(_) => "sha256",
            Check::GitBlob(_) => "git",
        })
        .collect();
    assert_eq!(checks, ["git", "sha256", "git"]);
    assert_eq!(world.hub.seen().content_bytes, 0);
}

#[tokio::test]
async fn one_file_of_many_can_be_asked_for() {
    let world = World::new().await;
    let marker = world.fetch("hf://org/name@main/config.json").await.unwrap();
    assert_eq!(marker.bytes, SMALL.len() as u64);
    assert_eq!(world.hub.seen().content_bytes, SMALL.len() as u64);
    let none = world.fetch("hf://org/name@main/model.gguf").await.unwrap_err();
    assert_eq!(none.reason, Reason::SourceNotFound);
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_not_to_its_storage() {
    let world = World::new().await;
    world.hub.set(|script| script.token = Some("hf_secret".into()));
    let url = world.hub.url();
    let with_token = options(&[("HF_ENDPOINT", &url), ("HF_TOKEN", "hf_secret\n")]);
    world.fetch_with("hf://org/name", &with_token).await.0.unwrap();
    world.assert_whole();
    let seen = world.hub.seen();
    assert!(!seen.is_token_leaked);
    assert_eq!(seen.content_bytes, TOTAL);
}

#[tokio::test]
async fn each_refusal_of_the_hub_says_who_must_act() {
    let world = World::new().await;
    let url = world.hub.url();
    let reason = async |uri: &str, token: &str| {
        let options = options(&[("HF_ENDPOINT", &url), ("HF_TOKEN", token)]);
        world.fetch_with(uri, &options).await.0.unwrap_err().reason
    };
    assert_eq!(reason("hf://org/name@v9", "").await, Reason::RevisionNotFound);
    assert_eq!(reason("hf://org/other", "").await, Reason::SourceNotFound);
    world.hub.set(|script| script.token = Some("hf_good".into()));
    assert_eq!(reason("hf://org/name", "").await, Reason::SourceNotFound);
    assert_eq!(reason("hf://org/name", "hf_bad").await, Reason::Unauthorized);
    world.hub.set(|script| script.is_gated = true);
    assert_eq!(reason("hf://org/name", "hf_good").await, Reason::GatedModel);
}

#[tokio::test]
async fn a_busy_hub_is_asked_again() {
    let world = World::new().await;
    world.hub.set(|script| script.busy = (2, 0));
    world.fetch("hf://org/name").await.unwrap();
    world.assert_whole();
}

#[tokio::test]
async fn a_hub_that_stays_busy_is_left_to_a_later_run() {
    let world = World::new().await;
    world.hub.set(|script| script.busy = (usize::MAX, 0));
    let failure = world.fetch("hf://org/name").await.unwrap_err();
    assert!(failure.reason.time_may_heal(), "{failure}");
    assert!(failure.message.contains("429") && failure.message.contains("3 times"), "{failure}");
}

#[tokio::test]
async fn connections_that_break_off_go_on_where_they_were() {
    let world = World::new().await;
    world.hub.set(|script| script.cut = (usize::MAX, 100 << 10));
    world.fetch("hf://org/name").await.unwrap();
    world.assert_whole();
    assert_eq!(world.hub.seen().content_bytes, TOTAL);
}

#[tokio::test]
async fn a_fetch_that_failed_half_way_gets_only_the_rest_the_next_time() {
    let world = World::new().await;
    let one = Options {
        parallel: 1,
        ..world.options.clone()
    };
    // The small file, most of the first part of the large one, and nothing more.
    world.hub.set(|script| script.cut = (2, 200 << 10));
    let (_, first) = tokio::join!(
        async {
            while world.hub.counted() <= SMALL.len() as u64 {
                tokio::task::yield_now().await;
            }
            world.hub.set(|script| script.busy = (usize::MAX, 0));
        },
        world.fetch_with("hf://org/name", &one)
    );
    assert_eq!(first.0.unwrap_err().reason, Reason::Unreachable);
    let done = first.1.bytes_done;
    assert!(done > SMALL.len() as u64 && done < TOTAL, "{done}");

    world.hub.seen();
    world.hub.set(|script| *script = hub::Script::default());
    let (second, standing) = world.fetch_with("hf://org/name", &one).await;
    second.unwrap();
    world.assert_whole();
    assert_eq!(world.hub.seen().content_bytes, TOTAL - done);
    assert_eq!(standing.bytes_fetched, TOTAL - done);
}

#[tokio::test]
async fn a_fetch_that_was_killed_goes_on_where_it_was() {
    let world = World::new().await;
    let done = world.fetch_half("hf://org/name", 300 << 10).await;
    assert!(names(world.target.path()).contains(&"model.safetensors.part".to_owned()));
    let (rest, standing) = world.fetch_with("hf://org/name", &world.options).await;
    rest.unwrap();
    world.assert_whole();
    // What the killed one had under way may have been written after it was looked at, and is not got again either.
    assert!(standing.bytes_fetched <= TOTAL - done);
}

#[tokio::test]
async fn bytes_that_are_there_are_hashed_again() {
    let world = World::new().await;
    world.fetch_half("hf://org/name", 300 << 10).await;
    let part = world.target.path().join("model.safetensors.part");
    let mut bytes = fs::read(&part).unwrap();
    bytes[0] ^= 1;
    fs::write(&part, bytes).unwrap();
    world.fetch("hf://org/name").await.unwrap();
    world.assert_whole();
}

#[tokio::test]
async fn wrong_bytes_are_got_once_more_and_never_kept() {
    let world = World::new().await;
    world.hub.set(|script| script.wrong = 1);
    world.fetch("hf://org/name").await.unwrap();
    world.assert_whole();

    let world = World::new().await;
    world.hub.set(|script| script.wrong = usize::MAX);
    let failure = world.fetch("hf://org/name").await.unwrap_err();
    assert_eq!(failure.reason, Reason::ChecksumMismatch);
    let names = names(world.target.path());
    assert!(
        !names.contains(&"config.json".to_owned()) && !names.contains(&".portfolio-complete.json".to_owned()),
        "{names:?}"
    );
    world.hub.set(|script| script.wrong = 0);
    world.fetch("hf://org/name").await.unwrap();
    world.assert_whole();
}

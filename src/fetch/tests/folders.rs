//! What a fetch finds in its folder, and what it leaves there.

use super::*;

#[tokio::test]
async fn a_complete_folder_needs_no_network_when_the_commit_is_pinned() {
    let world = World::new().await;
    world.fetch(&world.pinned()).await.unwrap();
    world.hub.seen();
    let (again, standing) = world.fetch_with(&world.pinned(), &world.options).await;
    again.unwrap();
    assert_eq!(world.hub.seen(), hub::Seen::default());
    assert_eq!(
        (standing.phase, standing.bytes_done, standing.bytes_fetched),
        (Phase::Complete, TOTAL, 0)
    );
}

#[tokio::test]
async fn a_complete_folder_needs_one_request_when_it_is_not() {
    let world = World::new().await;
    world.fetch("hf://org/name").await.unwrap();
    world.hub.seen();
    world.fetch("hf://org/name").await.unwrap();
    assert_eq!(world.hub.seen().requests, 1);
    // The commit that it holds is pinned by whoever names it.
    world.fetch(&world.pinned()).await.unwrap();
    assert_eq!(world.hub.seen().requests, 0);
}

#[tokio::test]
async fn a_complete_folder_outlives_the_hub() {
    let World {
        source: _source,
        target,
        hub,
        options,
    } = World::new().await;
    let (location, folder) = (Location::parse("hf://org/name").unwrap(), target.path());
    run(&location, folder, &options, &meter("")).await.unwrap();
    drop(hub);
    run(&location, folder, &options, &meter("")).await.unwrap();
    let other = Location::parse("hf://org/name@v2").unwrap();
    assert_eq!(
        run(&other, folder, &options, &meter("")).await.unwrap_err().reason,
        Reason::Unreachable
    );
}

#[tokio::test]
async fn a_folder_that_lost_a_file_gets_that_file() {
    let world = World::new().await;
    world.fetch(&world.pinned()).await.unwrap();
    fs::remove_file(world.target.path().join("config.json")).unwrap();
    world.hub.seen();
    world.fetch(&world.pinned()).await.unwrap();
    world.assert_whole();
    assert_eq!(world.hub.seen().content_bytes, SMALL.len() as u64);
}

#[tokio::test]
async fn a_revision_that_moved_does_not_change_a_complete_folder() {
    let world = World::new().await;
    let first = world.hub.commit();
    world.fetch("hf://org/name").await.unwrap();
    fs::write(world.source.path().join("config.json"), "{}").unwrap();
    let second = world.hub.commit_again().unwrap();
    let failure = world.fetch("hf://org/name").await.unwrap_err();
    assert_eq!(failure.reason, Reason::FolderInUse);
    assert!(failure.message.contains(&first) && failure.message.contains(&second), "{failure}");
    assert_eq!(fs::read_to_string(world.target.path().join("config.json")).unwrap(), SMALL);
}

#[tokio::test]
async fn what_an_unfinished_fetch_left_of_another_revision_goes() {
    let world = World::new().await;
    world.fetch_half("hf://org/name", 300 << 10).await;
    fs::remove_file(world.source.path().join("config.json")).unwrap();
    fs::write(world.source.path().join("model.safetensors"), large(2)).unwrap();
    fs::write(world.source.path().join("new.json"), "[]").unwrap();
    world.hub.commit_again().unwrap();
    world.fetch("hf://org/name").await.unwrap();
    let mut names = names(world.target.path());
    names.sort();
    assert_eq!(
        names,
        [
            ".portfolio-complete.json",
            ".portfolio-fetch.lock",
            "model.safetensors",
            "new.json",
            "sub"
        ]
    );
    assert!(fs::read(world.target.path().join("model.safetensors")).unwrap() == large(2));
}

#[tokio::test]
async fn a_file_of_somebody_else_is_not_touched() {
    let world = World::new().await;
    let precious = world.target.path().join("config.json");
    fs::write(&precious, "precious").unwrap();
    for _ in 0..2 {
        let failure = world.fetch("hf://org/name").await.unwrap_err();
        assert_eq!(failure.reason, Reason::FolderInUse);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
    assert_eq!(world.hub.seen().content_bytes, 0);
    let part = world.target.path().join("model.safetensors.part");
    fs::write(&part, "precious").unwrap();
    fs::write(&precious, SMALL).unwrap();
    assert_eq!(world.fetch("hf://org/name").await.unwrap_err().reason, Reason::FolderInUse);
    assert_eq!(fs::read_to_string(&part).unwrap(), "precious");
    fs::remove_file(&part).unwrap();
    // One that is right is as good as ours.
    world.fetch("hf://org/name").await.unwrap();
    assert_eq!(world.hub.seen().content_bytes, LARGE as u64);
}

#[tokio::test]
async fn a_volume_that_is_too_small_is_told_before_the_first_byte() {
    let world = World::new().await;
    let full = Options {
        free_bytes: |_| Ok(LARGE as u64),
        ..world.options.clone()
    };
    let failure = world.fetch_with("hf://org/name", &full).await.0.unwrap_err();
    assert_eq!(failure.reason, Reason::NoSpace);
    assert!(failure.message.contains(&format!("free {} bytes", SMALL.len())), "{failure}");
    assert_eq!(world.hub.seen().content_bytes, 0);
    // What is there already needs no room.
    world.fetch_half("hf://org/name", 300 << 10).await;
    world.fetch_with("hf://org/name", &full).await.0.unwrap();
}

#[tokio::test]
async fn two_fetches_into_one_folder_take_turns() {
    let world = World::new().await;
    let (first, second) = tokio::join!(world.fetch("hf://org/name"), world.fetch("hf://org/name"));
    assert_eq!(first.unwrap().listing, second.unwrap().listing);
    world.assert_whole();
    assert_eq!(world.hub.seen().content_bytes, TOTAL);
}

#[test]
fn the_free_bytes_of_a_volume_are_known() {
    assert!(free_bytes(&std::env::temp_dir()).is_ok());
    assert!(free_bytes(Path::new("/nonexistent")).is_err());
}

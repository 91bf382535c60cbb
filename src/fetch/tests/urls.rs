//! Fetches of one file by its URL. The storage of the hub is a server of plain files.

use super::super::source::Source;
use super::*;

async fn world() -> (World, String) {
    let world = World::new().await;
    let url = format!("{}/storage/model.safetensors", world.hub.url());
    (world, url)
}

fn sha256_of_large() -> String {
    listing::hex(digest::digest(&digest::SHA256, &large(1)).as_ref())
}

#[tokio::test]
async fn a_file_is_fetched_and_its_checksum_pins_it() {
    let (world, url) = world().await;
    let uri = format!("{url}#sha256={}", sha256_of_large());
    let marker = world.fetch(&uri).await.unwrap();
    assert_eq!(marker.listing.revision, sha256_of_large());
    assert!(fs::read(world.target.path().join("model.safetensors")).unwrap() == large(1));
    world.hub.seen();
    world.fetch(&uri).await.unwrap();
    assert_eq!(world.hub.seen(), hub::Seen::default());
}

#[tokio::test]
async fn without_a_checksum_the_version_of_the_server_pins_it() {
    let (world, url) = world().await;
    let done = world.fetch_half(&url, 300 << 10).await;
    let (rest, standing) = world.fetch_with(&url, &world.options).await;
    rest.unwrap();
    assert!(standing.bytes_fetched <= LARGE as u64 - done);

    fs::write(world.source.path().join("model.safetensors"), large(2)).unwrap();
    world.hub.commit_again().unwrap();
    assert_eq!(world.fetch(&url).await.unwrap_err().reason, Reason::FolderInUse);
}

#[tokio::test]
async fn a_wrong_checksum_is_told() {
    let (world, url) = world().await;
    let failure = world.fetch(&format!("{url}#sha256={}", "0".repeat(64))).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ChecksumMismatch);
    assert!(!world.target.path().join("model.safetensors").exists());
}

#[tokio::test]
async fn a_file_that_changes_on_the_way_is_an_error_and_not_a_mixture() {
    let (world, url) = world().await;
    let location = Location::parse(&url).unwrap();
    let source = Source::new(&location, &world.options).unwrap();
    let listing = source.list(&location, &world.options, None).await.unwrap();
    fs::write(world.source.path().join("model.safetensors"), large(2)).unwrap();
    world.hub.commit_again().unwrap();
    let failure = source.open(&listing.revision, &listing.files[0], 10..20).await.err().unwrap();
    assert_eq!(failure.reason, Reason::SourceChanged);
    assert!(failure.reason.time_may_heal());
}

#[tokio::test]
async fn a_trickle_is_as_good_as_silence() {
    let trickle = || {
        let bytes = futures::stream::unfold(tokio::time::interval(Duration::from_millis(5)), async |mut ticks| {
            ticks.tick().await;
            Some((Ok::<_, std::io::Error>("x"), ticks))
        });
        let mut response = axum::response::Response::new(axum::body::Body::from_stream(bytes));
        response.headers_mut().insert("content-length", LARGE.into());
        response
    };
    let app = axum::Router::new().route("/model.gguf", axum::routing::get(async move || trickle()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/model.gguf", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (world, _) = world().await;
    let mut options = world.options.clone();
    options.pace.buffer_time = Duration::from_millis(50);
    let failure = world.fetch_with(&url, &options).await.0.unwrap_err();
    assert_eq!(failure.reason, Reason::Unreachable);
    assert!(failure.message.contains("model.gguf comes too slowly: "), "{failure}");
}

#[tokio::test]
async fn what_is_not_there_and_who_is_not_there_are_told_apart() {
    let (world, _) = world().await;
    let missing = format!("{}/storage/other", world.hub.url());
    assert_eq!(world.fetch(&missing).await.unwrap_err().reason, Reason::SourceNotFound);
    // A port that was free a moment ago, and that nobody listens on.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = world.fetch(&format!("http://{nobody}/x")).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Unreachable);
    assert!(failure.message.contains("127.0.0.1"), "{failure}");
}

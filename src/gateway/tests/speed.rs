//! What the gateway adds to a request on this machine: client, gateway and engine in one process, over loopback. Prints, asserts nothing:
//! `cargo test --release -p llm-portfolio gateway::tests::speed -- --ignored --nocapture`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::engine::{CONTENT, DONE, Engine, WORD, answers, streams};
use super::world::World;
use super::{ONLY_A, STREAM};
use crate::gateway::{Drain, run};

const REQUESTS: usize = 20_000;

/// What many requests took: half of them at most this long, and this much CPU each.
struct Taken {
    p50: Duration,
    cpu: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn what_the_gateway_adds() {
    let body = format!(
        "{{\"model\":\"assistant\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}",
        "x".repeat(1000)
    );
    let events: Vec<&str> = std::iter::repeat_n(WORD, 100).chain([DONE]).collect();
    let cases = [
        ("plain, 1 KB", body.as_str(), answers(200, "", CONTENT), CONTENT, 1),
        ("plain, 1 KB", body.as_str(), answers(200, "", CONTENT), CONTENT, 32),
        ("stream of 101 events", STREAM, streams(&events), "0\r\n\r\n", 1),
    ];
    for (name, body, script, end, clients) in cases {
        let engine = Engine::start(script).await;
        let world = World::over(&[&engine], ONLY_A);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = listener.local_addr().unwrap();
        let served = tokio::spawn(run(listener, world.gateway.clone(), CancellationToken::new(), Drain::default()));
        let engine = engine.url.strip_prefix("http://").unwrap().parse().unwrap();
        measure(gateway, body, end, clients, REQUESTS / 10).await;
        let direct = measure(engine, body, end, clients, REQUESTS).await;
        let through = measure(gateway, body, end, clients, REQUESTS).await;
        println!(
            "{name}, {clients} connections: p50 {:?} direct, {:?} through; CPU {:?} direct, {:?} through: +{:?}",
            direct.p50,
            through.p50,
            direct.cpu,
            through.cpu,
            through.cpu.saturating_sub(direct.cpu)
        );
        served.abort();
    }
}

async fn measure(address: SocketAddr, body: &str, end: &str, clients: usize, requests: usize) -> Taken {
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer claims.x.web\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let cpu = cpu_time();
    let clients = (0..clients).map(|_| tokio::spawn(client(address, request.clone(), end.to_owned(), requests / clients)));
    let mut times = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        times.extend(client.await.unwrap());
    }
    let cpu = cpu_time() - cpu;
    times.sort_unstable();
    Taken {
        p50: times[times.len() / 2],
        cpu: cpu / u32::try_from(times.len()).unwrap(),
    }
}

async fn client(address: SocketAddr, request: String, end: String, requests: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut times = Vec::new();
    let mut bytes = Vec::new();
    for _ in 0..requests {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        bytes.clear();
        while !bytes.ends_with(end.as_bytes()) {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        }
        times.push(began.elapsed());
    }
    times
}

/// Of all threads of this process.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

//! Engines behind pods that do not exist: whatever is sent to an address of theirs, on any port, reaches one fake server of this process,
//! which knows every model. For our own cluster only; it lasts as long as the value, and the latest one takes the place of others.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::cluster::Local;
use crate::command::output_with_input;
use crate::provider::{Options, Provider};

/// The addresses of fake pods; real ones have lower ones.
pub(crate) const ADDRESSES: &str = "198.19.64.0/18";
/// In the network of each node.
const TABLE: &str = "fakepods";
const DEADLINE: Duration = Duration::from_secs(10);

/// What answers for the pods that do not exist.
pub(crate) struct FakeEngines {
    /// The server behind all of them.
    pub(crate) provider: Provider,
    /// A process in the network of each node.
    nodes: Vec<i32>,
}

impl FakeEngines {
    pub(crate) async fn start(local: &Local) -> Result<Self> {
        let options = Options {
            tls: false,
            ..Options::default()
        };
        let provider = Provider::on(local.listen(0)?, options).await?;
        let url = provider.url();
        let rule = format!(
            "ip daddr {ADDRESSES} meta l4proto tcp dnat to {}",
            url.trim_start_matches("http://")
        );
        // Before the rules of Services, which are at -100.
        let rules = format!(
            "table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n chain pods {{ type nat hook prerouting priority -110; {rule}; }}\n \
             chain node {{ type nat hook output priority -110; {rule}; }}\n}}\n"
        );
        let nodes: Vec<i32> = (1..=local.nodes()?)
            .map(|node| local.parts().pid(&format!("node@{node}")))
            .collect::<Result<_>>()?;
        for node in &nodes {
            output_with_input(nft(*node).args(["-f", "-"]), rules.as_bytes(), DEADLINE)
                .await
                .context("leading the addresses of fake pods to a fake engine")?;
        }
        Ok(Self { provider, nodes })
    }
}

impl Drop for FakeEngines {
    fn drop(&mut self) {
        for node in &self.nodes {
            let done = nft(*node)
                .into_std()
                .args(["delete", "table", "ip", TABLE])
                .stdin(Stdio::null())
                .output();
            // A later one may have taken its place and gone already.
            drop(done);
        }
    }
}

fn nft(holder: i32) -> Command {
    let mut nft = Command::new("nsenter");
    nft.args(["-t", &holder.to_string(), "-n", "--", "nft"]);
    nft
}

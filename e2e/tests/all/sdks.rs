//! The real SDKs as clients of `portfolio serve` before the real engine, which is a second implementation of both protocols: each client is
//! answered by a server of its own protocol, and by one of the other's. The scripts in `sdks/` say what is asked and what must come.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::assets::sdks;
use e2e::local::{self, Server};
use tokio::process::Command;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sdks");
/// A script asks for some 300 tokens, of which a busy machine makes one or two a second.
const DEADLINE: Duration = Duration::from_secs(600);

/// The clients' key.
const KEY: &str = "sk-sdks";
/// The Secret that holds its SHA-256.
const CLIENT: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: sdks, labels: {llmportfolio.dev/api-key: "true", team: sdks}}
stringData: {sha256: 4076a347adecab2e130f6e76f63070acfa7a31bd132ddc8a50c02f3f3204850c}
"#;

/// A model by the name of its policy.
fn model(name: &str, api: &str) -> String {
    let header = |kind| format!("---\napiVersion: llmportfolio.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n");
    let clients = "clients: [{apiKeys: {matchLabels: {team: sdks}}}]";
    format!(
        "{}spec: {{api: {{model: smol, {api}}}}}\n{}spec: {{model: {name}, {clients}, rules: [{{targets: [{{model: {name}}}]}}]}}\n",
        header("ModelDeployment"),
        header("RoutingPolicy"),
    )
}

struct World {
    gateway: Server,
    engine: Server,
    _others: [Server; 2],
}

impl World {
    async fn new() -> Result<Self> {
        let template = format!("{SCRIPTS}/tools.jinja");
        let engine = local::engine(&[]).await?;
        let tools = local::engine(&["--chat-template-file", &template]).await?;
        let vectors = local::engine(&["--embeddings", "--pooling", "mean"]).await?;

        let openai = |url: &str| format!("provider: OpenAICompatible, endpoint: '{url}/v1'");
        let key = "credentials: {secretRef: {name: key, key: key}}";
        let anthropic = |url: &str| format!("provider: Anthropic, endpoint: '{url}/v1', {key}");
        let portfolio = [
            CLIENT.to_owned(),
            model("openai", &openai(&engine.url)),
            model("openai-tools", &openai(&tools.url)),
            model("anthropic", &anthropic(&engine.url)),
            model("anthropic-tools", &anthropic(&tools.url)),
            model("vectors", &openai(&vectors.url)),
        ];
        let file = std::env::temp_dir().join(format!("llm-portfolio-sdks-{}.yaml", std::process::id()));
        fs::write(&file, portfolio.concat())?;
        let secret = ["--secret-from-env", "default/key:key=KEY"];
        let gateway = local::serve(&file, &secret, &[("KEY", "none")]).await;
        fs::remove_file(&file)?;
        Ok(Self {
            gateway: gateway?,
            engine,
            _others: [tools, vectors],
        })
    }

    /// Runs a script, which says `ok` of each case and nothing on stderr, where warnings would be.
    async fn run(&self, command: &mut Command, family: &str, cases: usize) -> Result<String> {
        command.args([self.gateway.url.as_str(), KEY, family, &self.engine.url]);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(DEADLINE, output).await.context("it does not end")??;
        let (said, warned) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let is_good = output.status.success() && warned.is_empty();
        ensure!(is_good, "{command:?}\n{said}\n{warned}\n{}", self.gateway.said());
        let ok = said.lines().filter(|line| line.starts_with("ok ")).count();
        ensure!(ok == cases, "{ok} of {cases} cases: {said}");
        Ok(said.into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_of_openai_and_anthropic_are_served_by_models_of_both() -> Result<()> {
    let (libraries, (node, packages)) = tokio::try_join!(sdks::python(), sdks::node())?;
    let world = World::new().await?;
    let python = |script: &str| {
        let mut command = Command::new("python3");
        command.args(["-W", "error", "-B"]).arg(format!("{SCRIPTS}/{script}"));
        command.env("PYTHONPATH", &libraries);
        command
    };
    // Node looks for packages beside the script.
    let script = packages.join("openai_client.mjs");
    fs::copy(format!("{SCRIPTS}/openai_client.mjs"), &script)?;
    // One after another: each looks at what the engine is doing.
    for family in ["openai", "anthropic"] {
        let openai = world.run(&mut python("openai_client.py"), family, 14).await?;
        let anthropic = world.run(&mut python("anthropic_client.py"), family, 11).await?;
        println!("models of {family}: OpenAI's SDK\n{openai}Anthropic's\n{anthropic}");
    }
    // What is translated is the same for it as for Python's, and the engine is slow.
    let from_node = world.run(Command::new(&node).arg(&script), "openai", 12).await?;
    println!("models of openai: OpenAI's for Node\n{from_node}");
    Ok(())
}

//! The engines as data: what each runs as, listens on, is told and how it drains. A further engine is a further entry.

use std::fmt::Display;

use crate::api::model_deployment::{Engine, EngineKind};
use crate::plan::Invalid;

use super::source::Weights;

/// How long pods stay after they leave routing, so that open answers can end.
pub(super) struct Drain {
    /// Seconds between leaving the endpoints and SIGTERM.
    pub(super) before_stop: i64,
    /// Seconds the engine gets after SIGTERM.
    pub(super) after_stop: i64,
}

pub(super) struct Traits {
    image: Option<&'static str>,
    port: Option<u16>,
    pub(super) drain: Drain,
}

/// The table.
pub(super) fn traits(kind: EngineKind) -> Traits {
    match kind {
        // Ends open answers by itself when told how long it may take; new requests fail meanwhile, so it first leaves the endpoints.
        EngineKind::Vllm => Traits {
            image: Some("docker.io/vllm/vllm-openai:v0.32.0"),
            port: Some(8000),
            drain: Drain {
                before_stop: 5,
                after_stop: VLLM_SHUTDOWN_SECONDS + 5,
            },
        },
        // Cuts open answers on SIGTERM and sometimes hangs: it gets the time before, and little after.
        EngineKind::LlamaCpp => Traits {
            image: Some("ghcr.io/ggml-org/llama.cpp:server"),
            port: Some(8080),
            drain: Drain {
                before_stop: 30,
                after_stop: 5,
            },
        },
        EngineKind::Custom => Traits {
            image: None,
            port: None,
            drain: Drain {
                before_stop: 30,
                after_stop: 30,
            },
        },
    }
}

/// How long vLLM lets open answers run after SIGTERM.
const VLLM_SHUTDOWN_SECONDS: i64 = 60;

/// The image: the user's, the installer's, or the engine's own.
pub(super) fn image(engine: &Engine, installed: Option<&str>) -> Result<String, Invalid> {
    engine
        .image
        .as_deref()
        .or(installed)
        .or(traits(engine.kind).image)
        .map(str::to_owned)
        .ok_or_else(|| {
            Invalid::new(
                "spec.selfHosted.engine.image",
                "the engine Custom has no image of its own",
                "set it to the image that serves the model",
            )
        })
}

/// The port: the user's or the engine's own.
pub(super) fn port(engine: &Engine) -> Result<u16, Invalid> {
    engine.port.or(traits(engine.kind).port).ok_or_else(|| {
        Invalid::new(
            "spec.selfHosted.engine.port",
            "the engine Custom has no port of its own",
            "set it to the port the image listens on",
        )
    })
}

/// The arguments that make the engine serve `weights` under the name `served`, before the installer's and the user's own.
pub(super) fn arguments(
    kind: EngineKind,
    served: &str,
    port: u16,
    devices: i32,
    weights: &Weights,
    adapters: &[(String, String)],
) -> Vec<String> {
    let mut args = Args::default();
    match kind {
        EngineKind::Vllm => {
            match weights {
                Weights::InImage => {}
                Weights::Hub { repository, revision } => {
                    args.flag(repository);
                    if let Some(revision) = revision {
                        args.option("--revision", revision);
                    }
                }
                Weights::Volume { path, .. } => args.flag(path),
            }
            // With an adapter, the name that clients are routed by means the adapter, not its base.
            match adapters {
                [] => args.option("--served-model-name", served),
                [..] => args.option("--served-model-name", format!("{served}-base")),
            }
            args.option("--host", "0.0.0.0");
            args.option("--port", port);
            args.option("--shutdown-timeout", VLLM_SHUTDOWN_SECONDS);
            if devices > 1 {
                args.option("--tensor-parallel-size", devices);
            }
            if !adapters.is_empty() {
                args.flag("--enable-lora");
                args.flag("--lora-modules");
                for (name, path) in adapters {
                    args.flag(format!("{name}={path}"));
                    args.flag(format!("{served}={path}"));
                }
            }
        }
        EngineKind::LlamaCpp => {
            match weights {
                Weights::InImage => {}
                Weights::Hub { repository, .. } => {
                    args.option("--hf-repo", repository);
                }
                Weights::Volume { path, .. } => {
                    args.option("--model", path);
                }
            }
            args.option("--alias", served);
            args.option("--host", "0.0.0.0");
            args.option("--port", port);
            args.flag("--metrics");
        }
        EngineKind::Custom => {}
    }
    args.0
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, flag: impl Display) {
        self.0.push(flag.to_string());
    }

    fn option(&mut self, name: &str, value: impl Display) {
        self.flag(name);
        self.flag(value);
    }
}

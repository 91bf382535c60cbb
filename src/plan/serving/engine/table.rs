//! The engines: what each runs as, listens on, is told and how it drains. A further engine is a further entry.

use crate::api::model_deployment::EngineKind;

use super::{Asked, Drain, Flags, Group, Listed, Lora, Traits};

/// The entry of an engine.
pub(in crate::plan::serving) fn traits(kind: EngineKind) -> Traits {
    match kind {
        EngineKind::Vllm => VLLM,
        EngineKind::SgLang => SGLANG,
        EngineKind::LlamaCpp => LLAMA_CPP,
        EngineKind::Tgi => TGI,
        EngineKind::Custom => CUSTOM,
    }
}

const VLLM: Traits = Traits {
    image: Some("docker.io/vllm/vllm-openai:v0.32.0"),
    port: Some(8000),
    command: &[],
    health: "/health",
    file: None,
    flags: Some(Flags {
        repository: None,
        revision: Some("--revision"),
        path: None,
        name: Some("--served-model-name"),
        host: "--host",
        port: "--port",
        // How long open answers may run after SIGTERM; without it they are cut.
        always: &["--shutdown-timeout", "60"],
        tensor: Some("--tensor-parallel-size"),
        pipeline: Some("--pipeline-parallel-size"),
    }),
    lora: Some(Lora {
        listed: Listed::After(&["--enable-lora", "--lora-modules"]),
        // A batch asks for 4 at most; as many as a model may have stay in memory; ranks above 64 are rare, and room is taken for the highest.
        room: &["--max-loras", "4", "--max-cpu-loras", "32", "--max-lora-rank", "64"],
        from_hub: true,
        live: Some(("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True")),
        base: None,
        asked: Asked::Name,
    }),
    // By itself, without Ray. A worker has no server: it ends with the leader's engine, and the leader's with it.
    group: Some(Group {
        each: &[
            "--distributed-executor-backend",
            "mp",
            "--nnodes",
            "$(LWS_GROUP_SIZE)",
            "--node-rank",
            "$(LWS_WORKER_INDEX)",
            "--master-addr",
            "$(LWS_LEADER_ADDRESS)",
        ],
        worker: &["--headless"],
    }),
    // Ends open answers by itself within its shutdown timeout; new requests fail meanwhile, so it first leaves the endpoints.
    drain: Drain {
        before_stop: 5,
        after_stop: 65,
    },
};

const SGLANG: Traits = Traits {
    image: Some("docker.io/lmsysorg/sglang:v0.5.19"),
    port: Some(30000),
    command: &["python3", "-m", "sglang.launch_server"],
    health: "/health",
    file: None,
    flags: Some(Flags {
        repository: Some("--model-path"),
        revision: Some("--revision"),
        path: Some("--model-path"),
        name: Some("--served-model-name"),
        host: "--host",
        port: "--port",
        always: &["--enable-metrics"],
        tensor: Some("--tp-size"),
        pipeline: Some("--pp-size"),
    }),
    // A name without a colon means the base model, whatever adapters there are.
    lora: Some(Lora {
        listed: Listed::After(&["--lora-paths"]),
        room: &[],
        from_hub: true,
        live: None,
        base: None,
        asked: Asked::BaseAndName,
    }),
    // Any rank but 0 serves nothing, without being told.
    group: Some(Group {
        each: &[
            "--nnodes",
            "$(LWS_GROUP_SIZE)",
            "--node-rank",
            "$(LWS_WORKER_INDEX)",
            "--dist-init-addr",
            "$(LWS_LEADER_ADDRESS):20000",
        ],
        worker: &[],
    }),
    // After SIGTERM it answers what it has begun, for as long as it is let.
    drain: Drain {
        before_stop: 5,
        after_stop: 60,
    },
};

const LLAMA_CPP: Traits = Traits {
    image: Some("ghcr.io/ggml-org/llama.cpp:server"),
    port: Some(8080),
    command: &[],
    health: "/health",
    file: Some(".gguf"),
    flags: Some(Flags {
        repository: Some("--hf-repo"),
        revision: None,
        path: Some("--model"),
        name: Some("--alias"),
        host: "--host",
        port: "--port",
        always: &["--metrics"],
        // It uses every device that it sees.
        tensor: None,
        pipeline: None,
    }),
    lora: None,
    // Its pods would need a program (rpc-server) that its image does not have.
    group: None,
    // Cuts open answers on SIGTERM and sometimes hangs: it gets the time before, and little after.
    drain: Drain {
        before_stop: 30,
        after_stop: 5,
    },
};

const TGI: Traits = Traits {
    image: Some("ghcr.io/huggingface/text-generation-inference:3.3.5"),
    port: Some(8080),
    command: &[],
    health: "/health",
    file: None,
    flags: Some(Flags {
        repository: Some("--model-id"),
        revision: Some("--revision"),
        path: Some("--model-id"),
        name: None,
        host: "--hostname",
        port: "--port",
        always: &[],
        tensor: Some("--num-shard"),
        pipeline: None,
    }),
    // An adapter of the hub has no other name than its repository's, and requests could not name it. It answers with the base model to
    // any name that it does not know, but knows one for that.
    lora: Some(Lora {
        listed: Listed::In("LORA_ADAPTERS"),
        room: &[],
        from_hub: false,
        live: None,
        base: Some("tgi"),
        asked: Asked::Name,
    }),
    group: None,
    // After SIGTERM it takes no new requests and ends the open ones within 90 s.
    drain: Drain {
        before_stop: 5,
        after_stop: 95,
    },
};

/// Nothing is known of it, so it gets time before and after.
const CUSTOM: Traits = Traits {
    image: None,
    port: None,
    command: &[],
    health: "/health",
    file: None,
    flags: None,
    lora: None,
    // Its own program looks at the variables.
    group: Some(Group { each: &[], worker: &[] }),
    drain: Drain {
        before_stop: 30,
        after_stop: 30,
    },
};

//! The `portfolio` command: one binary for the operator, the gateway, the evaluator and the offline tools.

use std::process::ExitCode;

use clap::Parser;
use llm_portfolio::command::Command;

/// Gives memory that has been free for a second back to the system.
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs language models as one portfolio: APIs, open models and custom models.
#[derive(Parser)]
#[command(name = "portfolio", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("portfolio: {error:#}");
            ExitCode::FAILURE
        }
    }
}

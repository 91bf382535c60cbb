//! The subcommands: each wires the parts it needs and runs until it is done. Nothing imports this but `main`.

mod address;
mod check;
mod crds;
mod evaluate;
mod evict;
mod explain;
mod fetch;
mod files;
mod gateway;
mod key;
mod limits;
mod lines;
mod operator;
mod out;
mod prices;
mod render;
mod score;
mod serve;
mod simulate;
mod start;
mod test;
mod times;

use std::process::ExitCode;

use clap::Subcommand;

/// What `portfolio` can do.
#[derive(Subcommand)]
pub enum Command {
    /// Prints the custom resource definitions.
    Crds,
    /// Runs the controllers.
    Operator(operator::Flags),
    /// Runs the data plane of a cluster.
    Gateway(gateway::Flags),
    /// Carries out one evaluation through the gateway and writes its report.
    Evaluate(evaluate::Flags),
    /// Fetches a model's weights into a folder: verified, and where an earlier one stopped.
    Fetch(fetch::Flags),
    /// Removes a folder that fetches filled, and no other.
    Evict(evict::Flags),
    /// Makes, lists and revokes clients' API keys.
    Key(key::Flags),
    /// Says why a model has as many replicas as it has: what was decided of late, from what, and when the next change can come.
    Explain(explain::Explain),
    /// Checks files offline: exits with 1 and names file, line, field and remedy when the cluster would refuse something.
    Check(check::Check),
    /// Prints every object that the operator would apply for some files.
    Render(render::Render),
    /// Decides requests by the policies of some files, and exits with 1 where a case expects something else: tests of policies.
    Test(test::Test),
    /// Scores what models answered to a public suite of questions, from recorded outputs: accuracy with its interval, and against a baseline. No model
    /// is asked.
    Score(score::Scored),
    /// Plays what was through the operator's decisions: what would it have done?
    #[command(subcommand)]
    Simulate(simulate::Simulate),
    /// Runs the gateway from files, without a cluster, and follows their changes.
    Serve(serve::Serve),
}

impl Command {
    /// Runs it to its end.
    ///
    /// # Errors
    /// What went wrong, with its context, as one line for a person.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Crds => crds::run(),
            Self::Operator(flags) => operator::run(flags),
            Self::Gateway(flags) => gateway::run(flags),
            Self::Evaluate(flags) => evaluate::run(flags),
            Self::Fetch(flags) => fetch::run(flags),
            Self::Evict(flags) => evict::run(&flags),
            Self::Key(flags) => key::run(flags),
            Self::Explain(explain) => explain.run(),
            Self::Check(check) => check.run(),
            Self::Render(render) => render.run(),
            Self::Test(test) => test.run(),
            Self::Score(score) => score.run(),
            Self::Simulate(simulate) => simulate.run(),
            Self::Serve(serve) => serve.run(),
        }
    }
}

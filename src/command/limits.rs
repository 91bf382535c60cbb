//! What a gateway takes at once: flags of the commands that run one, kept within what the system gives.

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::gateway::Options;
use crate::plan::quantity;

/// Descriptors for everything but clients and models: files, watches, the listener.
const OTHER_FILES: u64 = 128;

/// Flags that bound what a gateway takes at once.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Memory for requests that are being read or tried, what is made of them, and answers that are held until they are whole, together,
    /// such as 512Mi; who finds no room within 5 s is refused with 503, who never could with 413.
    ///
    /// A request counts once where its bytes pass; 4 times, and 256 bytes for each of its values, where it is written in another protocol;
    /// twice, and as much for its values, where it is read for a model that declares capabilities. An answer counts once, 4 times while
    /// it is written in another protocol. Not counted: answers up to 64 KiB, buffers of connections (some 64 KiB each), what a
    /// stream keeps of an event that is not complete, up to 3 MiB where its model sends such, and what a stream of /v1/responses that a
    /// model of another protocol answers keeps to repeat it at its end, up to 16 MiB.
    #[arg(long, value_name = "QUANTITY", default_value = "512Mi", value_parser = bytes)]
    max_body_memory: usize,
    /// Requests answered at once; one more is refused with 503.
    #[arg(long, value_name = "COUNT", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    max_requests: u32,
    /// Connections of clients served at once; requests that come by others are refused with 503. At most half of the file descriptors
    /// that the system gives: each may need one more, to a model.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
}

fn bytes(text: &str) -> Result<usize, String> {
    let bytes = quantity::bytes(text).and_then(|bytes| usize::try_from(bytes).ok());
    match bytes {
        Some(bytes) if bytes >= 1 << 20 => Ok(bytes),
        Some(_) | None => Err("must be a quantity from 1Mi on, such as 512Mi".to_owned()),
    }
}

impl Limits {
    /// Sets them, within what the system gives.
    pub(super) fn set(self, options: &mut Options) {
        let Self {
            max_body_memory,
            max_requests,
            max_connections,
        } = self;
        let most = connections(open_files());
        let wanted = u64::from(max_connections);
        if most < wanted {
            tracing::warn!(
                wanted,
                most,
                "the system gives too few file descriptors (ulimit -n) for --max-connections"
            );
        }
        options.max_body_bytes_together = max_body_memory;
        options.max_requests = usize::try_from(max_requests).unwrap_or(usize::MAX);
        options.max_connections = usize::try_from(wanted.min(most)).unwrap_or(usize::MAX);
    }
}

/// How many connections so many descriptors are enough for.
fn connections(files: Option<u64>) -> u64 {
    files.map_or(u64::MAX, |files| (files.saturating_sub(OTHER_FILES) / 2).max(1))
}

/// How many descriptors this process may have, after asking for all that it may ask for; `None`: any number.
fn open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let all = Rlimit { current: maximum, maximum };
    if setrlimit(Resource::Nofile, all).is_ok() {
        maximum
    } else {
        current
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cluster;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        limits: Limits,
    }

    fn given(flags: &[&str]) -> Result<Options, clap::Error> {
        let command = Command::try_parse_from([&["portfolio"], flags].concat())?;
        let mut options = Options::new(cluster::now);
        command.limits.set(&mut options);
        Ok(options)
    }

    #[test]
    fn flags_become_options_and_wrong_ones_are_named() {
        let options = given(&["--max-body-memory=64Mi", "--max-requests=7", "--max-connections=3"]).unwrap();
        assert_eq!(
            (options.max_body_bytes_together, options.max_requests, options.max_connections),
            (64 << 20, 7, 3)
        );
        for flag in [
            "--max-body-memory=64",
            "--max-body-memory=much",
            "--max-requests=0",
            "--max-connections=-1",
        ] {
            let error = given(&[flag]).err().unwrap().to_string();
            assert!(error.contains(flag.split('=').next().unwrap()), "{error}");
        }
    }

    #[test]
    fn without_flags_the_defaults_are_those_of_the_gateway() {
        let (options, own) = (given(&[]).unwrap(), Options::new(cluster::now));
        assert_eq!(options.max_body_bytes_together, own.max_body_bytes_together);
        assert_eq!(options.max_requests, own.max_requests);
        assert!(options.max_connections <= own.max_connections);
    }

    #[test]
    fn each_connection_has_a_descriptor_for_the_model_too() {
        assert_eq!(connections(None), u64::MAX);
        for (files, most) in [(0, 1), (128, 1), (1024, 448), (1 << 20, (1 << 19) - 64)] {
            assert_eq!(connections(Some(files)), most);
        }
        let most = connections(open_files());
        let options = given(&["--max-connections=4294967295"]).unwrap();
        assert_eq!(options.max_connections as u64, most.min(u64::from(u32::MAX)));
    }
}

//! The parts of the local cluster as processes, named `NAME@NODE`: started, stopped, killed, frozen and thawed from any process.
//!
//! ```text
//!           start                 freeze
//!   Gone ───────────▶ Running ◀──────────▶ Frozen
//!    ▲   stop, kill,     │         thaw       │
//!    └───── crash ───────┴─────── kill ───────┘
//! ```
//! Each part is remembered in a file with its process id *and* the moment that process began, so that a recycled id is left alone.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::command::tail_of;

/// Forking takes milliseconds; this is for a machine under heavy load.
const START: Duration = Duration::from_secs(10);

/// What a part is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has a process that runs or waits.
    Running,
    /// It is stopped by a signal and keeps all it holds.
    Frozen,
    /// It has no process.
    Gone,
}

/// All parts of one running cluster.
#[derive(Clone, Debug)]
pub struct Parts {
    layout: Layout,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    command: Vec<String>,
    process: Option<Process>,
}

/// A process that we started, told from a later one with the same id.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Process {
    id: i32,
    /// Clock ticks from boot to its start.
    started: u64,
    /// `nsenter` or `unshare`, which waits for it outside the namespaces and stops when it stops.
    wrapper: i32,
}

impl Parts {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// The names of all parts that were ever started.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.layout.parts()).context("no cluster is up: run `e2e up`")? {
            if let Some(name) = entry?.file_name().to_str().and_then(|file| file.strip_suffix(".json")) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// What a part is doing.
    pub fn state(&self, name: &str) -> Result<State> {
        Ok(self.record(name)?.process.map_or(State::Gone, Process::state))
    }

    /// Its process id, as the host counts.
    pub fn pid(&self, name: &str) -> Result<i32> {
        Ok(self.live(name)?.id)
    }

    /// Starts a part that is gone, as it was started first.
    pub fn start(&self, name: &str) -> Result<()> {
        let record = self.record(name)?;
        if record.process.is_some_and(|process| process.state() != State::Gone) {
            bail!("{name} runs already");
        }
        self.launch(name, record.command)
    }

    /// Asks a part to end (SIGTERM) and does not wait.
    pub fn stop(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::TERM)
    }

    /// Ends a part at once (SIGKILL) and waits until it is gone.
    pub fn kill(&self, name: &str) -> Result<()> {
        let process = self.live(name)?;
        process.kill()?;
        process.wait_gone(name)
    }

    /// Ends a part, if it runs, and forgets that there was one.
    pub(crate) fn forget(&self, name: &str) -> Result<()> {
        if self.pid(name).is_ok() {
            self.kill(name)?;
        }
        match std::fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("forgetting {name}")),
            _ => Ok(()),
        }
    }

    /// Stops a part in its tracks (SIGSTOP): connections stay open and nothing answers.
    pub fn freeze(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::STOP)
    }

    /// Lets a frozen part go on.
    pub fn thaw(&self, name: &str) -> Result<()> {
        self.live(name)?.thaw()
    }

    /// Starts every part that is gone and thaws every frozen one.
    pub fn restore(&self) -> Result<()> {
        for name in self.names()? {
            match self.state(&name)? {
                State::Running => {}
                State::Frozen => self.thaw(&name)?,
                State::Gone => self.start(&name)?,
            }
        }
        Ok(())
    }

    /// Starts a command as a part, inside the namespaces of its node, and remembers it.
    pub(crate) fn launch(&self, name: &str, command: Vec<String>) -> Result<()> {
        let holder = match name.split_once('@').with_context(|| format!("{name} is not NAME@NODE"))? {
            ("node", "1") => bail!("{name} holds everything: it starts with the cluster"),
            ("node", _) => self.pid("node@1")?,
            (_, node) => self.pid(&format!("node@{node}"))?,
        };
        let holder = holder.to_string();
        let enter = ["nsenter", "-t", &holder, "-m", "-p", "-n", "--"].map(str::to_owned);
        self.spawn(name, &enter, command)
    }

    /// Starts the first process of all, in namespaces of its own. When it ends, everything ends.
    pub(crate) fn launch_first(&self, command: Vec<String>) -> Result<()> {
        let unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"].map(str::to_owned);
        self.spawn("node@1", &unshare, command)
    }

    fn spawn(&self, name: &str, wrapper: &[String], command: Vec<String>) -> Result<()> {
        let log = self.layout.log(name);
        let out = File::options().create(true).append(true).open(&log)?;
        // `setsid`: the end of this terminal or test run is not the end of the cluster.
        let mut child = Command::new("setsid")
            .args(wrapper)
            .args(&command)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("setsid does not start")?;
        let wrapper = i32::try_from(child.id())?;
        let start = Instant::now();
        let process = loop {
            if let Some(process) = Process::child_of(wrapper) {
                break process;
            }
            if let Some(status) = child.try_wait()? {
                let how = status
                    .signal()
                    .map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
                bail!("{name} ended at once ({how}):\n{}", tail_of(&log, 15));
            }
            if start.elapsed() > START {
                bail!("{name} did not start within {START:?}:\n{}", tail_of(&log, 15));
            }
            std::thread::yield_now();
        };
        // Whoever started it collects it; if we end first, init does.
        std::thread::spawn(move || child.wait());
        self.remember(
            name,
            &Record {
                command,
                process: Some(process),
            },
        )
    }

    fn live(&self, name: &str) -> Result<Process> {
        match self.record(name)?.process {
            Some(process) if process.state() != State::Gone => Ok(process),
            _ => bail!("{name} is not running"),
        }
    }

    fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        send(self.live(name)?.id, signal).with_context(|| format!("signalling {name}"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.layout.parts().join(format!("{name}.json"))
    }

    fn record(&self, name: &str) -> Result<Record> {
        let Ok(text) = std::fs::read(self.file(name)) else {
            let known = self.names()?.join(" ");
            bail!("no part {name}; there are: {known}")
        };
        Ok(serde_json::from_slice(&text)?)
    }

    fn remember(&self, name: &str, record: &Record) -> Result<()> {
        let file = self.file(name);
        let temporary = file.with_extension("new");
        std::fs::write(&temporary, serde_json::to_vec_pretty(record)?)?;
        Ok(std::fs::rename(temporary, file)?)
    }
}

impl Process {
    /// The child that a wrapper forked, once it has become the command.
    fn child_of(wrapper: i32) -> Option<Self> {
        let children = std::fs::read_to_string(format!("/proc/{wrapper}/task/{wrapper}/children")).ok()?;
        let id = children.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            id,
            started: Stat::of(id)?.started,
            wrapper,
        })
    }

    fn state(self) -> State {
        match Stat::of(self.id) {
            Some(stat) if stat.started == self.started => match stat.state {
                'T' => State::Frozen,
                'Z' | 'X' => State::Gone,
                _ => State::Running,
            },
            _ => State::Gone,
        }
    }

    fn kill(self) -> Result<()> {
        send(self.id, Signal::KILL)?;
        // A stopped wrapper would never collect its child, and its namespace could not end.
        send(self.wrapper, Signal::CONT)
    }

    fn thaw(self) -> Result<()> {
        send(self.id, Signal::CONT)?;
        send(self.wrapper, Signal::CONT)
    }

    fn wait_gone(self, name: &str) -> Result<()> {
        let start = Instant::now();
        while self.state() != State::Gone {
            if start.elapsed() > START {
                bail!("{name} is still there {START:?} after SIGKILL");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Two fields of /proc/ID/stat.
struct Stat {
    state: char,
    started: u64,
}

impl Stat {
    fn of(id: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The second field is the name in parentheses and may contain anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        Some(Self {
            state,
            started: fields.nth(18)?.parse().ok()?,
        })
    }
}

fn send(id: i32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(id).context("a process id")?;
    match kill_process(pid, signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.with_context(|| format!("signal {signal:?} to process {id}")),
    }
}

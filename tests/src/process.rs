//! One of the real programs as a child process: started on port 0, ready when it says so, killed when dropped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::measure::usage::Cpu;
use crate::source;

/// How long anything is waited for that must come: never reached on a good day, however slow the machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where the program `name` is, in the profile of this test; builds all programs once per test process.
///
/// # Panics
/// When they do not build.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(name)
}

/// Where the example `name` is, likewise.
///
/// # Panics
/// When it does not build.
pub fn example(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let programs = program("client");
        let folder = programs.parent().expect("programs lie in a folder");
        cargo_build(folder, &["--examples"]);
        folder.join("examples")
    };
    FOLDER.get_or_init(build).join(name)
}

/// The build of `replica` in which rules can be broken by name, beside the others; `PLANT=NAME` in its environment breaks
/// one.
///
/// # Panics
/// When it does not build.
pub fn planted_replica() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        // Nobody of ours runs the other build from where this one is made: it is moved, and the other made again.
        let ordinary = program("replica");
        let folder = ordinary.parent().expect("programs lie in a folder");
        let planted = folder.join("replica-planted");
        cargo_build(folder, &["--bin", "replica", "--features", "cluster-tests/planted"]);
        fs::copy(&ordinary, &planted).expect("the programs' folder can be written");
        cargo_build(folder, &["--bin", "replica"]);
        planted
    };
    PROGRAM.get_or_init(build).clone()
}

fn build() -> PathBuf {
    // target/PROFILE/deps/this-test
    let this = std::env::current_exe().expect("a running test has a file");
    let built = |path: &Path| path.file_name().is_some_and(|name| name != "deps");
    let folder =
        this.ancestors().skip(1).find(|path| built(path)).expect("a test lies in a target folder").to_owned();
    let programs = ["nameserver", "replica", "frontend", "client"];
    cargo_build(&folder, &programs.map(|program| ["--bin", program]).concat());
    folder
}

/// Builds some of the workspace with the features of the whole of it, as whoever runs all tests has done: else all
/// libraries would be built twice.
fn cargo_build(folder: &Path, what: &[&str]) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    // What cargo has told this test of its own package: ring is built anew wherever that is another.
    let told = |name: &OsString| {
        ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.to_string_lossy().starts_with(start))
    };
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os().filter(|(name, _)| told(name)) {
        command.env_remove(name);
    }
    let done = command
        .args(["build", "--workspace", "--quiet", "--locked", "--profile", profile, "--target-dir"])
        .arg(folder.parent().expect("a profile's folder lies in the target folder"))
        .args(what)
        .current_dir(source::top())
        .status();
    assert!(done.is_ok_and(|status| status.success()), "the programs do not build");
}

/// What is round a process: nothing, in most tests.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// A program, and its arguments, that becomes the process: one that enters a namespace first, for example.
    pub through: Vec<String>,
    /// Another build of the program, to run instead.
    pub instead: Option<PathBuf>,
    /// Its environment, beside this test's own.
    pub environment: Vec<(String, String)>,
}

/// A program that is, or was, running.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: &'static str,
    args: Vec<String>,
    around: Around,
    log: PathBuf,
    child: Option<Child>,
    lines: Receiver<String>,
    ready: BTreeMap<String, String>,
}

impl Process {
    /// Starts `program`, and returns when it has said that it is ready. Its log is `NAME.log` in `folder`.
    ///
    /// # Errors
    /// When it ended instead, or took longer than [`PATIENCE`]; with what it wrote.
    pub fn start(name: &str, program: &'static str, args: Vec<String>, folder: &Path) -> Result<Self> {
        Self::start_in(Around::default(), name, program, args, folder)
    }

    /// As [`Process::start`], with this round it.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start_in(
        around: Around,
        name: &str,
        program: &'static str,
        args: Vec<String>,
        folder: &Path,
    ) -> Result<Self> {
        let mut this = Self {
            name: name.to_owned(),
            program,
            args,
            around,
            log: folder.join(format!("{name}.log")),
            child: None,
            lines: mpsc::channel().1,
            ready: BTreeMap::new(),
        };
        this.start_again()?;
        Ok(this)
    }

    /// Starts it with the same arguments, after it ended.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start_again(&mut self) -> Result<()> {
        self.launch()?;
        let said = self.lines.recv_timeout(PATIENCE);
        self.is_ready_by(said.ok())
    }

    /// Starts it with the same arguments, and does not wait until it is ready: ask [`Process::has_become_ready`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log)?;
        let itself = self.around.instead.clone().unwrap_or_else(|| program(self.program));
        let mut command = match self.around.through.split_first() {
            None => Command::new(itself),
            Some((through, args)) => {
                let mut command = Command::new(through);
                command.args(args).arg(itself);
                command
            }
        };
        let mut child = command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // What the tester's own environment says must not change a test.
            .env_remove("NAME_SERVER")
            .env_remove("POSTCODES")
            .env_remove("POSTCODE_DATA")
            .env_remove("NS_LISTEN")
            .env_remove("RUST_LOG")
            .env_remove("OMDB_API_KEY")
            .envs(self.around.environment.iter().cloned())
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        let output = child.stdout.take().context("its output is piped")?;
        let (tell, lines) = mpsc::channel();
        // Reads on until the program's end, so that it never writes into a broken pipe; the channel's end tells the end.
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        self.child = Some(child);
        self.lines = lines;
        Ok(())
    }

    /// Whether a launched process has become ready by now.
    ///
    /// # Errors
    /// When it ended instead.
    pub fn has_become_ready(&mut self) -> Result<bool> {
        match self.lines.try_recv() {
            Err(TryRecvError::Empty) => Ok(false),
            said => self.is_ready_by(said.ok()).map(|()| true),
        }
    }

    fn is_ready_by(&mut self, line: Option<String>) -> Result<()> {
        let Some(line) = line else {
            bail!("{} did not become ready; its log ends:\n{}", self.name, self.log_end());
        };
        self.ready = fields(&line).with_context(|| format!("{} said {line:?}", self.name))?;
        Ok(())
    }

    /// What its ready line says about `key`.
    ///
    /// # Panics
    /// When it says nothing about it.
    pub fn told(&self, key: &str) -> &str {
        self.ready
            .get(key)
            .unwrap_or_else(|| panic!("{} says nothing about {key}: {:?}", self.name, self.ready))
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.told("address").parse().expect("a ready line holds an address")
    }

    /// Its name, as registered.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything it wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Puts another value behind the flag `flag`, for the next start.
    pub fn set(&mut self, flag: &str, value: String) {
        let at = self.args.iter().position(|arg| arg == flag).expect("the flag was given at the first start");
        self.args[at + 1] = value;
    }

    /// Gives these arguments too, from the next start on.
    pub fn give(&mut self, args: &[&str]) {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
    }

    /// Takes the flag `flag` away, for the next start.
    pub fn unset(&mut self, flag: &str) {
        self.args.retain(|arg| arg != flag);
    }

    /// Puts something else round it, from the next start on.
    pub fn put_into(&mut self, around: Around) {
        self.around = around;
    }

    /// Whether it runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id, while it was not waited for.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().with_context(|| format!("{} does not run", self.name))?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// kill -9, and waits for the end.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.ended()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it goes on for more than [`PATIENCE`].
    pub fn ended(&mut self) -> Result<ExitStatus> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => bail!("{} said more than that it is ready: {line:?}", self.name),
            Err(RecvTimeoutError::Timeout) => bail!("{} does not end", self.name),
            Err(RecvTimeoutError::Disconnected) => {}
        }
        let mut child = self.child.take().with_context(|| format!("{} does not run", self.name))?;
        Ok(child.wait()?)
    }

    /// Bytes of memory that it holds.
    ///
    /// # Errors
    /// When it does not run.
    pub fn memory(&self) -> Result<u64> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name))?;
        Cpu::memory_of(pid)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; either way it is gone after the wait.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {} {}\n{}", self.name, self.args.join(" "), self.log_end());
        }
    }
}

/// The fields of a ready line, `PROGRAM ready key=value …`; values with blanks stand in double quotes.
fn fields(line: &str) -> Option<BTreeMap<String, String>> {
    let (_, mut rest) = line.split_once(" ready")?;
    let mut fields = BTreeMap::new();
    while !rest.trim_start().is_empty() {
        let (key, value) = rest.trim_start().split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(' ').unwrap_or((value, "")),
        };
        fields.insert(key.to_owned(), value.to_owned());
        rest = after;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_is_read_with_and_without_blanks() {
        let read = fields("replica ready name=replica.1 data=\"/a b/c\" groups=x,y").unwrap();
        assert_eq!((&*read["name"], &*read["data"], &*read["groups"]), ("replica.1", "/a b/c", "x,y"));
        assert!(fields("error: no").is_none());
    }
}

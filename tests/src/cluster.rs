//! A whole cluster of real programs: a name server, replicas, front ends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use common::clock::Clock;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Around, PATIENCE, Process, program};

/// What a cluster is started with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many replicas.
    pub replicas: u8,
    /// How many front ends.
    pub front_ends: u8,
    /// How many in-sync replicas an acknowledgement needs.
    pub min_in_sync: u8,
    /// How long a silent process keeps its names.
    pub ttl: Duration,
    /// A program that is told `replica` or `frontend` as its first argument, and takes the place of both: to host other
    /// services than the shipped ones.
    pub hosting: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self { replicas: 3, front_ends: 1, min_in_sync: 1, ttl: Duration::from_secs(3), hosting: None }
    }
}

/// Where one process of a cluster runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it listens.
    pub ip: IpAddr,
    /// What is round it.
    pub around: Around,
    /// Where its data are; else in the cluster's own folder.
    pub data: Option<PathBuf>,
    /// What else it is told.
    pub args: Vec<String>,
}

impl Default for Place {
    fn default() -> Self {
        Self { ip: Ipv4Addr::LOCALHOST.into(), around: Around::default(), data: None, args: Vec::new() }
    }
}

/// A running cluster. Everything of it is gone when it is dropped; after a failed test its logs are shown.
#[derive(Debug)]
pub struct Cluster {
    /// The name server.
    pub name_server: Process,
    /// `replica.1` and so on.
    pub replicas: Vec<Process>,
    /// The front ends.
    pub front_ends: Vec<Process>,
    folder: TempDir,
    /// What each replica and front end is told.
    common: Vec<String>,
    hosting: Option<&'static str>,
}

impl Cluster {
    /// Starts a cluster, and returns when it serves with all its replicas in sync.
    ///
    /// # Errors
    /// When a process did not become ready, or the cluster not whole.
    pub fn start(options: Options) -> Result<Self> {
        Self::start_in(options, |_| Place::default())
    }

    /// As [`Cluster::start`], with front ends that show their pages.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn with_pages(options: Options) -> Result<Self> {
        Self::start_in(options, |name| {
            let shown = name.starts_with("frontend").then_some(["--http", "127.0.0.1:0"]);
            Place { args: shown.into_iter().flatten().map(str::to_owned).collect(), ..Place::default() }
        })
    }

    /// As [`Cluster::start`], each process in the place that its name is given.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_in(options: Options, place: impl Fn(&str) -> Place) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let start = |name: &str, program: &'static str, data: Option<(&str, &str)>, args: &[&str]| {
            let place = place(name);
            let (program, mut all) = hosted(program, options.hosting);
            all.extend(["-l".to_owned(), SocketAddr::new(place.ip, 0).to_string()]);
            if !place.ip.is_loopback() {
                all.push("--insecure-bind".to_owned());
            }
            if let Some((flag, file)) = data {
                let data = place.data.unwrap_or_else(|| folder.path().join(file));
                all.extend([flag.to_owned(), data.to_string_lossy().into_owned()]);
            }
            all.extend(args.iter().map(|&arg| arg.to_owned()));
            if name.starts_with("frontend") {
                // Nobody of the real world is ever asked, and nobody looks at pages, unless a test is about that.
                let silent = [["--postcodes", "offline"], ["--http", "off"]];
                let unsaid = silent.into_iter().filter(|[flag, _]| !place.args.iter().any(|arg| arg == flag));
                all.extend(unsaid.flatten().map(str::to_owned));
            }
            all.extend(place.args);
            Process::start_in(place.around, name, program, all, folder.path())
        };
        let mut name_server = start("nameserver", "nameserver", Some(("--store", "nameserver.redb")), &[])?;
        let address = name_server.address().to_string();
        // After a restart everybody looks for it where it was.
        name_server.set("-l", address.clone());

        let ttl = format!("{}ms", options.ttl.as_millis());
        let common = ["-n", &address, "--ttl", &ttl];
        let min_in_sync = options.min_in_sync.to_string();
        let mut replicas = Vec::new();
        for n in 1..=options.replicas {
            let (name, number) = (format!("replica.{n}"), n.to_string());
            let first = ["--first", "--min-in-sync", &min_in_sync];
            let first: &[&str] = if n == 1 { &first } else { &[] };
            let args = [&[&*number], &common[..], first].concat();
            replicas.push(start(&name, "replica", Some(("--data-dir", &name)), &args)?);
        }
        let mut front_ends = Vec::new();
        for n in 1..=options.front_ends {
            front_ends.push(start(&format!("frontend.{n}"), "frontend", None, &common)?);
        }
        let common = common.map(str::to_owned).into();
        let cluster = Self { name_server, replicas, front_ends, folder, common, hosting: options.hosting };
        cluster.await_whole(options.replicas.into())?;
        Ok(cluster)
    }

    /// Starts one more replica, on an empty disk.
    ///
    /// # Errors
    /// When it did not become ready.
    pub fn add_replica(&mut self) -> Result<()> {
        let number = (self.replicas.len() + 1).to_string();
        let name = format!("replica.{number}");
        let (program, mut args) = hosted("replica", self.hosting);
        let data = self.data(&name).to_string_lossy().into_owned();
        args.extend(["--data-dir".to_owned(), data, number]);
        args.extend(self.common.iter().cloned());
        self.replicas.push(Process::start(&name, program, args, self.folder.path())?);
        Ok(())
    }

    /// Starts one more front end.
    ///
    /// # Errors
    /// When it did not become ready.
    pub fn add_front_end(&mut self) -> Result<()> {
        let name = format!("frontend.{}", self.front_ends.len() + 1);
        let (program, mut args) = hosted("frontend", self.hosting);
        args.extend(["-l", "127.0.0.1:0", "--postcodes", "offline", "--http", "off"].map(str::to_owned));
        args.extend(self.common.iter().cloned());
        self.front_ends.push(Process::start(&name, program, args, self.folder.path())?);
        Ok(())
    }

    /// Where `name` keeps its data: the file `nameserver.redb`, the directory of a replica.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asks for the status until it is as wanted, and returns it.
    ///
    /// # Errors
    /// When that takes more than [`PATIENCE`]; with what was seen last.
    pub fn await_status(&self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let clock = Clock::start();
        loop {
            // Each look is a process of its own: enough of a pause for those who are looked at.
            let status = self.status()?;
            if wanted(&status) {
                return Ok(status);
            }
            ensure!(clock.now().since_origin() < PATIENCE, "still not: {status:#}");
        }
    }

    /// Runs `client`, with the user's state kept apart from the tester's own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn client(&self, args: &[&str]) -> Result<Output> {
        Ok(self.client_command(args).output()?)
    }

    /// `client` with these words, to be run.
    pub fn client_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("client"));
        command
            .args(["-n", &self.name_server.address().to_string()])
            .args(args)
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env_remove("CLIENT_USER")
            .env_remove("CLIENT_OUTPUT");
        command
    }

    /// Runs `client --json`, and reads its lines.
    ///
    /// # Errors
    /// When it ends with another status than 0, or writes something else.
    pub fn json(&self, args: &[&str]) -> Result<Vec<Value>> {
        let output = self.client(&[&["--json"], args].concat())?;
        let text = String::from_utf8(output.stdout)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "client {args:?}: {}, {text}{said}", output.status);
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Returns when the group serves with this many replicas in sync, and all of them have applied what was committed.
    ///
    /// # Errors
    /// When that takes more than [`PATIENCE`].
    pub fn await_whole(&self, replicas: usize) -> Result<()> {
        let (replicas, patience) = (replicas.to_string(), format!("{}s", PATIENCE.as_secs()));
        self.json(&["cluster", "wait", "--replicas", &replicas, "--timeout", &patience]).map(drop)
    }

    /// `client cluster status`, as one object, whether or not every service is served.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn status(&self) -> Result<Value> {
        let output = self.client(&["--json", "cluster", "status"])?;
        let text = String::from_utf8(output.stdout)?;
        serde_json::from_str(&text).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The members of `just.hungry`.
    ///
    /// # Errors
    /// As [`Cluster::status`].
    pub fn members(&self) -> Result<Vec<Value>> {
        let status = self.status()?;
        let groups = status["groups"].as_array().context("a status has groups")?;
        let group = groups
            .iter()
            .find(|group| group["service"] == "just.hungry")
            .context("just.hungry is one of them")?;
        group["members"].as_array().cloned().context("a group has members")
    }

    /// Which of the replicas is the primary.
    ///
    /// # Errors
    /// When none is.
    pub fn primary(&self) -> Result<usize> {
        let members = self.members()?;
        let primary =
            members.iter().find(|member| member["role"] == "primary").context("the group has a primary")?;
        let named = |replica: &Process| primary["name"] == replica.name();
        self.replicas.iter().position(named).context("the primary is one of ours")
    }

    /// Where each replica that runs listens.
    pub fn replica_addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().filter(|replica| replica.pid().is_some()).map(Process::address).collect()
    }

    /// Every process.
    pub fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        std::iter::once(&mut self.name_server).chain(&mut self.replicas).chain(&mut self.front_ends)
    }
}

/// The program to start in the place of `program`, and its first arguments.
fn hosted(program: &'static str, hosting: Option<&'static str>) -> (&'static str, Vec<String>) {
    match hosting {
        Some(host) if program != "nameserver" => (host, vec![program.to_owned()]),
        _ => (program, Vec::new()),
    }
}

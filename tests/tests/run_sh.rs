//! `run.sh` with the real programs, without windows.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use cluster_tests::process::program;
use cluster_tests::source::top;
use serde_json::Value;
use tempfile::TempDir;

const UP: &str = "up --mode headless --ns-port 0 --http off --offline";

/// A folder with a copy of `run.sh`; stopped when dropped.
struct Folder(TempDir);

impl Folder {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::copy(top().join("run.sh"), folder.path().join("run.sh"))?;
        Ok(Self(folder))
    }

    fn command(&self, args: &str) -> Result<Command> {
        let programs = program("client").parent().context("a program lies in a folder")?.to_owned();
        let mut command = Command::new(self.0.path().join("run.sh"));
        command
            .args(args.split_whitespace())
            .env("BIN", programs)
            .env("XDG_STATE_HOME", self.0.path().join("state"))
            .env_remove("NAME_SERVER")
            .env_remove("NS_LISTEN")
            .stdin(Stdio::null());
        Ok(command)
    }

    fn run(&self, args: &str) -> Result<Output> {
        Ok(self.command(args)?.output()?)
    }

    /// What it prints; fails when it fails.
    fn good(&self, args: &str) -> Result<String> {
        let output = self.run(args)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "run.sh {args}: {}\n{said}{}", output.status, self.logs());
        Ok(String::from_utf8(output.stdout)?)
    }

    fn up(&self) -> Result<String> {
        self.good(UP)
    }

    fn json(&self, args: &str) -> Result<Vec<Value>> {
        let lines = self.good(&format!("client {args} --json"))?;
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    fn logs(&self) -> String {
        self.run("logs")
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// The process ids on record.
    fn pids(&self) -> Result<Vec<PathBuf>> {
        let mut pids = Vec::new();
        for entry in fs::read_dir(self.0.path().join(".run"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "pid") {
                let text = fs::read_to_string(path)?;
                pids.push(
                    PathBuf::from("/proc")
                        .join(text.split(' ').next().context("a record begins with a pid")?),
                );
            }
        }
        Ok(pids)
    }
}

/// Whether the process is there, and not only remembered for a parent that never asks.
fn lives(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing more can be done about what does not stop.
        let _ = self.run("down");
    }
}

#[test]
fn a_person_orders_kills_the_primary_orders_again_and_leaves_nothing_behind() -> Result<()> {
    let folder = Folder::new()?;
    let said = folder.up()?;
    for word in [
        "nameserver",
        "replica.3",
        "frontend.1",
        "./run.sh client",
        "./run.sh kill replica.1",
        "./run.sh down",
    ] {
        ensure!(said.contains(word), "up does not speak of {word}: {said}");
    }
    let place = "order place -u ann --item hamburger --postcode DH13LE";
    assert_eq!(folder.json(place)?[0]["no"], 1);

    let status = &folder.json("cluster status")?[0];
    let members = status["groups"][0]["members"].as_array().context("a group has members")?;
    let primary =
        members.iter().find(|member| member["role"] == "primary").context("one of them is the primary")?;
    let primary = primary["name"].as_str().context("it has a name")?.to_owned();
    folder.good(&format!("kill {primary}"))?;
    assert_eq!(folder.json(place)?[0]["no"], 2);
    assert_eq!(folder.json("order list -u ann")?.len(), 2);

    folder.good(&format!("restart {primary}"))?;
    folder.good("client cluster wait --replicas 3 --timeout 30s")?;
    let status = &folder.json("cluster status")?[0];
    assert_eq!(status["health"], "healthy");
    let members = status["groups"][0]["members"].as_array().context("a group has members")?;
    assert!(members.iter().all(|member| member["applied"] == members[0]["applied"]), "{members:?}");

    let again = folder.up()?;
    assert_eq!(again.matches("runs already").count(), 5, "{again}");
    folder.good("status")?;
    let pids = folder.pids()?;
    assert_eq!(pids.len(), 5);
    folder.good("down")?;
    assert!(!pids.iter().any(|pid| lives(pid)), "{pids:?}");

    // The next day everything is there.
    folder.up()?;
    assert_eq!(folder.json("order list -u ann")?.len(), 2);
    Ok(())
}

#[test]
fn in_tmux_each_process_has_a_pane_with_its_name() -> Result<()> {
    if Command::new("tmux").arg("-V").output().is_err() {
        println!("not run: tmux is not installed");
        return Ok(());
    }
    let folder = Folder::new()?;
    folder.good("up --mode tmux --ns-port 0 --http off --replicas 2 --offline")?;
    let port = fs::read_to_string(folder.0.path().join(".run/port"))?;
    let socket = format!("just-hungry-{}", port.trim());
    let panes =
        Command::new("tmux").args(["-L", &socket, "list-panes", "-a", "-F", "#{pane_title}"]).output()?;
    let panes = String::from_utf8(panes.stdout)?;
    let titles: Vec<_> = panes.lines().collect();
    assert_eq!(titles, ["nameserver", "replica.1", "replica.2", "frontend.1", "client"]);
    folder.good("kill replica.2")?;
    folder.good("restart replica.2")?;
    folder.good("client cluster wait --replicas 2 --timeout 30s")?;
    let pids = folder.pids()?;
    folder.good("down")?;
    assert!(!pids.iter().any(|pid| lives(pid)), "{pids:?}");
    assert!(!Command::new("tmux").args(["-L", &socket, "has-session"]).output()?.status.success());
    Ok(())
}

#[test]
fn the_stand_in_is_asked_in_place_of_the_web_and_fails_as_it_is_told() -> Result<()> {
    let folder = Folder::new()?;
    folder.good("up --mode headless --ns-port 0 --http off --replicas 1 --fake-apis")?;
    let source = |code: &str| -> Result<String> {
        Ok(folder.json(&format!("postcode check {code}"))?[0]["source"].to_string())
    };
    assert_eq!(source("DH13LE")?, "\"postcodes.io\"");
    folder.good("faults postcodes refuse")?;
    assert_eq!(source("M11AE")?, "\"getthedata\"");
    for (bad, code) in [
        ("faults postcodes hangs", 2),
        ("faults nobody hang", 2),
        ("faults postcodes", 2),
        ("faults postcodes {}", 2),
    ] {
        assert_eq!(folder.run(bad)?.status.code(), Some(code), "{bad}");
    }
    folder.good("faults postcodes none")?;
    // It has a key to the stand-in's OMDb, after a restart too.
    assert_eq!(folder.json("find inception")?[0]["omdb"], "asked");
    folder.good("restart frontend.1")?;
    assert_eq!(folder.json("find brazil")?[0]["omdb"], "asked");
    folder.good("kill fake-apis")?;
    assert_eq!(folder.run("faults postcodes none")?.status.code(), Some(3));
    assert_eq!(source("B33BU")?, "\"unconfirmed\"");
    // Where it was before, so that the front end finds it.
    folder.good("restart fake-apis")?;
    assert_ne!(source("LS104PT")?, "\"unconfirmed\"");
    let pids = folder.pids()?;
    assert_eq!(pids.len(), 4);
    folder.good("down")?;
    assert!(!pids.iter().any(|pid| lives(pid)), "{pids:?}");
    Ok(())
}

#[test]
fn two_folders_do_not_meet_and_fresh_forgets() -> Result<()> {
    let (one, other) = (Folder::new()?, Folder::new()?);
    one.up()?;
    other.up()?;
    one.json("order place -u ann --item pizza --postcode DH13LE")?;
    assert_eq!(one.json("order list -u ann")?.len(), 1);
    assert_eq!(other.json("order list -u ann")?.len(), 0);
    assert_eq!(one.run("up --fresh")?.status.code(), Some(4), "it asks, and nobody is there to answer");
    assert_eq!(one.json("order list -u ann")?.len(), 1);
    one.good(&format!("{UP} --fresh --yes"))?;
    assert_eq!(one.json("order list -u ann")?.len(), 0);
    Ok(())
}

#[test]
fn a_start_that_was_cut_off_is_finished_by_the_next() -> Result<()> {
    let folder = Folder::new()?;
    let mut cut_off = folder.command(UP)?.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut first = String::new();
    BufReader::new(cut_off.stdout.take().context("its output is piped")?).read_line(&mut first)?;
    assert!(first.contains("nameserver"), "{first}");
    cut_off.kill()?;
    cut_off.wait()?;
    folder.up()?;
    let pids = folder.pids()?;
    folder.good("down")?;
    assert!(!pids.iter().any(|pid| lives(pid)), "{pids:?}");
    Ok(())
}

#[test]
fn a_first_build_says_that_it_takes_long() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new()?;
    let target = folder.0.path().join("target");
    let program = |path: PathBuf| -> Result<()> {
        fs::create_dir_all(path.parent().context("a program lies in a folder")?)?;
        // A cargo that builds nothing.
        fs::write(&path, "#!/bin/sh\nexit 101\n")?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
    };
    program(folder.0.path().join("cargo"))?;
    let path = format!("{}:{}", folder.0.path().display(), std::env::var("PATH")?);
    let says_so = || -> Result<bool> {
        let mut command = folder.command(UP)?;
        let ended = command.env_remove("BIN").env("CARGO_TARGET_DIR", &target).env("PATH", &path).output()?;
        ensure!(ended.status.code() == Some(101), "{ended:?}");
        Ok(String::from_utf8(ended.stderr)?.contains("building for the first time: this takes some minutes"))
    };
    assert!(says_so()?);
    program(target.join("release/client"))?;
    assert!(!says_so()?);
    Ok(())
}

#[test]
fn a_taken_port_is_told_with_the_flag_that_changes_it() -> Result<()> {
    let folder = Folder::new()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let output = folder.run(&format!("up --mode headless --ns-port {}", taken.local_addr()?.port()))?;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr)?;
    assert!(said.contains("--ns-port"), "{said}");
    assert!(!folder.pids()?.iter().any(|pid| lives(pid)));
    Ok(())
}

#[test]
fn a_process_that_took_over_a_recorded_pid_is_left_alone() -> Result<()> {
    let folder = Folder::new()?;
    let mut stranger = Command::new("cat").stdin(Stdio::piped()).spawn()?;
    let run = folder.0.path().join(".run");
    fs::create_dir(&run)?;
    fs::write(run.join("replica.1.args"), "cat\n")?;
    fs::write(run.join("replica.1.pid"), format!("{} 12345\n", stranger.id()))?;
    assert_eq!(folder.run("kill replica.1")?.status.code(), Some(3));
    folder.good("down")?;
    assert!(stranger.try_wait()?.is_none(), "the stranger was ended");
    drop(stranger.stdin.take());
    stranger.wait()?;
    Ok(())
}

#[test]
fn bad_words_end_with_2_or_3_and_say_what_to_try() -> Result<()> {
    let folder = Folder::new()?;
    for (args, code) in [
        ("upp", 2),
        ("up --replicas", 2),
        ("up --replicas many", 2),
        ("up --mode screen", 2),
        ("up --fake-apis --offline", 2),
        ("faults postcodes hang", 3),
        ("--colour", 2),
        ("kill", 2),
        ("kill replica.9", 3),
        ("restart ../x", 3),
        ("status", 5),
    ] {
        let output = folder.run(args)?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(code), "{args}: {said}");
        assert!(said.starts_with("error: ") && said.contains("  try: "), "{args}: {said}");
    }
    Ok(())
}

/// The lines of a console block of the README that begin with a prompt, under this heading.
fn commands_under(readme: &str, heading: &str) -> Vec<String> {
    let section =
        readme.split("\n## ").find(|section| section.starts_with(heading)).expect("the README has it");
    let blocks = section.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

#[test]
fn what_the_readme_tells_to_type_works() -> Result<()> {
    let folder = Folder::new()?;
    let readme = fs::read_to_string(top().join("README.md"))?;
    let mut commands = commands_under(&readme, "Three minutes");
    commands.extend(commands_under(&readme, "In scripts"));
    ensure!(commands.len() > 12, "{commands:?}");
    for line in commands {
        // As it stands there, but for ports that somebody else may have.
        let line = line.replace("./run.sh up --mode headless", &format!("./run.sh {UP}"));
        // `./run.sh` lies in the folder; all else is as run.sh is started by the other tests.
        let mut shell = Command::new("bash");
        let run = folder.command("")?;
        for (name, value) in run.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.args(["-euo", "pipefail", "-c", &line]).current_dir(folder.0.path()).stdin(Stdio::null());
        let output = shell.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}: {}\n{said}", output.status);
    }
    assert_eq!(folder.json("orders -u bob")?.len(), 1);
    Ok(())
}

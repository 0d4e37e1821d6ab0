//! Names from the command line, and programs of one's own that call each other by name: the examples of
//! `docs/BUILDING_ON_IT.md`, on the real name server, with processes killed under them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::process::{PATIENCE, Process, example, program};
use cluster_tests::source::files;
use serde_json::Value;
use tempfile::TempDir;

/// A name server, and a place for its file.
struct House {
    folder: TempDir,
    name_server: Process,
}

/// A program of ours in the background; killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().context("its output is piped")?;
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        Ok(Self { child, lines })
    }

    fn line(&self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).context("it says something")
    }

    fn json(&self) -> Result<Value> {
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| line.clone())
    }
}

impl House {
    fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = folder.path().join("names.redb").to_string_lossy().into_owned();
        let args = ["--listen", "127.0.0.1:0", "--store", &store].map(str::to_owned).to_vec();
        let name_server = Process::start("nameserver", "nameserver", args, folder.path())?;
        Ok(Self { folder, name_server })
    }

    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env("NAME_SERVER", self.name_server.address().to_string());
        command.env("XDG_STATE_HOME", self.folder.path()).stdin(Stdio::null());
        command
    }

    fn client(&self, args: &[&str]) -> Command {
        self.command(&program("client"), &[&["--json"], args].concat())
    }

    fn run(&self, args: &[&str]) -> Result<Output> {
        Ok(self.client(args).output()?)
    }

    /// What a command that succeeds prints.
    fn json(&self, args: &[&str]) -> Result<Vec<Value>> {
        let output = self.run(args)?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The exit status and the code of one that fails.
    fn refused(&self, args: &[&str]) -> Result<(Option<i32>, String)> {
        let output = self.run(args)?;
        let said = String::from_utf8(output.stderr)?;
        let error: Value = serde_json::from_str(said.lines().last().context("an error is said")?)?;
        Ok((output.status.code(), error["error"]["code"].as_str().unwrap_or_default().to_owned()))
    }
}

#[test]
fn names_are_registered_watched_and_removed_from_the_command_line() -> Result<()> {
    let house = House::open()?;
    let registered =
        house.json(&["ns", "register", "printer", "127.0.0.1:631", "--tag", "floor=2"])?.remove(0);
    assert_eq!((&registered["name"], &registered["ttl_ms"]), (&"printer".into(), &Value::Null));
    assert_eq!((&registered["tags"][0], &registered["contract"]), (&"floor=2".into(), &"printer".into()));
    assert_eq!(
        house.refused(&["ns", "register", "printer", "127.0.0.1:632"])?,
        (Some(4), "name_held".to_owned())
    );
    let pyro = house.json(&["ns", "register", "odd", "PYRO:obj@127.0.0.1:4000"])?.remove(0);
    assert_eq!(pyro["address"], "PYRO:obj@127.0.0.1:4000");

    let watch = Running::start(&mut house.client(&["ns", "watch"]))?;
    // It tells what changes from when it has listed; a change that it tells shows that it has.
    let told = (0..).find_map(|n: u32| {
        let name = format!("probe-{n}");
        let registered = house.json(&["ns", "register", &name, "127.0.0.1:1"]);
        registered.ok()?;
        watch.lines.recv_timeout(Duration::from_millis(500)).ok()
    });
    ensure!(told.is_some_and(|line| line.contains(r#""change":"registered""#)));
    while watch.lines.recv_timeout(Duration::from_millis(300)).is_ok() {}

    let holder = ["ns", "register", "mayfly", "127.0.0.1:9", "--ttl", "1s", "--shared"];
    let mut holder = Running::start(&mut house.client(&holder))?;
    assert_eq!(holder.json()?["ttl_ms"], 1_000);
    let change = watch.json()?;
    assert_eq!(
        (&change["name"], &change["change"], &change["why"]),
        (&"mayfly".into(), &"registered".into(), &Value::Null)
    );
    assert_eq!((&change["sharing"], change["rev"].is_u64()), (&"shared".into(), true));
    holder.child.kill()?;
    let change = watch.json()?;
    assert_eq!(
        (&change["name"], &change["change"], &change["why"]),
        (&"mayfly".into(), &"removed".into(), &"expired".into())
    );

    assert_eq!(house.refused(&["ns", "remove", "printer"])?, (Some(4), "needs_yes".to_owned()));
    assert_eq!(house.json(&["--yes", "ns", "remove", "printer"])?[0]["name"], "printer");
    assert_eq!(watch.json()?["why"], "unregistered");
    assert_eq!(house.refused(&["ns", "lookup", "printer"])?, (Some(3), "name_unknown".to_owned()));
    assert!(!house.json(&["--yes", "ns", "remove", "--regex", "^probe-"])?.is_empty());
    let left = house.json(&["ns", "list"])?;
    assert_eq!(left.iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["Pyro.NameServer", "odd"]);

    let copy = house.json(&["ns", "snapshot"])?.remove(0);
    assert!(Path::new(copy["file"].as_str().context("a file")?).is_file());
    Ok(())
}

#[test]
fn a_watch_goes_on_when_the_name_server_comes_back() -> Result<()> {
    let mut house = House::open()?;
    house.json(&["ns", "register", "kept", "127.0.0.1:1"])?;
    let watch = Running::start(&mut house.client(&["ns", "watch"]))?;
    // What stands when it begins is not told: it has begun when it tells of the first name that came later.
    for number in 0.. {
        house.json(&["ns", "register", &format!("early.{number}"), "127.0.0.1:1"])?;
        if watch.lines.recv_timeout(Duration::from_millis(100)).is_ok() {
            break;
        }
    }
    while watch.lines.recv_timeout(Duration::from_millis(300)).is_ok() {}
    house.name_server.set("--listen", house.name_server.address().to_string());
    house.name_server.kill()?;
    house.name_server.start_again()?;
    house.json(&["ns", "register", "new", "127.0.0.1:2"])?;
    // What is new is told, once, and what stood is not: beside the new name that is the name server itself.
    let mut change = watch.json()?;
    while change["name"] == "Pyro.NameServer" {
        change = watch.json()?;
    }
    assert_eq!((&change["name"], &change["change"]), (&"new".into(), &"registered".into()));
    assert!(watch.lines.recv_timeout(Duration::from_millis(300)).is_err());
    Ok(())
}

#[test]
fn a_service_of_ones_own_takes_twenty_five_lines_and_is_called_by_name() -> Result<()> {
    for file in files().iter().filter(|file| file.path.starts_with("common/examples/greeting_")) {
        assert!(file.text.lines().count() <= 25, "{} has {} lines", file.path, file.text.lines().count());
    }
    let house = House::open()?;
    let (server, client) = (example("greeting_server"), example("greeting_client"));
    let _servers = [
        Running::start(&mut house.command(&server, &[]))?,
        Running::start(&mut house.command(&server, &[]))?,
    ];
    // The first call waits for somebody who provides it.
    let greeted = house.command(&client, &["Ann", "Bob"]).output()?;
    assert_eq!(String::from_utf8(greeted.stdout)?, "Hello, Ann\nHello, Bob\n");
    Ok(())
}

/// One of two providers is killed, the name server is killed and comes back, the other provider is told to stop once a
/// third has come: the caller sees none of it.
#[test]
fn a_calculator_with_two_providers_fails_no_call() -> Result<()> {
    const UPTO: u64 = 3_000;
    let mut house = House::open()?;
    let calculator = example("calculator");
    let serve = |house: &House| -> Result<Running> {
        let running = Running::start(&mut house.command(&calculator, &["serve"]))?;
        ensure!(running.line()?.starts_with("calculator ready"));
        Ok(running)
    };
    let (mut first, second) = (serve(&house)?, serve(&house)?);
    let sum = Running::start(&mut house.command(&calculator, &["sum", &UPTO.to_string()]))?;
    let listed = |house: &House| Ok::<_, anyhow::Error>(house.json(&["ns", "lookup", "calculator"])?.len());
    ensure!(listed(&house)? == 2);
    first.child.kill()?;
    house.name_server.set("--listen", house.name_server.address().to_string());
    house.name_server.kill()?;
    house.name_server.start_again()?;
    let _third = serve(&house)?;
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&second.child),
        rustix::process::Signal::TERM,
    )?;
    assert_eq!(sum.line()?, (UPTO * (UPTO + 1) / 2).to_string());
    Ok(())
}

//! Stock Pyro programs: Pyro5 and Pyro4 as the world has them, from `PyPI` into an environment of the tests' own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};
use nameserver::pyro::frame::{Dialect, Flags, Head, Kind, Outgoing};
use nameserver::pyro::serpent;

use crate::process::{PATIENCE, program};
use crate::source;

/// What is installed. Exactly these: our sentences are theirs.
const PACKAGES: [&str; 5] =
    ["Pyro5==5.17", "Pyro4==4.82", "serpent==1.43", "msgpack==1.2.4", "pytest==8.4.2"];

/// A Python with Pyro.
#[derive(Clone, Debug)]
pub struct Python {
    program: PathBuf,
}

/// A Python program that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Ends when it ends.
    output: BufReader<std::process::ChildStdout>,
    /// It is told to go on, or to stop, by a line.
    pub input: ChildStdin,
}

impl Python {
    /// The Python of these tests, made at the first call; or why there is none, said once per test that wanted it.
    pub fn find() -> Option<Self> {
        static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        match FOUND.get_or_init(|| make().map_err(|error| format!("{error:#}"))) {
            Ok(program) => Some(Self { program: program.clone() }),
            Err(why) => {
                println!("not run: no stock Pyro here: {}", why.lines().last().unwrap_or("no reason given"));
                None
            }
        }
    }

    /// The program itself.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where Pyro5's own tests are.
    pub fn pyro5_tests(&self) -> PathBuf {
        let folder = self.program.ancestors().nth(3).expect("FOLDER/environment/bin/python");
        folder.join("pyro5-5.17/tests")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(source::top().join("tests/tests/pyro"));
        // What the tester's own environment says must not change a test.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PYRO") {
                command.env_remove(name);
            }
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        command
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
        Ok(self.command(args).envs(environment.iter().copied()).stdin(Stdio::null()).output()?)
    }

    /// Runs a program that checks for itself, and shows what it said when it failed.
    ///
    /// # Errors
    /// When it failed.
    pub fn check(&self, args: &[&str], environment: &[(&str, &str)]) -> Result<String> {
        let output = self.run(args, environment)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{args:?} failed:\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    /// Starts a program that goes on, and returns its first line too.
    ///
    /// # Errors
    /// When it cannot be started, or ends without a word.
    pub fn start(&self, args: &[&str]) -> Result<(Running, String)> {
        let mut child = self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("its output is piped")?);
        let input = child.stdin.take().context("its input is piped")?;
        let mut running = Running { child, output, input };
        let said = running.line()?;
        Ok((running, said))
    }
}

impl Running {
    /// The next line that it says.
    ///
    /// # Errors
    /// When it ends instead.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the Python program ended");
        }
        Ok(line.trim_end().to_owned())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, and waits for the end.
    pub fn kill(&mut self) {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One Pyro5 connection, without Python.
#[derive(Debug)]
pub struct Wire(pub TcpStream);

impl Wire {
    /// Connects, and greets.
    ///
    /// # Errors
    /// When nobody is there, or we are not welcome.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut this = Self(stream);
        let hello = message(Kind::Connect, 0, "{'handshake':'hello','object':'Pyro.NameServer'}");
        this.call(&hello)?;
        Ok(this)
    }

    /// Sends a message, and returns the answer, header and all.
    ///
    /// # Errors
    /// When there is none, or it is a refusal.
    pub fn call(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        self.0.write_all(message)?;
        self.answer()
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// When there is none, or it is a refusal: with its payload.
    pub fn answer(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; Dialect::Five.header()];
        self.0.read_exact(&mut bytes)?;
        let head = Head::read(&bytes)?.context("a whole header")?;
        let start = bytes.len();
        bytes.resize(head.whole(), 0);
        self.0.read_exact(&mut bytes[start..])?;
        let text = || String::from_utf8_lossy(&bytes[start..]).into_owned();
        ensure!(!head.flags.has(Flags::EXCEPTION) && head.kind != Kind::ConnectFail, "refused: {}", text());
        Ok(bytes)
    }
}

/// A message of Pyro5 in serpent.
pub fn message(kind: Kind, flags: u16, literal: &str) -> Vec<u8> {
    let head = Head {
        dialect: Dialect::Five,
        kind,
        serializer: 1,
        flags: Flags(flags),
        sequence: 1,
        payload: 0,
        annotations: 0,
        correlation: None,
    };
    let mut out = Outgoing::new(head, None);
    out.bytes.extend(serpent::HEADER);
    out.bytes.extend(literal.as_bytes());
    out.finish(Flags(flags))
}

/// Makes the environment, once for all tests and processes; later runs find it.
fn make() -> Result<PathBuf> {
    let folder = program("client").parent().context("programs lie in a folder")?.join("pyro-stock");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    let (environment, made) = (folder.join("environment"), folder.join("made"));
    let python = environment.join("bin/python");
    let wanted = format!("{} and the source of the first", PACKAGES.join(" "));
    if fs::read_to_string(&made).is_ok_and(|made| made == wanted) && python.exists() {
        return Ok(python);
    }
    let venv = ["-m", "venv", "--clear"];
    step(
        Command::new("python3").args(venv).arg(&environment),
        "python3 -m venv (apt-get install python3-venv)",
    )?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"];
    step(Command::new(&python).args(pip).args(PACKAGES), "pip install")?;
    let download = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1"];
    let source = ["--no-deps", "--no-binary", ":all:", PACKAGES[0], "--dest"];
    step(Command::new(&python).args(download).args(source).arg(&folder), "pip download")?;
    let unpack = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
    let archive = folder.join("pyro5-5.17.tar.gz");
    step(Command::new(&python).args(["-c", unpack]).arg(archive).arg(&folder), "unpacking Pyro5's source")?;
    fs::write(made, wanted)?;
    Ok(python)
}

fn step(command: &mut Command, what: &str) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| what.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}", said.lines().last().unwrap_or("it failed"));
    Ok(())
}

//! A world of a test's own: its network, its mounts, its processes. Whatever the test leaves there, or whoever kills it,
//! all of it is gone with the world.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Error, Result, ensure};

use super::not_run;
use crate::process::program;

/// Set inside, to the test's name.
const INSIDE: &str = "CLUSTER_TESTS_WORLD";

/// Runs `test`, which is the test called `name`, in a world of its own: this program once more, with nothing but that
/// test to do.
///
/// # Errors
/// As `test`.
pub fn in_own_world(name: &str, needs: &[&str], test: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == name) {
        tool("ip", &["link", "set", "lo", "up"])?;
        return test();
    }
    if let Err(why) = possible(needs) {
        not_run(name, &why);
        return Ok(());
    }
    // Outside, where there is a way to a registry.
    program("client");
    let done = unshare()
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, name)
        .stdin(Stdio::null())
        .output()?;
    let (said, logged) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    // By these, so that the harness shows it when it shows the test's own output.
    print!("{said}");
    eprint!("{logged}");
    ensure!(done.status.success(), "it failed in its own world: {}", done.status);
    ensure!(said.contains("1 passed"), "there is no test called {name}");
    for line in logged.lines().filter_map(|line| line.strip_prefix("not run: ")) {
        super::tell(line);
    }
    Ok(())
}

/// Runs `work`, which is all that this program was started for, in a world of its own.
///
/// # Errors
/// As `work`, and when the machine does not allow it.
pub fn this_in_own_world(needs: &[&str], work: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        tool("ip", &["link", "set", "lo", "up"])?;
        return work();
    }
    possible(needs).map_err(Error::msg)?;
    program("client");
    let itself = std::env::current_exe()?;
    let done = unshare().arg(itself).args(std::env::args_os().skip(1)).env(INSIDE, "this").status()?;
    ensure!(done.success(), "it failed in its own world: {done}");
    Ok(())
}

/// What makes a world; the rest of the line is what runs in it.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command
}

/// Why these programs cannot be used on this machine.
///
/// # Errors
/// A sentence.
pub fn installed(needs: &[&str]) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    let missing = needs.iter().find(|need| !folders.iter().any(|folder| folder.join(need).is_file()));
    missing.map_or(Ok(()), |missing| Err(format!("{missing} is not installed")))
}

/// Why worlds, or what else the test `needs`, are not to be had on this machine.
fn possible(needs: &[&str]) -> Result<(), String> {
    installed(&["unshare", "ip"])?;
    installed(needs)?;
    let tried = unshare().arg("true").output().map_err(|error| error.to_string())?;
    if tried.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
    }
}

/// Runs a tool of the machine to its end.
///
/// # Errors
/// With what it said, when it failed.
pub fn tool(name: &str, args: &[&str]) -> Result<()> {
    let done = Command::new(name).args(args).output().with_context(|| format!("starting {name}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{name} {}: {said}", args.join(" "));
    Ok(())
}

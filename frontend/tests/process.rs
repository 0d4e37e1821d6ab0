//! The program as a person and a probe meet it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frontend"));
    for unset in ["NAME_SERVER", "PYRO_NS_HOST", "PYRO_NS_PORT", "RUST_LOG", "POSTCODES", "POSTCODE_DATA"] {
        command.env_remove(unset);
    }
    command.args(arguments);
    command
}

/// The address of a name server that never answers, as long as its listener is kept.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// What `path` says, and its status line before it.
fn get(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs a front end until it logs a line with `wanted`, hands that line to `then`, and kills it.
fn while_it_runs(arguments: &[&str], wanted: &str, then: impl FnOnce(&str)) {
    let mut child = command(arguments)
        .args(["--log", "info", "--log-format", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let line = log.lines().map_while(Result::ok).find(|line| line.contains(wanted));
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| then(&line.expect(wanted))));
    child.kill().unwrap();
    child.wait().unwrap();
    if let Err(panic) = checked {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_pages_answer_while_there_is_no_name_server() {
    let (_listener, names) = silent();
    while_it_runs(&["--name-server", &names, "--http", "127.0.0.1:0"], "pages are served", |line| {
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 "));
        let ready = get(address, "/readyz");
        assert!(
            ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("waiting for a name server\n"),
            "{ready}"
        );
    });
}

#[test]
fn an_address_that_others_reach_is_warned_of() {
    let (_listener, names) = silent();
    let open = ["--name-server", &names, "--listen", "0.0.0.0:0", "--http", "off", "--insecure-bind"];
    while_it_runs(&open, "anybody who reaches this address", |line| assert!(line.contains("WARN"), "{line}"));
}

#[test]
fn bad_flags_end_with_2_and_say_what_to_try() {
    let (_taken, address) = silent();
    for (arguments, host) in [
        (&["--listen", &address, "--http", "off"][..], "127.0.0.1"),
        (&["--http", &address], "127.0.0.1"),
        (&["--listen", "0.0.0.0:0"], "127.0.0.1"),
        (&["--http", "off", "--postcode-data", "no/such/file"], "127.0.0.1"),
        (&["--http", "off"], "no host"),
    ] {
        let ended = command(arguments).env("PYRO_NS_HOST", host).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.starts_with("error: ") && said.contains("\n  try: "), "{said}");
        assert!(!said.trim_end().contains("\n\n"), "{said}");
    }
}

//! Scripts: the same results as single calls, over one connection; the first failure, or all of them, with its line.

use std::io::Write as _;
use std::process::Output;

use super::*;

impl House {
    /// Runs the client with these words, and this on its standard input.
    fn client_with(&self, words: &[&str], input: &str) -> Output {
        let mut child = command(&self.name_server.to_string(), self.state(), words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A client that stops early closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

/// 200 lines of everything, some of which fail.
fn mixed() -> Vec<String> {
    let mut lines = Vec::new();
    for round in 1..=10 {
        let user = format!("user {round}, \"the\" #1");
        lines.extend([
            format!("user use '{user}'"),
            "--json menu".into(),
            "motd".into(),
            format!("cart add hamburger={round} chips"),
            "-o plain cart show".into(),
            "cart set chips=3".into(),
            "cart add caviar".into(),
            "--json order quote --delivery 2h --tip 0.78".into(),
            "order place".into(),
            "--json order place --postcode \"DH1 3LE\" --tip 1".into(),
            "order place --item apple --postcode dh13lg --expect 1.00".into(),
            "-o plain order place --item apple --postcode dh13lg --expect 1.99".into(),
            "order list -o plain".into(),
            "order cancel 1".into(),
            "order cancel 1 --yes --json".into(),
            "orders --active --json".into(),
            "order show 2 --json".into(),
            "order list --postcode dh13le --json --limit 3".into(),
            "ordr".into(),
            "user show -u somebody --json".into(),
        ]);
    }
    lines
}

/// Without what differs from run to run.
fn lasting(text: &[u8]) -> String {
    let text = std::str::from_utf8(text).unwrap();
    let volatile =
        |word: &str| word.contains("request_id") || word.contains("placed\":") || word.contains("deliver_by");
    let lines = text.lines().map(|line| {
        // Plain lines hold the same values between tabs: times, and ids with four dashes.
        let parts = line.split([',', '\t']).filter(|part| !volatile(part));
        let parts = parts.filter(|part| !(part.len() == 24 && part.ends_with('Z')));
        parts.filter(|part| part.matches('-').count() != 4).collect::<Vec<_>>().join(",") + "\n"
    });
    lines.collect()
}

#[test]
fn a_script_of_200_lines_through_a_pipe_equals_200_single_calls() {
    let lines = mixed();
    assert_eq!(lines.len(), 200);
    let (single, piped) = (House::open(), House::with_front_ends(1));
    let (mut results, mut first) = (String::new(), None);
    for line in &lines {
        let words = shlex::split(line).unwrap();
        let output = single.client(&words.iter().map(String::as_str).collect::<Vec<_>>());
        results.push_str(&lasting(&output.stdout));
        if !output.status.success() {
            first.get_or_insert(output.status.code());
        }
    }
    let lines = lines.join("\n");
    let output = piped.client_with(&["run", "-", "--keep-going"], &lines);
    let script = lasting(&output.stdout);
    let differs =
        results.lines().zip(script.lines()).enumerate().find(|(_, (single, script))| single != script);
    assert_eq!(differs, None, "the first line that differs");
    assert_eq!(results.lines().count(), script.lines().count());
    assert_eq!(output.status.code(), first.unwrap(), "the first failure's");
    let connections = piped.shop.lock().unwrap().connections;
    assert_eq!(connections, 1, "one connection for all");
}

#[test]
fn a_script_stops_at_its_first_failure_and_says_where_it_stands() {
    let house = House::open();
    let script = "# a comment\n\nmotd\norder show \\\n  9 -u ann\nmenu\n";
    let path = house.state().join("script.txt");
    std::fs::write(&path, script).unwrap();
    let output = house.client(&["run", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with(&format!("{}:4: error: Specified order ID not found.", path.display())),
        "{said}"
    );

    let output = house.client_with(&["--json"], script);
    let (exit, error) = failed(&output);
    assert_eq!((exit, &error["code"], &error["at"]), (3, &"order_unknown".into(), &"-:4".into()));

    let output = house.client_with(&["run", "-", "--keep-going", "--echo"], script);
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stdout).lines().count()),
        (Some(3), 18)
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("# a comment\n\nmotd\norder show   9 -u ann\n-:4: error"), "{said}");
}

#[test]
fn flags_hold_for_their_line_alone_and_user_use_for_the_rest() {
    let house = House::open();
    let script =
        "user use bob\ncart add chips\n-u eve cart add apple\n--json cart show\ncart show --user eve\n";
    let output = house.client_with(&["-u", "ann", "-o", "plain"], script);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[1].starts_with("bob\t") && lines[2].starts_with("eve\t"), "{text}");
    assert_eq!(object(lines[3])["user"], "bob");
    assert!(lines[4].starts_with("eve\t"), "{text}");
}

#[test]
fn what_is_no_line_is_told_with_its_line() {
    let house = House::open();
    let too_long = format!("motd\n{}\n", "x".repeat(64 * 1024 + 1));
    for (script, at, exit, code) in [
        ("motd\nordr\n", "-:2", 2, "usage"),
        ("cart add Ben's\n", "-:1", 2, "usage"),
        ("--json\n", "-:1", 2, "usage"),
        ("run -\n", "-:1", 2, "usage"),
        ("order\n", "-:1", 2, "input_needed"),
        (too_long.as_str(), "-:2", 2, "too_large"),
        ("menu --request-id 01997e5c-0000-7000-8000-000000000000\n", "-:1", 2, "usage"),
    ] {
        let (got, error) = failed(&house.client_with(&["--json", "run", "-"], script));
        assert_eq!((got, &error["code"], &error["at"]), (exit, &code.into(), &at.into()), "{error}");
    }
    let id = "01997e5c-0000-7000-8000-000000000000";
    assert_eq!(failed(&house.client_with(&["--json", "--request-id", id], "motd\n")).0, 2);
    let placed = format!("order place -u ann --item chips --postcode dh13le --request-id {id} --json\n");
    let output = house.client_with(&[], &placed.repeat(2));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(house.prints(&["orders", "-u", "ann", "--json"]).lines().count(), 1);
}

#[test]
fn every_command_ends_by_itself_when_nobody_can_be_asked() {
    let house = House::open();
    for line in mixed().into_iter().take(20).chain(
        [
            "",
            "order",
            "order cancel 1",
            "menu load -",
            "run -",
            "run - --keep-going --echo",
            "about",
            "help",
            "help order place",
            "completions bash",
            "completions zsh",
            "completions fish",
            "servers list",
            "cluster status",
            "cluster adopt just.hungry",
            "cluster force-elect just.hungry 1",
            "ns ping",
            "orders",
        ]
        .map(str::to_owned),
    ) {
        let words = shlex::split(&line).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["--timeout", "2s"]).collect();
        let closed = command(&house.name_server.to_string(), house.state(), &words).output().unwrap();
        assert!(closed.status.code().is_some(), "{line}: {closed:?}");
        let said = String::from_utf8_lossy(&closed.stderr);
        assert!(
            !said.contains("[Y/n]") && !said.contains("[y/N]") && !said.contains("User code ("),
            "{said}"
        );
    }
}

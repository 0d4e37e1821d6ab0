//! Every object of the contract and every failure, as a program reads them: `golden.txt`, block by block. A field that
//! is renamed, moved or lost shows there.
//!
//! `GOLDEN=write cargo test -p client` writes the file anew, for a person to read the difference.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::services::just_hungry::refusal::{Month, Refusal, Store};

use super::*;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands/golden.txt")
}

/// What differs from run to run, made the same: times, ids, ports, folders.
fn normalised(text: &str, house: &House) -> String {
    let text = text.replace(&house.state().display().to_string(), "STATE");
    let mut text = text.replace(&house.name_server.to_string(), "NAME_SERVER");
    for (field, end) in [
        ("\"placed\":\"", '"'),
        ("\"deliver_by\":\"", '"'),
        ("\"request_id\":\"", '"'),
        ("\"instance\":\"", '"'),
        ("\"address\":\"127.0.0.1:", '"'),
        ("\"ms\":", '}'),
        ("\"seconds\":", '}'),
    ] {
        let mut parts = text.split(field);
        let mut all = parts.next().unwrap().to_owned();
        for part in parts {
            let (_, rest) = part.split_once(end).unwrap();
            // The dates of the samples are always the same.
            let kept = part.starts_with("2026-01-0").then(|| part.split_once(end).unwrap().0);
            let _ = write!(all, "{field}{}{end}{rest}", kept.unwrap_or("…"));
        }
        text = all;
    }
    text
}

/// Runs the commands of `golden.txt` one after another, and gives the file that they make.
fn played(wanted: &str) -> String {
    let house = House::open();
    std::fs::write(house.state().join("menu.csv"), "name,price,stock\nBread,2.25,4\n=1+1,£0.50,unlimited\n")
        .unwrap();
    std::fs::write(house.state().join("bad.csv"), "name,price,stock\nBread,-1,4\nApple,1\n").unwrap();
    let films = "movieId,title,genres\n1,\"Vertigo, The (1958)\",Mystery\n2,Heat (1995),Action\n3,,Drama\n";
    std::fs::write(house.state().join("movies.csv"), films).unwrap();
    let mut all = String::new();
    for line in wanted.lines().filter(|line| line.starts_with("$ ") || line.starts_with("# ")) {
        let _ = writeln!(all, "{line}");
        let Some(words) = line.strip_prefix("$ ") else { continue };
        let words = shlex::split(&words.replace("STATE", &house.state().display().to_string())).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = house.client(&words);
        let text = |bytes: &[u8]| normalised(std::str::from_utf8(bytes).unwrap(), &house);
        all.push_str(&text(&output.stdout));
        for line in text(&output.stderr).lines() {
            let _ = writeln!(all, "! {line}");
        }
        match output.status.code() {
            Some(0) => {}
            status => {
                let _ = writeln!(all, "exit {}", status.unwrap());
            }
        }
    }
    all
}

#[test]
fn d10_every_object_and_refusal_reads_as_it_always_did() {
    let wanted = std::fs::read_to_string(path()).unwrap();
    let played = played(&wanted);
    if std::env::var_os("GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(path(), &played).unwrap();
        return;
    }
    let differs = wanted.lines().zip(played.lines()).find(|(wanted, played)| wanted != played);
    assert_eq!(differs, None, "the first line that differs, as it was and as it is");
    assert_eq!(wanted.lines().count(), played.lines().count());
}

/// A front end's answer that makes the client fail with this code; `None`: another way is needed.
fn fate(code: &str) -> Option<Fate> {
    let postcode: common::services::postcode::Postcode = "DH1 3LE".parse().unwrap();
    let says = |refusal: Refusal| {
        let reply = common::services::encode(&common::services::Outcome::<
            common::services::just_hungry::command::Done,
            Refusal,
        >::Refused(refusal));
        Some(Fate::Refused(SubmitError::AtTheDoor { reply }))
    };
    let refused = |error| Some(Fate::Refused(error));
    match code {
        "malformed" => says(Refusal::Malformed),
        "postcode_unknown" => says(Refusal::PostcodeUnknown { postcode, near: vec![postcode] }),
        "postcode_retired" => {
            says(Refusal::PostcodeRetired { postcode, since: Some(Month { year: 1996, month: 6 }) })
        }
        "already_cancelled" => says(Refusal::AlreadyCancelled { no: 3 }),
        "full" => says(Refusal::Full { what: Store::Orders, limit: 10_000_000 }),
        "too_large" => refused(SubmitError::TooLarge { limit: 65_536 }),
        "clock_ahead" => refused(SubmitError::FromTheFuture { now: Clock::wall() }),
        "request_id_reused" => refused(SubmitError::Reused),
        "request_expired" => refused(SubmitError::Expired { floor: RequestId::LEAST, now: Clock::wall() }),
        "disk_full" => refused(SubmitError::DiskFull),
        "no_primary" => refused(SubmitError::Draining),
        "too_few_replicas" => refused(SubmitError::TooFewToAdmit { in_sync: 1, needed: 2 }),
        "all_busy" => refused(SubmitError::Busy { retry_in: Duration::from_millis(50) }),
        "unacknowledged" => Some(Fate::AnswerLost),
        _ => None,
    }
}

/// Why a question is not answered, so that the client fails with this code.
fn silence(code: &str) -> Option<QueryError> {
    match code {
        "internal" => Some(QueryError::Internal { why: "a bug".into() }),
        "behind" => Some(QueryError::Behind),
        _ => None,
    }
}

/// Words that fail with this code by themselves.
const WORDS: &[(&str, &[&str])] = &[
    ("usage", &["ordr"]),
    ("input_needed", &["order"]),
    ("invalid", &["order", "place", "--item", "apple=100", "--postcode", "dh13le"]),
    ("file", &["run", "STATE/nowhere"]),
    ("damaged", &["servers", "list"]),
    ("name_unknown", &["ns", "lookup", "nobody"]),
    ("server_unknown", &["servers", "remove", "9"]),
    ("unknown_product", &["cart", "add", "caviar"]),
    ("movie_unknown", &["movie", "find", "xyzzy", "--local"]),
    ("movie_ambiguous", &["movie", "find", "jane eyre"]),
    ("movie_exists", &["movie", "add", "matrix, the (1999)"]),
    ("movie_unchecked", &["movie", "find", "xyzzy", "--timeout", "300ms"]),
    ("order_unknown", &["order", "show", "9"]),
    ("needs_yes", &["order", "cancel", "1"]),
    ("bad_rows", &["menu", "load", "STATE/bad.csv"]),
    ("low_stock", &["order", "place", "--item", "flour", "--postcode", "dh13le"]),
    ("basket_empty", &["order", "place", "--postcode", "dh13le"]),
    ("no_details", &["order", "place", "--item", "chips"]),
    ("total_changed", &["order", "place", "--item", "chips", "--postcode", "dh13le", "--expect", "1"]),
    ("postcode_malformed", &["postcode", "check", "nowhere"]),
    (
        "postcode_unconfirmed",
        &["order", "place", "--item", "chips", "--postcode", "dh13le", "--strict-postcode"],
    ),
    ("not_ready", &["cluster", "wait", "--timeout", "300ms"]),
];

/// Codes that need another world, and the test that makes each.
const ELSEWHERE: &[(&str, &str)] = &[
    ("replica_unknown", "cluster::decide::tests"),
    ("group_unknown", "cluster::decide::tests"),
    ("denied", "cluster::adopt::tests"),
    ("store_down", "cluster::adopt::tests"),
    ("incompatible", "cluster::adopt::tests"),
    ("name_held", "the names' tests, on a real name server"),
    ("name_server_full", "nameserver, f20"),
    ("warming", "ns::tests"),
    ("not_rated", "the ratings' tests, of the whole cluster"),
    ("no_name_server", "without_anybody_there_each_command_says_who_is_missing"),
    ("no_front_end", "without_anybody_there_each_command_says_who_is_missing"),
    ("interrupted", "the terminal's tests, of the whole cluster"),
];

#[test]
fn every_code_is_produced_and_told_with_its_exit_status() {
    let house = House::open();
    std::fs::write(house.state().join("bad.csv"), "name,price,stock\nBread,-1,4\n").unwrap();
    let id = ["--request-id", "01997e5c-0000-7000-8000-000000000000"];
    for code in client::errors::Code::ALL {
        let name = code.name();
        if ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == name) {
            continue;
        }
        let own = WORDS.iter().find(|(code, _)| *code == name).map(|(_, words)| words.to_vec());
        house.shop.lock().unwrap().silence = silence(name);
        let words = own.unwrap_or_else(|| {
            if silence(name).is_some() {
                return vec!["motd", "--timeout", "300ms"];
            }
            // As often as a front end is asked within the time there is.
            house.shop.lock().unwrap().fates =
                (0..1000).map(|_| fate(name).unwrap_or_else(|| panic!("nothing produces {name}"))).collect();
            [&["motd", "set", "x", "--timeout", "600ms"], &id[..]].concat()
        });
        let servers = house.state().join("just-hungry/servers");
        if name == "damaged" {
            std::fs::create_dir_all(servers.parent().unwrap()).unwrap();
            std::fs::write(&servers, "nowhere\n").unwrap();
        }
        let state = house.state().display().to_string();
        let words: Vec<String> = words.iter().map(|word| word.replace("STATE", &state)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["-u", "ann"]).collect();
        // On a busy machine the last call of a try may be cut short, which is another code: then once more.
        let (exit, error) = (0..10)
            .map(|_| house.fails(&words))
            .find(|(_, error)| error["code"] == name)
            .unwrap_or_else(|| panic!("{words:?} never failed with {name}"));
        assert_eq!((error["code"].as_str(), exit), (Some(name), code.exit().into()), "{error}");
        assert_eq!(error["retryable"], code.retryable(), "{error}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
        house.shop.lock().unwrap().fates.clear();
        let _ = std::fs::remove_file(servers);
    }
}

const README: &str = include_str!("../../../README.md");

#[test]
fn the_readme_names_every_code_beside_its_exit_status_and_every_command() {
    for code in client::errors::Code::ALL {
        let row = README.lines().find(|line| line.starts_with(&format!("| {} |", code.exit()))).unwrap();
        assert!(row.contains(&format!("`{}`", code.name())), "{} is not in: {row}", code.name());
    }
    let section = README.split("\n## ").find(|section| section.starts_with("Commands")).unwrap();
    for command in <client::grammar::Cli as clap::CommandFactory>::command().get_subcommands() {
        let name = command.get_name();
        assert!(section.contains(&format!("`{name}")), "{name} is not among the README's commands");
    }
}

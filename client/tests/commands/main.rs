//! The program itself, against a name server and two front ends that have the misfortunes of real ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod edges;
mod golden;
mod house;
mod rows;
mod scripts;

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use common::clock::Clock;
use common::replication::RequestId;
use common::rpc::replica::{QueryError, SubmitError};
use serde_json::Value;

use house::{Fate, House, client_at, command, failed, listen};

fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

const PLACE: &[&str] =
    &["order", "place", "-u", "ann", "--item", "bread=1", "--postcode", "dh13le", "--json"];

fn bread_left(house: &House) -> u64 {
    let menu = house.prints(&["menu", "--json"]);
    let bread = menu.lines().map(object).find(|product| product["item"] == "Bread").unwrap();
    bread["stock"].as_u64().unwrap()
}

#[test]
fn every_command_prints_objects_line_by_line() {
    let house = House::open();
    house.prints(PLACE);
    for (words, count) in [
        (&["menu"][..], 16),
        (&["motd"], 1),
        (&["user", "set", "-u", "ann", "--first", "Ann", "--postcode", "DH1 3LE"], 1),
        (&["user", "show"], 1),
        (&["cart", "add", "apple=2", "chips"], 1),
        (&["cart", "set", "apple=3"], 1),
        (&["cart", "remove", "chips"], 1),
        (&["cart", "show"], 1),
        (&["order", "quote", "--delivery", "2h", "--tip", "0.78"], 1),
        (&["order", "place"], 1),
        (&["order", "show", "2"], 1),
        (&["order", "cancel", "2", "--yes"], 1),
        (&["order", "list"], 2),
        (&["orders", "--active"], 1),
        (&["order", "list", "--limit", "1"], 1),
        (&["order", "list", "--after", "1"], 1),
        (&["order", "list", "--postcode", "dh13le"], 4),
        (&["cart", "clear"], 1),
        (&["movie", "find", "matrix"], 1),
        (&["get", "the", "heat"], 1),
        (&["movie", "search", "the"], 5),
        (&["movie", "list"], 20),
        (&["all", "--limit", "3"], 3),
        (&["movie", "add", "Solaris (1972)"], 1),
        (&["edit", "solaris", "--genre", "Drama"], 1),
        (&["ns", "ping"], 1),
        (&["ns", "list"], 4),
        (&["ns", "list", "replica."], 0),
        (&["ns", "lookup", "just.hungry"], 2),
        (&["postcode", "check", "DH1 3LE", "sw1a1aa"], 2),
    ] {
        let text = house.prints(&[words, &["--json"]].concat());
        assert_eq!(text.lines().map(object).filter(Value::is_object).count(), count, "{words:?}: {text}");
    }
}

#[test]
fn the_worked_example_costs_what_it_says() {
    let house = House::open();
    let items =
        ["--item", "apple=2", "--item", "bread", "--item", "apple", "--delivery", "2h", "--tip", "0.78"];
    let words = [&["order", "place", "-u", "ann", "--postcode", "DH1 3LE", "--json"], &items[..]].concat();
    let order = object(&house.prints(&words));
    assert_eq!((&order["items_pence"], &order["total_pence"]), (&822.into(), &1200.into()));
    assert_eq!(bread_left(&house), 3);
    house.prints(&["order", "cancel", "1", "--yes"]);
    assert_eq!(bread_left(&house), 4);
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_id_and_the_order_is_placed_once() {
    let house = House::open();
    house.shop.lock().unwrap().fates.extend([Fate::AnswerLost, Fate::AnswerLost]);
    let order = object(&house.prints(PLACE));
    let came = house.shop.lock().unwrap().came.clone();
    assert_eq!(came.len(), 3);
    assert!(came.iter().all(|(_, id)| *id == came[0].1), "{came:?}");
    assert_ne!(came[0].0, came[1].0, "the other front end is asked next");
    assert_eq!(order["request_id"], came[0].1.to_string());
    assert_eq!((bread_left(&house), house.prints(&["orders", "--json"]).lines().count()), (3, 1));
}

#[test]
fn the_same_request_id_from_the_command_line_is_the_same_order() {
    let house = House::open();
    let words = [PLACE, &["--request-id", "01997e5c-0000-7000-8000-000000000000"]].concat();
    assert_eq!(house.prints(&words), house.prints(&words));
    assert_eq!(bread_left(&house), 3);
}

#[test]
fn a_command_whose_outcome_nobody_tells_ends_with_6_and_its_id() {
    let house = House::open();
    house.shop.lock().unwrap().fates.extend((0..1000).map(|_| Fate::AnswerLost));
    let (exit, error) = house.fails(&[&PLACE[..PLACE.len() - 1], &["--timeout", "2s"]].concat());
    assert_eq!((exit, &error["code"], &error["effect"]), (6, &"unacknowledged".into(), &"unknown".into()));
    assert_eq!(error["message"], "the order was sent, but no answer came within 2s; it may have been placed");
    let id = error["request_id"].as_str().unwrap();
    assert!(error["hint"].as_str().unwrap().contains(&format!("--request-id {id}")), "{error}");
    house.shop.lock().unwrap().fates.clear();
    house.prints(&[PLACE, &["--request-id", id]].concat());
    assert_eq!(bread_left(&house), 3, "the repeat is the same order");
}

#[test]
fn a_clock_that_runs_ahead_is_corrected_and_the_command_dated_anew() {
    let house = House::open();
    let now = Clock::wall();
    house.shop.lock().unwrap().fates.push_back(Fate::Refused(SubmitError::FromTheFuture { now }));
    house.prints(PLACE);
    let came = house.shop.lock().unwrap().came.clone();
    assert_eq!(came.len(), 2);
    assert_ne!(came[0].1, came[1].1);

    house.shop.lock().unwrap().fates.push_back(Fate::Refused(SubmitError::FromTheFuture { now }));
    let given =
        [&PLACE[..PLACE.len() - 1], &["--request-id", "01997e5c-0000-7000-8000-000000000001"]].concat();
    let (exit, error) = house.fails(&given);
    assert_eq!((exit, &error["code"]), (2, &"clock_ahead".into()));
}

#[test]
fn final_answers_are_told_at_once_with_their_codes() {
    let house = House::open();
    let expired = SubmitError::Expired { floor: RequestId::LEAST, now: Clock::wall() };
    for (answer, exit, code) in
        [(SubmitError::Reused, 2, "request_id_reused"), (expired, 6, "request_expired")]
    {
        house.shop.lock().unwrap().fates.push_back(Fate::Refused(answer));
        let (got, error) = house.fails(&PLACE[..PLACE.len() - 1]);
        assert_eq!((got, &error["code"]), (exit, &code.into()));
    }
    assert_eq!(house.shop.lock().unwrap().came.len(), 2);
}

#[test]
fn refusals_have_their_codes_and_change_nothing() {
    let house = House::open();
    for (words, exit, code) in [
        (&["order", "place", "--item", "flour=3", "--postcode", "dh13le"][..], 4, "low_stock"),
        (&["order", "place", "--item", "hamburgr", "--postcode", "dh13le"], 3, "unknown_product"),
        (&["order", "place", "--item", "apple=100", "--postcode", "dh13le"], 2, "invalid"),
        (&["order", "place", "--item", "chips"], 4, "no_details"),
        (&["order", "place", "--postcode", "dh13le"], 4, "basket_empty"),
        (
            &["order", "place", "--item", "chips", "--postcode", "dh13le", "--expect", "9.99"],
            4,
            "total_changed",
        ),
        (
            &["order", "place", "--item", "chips", "--postcode", "dh13le", "--strict-postcode"],
            4,
            "postcode_unconfirmed",
        ),
        (&["order", "show", "7"], 3, "order_unknown"),
        (&["order", "cancel", "7"], 4, "needs_yes"),
        (&["order", "cancel", "7", "--yes"], 3, "order_unknown"),
        (&["ns", "lookup", "nobody"], 3, "name_unknown"),
        (&["ns", "list", "--regex", "("], 2, "invalid"),
        (&["postcode", "check", "DH1 3LE", "nowhere"], 4, "postcode_malformed"),
        (&["postcode", "check", "DH1 3LE", "--strict-postcode"], 4, "postcode_unconfirmed"),
        (&["menu", "--request-id", "01997e5c-0000-7000-8000-000000000000"], 2, "usage"),
        (&["ordr"], 2, "usage"),
        (&["cluster", "status"], 5, "no_primary"),
        (&["cluster", "wait", "--timeout", "2s"], 5, "not_ready"),
    ] {
        let (got, error) = house.fails(&[words, &["-u", "ann"]].concat());
        assert_eq!((got, &error["code"]), (exit, &code.into()), "{words:?}: {error}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
    }
    assert_eq!(house.prints(&["orders", "-u", "ann", "--json"]), "");
}

#[test]
fn whoever_ordered_last_is_remembered_and_nobody_is_asked_without_a_terminal() {
    let house = House::open();
    let (exit, error) = house.fails(&["orders"]);
    assert_eq!((exit, &error["code"]), (2, &"input_needed".into()));
    assert!(error["hint"].as_str().unwrap().contains("--user"), "{error}");
    house.prints(&["orders", "-u", "ann"]);
    assert_eq!(house.prints(&["orders"]), "No orders found for this user.\n");
}

#[test]
fn an_order_with_a_postcode_and_no_user_is_the_postcodes_and_nobody_is_remembered() {
    let house = House::open();
    let order =
        object(&house.prints(&["order", "place", "--item", "chips", "--postcode", "DH1 3LE", "--json"]));
    assert_eq!((&order["user"], &order["no"]), (&"dh13le".into(), &3.into()));
    assert_eq!(house.fails(&["orders"]).0, 2);
}

#[test]
fn too_few_replicas_in_sync_still_show_what_may_be_behind() {
    let house = House::open();
    house.shop.lock().unwrap().silence = Some(QueryError::TooFewInSync { in_sync: 1, needed: 2 });
    let output = house.client(&["motd"]);
    assert!(output.status.success() && !output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("may be behind"), "{output:?}");
    house
        .shop
        .lock()
        .unwrap()
        .fates
        .extend((0..1000).map(|_| Fate::Refused(SubmitError::TooFewInSync { in_sync: 1, needed: 2 })));
    let (exit, error) = house.fails(&[&PLACE[..PLACE.len() - 1], &["--timeout", "2s"]].concat());
    assert_eq!((exit, &error["code"], &error["needed"]), (6, &"too_few_replicas".into(), &2.into()));
}

#[test]
fn a_fail_over_is_told_to_whoever_wants_to_know() {
    use common::replication::{ConfigVersion, Epoch, GroupConfig, InSyncSet, Member, ReplicaId};
    use common::rpc::name_service::Config;

    let house = House::open();
    let led_by = |number: u64| {
        let id: ReplicaId = format!("00000000-0000-0000-0000-00000000000{number}").parse().unwrap();
        Config::Passive(GroupConfig {
            cluster: "test".parse().unwrap(),
            group: "just.hungry".parse().unwrap(),
            version: ConfigVersion(number),
            epoch: Epoch(number),
            primary: Member { id, boot: common::ids::InstanceId::from_u128(1) },
            in_sync: InSyncSet::new([id]),
            min_in_sync: 1,
            forced: ConfigVersion(0),
        })
    };
    let said = |flags: &[&str], groups: [u64; 2]| {
        house.shop.lock().unwrap().groups = groups.map(led_by).into();
        let output = house.client(&[flags, &["motd"]].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let told = said(&["-v"], [1, 2]);
    assert!(told.contains("1 did not answer; replica ") && told.contains("2 took over, "), "{told}");
    assert_eq!(said(&["-v"], [3, 3]), "");
    assert_eq!(said(&[], [4, 5]), "", "who does not ask is not told");
}

#[test]
fn a_command_that_was_carried_out_is_never_told_as_nothing_happened() {
    let house = House::open();
    house.prints(PLACE);
    let service = "just.hungry".parse().unwrap();
    house.shop.lock().unwrap().silence = Some(QueryError::NoPrimary { service });
    for (words, done) in [
        (&["order", "cancel", "1", "--yes"][..], "order #1 was cancelled, but it cannot be shown"),
        (&["user", "set", "--first", "Ann"], "the details were kept, but"),
        (&["cart", "add", "chips"], "the basket was changed, but"),
    ] {
        let (exit, error) = house.fails(&[words, &["-u", "ann", "--timeout", "1s"]].concat());
        assert_eq!((exit, &error["effect"]), (6, &"unknown".into()), "{words:?}");
        assert!(error["message"].as_str().unwrap().starts_with(done), "{error}");
        assert!(error["request_id"].is_string(), "a repeat must be the same command: {error}");
    }
}

#[test]
fn without_anybody_there_each_command_says_who_is_missing() {
    let nobody = House::with_front_ends(0);
    let (exit, error) = nobody.fails(&["menu", "--timeout", "200ms"]);
    assert_eq!((exit, &error["code"]), (5, &"no_front_end".into()));

    let state = tempfile::tempdir().unwrap();
    let (listener, address) = listen();
    drop(listener);
    for words in [
        &["menu"][..],
        &["orders"],
        &["orders", "-u", "ann"],
        &["order", "place", "-u", "ann", "--item", "chips"],
        &["cluster", "status"],
        &["cluster", "wait"],
        &["ns", "ping"],
        &["ns", "list"],
        &["ns", "lookup", "x"],
    ] {
        let words = [words, &["--timeout", "200ms", "--json"]].concat();
        let (exit, error) = failed(&client_at(&address.to_string(), state.path(), &words));
        assert_eq!((exit, &error["code"]), (5, &"no_name_server".into()), "{words:?}: {error}");
        let message = format!("no name server at {address} (connection refused)");
        assert_eq!(error["message"], message, "{words:?}");
        assert!(error["hint"].as_str().unwrap().contains("./run.sh"));
    }
}

#[test]
fn further_tries_are_made_as_often_as_wanted() {
    /// Longer than one try, shorter than the pause between two.
    const APART: Duration = Duration::from_millis(400);
    let house = House::open();
    let service = "just.hungry".parse().unwrap();
    house.shop.lock().unwrap().silence = Some(QueryError::NoPrimary { service });
    let words = ["menu", "--timeout", "300ms", "--retries", "3", "--retry-every", "800ms"];
    let (exit, error) = house.fails(&words);
    assert_eq!((exit, &error["code"]), (5, &"no_primary".into()));
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("No connection could be established. Just Hungry is not taking orders")
            && message.ends_with("(3 tries)"),
        "{message}"
    );
    let asked = &house.shop.lock().unwrap().silent_at;
    let tries = 1 + asked.windows(2).filter(|two| two[1].since(two[0]) > APART).count();
    assert_eq!(tries, 3, "{asked:?}");
}

#[test]
fn of_several_changes_it_is_said_how_many_were_made_before_one_failed() {
    let house = House::open();
    let add = |items: &[&str]| {
        let (_, error) = house.fails(&[&["cart", "add", "-u", "ann"], items].concat());
        assert_eq!(error["effect"], "none");
        error["message"].as_str().unwrap().to_owned()
    };
    assert!(add(&["apple", "hamburgr"]).ends_with(" (the first change was made)"));
    assert!(add(&["apple", "chips", "hamburgr"]).ends_with(" (the first 2 changes were made)"));
    assert!(!add(&["hamburgr", "apple"]).contains("made"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let house = House::open();
    let state = tempfile::tempdir().unwrap();
    let mut child = command(&house.name_server.to_string(), state.path(), &["menu"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_program_may_use_the_handle_without_the_command_line() {
    use client::just_hungry::{JustHungry, Order};
    use client::service::{Patience, Service};
    use common::services::just_hungry::command::{Item, Lines};

    let house = House::open();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let names = common::directory::Names::new(vec![house.name_server.clone()], "a program");
        let patience = Patience { timeout: Duration::from_secs(20), ..Patience::default() };
        let shop = JustHungry::over(Service::new(&names, "just.hungry").patient(patience));
        let lines = Lines::Given(vec![Item { item: "bread".into(), qty: 2 }]);
        let order = Order { postcode: Some("DH1 3LE".into()), ..Order::of("ann", lines) };
        let placed = shop.place(order).await.unwrap();
        assert_eq!((placed.no, placed.total.get()), (1, 450));
        assert_eq!(shop.orders("ann", true, 0, None).await.unwrap().len(), 1);
        shop.cancel("ann", 1).await.unwrap();
        assert_eq!(shop.orders("ann", true, 0, None).await.unwrap(), []);
    });
    runtime.shutdown_background();
}

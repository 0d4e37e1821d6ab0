//! Whom is asked when, what is made of it, and how long it takes: in virtual time.

use common::clock::Timestamp;
use common::replication::{Epoch, LogIndex, LogPoint, RequestId};
use common::services::just_hungry::command::{Command, Delivery, Facts, Item, Lines, Reply};
use common::services::just_hungry::{self, JustHungry, Refusal, Start};
use common::services::money::Pence;
use common::services::{Applied, Outcome, StateMachine as _, decode, encode};
use futures::FutureExt as _;
use futures::future::join_all;

use super::*;
use crate::outside::films::Films;
use crate::outside::scripted::{Says, World};
use crate::outside::{Door, Policy, Refused, Visit};

const NOW: Timestamp = Timestamp::from_millis(1_767_268_800_000);
const LONG: Duration = Duration::from_secs(30);
const CODE: &str = "DH1 3LE";

fn code() -> Postcode {
    CODE.parse().unwrap()
}

/// What postcodes.io does, by a word.
fn first(word: &str) -> Says {
    match word {
        "valid" => Says::Page(
            200,
            format!(r#"{{"result":{{"postcode":"{CODE}","admin_district":"County Durham"}}}}"#),
        ),
        "unknown" => Says::Page(404, r#"{"error":"Postcode not found"}"#.to_owned()),
        "malformed" => Says::Page(404, r#"{"error":"Invalid postcode"}"#.to_owned()),
        "retired" => Says::Page(
            404,
            format!(
                r#"{{"terminated":{{"postcode":"{CODE}","year_terminated":1996,"month_terminated":6}}}}"#
            ),
        ),
        "away" => Says::Page(503, String::new()),
        other => panic!("{other}"),
    }
}

/// What getthedata.com does, by a word.
fn second(word: &str) -> Says {
    let unit = |status| {
        let data = format!(r#"{{"postcode":"{CODE}","status":"{status}"}}"#);
        Says::Page(200, format!(r#"{{"status":"match","match_type":"unit_postcode","data":{data}}}"#))
    };
    match word {
        "valid" => unit("live"),
        "retired" => unit("terminated"),
        "no-match" => Says::Page(200, r#"{"status":"no_match"}"#.to_owned()),
        "away" => Says::Page(503, String::new()),
        other => panic!("{other}"),
    }
}

fn world(one: &'static str, other: &'static str) -> World {
    World::new(move |url| if url.host_str() == Some("postcodes.io") { first(one) } else { second(other) })
}

fn hanging() -> World {
    World::new(|_| Says::Hangs)
}

fn data(with_code: bool) -> PostcodeData {
    let mut data = PostcodeData::default();
    data.insert("M1 1AE".parse().unwrap());
    if with_code {
        data.insert(code());
    }
    data
}

async fn check(postcodes: &Postcodes<World>) -> Checked {
    postcodes.check(code(), NOW, LONG).await
}

/// What becomes of an order to the postcode, in a few letters.
async fn fate(postcodes: Postcodes<World>, policy: Policy) -> String {
    let order = Command::PlaceOrder {
        user: "ann".to_owned(),
        lines: Lines::Given(vec![Item { item: "Burger".to_owned(), qty: 1 }]),
        delivery: Delivery::NextDay,
        tip: Pence::ZERO,
        postcode: Some(CODE.to_owned()),
        strict: false,
        expected: None,
    };
    let service = just_hungry::NAME.parse().unwrap();
    let visit = Visit { now: NOW, time: LONG };
    let facts: Facts =
        match Door::new(postcodes, policy, Films::new(None)).complete(&service, visit, &encode(&order)).await
        {
            Ok(facts) => decode(&facts).unwrap(),
            Err(Refused(reply)) => return word(&decode(&reply).unwrap()),
        };
    let mut shop = JustHungry::new(Start::Demo).unwrap();
    let at = LogPoint { epoch: Epoch(1), index: LogIndex(2) };
    let applied = Applied { at, time: NOW, request: RequestId::from_parts(NOW, 0, 7) };
    let source = facts.verdict.as_ref().unwrap().source;
    match shop.apply(applied, facts, order) {
        Outcome::Done(_) => source.to_string(),
        refused @ Outcome::Refused(_) => word(&refused),
    }
}

fn word(reply: &Reply) -> String {
    match reply {
        Outcome::Refused(Refusal::PostcodeUnknown { .. }) => "unknown".to_owned(),
        Outcome::Refused(Refusal::PostcodeRetired { since, .. }) => {
            if since.is_some() { "retired/io" } else { "retired/gtd" }.to_owned()
        }
        Outcome::Refused(Refusal::PostcodeUnconfirmed { .. }) => "refused".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// postcodes.io, getthedata | what becomes of an order when the code is in our data, is not, and without data;
/// the source is the one that the order goes with. `refused` is what `unconfirmed` comes to at a strict front end.
const MATRIX: &str = "
valid     valid    | postcodes.io postcodes.io postcodes.io
valid     retired  | postcodes.io postcodes.io postcodes.io
valid     no-match | postcodes.io postcodes.io postcodes.io
valid     away     | postcodes.io postcodes.io postcodes.io
unknown   valid    | unknown      unknown      unknown
unknown   retired  | unknown      unknown      unknown
unknown   no-match | unknown      unknown      unknown
unknown   away     | unknown      unknown      unknown
malformed valid    | unknown      unknown      unknown
malformed retired  | unknown      unknown      unknown
malformed no-match | unknown      unknown      unknown
malformed away     | unknown      unknown      unknown
retired   valid    | retired/io   retired/io   retired/io
retired   retired  | retired/io   retired/io   retired/io
retired   no-match | retired/io   retired/io   retired/io
retired   away     | retired/io   retired/io   retired/io
away      valid    | getthedata   getthedata   getthedata
away      retired  | retired/gtd  retired/gtd  retired/gtd
away      no-match | offline      unconfirmed  unconfirmed
away      away     | offline      unconfirmed  unconfirmed
";

#[tokio::test(start_paused = true)]
async fn policy_matrix() {
    let rows: Vec<_> = MATRIX.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 5 * 4);
    for row in rows {
        let words: Vec<&'static str> = row.split_whitespace().collect();
        let [one, other, "|", expected @ ..] = words.as_slice() else { panic!("{row}") };
        for (data, expected) in [Some(data(true)), Some(data(false)), None].into_iter().zip(expected) {
            for (policy, unconfirmed) in [(Policy::Lenient, "unconfirmed"), (Policy::Strict, "refused")] {
                let postcodes = Postcodes { data: data.clone(), ..world(one, other).postcodes() };
                let expected = if *expected == "unconfirmed" { unconfirmed } else { expected };
                assert_eq!(fate(postcodes, policy).await, expected, "{row}, {data:?}, {policy:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn first_no_beats_second_yes() {
    let world = world("unknown", "valid");
    assert_eq!(check(&world.postcodes()).await.answer(), "unknown");
    assert_eq!(world.asked(), ["postcodes.io/postcodes/DH1%203LE"], "the second is not even asked");
}

#[tokio::test(start_paused = true)]
async fn second_asked_only_when_first_is_away() {
    let there = world("valid", "valid");
    let found = check(&there.postcodes()).await;
    assert_eq!((found.source, found.town.as_deref()), (Source::PostcodesIo, Some("County Durham")));
    assert_eq!(there.asked().len(), 1);

    let away = world("away", "valid");
    assert_eq!(check(&away.postcodes()).await.source, Source::GetTheData);
    assert_eq!(away.asked(), ["postcodes.io/postcodes/DH1%203LE", "getthedata/postcode/DH1%203LE"]);
}

#[tokio::test]
async fn offline_never_says_unknown() {
    for (data, answer, source) in [
        (Some(data(true)), "valid", Source::Offline),
        (Some(data(false)), "unconfirmed", Source::Unconfirmed),
        (None, "unconfirmed", Source::Unconfirmed),
    ] {
        let found = Postcodes::<World>::offline(data).check(code(), NOW, LONG).await;
        assert_eq!((found.answer(), found.source), (answer, source));
    }
}

#[tokio::test(start_paused = true)]
async fn breaker_waits_once() {
    let world = hanging();
    let postcodes = world.postcodes();
    let clock = Clock::start();
    assert_eq!(check(&postcodes).await.answer(), "unconfirmed");
    assert_eq!(clock.now().since_origin(), CHECK_TIME, "a call each");
    for _ in 0..100 {
        assert_eq!(check(&postcodes).await.answer(), "unconfirmed");
    }
    assert_eq!(clock.now().since_origin(), CHECK_TIME, "nobody waits again");
    assert_eq!(world.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_back_is_asked_again_after_its_rest() {
    let world = hanging();
    let postcodes = world.postcodes();
    check(&postcodes).await;
    world.change(|_| first("valid"));
    world.asked();
    assert_eq!(check(&postcodes).await.answer(), "unconfirmed");
    assert!(world.asked().is_empty(), "it rests");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(check(&postcodes).await.source, Source::PostcodesIo);
}

#[tokio::test(start_paused = true)]
async fn one_call_finds_out_whether_a_service_is_back() {
    let world = hanging();
    let postcodes = world.postcodes();
    check(&postcodes).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.asked();
    let clock = Clock::start();
    let all = join_all((0..9).map(|_| check(&postcodes))).await;
    assert!(all.iter().all(|one| one.answer() == "unconfirmed"));
    assert_eq!(world.asked().len(), 2, "one for each service");
    assert!(clock.now().since_origin() <= CHECK_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_little_time_gets_both_words_within_it_and_trips_no_breaker() {
    let world = World::new(|url| match url.host_str() {
        Some("postcodes.io") => Says::Hangs,
        _ => second("valid"),
    });
    let postcodes = world.postcodes();
    let clock = Clock::start();
    let little = Duration::from_millis(400);
    assert_eq!(postcodes.check(code(), NOW, little).await.source, Source::GetTheData);
    assert_eq!(clock.now().since_origin(), little / 2);
    // Another code, which the cache does not know: postcodes.io is asked again, for it was not given a chance.
    world.asked();
    let other = "DH1 3LG".parse().unwrap();
    postcodes.check(other, NOW, Duration::from_secs(2)).await;
    assert_eq!(world.asked()[0], "postcodes.io/postcodes/DH1%203LG");
    // A second of silence was one: now it rests.
    postcodes.check(other, NOW, LONG).await;
    assert_eq!(world.asked(), ["getthedata/postcode/DH1%203LG"]);
}

#[tokio::test(start_paused = true)]
async fn no_time_at_all_is_no_question() {
    let world = world("valid", "valid");
    let postcodes = Postcodes { data: Some(data(true)), ..world.postcodes() };
    assert_eq!(postcodes.check(code(), NOW, Duration::ZERO).await.source, Source::Offline);
    assert!(world.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_waited_for_to_the_end_of_a_call() {
    let late = |time: u64| {
        World::new(move |_| {
            let Says::Page(status, body) = first("valid") else { unreachable!() };
            Says::Late(Duration::from_millis(time), status, body)
        })
    };
    assert_eq!(check(&late(1499).postcodes()).await.source, Source::PostcodesIo);
    assert_eq!(check(&late(1501).postcodes()).await.answer(), "unconfirmed");
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_is_tried_once_more() {
    let world = World::silent();
    assert_eq!(check(&world.postcodes()).await.answer(), "unconfirmed");
    assert_eq!(world.asked().len(), 4, "two tries each");
}

#[tokio::test(start_paused = true)]
async fn what_was_found_out_is_not_asked_again_and_a_doubt_is() {
    let world = world("valid", "valid");
    let postcodes = world.postcodes();
    let found = check(&postcodes).await;
    assert_eq!(check(&postcodes).await, found);
    assert_eq!(world.asked().len(), 1);
    tokio::time::sleep(Duration::from_hours(24)).await;
    check(&postcodes).await;
    assert_eq!(world.asked().len(), 1, "a day later it is news");

    for no in ["unknown", "retired"] {
        let world = self::world(no, "valid");
        let postcodes = world.postcodes();
        check(&postcodes).await;
        check(&postcodes).await;
        assert_eq!(world.asked().len(), 1);
        tokio::time::sleep(Duration::from_hours(1)).await;
        check(&postcodes).await;
        assert_eq!(world.asked().len(), 1, "a no is believed for an hour");
    }

    let away = World::new(|_| second("no-match"));
    let postcodes = away.postcodes();
    check(&postcodes).await;
    check(&postcodes).await;
    assert_eq!(away.asked().iter().filter(|asked| asked.starts_with("getthedata")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn sixteen_ask_at_once_256_wait_and_the_next_is_told_at_once() {
    let world = hanging();
    let postcodes = world.postcodes();
    let mut callers: Vec<_> = (0..16 + 256).map(|_| Box::pin(check(&postcodes))).collect();
    for caller in &mut callers {
        assert!(caller.now_or_never().is_none());
    }
    assert_eq!(world.asked().len(), 16);
    // postcodes.io has no room; getthedata has, and hangs like the other.
    let clock = Clock::start();
    assert_eq!(check(&postcodes).await.answer(), "unconfirmed");
    assert_eq!(clock.now().since_origin(), MANNERS.call_time);
    assert_eq!(world.asked(), ["getthedata/postcode/DH1%203LE"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_in_the_middle_leaves_its_place() {
    let world = hanging();
    let postcodes = world.postcodes();
    for _ in 0..100 {
        assert!(Box::pin(check(&postcodes)).now_or_never().is_none());
    }
    world.change(|_| first("valid"));
    assert_eq!(check(&postcodes).await.source, Source::PostcodesIo);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_code_brings_the_ones_like_it() {
    let mut data = data(false);
    data.insert("DH1 3LG".parse().unwrap());
    let postcodes = Postcodes { data: Some(data), ..world("unknown", "valid").postcodes() };
    assert_eq!(check(&postcodes).await.sentence(), "Postcode not found: DH1 3LE. Did you mean DH1 3LG?");
}

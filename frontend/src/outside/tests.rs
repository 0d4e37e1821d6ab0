use common::services::just_hungry::command::{Delivery, Lines, Reply, Source};
use common::services::money::Pence;
use futures::FutureExt as _;

use super::scripted::{Says, World};
use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_268_800_000);

fn food() -> GroupName {
    just_hungry::NAME.parse().unwrap()
}

const VISIT: Visit = Visit { now: NOW, time: Duration::from_secs(4) };

fn offline() -> Postcodes<World> {
    Postcodes::offline(None)
}

/// Nobody is waited for, so one poll is enough.
fn complete(door: &Door<World>, payload: &[u8]) -> Result<Bytes, Refused> {
    door.complete(&food(), VISIT, payload).now_or_never().expect("nobody is there to wait for")
}

fn facts(policy: Policy, command: &Command) -> Result<Facts, Refusal> {
    match complete(&Door::new(offline(), policy, Films::new(None)), &encode(command)) {
        Ok(none) if none.is_empty() => Ok(Facts::default()),
        Ok(facts) => Ok(decode(&facts).unwrap()),
        Err(Refused(reply)) => match decode(&reply).unwrap() {
            Reply::Refused(refusal) => Err(refusal),
            Reply::Done(done) => panic!("nothing was done: {done:?}"),
        },
    }
}

fn order(postcode: Option<&str>) -> Command {
    Command::PlaceOrder {
        user: "ann".to_owned(),
        lines: Lines::Basket,
        delivery: Delivery::NextDay,
        tip: Pence::new(0),
        postcode: postcode.map(str::to_owned),
        strict: false,
        expected: None,
    }
}

fn details(phone: Option<&str>, postcode: Option<&str>) -> Command {
    Command::SetDetails {
        user: "ann".to_owned(),
        first: None,
        last: None,
        phone: phone.map(str::to_owned),
        address: None,
        postcode: postcode.map(str::to_owned),
    }
}

#[test]
fn an_order_with_a_postcode_goes_with_its_verdict() {
    let facts = facts(Policy::Lenient, &order(Some(" dh1-3le. "))).unwrap();
    let verdict = facts.verdict.unwrap();
    assert_eq!(
        (verdict.postcode.as_str(), verdict.source, verdict.checked),
        ("DH1 3LE", Source::Unconfirmed, NOW)
    );
    assert!(!facts.strict);
}

/// Nothing of it is a postcode; some of it would be another address than the one that is meant.
const NOT_POSTCODES: [&str; 12] = [
    "",
    "DH 11",
    "MA1 1AA",
    "../../etc/passwd",
    "?x=1",
    "#",
    "%2f",
    "DH1 3LE/../x",
    "DH1%203LE",
    "\0",
    "🍕",
    "\u{202e}DH1 3L",
];

#[test]
fn a_malformed_postcode_is_never_ordered_and_nobody_is_asked() {
    let world = World::silent();
    let door = Door::new(world.postcodes(), Policy::Lenient, Films::new(None));
    let long = "DH1 3LE".repeat(2_000);
    for text in NOT_POSTCODES.into_iter().chain([long.as_str()]) {
        let Err(Refused(reply)) = complete(&door, &encode(&order(Some(text)))) else {
            panic!("{text} was ordered")
        };
        let refusal = Refusal::postcode_malformed(text);
        assert_eq!(decode::<Reply>(&reply), Ok(Reply::Refused(refusal.clone())));
        let query = encode(&Query::Postcode { text: text.to_owned() });
        let answer = door.answer(&food(), VISIT, &query).now_or_never().unwrap().unwrap();
        assert_eq!(decode(&answer), Ok(Answer::Refused(refusal)));
    }
    assert!(world.asked().is_empty());
}

/// Whatever stands between its letters: one way to ask.
#[tokio::test]
async fn t09_what_is_asked_is_the_canonical_code_as_one_segment() {
    for text in ["DH1/3LE", "dh1?3le", "#DH1 3LE", "..DH13LE", "DH1 3LE\0", "\u{202e}DH1 3LE", "DH1🍕3LE"] {
        let world = World::new(|_| Says::Page(404, r#"{"error":"Postcode not found"}"#.to_owned()));
        let door = Door::new(world.postcodes(), Policy::Lenient, Films::new(None));
        door.complete(&food(), VISIT, &encode(&order(Some(text)))).await.unwrap_err();
        assert_eq!(world.asked(), ["postcodes.io/postcodes/DH1%203LE"], "{text}");
    }
}

#[test]
fn a_question_about_a_postcode_is_the_doors_and_all_others_are_not() {
    let door = Door::new(offline(), Policy::Lenient, Films::new(None));
    let answer = |query: &Query| {
        let answer = door.answer(&food(), VISIT, &encode(query)).now_or_never().unwrap();
        answer.map(|answer| decode::<Answer>(&answer).unwrap())
    };
    let Some(Answer::Postcode(checked)) = answer(&Query::Postcode { text: " dh1-3le.".to_owned() }) else {
        panic!("it is the door's")
    };
    assert_eq!(
        (checked.postcode.as_str(), checked.answer(), checked.checked),
        ("DH1 3LE", "unconfirmed", NOW)
    );
    assert_eq!(answer(&Query::Motd), None);
    let (movies, nonsense) = ("movies".parse().unwrap(), b"\xff");
    let postcode = encode(&Query::Postcode { text: "DH1 3LE".to_owned() });
    assert_eq!(door.answer(&movies, VISIT, &postcode).now_or_never().unwrap(), None);
    assert_eq!(door.answer(&food(), VISIT, nonsense).now_or_never().unwrap(), None);
}

#[test]
fn a_phone_is_stored_in_its_international_form_or_refused() {
    let stored = facts(Policy::Lenient, &details(Some("020 7946 0018"), None)).unwrap();
    assert_eq!(stored.phone.unwrap().as_str(), "+442079460018");
    let refused = facts(Policy::Lenient, &details(Some("12abc"), Some("DH1 3LE")));
    assert_eq!(refused, Err(Refusal::Invalid { field: Field::Phone, at: None, why: Why::Phone }));
}

#[test]
fn a_strict_front_end_says_so_beside_an_order_with_and_without_postcode() {
    assert!(facts(Policy::Strict, &order(None)).unwrap().strict);
    assert!(facts(Policy::Strict, &order(Some("DH1 3LE"))).unwrap().strict);
}

#[test]
fn a_command_that_needs_no_facts_gets_none() {
    let door = Door::new(offline(), Policy::Strict, Films::new(None));
    for command in [Command::CancelOrder { user: "ann".to_owned(), no: 1 }, details(None, None)] {
        assert_eq!(complete(&door, &encode(&command)), Ok(Bytes::new()));
    }
}

#[test]
fn bytes_that_are_no_command_are_refused_and_never_ordered() {
    for payload in [&b""[..], b"\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        let Err(Refused(reply)) = complete(&Door::new(offline(), Policy::Lenient, Films::new(None)), payload)
        else {
            panic!("{payload:?} was ordered")
        };
        assert_eq!(decode::<Reply>(&reply), Ok(Reply::Refused(Refusal::Malformed)));
    }
}

#[tokio::test]
async fn a_refusal_of_the_one_who_was_asked_is_the_callers_answer() {
    let world = World::new(|_| Says::Page(404, r#"{"error":"Postcode not found"}"#.to_owned()));
    let door = Door::new(world.postcodes(), Policy::Lenient, Films::new(None));
    let Err(Refused(reply)) = complete(&door, &encode(&order(Some("DH1 9ZZ")))) else {
        panic!("it was ordered")
    };
    let postcode = "DH1 9ZZ".parse().unwrap();
    assert_eq!(
        decode::<Reply>(&reply),
        Ok(Reply::Refused(Refusal::PostcodeUnknown { postcode, near: vec![] }))
    );
}

#[test]
fn what_omdb_says_is_for_the_door_to_tell() {
    let door = Door::new(offline(), Policy::Lenient, Films::new(None));
    let films: GroupName = movies::NAME.parse().unwrap();
    let complete = |payload: &[u8]| door.complete(&films, VISIT, payload).now_or_never().unwrap();
    let movie = movies::command::NewMovie { title: "Solaris".to_owned(), ..Default::default() };
    assert_eq!(complete(&encode(&movies::Command::Add { movie: movie.clone() })), Ok(Bytes::new()));
    let malformed = encode(&movies::Reply::Refused(movies::Refusal::Malformed));
    for payload in [encode(&movies::Command::Fill { record: movie }), Bytes::new(), b"\xff"[..].into()] {
        assert_eq!(complete(&payload), Err(Refused(malformed.clone())));
    }
}

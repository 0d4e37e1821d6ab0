use std::cell::RefCell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::services::just_hungry::command::{Delivery, Lines, Reply, Source};
use common::services::money::Pence;
use common::services::postcode::Postcode;

use super::postcodes::Offline;
use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_268_800_000);

fn food() -> GroupName {
    just_hungry::NAME.parse().unwrap()
}

/// Nobody is waited for offline, so one poll is enough.
fn complete<P: PostcodeCheck>(door: &Door<P>, payload: &[u8]) -> Result<Bytes, Refused> {
    let food = food();
    let mut completing = pin!(door.complete(&food, NOW, payload));
    match completing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("nobody is there to wait for"),
    }
}

fn facts(policy: Policy, command: &Command) -> Result<Facts, Refusal> {
    match complete(&Door::new(Offline, policy), &encode(command)) {
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

#[test]
fn a_malformed_postcode_is_never_ordered_and_nobody_is_asked() {
    struct Asked(RefCell<u32>);
    impl PostcodeCheck for Asked {
        async fn check(&self, postcode: Postcode, now: Timestamp) -> Result<Verdict, Refusal> {
            *self.0.borrow_mut() += 1;
            Offline.check(postcode, now).await
        }
    }
    let door = Door::new(Asked(RefCell::default()), Policy::Lenient);
    for text in ["", "DH 11", "MA1 1AA", "../../etc/passwd", &"x".repeat(10_000)] {
        let Err(Refused(reply)) = complete(&door, &encode(&order(Some(text)))) else {
            panic!("{text} was ordered")
        };
        let text = text.chars().take(16).collect();
        assert_eq!(decode::<Reply>(&reply), Ok(Reply::Refused(Refusal::PostcodeMalformed { text })));
    }
    assert_eq!(*door.postcodes.0.borrow(), 0);
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
    let door = Door::new(Offline, Policy::Strict);
    for command in [Command::CancelOrder { user: "ann".to_owned(), no: 1 }, details(None, None)] {
        assert_eq!(complete(&door, &encode(&command)), Ok(Bytes::new()));
    }
}

#[test]
fn bytes_that_are_no_command_are_refused_and_never_ordered() {
    for payload in [&b""[..], b"\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        let Err(Refused(reply)) = complete(&Door::new(Offline, Policy::Lenient), payload) else {
            panic!("{payload:?} was ordered")
        };
        assert_eq!(decode::<Reply>(&reply), Ok(Reply::Refused(Refusal::Malformed)));
    }
}

#[test]
fn a_refusal_of_the_one_who_was_asked_is_the_callers_answer() {
    struct NotThere;
    impl PostcodeCheck for NotThere {
        async fn check(&self, postcode: Postcode, _: Timestamp) -> Result<Verdict, Refusal> {
            Err(Refusal::PostcodeUnknown { postcode, near: vec![] })
        }
    }
    let Err(Refused(reply)) =
        complete(&Door::new(NotThere, Policy::Lenient), &encode(&order(Some("DH1 9ZZ"))))
    else {
        panic!("it was ordered")
    };
    let postcode = "DH1 9ZZ".parse().unwrap();
    assert_eq!(
        decode::<Reply>(&reply),
        Ok(Reply::Refused(Refusal::PostcodeUnknown { postcode, near: vec![] }))
    );
}

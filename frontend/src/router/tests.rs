use std::sync::Arc;

use common::clock::Timestamp;
use common::ids::{ClusterId, InstanceId};
use common::names::{Address, Record};
use common::replication::{Member, RequestId};
use common::rpc::replica::{QueryError, SubmitError};
use common::rpc::transport::CallError;

use super::*;
use crate::failure::Reading;
use crate::fixtures::{food, id, led_by, member, name};

const DEADLINE: Moment = Moment::after_origin(Duration::from_secs(5));

fn at(millis: u64) -> Moment {
    Moment::after_origin(Duration::from_millis(millis))
}

/// Replica `number` listens on port 4000 + `number`.
fn port(number: u16) -> Address {
    format!("127.0.0.1:{}", 4000 + number).parse().unwrap()
}

fn replica(number: u16) -> Target {
    Target { id: id(number), address: port(number) }
}

/// Three replicas in sync, the first leads.
fn three() -> Group {
    let mut group = Group::unknown(food());
    group.learn(&led_by(1, 1, &[1, 2, 3]));
    group.name_places(&[name(1, 1, port(1)), name(2, 2, port(2)), name(3, 3, port(3))]);
    group
}

fn not_primary() -> Setback {
    Setback::NotPrimary { config: None, address: None }
}

#[test]
fn the_primary_is_asked_first_and_at_once() {
    let mut journey = Journey::new(at(0), DEADLINE);
    assert_eq!(journey.step(at(0), &three()), Step::Ask(replica(1)));
}

#[test]
fn a_refusing_primary_sends_the_request_to_a_backup_at_once() {
    let (group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    journey.step(at(0), &group);
    journey.failed(at(1), &Setback::Away, &group);
    assert_eq!(journey.step(at(1), &group), Step::Ask(replica(2)));
}

#[test]
fn the_others_are_asked_in_turn_five_milliseconds_apart_and_then_further() {
    let (group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    journey.step(at(0), &group);
    journey.failed(at(0), &Setback::Away, &group);
    let (mut now, mut asked) = (at(0), Vec::new());
    for _ in 0..8 {
        match journey.step(now, &group) {
            Step::Ask(target) => {
                asked.push((now.since_origin().as_millis(), target.address.port - 4000));
                journey.failed(now, &not_primary(), &group);
            }
            Step::Wait { until } => now = until,
            Step::GiveUp => panic!("the deadline is far"),
        }
        if let Step::Wait { until } = journey.step(now, &group) {
            now = until;
        }
    }
    let expected = [(0, 2), (5, 3), (15, 1), (35, 2), (75, 3), (155, 1), (255, 2), (355, 3)];
    assert_eq!(asked, expected);
}

#[test]
fn a_newer_record_is_followed_at_once() {
    let (mut group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    journey.step(at(0), &group);
    assert!(group.learn(&led_by(3, 2, &[2, 3])));
    journey.failed(at(1), &not_primary(), &group);
    assert_eq!(journey.step(at(1), &group), Step::Ask(replica(3)));
}

#[test]
fn a_stale_or_foreign_record_is_not_followed() {
    let (mut group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    group.learn(&led_by(2, 5, &[1, 2, 3]));
    assert!(!group.learn(&led_by(3, 4, &[3])));
    assert!(!group.learn(&led_by(3, 5, &[3])));
    assert!(!group.learn(&GroupConfig { cluster: ClusterId::from_bytes([2; 16]), ..led_by(3, 9, &[3]) }));
    assert!(!group.learn(&GroupConfig { group: "movies".parse().unwrap(), ..led_by(3, 9, &[3]) }));
    assert_eq!(journey.step(at(0), &group), Step::Ask(replica(2)));
}

#[test]
fn a_waiting_request_goes_to_a_new_primary_without_waiting_its_pause_out() {
    let (mut group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    for _ in 0..8 {
        if let Step::Ask(_) = journey.step(at(0), &group) {
            journey.failed(at(0), &Setback::Away, &group);
        }
    }
    assert!(matches!(journey.step(at(0), &group), Step::Wait { .. }));
    group.learn(&led_by(2, 2, &[2, 3]));
    assert_eq!(journey.step(at(1), &group), Step::Ask(replica(2)));
}

#[test]
fn a_primary_elected_anew_in_another_boot_is_asked_anew() {
    let (mut group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    journey.step(at(0), &group);
    journey.failed(at(0), &Setback::Lost, &group);
    journey.step(at(0), &group);
    journey.failed(at(0), &not_primary(), &group);
    let again = Member { boot: InstanceId::from_u128(11), ..member(1) };
    group.learn(&GroupConfig { primary: again, ..led_by(1, 2, &[1, 2, 3]) });
    assert_eq!(journey.step(at(0), &group), Step::Ask(replica(1)));
}

#[test]
fn a_silent_primary_is_left_when_the_group_has_another_and_kept_when_it_only_shrank() {
    let (mut group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    journey.step(at(0), &group);
    group.learn(&led_by(1, 2, &[1, 2]));
    assert!(!journey.overtaken(&replica(1), &group));
    group.learn(&led_by(2, 3, &[2]));
    assert!(journey.overtaken(&replica(1), &group));
    // A backup that was asked and then won is the right one to wait for.
    assert!(!journey.overtaken(&replica(2), &group));
}

#[test]
fn a_busy_replica_is_asked_again_when_it_says() {
    let (group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    journey.step(at(0), &group);
    journey.failed(at(0), &Setback::Busy { retry_in: Duration::from_millis(30) }, &group);
    assert_eq!(journey.step(at(1), &group), Step::Wait { until: at(30) });
    assert_eq!(journey.step(at(30), &group), Step::Ask(replica(1)));
}

#[test]
fn an_unknown_group_is_waited_for_until_the_deadline() {
    let (mut group, mut journey) = (Group::unknown(food()), Journey::new(at(0), DEADLINE));
    assert_eq!(journey.step(at(0), &group), Step::Wait { until: DEADLINE });
    group.learn(&led_by(1, 1, &[1]));
    assert_eq!(journey.step(at(1), &group), Step::Wait { until: DEADLINE }, "nobody knows where it listens");
    group.name_places(&[name(1, 1, port(1))]);
    assert_eq!(journey.step(at(2), &group), Step::Ask(replica(1)));
    assert_eq!(journey.step(DEADLINE, &group), Step::GiveUp);
}

#[test]
fn a_restarted_replica_is_found_at_its_new_address() {
    let (mut group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    journey.step(at(0), &group);
    journey.failed(at(0), &Setback::Away, &group);
    assert!(group.name_places(&[name(1, 9, port(91)), name(2, 2, port(2)), name(3, 3, port(3))]));
    let Step::Ask(asked) = journey.step(at(0), &group) else { panic!("nobody is asked") };
    assert_eq!(asked, Target { id: id(1), address: port(91) });
}

#[test]
fn of_two_names_for_one_disk_the_later_registration_counts() {
    let mut group = three();
    let elsewhere =
        Arc::new(Record { name: "replica.west".parse().unwrap(), ..(*name(1, 8, port(80))).clone() });
    group.name_places(&[elsewhere, name(1, 1, port(1))]);
    assert_eq!(group.leader().unwrap().target.address, port(80));
}

#[test]
fn an_in_sync_member_whose_name_is_gone_is_still_asked_where_it_was() {
    let mut group = three();
    group.learn(&led_by(1, 2, &[1, 2]));
    group.name_places(&[]);
    let asked: Vec<Target> = group.members().collect();
    assert_eq!(asked, [replica(1), replica(2)]);
    // Replica 3 is nobody to ask any more, and its connection need not be kept.
    assert_eq!(group.addresses().count(), 2);
    group.learn(&led_by(2, 3, &[2]));
    assert_eq!(group.addresses().collect::<Vec<_>>(), [&port(2)]);
}

#[test]
fn a_stopping_primary_is_left_for_the_others_like_a_dead_one() {
    let (group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    journey.step(at(0), &group);
    let Reading::Setback(setback) = SubmitError::Draining.read() else { panic!("the journey ended") };
    journey.failed(at(0), &setback, &group);
    assert_eq!(journey.step(at(0), &group), Step::Ask(replica(2)));
}

#[test]
fn a_primary_without_a_name_is_found_by_a_replicas_word() {
    let mut group = Group::unknown(food());
    let record = led_by(2, 2, &[2, 3]);
    group.learn(&record);
    group.name_places(&[name(3, 3, port(3))]);
    assert_eq!(group.leader(), None);
    assert!(group.hear(&record, "127.0.0.1:4002".parse().unwrap()));
    assert_eq!(group.leader().unwrap().target, replica(2));
    // Of another primary than the one we know of, nobody's word counts.
    assert!(!group.hear(&led_by(3, 1, &[3]), "127.0.0.1:4003".parse().unwrap()));
}

#[test]
fn nobody_reachable_until_the_deadline_is_no_primary_only_if_no_try_had_an_effect() {
    let (group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    for setback in [Setback::Away, not_primary(), Setback::Away] {
        journey.failed(at(0), &setback, &group);
    }
    let how = journey.given_up(DEADLINE);
    assert_eq!(SubmitError::given_up(&food(), &how), SubmitError::NoPrimary { service: food() });
    journey.failed(at(0), &Setback::Lost, &group);
    journey.failed(at(0), &Setback::Away, &group);
    let how = journey.given_up(DEADLINE);
    assert_eq!(
        SubmitError::given_up(&food(), &how),
        SubmitError::Unacknowledged { waited: Duration::from_secs(5) }
    );
}

#[test]
fn a_replica_that_stays_busy_until_the_deadline_is_named_so() {
    let (group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    let retry_in = Duration::from_millis(20);
    journey.failed(at(0), &Setback::Busy { retry_in }, &group);
    let how = journey.given_up(DEADLINE);
    assert_eq!(SubmitError::given_up(&food(), &how), SubmitError::Busy { retry_in });
    assert_eq!(QueryError::given_up(&food(), &how), QueryError::Busy { retry_in });
}

#[test]
fn an_unknown_outcome_is_never_turned_into_no_effect() {
    let (group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    let no_effect = [
        SubmitError::DiskFull,
        SubmitError::FromTheFuture { now: Timestamp::default() },
        SubmitError::TooLarge { limit: 1 },
    ];
    for error in no_effect.clone() {
        assert_eq!(journey.conclude(at(1), &food(), error.clone()), error);
    }
    journey.failed(at(0), &Setback::Lost, &group);
    for error in no_effect {
        let told = journey.conclude(at(1), &food(), error);
        assert_eq!(told.outcome(), Outcome::Unknown, "{told}");
    }
}

#[test]
fn expired_reused_and_refused_at_the_door_are_final_even_after_a_lost_try() {
    let (group, mut journey) = (three(), Journey::new(at(0), DEADLINE));
    let finals = [
        SubmitError::Expired { floor: RequestId::LEAST, now: Timestamp::default() },
        SubmitError::Reused,
        SubmitError::TooFewInSync { in_sync: 1, needed: 2 },
    ];
    journey.failed(at(0), &Setback::Lost, &group);
    for error in finals {
        assert_eq!(error.clone().read(), Reading::Final(error.clone()));
        assert_eq!(journey.conclude(at(1), &food(), error.clone()), error);
    }
    // These tell of their own copy only: another one may have been taken in.
    let too_few = SubmitError::TooFewToAdmit { in_sync: 1, needed: 2 };
    assert_eq!(journey.conclude(at(1), &food(), too_few.clone()).outcome(), Outcome::Unknown);
    let door = SubmitError::AtTheDoor { reply: bytes::Bytes::new() };
    for own in [too_few, door] {
        assert_eq!(own.clone().read(), Reading::Final(own));
    }
}

#[test]
fn every_failed_call_keeps_its_outcome() {
    let address = port(1);
    let calls = [
        CallError::Unreachable { address, why: String::new(), refused: true },
        CallError::Incompatible { why: String::new() },
        CallError::Busy { retry_in: Duration::ZERO },
        CallError::ConnectionLost,
        CallError::Unacknowledged,
        CallError::TooLarge { limit: 1 },
        CallError::Internal { why: String::new() },
    ];
    for call in calls {
        let unknown = match &call {
            CallError::ConnectionLost | CallError::Unacknowledged | CallError::Internal { .. } => {
                Outcome::Unknown
            }
            _ => Outcome::NoEffect,
        };
        let read = match SubmitError::read_call(call.clone()) {
            Reading::Setback(Setback::Lost) => Outcome::Unknown,
            Reading::Setback(_) => Outcome::NoEffect,
            Reading::Final(error) => error.outcome(),
        };
        assert_eq!(read, unknown, "{call}");
    }
}

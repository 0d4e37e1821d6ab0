//! The laws of [`super::StateMachine`], as checks for the tests of every service. A service brings its commands, as
//! its generator draws them; the laws bring the doubt.

use std::time::Duration;

use bytes::Bytes;

use super::{Applied, Machine, REPLY_BYTES_MAX, StateMachine, decode, encode};
use crate::clock::Timestamp;
use crate::replication::{Epoch, LogIndex, LogPoint, RequestId};

/// A command as an engine hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the front end found out.
    pub facts: Bytes,
    /// The client's bytes.
    pub payload: Bytes,
}

impl Step {
    /// The step of this command.
    pub fn new<S: StateMachine>(facts: &S::Facts, command: &S::Command) -> Self {
        Self { facts: encode(facts), payload: encode(command) }
    }
}

/// What the n-th command of a test is applied as, a second after the one before; the first is 0.
pub fn applied(nth: u64) -> Applied {
    /// 2026-11-21 12:00 UTC.
    const FIRST: Timestamp = Timestamp::from_millis(1_795_262_400_000);
    let time = FIRST.plus(Duration::from_secs(nth));
    // Genesis is entry 1.
    let at = LogPoint { epoch: Epoch(1), index: LogIndex(nth + 2) };
    Applied { at, time, request: RequestId::from_parts(time, 0, nth) }
}

/// Checks that two replicas, one of which is restored from its own snapshot before every command, give the same
/// bytes for everything; that replies fit, queries change nothing, and neither do bytes that are no command.
///
/// # Panics
/// When `S` breaks a law.
pub fn check<S: StateMachine>(start: &[u8], steps: &[Step], queries: &[Bytes]) {
    let begun = || S::start(applied(0).time, start).expect("the test's own start");
    let (mut steady, mut restored) = (begun(), begun());
    for (step, nth) in steps.iter().zip(0..) {
        let before = Machine::snapshot(&steady);
        check_malformed(&mut steady, step, applied(nth), &before);
        restored = S::restore(&Machine::snapshot(&restored)).expect("a machine restores its own snapshot");
        assert_eq!(before, Machine::snapshot(&restored), "before command {nth}: restoring changed the state");

        let reply = Machine::apply(&mut steady, applied(nth), &step.facts, &step.payload);
        let again = Machine::apply(&mut restored, applied(nth), &step.facts, &step.payload);
        assert_eq!(reply, again, "command {nth}: two replicas replied differently");
        assert!(reply.len() <= REPLY_BYTES_MAX, "command {nth}: a reply of {} bytes", reply.len());
        assert!(decode::<S::Reply>(&reply).is_ok(), "command {nth}: the reply cannot be read");
        assert_eq!(
            Machine::snapshot(&steady),
            Machine::snapshot(&restored),
            "command {nth}: two replicas differ after it"
        );
    }
    let end = Machine::snapshot(&steady);
    for query in queries {
        let answer = Machine::query(&steady, query);
        assert_eq!(answer, Machine::query(&restored, query), "two replicas answered {query:?} differently");
        assert!(decode::<S::Answer>(&answer).is_ok(), "the answer to {query:?} cannot be read");
        assert_eq!(Machine::snapshot(&steady), end, "{query:?} changed the state");
    }
    check_damaged::<S>(&end);
}

/// Bytes that are no command or query are answered, and change nothing.
fn check_malformed<S: StateMachine>(machine: &mut S, step: &Step, applied: Applied, before: &Bytes) {
    let refusal = encode(&S::malformed_command());
    let longer = [&step.payload[..], &[0]].concat();
    let shorter = &step.payload[..step.payload.len().saturating_sub(1)];
    for payload in [&longer[..], shorter, &[], &[0xff; 9]] {
        if decode::<S::Command>(payload).is_err() {
            assert_eq!(Machine::apply(machine, applied, &step.facts, payload), refusal);
        }
    }
    assert_eq!(Machine::apply(machine, applied, &[0xff; 9], &step.payload), refusal, "unreadable facts");
    assert_eq!(Machine::query(machine, &[0xff; 9]), encode(&S::malformed_query()));
    assert_eq!(Machine::snapshot(machine), before, "bytes that are no command changed the state");
}

/// A snapshot that is cut or goes on is not taken.
fn check_damaged<S: StateMachine>(snapshot: &[u8]) {
    for length in (0..snapshot.len()).rev().take(64).chain(0..snapshot.len().min(64)) {
        assert!(S::restore(&snapshot[..length]).is_err(), "restored from the first {length} bytes");
    }
    assert!(S::restore(&[snapshot, &[0]].concat()).is_err(), "restored from a byte too many");
}

//! The laws of [`CausalStateMachine`], as checks for the tests of every service.

use bytes::Bytes;

use super::{CausalMachine, CausalStateMachine, REPLY_BYTES_MAX, decode, encode};
use crate::clock::Timestamp;
use crate::replication::RequestId;

/// An update as an engine hands it over.
pub type Stamped = (RequestId, Bytes);

/// Checks that replicas which apply the same updates in two causal orders have one digest and answer alike, one of
/// them being restored from its own snapshot before every update; that one which has forgotten all that is older than
/// `settled`, once all of that had come, answers alike, too; that replies fit, and bytes that are no update do nothing.
///
/// # Panics
/// When `S` breaks a law.
pub fn check<S: CausalStateMachine>(
    first: &[Stamped],
    second: &[Stamped],
    settled: Timestamp,
    queries: &[Bytes],
) {
    assert_eq!(first.len(), second.len(), "two orders of the same updates");
    let (mut steady, mut restored) = (S::default(), S::default());
    for (at, update) in first.iter().enumerate() {
        check_malformed(&mut steady, update);
        let reply = CausalMachine::apply(&mut steady, update.0, &update.1);
        assert!(reply.len() <= REPLY_BYTES_MAX, "update {at}: a reply of {} bytes", reply.len());
        assert!(decode::<S::Reply>(&reply).is_ok(), "update {at}: the reply cannot be read");
    }
    for (at, (stamp, payload)) in second.iter().enumerate() {
        let before = CausalMachine::snapshot(&restored);
        restored = S::restore(&before).expect("a machine restores its own snapshot");
        assert_eq!(
            before,
            CausalMachine::snapshot(&restored),
            "before update {at}: restoring changed the value"
        );
        CausalMachine::apply(&mut restored, *stamp, payload);
    }
    same(&steady, &restored, queries, "in another order, and restored before each update");

    let (old, new): (Vec<_>, Vec<_>) = second.iter().partition(|(stamp, _)| stamp.time() < settled);
    let mut forgetful = S::default();
    for (stamp, payload) in old {
        CausalMachine::apply(&mut forgetful, *stamp, payload);
    }
    let kept = forgetful.clone();
    CausalMachine::forget(&mut forgetful, settled);
    same(&kept, &forgetful, queries, "having forgotten");
    for (stamp, payload) in new {
        CausalMachine::apply(&mut forgetful, *stamp, payload);
    }
    same(&steady, &forgetful, queries, "having forgotten halfway");
    check_damaged::<S>(&CausalMachine::snapshot(&steady));
}

fn same<S: CausalStateMachine>(one: &S, other: &S, queries: &[Bytes], how: &str) {
    assert_eq!(CausalMachine::digest(one), CausalMachine::digest(other), "{how}: another digest");
    for query in queries {
        let answer = CausalMachine::query(one, query);
        assert_eq!(answer, CausalMachine::query(other, query), "{how}: {query:?} is answered otherwise");
        assert!(decode::<S::Answer>(&answer).is_ok(), "the answer to {query:?} cannot be read");
    }
}

fn check_malformed<S: CausalStateMachine>(machine: &mut S, (stamp, payload): &Stamped) {
    let before = CausalMachine::snapshot(machine);
    let longer = [payload, &[0][..]].concat();
    for payload in [&longer[..], &[], &[0xff; 9]] {
        if decode::<S::Update>(payload).is_err() {
            assert_eq!(CausalMachine::apply(machine, *stamp, payload), encode(&S::malformed_update()));
        }
    }
    assert_eq!(CausalMachine::query(machine, &[0xff; 9]), encode(&S::malformed_query()));
    assert_eq!(CausalMachine::snapshot(machine), before, "bytes that are no update changed the value");
}

/// A snapshot that is cut or goes on is not taken.
fn check_damaged<S: CausalStateMachine>(snapshot: &[u8]) {
    for length in (0..snapshot.len()).rev().take(64) {
        assert!(S::restore(&snapshot[..length]).is_err(), "restored from the first {length} bytes");
    }
    assert!(S::restore(&[snapshot, &[0]].concat()).is_err(), "restored from a byte too many");
}

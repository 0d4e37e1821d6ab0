use common::ids::InstanceId;
use common::names::{
    Lifetime, NameEpoch, Names, Query, Readiness, RecordRef, Sharing, Standing, TargetRef, Weight,
};
use proptest::prelude::*;

use super::*;

fn record(name: &str, readiness: Readiness, rev: u64) -> PackedRecord {
    PackedRecord::from(&RecordRef {
        name,
        sharing: Sharing::Exclusive,
        instance: InstanceId::from_u128(1),
        epoch: NameEpoch(Revision(rev)),
        target: TargetRef::Service {
            address: "127.0.0.1:1".parse().unwrap(),
            object: "",
            contract: "replica",
        },
        tags: Vec::new(),
        readiness,
        standing: Standing::Confirmed,
        weight: Weight::default(),
        lifetime: Lifetime::Permanent,
    })
}

fn event(rev: u64, name: &str, before: Option<Readiness>, after: Option<Readiness>) -> Event {
    let record = |readiness| record(name, readiness, rev);
    match (before.map(record), after.map(record)) {
        (None, Some(after)) => Event::Registered(after),
        (Some(before), Some(after)) => Event::updated(before, after, Revision(rev)),
        (Some(before), None) => Event::removed(before, Removal::Expired, Revision(rev)),
        (None, None) => unreachable!("nothing happened"),
    }
}

fn query(names: Names, readiness: Option<Readiness>) -> Vec<Numbered> {
    vec![(WatchId(7), Matcher::new(Query { readiness, ..Query::by_name(names) }).unwrap())]
}

/// Field failure: a watcher that resumed inside a revision never saw the rest of it. A lease with 500 names dies
/// between 600 other changes; the answers are cut, but not there.
#[test]
fn f07_mass_removal_is_whole() {
    let mut ring = Ring::new(Revision(0), RING_EVENTS);
    let up = Some(Readiness::Up);
    for rev in 1..=800 {
        ring.push(Revision(rev), [event(rev, &format!("n{rev}"), None, up)]);
    }
    ring.push(Revision(801), (0..500).map(|n| event(801, &format!("m{n}"), up, None)));
    for rev in 802..=900 {
        ring.push(Revision(rev), [event(rev, &format!("n{rev}"), None, up)]);
    }
    let all = query(Names::Any, None);
    let first = ring.since(Revision(0), &all).unwrap();
    assert_eq!((first.changes.len(), first.upto, first.complete), (1_300, Revision(801), false));
    let rest = ring.since(first.upto, &all).unwrap();
    assert_eq!((rest.changes.len(), rest.upto, rest.complete), (99, Revision(900), true));
}

#[test]
fn who_leaves_a_query_is_told_to_its_asker() {
    let mut ring = Ring::new(Revision(0), RING_EVENTS);
    let (up, draining) = (Some(Readiness::Up), Some(Readiness::Draining));
    ring.push(Revision(1), [event(1, "a", None, draining)]);
    ring.push(Revision(2), [event(2, "a", draining, up)]);
    ring.push(Revision(3), [event(3, "a", up, draining)]);
    ring.push(Revision(4), [event(4, "a", draining, None)]);
    let answer = ring.since(Revision(0), &query(Names::Prefix("a".into()), up)).unwrap();
    let revs: Vec<u64> = answer.changes.iter().map(|change| change.rev.0).collect();
    assert_eq!(revs, [2, 3]);
    assert_eq!(answer.upto, Revision(4));
    assert!(matches!(answer.changes[1].what, What::Updated(_)));
    assert_eq!(answer.changes[0].ids, [WatchId(7)]);
}

proptest! {
    /// Field failure: watchers lost, repeated or reordered changes around compaction and reconnect. Here a watcher is
    /// away for random times: it sees the history exactly, or is told to list again.
    #[test]
    fn f06_watch_equals_history(
        sizes in prop::collection::vec(1..6_u64, 1..200),
        limit in 1..60_usize,
        pauses in prop::collection::vec(0..40_usize, 1..20),
    ) {
        let mut ring = Ring::new(Revision(0), limit);
        let all = query(Names::Any, None);
        let mut history = Vec::new();
        let mut seen = Vec::new();
        let mut at = Revision(0);
        let mut away = pauses.iter().cycle().copied();
        let mut left = 0;
        for (rev, size) in (1..).zip(sizes) {
            let events: Vec<Event> =
                (0..size).map(|n| event(rev, &format!("r{rev}.{n}"), None, Some(Readiness::Up))).collect();
            history.extend(events.iter().map(|event| (event.rev(), event.name().to_owned())));
            ring.push(Revision(rev), events);
            if left > 0 {
                left -= 1;
                continue;
            }
            left = away.next().unwrap();
            match ring.since(at, &all) {
                Ok(answer) => {
                    seen.extend(answer.changes.iter().map(|change| (change.rev, change.name.to_string())));
                    at = answer.upto;
                }
                Err(Compacted { oldest }) => {
                    prop_assert!(at < oldest);
                    // It lists, and goes on from there.
                    at = Revision(rev);
                    seen.clone_from(&history);
                }
            }
            prop_assert_eq!(&seen, &history);
        }
    }
}

use std::time::Duration;

use common::clock::{Moment, Timestamp};
use common::ids::ClusterId;
use common::replication::{BootId, EntryKind, InSyncSet, Limits, Member, ReplicaId, RequestId};
use common::rpc::peer::{Message, Reply, ReplyBody};
use common::services::just_hungry::{Start, start_bytes};

use super::*;
use crate::passive::{BATCH_BYTES, Event, Now, Planted, Setup, SnapshotAfter, Stored, Waiter};

const PRIMARY: ReplicaId = ReplicaId::from_u128(2);
const AFTER: u64 = 8;

/// A log of so many entries, made in epoch 1.
fn log(count: u64) -> Vec<Arc<Entry>> {
    let mut crc = 0;
    let seal = |index: u64| {
        let at = Timestamp::from_millis(1_000 + index);
        let start = start_bytes(&Start::Demo);
        let request = RequestId::from_parts(at, 0, index);
        // Long ones: a state that is large beside its log is not written again and again.
        let payload = Bytes::from(format!("no command of anybody's, number {index:0500}"));
        let kind = match index {
            1 => EntryKind::Genesis { limits: Limits::default(), start },
            _ => EntryKind::Update { request, facts: Bytes::new(), payload },
        };
        let entry = Entry::seal(crc, LogIndex(index), Epoch(1), at, kind);
        crc = entry.crc;
        Arc::new(entry)
    };
    (1..=count).map(seal).collect()
}

/// A member with nothing on its disk, which takes a snapshot every eight entries.
fn empty() -> Core {
    let setup = Setup {
        cluster: ClusterId::from_bytes([7; 16]),
        group: "just.hungry".parse().unwrap(),
        me: Member { id: ReplicaId::from_u128(1), boot: BootId::from_u128(1) },
        name: "replica.1".parse().unwrap(),
        address: "127.0.0.1:1".parse().unwrap(),
        service: common::services::TABLE[0],
        first: None,
        snapshots: SnapshotAfter { multiples_of: 4, entries: AFTER, bytes: usize::MAX },
        batch_bytes: BATCH_BYTES,
        planted: Planted::default(),
    };
    let now = Now { at: Moment::ORIGIN, wall: Timestamp::from_millis(1) };
    Core::new(now, setup, Stored::default()).unwrap()
}

/// Takes a step; whatever goes to the disk is there at once.
fn step(core: &mut Core, event: Event) -> Vec<Effect> {
    let now = Now { at: Moment::ORIGIN + Duration::from_millis(1), wall: Timestamp::from_millis(1) };
    let (mut effects, mut seen) = (Vec::new(), 0);
    core.step(now, event, &mut effects);
    while seen < effects.len() {
        if let Effect::Persist(_, ticket) = effects[seen] {
            core.step(now, Event::Durable(ticket), &mut effects);
        }
        seen += 1;
    }
    effects
}

fn hear(core: &mut Core, message: Message) -> Vec<Effect> {
    step(core, Event::Peer { waiter: Waiter(1), message })
}

fn append(core: &mut Core, entries: &[Arc<Entry>]) -> Vec<Effect> {
    let (first, last) = (&entries[0], entries.last().unwrap());
    let epoch = if first.index == LogIndex(1) { Epoch(0) } else { Epoch(1) };
    let prev = LogPoint { epoch, index: first.index.prev() };
    let (entries, committed) = (entries.to_vec(), last.index);
    hear(core, Message::Append { from: PRIMARY, epoch: Epoch(1), prev, entries, committed })
}

fn work(effects: Vec<Effect>) -> Option<Work> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Work(work @ (Work::Take { .. } | Work::Restore { .. })) => Some(work),
        _ => None,
    })
}

fn alarmed(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Alarm { .. }))
}

/// The snapshot that a batch chooses, and where it says that the log begins.
fn chosen(effects: &[Effect]) -> (Option<Bytes>, Option<LogIndex>) {
    let batches = effects.iter().filter_map(|effect| match effect {
        Effect::Persist(batch, _) => Some(batch),
        _ => None,
    });
    batches.fold((None, None), |(snapshot, base), batch| {
        (snapshot.or(batch.snapshot.clone()), base.or(batch.base.map(|base| base.point.index)))
    })
}

/// What a member that applied all of it has.
fn expected(entries: &[Arc<Entry>]) -> State {
    let mut state = State::empty(&common::services::TABLE[0], Planted::default());
    for entry in entries {
        state.apply(entry).unwrap();
    }
    state
}

fn chunk(epoch: u64, last: LogPoint, bytes: &Bytes, offset: u64) -> Message {
    let bytes = bytes.slice(usize::try_from(offset).unwrap()..);
    let crc = crc32c::crc32c(&bytes);
    let whole = Some(crc32c::crc32c(&bytes)).filter(|_| offset == 0).or(Some(0));
    Message::SnapshotChunk { from: PRIMARY, epoch: Epoch(epoch), last, offset, bytes, crc, whole }
}

fn reply(effects: &[Effect]) -> &ReplyBody {
    let reply = effects.iter().find_map(|effect| match effect {
        Effect::Reply { reply: Reply { body, .. }, .. } => Some(body),
        _ => None,
    });
    reply.expect("somebody asked")
}

#[test]
fn a_snapshot_made_of_the_one_before_and_the_entries_since_is_the_states_own() {
    let (entries, mut core) = (log(33), empty());
    let first = work(append(&mut core, &entries[..9])).unwrap().run().unwrap();
    assert_eq!(chosen(&step(&mut core, Event::Worked(first))).1, None, "nothing before it to trim");
    let second = work(append(&mut core, &entries[9..18])).unwrap().run().unwrap();
    let effects = step(&mut core, Event::Worked(second));
    assert_eq!(chosen(&effects), (Some(expected(&entries[..16]).snapshot()), Some(LogIndex(8))));
}

#[test]
fn the_core_goes_on_while_a_snapshot_is_made_and_takes_none_beside_it() {
    let (entries, mut core) = (log(33), empty());
    let first = work(append(&mut core, &entries[..9])).unwrap();
    assert!(work(append(&mut core, &entries[9..33])).is_none());
    assert_eq!(core.progress().applied, LogIndex(33));
    let effects = step(&mut core, Event::Worked(first.run().unwrap()));
    assert_eq!(chosen(&effects).0, Some(expected(&entries[..8]).snapshot()));
}

#[test]
fn a_snapshot_that_came_out_otherwise_is_on_no_disk_and_nothing_is_trimmed_behind_it() {
    let (entries, mut core) = (log(40), empty());
    let first = work(append(&mut core, &entries[..9])).unwrap().run().unwrap();
    step(&mut core, Event::Worked(first));
    let Some(Work::Take { service, from, entries: mut since, planted }) =
        work(append(&mut core, &entries[9..16]))
    else {
        panic!("nothing is taken")
    };
    // As if a byte of it had changed on the way.
    let mut other = (*since[3]).clone();
    other.crc ^= 1;
    since[3] = Arc::new(other);
    let wrong = Work::Take { service, from, entries: since, planted }.run().unwrap();
    let effects = step(&mut core, Event::Worked(wrong));
    assert!(alarmed(&effects));
    assert_eq!(chosen(&effects), (None, None));
    // A later one has all the entries that it lacked.
    let later = work(append(&mut core, &entries[16..32])).unwrap().run().unwrap();
    let effects = step(&mut core, Event::Worked(later));
    assert_eq!(chosen(&effects), (Some(expected(&entries[..24]).snapshot()), Some(LogIndex(8))));
}

#[test]
fn a_snapshot_is_chosen_only_when_the_log_up_to_it_is_on_the_disk() {
    let (entries, mut core) = (log(9), empty());
    let now = Now { at: Moment::ORIGIN, wall: Timestamp::from_millis(1) };
    let (from, epoch, prev, committed) = (PRIMARY, Epoch(1), LogPoint::default(), LogIndex(9));
    let message = Message::Append { from, epoch, prev, entries, committed };
    let mut effects = Vec::new();
    core.step(now, Event::Peer { waiter: Waiter(1), message }, &mut effects);
    let Some(Effect::Persist(_, ticket)) =
        effects.iter().find(|effect| matches!(effect, Effect::Persist(..)))
    else {
        panic!("nothing is written")
    };
    let ticket = *ticket;
    let mut later = Vec::new();
    core.step(now, Event::Worked(work(effects).unwrap().run().unwrap()), &mut later);
    assert!(chosen(&later).0.is_none());
    core.step(now, Event::Durable(ticket), &mut later);
    assert!(chosen(&later).0.is_some());
}

#[test]
fn a_snapshot_that_was_sent_is_restored_aside_and_installed_when_it_is_ready() {
    let (entries, mut core) = (log(20), empty());
    let (last, bytes) = (entries[19].point(), expected(&entries).snapshot());
    let effects = hear(&mut core, chunk(1, last, &bytes, 0));
    let all = ReplyBody::Next { offset: bytes.len() as u64 };
    assert_eq!(*reply(&effects), all);
    let restore = work(effects).unwrap();
    // Who asks meanwhile hears that all of it is here.
    assert_eq!(*reply(&hear(&mut core, chunk(1, last, &bytes, bytes.len() as u64))), all);
    let effects = step(&mut core, Event::Worked(restore.run().unwrap()));
    assert_eq!(chosen(&effects), (Some(bytes.clone()), Some(last.index)));
    assert_eq!((core.progress().applied, core.progress().committed), (last.index, last.index));
    let effects = hear(&mut core, chunk(1, last, &bytes, bytes.len() as u64));
    assert_eq!(*reply(&effects), ReplyBody::Ack { durable: last.index });
}

#[test]
fn an_install_that_a_newer_epoch_overtook_changes_nothing() {
    let (entries, mut core) = (log(20), empty());
    let (last, bytes) = (entries[19].point(), expected(&entries).snapshot());
    let restore = work(hear(&mut core, chunk(1, last, &bytes, 0))).unwrap();
    let (epoch, committed) = (Epoch(2), LogIndex(0));
    let from = ReplicaId::from_u128(3);
    hear(&mut core, Message::Confirm { from, epoch, round: 1, committed, state: None });
    let effects = step(&mut core, Event::Worked(restore.run().unwrap()));
    assert_eq!(chosen(&effects), (None, None));
    assert!(!alarmed(&effects));
    assert_eq!(core.progress().applied, LogIndex(0));
}

#[test]
fn an_install_that_the_log_overtook_changes_nothing() {
    let (entries, mut core) = (log(20), empty());
    let (last, bytes) = (entries[11].point(), expected(&entries[..12]).snapshot());
    let restore = work(hear(&mut core, chunk(1, last, &bytes, 0))).unwrap();
    append(&mut core, &entries);
    let effects = step(&mut core, Event::Worked(restore.run().unwrap()));
    assert_eq!(chosen(&effects), (None, None));
    assert_eq!(core.progress().applied, LogIndex(20));
    assert_eq!(core.progress().state_hash, expected(&entries).hash());
}

#[test]
fn pieces_that_make_no_whole_are_not_installed() {
    let (entries, mut core) = (log(20), empty());
    let (last, bytes) = (entries[19].point(), expected(&entries).snapshot());
    let Message::SnapshotChunk { from, epoch, offset, bytes, crc, .. } = chunk(1, last, &bytes, 0) else {
        unreachable!("it is a chunk")
    };
    let whole = Some(crc ^ 1);
    let effects = hear(&mut core, Message::SnapshotChunk { from, epoch, last, offset, bytes, crc, whole });
    let effects = step(&mut core, Event::Worked(work(effects).unwrap().run().unwrap()));
    assert!(alarmed(&effects));
    assert_eq!(core.progress().applied, LogIndex(0));
}

#[test]
fn members_take_theirs_one_after_another() {
    let entries = log(16);
    let primary = Member { id: PRIMARY, boot: BootId::from_u128(1) };
    let taken_after = |before_me: u64| {
        let mut core = empty();
        core.setup = Arc::new(Setup {
            me: Member { id: ReplicaId::from_u128(9), ..primary },
            ..(*core.setup).clone()
        });
        let first = GroupConfig::first(core.setup.cluster, core.setup.group.clone(), primary, 1);
        let others = (0..before_me).map(|n| ReplicaId::from_u128(u128::from(2 + n)));
        let set = InSyncSet::new(others.chain([PRIMARY, core.me()]));
        step(&mut core, Event::Record(Some(first.with_in_sync(set))));
        let Some(Work::Take { entries, .. }) = work(append(&mut core, &entries)) else {
            panic!("none is taken")
        };
        entries.len()
    };
    // Every four entries it may, after eight it would: two more for each member that comes first.
    assert_eq!([1, 2, 3, 4].map(taken_after), [12, 12, 16, 16]);
}

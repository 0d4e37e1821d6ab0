//! What a message could cause is no assertion: a broken or lying peer is refused, and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Moment, Timestamp};
use common::ids::ClusterId;
use common::replication::{
    BootId, ConfigVersion, Entry, EntryKind, Epoch, GroupConfig, InSyncSet, Limits, LogIndex, LogPoint,
    Member, ReplicaId, RequestId,
};
use common::rpc::peer::{Message, Reply, ReplyBody};

use super::{Core, Effect, Event, Now, Setup, SnapshotAfter, Stored, Waiter};

pub(super) const ME: Member = Member { id: ReplicaId::from_u128(1), boot: BootId::from_u128(1) };
pub(super) const OTHER: Member = Member { id: ReplicaId::from_u128(2), boot: BootId::from_u128(2) };

pub(super) fn now(ms: u64) -> Now {
    Now { at: Moment::ORIGIN + Duration::from_millis(ms), wall: Timestamp::from_millis(1_000 + ms) }
}

pub(super) fn config(primary: Member) -> GroupConfig {
    let first =
        GroupConfig::first(ClusterId::from_bytes([7; 16]), "just.hungry".parse().unwrap(), primary, 1);
    GroupConfig { in_sync: InSyncSet::new([ME.id, OTHER.id]), ..first }
}

fn core(snapshots: SnapshotAfter) -> Core {
    core_that(snapshots, super::Planted::default())
}

fn core_that(snapshots: SnapshotAfter, planted: super::Planted) -> Core {
    let setup = Setup {
        cluster: ClusterId::from_bytes([7; 16]),
        group: "just.hungry".parse().unwrap(),
        me: ME,
        name: "replica.1".parse().unwrap(),
        address: "127.0.0.1:1".parse().unwrap(),
        service: common::services::TABLE[0],
        first: None,
        snapshots,
        batch_bytes: super::BATCH_BYTES,
        planted,
    };
    let genesis = Entry::seal(0, LogIndex(1), Epoch(1), Timestamp::from_millis(1), genesis());
    Core::new(now(0), setup, Stored { entries: vec![genesis], ..Stored::default() }).unwrap()
}

pub(super) fn genesis() -> EntryKind {
    use common::services::just_hungry::{Start, start_bytes};
    EntryKind::Genesis { limits: Limits::default(), start: start_bytes(&Start::Empty) }
}

fn step(core: &mut Core, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.step(now(1), event, &mut effects);
    effects
}

/// A member that has the record on its disk.
pub(super) fn following(primary: Member) -> Core {
    following_with(primary, SnapshotAfter::default())
}

pub(super) fn following_with(primary: Member, snapshots: SnapshotAfter) -> Core {
    on_disk(core(snapshots), config(primary))
}

pub(super) fn following_record(record: GroupConfig) -> Core {
    on_disk(core(SnapshotAfter::default()), record)
}

fn on_disk(mut core: Core, record: GroupConfig) -> Core {
    let effects = step(&mut core, Event::Record(Some(record)));
    let written = effects.iter().find_map(|effect| match effect {
        Effect::Persist(_, ticket) => Some(*ticket),
        _ => None,
    });
    step(&mut core, Event::Durable(written.expect("a record is written before it is acted on")));
    core
}

pub(super) fn update(before: &Entry, epoch: Epoch, payload: &'static [u8]) -> Entry {
    let request = RequestId::from_parts(Timestamp::from_millis(5), 0, 5);
    let kind = EntryKind::Update { request, facts: Bytes::new(), payload: Bytes::from_static(payload) };
    Entry::seal(before.crc, before.index.next(), epoch, Timestamp::from_millis(9), kind)
}

fn append(core: &mut Core, prev: LogPoint, entries: Vec<Entry>, committed: u64) -> Vec<Effect> {
    let entries = entries.into_iter().map(Arc::new).collect();
    let committed = LogIndex(committed);
    let message = Message::Append { from: OTHER.id, epoch: Epoch(1), prev, entries, committed };
    step(core, Event::Peer { waiter: Waiter(1), message })
}

fn refused(effects: &[Effect]) -> bool {
    let refusal = |effect: &Effect| {
        matches!(effect, Effect::Reply { reply: Reply { body: ReplyBody::Refused { .. }, .. }, .. })
    };
    effects.iter().any(refusal)
}

#[test]
fn who_holds_nothing_but_its_own_first_entry_follows_nobody() {
    let first = Entry::seal(0, LogIndex(1), Epoch(1), Timestamp::from_millis(1), genesis());
    let second = || vec![update(&first, Epoch(1), b"another group's")];
    let mut alone = core(SnapshotAfter::default());
    assert!(refused(&append(&mut alone, first.point(), second(), 2)));
    #[cfg(feature = "planted")]
    {
        let planted = super::Planted::default().with(super::Fault::GenesisFollows);
        let mut broken = core_that(SnapshotAfter::default(), planted);
        assert!(
            !refused(&append(&mut broken, first.point(), second(), 2)),
            "the rule is kept, though broken"
        );
    }
}

#[test]
fn an_entry_that_was_verified_is_not_replaced_in_its_epoch() {
    let mut core = following(OTHER);
    let first = Entry::seal(0, LogIndex(1), Epoch(1), Timestamp::from_millis(1), genesis());
    let good = update(&first, Epoch(1), b"good");
    assert!(!refused(&append(&mut core, first.point(), vec![good], 1)));
    let gap = LogPoint { epoch: Epoch(0), index: LogIndex(0) };
    let other = Entry::seal(0, LogIndex(1), Epoch(0), Timestamp::from_millis(1), genesis());
    let effects = append(&mut core, gap, vec![other], 2);
    assert!(refused(&effects));
    // No correct primary sends that: somebody should look.
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Alarm { .. })), "{effects:?}");
    assert_eq!(core.progress().last.index, LogIndex(2));
}

#[test]
fn an_entry_of_a_later_epoch_than_its_message_is_refused() {
    let mut core = following(OTHER);
    let first = Entry::seal(0, LogIndex(1), Epoch(1), Timestamp::from_millis(1), genesis());
    let later = update(&first, Epoch(9), b"later");
    assert!(refused(&append(&mut core, first.point(), vec![later], 1)));
}

#[test]
fn a_log_begins_with_genesis_and_has_no_second_one() {
    let mut core = following(OTHER);
    let first = Entry::seal(0, LogIndex(1), Epoch(1), Timestamp::from_millis(1), genesis());
    let again = Entry::seal(first.crc, LogIndex(2), Epoch(1), Timestamp::from_millis(2), genesis());
    assert!(refused(&append(&mut core, first.point(), vec![again], 2)));
}

#[test]
fn a_damaged_entry_is_refused() {
    let mut core = following(OTHER);
    let first = Entry::seal(0, LogIndex(1), Epoch(1), Timestamp::from_millis(1), genesis());
    let mut damaged = update(&first, Epoch(1), b"good");
    damaged.at = Timestamp::from_millis(10);
    assert!(refused(&append(&mut core, first.point(), vec![damaged], 1)));
}

#[test]
fn a_peer_may_claim_any_place_in_the_log() {
    let mut core = following(ME);
    let sent = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Send { ticket, message: Message::Append { .. }, .. } => Some(*ticket),
            _ => None,
        })
    };
    let ticket = sent(&step(&mut core, Event::Tick)).or_else(|| {
        let hello = common::rpc::peer::Hello { me: OTHER, ..core.hello(Timestamp::from_millis(1)) };
        sent(&step(&mut core, Event::Met(hello)))
    });
    let ticket = ticket.expect("a primary asks how far its peer's log matches");
    let reply = Reply { epoch: Epoch(1), body: ReplyBody::Nak { hint: LogIndex(u64::MAX) } };
    let effects = step(&mut core, Event::PeerReply { ticket, reply: Some(reply) });
    let ticket = sent(&effects).expect("it asks again");
    let reply = Reply { epoch: Epoch(1), body: ReplyBody::Ack { durable: LogIndex(u64::MAX) } };
    step(&mut core, Event::PeerReply { ticket, reply: Some(reply) });
    assert_eq!(core.progress().committed, LogIndex(1));
}

#[test]
fn whoever_asks_to_be_fed_cannot_make_the_list_grow_for_ever() {
    let mut core = following(ME);
    let (last, config_version) = (LogPoint::default(), ConfigVersion(1));
    for n in 0..1_000_u128 {
        let me = Member { id: ReplicaId::from_u128(100 + n), boot: BootId::from_u128(n) };
        step(
            &mut core,
            Event::Peer { waiter: Waiter(1), message: Message::Join { me, last, config_version } },
        );
    }
    let sends =
        |effects: Vec<Effect>| effects.iter().filter(|effect| matches!(effect, Effect::Send { .. })).count();
    let mut effects = Vec::new();
    core.step(now(1_000), Event::Tick, &mut effects);
    assert!(sends(effects) <= 2 * super::MET_MAX, "every peer is sent a beacon and an append at most");
}

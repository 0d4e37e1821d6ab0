//! What the walks of the cores have found: each fault once more, in the few events that it takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Moment, Timestamp};
use common::ids::ClusterId;
use common::replication::{
    BootId, ConfigVersion, Entry, EntryKind, Epoch, GroupConfig, InSyncSet, Limits, LogIndex, LogPoint,
    Member, ReplicaId, RequestId,
};
use common::rpc::peer::{Hello, Message, Reply, ReplyBody};
use common::rpc::replica::{Consistency, SubmitError};

use super::{
    BATCH_BYTES, Core, Effect, Event, Now, Planted, SendTicket, Setup, SnapshotAfter, Stored, Waiter,
};

const ME: Member = member(1);
const SECOND: Member = member(2);
const THIRD: Member = member(3);

const REQUEST: RequestId = RequestId::from_parts(Timestamp::from_millis(5), 0, 5);

const fn member(number: u128) -> Member {
    Member { id: ReplicaId::from_u128(number), boot: BootId::from_u128(number) }
}

/// A core of which every effect is kept.
struct Tried {
    core: Core,
    effects: Vec<Effect>,
}

impl Tried {
    /// Nothing but the group's first entry is on its disk.
    fn new() -> Self {
        Self::on(Stored { entries: vec![genesis()], ..Stored::default() })
    }

    fn on(stored: Stored) -> Self {
        Self::with(stored, |_| ())
    }

    fn with(stored: Stored, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            cluster: ClusterId::from_bytes([7; 16]),
            group: "just.hungry".parse().unwrap(),
            me: ME,
            name: "replica.1".parse().unwrap(),
            address: "127.0.0.1:1".parse().unwrap(),
            service: common::services::TABLE[0],
            first: None,
            snapshots: SnapshotAfter::default(),
            batch_bytes: BATCH_BYTES,
            planted: Planted::default(),
        };
        change(&mut setup);
        Self { core: Core::new(now(), setup, stored).unwrap(), effects: Vec::new() }
    }

    fn step(&mut self, event: Event) {
        self.core.step(now(), event, &mut self.effects);
    }

    /// The disk has written whatever it was last given.
    fn written(&mut self) {
        let last = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Persist(_, ticket) => Some(*ticket),
            _ => None,
        });
        self.step(Event::Durable(last.expect("something is on its way to the disk")));
    }

    /// The last append to this peer has reached its disk up to `durable`.
    fn acknowledged(&mut self, by: Member, durable: u64) {
        let ticket: SendTicket = (self.effects.iter().rev())
            .find_map(|effect| match effect {
                Effect::Send { to, ticket, message: Message::Append { .. }, .. } if *to == by.id => {
                    Some(*ticket)
                }
                _ => None,
            })
            .expect("it was sent something");
        let body = ReplyBody::Ack { durable: LogIndex(durable) };
        self.step(Event::PeerReply { ticket, reply: Some(Reply { epoch: Epoch(1), body }) });
    }

    /// What was sent to this peer, and what each continues.
    fn appends(&self, to: Member) -> Vec<(SendTicket, LogPoint)> {
        let append = |effect: &Effect| match effect {
            Effect::Send { to: peer, ticket, message: Message::Append { prev, .. }, .. }
                if *peer == to.id =>
            {
                Some((*ticket, *prev))
            }
            _ => None,
        };
        self.effects.iter().filter_map(append).collect()
    }

    /// What it was asked last is answered: its epoch is the same, and its disk has room.
    fn confirmed(&mut self, by: Member) {
        self.confirmed_after(by, 0);
    }

    /// The same, so many milliseconds later.
    fn confirmed_after(&mut self, by: Member, ms: u64) {
        let asked = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Send { to, ticket, message: Message::Confirm { round, .. }, .. } if *to == by.id => {
                Some((*ticket, *round))
            }
            _ => None,
        });
        let (ticket, round) = asked.expect("it was asked");
        let reply = Some(Reply { epoch: Epoch(1), body: ReplyBody::Confirmed { round, full: false } });
        self.core.step(later(ms), Event::PeerReply { ticket, reply }, &mut self.effects);
    }

    fn submit(&mut self, waiter: u64, payload: &'static [u8]) {
        let (facts, payload) = (Bytes::new(), Bytes::from_static(payload));
        let deadline = now().at + Duration::from_secs(5);
        self.step(Event::Execute { waiter: Waiter(waiter), request: REQUEST, facts, payload, deadline });
    }

    /// What a peer was told last.
    fn replied(&self) -> Option<&ReplyBody> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Reply { reply, .. } => Some(&reply.body),
            _ => None,
        })
    }

    /// What this waiter was told.
    fn told(&self, wanted: u64) -> Option<Result<(), SubmitError>> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Submitted { waiter, result } if *waiter == Waiter(wanted) => {
                Some(result.clone().map(|_| ()))
            }
            _ => None,
        })
    }
}

fn genesis() -> Entry {
    use common::services::just_hungry::{Start, start_bytes};
    let kind = EntryKind::Genesis { limits: Limits::default(), start: start_bytes(&Start::Empty) };
    Entry::seal(0, LogIndex(1), Epoch(1), Timestamp::from_millis(1), kind)
}

fn now() -> Now {
    Now { at: Moment::ORIGIN + Duration::from_millis(1), wall: Timestamp::from_millis(1_001) }
}

fn later(ms: u64) -> Now {
    Now { at: now().at + Duration::from_millis(ms), ..now() }
}

fn record(version: u64, epoch: u64, primary: Member, in_sync: &[Member]) -> GroupConfig {
    let first =
        GroupConfig::first(ClusterId::from_bytes([7; 16]), "just.hungry".parse().unwrap(), primary, 1);
    GroupConfig {
        version: common::replication::ConfigVersion(version),
        epoch: Epoch(epoch),
        in_sync: InSyncSet::new(in_sync.iter().map(|member| member.id)),
        ..first
    }
}

/// The change that let the third in stood before the successor's record did, and that record settles it: by what
/// this primary then knew, the third was never in sync, and the second's word was enough.
#[test]
fn a_primary_that_reads_of_its_successor_acknowledges_nothing_more() {
    let mut tried = Tried::new();
    tried.step(Event::Record(Some(record(2, 1, ME, &[ME, SECOND]))));
    tried.written();
    tried.acknowledged(SECOND, 1);
    let join = Message::Join { me: THIRD, last: LogPoint::default(), config_version: ConfigVersion(1) };
    tried.step(Event::Peer { waiter: Waiter(90), message: join });
    tried.acknowledged(THIRD, 1);
    tried.confirmed(THIRD);
    let let_in = record(3, 1, ME, &[ME, SECOND, THIRD]);
    assert!(tried.effects.iter().any(|effect| matches!(effect, Effect::Cas { next } if *next == let_in)));
    tried.submit(1, b"x");
    tried.written();
    tried.step(Event::Record(Some(record(4, 2, THIRD, &[SECOND, THIRD]))));
    tried.acknowledged(SECOND, 2);
    assert!(
        matches!(tried.told(1), Some(Err(SubmitError::Unacknowledged { .. }))),
        "the third, which leads now, does not have it: {:?}",
        tried.told(1)
    );
}

/// The command ran; another one under its id was logged before the barrier was committed, when nobody could tell;
/// and the retry was attached to that one.
#[test]
fn a_retry_of_a_command_that_ran_is_not_told_that_its_id_is_anothers() {
    let mut tried = Tried::new();
    tried.step(Event::Record(Some(record(2, 1, SECOND, &[ME, SECOND]))));
    tried.written();
    let (prev, before) = (LogPoint { epoch: Epoch(1), index: LogIndex(1) }, genesis_crc(&tried));
    let (facts, payload) = (Bytes::new(), Bytes::from_static(b"ran"));
    let kind = EntryKind::Update { request: REQUEST, facts, payload };
    let entry = Entry::seal(before, LogIndex(2), Epoch(1), Timestamp::from_millis(9), kind);
    let message = Message::Append {
        from: SECOND.id,
        epoch: Epoch(1),
        prev,
        entries: vec![Arc::new(entry)],
        committed: LogIndex(2),
    };
    tried.step(Event::Peer { waiter: Waiter(90), message });
    tried.written();
    tried.step(Event::Record(Some(record(3, 2, ME, &[ME]))));
    tried.submit(1, b"other");
    tried.submit(2, b"ran");
    tried.written();
    tried.written();
    assert_eq!(tried.told(1), Some(Err(SubmitError::Reused)));
    assert_eq!(tried.told(2), Some(Ok(())));
}

/// It was told "accepted", and was not fed, since its disk might have been one of those given up; and as it heard
/// the primary's beacons it never asked again, not even when it knew the record.
#[test]
fn who_does_not_know_of_a_force_elect_is_told_the_record_before_it_is_accepted() {
    let forced = GroupConfig { forced: ConfigVersion(3), ..record(4, 2, ME, &[ME]) };
    let sent = |tried: &Tried| tried.effects.iter().any(|effect| matches!(effect, Effect::Send { .. }));
    let asked = |planted: Planted, config_version| {
        let genesis = Stored { entries: vec![genesis()], ..Stored::default() };
        let mut tried = Tried::with(genesis, |setup| setup.planted = planted);
        tried.step(Event::Record(Some(forced.clone())));
        tried.written();
        let message = Message::Join { me: THIRD, last: LogPoint::default(), config_version };
        tried.step(Event::Peer { waiter: Waiter(1), message });
        (tried.replied().cloned(), sent(&tried))
    };
    let told = Some(ReplyBody::NotPrimary { config: Some(forced.clone()) });
    // A beacon would keep it from asking again.
    assert_eq!(asked(Planted::default(), ConfigVersion(2)), (told, false));
    assert_eq!(asked(Planted::default(), ConfigVersion(4)), (Some(ReplyBody::Accepted), true));
    #[cfg(feature = "planted")]
    {
        let planted = Planted::default().with(super::Fault::FeedsForced);
        assert_eq!(asked(planted, ConfigVersion(2)), (Some(ReplyBody::Accepted), true));
    }
}

/// An operator gave the group to the second, and then to this replica; of that it had not heard when a peer told it of
/// the first. It threw the only copy away that counted. And one that a peer told of a record led by it, which the name
/// server had lost before an operator adopted an older one.
#[test]
fn a_peers_word_is_asked_after_and_not_followed() {
    let mut tried = Tried::new();
    tried.step(Event::Record(Some(record(2, 1, SECOND, &[ME, SECOND]))));
    tried.written();
    let version = ConfigVersion(1_002);
    let forced = GroupConfig { forced: version, ..record(version.0, 1_001, SECOND, &[SECOND]) };
    for config in [record(3, 2, ME, &[ME]), forced.clone()] {
        tried.effects.clear();
        tried.step(Event::Peer { waiter: Waiter(1), message: Message::TakeOver { config } });
        let [Effect::Reply { .. }, Effect::ReadRecord { .. }] = tried.effects[..] else {
            panic!("{:?}", tried.effects)
        };
    }
    tried.step(Event::Record(Some(forced)));
    let gave_up = tried.effects.iter().any(|effect| matches!(effect, Effect::FormatAnew { .. }));
    assert!(gave_up, "the name server's own word is followed");
}

/// The record of a second force-elect was on its way to an empty disk, or was on it when the process started again, when
/// the first one's primary fed it: it then held what nobody else had, and could not be told from a disk that never did.
#[test]
fn who_knows_of_a_force_elect_takes_nothing_from_the_primary_before() {
    let forced = |version, epoch, by: Member| GroupConfig {
        forced: ConfigVersion(version),
        ..record(version + 1, epoch, by, &[by])
    };
    let second = forced(1_003, 1_003, THIRD);
    let mut told = Tried::on(Stored::default());
    told.step(Event::Record(Some(forced(3, 3, SECOND))));
    told.written();
    told.step(Event::Record(Some(second.clone())));
    let restarted = Tried::on(Stored { config: Some(second), ..Stored::default() });
    for mut tried in [told, restarted] {
        let message = Message::Append {
            from: SECOND.id,
            epoch: Epoch(3),
            prev: LogPoint::default(),
            entries: vec![Arc::new(genesis())],
            committed: LogIndex(1),
        };
        tried.step(Event::Peer { waiter: Waiter(1), message });
        assert_eq!(tried.replied(), Some(&ReplyBody::Fenced));
        assert_eq!(tried.core.progress().committed, LogIndex(0));
    }
}

/// A winner that was told to stop handed the group to a member that had said nothing in its epoch. That one's disk was
/// no more, and so nobody could lead. Walk, `wild`, seed 21360: one had, and its disk was no more since.
#[test]
fn who_stops_hands_over_to_nobody_who_is_silent() {
    let handed_over = |before: bool, after: bool| {
        let mut tried = Tried::new();
        let hello = Hello { me: SECOND, ..tried.core.hello(now().wall) };
        tried.step(Event::Met(hello));
        tried.step(Event::Record(Some(record(2, 1, ME, &[ME, SECOND]))));
        tried.written();
        if before {
            tried.confirmed(SECOND);
        }
        tried.core.step(later(1), Event::Stop, &mut tried.effects);
        if after {
            tried.confirmed(SECOND);
        }
        tried.core.step(later(60), Event::Tick, &mut tried.effects);
        tried.effects.iter().any(|effect| matches!(effect, Effect::Cas { .. }))
    };
    assert!(handed_over(false, true));
    assert!(handed_over(true, true));
    assert!(!handed_over(true, false));
    assert!(!handed_over(false, false));
}

/// It was dated by when it came, if an acknowledgement had come before it: a deposed primary could have shown what was older
/// than it said.
#[test]
fn a_confirmation_is_as_old_as_its_question() {
    let mut tried = Tried::new();
    tried.step(Event::Record(Some(record(2, 1, ME, &[ME, SECOND]))));
    tried.written();
    tried.acknowledged(SECOND, 1);
    tried.confirmed_after(SECOND, 150);
    let mut is_shown = |max_age| {
        let consistency = Consistency::StaleOk { max_age: Duration::from_millis(max_age) };
        let (waiter, payload, deadline) = (Waiter(1), Bytes::new(), later(1000).at);
        tried.core.step(
            later(150),
            Event::Query { waiter, consistency, payload, deadline },
            &mut tried.effects,
        );
        matches!(tried.effects.last(), Some(Effect::Queried { result: Ok(_), .. }))
    };
    assert!(is_shown(150));
    assert!(!is_shown(149));
}

/// Two appends were on their way, and the second one's refusal undid what the first one's had said: both were sent
/// again, and refused again, without end. It takes more entries than go into one append.
#[test]
fn where_two_logs_part_is_found_with_two_appends_on_their_way() {
    let entry = |before: &Entry| {
        let request = RequestId::from_parts(before.at, 0, before.index.0);
        let kind = EntryKind::Update { request, facts: Bytes::new(), payload: Bytes::from_static(b"x") };
        Entry::seal(before.crc, before.index.next(), Epoch(1), before.at, kind)
    };
    let first = genesis();
    let second = entry(&first);
    let third = entry(&second);
    let stored = Stored { entries: vec![first, second, third], ..Stored::default() };
    let mut tried = Tried::with(stored, |setup| setup.batch_bytes = 1);
    tried.step(Event::Record(Some(record(2, 2, ME, &[ME, SECOND]))));
    tried.written();
    tried.submit(1, b"x");
    let sent = tried.appends(SECOND);
    let after =
        |sent: &[(SendTicket, LogPoint)]| sent.iter().map(|(_, prev)| prev.index.0).collect::<Vec<_>>();
    assert_eq!(after(&sent), [3, 4]);
    for ((ticket, _), hint) in sent.into_iter().zip([1, 3]) {
        let body = ReplyBody::Nak { hint: LogIndex(hint) };
        tried.step(Event::PeerReply { ticket, reply: Some(Reply { epoch: Epoch(2), body }) });
    }
    assert_eq!(after(&tried.appends(SECOND)), [3, 4, 1, 2]);
}

fn genesis_crc(tried: &Tried) -> u32 {
    tried.core.log.last_crc()
}

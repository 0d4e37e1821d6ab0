//! Rules that keep a member out which should not count: another state, a copied or full or slow disk, a wrong clock.

use std::sync::Arc;
use std::time::Duration;

use common::clock::Timestamp;
use common::replication::{
    BootId, ConfigVersion, Entry, Epoch, GroupConfig, LogIndex, LogPoint, Member, ReplicaId, RequestId,
};
use common::rpc::peer::{Hello, Message, Reply, ReplyBody, StateHash};
use common::rpc::replica::{Answer, Consistency, QueryError, Role};

use super::hostile::{ME, OTHER, following, following_record, following_with, genesis, now, update};
use super::primary::LEARNER_PART;
use super::{BATCH_BYTES, Core, Effect, Event, SHRINK_AFTER, SUSPECT_AFTER, SnapshotAfter, Ticket, Waiter};

/// One core among others that are played here.
#[expect(clippy::struct_excessive_bools, reason = "what fails, each by itself")]
struct Play {
    core: Core,
    ms: u64,
    /// Whether the name server answers.
    authority: bool,
    /// Whether its disk answers.
    disk: bool,
    /// Whether the other's disk is full, and whether it answers confirmations at all.
    full: bool,
    refuses: bool,
    /// How far the other's disk is.
    durable: LogIndex,
    writing: Option<Ticket>,
    proposed: Vec<GroupConfig>,
    alarms: Vec<String>,
    replies: Vec<ReplyBody>,
    /// Peers from this one on do not answer.
    silent_from: u128,
    /// What came of the last query.
    queried: Option<Result<Answer, QueryError>>,
    /// When it read the record, which a candidacy begins with.
    read_at: Vec<u64>,
    /// The weights of the batches of entries that were sent.
    fed: Vec<(ReplicaId, usize)>,
}

impl Play {
    fn new(core: Core) -> Self {
        Self {
            core,
            ms: 10,
            authority: true,
            disk: true,
            full: false,
            refuses: false,
            durable: LogIndex(u64::MAX),
            writing: None,
            proposed: Vec::new(),
            alarms: Vec::new(),
            replies: Vec::new(),
            silent_from: u128::MAX,
            queried: None,
            read_at: Vec::new(),
            fed: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut effects = Vec::new();
            self.core.step(now(self.ms), event, &mut effects);
            for effect in effects {
                events.extend(self.carry_out(effect));
            }
            if let Some(ticket) = self.writing.take_if(|_| self.disk) {
                events.push(Event::Durable(ticket));
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Persist(_, ticket) => self.writing = Some(ticket),
            Effect::Cas { next } => {
                self.proposed.push(next.clone());
                return self.authority.then_some(Event::Record(Some(next)));
            }
            Effect::ReadRecord { .. } => self.read_at.push(self.ms),
            Effect::Alarm { why } => self.alarms.push(why),
            Effect::Reply { reply, .. } => self.replies.push(reply.body),
            Effect::Queried { result, .. } => self.queried = Some(result),
            Effect::Send { to, .. } if to >= ReplicaId::from_u128(self.silent_from) => {}
            Effect::Send { to, ticket, message, .. } => {
                let body = match message {
                    Message::Append { prev, entries, .. } => {
                        self.fed.push((to, entries.iter().map(|entry| entry.weight()).sum()));
                        let upto = entries.last().map_or(prev.index, |entry| entry.index);
                        // Its disk hangs there: no answer for now.
                        if upto > self.durable {
                            return None;
                        }
                        ReplyBody::Ack { durable: upto }
                    }
                    Message::Confirm { .. } if self.refuses => ReplyBody::Refused { why: String::new() },
                    Message::Confirm { round, .. } => ReplyBody::Confirmed { round, full: self.full },
                    _ => return None,
                };
                return Some(Event::PeerReply { ticket, reply: Some(Reply { epoch: Epoch(1), body }) });
            }
            _ => {}
        }
        None
    }

    /// Time goes by, in steps that no watchdog takes for a pause.
    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 50 {
            self.ms += 50;
            self.step(Event::Tick);
        }
    }

    fn hello(&self, boot: u128) -> Hello {
        let me = Member { boot: BootId::from_u128(boot), ..OTHER };
        Hello { me, ..self.core.hello(Timestamp::from_millis(1)) }
    }

    fn meet(&mut self, boot: u128) {
        let hello = self.hello(boot);
        self.step(Event::Met(hello));
    }

    fn submit(&mut self, n: u64) {
        let request = RequestId::from_parts(Timestamp::from_millis(n), 0, 0);
        let deadline = now(1_000_000).at;
        let (facts, payload) = (bytes::Bytes::new(), bytes::Bytes::from_static(b"any"));
        self.step(Event::Execute { waiter: Waiter(n), request, facts, payload, deadline });
    }

    /// Somebody with an empty log wants to be fed.
    fn join(&mut self, n: u128) -> ReplyBody {
        let me = Member { id: ReplicaId::from_u128(n), boot: BootId::from_u128(n) };
        let message = Message::Join { me, last: LogPoint::default(), config_version: ConfigVersion(0) };
        self.step(Event::Peer { waiter: Waiter(1), message });
        self.replies.pop().unwrap()
    }

    fn stale_read(&mut self) -> Result<Answer, QueryError> {
        let consistency = Consistency::StaleOk { max_age: Duration::from_secs(1) };
        let (waiter, payload, deadline) = (Waiter(3), bytes::Bytes::new(), now(1_000_000).at);
        self.step(Event::Query { waiter, consistency, payload, deadline });
        self.queried.take().expect("answered at once")
    }

    fn in_sync(&self) -> Vec<ReplicaId> {
        self.core.newest_config().unwrap().in_sync.iter().collect()
    }
}

/// A primary with one backup that has all.
fn primary() -> Play {
    let mut play = Play::new(following(ME));
    play.meet(2);
    play.submit(1);
    assert_eq!((play.core.role(), play.core.progress().committed), (Role::Primary, LogIndex(2)));
    play
}

/// A backup that has one update after Genesis, and compares its state at each entry.
fn backup() -> (Play, Entry) {
    let each = SnapshotAfter { multiples_of: 1, ..SnapshotAfter::default() };
    let mut play = Play::new(following_with(OTHER, each));
    let first = Entry::seal(0, LogIndex(1), Epoch(1), Timestamp::from_millis(1), genesis());
    let second = update(&first, Epoch(1), b"any");
    append(&mut play, &first, &second);
    (play, second)
}

fn append(play: &mut Play, prev: &Entry, entry: &Entry) {
    let (entries, committed) = (vec![Arc::new(entry.clone())], entry.index);
    let message = Message::Append { from: OTHER.id, epoch: Epoch(1), prev: prev.point(), entries, committed };
    play.step(Event::Peer { waiter: Waiter(1), message });
}

fn confirm(play: &mut Play, hash: u64) {
    let state = Some(StateHash { at: LogIndex(2), hash });
    let (from, epoch, committed) = (OTHER.id, Epoch(1), LogIndex(2));
    let message = Message::Confirm { from, epoch, round: 1, committed, state };
    play.step(Event::Peer { waiter: Waiter(2), message });
}

#[test]
fn a_backup_with_the_same_state_confirms() {
    let (mut play, _) = backup();
    let hash = play.core.progress().state_hash;
    confirm(&mut play, hash);
    assert_eq!(play.replies.last(), Some(&ReplyBody::Confirmed { round: 1, full: false }));
    assert_eq!(play.core.role(), Role::Backup);
}

#[test]
fn a_backup_whose_state_differs_leaves_and_touches_nothing_any_more() {
    let (mut play, second) = backup();
    confirm(&mut play, 1);
    confirm(&mut play, 1);
    assert!(play.replies.iter().rev().take(2).all(|body| matches!(body, ReplyBody::Refused { .. })));
    assert_eq!((play.core.role(), play.alarms.len()), (Role::Waiting, 1));
    assert!(play.core.trouble().contains("differs"));
    append(&mut play, &second, &update(&second, Epoch(1), b"more"));
    assert!(matches!(play.replies.last(), Some(ReplyBody::Refused { .. })));
    // Whatever else happens: it asks nobody, writes nothing, and is nobody's candidate.
    let mut effects = Vec::new();
    let newer = GroupConfig { primary: ME, ..super::hostile::config(OTHER).elected(ME) };
    for event in [Event::Record(Some(newer)), Event::NoRecord, Event::PeerRefused(OTHER)] {
        play.core.step(now(5_000), event, &mut effects);
    }
    play.core.step(now(60_000), Event::Tick, &mut effects);
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(play.core.progress().last.index, LogIndex(2));
    assert!(play.core.wake_at(now(60_000).at) > now(60_000).at);
    play.core.step(now(60_000), Event::Stop, &mut effects);
    assert!(matches!(effects[..], [Effect::Stopped]));
}

#[test]
fn a_silent_backup_is_dropped_as_soon_as_it_was_silent_for_long_enough() {
    let mut play = primary();
    play.pass(Duration::from_millis(250));
    play.silent_from = OTHER.id.to_u128();
    let beacon = play.core.wake_at(now(play.ms).at);
    while play.proposed.is_empty() {
        let at = play.core.wake_at(now(play.ms).at).since_origin();
        play.ms = u64::try_from(at.as_micros().div_ceil(1000)).unwrap();
        play.step(Event::Tick);
    }
    assert_eq!(now(play.ms).at.since(beacon), SHRINK_AFTER);
}

/// Walk, `wild`, seed 20074663: it was sent again until it stood, and then nobody could lead.
#[test]
fn a_hand_over_that_was_lost_is_not_repeated_to_a_successor_who_has_died() {
    let mut play = primary();
    play.authority = false;
    play.pass(Duration::from_millis(200));
    play.step(Event::DiskFull(true));
    play.pass(Duration::from_millis(100));
    assert_eq!(play.proposed.pop().map(|next| next.primary), Some(OTHER));

    play.silent_from = OTHER.id.to_u128();
    play.step(Event::PeerRefused(OTHER));
    play.step(Event::DiskFull(false));
    play.authority = true;
    play.step(Event::AskAgainIn(Duration::from_millis(50)));
    play.pass(Duration::from_millis(200));
    assert_eq!(play.proposed.iter().map(|next| next.primary).collect::<Vec<_>>(), [ME]);
    assert_eq!(play.in_sync(), [ME.id]);
}

#[test]
fn a_primary_drops_whoever_refuses_to_confirm() {
    let mut play = primary();
    play.refuses = true;
    play.pass(Duration::from_secs(1));
    assert_eq!(play.in_sync(), [ME.id]);
}

#[test]
fn two_processes_on_copies_of_one_disk_are_dropped_and_stay_out() {
    let mut play = primary();
    // A restart, and a late hello of the process before: that may happen.
    for boot in [3, 2] {
        play.meet(boot);
    }
    play.pass(Duration::from_secs(2));
    assert_eq!((play.in_sync().len(), play.alarms.len()), (2, 0));
    play.meet(3);
    play.pass(Duration::from_mins(1));
    assert_eq!((play.in_sync(), play.alarms.len()), (vec![ME.id], 1));
    // The copy was ended, and the disk's own process started anew.
    play.meet(4);
    play.pass(Duration::from_mins(1));
    assert_eq!((play.in_sync().len(), play.alarms.len()), (2, 1));
}

#[test]
fn another_process_with_this_disks_identity_is_an_alarm() {
    let mut play = primary();
    let hello = Hello { me: Member { boot: BootId::from_u128(9), ..ME }, ..play.hello(9) };
    play.step(Event::Met(hello.clone()));
    play.step(Event::Met(hello));
    assert_eq!(play.alarms.len(), 1);
}

#[test]
fn a_full_backup_is_dropped_and_comes_back_when_it_has_room() {
    let mut play = primary();
    play.full = true;
    play.pass(Duration::from_mins(1));
    assert_eq!(play.in_sync(), [ME.id]);
    play.full = false;
    play.pass(Duration::from_mins(1));
    assert_eq!(play.in_sync().len(), 2);
}

#[test]
fn a_full_backup_is_fed_as_long_as_it_counts() {
    let mut play = primary();
    play.authority = false;
    play.full = true;
    play.pass(Duration::from_secs(1));
    play.submit(2);
    assert_eq!((play.in_sync().len(), play.core.progress().committed), (2, LogIndex(3)));
}

#[test]
fn a_backup_says_that_its_disk_is_full() {
    let (mut play, _) = backup();
    play.step(Event::DiskFull(true));
    let hash = play.core.progress().state_hash;
    confirm(&mut play, hash);
    assert_eq!(play.replies.last(), Some(&ReplyBody::Confirmed { round: 1, full: true }));
}

#[test]
fn a_name_server_that_cannot_store_is_asked_again_when_it_says() {
    let mut play = primary();
    play.authority = false;
    play.full = true;
    play.pass(Duration::from_millis(500));
    assert_eq!(play.proposed.len(), 1, "the full one is to be dropped");
    play.step(Event::AskAgainIn(Duration::from_secs(1)));
    play.pass(Duration::from_millis(950));
    assert_eq!(play.proposed.len(), 1);
    play.pass(Duration::from_millis(100));
    assert_eq!(play.proposed.len(), 2);
}

#[test]
fn a_primary_whose_disk_hangs_while_a_backups_goes_on_hands_over() {
    let mut play = primary();
    play.disk = false;
    play.submit(2);
    play.submit(3);
    play.pass(SUSPECT_AFTER / 2);
    assert!(play.proposed.is_empty());
    play.pass(SUSPECT_AFTER);
    let next = play.proposed.first().expect("it hands over");
    assert_eq!((next.primary, next.epoch), (OTHER, Epoch(2)));
}

#[test]
fn a_stall_of_a_disk_that_all_share_changes_nothing() {
    let mut play = primary();
    play.disk = false;
    play.durable = LogIndex(2);
    play.submit(2);
    play.pass(SUSPECT_AFTER * 4);
    assert!(play.proposed.is_empty());
}

#[test]
fn a_primary_whose_disk_is_full_hands_over_but_not_to_another_full_one() {
    let mut play = primary();
    play.full = true;
    play.pass(Duration::from_millis(300));
    play.step(Event::DiskFull(true));
    play.pass(Duration::from_secs(2));
    assert!(play.proposed.iter().all(|next| next.epoch == Epoch(1)), "{:?}", play.proposed);
    let mut play = primary();
    play.pass(Duration::from_millis(300));
    play.step(Event::DiskFull(true));
    assert_eq!(play.proposed.first().expect("it hands over").primary, OTHER);
}

#[test]
fn a_replica_whose_clock_is_off_stands_a_second_later() {
    let candidacy = |off: Duration| {
        let mut play = Play::new(following(OTHER));
        play.step(Event::ClockOff(off));
        // Past what a process waits after its start.
        play.pass(Duration::from_secs(3));
        let (from, epoch, committed) = (OTHER.id, Epoch(1), LogIndex(1));
        let message = Message::Confirm { from, epoch, round: 1, committed, state: None };
        play.step(Event::Peer { waiter: Waiter(1), message });
        play.read_at.clear();
        let began = play.ms;
        play.step(Event::PeerRefused(OTHER));
        play.pass(Duration::from_secs(3));
        let read = play.read_at.first().expect("a wrong clock anywhere stops no election");
        (read - began, play.alarms.len())
    };
    let right = candidacy(Duration::from_secs(299));
    let wrong = candidacy(Duration::from_secs(301));
    assert_eq!((right.1, wrong.1), (0, 1));
    assert_eq!(wrong.0, right.0 + 1_000);
}

#[test]
fn a_primary_whose_disk_is_full_stays_when_the_others_are_too_few_to_answer() {
    let two = GroupConfig { min_in_sync: 2, ..super::hostile::config(ME) };
    let mut play = Play::new(following_record(two));
    play.meet(2);
    play.step(Event::DiskFull(true));
    play.pass(Duration::from_secs(1));
    assert!(play.proposed.is_empty(), "{:?}", play.proposed);
}

#[test]
fn a_primary_that_nobody_confirms_answers_no_stale_read_either() {
    let mut play = primary();
    play.pass(Duration::from_millis(200));
    assert!(play.stale_read().is_ok());
    // Stopped for longer than the read allows, and not asked anybody since.
    play.ms += 10_000;
    assert!(play.stale_read().is_err());
    play.pass(Duration::from_millis(200));
    assert!(play.stale_read().is_ok());
}

#[test]
fn a_learner_that_lacks_what_its_primary_committed_answers_no_stale_read() {
    let (mut play, second) = backup();
    assert!(play.stale_read().is_ok());
    play.ms += 10_000;
    let later = LogIndex(9);
    let message =
        Message::Confirm { from: OTHER.id, epoch: Epoch(1), round: 1, committed: later, state: None };
    play.step(Event::Peer { waiter: Waiter(1), message });
    assert!(play.stale_read().is_err());
    append(&mut play, &second, &update(&second, Epoch(1), b"more"));
    assert!(play.stale_read().is_ok());
}

#[test]
fn learners_that_came_and_went_leave_room_for_others() {
    let mut play = primary();
    play.silent_from = 100;
    for n in 100..200 {
        play.join(n);
    }
    assert!(matches!(play.join(300), ReplyBody::NotPrimary { .. }));
    play.pass(Duration::from_secs(61));
    assert_eq!(play.join(300), ReplyBody::Accepted);
}

#[test]
fn a_learner_is_fed_in_small_batches() {
    let mut play = primary();
    for n in 2..500 {
        play.submit(n);
    }
    let learner = ReplicaId::from_u128(100);
    assert_eq!(play.join(100), ReplyBody::Accepted);
    let fed: Vec<usize> =
        play.fed.iter().filter(|(to, _)| *to == learner).map(|(_, weight)| *weight).collect();
    let small = BATCH_BYTES / LEARNER_PART;
    assert!(fed.iter().sum::<usize>() > small, "all of the log, which is more than one batch");
    assert!(fed.iter().all(|&weight| weight <= small), "{fed:?}");
}

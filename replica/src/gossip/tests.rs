//! A few whole cores with quick disks, a network that loses nothing, and a name server: what walks are too small for.

use std::collections::VecDeque;
use std::net::SocketAddr;

use common::ids::ClusterId;
use common::replication::{BootId, GroupName, Member, Proposer, RequestId};
use common::services::ratings::{FilmKey, Query, Rating, Ratings, Update};
use common::services::{CausalServed, encode};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than anything takes that is due.
const QUICK: Duration = Duration::from_secs(1);
/// So many updates come together.
const TOGETHER: u64 = 1_000;

struct Few {
    cores: Vec<Core>,
    now: Moment,
    record: Option<GossipConfig>,
    wanted: VecDeque<(usize, Effect)>,
    /// Who asked, by waiter.
    asked: Vec<(usize, SendTicket)>,
    /// Whom nothing reaches.
    cut: Option<usize>,
    sent: u64,
    acknowledged: u64,
    /// The vectors of the answers.
    answers: Vec<VectorTimestamp>,
    pulled: usize,
    alarms: Vec<String>,
    /// What is done beside the cores is done when a test says so; else at once.
    later: bool,
    works: VecDeque<Work>,
    /// Checkpoints that went to a disk.
    saved: usize,
    /// Records that left the log with one batch, at most.
    gone_max: usize,
}

fn id(n: usize) -> ReplicaId {
    ReplicaId::from_u128(n as u128 + 1)
}

fn group() -> GroupName {
    "ratings".parse().unwrap()
}

fn cluster() -> ClusterId {
    ClusterId::from_bytes([7; 16])
}

fn core(n: usize, now: Moment, stored: Stored) -> Core {
    let setup = Setup {
        cluster: cluster(),
        group: group(),
        me: id(n),
        address: SocketAddr::from(([127, 0, 0, 1], 1)),
        service: CausalServed::of::<Ratings>("ratings"),
        first: n == 0,
        limits: Limits::default(),
        seed: n as u64,
        planted: Planted::default(),
    };
    Core::new(Now { at: now, wall: wall(now) }, setup, stored).unwrap()
}

fn wall(now: Moment) -> Timestamp {
    Timestamp::from_millis(1_000_000_000).plus(now.since_origin())
}

impl Few {
    /// So many, all of them members.
    fn new(count: usize) -> Self {
        let now = Moment::ORIGIN + Duration::from_secs(1);
        let mut few = Self {
            cores: (0..count).map(|n| core(n, now, Stored::default())).collect(),
            now,
            record: None,
            wanted: VecDeque::new(),
            asked: Vec::new(),
            cut: None,
            sent: 0,
            acknowledged: 0,
            answers: Vec::new(),
            pulled: 0,
            alarms: Vec::new(),
            later: false,
            works: VecDeque::new(),
            saved: 0,
            gone_max: 0,
        };
        few.wait(Duration::from_secs(3));
        assert!(few.cores.iter().all(Core::serves), "{:?}", few.record);
        few
    }

    fn event(&mut self, n: usize, event: Event) {
        self.events(n, [event]);
    }

    /// Some events that come together.
    fn events(&mut self, n: usize, events: impl IntoIterator<Item = Event>) {
        let (now, mut effects) = (Now { at: self.now, wall: wall(self.now) }, Vec::new());
        for event in events {
            self.cores[n].take_in(now, event, &mut effects);
        }
        self.cores[n].settle(now, &mut effects);
        self.wanted.extend(effects.into_iter().map(|effect| (n, effect)));
    }

    /// Everything happens that is wanted.
    fn run(&mut self) {
        while let Some((n, effect)) = self.wanted.pop_front() {
            match effect {
                Effect::Persist(batch, ticket) => {
                    self.gone_max = self.gone_max.max(batch.gone.len());
                    self.saved += usize::from(batch.checkpoint.is_some());
                    self.event(n, Event::Durable(ticket));
                }
                Effect::Send { to, ticket, message, .. } => {
                    let place = (0..self.cores.len()).find(|n| id(*n) == to);
                    match place.filter(|place| self.cut != Some(*place) && self.cut != Some(n)) {
                        Some(place) => {
                            let waiter = Waiter(self.asked.len() as u64);
                            self.asked.push((n, ticket));
                            self.event(place, Event::Peer { waiter, message });
                        }
                        None => self.event(n, Event::PeerReply { ticket, reply: None }),
                    }
                }
                Effect::Reply { waiter, reply } => {
                    if let Reply::News { news, .. } = &reply {
                        self.pulled += news.records.len();
                    }
                    let (to, ticket) = self.asked[usize::try_from(waiter.0).unwrap()];
                    self.event(to, Event::PeerReply { ticket, reply: Some(reply) });
                }
                Effect::Work(work) if self.later => self.works.push_back(work),
                Effect::Work(work) => self.event(n, Event::Worked(work.run())),
                Effect::ReadMembers => self.event(n, Event::Members(self.record.clone())),
                Effect::Cas { next } => {
                    let by = Proposer::Member(Member { id: id(n), boot: BootId::NOBODY });
                    let allowed = match &self.record {
                        None => GossipConfig::allows_first(by, &next),
                        Some(record) => record.allows(by, &next),
                    };
                    if allowed.is_ok() {
                        self.record = Some(next);
                    }
                    self.event(n, Event::Members(self.record.clone()));
                }
                Effect::Executed { result, .. } => self.acknowledged += u64::from(result.is_ok()),
                Effect::Queried { result, .. } => self.answers.extend(result.map(|answer| answer.vector)),
                Effect::Alarm { why } => self.alarms.push(why),
                other @ (Effect::FormatAnew | Effect::Stopped | Effect::Strand(_)) => panic!("{other:?}"),
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            let wakes = self.cores.iter().map(|core| core.wake_at(self.now)).min().unwrap_or(until);
            self.now = wakes.max(self.now + Duration::from_millis(1)).min(until);
            for n in 0..self.cores.len() {
                self.event(n, Event::Tick);
                self.run();
            }
        }
    }

    /// One of them takes so many updates.
    fn rate(&mut self, n: usize, count: u64) {
        for begin in (0..count).step_by(usize::try_from(TOGETHER).unwrap()) {
            let deadline = self.now + PATIENCE;
            let many = (begin..count.min(begin + TOGETHER)).map(|number| {
                let (film, user) = (FilmKey::new("Heat", Some(1995)), format!("user {number}"));
                let payload = encode(&Update::Rate { film, user, rating: Rating::MAX });
                let request = RequestId::from_parts(wall(self.now), 0, self.sent + number);
                let (waiter, prev) = (Waiter(0), VectorTimestamp::default());
                Event::Execute { waiter, request, prev, payload, deadline }
            });
            let many: Vec<_> = many.collect();
            self.events(n, many);
            self.run();
        }
        self.sent += count;
    }

    fn ask(&mut self, n: usize, prev: VectorTimestamp) {
        let payload = encode(&Query::Average { film: FilmKey::new("Heat", Some(1995)) });
        let deadline = self.now + PATIENCE;
        self.event(n, Event::Query { waiter: Waiter(0), prev, payload, deadline });
        self.run();
    }
}

#[test]
fn a_read_that_lacks_100_000_updates_asks_for_none_of_them_twice() {
    let mut few = Few::new(2);
    few.cut = Some(1);
    few.rate(0, 100_000);
    assert_eq!(few.acknowledged, 100_000);
    few.cut = None;
    // What was said to one that could not be reached is not said again before the next round.
    few.ask(1, few.cores[0].applied().clone());
    few.wait(Duration::from_millis(150));
    assert_eq!(few.answers, [few.cores[0].applied().clone()]);
    assert!(few.pulled <= 100_000, "{} records for 100,000", few.pulled);
}

#[test]
fn a_log_is_short_5_s_after_the_last_of_25_000_updates() {
    let mut few = Few::new(3);
    few.rate(0, 15_000);
    few.rate(1, 10_000);
    few.wait(Duration::from_secs(5));
    for core in &few.cores {
        let (log, ids) = core.lengths();
        assert!(log <= 100 && ids == 25_000, "{log} records, {ids} ids: {}", core.applied());
    }
    // Of two origins.
    assert!(few.gone_max <= 2 * Limits::default().trim_step, "{} with one batch", few.gone_max);
}

#[test]
fn a_checkpoint_made_beside_the_core_is_what_the_core_was() {
    let mut few = Few::new(1);
    few.later = true;
    // The first is made of nothing, the second of the first one.
    for saved in [1, 2] {
        while few.works.is_empty() {
            few.rate(0, TOGETHER);
        }
        let was = few.cores[0].copy().checkpoint;
        few.rate(0, 500);
        let worked = few.works.pop_front().expect("it was just there").run();
        let (upto, made) = worked.checkpoint().expect("nothing is wrong with it");
        assert!(Checkpoint::read(made).as_ref() == Ok(&was), "one up to {upto}, and not {}", was.upto);
        few.event(0, Event::Worked(worked));
        few.run();
        assert_eq!((few.saved, few.cores[0].lengths().0), (saved, 500));
        assert!(few.works.is_empty());
    }
}

#[test]
fn a_checkpoint_that_comes_out_wrong_is_put_on_no_disk_and_made_again() {
    let mut few = Few::new(1);
    few.later = true;
    few.rate(0, 10_000);
    let lacking_one = |mut work: Work| {
        work.records.pop();
        work.run()
    };
    for made in [lacking_one, |_| Worked::given_up()] {
        let work = few.works.pop_front().expect("one is being made");
        few.event(0, Event::Worked(made(work)));
        few.run();
        assert_eq!((few.saved, few.cores[0].lengths().0), (0, 10_000));
        few.wait(Duration::from_mins(1) + QUICK);
    }
    assert_eq!(few.alarms.len(), 1, "{:?}", few.alarms);
    let worked = few.works.pop_front().unwrap().run();
    few.event(0, Event::Worked(worked));
    few.run();
    assert_eq!((few.saved, few.cores[0].lengths().0), (1, 0));
}

#[test]
fn an_old_disk_with_nobody_left_serves_when_a_person_says_that_it_counts() {
    let mut few = Few::new(1);
    let alone = few.record.clone().unwrap();
    // Another one was here, was moved out with seven updates, and of those this copy of the disk knows nothing.
    let gone = GossipConfig { retired: [(id(8), 7)].into(), version: alone.version.next(), ..alone.clone() };
    few.record = Some(gone.clone());
    few.cores[0] = core(0, few.now, Stored { members: Some(alone), ..Stored::default() });
    few.wait(Duration::from_secs(3));
    assert!(few.cores[0].is_stuck(), "{}", few.cores[0].trouble());
    assert!(few.alarms.iter().any(|why| why.contains("retired with 7 updates, 0")), "{:?}", few.alarms);
    few.event(0, Event::Accept);
    few.run();
    few.wait(Duration::from_secs(1));
    assert!(few.cores[0].serves(), "{}", few.cores[0].trouble());
    assert_eq!(few.cores[0].members(), &gone);
    few.rate(0, 3);
    assert_eq!(few.acknowledged, 3);
}

/// Whole system, seed 92: it was woken for a question that it never put again, without end.
#[test]
fn who_has_ended_is_woken_for_nothing() {
    let mut few = Few::new(2);
    few.cut = Some(1);
    few.rate(0, 1);
    few.event(0, Event::Stop);
    few.now = few.now + DRAIN_WITHIN;
    few.cores[0].membership.read_at(few.now + QUICK);
    few.event(0, Event::Tick);
    assert!(few.cores[0].has_ended());
    few.now = few.now + PATIENCE;
    assert!(few.cores[0].wake_at(few.now) > few.now);
}

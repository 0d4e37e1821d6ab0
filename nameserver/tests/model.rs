//! The name server's cores and their store against a reference of a few lines: random operations, with time, restarts and
//! pauses among them, and watchers who lose their connection.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::clock::{Moment, Timestamp};
use common::ids::{ClusterId, InstanceId};
use common::names::{
    AnyName, Change, ContractName, Entry, Expect, Holder, LeaseId, NameEpoch, Names, ObjectName,
    PackedRecord, Query, Readiness, Record, Removal, Revision, Sharing, Standing, Tags, Target, WatchId,
    Weight, What,
};
use nameserver::leases::{Leases, PAUSE};
use nameserver::matcher::{Matcher, Numbered};
use nameserver::registry::{Found, Next, Registration, Registry, Same, Step};
use nameserver::server::{Restored, restore};
use nameserver::store::{Image, NameRow, Write};
use nameserver::watch::{Compacted, Ring};
use proptest::prelude::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TICK: u64 = 10;
const TTL: u64 = 500;
const PROCESSES: usize = 5;
/// So few that watchers are left behind now and then.
const RING: usize = 12;

/// What a name server is made of, and what its disk holds.
struct House {
    registry: Registry,
    leases: Leases,
    ring: Ring,
    disk: Image,
    /// Real time, in ms.
    now: u64,
    /// When this boot began, in ms.
    began: u64,
    /// All that happened in this boot.
    history: Vec<Change>,
    fresh: u64,
}

impl House {
    fn new() -> Self {
        let disk = Image::in_memory(ClusterId::from_bytes([1; 16]), Timestamp::from_millis(1));
        let mut house = Self::over(disk, 0);
        house.history.clear();
        house
    }

    fn over(disk: Image, now: u64) -> Self {
        let Restored { registry, leases, writes, .. } = restore(at(now), disk.clone(), (1_000, 1_000));
        let ring = Ring::new(registry.shelf().stamp().rev, RING);
        let mut house = Self {
            registry,
            leases,
            ring,
            disk,
            now,
            began: now,
            history: Vec::new(),
            fresh: now * 1_000 + 7,
        };
        house.store(writes);
        house
    }

    fn restart(self) -> Self {
        // What the server stood still is nobody's time (found here: a pause and a restart took a living holder's name).
        let served = Duration::from_millis(self.now - self.began).saturating_sub(self.leases.pauses().1);
        let disk = Image { alive: served, ..self.disk };
        // A moment of a new process; ours counts on, to have one scale.
        let fresh = self.fresh;
        Self { fresh, ..Self::over(disk, self.now) }
    }

    fn store(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Boot(boot) => self.disk.boot = boot,
                Write::Reserved(rev) => {
                    self.disk.reserved = rev;
                    self.registry.reserved_is_durable(rev);
                }
                Write::Alive(alive) => self.disk.alive = alive,
                Write::Original | Write::Group(_) | Write::Registrant { .. } => {}
                Write::Lease { lease, row } => {
                    self.disk.leases.retain(|(id, _)| *id != lease);
                    self.disk.leases.extend(row.map(|row| (lease, row)));
                }
                Write::Name { name, instance, row } => {
                    let same = |row: &NameRow| {
                        row.record.name() == name.as_str() && row.record.instance() == instance
                    };
                    self.disk.names.retain(|row| !same(row));
                    self.disk.names.extend(row);
                    self.disk.names.sort_by(|a, b| a.record.name().cmp(b.record.name()));
                }
            }
        }
    }

    fn publish(&mut self, step: Step) {
        let everything = everything();
        let before = Revision(step.rev.0 - 1);
        self.ring.push(step.rev, step.events);
        let news = self.ring.since(before, &everything).unwrap();
        self.history.extend(news.changes);
        self.store(step.writes);
    }

    fn pass(&mut self, millis: u64) -> Vec<LeaseId> {
        let mut ended = Vec::new();
        for now in self.now + 1..=self.now + millis {
            if now % TICK == 0 {
                self.leases.tick(at(now));
                for cell in self.leases.sweep(usize::MAX) {
                    ended.push(cell.id);
                    let (_, step) = self.registry.end_lease(&self.leases, cell.id, Removal::Expired);
                    self.publish(step);
                }
            }
        }
        self.now += millis;
        ended
    }

    /// When the last tick was.
    fn ticked(&self) -> u64 {
        (self.now / TICK * TICK).max(self.began)
    }

    fn list(&self) -> Vec<Record> {
        let matcher = Matcher::new(Query::by_name(Names::Any)).unwrap();
        let mut found = Found::default();
        let mut after = None;
        loop {
            let limit = found.records.len() + 2;
            match self.registry.shelf().list(&matcher, after.as_ref(), limit, &mut found) {
                Next::End => return found.records.iter().map(PackedRecord::read).collect(),
                Next::Page(cursor) | Next::Scan(cursor) => after = Some(cursor),
            }
        }
    }
}

fn everything() -> Vec<Numbered> {
    vec![(WatchId(1), Matcher::new(Query::by_name(Names::Any)).unwrap())]
}

fn at(millis: u64) -> Moment {
    Moment::after_origin(Duration::from_millis(millis))
}

fn name(n: u8) -> AnyName {
    format!("n{n}").parse().unwrap()
}

fn entry(sharing: Sharing, port: u16) -> Entry {
    Entry {
        sharing,
        target: Target::Service {
            address: format!("127.0.0.1:{port}").parse().unwrap(),
            object: ObjectName::new("").unwrap(),
            contract: ContractName::new("x").unwrap(),
        },
        tags: Tags::default(),
        readiness: Readiness::Up,
        weight: Weight::default(),
    }
}

/// A lease as the reference knows it: a deadline on a clock that stands still while the server does.
#[derive(Clone, Copy, Debug)]
struct Lease {
    id: LeaseId,
    deadline: u64,
    confirmed: bool,
}

/// A record as the reference knows it.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    process: usize,
    sharing: Sharing,
    port: u16,
    epoch: NameEpoch,
    /// Whether its holder vouched for it in this boot.
    confirmed: bool,
}

/// Who watches all names, and what they believe.
struct Watcher {
    believed: BTreeMap<(AnyName, InstanceId), NameEpoch>,
    since: common::names::Stamp,
}

#[derive(Clone, Debug)]
enum Op {
    Grant {
        process: usize,
    },
    Renew {
        process: usize,
    },
    Revoke {
        process: usize,
    },
    Register {
        process: usize,
        name: u8,
        sharing: Sharing,
        port: u16,
    },
    Unregister {
        process: usize,
        name: u8,
    },
    Pass {
        millis: u64,
    },
    /// The server stands still.
    Pause {
        millis: u64,
    },
    Restart,
    Poll {
        answer_lost: bool,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let process = 0..PROCESSES;
    let sharing = prop_oneof![2 => Just(Sharing::Exclusive), 1 => Just(Sharing::Shared)];
    prop::collection::vec(
        prop_oneof![
            3 => process.clone().prop_map(|process| Op::Grant { process }),
            5 => process.clone().prop_map(|process| Op::Renew { process }),
            1 => process.clone().prop_map(|process| Op::Revoke { process }),
            8 => (process.clone(), 0..4_u8, sharing, 1..4_u16)
                .prop_map(|(process, name, sharing, port)| Op::Register { process, name, sharing, port }),
            2 => (process, 0..4_u8).prop_map(|(process, name)| Op::Unregister { process, name }),
            5 => prop_oneof![1..60_u64, 60..900_u64].prop_map(|millis| Op::Pass { millis }),
            1 => (200..5_000_u64).prop_map(|millis| Op::Pause { millis }),
            1 => Just(Op::Restart),
            6 => any::<bool>().prop_map(|answer_lost| Op::Poll { answer_lost }),
        ],
        1..120,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// After every operation: who holds what, as the reference has it; leases end when theirs do; and a watcher who is
    /// never told `Compacted` or `Rebooted` sees the history exactly.
    #[test]
    fn the_name_server_agrees_with_its_reference(ops in ops()) {
        let mut house = House::new();
        let mut leases: [Option<Lease>; PROCESSES] = [None; PROCESSES];
        let mut held: BTreeMap<u8, Vec<Held>> = BTreeMap::new();
        // How long the server stood still in all: the lease clock is real time without that.
        let mut stood_still = 0;
        let mut newest = NameEpoch(Revision(0));
        let mut watcher = listing(&house);
        for op in ops {
            match op {
                Op::Grant { process } => {
                    // A new process: the old lease is left to run out.
                    house.fresh += 1;
                    let (id, instance) = (LeaseId::from_random(house.fresh), InstanceId::from_u128(house.fresh.into()));
                    let cell = house.leases.grant(at(house.now), id, Duration::from_millis(TTL), instance, None).unwrap();
                    let row = house.registry.lease_row(&cell);
                    house.store(vec![row]);
                    if let Some(old) = leases[process].take() {
                        house.leases.revoke(old.id);
                        let (_, step) = house.registry.end_lease(&house.leases, old.id, Removal::Revoked);
                        house.publish(step);
                        forget(&mut held, process);
                    }
                    leases[process] = Some(Lease { id, deadline: house.now - stood_still + TTL, confirmed: true });
                }
                Op::Renew { process } => {
                    let Some(lease) = &mut leases[process] else { continue };
                    let renewed = house.leases.book().renew(at(house.now), lease.id);
                    // What runs out between ticks may still be saved.
                    let ticked = house.ticked() - stood_still;
                    prop_assert_eq!(renewed.is_ok(), lease.deadline > ticked, "{:?} at {}", lease, house.now);
                    if let Ok(renewal) = renewed {
                        prop_assert_eq!(renewal.confirms, !lease.confirmed);
                        let standing: usize = held.values().flatten().filter(|one| one.process == process).count();
                        prop_assert_eq!(renewal.renewed.names as usize, standing);
                        // Never shorter: the lease clock may have gone back by the part of a tick before a pause.
                        lease.deadline = lease.deadline.max(house.now - stood_still + TTL);
                        if !std::mem::replace(&mut lease.confirmed, true) {
                            for one in held.values_mut().flatten().filter(|one| one.process == process) {
                                one.confirmed = true;
                            }
                            house.leases.confirm(lease.id);
                            let cell = house.leases.get(lease.id).unwrap();
                            for step in house.registry.confirm(&cell) {
                                house.publish(step);
                            }
                            let row = house.registry.lease_row(&cell);
                            house.store(vec![row]);
                        }
                    }
                }
                Op::Revoke { process } => {
                    let Some(lease) = leases[process].take() else { continue };
                    house.leases.revoke(lease.id).unwrap();
                    let (_, step) = house.registry.end_lease(&house.leases, lease.id, Removal::Revoked);
                    house.publish(step);
                    forget(&mut held, process);
                }
                Op::Register { process, name: n, sharing, port } => {
                    let Some(lease) = leases[process] else { continue };
                    let request = Registration {
                        caller: HERE,
                        name: name(n),
                        entry: entry(sharing, port),
                        expect: Expect::Free,
                        lease: Some(lease.id),
                        fresh: InstanceId::NOBODY,
                        same: Same::Repeat,
                    };
                    let outcome = house.registry.register(at(house.now), &house.leases, request);
                    let records = held.entry(n).or_default();
                    let other_kind = records.iter().any(|one| one.sharing != sharing);
                    let taken = sharing == Sharing::Exclusive && records.iter().any(|one| one.process != process);
                    let lives = lease.deadline > house.ticked() - stood_still;
                    prop_assert_eq!(outcome.is_ok(), lives && !other_kind && !taken, "{:?}: {:?}", records, outcome);
                    let Ok((registered, step)) = outcome else { continue };
                    let same = records.iter().find(|one| one.process == process && one.port == port);
                    match (same, step) {
                        (Some(same), None) => prop_assert_eq!(registered.epoch, same.epoch),
                        (None, Some(step)) => {
                            prop_assert!(registered.epoch > newest, "epochs rise for ever, over restarts too");
                            newest = registered.epoch;
                            house.publish(step);
                            records.retain(|one| one.process != process);
                            records.push(Held { process, sharing, port, epoch: registered.epoch, confirmed: true });
                        }
                        (same, step) => prop_assert!(false, "{same:?} {step:?}"),
                    }
                }
                Op::Unregister { process, name: n } => {
                    let Some(lease) = leases[process] else { continue };
                    let outcome = house.registry.unregister(&house.leases, HERE, Holder::Lease(lease.id), &name(n));
                    let records = held.entry(n).or_default();
                    prop_assert_eq!(outcome.is_ok(), records.iter().any(|one| one.process == process));
                    if let Ok((_, step)) = outcome {
                        house.publish(step);
                        records.retain(|one| one.process != process);
                    }
                }
                Op::Pass { millis } => {
                    let ended = house.pass(millis);
                    let time = house.now / TICK * TICK - stood_still;
                    for (process, slot) in leases.iter_mut().enumerate() {
                        let Some(lease) = *slot else { continue };
                        let over = ended.contains(&lease.id);
                        // Never early; and no more than a tick late, where the lease clock's ticks are not ours.
                        prop_assert!(!over || lease.deadline <= time, "early: {:?} at {}", lease, time);
                        prop_assert!(over || lease.deadline + TICK > time, "late: {:?} at {}", lease, time);
                        if over {
                            *slot = None;
                            forget(&mut held, process);
                        }
                    }
                }
                Op::Pause { millis } => {
                    // The whole gap between two ticks is taken for the pause.
                    let ticked = house.ticked();
                    house.now = (house.now + millis) / TICK * TICK;
                    let pause = house.now - ticked;
                    assert!(u128::from(pause) > PAUSE.as_millis());
                    let busy = !house.leases.is_empty();
                    house.leases.tick(at(house.now));
                    prop_assert!(house.leases.sweep(usize::MAX).is_empty(), "nobody ends by our own pause");
                    if busy {
                        stood_still += pause;
                    }
                }
                Op::Restart => {
                    house = house.restart();
                    let time = house.now - stood_still;
                    // Its clock starts anew: nothing was ever a pause.
                    for lease in leases.iter_mut().flatten() {
                        let left = if lease.confirmed { TTL } else { lease.deadline.saturating_sub(time) };
                        *lease = Lease { deadline: house.now + left, confirmed: false, ..*lease };
                    }
                    stood_still = 0;
                    held.values_mut().flatten().for_each(|one| one.confirmed = false);
                }
                Op::Poll { answer_lost } => poll(&house, &mut watcher, answer_lost)?,
            }
            check(&house, &held, &leases)?;
        }
        poll(&house, &mut watcher, false)?;
        let listed: BTreeMap<_, _> = believed(&house);
        prop_assert_eq!(watcher.believed, listed, "in the end the watcher knows what stands");
    }
}

fn forget(held: &mut BTreeMap<u8, Vec<Held>>, process: usize) {
    for records in held.values_mut() {
        records.retain(|one| one.process != process);
    }
}

fn check(
    house: &House,
    held: &BTreeMap<u8, Vec<Held>>,
    leases: &[Option<Lease>; PROCESSES],
) -> Result<(), TestCaseError> {
    let found: Vec<_> =
        house.list().iter().map(|record| (record.name.clone(), record.epoch, record.standing)).collect();
    let mut expected: Vec<_> = Vec::new();
    for (n, records) in held {
        for one in records {
            let standing = if one.confirmed { Standing::Confirmed } else { Standing::Unconfirmed };
            expected.push((name(*n), one.epoch, standing));
        }
    }
    let sorted = |mut all: Vec<(AnyName, NameEpoch, Standing)>| {
        all.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        all
    };
    prop_assert_eq!(sorted(found), sorted(expected));
    prop_assert_eq!(house.leases.len(), leases.iter().flatten().count());
    let unconfirmed = leases.iter().flatten().filter(|lease| !lease.confirmed).count();
    prop_assert_eq!(house.leases.unconfirmed(), unconfirmed);
    Ok(())
}

fn believed(house: &House) -> BTreeMap<(AnyName, InstanceId), NameEpoch> {
    house.list().iter().map(|record| ((record.name.clone(), record.instance), record.epoch)).collect()
}

fn listing(house: &House) -> Watcher {
    Watcher { believed: believed(house), since: house.registry.shelf().stamp() }
}

/// One poll; its answer may be lost on the way, and is asked for again later from the same stamp.
fn poll(house: &House, watcher: &mut Watcher, answer_lost: bool) -> Result<(), TestCaseError> {
    let now = house.registry.shelf().stamp();
    if now.boot != watcher.since.boot {
        *watcher = listing(house);
        return Ok(());
    }
    let answer = match house.ring.since(watcher.since.rev, &everything()) {
        Ok(answer) => answer,
        Err(Compacted { oldest }) => {
            prop_assert!(oldest > watcher.since.rev);
            *watcher = listing(house);
            return Ok(());
        }
    };
    let expected: Vec<&Change> = house
        .history
        .iter()
        .filter(|change| change.rev > watcher.since.rev && change.rev <= answer.upto)
        .collect();
    prop_assert_eq!(answer.changes.iter().collect::<Vec<_>>(), expected, "the history, exactly");
    if answer_lost {
        return Ok(());
    }
    for change in answer.changes {
        let key = (change.name, change.instance);
        if let What::Registered(record) | What::Updated(record) = change.what {
            watcher.believed.insert(key, record.epoch);
        } else {
            watcher.believed.remove(&key);
        }
    }
    watcher.since.rev = answer.upto;
    Ok(())
}

//! How things go wrong, and how they are made good again.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use common::machine::simulated::disk::Left;
use common::machine::simulated::{Machine, net, trace};
use rand::Rng as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

use super::super::faults::Kind;
use super::super::hosts::Host;
use super::{Act, REPLICAS, World};

impl World<'_> {
    pub(super) fn act(&mut self, now: Duration, act: Act) {
        match act {
            Act::Begin(kind, lasts) => {
                if self.begin(now, kind, lasts) {
                    *self.fired.entry(kind).or_default() += 1;
                    self.troubled_until = self.troubled_until.max(now + lasts + Duration::from_secs(4));
                }
            }
            Act::PowerOn(ip) => self.power_on(ip),
            Act::Release(pairs) => {
                for pair in pairs {
                    self.release(pair);
                }
            }
            Act::Mend(from, to) => net::mend(from, to),
            Act::LoseNothing if now >= self.lossy_until => net::lose([]),
            Act::LoseNothing => {}
            Act::Quicken(one, other) => self.sim.set_link_max_message_latency(one, other, self.latency),
            Act::DiskAtEase(machine) => self.at_ease(&machine),
            Act::DiskEmptied(machine) => machine.disk.fill(false),
        }
    }

    /// Begins a fault; `false` when it makes no sense now.
    fn begin(&mut self, now: Duration, kind: Kind, lasts: Duration) -> bool {
        let host = self.hosts.choose(&mut self.chance).expect("there are hosts").clone();
        let with_disk = self.hosts[..=usize::from(REPLICAS)].choose(&mut self.chance).expect("some").clone();
        let name = |host: &Host| host.machine.name.to_owned();
        let mut told = String::new();
        match kind {
            Kind::Kill => {
                told = name(&host);
                self.kill(&host, Left::All, lasts);
            }
            Kind::Stop => {
                told = name(&host);
                host.start_after.set(lasts);
                host.machine.signals.send_modify(|count| *count += 1);
            }
            Kind::Power => {
                told = name(&host);
                self.power_off(now, &host, lasts);
            }
            Kind::NameServerAway => {
                let host = self.hosts[0].clone();
                if self.chance.random() {
                    self.power_off(now, &host, lasts);
                } else {
                    self.kill(&host, Left::All, lasts);
                }
            }
            Kind::PowerForAll | Kind::KillAll => {
                for number in 1..=usize::from(REPLICAS) {
                    let host = self.hosts[number].clone();
                    let lasts = lasts.mul_f64(self.chance.random_range(0.2..=1.0));
                    if kind == Kind::KillAll {
                        self.kill(&host, Left::All, lasts);
                    } else {
                        self.power_off(now, &host, lasts);
                    }
                }
            }
            Kind::Partition | Kind::Pair | Kind::Frozen => {
                let pairs = self.sides(kind);
                told = format!("{pairs:?}");
                for &pair in &pairs {
                    self.hold(pair);
                }
                self.plan(now + lasts, Act::Release(pairs));
            }
            Kind::OneWay => {
                let (from, to) = self.two();
                told = format!("{from} to {to}");
                net::cut(from, to);
                self.plan(now + lasts, Act::Mend(from, to));
            }
            Kind::Slow => {
                let (one, other) = self.two();
                let slow = Duration::from_millis(self.chance.random_range(20..=400));
                told = format!("{one} {other} {slow:?}");
                self.sim.set_link_max_message_latency(one, other, slow);
                self.plan(now + lasts, Act::Quicken(one, other));
            }
            Kind::SlowDisk | Kind::HungDisk => {
                told = name(&with_disk);
                let time = if kind == Kind::HungDisk {
                    lasts
                } else {
                    Duration::from_millis(self.chance.random_range(50..=600))
                };
                with_disk.machine.disk_time.set((time / 2, time));
                self.plan(now + lasts, Act::DiskAtEase(Rc::clone(&with_disk.machine)));
            }
            Kind::FullDisk => {
                told = name(&with_disk);
                with_disk.machine.disk.fill(true);
                self.plan(now + lasts, Act::DiskEmptied(Rc::clone(&with_disk.machine)));
            }
            Kind::FailingSync => {
                told = name(&with_disk);
                with_disk.start_after.set(lasts);
                with_disk.machine.disk.fail();
            }
            Kind::TornCommit => {
                told = name(&with_disk);
                with_disk.start_after.set(lasts);
                with_disk.machine.disk.cut_after(self.chance.random_range(0..12));
            }
            Kind::Wall => {
                let most = *[500, 5_000, 60_000, 600_000].choose(&mut self.chance).expect("four");
                let ahead = self.chance.random_range(-most..=most);
                told = format!("{} {ahead} ms", host.machine.name);
                host.machine.wall_ahead.set(ahead);
            }
            Kind::Wiped => {
                if !self.may_go(now, lasts) {
                    return false;
                }
                let count = usize::from(REPLICAS);
                self.wiped = true;
                let host = self.hosts[self.chance.random_range(1..=count)].clone();
                told = name(&host);
                self.kill(&host, Left::All, lasts);
                host.machine.disk.wipe();
            }
            Kind::Lossy => {
                net::lose(self.places.iter().copied());
                self.lossy_until = self.lossy_until.max(now + lasts);
                self.plan(now + lasts, Act::LoseNothing);
            }
        }
        trace::note(format_args!("fault {kind} for {lasts:?} {told}"));
        true
    }

    /// Whether a disk may go: only while another one of the in-sync set stays, and while nobody has ratings that others
    /// lack, for which raters pause. When only that is missing, it is asked again.
    fn may_go(&mut self, now: Duration, lasts: Duration) -> bool {
        const AGAIN_AFTER: Duration = Duration::from_millis(50);
        let count = usize::from(REPLICAS);
        let calm = !self.wiped && self.troubled_until <= now && self.seen.all_in_sync(now, count);
        let paused = if calm { self.club.pause(now) } else { None };
        let may_go = paused.is_some_and(|since| self.seen.ratings.is_equal(since, count));
        if calm && !may_go {
            self.plan(now + AGAIN_AFTER, Act::Begin(Kind::Wiped, lasts));
        } else {
            self.club.go_on();
        }
        may_go
    }

    fn two(&mut self) -> (IpAddr, IpAddr) {
        let two: Vec<IpAddr> = self.places.choose_multiple(&mut self.chance, 2).copied().collect();
        (two[0], two[1])
    }

    /// The pairs of places that are parted.
    fn sides(&mut self, kind: Kind) -> Vec<(IpAddr, IpAddr)> {
        let mut places = self.places.clone();
        places.shuffle(&mut self.chance);
        let split = match kind {
            Kind::Partition => self.chance.random_range(1..places.len()),
            _ => 1,
        };
        let (one, other) = places.split_at(split);
        let other = if kind == Kind::Pair { &other[..1] } else { other };
        one.iter().flat_map(|&one| other.iter().map(move |&other| (one.min(other), one.max(other)))).collect()
    }

    fn hold(&mut self, pair: (IpAddr, IpAddr)) {
        *self.holds.entry(pair).or_default() += 1;
        self.apply(pair);
    }

    fn release(&mut self, pair: (IpAddr, IpAddr)) {
        if let Some(count) = self.holds.get_mut(&pair) {
            *count = count.saturating_sub(1);
        }
        self.apply(pair);
    }

    /// Makes a link as it must be.
    fn apply(&mut self, (one, other): (IpAddr, IpAddr)) {
        if self.without_power.contains(&one) || self.without_power.contains(&other) {
            self.sim.partition(one, other);
        } else if self.holds.get(&(one, other)).is_some_and(|&count| count > 0) {
            self.sim.hold(one, other);
        } else {
            self.sim.release(one, other);
        }
    }

    fn links_of(&self, ip: IpAddr) -> Vec<(IpAddr, IpAddr)> {
        let watch = self.sim.lookup("watch");
        let others = self.places.iter().copied().chain([watch]).filter(|&other| other != ip);
        others.map(|other| (ip.min(other), ip.max(other))).collect()
    }

    /// Ends a host's process at once; the machine starts it again after a while.
    fn kill(&mut self, host: &Host, left: Left, start_after: Duration) {
        host.start_after.set(start_after);
        host.machine.disk.crash(left, &mut self.chance);
        self.sim.bounce(host.machine.name);
        host.machine.ended.set(None);
    }

    fn power_off(&mut self, now: Duration, host: &Host, lasts: Duration) {
        let ip = host.machine.ip;
        self.without_power.insert(ip);
        for pair in self.links_of(ip) {
            self.apply(pair);
            let other = if pair.0 == ip { pair.1 } else { pair.0 };
            net::cut(ip, other);
            net::cut(other, ip);
        }
        let left = if self.chance.random() { Left::Some } else { Left::Nothing };
        self.kill(host, left, lasts);
        self.plan(now + lasts, Act::PowerOn(ip));
    }

    fn power_on(&mut self, ip: IpAddr) {
        if !self.without_power.remove(&ip) {
            return;
        }
        for pair in self.links_of(ip) {
            let other = if pair.0 == ip { pair.1 } else { pair.0 };
            if !self.without_power.contains(&other) {
                net::mend(ip, other);
                net::mend(other, ip);
            }
            self.apply(pair);
        }
    }

    /// Takes away processes that ended themselves, and has their machines start them again.
    pub(super) fn bury(&mut self) {
        for host in self.hosts.clone() {
            // A name server goes on without its disk; not without power.
            let lost_power = host.machine.disk.lost_power();
            let Some(code) = host.machine.ended.get().or(lost_power.then_some(-1)) else { continue };
            trace::note(format_args!("{} has ended with {code}", host.machine.name));
            // The power may have gone in the middle of a commit; else only the process did.
            let left = if lost_power { Left::Some } else { Left::All };
            let wait = host.start_after.replace(Duration::from_millis(300));
            self.kill(&host, left, wait.max(Duration::from_millis(20)));
        }
    }

    /// Ends all faults.
    pub(super) fn heal(&mut self) {
        self.agenda.clear();
        self.club.go_on();
        net::lose([]);
        for ip in self.without_power.clone() {
            self.power_on(ip);
        }
        let pairs: Vec<_> = self.holds.keys().copied().collect();
        self.holds.clear();
        for pair in pairs {
            self.apply(pair);
        }
        for &from in &self.places {
            for &to in self.places.iter().filter(|&&to| to != from) {
                net::mend(from, to);
                self.sim.set_link_max_message_latency(from, to, self.latency);
            }
        }
        for host in &self.hosts {
            self.at_ease(&host.machine);
            host.machine.disk.fill(false);
            host.machine.disk.calm();
        }
        for host in self.hosts.clone() {
            if host.waits.get() {
                self.kill(&host, Left::All, Duration::from_millis(20));
            }
        }
    }

    pub(super) fn at_ease(&self, machine: &Machine) {
        machine.disk_time.set((self.disk_time / 10, self.disk_time));
    }
}

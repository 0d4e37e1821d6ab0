use std::net::Ipv4Addr;

use common::ids::InstanceId;
use common::names::{Lifetime, NameEpoch, Readiness, RecordRef, Revision, Sharing, Standing, Weight};

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AFAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const PERIOD: Duration = Duration::from_secs(4);

fn at(millis: u64) -> Moment {
    Moment::after_origin(Duration::from_millis(millis))
}

fn service(address: &str) -> TargetRef<'_> {
    TargetRef::Service { address: address.parse().unwrap(), object: "", contract: "greeting" }
}

fn pyro(uri: &str) -> TargetRef<'_> {
    TargetRef::Pyro { uri }
}

fn record(name: &str, epoch: u64, target: TargetRef<'_>) -> PackedRecord {
    PackedRecord::from(&RecordRef {
        name,
        sharing: Sharing::Exclusive,
        instance: InstanceId::from_u128(1),
        epoch: NameEpoch(Revision(epoch)),
        target,
        tags: Vec::new(),
        readiness: Readiness::Up,
        standing: Standing::Confirmed,
        weight: Weight::default(),
        lifetime: Lifetime::Permanent,
    })
}

fn new_from(from: IpAddr) -> Registrant {
    Registrant { from, seen: false }
}

/// Dials whoever is due, every `step` ms over `from..to`; returns who was found dead, and when.
fn run(
    probes: &mut Probes,
    (from, to, step): (u64, u64, usize),
    alive: impl Fn(u64) -> bool,
) -> Vec<(u64, PackedRecord)> {
    let mut dead = Vec::new();
    for now in (from..to).step_by(step) {
        for place in probes.due(at(now)) {
            let verdict = probes.answered(at(now), &place, alive(now));
            dead.extend(verdict.dead.into_iter().map(|record| (now, record)));
        }
    }
    dead
}

#[test]
fn a_name_goes_a_period_after_its_last_sign_of_life_and_not_before() {
    let mut probes = Probes::new(Autoclean::Careful(PERIOD));
    probes.add(at(0), &record("a", 1, service("127.0.0.1:1")), new_from(HERE));
    let dead = run(&mut probes, (0, 20_000, 10), |now| now < 5_000);
    // It fails first at its probe of 5 s.
    assert_eq!(dead[0], (9_000, record("a", 1, service("127.0.0.1:1"))));
}

#[test]
fn one_never_seen_alive_stays_unless_an_operator_said_otherwise() {
    for (autoclean, gone) in [(Autoclean::Careful(PERIOD), false), (Autoclean::All(PERIOD), true)] {
        let mut probes = Probes::new(autoclean);
        probes.add(at(0), &record("a", 1, service("127.0.0.1:1")), new_from(HERE));
        assert_eq!(!run(&mut probes, (0, 60_000, 10), |_| false).is_empty(), gone, "{autoclean:?}");
    }
    // What an earlier boot has seen counts.
    let mut probes = Probes::new(Autoclean::Careful(PERIOD));
    let seen = Registrant { from: HERE, seen: true };
    probes.add(at(0), &record("a", 1, service("127.0.0.1:1")), seen);
    assert!(!run(&mut probes, (0, 60_000, 10), |_| false).is_empty());
}

/// Else anybody could have us dial anybody.
#[test]
fn only_the_registrants_own_machine_is_dialled() {
    let dialled = |autoclean, target: &TargetRef<'_>, from| {
        let mut probes = Probes::new(autoclean);
        probes.add(at(0), &record("a", 1, target.clone()), new_from(from));
        !probes.due(at(60_000)).is_empty()
    };
    let careful = Autoclean::Careful(PERIOD);
    for (target, from, expected) in [
        (service("127.0.0.1:1"), HERE, true),
        (service("[::1]:1"), HERE, true),
        (service("localhost:1"), HERE, true),
        (service("10.0.0.7:1"), AFAR, true),
        (service("10.0.0.8:1"), AFAR, false),
        (service("shop.example:1"), AFAR, false),
        (pyro("PYRO:obj_1@127.0.0.1:4000"), HERE, true),
        (pyro("PYRO:odd@name@10.0.0.7:4000"), AFAR, true),
        (pyro("PYRO:obj@./u:/tmp/socket"), HERE, false),
        (pyro("PYRONAME:obj"), HERE, false),
    ] {
        assert_eq!(dialled(careful, &target, from), expected, "{target:?}");
    }
    let all = Autoclean::All(PERIOD);
    assert!(dialled(all, &service("10.0.0.8:1"), AFAR));
    for never in ["169.254.1.1:1", "[fe80::1]:1", "0.0.0.0:1", "224.0.0.1:1"] {
        assert!(!dialled(all, &service(never), AFAR), "{never}");
    }
    assert!(!dialled(Autoclean::Off, &service("127.0.0.1:1"), HERE));
}

/// Field failure (seen in Pyro 5.17): the cleaner removed a new entry for the old one's silence, 6 s after it came
/// instead of 20. Here somebody registers again at every millisecond around the removal: it has a whole period.
#[test]
fn f14_cleaner_spares_the_new() {
    for again in 7_900..8_100 {
        let mut probes = Probes::new(Autoclean::All(PERIOD));
        let record = |epoch| record("a", epoch, service("127.0.0.1:1"));
        probes.add(at(0), &record(1), new_from(HERE));
        let mut dead = run(&mut probes, (0, 7_800, 20), |now| now < 4_000);
        dead.extend(run(&mut probes, (7_800, again, 1), |_| false));
        for (_, record) in &dead {
            probes.forget(record);
        }
        probes.add(at(again), &record(2), new_from(HERE));
        // The old one's end, told late, does not concern it.
        probes.forget(&record(1));
        let (gone, who) = run(&mut probes, (again, again + 6_000, 5), |_| false).remove(0);
        assert_eq!(who, record(2));
        assert!(gone >= again + 4_000, "registered at {again}, gone at {gone}");
    }
}

#[test]
fn a_pause_of_ours_is_nobodys_silence() {
    let mut probes = Probes::new(Autoclean::Careful(PERIOD));
    let seen = Registrant { from: HERE, seen: true };
    probes.add(at(0), &record("a", 1, service("127.0.0.1:1")), seen);
    assert!(run(&mut probes, (0, 2_000, 10), |_| false).is_empty());
    // Stopped for an hour; the first probe after it finds nobody, the second one somebody.
    let later = 3_600_000;
    assert!(run(&mut probes, (later, later + 900, 10), |_| false).is_empty());
    assert!(run(&mut probes, (later + 900, later + 30_000, 10), |_| true).is_empty());
}

#[test]
fn an_address_is_dialled_once_for_all_its_names_and_a_machine_at_most_four_times_at_once() {
    let mut probes = Probes::new(Autoclean::Careful(PERIOD));
    for n in 0..10 {
        probes.add(at(0), &record(&format!("a{n}"), n, service("127.0.0.1:1")), new_from(HERE));
        let of_its_own = format!("127.0.0.1:{}", 10 + n);
        probes.add(at(0), &record(&format!("b{n}"), n, service(&of_its_own)), new_from(HERE));
    }
    let mut rounds = Vec::new();
    loop {
        let places = probes.due(at(1_000));
        if places.is_empty() {
            break;
        }
        assert!(probes.due(at(1_000)).is_empty(), "the machine has enough to answer");
        for place in &places {
            probes.answered(at(1_000), place, true);
        }
        rounds.push(places.len());
    }
    assert_eq!((rounds, probes.asked()), (vec![4, 4, 3], 11));
}

#[test]
fn who_is_forgotten_is_dialled_no_more() {
    let mut probes = Probes::new(Autoclean::Careful(PERIOD));
    let record = record("a", 1, service("127.0.0.1:1"));
    probes.add(at(0), &record, new_from(HERE));
    let place = probes.due(at(1_000)).remove(0);
    probes.forget(&record);
    assert_eq!(probes.answered(at(1_100), &place, false), Verdict::default());
    assert_eq!((probes.due(at(60_000)), probes.every()), (vec![], None));
}

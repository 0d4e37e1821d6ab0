use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TTL: Duration = Duration::from_millis(500);

fn at(millis: u64) -> Moment {
    Moment::after_origin(Duration::from_millis(millis))
}

fn id(n: u64) -> LeaseId {
    LeaseId::from_random(n)
}

fn with_one(ttl: Duration) -> Leases {
    let mut leases = Leases::new(at(0), 10);
    leases.grant(at(0), id(1), ttl, InstanceId::from_u128(1), None).unwrap();
    leases
}

/// Ticks every 10 ms over `from..=to`, and returns when leases ended.
fn run(leases: &mut Leases, from: u64, to: u64) -> Vec<(u64, LeaseId)> {
    let mut ended = Vec::new();
    for now in (from..=to).step_by(10) {
        leases.tick(at(now));
        ended.extend(leases.sweep(usize::MAX).iter().map(|cell| (now, cell.id)));
    }
    ended
}

#[test]
fn a_lease_ends_at_the_tick_of_its_deadline() {
    assert_eq!(run(&mut with_one(TTL), 10, 1000), [(500, id(1))]);
}

/// Ticks that fell between the wheel's own made a lease wait for two of them: up to 20 ms.
#[test]
fn a_lease_ends_within_a_tick_of_its_deadline_whenever_the_ticker_began() {
    for offset in (0..10_000).step_by(700) {
        let begun = Moment::after_origin(Duration::from_micros(offset));
        let mut leases = Leases::new(Moment::ORIGIN, 10);
        leases.grant(begun, id(1), TTL, InstanceId::from_u128(1), None).unwrap();
        let mut now = begun;
        while leases.sweep(usize::MAX).is_empty() {
            now = now + leases.next_tick(now);
            leases.tick(now);
        }
        let late = now.since(begun + TTL);
        assert!(now >= begun + TTL && late < TICK, "{late:?} late, begun {offset} us after a tick");
    }
}

#[test]
fn a_renewed_lease_lives_on_and_is_visited_once_per_ttl() {
    let mut leases = with_one(TTL);
    assert!(run(&mut leases, 10, 300).is_empty());
    leases.book().renew(at(300), id(1)).unwrap();
    assert_eq!(run(&mut leases, 310, 1000), [(800, id(1))]);
    assert_eq!(leases.book().renew(at(1000), id(1)), Err(RenewError::UnknownLease));
}

#[test]
fn f03_a_pause_of_the_server_ends_no_lease() {
    let mut leases = with_one(TTL);
    assert!(run(&mut leases, 10, 400).is_empty());
    // Stopped for five seconds. A renewal is handled before the ticker wakes.
    leases.book().renew(at(5400), id(1)).unwrap();
    assert!(run(&mut leases, 5410, 5800).is_empty());
    assert_eq!(leases.pauses(), (1, Duration::from_millis(5010)));
    // Holders that did not renew have what they had left, counted from the resume.
    let mut leases = with_one(TTL);
    run(&mut leases, 10, 400);
    assert_eq!(run(&mut leases, 5410, 6000), [(5510, id(1))]);
}

#[test]
fn without_leases_a_late_tick_is_no_pause() {
    let mut leases = Leases::new(at(0), 10);
    leases.tick(at(500));
    leases.tick(at(1000));
    assert_eq!(leases.pauses().0, 0);
    leases.grant(at(1003), id(1), TTL, InstanceId::from_u128(1), None).unwrap();
    assert_eq!(run(&mut leases, 1010, 2000), [(1510, id(1))]);
}

#[test]
fn a_revoked_lease_is_unknown_at_once() {
    let mut leases = with_one(TTL);
    assert!(leases.revoke(id(1)).is_some());
    assert_eq!(leases.book().renew(at(0), id(1)), Err(RenewError::UnknownLease));
    assert!(leases.revoke(id(1)).is_none());
    assert!(run(&mut leases, 10, 1000).is_empty());
    assert_eq!(leases.len(), 0);
}

#[test]
fn limits_are_answered() {
    let mut leases = Leases::new(at(0), 1);
    let mut grant =
        |n, ttl| leases.grant(at(0), id(n), ttl, InstanceId::from_u128(1), None).map(|cell| cell.id);
    assert!(matches!(grant(1, Duration::from_millis(99)), Err(GrantError::TtlOutOfRange { .. })));
    assert!(matches!(grant(1, TTL_MAX + Duration::from_nanos(1)), Err(GrantError::TtlOutOfRange { .. })));
    assert_eq!(grant(1, TTL_MAX), Ok(id(1)));
    assert_eq!(grant(2, TTL), Err(GrantError::TooManyLeases { limit: 1 }));
}

/// Field failure: each restart of a name server gave the dead a whole new time-to-live, so a server that crashed
/// often kept them listed for ever.
#[test]
fn f02_restarts_do_not_immortalise() {
    let mut row = LeaseRow {
        ttl: TTL,
        instance: InstanceId::from_u128(1),
        owner: None,
        heard: Heard::In(BootCount(1)),
    };
    let served = Duration::from_millis(200);
    let mut graces = Vec::new();
    for boot in 2..7 {
        let previous = BootCount(boot - 1);
        let grace = row.grace(previous, served);
        graces.push(grace.as_millis());
        row.heard = Heard::Left(BootCount(boot), grace);
    }
    assert_eq!(graces, [500, 300, 100, 0, 0]);
}

#[test]
fn the_same_owner_is_known_by_its_key_alone() {
    let (mine, other) = (OwnerKey::from_random(7), OwnerKey::from_random(8));
    assert!(OwnerHash::of(mine).same(OwnerHash::of(mine)));
    assert!(!OwnerHash::of(mine).same(OwnerHash::of(other)));
}

/// A number that is as good as random, and the same in every run.
fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Field failure: a renewal was answered with yes while the expiry of the same lease was under way. Here two renewals
/// and the tick's edge meet a million times, in virtual time, each time in another order of their loads and swaps:
/// whatever a renewal promised, the lease did not end before.
#[test]
fn f04_renewed_means_present() {
    const INTERLEAVINGS: u64 = 1_000_000;
    const TTL_HERE: LeaseTime = 1_000;
    const STEP: LeaseTime = 100;
    let (mut seed, mut renewals, mut refusals, mut ends) = (7, 0, 0, 0);
    for turn in 0..INTERLEAVINGS {
        // Close to its end: the deadline falls on one of the next ticks, or between them.
        let mut ticked: LeaseTime = 10_000;
        let mut deadline = ticked + 1 + draw(&mut seed) % (2 * STEP);
        let mut clock = ticked;
        let mut ended = None;
        let mut promised = 0;
        let mut renewers = [Renewer::Asked; 2];
        let mut sweep: Option<LeaseTime> = None;
        let mut swept_at = ticked;
        while ticked < 10_000 + 2 * STEP {
            match draw(&mut seed) % 4 {
                0 => clock += draw(&mut seed) % (STEP / 2),
                // Ticks: publishes, looks, and swaps what it saw.
                1 => match sweep.take() {
                    None => {
                        ticked = ticked.max(clock) + 1;
                        swept_at = ticked;
                        sweep = Some(deadline);
                    }
                    Some(seen) if ended.is_none() && is_past(seen, swept_at) => {
                        if seen == deadline {
                            deadline = DEAD;
                            ended = Some(swept_at);
                        }
                    }
                    Some(_) => {}
                },
                who => {
                    let renewer = &mut renewers[usize::try_from(who - 2).unwrap()];
                    *renewer = match *renewer {
                        Renewer::Asked => Renewer::Judges { ticked },
                        Renewer::Judges { ticked: judged } => {
                            let later = clock.clamp(ticked, ticked + micros(PAUSE)) + TTL_HERE;
                            Renewer::Looks { judged, later }
                        }
                        Renewer::Looks { judged, later } => Renewer::Swaps { judged, later, seen: deadline },
                        Renewer::Swaps { judged, later, seen } => match renewal(seen, later, judged) {
                            Err(_) => {
                                refusals += 1;
                                Renewer::Asked
                            }
                            Ok(Some(_)) if seen != deadline => Renewer::Looks { judged, later },
                            Ok(moved) => {
                                deadline = moved.unwrap_or(deadline);
                                promised = promised.max(later);
                                renewals += 1;
                                Renewer::Asked
                            }
                        },
                    };
                }
            }
            if let Some(end) = ended {
                assert!(end >= promised, "in turn {turn}: ended at {end}, promised until {promised}");
            }
        }
        ends += u64::from(ended.is_some());
    }
    println!("{renewals} renewals, {refusals} refused, {ends} leases ended");
    assert!(renewals > INTERLEAVINGS && refusals > ends && ends > INTERLEAVINGS / 100);
}

/// How far a renewal is: what it has loaded so far.
#[derive(Clone, Copy)]
enum Renewer {
    Asked,
    Judges { ticked: LeaseTime },
    Looks { judged: LeaseTime, later: LeaseTime },
    Swaps { judged: LeaseTime, later: LeaseTime, seen: LeaseTime },
}

/// The same on two threads, with the real cell.
#[test]
fn a_renewal_and_the_end_of_its_lease_never_both_succeed() {
    let mut leases = Leases::new(at(0), 10);
    let book = leases.book();
    let mut now = 0;
    for turn in 1..=300 {
        leases.grant(at(now), id(turn), TTL_MIN, InstanceId::from_u128(1), None).unwrap();
        for _ in 0..2 {
            now += 45;
            leases.tick(at(now));
        }
        let (book, asked) = (&book, at(now + 5));
        now += 10;
        let (renewed, ended) = std::thread::scope(|threads| {
            let renewal = threads.spawn(move || book.renew(asked, id(turn)).is_ok());
            leases.tick(at(now));
            (!leases.sweep(usize::MAX).is_empty(), renewal.join().unwrap())
        });
        assert!(renewed != ended, "in turn {turn}");
        let _ = leases.revoke(id(turn));
    }
}

/// What `f23_wall_clock_is_ignored` shows of the whole program: nothing that decides about time can see that clock. It is
/// asked for a greeting, and for the first numbers of a store without a file.
#[test]
fn nobody_who_decides_about_time_names_the_wall_clock() {
    for (file, text) in [
        ("leases", include_str!("../leases.rs")),
        ("wheel", include_str!("wheel.rs")),
        ("registry", include_str!("../registry.rs")),
        ("watch", include_str!("../watch.rs")),
        ("probes", include_str!("../probes.rs")),
        ("writer", include_str!("../writer.rs")),
        ("groups", include_str!("../groups.rs")),
    ] {
        for clock in ["wall()", "SystemTime", "Timestamp"] {
            assert!(!text.contains(clock), "{file} names {clock}");
        }
    }
    assert!(include_str!("../handlers.rs").contains("wall()"), "where it is asked, the word is found");
}

#[derive(Clone, Debug)]
enum Step {
    Grant { lease: u64, ttl: u64 },
    Renew { lease: u64 },
    Revoke { lease: u64 },
    Pass { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lease = 0..8_u64;
    prop::collection::vec(
        prop_oneof![
            (lease.clone(), prop_oneof![100..5_000_u64, 5_000..3_000_000_u64])
                .prop_map(|(lease, ttl)| Step::Grant { lease, ttl }),
            lease.clone().prop_map(|lease| Step::Renew { lease }),
            lease.prop_map(|lease| Step::Revoke { lease }),
            prop_oneof![1..60_u64, 60..20_000_u64].prop_map(|millis| Step::Pass { millis }),
        ],
        1..60,
    )
}

proptest! {
    /// Against a table of deadlines: nobody ends early, nobody more than a tick late, renewals agree.
    #[test]
    fn the_wheel_agrees_with_a_table_of_deadlines(steps in steps()) {
        let mut leases = Leases::new(at(0), 100);
        let mut model = BTreeMap::<LeaseId, (u64, u64)>::new(); // deadline, ttl in ms
        let mut now = 0;
        let mut fresh = 100;
        let mut ids = [LeaseId::from_random(0); 8];
        for step in steps {
            match step {
                Step::Grant { lease, ttl } => {
                    fresh += 1;
                    let slot = usize::try_from(lease).unwrap();
                    ids[slot] = id(fresh);
                    let ttl_given = Duration::from_millis(ttl);
                    leases.grant(at(now), id(fresh), ttl_given, InstanceId::from_u128(1), None).unwrap();
                    model.insert(id(fresh), (now + ttl, ttl));
                }
                Step::Renew { lease } => {
                    let lease = ids[usize::try_from(lease).unwrap()];
                    let renewed = leases.book().renew(at(now), lease).is_ok();
                    // Between ticks a lease past its deadline may still be saved.
                    let last_tick = now / 10 * 10;
                    match model.get_mut(&lease) {
                        Some((deadline, ttl)) => {
                            prop_assert_eq!(renewed, *deadline > last_tick);
                            if renewed { *deadline = now + *ttl; }
                        }
                        None => prop_assert!(!renewed),
                    }
                }
                Step::Revoke { lease } => {
                    let lease = ids[usize::try_from(lease).unwrap()];
                    prop_assert_eq!(leases.revoke(lease).is_some(), model.remove(&lease).is_some());
                }
                Step::Pass { millis } => {
                    for tick in now + 1..=now + millis {
                        if tick % 10 != 0 { continue; }
                        leases.tick(at(tick));
                        for cell in leases.sweep(usize::MAX) {
                            let (deadline, _) = model.remove(&cell.id).expect("it lived");
                            prop_assert!(deadline <= tick, "early: due {} ended {}", deadline, tick);
                            prop_assert!(tick < deadline + 10, "late: due {} ended {}", deadline, tick);
                        }
                    }
                    now += millis;
                    prop_assert!(model.values().all(|(deadline, _)| *deadline > now / 10 * 10));
                }
            }
            prop_assert_eq!(leases.len(), model.len());
        }
    }
}

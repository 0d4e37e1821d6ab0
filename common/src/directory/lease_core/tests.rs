use std::time::Duration;

use super::super::fixtures::{entry, stamp};
use super::*;
use crate::ids::InstanceId;
use crate::names::{NameEpoch, Readiness, Revision};

const TTL: Duration = Duration::from_secs(3);
const LEASE: LeaseId = LeaseId::from_random(7);
/// The middle of every draw: a renewal after exactly a third.
const MIDDLE: u64 = 500;

fn at(millis: u64) -> Moment {
    Moment::after_origin(Duration::from_millis(millis))
}

fn name() -> LogicalName {
    "replica.1".parse().unwrap()
}

fn unreachable() -> CallError {
    CallError::ConnectionLost
}

fn grant_of(lease: LeaseId, boot: u64) -> Answer {
    let value = Granted { lease, ttl: TTL };
    Answer::Granted(Ok(Stamped { stamp: stamp(boot, 1), value }))
}

fn registration() -> Registered {
    Registered { epoch: NameEpoch(Revision(2)), address: None }
}

fn registered() -> Answer {
    Answer::Registered(name(), Ok(Stamped { stamp: stamp(1, 2), value: registration() }))
}

fn refused(error: RegisterError) -> Answer {
    Answer::Registered(name(), Err(NameError::Answer(error)))
}

fn held(frees_in: u64) -> RegisterError {
    let frees_in = Some(Duration::from_millis(frees_in));
    RegisterError::Held { by: InstanceId::from_u128(9), address: None, frees_in }
}

fn renewed(boot: u64, names: u32) -> Answer {
    Answer::Renewed(Ok(Stamped { stamp: stamp(boot, 3), value: Ok(Renewed { ttl: TTL, names }) }))
}

fn unknown_lease() -> Answer {
    Answer::Renewed(Ok(Stamped { stamp: stamp(2, 3), value: Err(RenewError::UnknownLease) }))
}

fn renewal() -> Effect {
    Effect::Send(Call::Renew { lease: LEASE }, TTL / 6)
}

fn register(lease: LeaseId) -> Effect {
    Effect::Send(Call::Register { lease, name: name(), entry: entry() }, PATIENCE)
}

/// A core that holds a lease since 0 and keeps one name that stands.
fn standing() -> LeaseCore {
    let mut core = LeaseCore::new(TTL);
    assert_eq!(core.tick(at(0)), [Effect::Send(Call::Grant { ttl: TTL }, PATIENCE)]);
    core.keep(at(0), name(), entry());
    assert_eq!(core.answered(at(10), MIDDLE, grant_of(LEASE, 1)), [register(LEASE)]);
    let effects = core.answered(at(20), MIDDLE, registered());
    assert_eq!(effects[0], Effect::Registered(name(), Ok(registration())));
    core
}

#[test]
fn a_lease_is_renewed_after_a_third_counted_from_before_the_request_left() {
    let mut core = standing();
    assert_eq!(core.wakes_at(), Some(at(1000)));
    assert_eq!(core.tick(at(999)), []);
    assert_eq!(core.tick(at(1005)), [renewal()]);
    assert_eq!(core.answered(at(1200), MIDDLE, renewed(1, 1)), []);
    assert_eq!(core.wakes_at(), Some(at(2005)));
    core.tick(at(2005));
    assert_eq!(core.answered(at(2006), 0, renewed(1, 1)), []);
    assert_eq!(core.wakes_at(), Some(at(2905)));
}

#[test]
fn a_failed_renewal_is_repeated_soon_and_the_lapse_told_at_its_moment_once() {
    let mut core = standing();
    let mut now = 1000;
    let mut lapses = Vec::new();
    while now < 4000 {
        now = core.wakes_at().expect("it always tries again").since_origin().as_millis().try_into().unwrap();
        let effects = core.tick(at(now));
        if effects.contains(&Effect::Tell(LeaseEvent::Lapsed)) {
            lapses.push(now);
        }
        if effects.contains(&renewal()) {
            core.answered(at(now + 1), 1000, Answer::Renewed(Err(unreachable())));
        }
    }
    assert_eq!(lapses, [3000]);
}

#[test]
fn the_first_repeats_come_after_20_and_40_ms() {
    let mut core = standing();
    core.tick(at(1000));
    core.answered(at(1000), 1000, Answer::Renewed(Err(unreachable())));
    assert_eq!(core.wakes_at(), Some(at(1020)));
    core.tick(at(1020));
    core.answered(at(1020), 1000, Answer::Renewed(Err(unreachable())));
    assert_eq!(core.wakes_at(), Some(at(1060)));
}

#[test]
fn a_process_that_was_stopped_learns_of_its_lapse_before_anything_else_and_of_its_return() {
    let mut core = standing();
    let effects = core.tick(at(9000));
    assert_eq!(effects, [Effect::Tell(LeaseEvent::Lapsed), renewal()]);
    let effects = core.answered(at(9010), MIDDLE, renewed(1, 1));
    assert_eq!(effects, [Effect::Tell(LeaseEvent::Regained)]);
}

#[test]
fn a_renewal_answered_after_its_own_term_renews_nothing() {
    let mut core = standing();
    core.tick(at(1000));
    let effects = core.answered(at(4500), MIDDLE, renewed(1, 1));
    assert_eq!(effects, [Effect::Tell(LeaseEvent::Lapsed), renewal()]);
}

#[test]
fn when_the_server_forgot_the_lease_all_is_registered_anew_after_a_jitter() {
    let mut core = standing();
    core.tick(at(1000));
    assert_eq!(core.answered(at(1001), MIDDLE, unknown_lease()), [Effect::Tell(LeaseEvent::Lapsed)]);
    assert_eq!(core.wakes_at(), Some(at(1501)));
    assert_eq!(core.tick(at(1501)), [Effect::Send(Call::Grant { ttl: TTL }, PATIENCE)]);
    let second = LeaseId::from_random(8);
    assert_eq!(core.answered(at(1510), MIDDLE, grant_of(second, 2)), [register(second)]);
    let effects = core.answered(at(1520), MIDDLE, registered());
    assert_eq!(effects.last(), Some(&Effect::Tell(LeaseEvent::Regained)));
}

#[test]
fn when_the_lease_ran_out_on_our_own_clock_there_is_no_jitter() {
    let mut core = standing();
    core.tick(at(9000));
    let effects = core.answered(at(9001), 1000, unknown_lease());
    assert_eq!(effects, [Effect::Send(Call::Grant { ttl: TTL }, PATIENCE)]);
}

#[test]
fn a_wrong_count_or_a_new_boot_registers_again_under_the_same_lease() {
    for answer in [renewed(1, 0), renewed(2, 1)] {
        let mut core = standing();
        core.tick(at(1000));
        assert_eq!(core.answered(at(1001), MIDDLE, answer), [register(LEASE)]);
    }
}

#[test]
fn a_count_says_nothing_while_a_registration_is_under_way() {
    let mut core = standing();
    let other: LogicalName = "replica.2".parse().unwrap();
    core.tick(at(1000));
    core.keep(at(1001), other.clone(), entry());
    assert_eq!(core.answered(at(1002), MIDDLE, renewed(1, 2)), []);
    // Nor when one ended between the renewal and its answer.
    core.tick(at(2000));
    let value = registration();
    core.answered(at(2001), MIDDLE, Answer::Registered(other, Ok(Stamped { stamp: stamp(1, 4), value })));
    assert_eq!(core.answered(at(2002), MIDDLE, renewed(1, 1)), []);
}

#[test]
fn a_name_held_by_a_dying_process_is_asked_for_again_when_it_is_free() {
    let mut core = LeaseCore::new(TTL);
    core.tick(at(0));
    core.keep(at(0), name(), entry());
    core.answered(at(0), MIDDLE, grant_of(LEASE, 1));
    assert_eq!(core.answered(at(1), MIDDLE, refused(held(400))), []);
    assert_eq!(core.wakes_at(), Some(at(401)));
    assert_eq!(core.tick(at(401)), [register(LEASE)]);
    assert_eq!(
        core.answered(at(402), MIDDLE, registered())[0],
        Effect::Registered(name(), Ok(registration()))
    );
}

/// Answers every call until `until`, the name being held; `frees_in` tells for how long still. Returns the refusal.
fn refusal(until: u64, frees_in: impl Fn(u64) -> u64) -> Option<u64> {
    let mut core = LeaseCore::new(TTL);
    let mut effects = core.keep(at(0), name(), entry());
    let mut now = 0;
    while now < until {
        for effect in std::mem::take(&mut effects) {
            effects.extend(match effect {
                Effect::Send(Call::Grant { .. }, _) => core.answered(at(now), MIDDLE, grant_of(LEASE, 1)),
                Effect::Send(Call::Renew { .. }, _) => core.answered(at(now), MIDDLE, renewed(1, 0)),
                Effect::Send(_, _) => core.answered(at(now), MIDDLE, refused(held(frees_in(now)))),
                Effect::Registered(_, Err(_)) => return Some(now),
                other => panic!("{other:?}"),
            });
        }
        if effects.is_empty() {
            now = core.wakes_at().unwrap().since_origin().as_millis().try_into().unwrap();
            effects = core.tick(at(now));
        }
    }
    None
}

#[test]
fn a_first_registration_gives_up_after_two_terms_of_a_living_holder_only() {
    let living = refusal(60_000, |now| 3000 - now % 1000).expect("it gives up");
    assert!((6000..=9000).contains(&living), "{living}");
    // Dead, with a long lease: worth the wait.
    assert_eq!(refusal(29_000, |now| 30_000 - now), None);
}

#[test]
fn a_name_that_stood_and_was_taken_is_told_once_and_asked_for_for_ever() {
    let mut core = standing();
    core.tick(at(9000));
    core.answered(at(9001), MIDDLE, unknown_lease());
    core.answered(at(9002), MIDDLE, grant_of(LEASE, 1));
    let effects = core.answered(at(9003), MIDDLE, refused(held(2000)));
    assert_eq!(effects, [Effect::Tell(LeaseEvent::Taken { name: name(), by: held(2000) })]);
    core.tick(at(10_002));
    core.answered(at(10_003), MIDDLE, renewed(1, 0));
    assert_eq!(core.tick(at(11_003)), [register(LEASE), renewal()].into_iter().rev().collect::<Vec<_>>());
    assert_eq!(core.answered(at(11_004), MIDDLE, refused(held(2000))), []);
    core.answered(at(11_005), MIDDLE, renewed(1, 0));
    core.tick(at(13_004));
    let effects = core.answered(at(13_005), MIDDLE, registered());
    assert_eq!(effects.last(), Some(&Effect::Tell(LeaseEvent::Regained)));
}

#[test]
fn an_update_is_repeated_until_it_is_there_and_later_registrations_carry_it() {
    let mut core = standing();
    let draining = Patch { readiness: Some(Readiness::Draining), ..Patch::default() };
    let update = Effect::Send(Call::Update { lease: LEASE, name: name(), patch: draining.clone() }, PATIENCE);
    assert_eq!(core.update(at(100), &name(), draining.clone()), std::slice::from_ref(&update));
    let failed = NameError::Call(unreachable());
    let effects = core.answered(at(200), 1000, Answer::Updated(name(), Err(failed.clone())));
    assert_eq!(effects, [Effect::Updated(name(), Err(failed))]);
    assert_eq!(core.tick(at(220)), [update]);
    // The name server restarted meanwhile.
    core.answered(at(230), MIDDLE, Answer::Updated(name(), Err(NameError::Answer(UpdateError::NotFound))));
    let wanted = Entry { readiness: Readiness::Draining, ..entry() };
    let under_way = core.names[&name()].under_way.is_some();
    assert!(under_way, "it is registered again at once");
    assert_eq!(core.names[&name()].as_wanted(), wanted);
    let effects = core.answered(at(240), MIDDLE, registered());
    assert!(effects.contains(&Effect::Updated(name(), Ok(()))), "{effects:?}");
    assert_eq!(core.names[&name()].entry, wanted);
}

#[test]
fn an_update_that_can_never_be_leaves_the_name_as_it_was() {
    let mut core = standing();
    core.update(at(100), &name(), Patch { readiness: Some(Readiness::Draining), ..Patch::default() });
    let too_large = NameError::Answer(UpdateError::TooLarge { limit: 16 });
    let effects = core.answered(at(101), MIDDLE, Answer::Updated(name(), Err(too_large.clone())));
    assert_eq!(effects, [Effect::Updated(name(), Err(too_large))]);
    assert_eq!(core.names[&name()].as_wanted(), entry());
    let nobody: LogicalName = "nobody".parse().unwrap();
    let not_kept = NameError::Answer(UpdateError::NotFound);
    assert_eq!(core.update(at(102), &nobody, Patch::default()), [Effect::Updated(nobody, Err(not_kept))]);
}

#[test]
fn an_answer_about_an_earlier_lease_does_not_count() {
    let mut core = standing();
    core.keep(at(900), name(), entry());
    core.tick(at(1000));
    core.answered(at(1001), 0, unknown_lease());
    let second = LeaseId::from_random(8);
    core.answered(at(1002), MIDDLE, grant_of(second, 2));
    let effects = core.answered(at(1003), MIDDLE, registered());
    assert_eq!(effects, [register(second)]);
}

#[test]
fn a_time_to_live_out_of_range_is_asked_for_again_within_it() {
    let mut core = LeaseCore::new(Duration::from_millis(10));
    core.tick(at(0));
    let error = GrantError::TtlOutOfRange { min: Duration::from_millis(100), max: TTL };
    let effects = core.answered(at(1), MIDDLE, Answer::Granted(Err(NameError::Answer(error))));
    assert_eq!(effects, [Effect::Send(Call::Grant { ttl: Duration::from_millis(100) }, PATIENCE)]);
}

#[test]
fn a_refusal_for_good_ends_a_first_registration() {
    let mut core = LeaseCore::new(TTL);
    core.tick(at(0));
    core.keep(at(0), name(), entry());
    core.answered(at(0), MIDDLE, grant_of(LEASE, 1));
    let effects = core.answered(at(1), MIDDLE, refused(RegisterError::Reserved));
    assert_eq!(effects, [Effect::Registered(name(), Err(RegisterError::Reserved))]);
    assert_eq!(core.wakes_at(), Some(at(1000)));
}

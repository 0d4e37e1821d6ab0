//! Which walks find which broken rule, and how soon. What falls here falls at every push; the few that take longer, and
//! the two that must not fall, take turns.

use replica::passive::Fault;

use super::shapes::Shape;

/// How a broken rule is found out.
#[derive(Clone, Copy, Debug)]
pub enum Hunt {
    /// Within a second or so, by walks of these families.
    Soon(&'static [Shape]),
    /// By walks of these families, within some ten seconds.
    Late(&'static [Shape]),
    /// By this test of the replica alone: another rule keeps every walk from where it matters.
    Test(&'static str),
    /// Not at all. It is no rule: if one is ever found, the argument for the others is wrong.
    Never,
}

/// Steps by which it must be found, several times what it took when this was written.
pub const SOON: u64 = 5_000_000;
/// The same, for the others; and how far what must survive is walked while others take turns.
pub const LATE: u64 = 60_000_000;
/// Of those that do not fall soon, so many have their turn at a time.
pub const AT_A_TIME: usize = 4;

/// How this one is found out.
pub const fn hunt(fault: Fault) -> Hunt {
    match fault {
        Fault::NoConfirm
        | Fault::ConfirmNotAll
        | Fault::ConfirmBeforeArrival
        | Fault::ConfirmAnyEpoch
        | Fault::ReadBeforeBarrier
        | Fault::ReadUncommitted => Hunt::Soon(&[Shape::Reads]),
        Fault::KeepGenesis => Hunt::Soon(&[Shape::Firsts]),
        Fault::ForcedRejoins => Hunt::Soon(&[Shape::Forced]),
        Fault::SmallJump | Fault::LateReply | Fault::RegressedRecordAccepted => {
            Hunt::Soon(&[Shape::Regressed])
        }
        Fault::FutureStored | Fault::WipedDiskKeepsId | Fault::AgeFromWallClock => Hunt::Soon(&[Shape::Wild]),
        Fault::DigestIgnored | Fault::AttachAny => Hunt::Soon(&[Shape::Copies]),
        Fault::ConfirmKnownOnly => Hunt::Late(&[Shape::Reads]),
        Fault::VolatileEpoch => Hunt::Late(&[Shape::Wild, Shape::General, Shape::Two]),
        Fault::SnapKeepsTail => Hunt::Late(&[Shape::General, Shape::Table, Shape::Wild]),
        // Nobody is fed that did not ask to be, and who asks knows the record by then.
        Fault::GenesisFollows => Hunt::Test("who_holds_nothing_but_its_own_first_entry_follows_nobody"),
        // A learner asks whom its own record names, and that one has all that the learner was ever fed.
        Fault::FeedsForced => Hunt::Test("who_does_not_know_of_a_force_elect_is_told_the_record"),
        Fault::CandidateSilent | Fault::NoDrain => Hunt::Never,
        _ => Hunt::Soon(&Shape::ALL),
    }
}

/// What is hunted at a push: all that fall soon, and some of the others, others each time.
pub fn at_turn(turn: usize) -> Vec<Fault> {
    let (soon, others): (Vec<_>, Vec<_>) =
        Fault::ALL.iter().copied().partition(|&fault| matches!(hunt(fault), Hunt::Soon(_) | Hunt::Test(_)));
    let begin = turn * AT_A_TIME;
    let others = others.iter().cycle().skip(begin % others.len()).take(AT_A_TIME.min(others.len()));
    soon.iter().chain(others).copied().collect()
}

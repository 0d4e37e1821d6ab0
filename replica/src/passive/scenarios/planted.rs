//! Tests of the stories: a rule is broken, and the stories that rest on it no longer come true.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::{Fault, Planted};
use super::{read, tell};

/// A broken rule, and a story that shows it.
const SHOWN: &[(Fault, &str)] = &[
    (Fault::ShrinkEarly, "lost_cas_reply_keeps_the_union_succeeded"),
    (Fault::ExpandLate, "read_needs_the_learner_of_an_unresolved_expansion"),
    (Fault::ForgetCasOnGet, "get_with_the_old_version_resolves_no_cas"),
    (Fault::ExpandBehind, "learner_promoted_then_primary_dies"),
    (Fault::UncleanElect, "all_power_cycled_only_the_removed_one_returns"),
    (Fault::NoFence, "deposed_primary_learns_of_it_from_a_backup"),
    (Fault::SameEpochRestart, "restarted_primary_does_not_resume_its_epoch"),
    (Fault::SendBeforeDurable, "winner_crashes_before_its_barrier_is_durable"),
    (Fault::AckBeforeFsync, "an_update_is_answered_when_every_disk_has_it"),
    (Fault::AckBeforeBackup, "an_update_is_answered_when_every_disk_has_it"),
    (Fault::TruncToCommit, "old_primary_returns_with_10_k_divergent_entries"),
    (Fault::NoConfirm, "paused_primary_wakes_after_3_s_and_answers_no_read"),
    (Fault::ConfirmNotAll, "read_waits_for_a_round_begun_after_it"),
    (Fault::ConfirmBeforeArrival, "read_waits_for_a_round_begun_after_it"),
    (Fault::ConfirmAnyEpoch, "paused_primary_wakes_after_3_s_and_answers_no_read"),
    (Fault::ReadBeforeBarrier, "read_waits_for_the_barrier"),
    (Fault::ReadUncommitted, "read_shows_nothing_uncommitted"),
    (Fault::NoDedupAtApply, "retry_before_the_barrier_runs_once"),
    (Fault::FloorNotRaised, "retry_below_the_floor_is_expired_everywhere"),
    (Fault::FloorNotChecked, "late_first_copy_of_an_expired_request"),
    (Fault::DedupNotInSnapshot, "duplicate_after_snapshot_install"),
    (Fault::AnswerBelowMin, "min_two_answers_nothing_alone_and_recovers"),
    (Fault::KeepGenesis, "two_replicas_started_with_first"),
    (Fault::ForcedRejoins, "disk_given_up_by_force_elect_starts_anew"),
    (Fault::TableBeforeBarrier, "retry_before_the_barrier_runs_once"),
    (Fault::DigestWithFacts, "request_id_belongs_to_one_command"),
    (Fault::DigestIgnored, "request_id_belongs_to_one_command"),
    (Fault::AttachAny, "request_id_belongs_to_one_command"),
    (Fault::SnapUncommitted, "snapshot_over_a_divergent_tail"),
    (Fault::SnapKeepsTail, "snapshot_over_a_divergent_tail"),
    (Fault::AgeFromWallClock, "replicas_with_other_clocks_forget_the_same"),
    (Fault::LimitsFromFlags, "retry_below_the_floor_is_expired_everywhere"),
];

/// Whether the story goes otherwise with this rule broken.
fn shows(fault: Fault, name: &str) -> bool {
    let story = read(name);
    let told = catch_unwind(AssertUnwindSafe(|| tell(&story, Planted::default().with(fault))));
    !matches!(told, Ok(Ok(told)) if told == story.told)
}

#[test]
fn each_of_these_broken_rules_shows_in_its_story() {
    let silent: Vec<_> = SHOWN.iter().filter(|(fault, name)| !shows(*fault, name)).collect();
    assert!(silent.is_empty(), "nothing changes in {silent:?}");
}

//! Scenarios: one story per file, with the exact messages and effects that it causes. The specification's cases, told
//! so that a person can check each line against it.
//!
//! # A file
//! Its first line, after `#`, says what it shows. Then come acts, one line at a time, until `---`; then what they
//! caused, exactly. The acts of one line (between `;`) happen at one moment; then everything runs until nothing is
//! under way but time. What a line caused that begins with `given` is not told. `SCENARIOS_WRITE=1` rewrites the told
//! part of the files that are played; a person reads the difference.
//!
//! # What is told
//! `r1 -> r2 r3 append 2 in e1; r1 persist 2` is one step of `r1`: what it sent, to whom, and what it gave to its
//! disk. Steps of one moment that differ only in who made them are one line. `+500ms` is the time that passed before,
//! where it is 5 ms or more: a message takes 1 ms, and so does an fsync. `v4 e2 r2 {r2 r3}` is a record: version,
//! epoch, primary, in-sync set; `r1/2` is the second boot of `r1`, `r1'` its second disk. Beacons and their answers,
//! greetings and looks at sockets, and that a backup hears of a commit, are left out unless the story asks
//! (`also beacon`).
//!
//! # Reading order
//! `language`: what can be done. `stage`: who is there, and virtual time. `processes`, `shell`: what surrounds the real
//! cores. `network`: what becomes of a message. `disk`, `authority`, `service`: what they stand on. `telling`, `words`:
//! how it is told.

mod authority;
mod disk;
mod language;
mod network;
#[cfg(feature = "planted")]
mod planted;
mod processes;
mod service;
mod shell;
mod stage;
mod telling;
mod words;

use std::path::PathBuf;

use self::stage::Stage;
use super::Planted;

/// A story as it is written.
struct Story {
    /// Everything above the line.
    acts: String,
    /// What should be told.
    told: String,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/passive/scenarios")
}

fn read(name: &str) -> Story {
    let path = folder().join(name).with_extension("txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.starts_with("# "), "the first line of {name} says what it shows");
    let (acts, told) = text.split_once("---\n").unwrap_or((&text, ""));
    Story { acts: acts.to_owned(), told: told.to_owned() }
}

/// Does what the story says, and tells what it caused.
fn tell(story: &Story, planted: Planted) -> Result<String, String> {
    let mut stage = Stage::new(planted);
    for (line, number) in story.acts.lines().zip(1..).filter(|(line, _)| !line.starts_with('#')) {
        stage.line(line).map_err(|why| format!("line {number}, {line:?}: {why}"))?;
    }
    Ok(stage.told())
}

fn play(name: &str) {
    let story = read(name);
    let told = tell(&story, Planted::default()).unwrap_or_else(|why| panic!("{name}: {why}"));
    if told == story.told {
        return;
    }
    if std::env::var_os("SCENARIOS_WRITE").is_some() {
        let path = folder().join(name).with_extension("txt");
        std::fs::write(path, format!("{}---\n{told}", story.acts)).unwrap();
        return;
    }
    panic!("{name} differs (SCENARIOS_WRITE=1 writes what is told):\n{}", difference(&story.told, &told));
}

/// What stands in one and not in the other, between what they share at both ends.
fn difference(expected: &str, told: &str) -> String {
    let (expected, told): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), told.lines().collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = expected.iter().zip(&told).take_while(same).count();
    let (left, right) = (&expected[head..], &told[head..]);
    let tail = left.iter().rev().zip(right.iter().rev()).take_while(same).count();
    let marked = |mark: &'static str, lines: &[&str]| {
        lines.iter().map(|line| format!("{mark} {line}")).collect::<Vec<_>>()
    };
    [
        marked(" ", &expected[..head]),
        marked("- expected:", &left[..left.len() - tail]),
        marked("+ told:    ", &right[..right.len() - tail]),
        marked(" ", &left[left.len() - tail..]),
    ]
    .concat()
    .join("\n")
}

/// One test for each story.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            play(stringify!($name));
        })*

        const LISTED: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    all_power_cycled_only_the_removed_one_returns
    an_update_is_answered_when_every_disk_has_it
    backup_cannot_hear_primary_but_others_do
    backup_restarts_while_the_name_server_is_down
    both_backups_die_in_one_batch
    candidate_dies_between_cas_and_barrier
    client_clock_slow_by_25_h
    cold_start_of_all_keeps_everyone_in_sync
    crash_during_snapshot_install
    crash_during_truncation
    crashed_primary_is_replaced_within_100_ms
    delayed_cas_of_a_dead_boot_is_refused
    deposed_primary_learns_of_it_from_a_backup
    disk_full
    disk_full_alone
    disk_full_everywhere
    disk_given_up_by_force_elect_starts_anew
    disk_wiped_under_the_same_name
    duplicate_after_snapshot_install
    election_cas_arrives_after_the_candidate_changed_its_mind
    false_suspicion_deposes_a_live_primary_and_it_rejoins
    fed_from_where_the_logs_differ
    first_creation_crashes_before_its_cas
    floor_travels_in_the_snapshot
    fourth_replica_joins_under_load
    frontend_dies_after_commit_before_reply
    fsync_takes_5_s
    get_with_the_old_version_resolves_no_cas
    group_of_one_restarts
    group_of_two_loses_either
    hand_over_successor_restarts
    hand_over_to_the_most_advanced_backup
    hand_over_waits_for_the_barrier
    hello_of_another_boot_is_hard_suspicion
    inherited_entries_commit_only_with_the_barrier
    late_first_copy_of_an_expired_request
    learner_promoted_then_primary_dies
    lost_cas_reply_keeps_the_union_failed
    lost_cas_reply_keeps_the_union_succeeded
    min_two_answers_nothing_alone_and_recovers
    name_server_older_copy
    name_server_restarted
    name_server_wiped
    old_primary_returns_with_10_k_divergent_entries
    one_way_link
    one_way_link_to_a_backup
    paused_primary_wakes_after_3_s_and_answers_no_read
    primary_cut_from_all_with_clients_attached
    primary_cut_from_backups_only
    primary_cut_from_the_name_server_only
    primary_whose_peers_are_gone_sleeps
    read_alone_in_the_set_is_immediate
    read_needs_the_learner_of_an_unresolved_expansion
    read_shows_nothing_uncommitted
    read_waits_for_a_round_begun_after_it
    read_waits_for_the_barrier
    replicas_with_other_clocks_forget_the_same
    request_from_the_future
    request_id_belongs_to_one_command
    reset_connection_that_reconnects_starts_no_election
    restarted_primary_does_not_resume_its_epoch
    retry_after_failover_gets_the_first_reply
    retry_before_the_barrier_runs_once
    retry_below_the_floor_is_expired_everywhere
    rolling_restart_under_load
    same_request_at_two_primaries
    slow_backup_disk_is_dropped
    slow_primary_disk_hands_over
    snapshot_over_a_divergent_tail
    snapshot_waits_for_the_entries_it_covers
    stale_snapshot_arrives_late
    suspend_and_resume
    two_candidates_one_wins_the_other_follows
    two_replicas_started_with_first
    wall_clock_jumps_both_ways
    winner_crashes_before_its_barrier_is_durable
    winner_unaware_of_its_election_keeps_serving_the_old_epoch
}

#[test]
fn every_story_in_the_folder_is_played() {
    let mut found: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut listed = LISTED.to_vec();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

#[test]
fn a_difference_shows_only_what_differs() {
    let shown = difference("same\nold\nend\n", "same\nnew\nend\n");
    assert_eq!(shown, "  same\n- expected: old\n+ told:     new\n  end");
}

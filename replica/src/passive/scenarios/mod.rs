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
mod processes;
mod service;
mod shell;
mod stage;
mod telling;
mod words;

use std::path::PathBuf;

use self::stage::Stage;

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
fn tell(story: &Story) -> Result<String, String> {
    let mut stage = Stage::new();
    for (line, number) in story.acts.lines().zip(1..).filter(|(line, _)| !line.starts_with('#')) {
        stage.line(line).map_err(|why| format!("line {number}, {line:?}: {why}"))?;
    }
    Ok(stage.told())
}

fn play(name: &str) {
    let story = read(name);
    let told = tell(&story).unwrap_or_else(|why| panic!("{name}: {why}"));
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
    an_update_is_answered_when_every_disk_has_it
    crashed_primary_is_replaced_within_100_ms
    deposed_primary_learns_of_it_from_a_backup
    false_suspicion_deposes_a_live_primary_and_it_rejoins
    two_candidates_one_wins_the_other_follows
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

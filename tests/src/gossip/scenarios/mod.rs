//! Scenarios: one story per file, with the exact messages and effects that it causes, in the world of the walk and under
//! its laws.
//!
//! # A file
//! Its first line, after `#`, says what it shows. Then come acts, one line at a time, until `---`; then what they caused,
//! exactly. The acts of one line (between `;`) happen at one moment; then everything that is not held or stalled
//! arrives and is written, and no time passes. What a line caused that begins with `given` is not told.
//! `SCENARIOS_WRITE=1` rewrites the told part of the files that are played; a person reads the difference.
//!
//! # Acts
//! `submit r0 s1` (an update of session 1), `retry r1 u0` (the update 0 again, elsewhere), `ask r1 s1`; `wait 500` (ms,
//! for all), `jump r0 -50` (a wall clock); `crash r1`, `crash r1 written` (what was on its way to its disk is there), `start r1`, `cut r1`, `heal r1` (from all), `hold r0>r1`,
//! `release r0>r1` (one link), `lose r0>r1` (what is on it), `deliver r0>ns`, `repeat r0>ns+1` (what is on it, held or not:
//! the oldest, the one after), `stall r1`, `go r1` (its disk), `wipe r2`, `back r2 1` (its
//! own copy, so many copies ago), `remove r0 r2` (asked of r0), `set r1 offline`. First: `replicas 3`, `ack 2`, `window 500`
//! (ms), `held 5` (records, before a silent member is moved out), `also rounds` (tell empty pushes and acknowledgements too).
//!
//! # What is told
//! `r0 > r1: push u0 at [r0 1]`: what was sent, and all that its sender has. `r1 disk: u0`: what was given to the disk.
//! `r2'` is the second disk of `r2`. That a law was broken fails the story, whatever is told.

mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use replica::gossip::{Planted, Status};

use super::act::{Act, Lane, Step};
use super::shapes::{Plan, Shape};
use super::world::World;
use crate::passive::chance::Chance;
use crate::passive::story::Story;

/// More than any exchange takes in which every answer asks for more.
const EVENTS_MAX: usize = 50_000;

/// The world on which a story is played.
struct Stage {
    world: World,
    held: BTreeSet<(u8, u8)>,
    stalled: BTreeSet<u8>,
    rounds: bool,
    lines: Vec<String>,
}

/// What a story begins with.
#[derive(Clone, Copy)]
struct Begin {
    replicas: usize,
    ack: usize,
    window: Option<Duration>,
    held: Option<usize>,
    rounds: bool,
}

impl Stage {
    fn new(begin: Begin, planted: Planted) -> Self {
        let mut plan = Plan::new(Shape::General, &mut Chance::new(1));
        plan.size = begin.replicas;
        plan.limits = replica::gossip::Limits { ack_after: begin.ack, ..replica::gossip::Limits::default() };
        plan.limits.held_back_records = begin.held.unwrap_or(plan.limits.held_back_records);
        plan.limits.request_window = begin.window.unwrap_or(plan.limits.request_window);
        (plan.updates, plan.clients_off, plan.copies_every, plan.heals) = (32, [0; 4], 1, true);
        let mut world = World::new(plan, planted, Story::default());
        world.scripted = true;
        let (held, stalled) = (BTreeSet::new(), BTreeSet::new());
        Self { world, held, stalled, rounds: begin.rounds, lines: Vec::new() }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (given, acts) = match line.strip_prefix("given ") {
            Some(acts) => (true, acts),
            None => (false, line),
        };
        for act in acts.split(';').map(str::trim).filter(|act| !act.is_empty()) {
            self.act(act)?;
        }
        self.run()?;
        let rounds = self.rounds;
        let told = std::mem::take(&mut self.world.script);
        if !given {
            self.lines.push(format!("* {acts}"));
            self.lines.extend(told.into_iter().filter(|(round, _)| rounds || !round).map(|(_, line)| line));
        }
        match self.world.broken() {
            Some(broken) => Err(format!("a law is broken: {broken}")),
            None => Ok(()),
        }
    }

    fn act(&mut self, act: &str) -> Result<(), String> {
        let words: Vec<&str> = act.split_whitespace().collect();
        let number = |at: usize| {
            let word = words.get(at).ok_or_else(|| format!("{act:?}: too short"))?;
            word.trim_start_matches(['r', 's', 'u']).parse::<i64>().map_err(|_| format!("{act:?}: {word:?}?"))
        };
        let small =
            |at: usize| number(at).and_then(|n| u8::try_from(n).map_err(|_| format!("{act:?}: {n}?")));
        let lane = || {
            let word = words.get(1).ok_or_else(|| format!("{act:?}: r0>r1?"))?;
            let (word, nth) = word.split_once('+').unwrap_or((word, "0"));
            let ends = word.split_once('>').ok_or_else(|| format!("{act:?}: r0>r1?"))?;
            let nth = nth.parse().map_err(|_| format!("{act:?}: {nth:?}?"))?;
            let place = |text: &str| match text {
                "ns" => Ok(u8::try_from(super::network::NAME_SERVER).unwrap_or(u8::MAX)),
                text => text.trim_start_matches('r').parse::<u8>().map_err(|_| format!("{act:?}: {text:?}?")),
            };
            Ok::<_, String>(Lane { from: place(ends.0)?, to: place(ends.1)?, nth })
        };
        let act = match words[0] {
            "submit" => Act::Submit(small(1)?, small(2)?),
            "retry" => Act::Retry(small(1)?, u16::from(small(2)?)),
            "ask" => Act::Query(small(1)?, small(2)?),
            "jump" => Act::Jump(small(1)?, i32::try_from(number(2)?).unwrap_or(0)),
            "crash" => Act::Crash(small(1)?, words.get(2) == Some(&"written")),
            "start" => Act::Start(small(1)?),
            "cut" => Act::Cut(small(1)?, true),
            "heal" => Act::Cut(small(1)?, false),
            "wipe" => Act::Wipe(small(1)?, true),
            "back" => Act::RollBack(small(1)?, small(2)?),
            "remove" => Act::Remove(small(1)?, small(2)?),
            "set" => {
                let all = [Status::Online, Status::Overloaded, Status::Offline];
                let status = all.into_iter().find(|status| words.get(2) == Some(&status.as_str()));
                Act::Set(small(1)?, status.ok_or_else(|| format!("{act:?}: which status?"))?)
            }
            "wait" => return self.wait(Duration::from_millis(u64::try_from(number(1)?).unwrap_or(0))),
            "deliver" => Act::Deliver(lane()?),
            "repeat" => Act::Repeat(lane()?),
            "hold" => {
                let Lane { from, to, .. } = lane()?;
                self.held.insert((from, to));
                return Ok(());
            }
            "release" => {
                let Lane { from, to, .. } = lane()?;
                self.held.remove(&(from, to));
                return Ok(());
            }
            "lose" => {
                let Lane { from, to, .. } = lane()?;
                while self.world.network.peek(from.into(), to.into(), 0).is_some() {
                    self.perform(Act::Lose(Lane { from, to, nth: 0 }));
                }
                return Ok(());
            }
            "stall" => {
                self.stalled.insert(small(1)?);
                return Ok(());
            }
            "go" => {
                self.stalled.remove(&small(1)?);
                return Ok(());
            }
            _ => return Err(format!("what is {act:?}?")),
        };
        self.perform(act);
        Ok(())
    }

    fn perform(&mut self, act: Act) {
        self.world.perform(Step { act, together: false });
    }

    /// Time passes for all; what becomes due happens.
    fn wait(&mut self, time: Duration) -> Result<(), String> {
        let until = self.world.nodes[0].now + time;
        loop {
            self.run()?;
            let now = self.world.nodes[0].now;
            if now >= until {
                return Ok(());
            }
            let wakes =
                self.world.nodes.iter().filter_map(|node| Some(node.core.as_ref()?.wake_at(node.now)));
            let next =
                wakes.min().map_or(until, |at| at.max(now + Duration::from_millis(1)).min(until)).since(now);
            for n in 0..self.world.nodes.len() {
                self.world.pass(n, next);
            }
        }
    }

    /// All that is neither held nor stalled arrives and is written.
    fn run(&mut self) -> Result<(), String> {
        for _ in 0..EVENTS_MAX {
            let writes = (0..self.world.nodes.len()).filter(|&n| self.world.nodes[n].writing.is_some());
            let writes = writes.filter_map(|n| u8::try_from(n).ok()).find(|n| !self.stalled.contains(n));
            if let Some(n) = writes {
                self.perform(Act::Write(n));
                continue;
            }
            let lanes = (0..64).filter_map(|which| self.world.network.lane(which));
            let mut lanes =
                lanes.map(|(from, to, _)| [from, to].map(|place| u8::try_from(place).unwrap_or(0)));
            match lanes.find(|[from, to]| !self.held.contains(&(*from, *to))) {
                Some([from, to]) => self.perform(Act::Deliver(Lane { from, to, nth: 0 })),
                None => return Ok(()),
            }
        }
        Err("the replicas never stop talking, and no time passes".into())
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/gossip/scenarios")
}

/// Does what the story says, and tells what it caused.
fn tell(acts: &str, planted: Planted) -> Result<String, String> {
    let mut begin = Begin { replicas: 3, ack: 1, window: None, held: None, rounds: false };
    let mut stage: Option<Stage> = None;
    for (line, number) in acts.lines().zip(1..).filter(|(line, _)| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = || words.get(1).and_then(|word| word.parse::<u64>().ok());
        match (words.first(), value()) {
            (Some(&"replicas"), Some(value)) => begin.replicas = usize::try_from(value).unwrap_or(3),
            (Some(&"ack"), Some(value)) => begin.ack = usize::try_from(value).unwrap_or(1),
            (Some(&"window"), Some(value)) => begin.window = Some(Duration::from_millis(value)),
            (Some(&"held"), Some(value)) => begin.held = usize::try_from(value).ok(),
            (Some(&"also"), None) => begin.rounds = true,
            _ => {
                let stage = stage.get_or_insert_with(|| Stage::new(begin, planted));
                stage.line(line).map_err(|why| format!("line {number}, {line:?}: {why}"))?;
            }
        }
    }
    Ok(stage.map(|stage| stage.lines).unwrap_or_default().join("\n") + "\n")
}

fn read(name: &str) -> (String, String) {
    let path = folder().join(name).with_extension("txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.starts_with("# "), "the first line of {name} says what it shows");
    let (acts, told) = text.split_once("---\n").unwrap_or((&text, ""));
    (acts.to_owned(), told.to_owned())
}

fn play(name: &str) {
    let (acts, expected) = read(name);
    let told = tell(&acts, Planted::default()).unwrap_or_else(|why| panic!("{name}: {why}"));
    if told == expected {
        return;
    }
    if std::env::var_os("SCENARIOS_WRITE").is_some() {
        std::fs::write(folder().join(name).with_extension("txt"), format!("{acts}---\n{told}")).unwrap();
        return;
    }
    let differs = expected.lines().zip(told.lines()).find(|(expected, told)| expected != told);
    panic!("{name} differs (SCENARIOS_WRITE=1 writes what is told), first at {differs:?}:\n{told}");
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
    all_overloaded
    announce_more_than_shipped
    cause_before_effect
    delete_then_old_write
    donor_dies_in_join
    hole_in_own_origin
    invented_prev
    late_answers_of_the_name_server
    leave_while_cut
    moved_out_still_serves
    offline_and_back
    old_disk_lacks_of_a_retired_member
    retry_at_second_replica
    rolled_back_disk
    said_before_a_member_was_out
    silent_member_and_back
    silent_member_is_moved_out_when_it_holds_back_too_much
    wiped_disk
}

#[test]
fn every_story_is_played() {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name());
    let stories = files.filter_map(|name| Some(name.to_str()?.strip_suffix(".txt")?.to_owned()));
    let stories: BTreeSet<String> = stories.collect();
    assert_eq!(stories, LISTED.iter().map(|name| (*name).to_owned()).collect());
}

/// The rules that no walk shows, or only a very long one: a story shows each.
#[cfg(feature = "planted")]
#[test]
fn rules_that_only_a_story_shows_are_found_when_they_are_broken() {
    let shown = [
        (replica::gossip::Fault::OfflineStillGossips, "offline_and_back"),
        (replica::gossip::Fault::OnlineWithoutCatchUp, "offline_and_back"),
        (replica::gossip::Fault::TakeFromRetired, "moved_out_still_serves"),
        (replica::gossip::Fault::IgnorePrev, "cause_before_effect"),
        (replica::gossip::Fault::NoOldLog, "silent_member_and_back"),
    ];
    let told: BTreeSet<_> = shown.iter().map(|(fault, _)| *fault).collect();
    assert!(replica::gossip::Fault::ALL.iter().all(|fault| !fault.is_for_a_story() || told.contains(fault)));
    for (fault, story) in shown {
        let (acts, expected) = read(story);
        let told = tell(&acts, Planted::default().with(fault));
        assert_ne!(told, Ok(expected), "{story} does not show that {fault} is broken");
    }
}

/// Without the feature nothing can be broken; the name is used all the same.
#[cfg(not(feature = "planted"))]
#[test]
fn a_story_is_not_changed_by_what_is_not_planted() {
    assert!(!Planted::default().is(replica::gossip::Fault::OfflineStillGossips));
}

//! The witness: every answer carries its place in the log, so the order in which a passive service claims to have
//! taken its commands is known, and is only checked.
//!
//! - Every answer to one request id is the same, at the same place; no place has two commands; epochs never fall.
//! - Real time: nothing that began after an answer had come stands at or before that answer's place.
//! - The commands, replayed in that order through the plain service, give every reply and every read once more.
//!
//! Commands of unknown outcome are replayed wherever the log has an unexplained place and no contradiction follows:
//! several *worlds* are followed until an answer tells them apart. Everything else costs O(n log n).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::{Epoch, LogPoint, RequestId};
use common::services::{Applied, Machine, StateMachine};

use super::{Anomaly, Kind};

/// What a client cannot know of a service's answers.
pub trait Witnessed: StateMachine {
    /// The log's time of a command, where its reply tells it.
    fn time(reply: &[u8]) -> Option<Timestamp>;
    /// Whether a reply says that nothing was changed.
    fn is_refusal(reply: &[u8]) -> bool;
    /// An answer without what front ends found out about the world.
    fn comparable(answer: &[u8]) -> Bytes;
    /// Bytes for a person.
    fn words(what: Said, bytes: &[u8]) -> String;
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A command's reply.
    Reply,
    /// A query.
    Query,
    /// Its answer.
    Answer,
}

/// A command, as one call saw it. Calls with one id are one command.
#[derive(Clone, Debug)]
pub struct Update {
    /// Which.
    pub id: RequestId,
    /// The client's bytes.
    pub payload: Bytes,
    /// When the call began.
    pub begin: u64,
    /// When it ended, where it stands, and the reply; `None`: unknown.
    pub answer: Option<(u64, LogPoint, Bytes)>,
    /// The reply that somebody must have got, by what was shown later; for an unknown one.
    pub implied: Option<Bytes>,
}

/// A read that was answered.
#[derive(Clone, Debug)]
pub struct Read {
    /// What was asked.
    pub payload: Bytes,
    /// When.
    pub begin: u64,
    /// When it was answered.
    pub end: u64,
    /// What it reflects.
    pub at: LogPoint,
    /// What was said.
    pub said: Bytes,
    /// Of one replica, whatever it holds: neither late nor early, but it must be true.
    pub stale_ok: bool,
}

/// Worlds followed at once, each a whole state. An unknown outcome doubles them at worst, and the next answer that
/// shows it halves them.
const WORLDS_MAX: usize = 64;

/// Judges a history of the service that began as `start`.
pub fn check<S: Witnessed>(start: &S, updates: &[Update], reads: &[Read]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let commands = commands(updates, &mut found);
    places(&commands, reads, &mut found);
    real_time(&commands, reads, &mut found);
    // Replaying a log that is no log explains nothing more.
    if found.is_empty() {
        found.extend(replay(start, &commands, reads).err());
    }
    found
}

/// One line for each id: from its first beginning to its first answer.
fn commands(updates: &[Update], found: &mut Vec<Anomaly>) -> Vec<Update> {
    let mut commands: BTreeMap<RequestId, Update> = BTreeMap::new();
    for update in updates {
        let Some(one) = commands.get_mut(&update.id) else {
            commands.insert(update.id, update.clone());
            continue;
        };
        one.begin = one.begin.min(update.begin);
        one.implied = one.implied.take().or_else(|| update.implied.clone());
        match (&mut one.answer, &update.answer) {
            (Some((end, at, said)), Some((other_end, other_at, other_said))) => {
                if said != other_said {
                    found.push(Anomaly::new(
                        Kind::RepliesDiffer,
                        format!("{} was answered at {at} and otherwise at {other_at}", update.id),
                    ));
                } else if at != other_at {
                    let what = format!("{} stands at {at} and at {other_at}", update.id);
                    found.push(Anomaly::new(Kind::Doubled, what));
                }
                *end = (*end).min(*other_end);
            }
            (answer @ None, Some(_)) => answer.clone_from(&update.answer),
            (_, None) => {}
        }
    }
    commands.into_values().collect()
}

/// One place, one command; and epochs rise along the log.
fn places(commands: &[Update], reads: &[Read], found: &mut Vec<Anomaly>) {
    let mut taken: BTreeMap<u64, RequestId> = BTreeMap::new();
    let mut epochs: BTreeMap<u64, Epoch> = BTreeMap::new();
    let mut stands = |at: LogPoint, found: &mut Vec<Anomaly>| {
        let epoch = *epochs.entry(at.index.0).or_insert(at.epoch);
        if epoch != at.epoch {
            found
                .push(Anomaly::new(Kind::Forked, format!("{} was of {epoch} and of {}", at.index, at.epoch)));
        }
    };
    for command in commands {
        let Some((_, at, _)) = &command.answer else { continue };
        stands(*at, found);
        if let Some(other) = taken.insert(at.index.0, command.id) {
            let what = format!("{other} and {} both stand at {at}", command.id);
            found.push(Anomaly::new(Kind::Forked, what));
        }
    }
    for read in reads {
        stands(read.at, found);
    }
    let mut last = (0, Epoch(0));
    for (index, epoch) in epochs {
        if epoch < last.1 {
            let what = format!("{index} is of {epoch}, but {} before it was of {}", last.0, last.1);
            found.push(Anomaly::new(Kind::Forked, what));
        }
        last = (index, epoch);
    }
}

/// Whoever begins after an answer stands after it.
fn real_time(commands: &[Update], reads: &[Read], found: &mut Vec<Anomaly>) {
    struct Span {
        begin: u64,
        end: u64,
        at: LogPoint,
        /// Which command; none for a read.
        id: Option<RequestId>,
    }
    let spans = commands.iter().filter_map(|command| {
        let (end, at, _) = command.answer.as_ref()?;
        Some(Span { begin: command.begin, end: *end, at: *at, id: Some(command.id) })
    });
    let fresh = reads.iter().filter(|read| !read.stale_ok);
    let fresh = fresh.map(|read| Span { begin: read.begin, end: read.end, at: read.at, id: None });
    let mut begins: Vec<Span> = spans.chain(fresh).collect();
    begins.sort_by_key(|span| span.begin);
    let mut ends: Vec<(u64, LogPoint)> = begins.iter().map(|span| (span.end, span.at)).collect();
    ends.sort_unstable();
    let mut ends = ends.into_iter().peekable();
    let mut newest = LogPoint::default();
    for span in &begins {
        while let Some((_, at)) = ends.next_if(|(end, _)| *end < span.begin) {
            newest = newest.max_by_index(at);
        }
        let Span { at, begin, .. } = span;
        match span.id {
            // A command of its own place, unless it is that very answer's.
            Some(id) if at.index <= newest.index => found.push(Anomaly::new(
                Kind::Misplaced,
                format!("{id} began at {begin} ns and stands at {at}, after {newest} was answered"),
            )),
            None if at.index < newest.index => found.push(Anomaly::new(
                Kind::Stale,
                format!("a read that began at {begin} ns shows {at}, after {newest} was answered"),
            )),
            _ => {}
        }
    }
}

trait ByIndex {
    fn max_by_index(self, other: Self) -> Self;
}

impl ByIndex for LogPoint {
    fn max_by_index(self, other: Self) -> Self {
        if other.index > self.index { other } else { self }
    }
}

/// A state that the answers so far allow.
struct World<S> {
    state: S,
    /// The commands of unknown outcome that took effect in it.
    ran: BTreeSet<RequestId>,
}

/// What is known of the log: a command or read at its place.
enum Known<'a> {
    Command(&'a Update, LogPoint, &'a Bytes),
    Read(&'a Read),
}

impl Known<'_> {
    const fn at(&self) -> LogPoint {
        match self {
            Self::Command(_, at, _) => *at,
            Self::Read(read) => read.at,
        }
    }
}

fn replay<S: Witnessed>(start: &S, commands: &[Update], reads: &[Read]) -> Result<(), Anomaly> {
    let open: Vec<&Update> = commands.iter().filter(|command| command.answer.is_none()).collect();
    let answered = commands.iter().filter_map(|command| {
        let (_, at, said) = command.answer.as_ref()?;
        Some(Known::Command(command, *at, said))
    });
    let mut log: Vec<Known<'_>> = answered.chain(reads.iter().map(Known::Read)).collect();
    // What is read at a place shows the command that stands there.
    log.sort_by_key(|known| (known.at().index, matches!(known, Known::Read(_))));
    let windows = Windows::of(&log);

    let mut worlds = vec![World { state: start.clone(), ran: BTreeSet::new() }];
    let mut last = LogPoint { epoch: Epoch(1), index: common::replication::LogIndex(1) };
    for (which, known) in log.iter().enumerate() {
        let at = known.at();
        // A command at its own place, a read at the last place it shows.
        let upto = if matches!(known, Known::Command(..)) { at.index.0 } else { at.index.0 + 1 };
        let room = upto.saturating_sub(last.index.0 + 1);
        if room > 0 && !open.is_empty() {
            let window = windows.before(which);
            let may: Vec<&Update> = open.iter().copied().filter(|command| window.allows(command)).collect();
            worlds = fill(worlds, &may, room, at)?;
        }
        if at.index > last.index {
            last = at;
        }
        let mut why = None;
        worlds.retain_mut(|world| match explains(world, known) {
            Ok(()) => true,
            Err(anomaly) => {
                why.get_or_insert(anomaly);
                false
            }
        });
        if let (true, Some(why)) = (worlds.is_empty(), why) {
            return Err(why);
        }
    }
    Ok(())
}

/// When commands at unexplained places can have begun and ended, by what stands around them.
struct Windows {
    /// The earliest end of what stands at or after each.
    ends: Vec<u64>,
}

struct Window {
    begun_by: u64,
}

impl Windows {
    fn of(log: &[Known<'_>]) -> Self {
        let mut earliest = u64::MAX;
        let mut ends: Vec<u64> = log
            .iter()
            .rev()
            .map(|known| {
                let end = match known {
                    Known::Command(command, ..) => command.answer.as_ref().map_or(u64::MAX, |(end, ..)| *end),
                    Known::Read(read) => read.end,
                };
                earliest = earliest.min(end);
                earliest
            })
            .collect();
        ends.reverse();
        Self { ends }
    }

    fn before(&self, which: usize) -> Window {
        Window { begun_by: self.ends[which] }
    }
}

impl Window {
    /// What an answered call follows in the log was in the log before that answer.
    fn allows(&self, command: &Update) -> bool {
        command.begin <= self.begun_by
    }
}

/// Every way in which up to `room` of the commands `may` took effect now, beside that none did.
fn fill<S: Witnessed>(
    worlds: Vec<World<S>>,
    may: &[&Update],
    room: u64,
    at: LogPoint,
) -> Result<Vec<World<S>>, Anomaly> {
    let mut all = worlds;
    let mut from = 0;
    for _ in 0..room {
        let upto = all.len();
        for which in from..upto {
            for command in may {
                if all[which].ran.contains(&command.id) {
                    continue;
                }
                let mut state = all[which].state.clone();
                let reply = apply(&mut state, command, at);
                if S::is_refusal(&reply) || command.implied.as_ref().is_some_and(|implied| *implied != reply)
                {
                    continue;
                }
                let mut ran = all[which].ran.clone();
                ran.insert(command.id);
                let known = |world: &World<S>| {
                    world.ran == ran && Machine::snapshot(&world.state) == Machine::snapshot(&state)
                };
                if !all.iter().any(known) {
                    all.push(World { state, ran });
                }
                if all.len() > WORLDS_MAX {
                    let what = format!("more than {WORLDS_MAX} ways to explain what stands before {at}");
                    return Err(Anomaly::new(Kind::Undecided, what));
                }
            }
        }
        if all.len() == upto {
            break;
        }
        from = upto;
    }
    Ok(all)
}

fn apply<S: Witnessed>(state: &mut S, command: &Update, at: LogPoint) -> Bytes {
    let said = command.answer.as_ref().map(|(.., said)| said).or(command.implied.as_ref());
    let time = said.and_then(|said| S::time(said)).unwrap_or_default();
    Machine::apply(state, Applied { at, time, request: command.id }, &[], &command.payload)
}

/// Whether the world gives this answer, too.
fn explains<S: Witnessed>(world: &mut World<S>, known: &Known<'_>) -> Result<(), Anomaly> {
    match known {
        Known::Command(command, at, said) => {
            let reply = apply(&mut world.state, command, *at);
            if reply == **said {
                return Ok(());
            }
            let words = |bytes: &[u8]| S::words(Said::Reply, bytes);
            let (id, said, reply) = (command.id, words(said), words(&reply));
            let what = format!("{id} at {at} was answered {said}, and by the log's order it is {reply}");
            Err(Anomaly::new(Kind::WrongAnswer, what))
        }
        Known::Read(read) => {
            let answer = S::comparable(&Machine::query(&world.state, &read.payload));
            let said = S::comparable(&read.said);
            if answer == said {
                return Ok(());
            }
            let Read { begin, at, .. } = read;
            let asked = S::words(Said::Query, &read.payload);
            let (said, answer) = (S::words(Said::Answer, &said), S::words(Said::Answer, &answer));
            let what = format!(
                "{asked}, begun at {begin} ns, was answered at {at} {said}, and by the log's order it is {answer}"
            );
            Err(Anomaly::new(Kind::WrongAnswer, what))
        }
    }
}

#[cfg(test)]
mod tests;

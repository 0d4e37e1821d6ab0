//! What can be done in a story. One word, one thing; durations are `20ms`, `3s`, `2m`, `25h`.
//!
//! | act | what happens |
//! |---|---|
//! | `group r1 r2 r3` | `r1` starts with `--first`, the others join; a calm minute passes |
//! | `min 2`, `remember 2`, `snapshot every 4` | before `group`: `min_in_sync`, replies remembered, entries behind a snapshot |
//! | `start r1`, `start r1 first`, `crash r1`, `crash r1 after its write`, `wipe r1` | a process; an empty disk for the next |
//! | `pause r1`, `resume r1`, `stop r1` | SIGSTOP, SIGCONT, SIGTERM |
//! | `wait 20ms`, `until "r2 leads e2"` | time passes, until this happens |
//! | `cut r1`, `cut r1 r2`, `cut r1 -> r2`, `heal ..` | all ways of `r1`, one pair's, one direction; `ns` is an end too |
//! | `hold r1 -> r2 append`, `deliver ..`, `copy ..`, `drop ..`, `pass ..` | what is told with that first word (none: all) waits; goes on; goes on and stays; is lost; waits no longer |
//! | `reset r1 r2`, `suspect r2 r1` | a connection breaks and comes back; `r2` is refused by `r1`'s socket |
//! | `fsync r1 hangs`, `.. now`, `.. quick`, `.. takes 2s`, `disk r1 full`, `.. has room` | the disk |
//! | `ns down`, `.. up`, `.. frozen`, `.. thaws`, `.. wiped`, `.. restored v2` | the name server |
//! | `adopt`, `force-elect r2` | an operator's record |
//! | `submit r1 c1#1 "1 x margherita"`, `.. facts "x"`, `.. dated +11m`, `retry r2 c1#1` | an order; `c1#1-9`: nine; the same id again |
//! | `read r1 c2`, `read r1 c2 stale 1s` | a query |
//! | `clock r1 +25h`, `status r1` | a wall clock; what it says of itself |
//! | `also beacon`, `not persist`, `only leads` | what is told, by first words |

use std::time::Duration;

use common::replication::{
    BootId, ConfigVersion, Epoch, GroupConfig, InSyncSet, Member, Proposer, RequestId,
};
use common::rpc::replica::Consistency;

use super::super::SnapshotAfter;
use super::authority::Health;
use super::disk::Fsync;
use super::network::{End, Lane};
use super::stage::{CLIENT_WITHIN, Happening, Node, Stage};

/// How long `until` waits at most: longer than every back-off.
const PATIENCE: Duration = Duration::from_mins(5);

impl Stage {
    /// Does one line of acts, and lets them have their effects.
    pub(super) fn line(&mut self, line: &str) -> Result<(), String> {
        let (muted, acts) = match line.strip_prefix("given ") {
            Some(acts) => (true, acts),
            None => (false, line),
        };
        self.telling.begin(self.now, muted);
        self.telling.step(self.now);
        for act in split(acts, ';') {
            let words = split(act.trim(), ' ');
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            if !words.is_empty() {
                self.act(&words)?;
            }
        }
        self.settle()
    }

    fn act(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["group", members @ ..] => return self.group(members),
            ["min", count] => self.options.min_in_sync = number(count)?,
            ["remember", count] => self.options.limits.capacity = number(count)?,
            ["snapshot", "every", count] => {
                let entries = number(count)?;
                self.options.snapshots =
                    SnapshotAfter { multiples_of: 1, entries, ..SnapshotAfter::default() };
            }
            ["start", who] => self.start(host(who)?),
            ["start", who, "first"] => {
                self.node(host(who)?).first = true;
                self.start(host(who)?);
            }
            ["crash", who] => self.crash(host(who)?),
            ["crash", who, "after", "its", "write"] => {
                self.node(host(who)?).disk.written();
                self.crash(host(who)?);
            }
            ["wipe", who] => self.wipe(host(who)?),
            ["pause", who] => self.pause(host(who)?),
            ["resume", who] => self.resume(host(who)?),
            ["stop", who] => self.arrive(host(who)?, Duration::ZERO, Happening::Stop),
            ["wait", time] => self.advance(self.now + duration(time)?),
            ["until", told] => {
                let (told, until) = (told.trim_matches('"'), self.now + PATIENCE);
                return self.advance_until(told, until);
            }
            ["cut", ways @ ..] => self.each_way(ways, |stage, from, to| {
                stage.network.cut(from, to);
            })?,
            ["heal", ways @ ..] => return self.heal(ways),
            ["hold", lane @ ..] => self.network.hold(read_lane(lane)?),
            ["pass", lane @ ..] => self.network.let_pass(&read_lane(lane)?),
            ["deliver", lane @ ..] => return some(self.deliver(&read_lane(lane)?, false)),
            ["copy", lane @ ..] => return some(self.deliver(&read_lane(lane)?, true)),
            ["drop", lane @ ..] => return some(self.network.take(&read_lane(lane)?).len()),
            ["reset", one, other] => self.reset(host(one)?, host(other)?),
            ["suspect", who, whom] => {
                let gone = self.node(host(whom)?).member();
                self.arrive(host(who)?, Duration::ZERO, Happening::Refused(gone));
            }
            ["fsync", who, how @ ..] => return self.fsync(host(who)?, how),
            ["disk", who, "full"] => self.arrive(host(who)?, Duration::ZERO, Happening::DiskFull(true)),
            ["disk", who, "has", "room"] => {
                self.arrive(host(who)?, Duration::ZERO, Happening::DiskFull(false));
            }
            ["ns", how @ ..] => return self.name_server(how),
            ["adopt"] => return self.install(None),
            ["force-elect", who] => return self.install(Some(host(who)?)),
            ["submit", who, id, order, rest @ ..] => return self.submit(host(who)?, id, order, rest),
            ["retry", who, id] => return self.submit(host(who)?, id, "", &[]),
            ["read", who, client] => self.query(host(who)?, client, Consistency::Linearizable),
            ["read", who, client, "stale", age] => {
                self.query(host(who)?, client, Consistency::StaleOk { max_age: duration(age)? });
            }
            ["clock", who, off] => {
                let off = signed(off)?;
                self.node(host(who)?).clock_off += off;
            }
            ["status", who] => self.status(host(who)?),
            ["also", words @ ..] => words.iter().for_each(|word| self.telling.also_tell(word)),
            ["only", words @ ..] => self.telling.only_tell(words),
            ["not", words @ ..] => words.iter().for_each(|word| self.telling.leave_out(word)),
            other => return Err(format!("{:?} is no act", other.join(" "))),
        }
        Ok(())
    }

    fn group(&mut self, members: &[&str]) -> Result<(), String> {
        for (who, nth) in members.iter().zip(0..) {
            self.node(host(who)?).first = nth == 0;
            self.start(host(who)?);
            self.settle()?;
            self.advance(self.now + Duration::from_secs(1));
        }
        self.advance(self.now + Duration::from_secs(61));
        let in_sync = self.authority.record().map_or(0, |record| record.in_sync.len());
        if in_sync == members.len() { Ok(()) } else { Err(format!("{in_sync} came in sync")) }
    }

    /// `r1`: to and from everybody; `r1 r2`: both ways; `r1 -> r2`: one.
    fn each_way(&mut self, ways: &[&str], mut act: impl FnMut(&mut Self, End, End)) -> Result<(), String> {
        match ways {
            [one] => {
                let one: End = one.parse()?;
                for other in (1..=7).map(End::Host).chain([End::NameServer]).filter(|other| *other != one) {
                    act(self, one, other);
                    act(self, other, one);
                }
            }
            [one, "->", other] => act(self, one.parse()?, other.parse()?),
            [one, other] => {
                let (one, other): (End, End) = (one.parse()?, other.parse()?);
                act(self, one, other);
                act(self, other, one);
            }
            other => return Err(format!("{:?} is no way", other.join(" "))),
        }
        Ok(())
    }

    fn heal(&mut self, ways: &[&str]) -> Result<(), String> {
        let mut healed = Vec::new();
        self.each_way(ways, |stage, from, to| {
            if stage.network.heal(from, to) {
                healed.push((from, to));
            }
        })?;
        for ends in healed {
            match ends {
                (End::Host(from), End::Host(to))
                    if self.nodes.contains_key(&from) && self.nodes.contains_key(&to) =>
                {
                    self.greet(from, to);
                }
                (End::NameServer, End::Host(to)) if self.nodes.get(&to).is_some_and(Node::runs) => {
                    self.show_record(to);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn reset(&mut self, one: u8, other: u8) {
        for (from, to) in [(one, other), (other, one)] {
            self.break_connection(from, to);
            self.greet(from, to);
        }
    }

    fn fsync(&mut self, who: u8, how: &[&str]) -> Result<(), String> {
        let node = self.node(who);
        match how {
            ["hangs"] => node.disk.fsync = Fsync::Hangs,
            ["takes", time] => node.disk.fsync = Fsync::Takes(duration(time)?),
            ["quick" | "now"] => {
                let hung = node.disk.fsync == Fsync::Hangs && node.disk.writing.is_some();
                if *how == ["quick"] {
                    node.disk.fsync = Fsync::Quick;
                }
                if hung {
                    self.arrive(who, Duration::ZERO, Happening::Written);
                }
            }
            other => return Err(format!("{:?} is no fsync", other.join(" "))),
        }
        Ok(())
    }

    fn name_server(&mut self, how: &[&str]) -> Result<(), String> {
        match how {
            ["down"] => self.authority.health = Health::Down,
            ["frozen"] => self.authority.health = Health::Frozen,
            ["thaws"] => {
                self.authority.health = Health::Up;
                self.thaw();
            }
            ["up"] => {
                self.authority.health = Health::Up;
                self.show_record_to_all();
            }
            ["wiped"] => return self.authority.restore(0),
            ["restored", version] => {
                return self.authority.restore(number(version.trim_start_matches('v'))?);
            }
            other => return Err(format!("{:?} is nothing a name server does", other.join(" "))),
        }
        Ok(())
    }

    /// The operator's record: the newest that anybody has, led by nobody; or `alone` as the whole set.
    fn install(&mut self, alone: Option<u8>) -> Result<(), String> {
        let newest = self.newest_record().ok_or("nobody has a record")?;
        let seen = self.authority.newest_seen().max(newest.version).0;
        let epoch = self.newest_epoch().max(newest.epoch).0;
        let next = match alone {
            None => GroupConfig {
                version: ConfigVersion(seen + 1),
                epoch: Epoch(epoch + 1),
                primary: Member { boot: BootId::NOBODY, ..newest.primary },
                ..newest
            },
            Some(who) => {
                let id = self.node(who).id;
                GroupConfig {
                    version: ConfigVersion(seen + 1_000),
                    epoch: Epoch(epoch + 1_000),
                    primary: Member { id, boot: BootId::NOBODY },
                    in_sync: InSyncSet::new([id]),
                    forced: ConfigVersion(seen + 1_000),
                    ..newest
                }
            }
        };
        let (_, said) = self.authority.propose(Proposer::Operator, &next);
        let said = format!("{said}: {}", self.names.record(&next));
        self.telling.tell("ns", None, said);
        self.show_record_to_all();
        Ok(())
    }

    fn submit(&mut self, who: u8, label: &str, order: &str, rest: &[&str]) -> Result<(), String> {
        if let Some((client, range)) = label.split_once('#')
            && let Some((first, last)) = range.split_once('-')
        {
            for nth in number::<u64>(first)?..=number(last)? {
                self.submit(who, &format!("{client}#{nth}"), order, rest)?;
            }
            return Ok(());
        }
        let mut rest = rest;
        let (mut facts, mut dated, mut within) = (String::new(), 0, CLIENT_WITHIN);
        while let [what, value, more @ ..] = rest {
            match *what {
                "facts" => facts = value.trim_matches('"').to_owned(),
                "dated" => dated = signed(value)?,
                "within" => within = duration(value)?,
                other => return Err(format!("{other:?} is nothing that an order has")),
            }
            rest = more;
        }
        let id = RequestId::from_parts(self.wall(dated), 0, self.requests.len() as u64);
        let (request, payload) = {
            let (request, first) =
                self.requests.entry(label.to_owned()).or_insert_with(|| (id, order.to_owned()));
            (*request, if order.is_empty() { first.clone() } else { order.to_owned() })
        };
        let payload = common::services::encode(&payload.trim_matches('"'));
        let facts = common::services::encode(&facts);
        let order = Happening::Order { label: label.to_owned(), request, facts, payload, within };
        self.arrive(who, Duration::ZERO, order);
        Ok(())
    }

    fn query(&mut self, who: u8, client: &str, consistency: Consistency) {
        let query = Happening::Query { label: client.to_owned(), consistency, within: CLIENT_WITHIN };
        self.arrive(who, Duration::ZERO, query);
    }
}

/// The parts between `mark`s, where no quotes are.
fn split(text: &str, mark: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == mark && !quoted
    })
    .collect()
}

fn host(text: &str) -> Result<u8, String> {
    match text.parse()? {
        End::Host(number) => Ok(number),
        End::NameServer => Err("the name server is no replica".to_owned()),
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is no such number"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let count: u64 = number(digits)?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "m" => Ok(Duration::from_mins(count)),
        "h" => Ok(Duration::from_hours(count)),
        unit => Err(format!("{unit:?} is no unit of time")),
    }
}

fn signed(text: &str) -> Result<i64, String> {
    let millis = |time: &str| i64::try_from(duration(time)?.as_millis()).map_err(|error| error.to_string());
    match text.split_at_checked(1) {
        Some(("+", time)) => millis(time),
        Some(("-", time)) => Ok(-millis(time)?),
        _ => Err(format!("{text:?} has no sign")),
    }
}

fn read_lane(words: &[&str]) -> Result<Lane, String> {
    match words {
        [from, "->", to] => Ok(Lane { from: from.parse()?, to: to.parse()?, word: None }),
        [from, "->", to, word] => {
            Ok(Lane { from: from.parse()?, to: to.parse()?, word: Some((*word).to_owned()) })
        }
        other => Err(format!("{:?} is no way", other.join(" "))),
    }
}

/// An act that found nothing to act on is a mistake in the story.
fn some(count: usize) -> Result<(), String> {
    if count == 0 { Err("nothing of that kind is held".to_owned()) } else { Ok(()) }
}

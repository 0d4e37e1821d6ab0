use common::replication::LogIndex;
use common::services::just_hungry::JustHungry;
use common::services::just_hungry::command::{Command, Facts};
use common::services::just_hungry::query::Query;
use common::services::{decode, encode};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::made::{ITEMS, menu, start, user};
use super::super::orders::place;
use super::*;

/// A place in the order of everything: a read is after what stands at its place.
type Rank = (u64, bool);

/// Tries every way of putting the unknown commands into unexplained places.
fn brute_force(start: &JustHungry, updates: &[Update], reads: &[Read]) -> bool {
    let answers = updates.iter().filter_map(|update| update.answer.as_ref());
    let points: Vec<LogPoint> =
        answers.clone().map(|(_, at, _)| *at).chain(reads.iter().map(|read| read.at)).collect();
    let rising = points.iter().all(|one| {
        points.iter().all(|other| {
            (one.index > other.index || one.epoch <= other.epoch)
                && (one.index != other.index || one.epoch == other.epoch)
        })
    });
    let taken: Vec<u64> = answers.map(|(_, at, _)| at.index.0).collect();
    let single = taken.iter().collect::<BTreeSet<_>>().len() == taken.len();
    let last = points.iter().map(|at| at.index.0).max().unwrap_or_default();
    let holes: Vec<u64> = (2..=last).filter(|index| !taken.contains(index)).collect();
    let open: Vec<&Update> = updates.iter().filter(|update| update.answer.is_none()).collect();
    rising && single && assign(start, updates, reads, &open, &holes, &mut Vec::new())
}

fn assign(
    start: &JustHungry,
    updates: &[Update],
    reads: &[Read],
    open: &[&Update],
    holes: &[u64],
    chosen: &mut Vec<(RequestId, u64)>,
) -> bool {
    let Some((first, rest)) = open.split_first() else { return explained(start, updates, reads, chosen) };
    if assign(start, updates, reads, rest, holes, chosen) {
        return true;
    }
    for &hole in holes {
        if chosen.iter().any(|(_, other)| *other == hole) {
            continue;
        }
        chosen.push((first.id, hole));
        let good = assign(start, updates, reads, rest, holes, chosen);
        chosen.pop();
        if good {
            return true;
        }
    }
    false
}

fn explained(start: &JustHungry, updates: &[Update], reads: &[Read], chosen: &[(RequestId, u64)]) -> bool {
    let mut all: Vec<(Rank, u64, u64, Known<'_>)> = Vec::new();
    let nothing = Bytes::new();
    for update in updates {
        if let Some((end, at, said)) = &update.answer {
            all.push(((at.index.0, false), update.begin, *end, Known::Command(update, *at, said)));
        } else if let Some((_, hole)) = chosen.iter().find(|(id, _)| *id == update.id) {
            let at = LogPoint { epoch: Epoch(1), index: LogIndex(*hole) };
            all.push(((*hole, false), update.begin, u64::MAX, Known::Command(update, at, &nothing)));
        }
    }
    for read in reads {
        all.push(((read.at.index.0, true), read.begin, read.end, Known::Read(read)));
    }
    for (rank, _, end, _) in &all {
        for (other, begin, ..) in &all {
            if end < begin && (rank > other || (rank == other && !rank.1)) {
                return false;
            }
        }
    }
    all.sort_by_key(|(rank, ..)| *rank);
    let mut state = start.clone();
    all.iter().all(|(.., known)| match known {
        Known::Command(update, at, said) => {
            let reply = apply(&mut state, update, *at);
            said.is_empty() || reply == **said
        }
        Known::Read(read) => Machine::query(&state, &read.payload) == read.said,
    })
}

/// A small history of one log, perhaps falsified.
fn history(rng: &mut StdRng) -> (JustHungry, Vec<Update>, Vec<Read>) {
    let mut begun = start();
    let filled = Applied {
        at: LogPoint { epoch: Epoch(1), index: LogIndex(1) },
        time: Timestamp::default(),
        request: RequestId::LEAST,
    };
    StateMachine::apply(&mut begun, filled, Facts::default(), menu(2));
    let mut state = begun.clone();
    let mut at = filled.at;
    let (mut updates, mut reads) = (Vec::new(), Vec::new());
    for n in 0..rng.random_range(2..=6_u64) {
        let now = 50 + n * 10;
        let (mut begin, mut end) = (now - rng.random_range(0..15), now + rng.random_range(0..15));
        if rng.random_ratio(1, 10) {
            (begin, end) = (begin - 20, end - 20);
        }
        if rng.random_ratio(1, 6) {
            at = LogPoint { epoch: at.epoch.next(), index: at.index.next() };
        }
        if rng.random_ratio(1, 3) {
            let query = if rng.random() {
                Query::Menu { after: 0, limit: 0 }
            } else {
                Query::Orders { user: user(0), active_only: false, after: 0, limit: 0 }
            };
            let payload = encode(&query);
            let said = Machine::query(&state, &payload);
            reads.push(Read { payload, begin, end, at, said, stale_ok: false });
            continue;
        }
        let command = match rng.random_range(0..4) {
            0 => Command::CancelOrder { user: user(0), no: rng.random_range(1..3) },
            _ => place(&user(0), &[(ITEMS[0], rng.random_range(1..3))]),
        };
        let (id, payload) = (RequestId::from_parts(Timestamp::from_millis(9), 0, n), encode(&command));
        let mut update = Update { id, payload, begin, answer: None, implied: None };
        let ran = rng.random_ratio(4, 5);
        if ran {
            at.index = at.index.next();
            let reply = apply(&mut state, &update, at);
            if rng.random_ratio(3, 4) {
                update.answer = Some((end, at, reply));
            }
        }
        updates.push(update);
    }
    falsify(rng, &mut updates, &mut reads);
    (begun, updates, reads)
}

fn falsify(rng: &mut StdRng, updates: &mut Vec<Update>, reads: &mut [Read]) {
    let which = rng.random_range(0..5_usize);
    match rng.random_range(0..5) {
        // An acknowledged command that never was.
        0 => drop((which < updates.len()).then(|| updates.remove(which))),
        1 if which < reads.len() => {
            reads[which].at.index.0 = reads[which].at.index.0.saturating_sub(1).max(1);
        }
        2 if which < updates.len() => {
            if let Some((_, at, _)) = &mut updates[which].answer {
                at.index.0 = rng.random_range(2..7);
            }
        }
        3 if which < updates.len() => {
            if let Some((_, at, _)) = &mut updates[which].answer {
                at.epoch.0 = rng.random_range(1..3);
            }
        }
        _ => {}
    }
}

#[test]
fn the_witness_agrees_with_brute_force() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..4_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (begun, updates, reads) = history(&mut rng);
        let found = check(&begun, &updates, &reads);
        let expected = brute_force(&begun, &updates, &reads);
        assert_eq!(found.is_empty(), expected, "seed {seed}: {found:#?}\n{}", shown(&updates, &reads));
        *(if expected { &mut good } else { &mut bad }) += 1;
    }
    assert!(good > 500 && bad > 500, "{good} good and {bad} bad histories teach too little");
}

fn shown(updates: &[Update], reads: &[Read]) -> String {
    let mut lines = Vec::new();
    for update in updates {
        let answer = update
            .answer
            .as_ref()
            .map(|(end, at, said)| format!("..{end} {at} {}", JustHungry::words(Said::Reply, said)));
        let command: Command = decode(&update.payload).unwrap();
        lines.push(format!("{} {answer:?} {command:?}", update.begin));
    }
    for read in reads {
        let (asked, said) =
            (JustHungry::words(Said::Query, &read.payload), JustHungry::words(Said::Answer, &read.said));
        lines.push(format!("{}..{} {} {asked} {said}", read.begin, read.end, read.at));
    }
    lines.join("\n")
}

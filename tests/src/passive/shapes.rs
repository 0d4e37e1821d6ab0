//! What walks are like. A shape says what may happen at all; within it, each seed draws how often (Groce et al.,
//! *Swarm Testing*, ISSTA 2012): faults that are rare everywhere are found nowhere.

use std::time::Duration;

use replica::passive::{BATCH_BYTES, SnapshotAfter};

use super::chance::Chance;
use super::network::{NODES_MAX, Network};

/// A family of walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Three replicas, a long time, a little of all.
    General,
    /// Three replicas, a short time, many reads.
    Reads,
    /// One replica starts; the others come later.
    Alone,
    /// Two must be in sync.
    Two,
    /// A table of one or two replies, many copies, snapshots all the time.
    Table,
    /// Four replicas.
    Four,
    /// Two or three replicas that may create the group.
    Firsts,
    /// One id under several commands and facts.
    Copies,
    /// Disks fill up and are replaced, clocks jump, replicas are stopped.
    Wild,
    /// Operators give the group away.
    Forced,
    /// The name server falls back to older records, and operators adopt what the replicas have.
    Regressed,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::General,
        Self::Reads,
        Self::Alone,
        Self::Two,
        Self::Table,
        Self::Four,
        Self::Firsts,
        Self::Copies,
        Self::Wild,
        Self::Forced,
        Self::Regressed,
    ];

    /// As it is given on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Reads => "reads",
            Self::Alone => "alone",
            Self::Two => "two",
            Self::Table => "table",
            Self::Four => "four",
            Self::Firsts => "firsts",
            Self::Copies => "copies",
            Self::Wild => "wild",
            Self::Forced => "forced",
            Self::Regressed => "regressed",
        }
    }

    /// The shape of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name() == name)
    }
}

/// A kind of [`super::act::Act`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the acts are described there")]
pub enum Kind {
    Deliver,
    Lose,
    Repeat,
    GiveUp,
    Write,
    Fail,
    Work,
    Pass,
    Start,
    Crash,
    Stop,
    Accuse,
    Greet,
    Watch,
    Submit,
    Read,
    ReadStale,
    Full,
    Jump,
    Wipe,
    ForceElect,
    Regress,
    Adopt,
}

/// How a walk ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing more happens.
    Open,
    /// One in-sync replica lives, and the name server: an update completes.
    One,
    /// All live: an update completes.
    All,
    /// All live: an update completes, all come in sync, every request is answered again, and the primary stays.
    Whole,
}

/// One walk, but for what happens in it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Replicas.
    pub size: usize,
    /// How many of them may create the group.
    pub firsts: usize,
    /// Whether only the first one is up at the beginning.
    pub alone: bool,
    /// Whether the group is in sync and calm before anything happens.
    pub formed: bool,
    /// How long a client waits.
    pub patience: Duration,
    /// How many must be in sync.
    pub min_in_sync: u8,
    /// Replies remembered.
    pub capacity: u64,
    /// When snapshots are taken.
    pub snapshots: SnapshotAfter,
    /// Requests with ids of their own.
    pub requests: u16,
    /// One in so many submissions is a copy of an earlier one.
    pub copies: usize,
    /// Commands that may come under one id.
    pub commands: usize,
    /// How far ids are dated apart, in milliseconds.
    pub spread: u32,
    /// One in so many deliveries overtakes another.
    pub overtakes: usize,
    /// Bytes in one append or one batch.
    pub batch_bytes: usize,
    /// Which ways are slow, a bit for each.
    pub slow: u64,
    /// One in so many events comes together with the next.
    pub together: usize,
    /// Things that happen.
    pub length: usize,
    /// How it ends.
    pub ending: Ending,
    /// Of 256 things, which happen how often.
    pub kinds: Box<[Kind; 256]>,
}

impl Plan {
    /// What `chance` makes of this shape.
    pub fn new(shape: Shape, chance: &mut Chance) -> Self {
        let c = chance;
        let size = match shape {
            Shape::Four => NODES_MAX,
            Shape::Two | Shape::Reads | Shape::Regressed => 3,
            Shape::Table | Shape::Copies => c.between(2, 3),
            _ => 3 - usize::from(c.one_in(6)),
        };
        let firsts = if shape == Shape::Firsts { c.between(2, size.min(3)) } else { 1 };
        let small = c.one_in(4);
        let capacity = match shape {
            Shape::Table => c.between(1, 2) as u64,
            Shape::Copies | Shape::Wild if small => 2,
            Shape::General | Shape::Four | Shape::Forced if small => c.between(1, 3) as u64,
            _ => 1_000,
        };
        let entries = if shape == Shape::Table || c.one_in(3) { c.between(1, 4) as u64 } else { 12 };
        let min_in_sync = match shape {
            Shape::Two => 2,
            Shape::Four | Shape::Wild | Shape::Firsts if c.one_in(4) => 2,
            _ => 1,
        };
        let many = if matches!(shape, Shape::General | Shape::Wild) { 120 } else { 24 };
        let alone = match shape {
            Shape::Alone => true,
            Shape::Firsts | Shape::Reads => c.one_in(4),
            _ => false,
        };
        Self {
            size,
            firsts,
            alone,
            formed: !alone && shape != Shape::Firsts,
            patience: Duration::from_secs(5),
            min_in_sync,
            capacity,
            snapshots: SnapshotAfter {
                multiples_of: c.pick(&[1, 1, 2, 4]).min(entries),
                entries,
                bytes: 1 << 20,
            },
            requests: u16::try_from(c.between(2, many)).expect("hundreds at most"),
            copies: match shape {
                Shape::Table | Shape::Copies => 2,
                _ => c.pick(&[2, 4, 10]),
            },
            commands: if shape == Shape::Copies { c.between(1, 3) } else { 1 },
            spread: match shape {
                Shape::Wild => c.pick(&[1, 5_000, 1_300_000]),
                _ => c.pick(&[1, 500, 5_000]),
            },
            overtakes: c.pick(&[1, 2, 5, 50]),
            // All there is, a few entries, one.
            batch_bytes: c.pick(&[BATCH_BYTES, BATCH_BYTES, 150, 1]),
            slow: slow(shape, size, c),
            together: c.pick(&[3, 8, 1_000]),
            length: match shape {
                Shape::General | Shape::Wild => c.between(500, 4_000),
                Shape::Reads => c.between(60, 400),
                Shape::Four => c.between(200, 1_500),
                _ => c.between(100, 900),
            },
            ending: match c.below(16) {
                0 => Ending::Whole,
                1 | 2 if min_in_sync == 1 => Ending::One,
                3..=6 => Ending::All,
                _ => Ending::Open,
            },
            kinds: kinds(shape, c),
        }
    }
}

/// Which ways are slow: mostly none, else some of all. Reads go wrong where somebody leads whom the others do not hear.
fn slow(shape: Shape, size: usize, c: &mut Chance) -> u64 {
    let unheard = c.below(size);
    let its_ways = (0..size).map(|to| 1 << Network::way(unheard, to)).fold(0, |ways, way: u64| ways | way);
    match c.below(4) {
        0 => c.bits() & c.bits(),
        1 => c.bits() & c.bits() & c.bits(),
        2 if shape == Shape::Reads => its_ways | (c.bits() & c.bits() & c.bits()),
        3 if shape == Shape::Reads => its_ways,
        _ => 0,
    }
}

/// How often which kind happens: of some, always enough; of faults, by chance none to many.
fn kinds(shape: Shape, c: &mut Chance) -> Box<[Kind; 256]> {
    let mut some = |of: &[usize]| c.pick(of);
    let rare = [0, 1, 3, 10];
    let reads = if shape == Shape::Reads { some(&[30, 80]) } else { some(&[0, 2, 10, 30]) };
    let mut weights = vec![
        (Kind::Deliver, some(&[150, 250, 400])),
        (Kind::Write, some(&[20, 60, 150])),
        (Kind::Fail, some(&[0, 0, 1])),
        (Kind::Work, some(&[10, 30])),
        (Kind::Pass, some(&[8, 25, 60])),
        (Kind::Submit, some(&[5, 15, 40])),
        (Kind::Read, reads),
        (Kind::Start, some(&[5, 15, 40])),
        (Kind::Crash, some(&[0, 2, 5, 15])),
        (Kind::Accuse, if shape == Shape::Reads { some(&[8, 20]) } else { some(&[0, 2, 8, 20]) }),
        (Kind::Lose, some(&[0, 3, 15, 40])),
        (Kind::GiveUp, some(&[0, 2, 10])),
        (Kind::Repeat, some(&[0, 2, 10])),
        (Kind::Greet, some(&[2, 6])),
        (Kind::Watch, some(&[0, 2, 8])),
        (Kind::ReadStale, some(&[0, 0, 2])),
        (Kind::Stop, some(&rare)),
    ];
    match shape {
        Shape::Wild => {
            weights.extend([(Kind::Full, some(&rare)), (Kind::Jump, some(&rare)), (Kind::Wipe, some(&rare))]);
        }
        Shape::Forced => weights.push((Kind::ForceElect, some(&[1, 3]))),
        Shape::Regressed => {
            weights.extend([
                (Kind::Regress, some(&[2, 4])),
                (Kind::Adopt, some(&[4, 10])),
                (Kind::ForceElect, some(&[0, 0, 3])),
            ]);
        }
        _ => {}
    }
    let all: usize = weights.iter().map(|(_, weight)| weight).sum();
    let mut table = Box::new([Kind::Deliver; 256]);
    let mut at = 0;
    for (kind, weight) in weights {
        // What may happen at all has one of the 256 places at least.
        let places = (weight * 256 / all).max(usize::from(weight > 0));
        for _ in 0..places {
            if at < 256 && kind != Kind::Deliver {
                table[at] = kind;
                at += 1;
            }
        }
    }
    table
}

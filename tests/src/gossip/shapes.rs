//! What walks are like. A shape says what may happen at all; within it, each seed draws how often (Groce et al.,
//! *Swarm Testing*, ISSTA 2012): faults that are rare everywhere are found nowhere.

use std::time::Duration;

use replica::gossip::Limits;

use super::network::NODES_MAX;
use super::world::SESSIONS;
use crate::passive::chance::Chance;

/// A family of walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A little of all that happens to members that stay.
    General,
    /// Ids are soon too old, and are sent again all the time.
    Late,
    /// Disks are lost, and members come and go.
    Members,
    /// The same, and an update is answered when two disks have it.
    Two,
    /// Disks go back to their own copies.
    Copies,
    /// Up to seven members.
    Many,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::General, Self::Late, Self::Members, Self::Two, Self::Copies, Self::Many];

    /// As it is given on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Late => "late",
            Self::Members => "members",
            Self::Two => "two",
            Self::Copies => "copies",
            Self::Many => "many",
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
    Write,
    Pass,
    Start,
    Crash,
    Watch,
    Submit,
    Retry,
    Query,
    Set,
    Jump,
    Cut,
    Wipe,
    RollBack,
    Remove,
}

/// One walk, but for what happens in it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Replicas.
    pub size: usize,
    /// How much of anything.
    pub limits: Limits,
    /// Updates at most.
    pub updates: usize,
    /// How far each person's clock is off, in milliseconds.
    pub clients_off: [i64; SESSIONS],
    /// After so many writes a copy of the disk is kept.
    pub copies_every: u32,
    /// One in so many deliveries overtakes another.
    pub overtakes: usize,
    /// One in so many events comes together with the next.
    pub together: usize,
    /// Things that happen.
    pub length: usize,
    /// Whether all heals in the end, and must be equal.
    pub heals: bool,
    /// Of 256 things, which happen how often.
    pub kinds: Box<[Kind; 256]>,
}

impl Plan {
    /// What `chance` makes of this shape.
    pub fn new(shape: Shape, chance: &mut Chance) -> Self {
        let c = chance;
        let size = match shape {
            Shape::Many => c.between(4, NODES_MAX),
            _ => c.between(3, 4),
        };
        let window = match shape {
            Shape::General => c.pick(&[100, 3_000, 3_600_000]),
            _ => c.pick(&[20, 50, 100, 400]),
        };
        let off = |c: &mut Chance| c.pick(&[0, 0, 0, -30, 40, -400, 500, -5_000]);
        let mut plan = Self {
            size,
            limits: Limits {
                ack_after: match shape {
                    Shape::Two => 2,
                    Shape::Many => c.between(1, 3),
                    _ => 1,
                },
                request_window: Duration::from_millis(window),
                gossip_every: Duration::from_millis(c.pick(&[5, 20, 100])),
                checkpoint_after: c.pick(&[1, 2, 4, 16]),
                checkpoint_every: Duration::from_millis(c.pick(&[20, 200, 2_000])),
                batch_bytes: c.pick(&[1, 300, 1_000, 512 * 1024]),
                overload_rate: c.pick(&[0, 0, 0, 200_000]),
                ..Limits::default()
            },
            updates: c.between(20, 160),
            clients_off: std::array::from_fn(|_| off(c)),
            copies_every: u32::try_from(c.pick(&[1, 2, 5])).unwrap_or(1),
            overtakes: c.pick(&[1, 2, 5, 50]),
            together: c.pick(&[3, 8, 1_000]),
            length: match shape {
                Shape::Many => c.between(300, 3_000),
                _ => c.between(100, 2_000),
            },
            heals: !c.one_in(4),
            kinds: kinds(shape, c),
        };
        // Short steps with short logs.
        plan.limits.trim_step = usize::try_from(plan.limits.checkpoint_after).unwrap_or(usize::MAX);
        plan
    }
}

/// How often which kind happens: of some, always enough; of faults, by chance none to many.
fn kinds(shape: Shape, c: &mut Chance) -> Box<[Kind; 256]> {
    let mut some = |of: &[usize]| c.pick(of);
    let retries = if shape == Shape::Late { some(&[20, 40]) } else { some(&[3, 10, 25]) };
    let mut weights = vec![
        (Kind::Deliver, some(&[100, 200, 400])),
        (Kind::Write, some(&[5, 20, 60, 150])),
        (Kind::Pass, some(&[8, 25, 60])),
        (Kind::Submit, some(&[5, 15, 40])),
        (Kind::Retry, retries),
        (Kind::Query, some(&[2, 10, 30])),
        (Kind::Start, some(&[5, 15, 40])),
        (Kind::Crash, some(&[0, 2, 5, 15])),
        (Kind::Lose, some(&[0, 3, 15, 40])),
        (Kind::Repeat, some(&[0, 2, 10])),
        (Kind::Watch, some(&[0, 2, 8])),
        (Kind::Cut, some(&[0, 2, 6])),
        (Kind::Set, some(&[0, 0, 2, 5])),
        (Kind::Jump, some(&[0, 0, 2])),
    ];
    match shape {
        Shape::General | Shape::Late => {}
        Shape::Members | Shape::Two => {
            weights.extend([(Kind::Wipe, some(&[1, 3, 6])), (Kind::Remove, some(&[0, 2, 6]))]);
        }
        Shape::Copies => {
            weights.extend([
                (Kind::RollBack, some(&[2, 6])),
                (Kind::Wipe, some(&[0, 1])),
                (Kind::Remove, some(&[0, 2])),
            ]);
        }
        Shape::Many => {
            weights.extend([(Kind::Wipe, some(&[0, 2])), (Kind::Remove, some(&[0, 2]))]);
        }
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

//! One walk: a world, and chance that lets things happen in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use replica::gossip::{Planted, Status};

use super::act::{Act, Lane, Step};
use super::network::NODES_MAX;
use super::shapes::{Kind, Plan, Shape};
use super::world::{Counts, SESSIONS, World};
use crate::passive::chance::Chance;
use crate::passive::story::Story;

/// What a walk is made from.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Its family.
    pub shape: Shape,
    /// Its dice.
    pub seed: u64,
    /// What is broken on purpose.
    pub planted: Planted,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// What happened, in numbers.
    pub counts: Counts,
    /// Which law was broken, and how.
    pub broken: Option<String>,
    /// What happened, when that was asked for.
    pub steps: Vec<Step>,
    /// The story, when that was asked for.
    pub lines: Vec<String>,
}

/// So much on its way is delivered before anything else happens.
const ON_ITS_WAY_MAX: usize = 200;

impl Start {
    /// Walks.
    pub fn walk(&self) -> Walked {
        self.run(None, false)
    }

    /// Walks, and writes down what happens.
    pub fn recorded(&self) -> Walked {
        self.run(None, true)
    }

    /// Lets these things happen instead of what chance would; tells the story, if that is wanted.
    pub fn replay(&self, steps: &[Step], told: bool) -> Walked {
        self.run(Some((steps, told)), false)
    }

    fn run(&self, given: Option<(&[Step], bool)>, record: bool) -> Walked {
        let mut chance = Chance::new(self.seed << 8 | self.shape as u64);
        let plan = Plan::new(self.shape, &mut chance);
        let length = plan.length;
        let mut taken = Vec::new();
        let story = if given.is_some_and(|(_, told)| told) { Story::told() } else { Story::default() };
        let mut world = None;
        // A core that finds itself broken says so by a panic.
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let world = world.insert(World::new(plan, self.planted, story));
            match given {
                Some((steps, _)) => {
                    for step in steps {
                        if world.is_over() {
                            break;
                        }
                        world.perform(*step);
                    }
                }
                None => {
                    for _ in 0..length {
                        if world.is_over() {
                            break;
                        }
                        let step = world.next_step(&mut chance);
                        if record {
                            taken.push(step);
                        }
                        world.perform(step);
                    }
                }
            }
            world.end_well();
        }));
        let mut walked = Walked { steps: taken, ..Walked::default() };
        if let Some(world) = &world {
            walked.counts = world.counts;
            walked.broken = world.broken().map(str::to_owned);
            walked.lines = world.story.lines().to_vec();
        }
        if let Err(panic) = panicked {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            walked.broken.get_or_insert(format!("panic: {}", said.unwrap_or_default()));
        }
        walked
    }
}

impl World {
    /// What chance lets happen next.
    pub fn next_step(&self, chance: &mut Chance) -> Step {
        let together = chance.one_in(self.plan.together);
        if self.network.len() > ON_ITS_WAY_MAX {
            return Step { act: self.lane(chance).map_or(Act::Pass(0, 1), Act::Deliver), together };
        }
        loop {
            let kind = self.plan.kinds[chance.below(256)];
            if let Some(act) = self.act(kind, chance) {
                return Step { act, together };
            }
        }
    }

    fn act(&self, kind: Kind, chance: &mut Chance) -> Option<Act> {
        let n = chance.below(self.nodes.len());
        let node = &self.nodes[n];
        let up = node.core.is_some();
        let byte = |n: usize| u8::try_from(n).unwrap_or(0);
        let place = byte(n);
        match kind {
            Kind::Deliver => self.lane(chance).map(Act::Deliver),
            Kind::Lose => self.lane(chance).map(Act::Lose),
            Kind::Repeat => self.lane(chance).map(Act::Repeat),
            Kind::Write => node.writing.is_some().then_some(Act::Write(place)),
            Kind::Pass => up.then(|| Act::Pass(place, self.time(n, chance))),
            Kind::Start => (!up).then_some(Act::Start(place)),
            Kind::Crash => up.then(|| Act::Crash(place, chance.one_in(2))),
            Kind::Watch => up.then_some(Act::Watch(place)),
            Kind::Submit => up.then(|| Act::Submit(place, byte(chance.below(SESSIONS)))),
            Kind::Retry => {
                let sent = self.oracle.sent.len();
                (up && sent > 0).then(|| {
                    // Copies come soon after, mostly, and some when all have forgotten the first one.
                    let back = if chance.one_in(3) { chance.below(sent) } else { chance.below(sent.min(4)) };
                    Act::Retry(place, u16::try_from(sent - 1 - back).unwrap_or(0))
                })
            }
            Kind::Query => up.then(|| Act::Query(place, byte(chance.below(SESSIONS)))),
            Kind::Set => up.then(|| {
                let statuses = [Status::Online, Status::Online, Status::Offline, Status::Overloaded];
                Act::Set(place, chance.pick(&statuses))
            }),
            Kind::Jump => Some(Act::Jump(place, chance.pick(&[-20, 30, -300, 200, -2_000, 1_500]))),
            Kind::Cut => Some(Act::Cut(place, !node.cut)),
            Kind::Wipe => self.is_spare(n).then(|| Act::Wipe(place, chance.one_in(2))),
            Kind::RollBack => {
                let past = node.past.len();
                (past > 0).then(|| Act::RollBack(place, byte(chance.below(past))))
            }
            Kind::Remove => up.then(|| Act::Remove(place, byte(chance.below(self.nodes.len())))),
        }
    }

    /// Whether somebody else has data, and a person has moved most of the lost ones out.
    fn is_spare(&self, n: usize) -> bool {
        const ACTIVE_MAX: usize = 16;
        let Some(record) = self.record.as_ref().filter(|record| record.active.len() < ACTIVE_MAX) else {
            return false;
        };
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != n);
        others.into_iter().any(|(_, node)| !node.disk.is_blank() && record.active.contains(&node.id))
    }

    fn time(&self, n: usize, chance: &mut Chance) -> u32 {
        match chance.below(16) {
            0..=5 => u32::try_from(chance.between(1, 20)).unwrap_or(1),
            6..=11 => {
                let node = &self.nodes[n];
                let wake = node.core.as_ref().map_or(node.now, |core| core.wake_at(node.now));
                u32::try_from(wake.since(node.now).as_millis()).unwrap_or(1).max(1)
            }
            12..=13 => 190,
            14 => 1_100,
            _ => chance.pick(&[600, 2_500, 61_000]),
        }
    }

    fn lane(&self, chance: &mut Chance) -> Option<Lane> {
        let (from, to, len) = self.network.lane(chance.below((NODES_MAX + 1) * 4))?;
        let nth = if len > 1 && chance.one_in(self.plan.overtakes) { chance.below(len.min(255)) } else { 0 };
        let [from, to, nth] = [from, to, nth].map(|n| u8::try_from(n).unwrap_or(0));
        Some(Lane { from, to, nth })
    }
}

//! One walk: a world, and chance that lets things happen in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use replica::passive::Planted;

use super::act::{Act, Lane, Step};
use super::chance::Chance;
use super::network::{NODES_MAX, Network};
use super::shapes::{Kind, Plan, Shape};
use super::story::Story;
use super::world::{Counts, World};

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
#[derive(Clone, Debug)]
pub struct Walked {
    /// What happened, in numbers.
    pub counts: Counts,
    /// Which law was broken, and how.
    pub broken: Option<String>,
    /// What happened, when that was asked for.
    pub steps: Vec<Step>,
    /// What happened, told.
    pub lines: Vec<String>,
}

/// Of so many things that might arrive on a slow way, one does.
const SLOW: usize = 24;
/// More on its way than this, and it is delivered before anything else.
const ON_ITS_WAY_MAX: usize = 80;

impl Start {
    /// The plan, and the dice as they are after it.
    pub fn plan(&self) -> (Plan, Chance) {
        let mut chance = Chance::new(self.seed.wrapping_mul(16).wrapping_add(self.shape as u64));
        let plan = Plan::new(self.shape, &mut chance);
        (plan, chance)
    }

    /// Walks.
    pub fn walk(&self) -> Walked {
        self.run(None, false)
    }

    /// Walks, and remembers every step.
    pub fn recorded(&self) -> Walked {
        self.run(None, true)
    }

    /// Lets just these things happen, and tells of it if that is wanted.
    pub fn replay(&self, steps: &[Step], told: bool) -> Walked {
        self.run(Some((steps, told)), false)
    }

    fn run(&self, given: Option<(&[Step], bool)>, record: bool) -> Walked {
        let (plan, mut chance) = self.plan();
        let (length, ending, formed) = (plan.length, plan.ending, plan.formed);
        let mut taken = Vec::new();
        let story = if given.is_some_and(|(_, told)| told) { Story::told() } else { Story::default() };
        let mut world = None;
        // A core that finds itself broken says so by a panic.
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let world = world.insert(World::new(plan, self.planted, story));
            if formed {
                world.form();
            }
            match given {
                Some((steps, _)) => {
                    for step in steps {
                        if world.broken().is_some() {
                            break;
                        }
                        world.perform(*step);
                    }
                }
                None => {
                    for _ in 0..length {
                        if world.broken().is_some() {
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
            world.end_well(ending);
        }));
        let mut walked = match &world {
            Some(world) => Walked {
                counts: world.counts,
                broken: world.broken().map(str::to_owned),
                steps: taken,
                lines: world.story.lines().to_vec(),
            },
            None => Walked { counts: Counts::default(), broken: None, steps: taken, lines: Vec::new() },
        };
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
        let nodes = self.nodes.len();
        let n = chance.below(nodes);
        let node = &self.nodes[n];
        let up = node.core.is_some();
        let place = u8::try_from(n).unwrap_or(0);
        match kind {
            Kind::Deliver => self.delivery(chance),
            Kind::Lose => self.lane(chance).map(Act::Lose),
            Kind::Repeat => self.lane(chance).map(Act::Repeat),
            Kind::GiveUp => self.lane(chance).map(Act::GiveUp),
            Kind::Write => node.writing.is_some().then_some(Act::Write(place)),
            Kind::Fail => (up && node.writing.is_some()).then_some(Act::Fail(place)),
            Kind::Work => (up && !node.work.is_empty()).then(|| Act::Work(place, chance.one_in(20))),
            Kind::Pass => up.then(|| Act::Pass(place, self.time(n, chance))),
            Kind::Start => (!up).then_some(Act::Start(place)),
            Kind::Crash => up.then(|| Act::Crash(place, chance.one_in(2))),
            Kind::Stop => up.then_some(Act::Stop(place)),
            Kind::Accuse => up.then(|| {
                // Mostly the one that leads is suspected; a leader suspects the others.
                let other = self.leader().filter(|leader| *leader != n && !chance.one_in(4));
                let other = other.unwrap_or_else(|| chance.below(nodes));
                Act::Accuse(place, u8::try_from(other).unwrap_or(0))
            }),
            Kind::Greet => up.then(|| Act::Greet(place, u8::try_from(chance.below(nodes)).unwrap_or(0))),
            Kind::Watch => up.then_some(Act::Watch(place)),
            Kind::Submit => up.then(|| self.submission(n, chance)),
            Kind::Read => up.then(|| Act::Read(self.asked(n, chance))),
            Kind::ReadStale => up.then_some(Act::ReadStale(place)),
            Kind::Full => Some(Act::Full(place, !node.full)),
            Kind::Jump => {
                let minutes = chance.pick(&[-1, 1, 5, -11, 11, 60, -60, 1_500, -1_500, 30_000]);
                Some(Act::Jump(place, minutes))
            }
            Kind::Wipe => self.is_spare(n).then_some(Act::Wipe(place)),
            Kind::ForceElect => chance.one_in(4).then_some(Act::ForceElect(place)),
            Kind::Regress => {
                (!self.authority.has_fallen_back()).then(|| Act::Regress(chance.pick(&[1, 1, 2, 3, 5])))
            }
            Kind::Adopt => self.authority.has_fallen_back().then_some(Act::Adopt),
        }
    }

    /// Whom a client asks: mostly who it believes leads, sometimes another.
    fn asked(&self, n: usize, chance: &mut Chance) -> u8 {
        let leader = self.believed_leader(chance).filter(|_| !chance.one_in(6));
        u8::try_from(leader.unwrap_or(n)).unwrap_or(0)
    }

    /// Somebody who believes that it leads; there may be several.
    fn believed_leader(&self, chance: &mut Chance) -> Option<usize> {
        let begin = chance.below(self.nodes.len());
        let all = self.nodes.len();
        (0..all).map(|n| (begin + n) % all).find(|&n| {
            let core = self.nodes[n].core.as_ref();
            core.is_some_and(|core| core.role() == common::rpc::replica::Role::Primary)
        })
    }

    fn submission(&self, n: usize, chance: &mut Chance) -> Act {
        let made = self.requests.iter().filter(|request| request.is_some()).count();
        let number = if made > 0 && (made == self.requests.len() || chance.one_in(self.plan.copies)) {
            // Copies come soon after, mostly.
            let back = if chance.one_in(3) { chance.below(made) } else { chance.below(made.min(4)) };
            made - 1 - back
        } else {
            made
        };
        let command = u8::try_from(chance.below(self.plan.commands)).unwrap_or(0);
        let facts = u8::try_from(chance.below(3)).unwrap_or(0);
        Act::Submit(self.asked(n, chance), u16::try_from(number).unwrap_or(0), command, facts)
    }

    fn time(&self, n: usize, chance: &mut Chance) -> u32 {
        match chance.below(16) {
            0..=5 => u32::try_from(chance.between(1, 20)).unwrap_or(1),
            6..=9 => {
                let node = &self.nodes[n];
                let wake = node.core.as_ref().map_or(node.now, |core| core.wake_at(node.now));
                u32::try_from(wake.since(node.now).as_millis()).unwrap_or(1).max(1)
            }
            10..=12 => 190,
            13 => 450,
            14 => 1_100,
            _ => chance.pick(&[2_500, 61_000]),
        }
    }

    /// Something arrives; on a slow way, seldom.
    fn delivery(&self, chance: &mut Chance) -> Option<Act> {
        let lane = self.lane(chance)?;
        let slow = self.plan.slow & (1 << Network::way(usize::from(lane.from), usize::from(lane.to))) != 0;
        (!slow || chance.one_in(SLOW)).then_some(Act::Deliver(lane))
    }

    fn lane(&self, chance: &mut Chance) -> Option<Lane> {
        let (from, to, len) = self.network.lane(chance.below((NODES_MAX + 1) * 2))?;
        let nth = if len > 1 && chance.one_in(self.plan.overtakes) { chance.below(len.min(255)) } else { 0 };
        let [from, to, nth] = [from, to, nth].map(|n| u8::try_from(n).unwrap_or(0));
        Some(Lane { from, to, nth })
    }
}

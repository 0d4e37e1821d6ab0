//! The things that can happen in a walk. A walk is a list of these: what is played back, shortened and told.

use std::fmt;

/// One thing that happens. Replicas and messages are named by their places, so that a story from which something was
/// removed still means nearly the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// What is on its way arrives.
    Deliver(Lane),
    /// It never does; who waits for an answer learns that there will be none.
    Lose(Lane),
    /// It arrives twice.
    Repeat(Lane),
    /// Who waits for it waits no more; it still travels.
    GiveUp(Lane),
    /// A batch reaches the disk.
    Write(u8),
    /// A batch does not: the disk fails, and the process ends.
    Fail(u8),
    /// What a replica has to do beside its core is done; `true`: it is given up.
    Work(u8, bool),
    /// Time passes for one replica, so many milliseconds.
    Pass(u8, u32),
    /// A process starts.
    Start(u8),
    /// A process dies; `true`: what was on its way to the disk has reached it.
    Crash(u8, bool),
    /// A process is asked to stop.
    Stop(u8),
    /// The first replica is told that the second one's socket refuses, dead or alive.
    Accuse(u8, u8),
    /// The first replica greets the second.
    Greet(u8, u8),
    /// The name server tells a replica which record stands.
    Watch(u8),
    /// A client sends a command: to whom, which request, with which command and facts.
    Submit(u8, u16, u8, u8),
    /// A client reads.
    Read(u8),
    /// A client reads and is content with an old answer.
    ReadStale(u8),
    /// A disk has no more room, or has again.
    Full(u8, bool),
    /// A wall clock jumps, so many minutes.
    Jump(u8, i16),
    /// A disk is replaced by an empty one.
    Wipe(u8),
    /// An operator gives the group to one replica.
    ForceElect(u8),
    /// The name server comes back with a record so many versions older.
    Regress(u8),
    /// An operator puts the newest record that any replica has in the place of an older one.
    Adopt,
}

/// Something on its way: from where, to where, and the how-manieth there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The sender's place.
    pub from: u8,
    /// The receiver's place.
    pub to: u8,
    /// Counted from the oldest.
    pub nth: u8,
}

/// A thing that happens, and whether the next one comes together with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub act: Act,
    /// The core takes in the next event before it settles.
    pub together: bool,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |n: u8| match usize::from(n) {
            super::network::AUTHORITY => "ns".to_owned(),
            n => format!("r{n}"),
        };
        write!(f, "{}>{}", place(self.from), place(self.to))?;
        if self.nth > 0 { write!(f, "+{}", self.nth) } else { Ok(()) }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(lane) => write!(f, "deliver {lane}"),
            Self::Lose(lane) => write!(f, "lose {lane}"),
            Self::Repeat(lane) => write!(f, "repeat {lane}"),
            Self::GiveUp(lane) => write!(f, "give up waiting for {lane}"),
            Self::Write(n) => write!(f, "r{n} has written"),
            Self::Fail(n) => write!(f, "r{n}'s disk fails"),
            Self::Work(n, false) => write!(f, "r{n} has worked"),
            Self::Work(n, true) => write!(f, "r{n} gives its work up"),
            Self::Pass(n, ms) => write!(f, "r{n} waits {ms} ms"),
            Self::Start(n) => write!(f, "r{n} starts"),
            Self::Crash(n, true) => write!(f, "r{n} dies after its write"),
            Self::Crash(n, false) => write!(f, "r{n} dies before its write"),
            Self::Stop(n) => write!(f, "r{n} is to stop"),
            Self::Accuse(n, other) => write!(f, "r{n} finds r{other} refusing"),
            Self::Greet(n, other) => write!(f, "r{n} greets r{other}"),
            Self::Watch(n) => write!(f, "r{n} is told which record stands"),
            Self::Submit(n, request, command, facts) => {
                write!(f, "submit request {request} to r{n}, command {command}, facts {facts}")
            }
            Self::Read(n) => write!(f, "read at r{n}"),
            Self::ReadStale(n) => write!(f, "stale read at r{n}"),
            Self::Full(n, true) => write!(f, "r{n}'s disk is full"),
            Self::Full(n, false) => write!(f, "r{n}'s disk has room"),
            Self::Jump(n, minutes) => write!(f, "r{n}'s wall clock jumps {minutes} min"),
            Self::Wipe(n) => write!(f, "r{n}'s disk is replaced"),
            Self::ForceElect(n) => write!(f, "an operator gives the group to r{n}"),
            Self::Regress(by) => write!(f, "the name server falls back {by} versions"),
            Self::Adopt => write!(f, "an operator adopts the newest record"),
        }
    }
}

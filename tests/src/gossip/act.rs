//! The things that can happen in a walk. A walk is a list of these: what is played back, shortened and told.

use std::fmt;

use replica::gossip::Status;

use super::network::NAME_SERVER;

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
    /// A batch reaches the disk.
    Write(u8),
    /// Time passes for one replica, so many milliseconds.
    Pass(u8, u32),
    /// A process starts.
    Start(u8),
    /// A process dies; `true`: what was on its way to the disk has reached it.
    Crash(u8, bool),
    /// The name server tells a replica who the members are.
    Watch(u8),
    /// A session sends a new update: to whom, which session.
    Submit(u8, u8),
    /// An update is sent again: to whom, which.
    Retry(u8, u16),
    /// A session asks: whom, which session.
    Query(u8, u8),
    /// A person sets a status.
    Set(u8, Status),
    /// A wall clock jumps, so many milliseconds.
    Jump(u8, i32),
    /// A replica is cut off from all, or heals.
    Cut(u8, bool),
    /// A disk is replaced by an empty one; `true`: the new one knows whom it replaces.
    Wipe(u8, bool),
    /// A disk is replaced by its own copy, so many copies ago.
    RollBack(u8, u8),
    /// A person asks a replica to move the identity at another place out.
    Remove(u8, u8),
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
            NAME_SERVER => "ns".to_owned(),
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
            Self::Write(n) => write!(f, "r{n} has written"),
            Self::Pass(n, ms) => write!(f, "r{n} waits {ms} ms"),
            Self::Start(n) => write!(f, "r{n} starts"),
            Self::Crash(n, true) => write!(f, "r{n} dies after its write"),
            Self::Crash(n, false) => write!(f, "r{n} dies before its write"),
            Self::Watch(n) => write!(f, "r{n} is told who the members are"),
            Self::Submit(n, session) => write!(f, "session {session} sends a new update to r{n}"),
            Self::Retry(n, update) => write!(f, "update {update} is sent again, to r{n}"),
            Self::Query(n, session) => write!(f, "session {session} asks r{n}"),
            Self::Set(n, status) => write!(f, "a person sets r{n} {status:?}"),
            Self::Jump(n, ms) => write!(f, "r{n}'s wall clock jumps {ms} ms"),
            Self::Cut(n, true) => write!(f, "r{n} is cut off"),
            Self::Cut(n, false) => write!(f, "r{n} is reachable again"),
            Self::Wipe(n, true) => write!(f, "r{n}'s disk is replaced, which is known"),
            Self::Wipe(n, false) => write!(f, "r{n}'s disk is replaced"),
            Self::RollBack(n, back) => write!(f, "r{n}'s disk is its own copy number {back}"),
            Self::Remove(n, other) => write!(f, "a person asks r{n} to move r{other} out"),
        }
    }
}

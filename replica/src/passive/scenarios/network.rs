//! What becomes of what one end sends to another: it passes, is lost, or is held until the story lets it go.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A replica's process, or the name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Host(u8),
    NameServer,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(number) => write!(f, "r{number}"),
            Self::NameServer => f.write_str("ns"),
        }
    }
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "ns" {
            return Ok(Self::NameServer);
        }
        let number = text.strip_prefix('r').and_then(|number| number.parse().ok());
        number.filter(|number| (1..=7).contains(number)).map(Self::Host).ok_or(format!("{text:?} is nobody"))
    }
}

/// A way, and which messages on it: those told with this word first, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) word: Option<String>,
}

impl Lane {
    fn takes(&self, from: End, to: End, what: &str) -> bool {
        let word = what.split_whitespace().next();
        self.from == from && self.to == to && self.word.as_deref().is_none_or(|own| Some(own) == word)
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Passes,
    Lost,
    Held,
}

impl Passage {
    /// As it is told.
    pub(super) fn note(self) -> &'static str {
        match self {
            Self::Passes => "",
            Self::Lost => " (lost)",
            Self::Held => " (held)",
        }
    }
}

/// The ways between all ends, and what is held on them.
pub(super) struct Network<T> {
    cut: BTreeSet<(End, End)>,
    holds: Vec<Lane>,
    held: Vec<(End, End, String, T)>,
}

impl<T> Default for Network<T> {
    fn default() -> Self {
        Self { cut: BTreeSet::new(), holds: Vec::new(), held: Vec::new() }
    }
}

impl<T> Network<T> {
    /// What becomes of a message told as `what`.
    pub(super) fn passage(&self, from: End, to: End, what: &str) -> Passage {
        match () {
            () if self.cut.contains(&(from, to)) => Passage::Lost,
            () if self.holds.iter().any(|lane| lane.takes(from, to, what)) => Passage::Held,
            () => Passage::Passes,
        }
    }

    /// Whether what is sent goes both ways.
    pub(super) fn joins(&self, one: End, other: End) -> bool {
        !self.cut.contains(&(one, other)) && !self.cut.contains(&(other, one))
    }

    pub(super) fn cut(&mut self, from: End, to: End) {
        self.cut.insert((from, to));
    }

    /// Whether it was cut.
    pub(super) fn heal(&mut self, from: End, to: End) -> bool {
        self.cut.remove(&(from, to))
    }

    pub(super) fn hold(&mut self, lane: Lane) {
        self.holds.push(lane);
    }

    /// Holds no more of these; what is held already stays.
    pub(super) fn let_pass(&mut self, lane: &Lane) {
        self.holds.retain(|held| held != lane);
    }

    pub(super) fn keep(&mut self, from: End, to: End, what: String, thing: T) {
        self.held.push((from, to, what, thing));
    }

    /// What was held of these, in order.
    pub(super) fn take(&mut self, lane: &Lane) -> Vec<T> {
        let taken = self.held.extract_if(.., |(from, to, what, _)| lane.takes(*from, *to, what));
        taken.map(|(.., thing)| thing).collect()
    }
}

impl<T: Clone> Network<T> {
    /// A copy of what is held of these, which stays held.
    pub(super) fn copy(&self, lane: &Lane) -> Vec<T> {
        let held = self.held.iter().filter(|(from, to, what, _)| lane.takes(*from, *to, what));
        held.map(|(.., thing)| thing.clone()).collect()
    }
}

//! When a film came out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The year in which a film came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Year(u16);

impl Year {
    /// Before the first moving picture.
    pub const MIN: u16 = 1870;
    /// After the last one that anybody has announced.
    pub const MAX: u16 = 2100;

    /// This year, if films can be of it.
    pub fn new(year: u16) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&year).then_some(Self(year))
    }
}

/// A number that is no year of a film.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a year from {} to {}, please", Year::MIN, Year::MAX)]
pub struct BadYear;

impl TryFrom<u16> for Year {
    type Error = BadYear;

    fn try_from(year: u16) -> Result<Self, BadYear> {
        Self::new(year).ok_or(BadYear)
    }
}

impl From<Year> for u16 {
    fn from(year: Year) -> Self {
        year.0
    }
}

impl fmt::Display for Year {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

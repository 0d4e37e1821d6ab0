//! Which film.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::refusal::{Field, Refusal, Why};
use crate::services::matching::key;
use crate::services::text::BadText;

/// A film's key among the movies: its folded title, and its year where that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FilmKey {
    title: Arc<str>,
    year: Option<u16>,
}

impl FilmKey {
    /// A title has 200 characters, of which folding makes a few more.
    pub const TITLE_BYTES_MAX: usize = 1_000;

    /// The key of a film of this title.
    pub fn new(title: &str, year: Option<u16>) -> Self {
        Self { title: key(title).into(), year }
    }

    /// The folded title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The year, where it is known.
    pub const fn year(&self) -> Option<u16> {
        self.year
    }

    /// What came over the wire is a key if it is one that folding makes.
    pub(super) fn checked(self) -> Result<Self, Refusal> {
        let why = match () {
            () if self.title.is_empty() => Why::Text(BadText::Blank),
            () if self.title.len() > Self::TITLE_BYTES_MAX => Why::Text(BadText::TooLong { max: 200 }),
            () if key(&self.title) != *self.title => Why::Folded,
            () => return Ok(self),
        };
        Err(Refusal::Invalid { field: Field::Film, why })
    }
}

impl fmt::Display for FilmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.year {
            Some(year) => write!(f, "{} ({year})", self.title),
            None => f.write_str(&self.title),
        }
    }
}

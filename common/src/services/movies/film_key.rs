//! Which film.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::year::Year;
use crate::services::matching;

/// A film's title as it is compared, and its year. It never changes: ratings hang on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FilmKey {
    title: Arc<str>,
    year: Option<Year>,
}

impl FilmKey {
    /// The key of the film with this title, as [`Title::read`](super::Title::read) gives it, and this year.
    pub fn of(title: &str, year: Option<Year>) -> Self {
        Self { title: matching::key(title).into(), year }
    }

    /// The least key that can begin with this folded title.
    pub(super) fn first(title: &str) -> Self {
        Self { title: title.into(), year: None }
    }

    /// The title, folded.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The year, if it is known.
    pub const fn year(&self) -> Option<Year> {
        self.year
    }
}

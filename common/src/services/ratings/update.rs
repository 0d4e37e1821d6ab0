//! What changes the ratings, and what comes of it.

use serde::{Deserialize, Serialize};

use super::film::FilmKey;
use super::rating::Rating;
use super::refusal::Refusal;
use crate::replication::RequestId;
use crate::services::Outcome;

/// Everything that changes the value. Its stamp is the update's own id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Update {
    /// Rates a film.
    Rate {
        /// Which.
        film: FilmKey,
        /// Who.
        user: String,
        /// How much.
        rating: Rating,
    },
    /// Takes a rating back.
    Delete {
        /// Of which film.
        film: FilmKey,
        /// Whose.
        user: String,
    },
    /// Rates a film for many, as each would.
    RateMany {
        /// Which.
        film: FilmKey,
        /// Who, and how much: 64 at most.
        rows: Vec<(String, Rating)>,
    },
}

/// What the service remembers of an update.
pub type Reply = Outcome<Done, Refusal>;

/// What an update did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// The rating stands.
    Rated {
        /// As it is stored.
        rating: Rating,
        /// The one before, where this was run.
        previous: Option<Rating>,
    },
    /// The rating is gone.
    Deleted {
        /// What it was.
        previous: Rating,
    },
    /// These ratings stand.
    RatedMany {
        /// How many of the rows.
        count: u32,
    },
    /// Nothing: a later write of the same rating is known.
    Superseded {
        /// Which.
        by: RequestId,
    },
}

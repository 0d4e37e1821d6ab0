//! What asks about the ratings, and what they say.

use serde::{Deserialize, Serialize};

use super::film::FilmKey;
use super::rating::{BUCKETS, Mean, Rating};
use super::refusal::Refusal;
use crate::replication::RequestId;

/// Everything that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// One rating.
    View {
        /// Of which film.
        film: FilmKey,
        /// Whose.
        user: String,
    },
    /// The mean of a film's ratings.
    Average {
        /// Which film.
        film: FilmKey,
    },
    /// How a film's ratings are spread.
    Histogram {
        /// Which film.
        film: FilmKey,
    },
    /// Which of these users have rated a film.
    RatedBy {
        /// Which film.
        film: FilmKey,
        /// 500 at most.
        users: Vec<String>,
    },
    /// A user's ratings, by film.
    Mine {
        /// Whose.
        user: String,
        /// The last film already seen.
        after: Option<FilmKey>,
        /// At most so many; 0 and anything above [`PAGE_ENTRIES_MAX`] mean that bound.
        limit: u32,
    },
}

/// The most entries of a page, and users of one [`Query::RatedBy`].
pub const PAGE_ENTRIES_MAX: usize = 500;

/// What a query says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Query::View`].
    View {
        /// How much.
        rating: Rating,
        /// By which update.
        stamp: RequestId,
    },
    /// To [`Query::Average`].
    Average {
        /// `None`: nobody has rated it.
        mean: Option<Mean>,
    },
    /// To [`Query::Histogram`].
    Histogram {
        /// `None`: nobody has rated it.
        mean: Option<Mean>,
        /// How many ratings near 0.0, 0.5, and so on to 5.0.
        buckets: [u64; BUCKETS],
    },
    /// To [`Query::RatedBy`]: for each user in turn.
    RatedBy(Vec<bool>),
    /// To [`Query::Mine`].
    Mine {
        /// In the order of films.
        ratings: Vec<(FilmKey, Rating)>,
        /// Whether the list goes on.
        more: bool,
    },
    /// There is nothing to say, and why.
    Refused(Refusal),
}

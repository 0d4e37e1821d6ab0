//! What asks about the state of `movies`, and what it says.

use serde::{Deserialize, Serialize};

use super::film_key::FilmKey;
use super::movie::{Movie, Part};
use super::refusal::Refusal;
use super::year::Year;
use crate::services::matching::Class;

pub use crate::services::page::Page;

/// Everything that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The one film that is meant.
    Find {
        /// A title, or what is known of it; may hold the year, in brackets.
        text: String,
        /// Its year; goes before the one in the text.
        year: Option<u16>,
        /// What it is wanted for.
        how: How,
        /// Where to look.
        places: Places,
    },
    /// The films that fit, best first.
    Search {
        /// As above.
        text: String,
        /// At most so many; 0 and anything above [`HITS_MAX`](super::bounds::HITS_MAX) mean that bound.
        limit: u32,
    },
    /// All films by key.
    List {
        /// Only those whose title begins so; may be empty.
        prefix: String,
        /// The last key already seen.
        after: Option<FilmKey>,
        /// At most so many; 0 and anything above a page's bound mean that bound.
        limit: u32,
    },
    /// Which of these films are there, and what of them is empty.
    Have {
        /// At most [`KEYS_MAX`](super::bounds::KEYS_MAX).
        keys: Vec<FilmKey>,
    },
}

/// What a film is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// To be read: the beginning of a title will do when it is one film's.
    Reading,
    /// To be changed or rated: nobody changes a film that they did not name.
    Naming,
}

/// Where to look for a film.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Places {
    /// Here.
    Here,
    /// Here, and then at OMDb.
    OmdbToo,
}

impl How {
    /// Whether a film that fits so is the one.
    pub fn accepts(self, class: Class) -> bool {
        match self {
            Self::Reading => class >= Class::Start,
            Self::Naming => class >= Class::Alias,
        }
    }
}

/// What a query says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Query::Find`].
    Found(Box<Found>),
    /// To [`Query::Search`]; as many as a page may hold.
    Hits(Page<Hit>),
    /// To [`Query::List`].
    List(Page<Movie>),
    /// To [`Query::Have`], in its order; `None`: not there.
    Have(Vec<Option<Held>>),
    /// There is nothing to say, and why.
    Refused(Refusal),
}

/// The film that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// It.
    pub movie: Movie,
    /// How well it fits.
    pub class: Class,
    /// Others that fit less, best first.
    pub near: Vec<Near>,
    /// What OMDb had to do with it; told by the front end.
    pub omdb: Omdb,
    /// Whether it is stored here.
    pub stored: bool,
}

/// What OMDb had to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Omdb {
    /// All was known here.
    NotNeeded,
    /// It was asked, and knew.
    Asked,
    /// It could not be asked, for nobody gave the front end a key to it.
    NoKey,
    /// It did not answer.
    Unavailable,
    /// It does not know the film either.
    Absent,
}

impl Omdb {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotNeeded => "not_needed",
            Self::Asked => "asked",
            Self::NoKey => "no_key",
            Self::Unavailable => "unavailable",
            Self::Absent => "absent",
        }
    }
}

/// A film that fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// It.
    pub movie: Movie,
    /// How well.
    pub class: Class,
}

/// The name of a film that fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Near {
    /// Its title.
    pub title: String,
    /// Its year.
    pub year: Option<Year>,
    /// How well.
    pub class: Class,
}

/// What is known of a film that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Nothing of these.
    pub lacks: Vec<Part>,
}

impl Held {
    /// Whether there is a url and a description.
    pub fn is_complete(&self) -> bool {
        !self.lacks.contains(&Part::Url) && !self.lacks.contains(&Part::Description)
    }
}

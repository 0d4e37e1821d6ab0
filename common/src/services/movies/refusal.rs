//! Why `movies` refuses.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::query::Near;
use super::year::Year;
use crate::services::text::BadText;
use crate::services::{REPLY_BYTES_MAX, encode};

/// Why a command or query was refused: codes, keys and numbers, of which the sentence is made when it is shown.
/// `Display` is that sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// An argument breaks a rule.
    #[error("{}: {why}", Place(*.field, *.at))]
    Invalid {
        /// Which argument.
        field: Field,
        /// Of which of several films, from 1.
        at: Option<u32>,
        /// What was wrong with it, and what would be right.
        why: Why,
    },
    /// The film is there, or one that may be it.
    #[error("That movie already exists in the database: {title} ({}).", InWords(*.year))]
    MovieExists {
        /// Its title; cut, when it is very long.
        title: String,
        /// Its year.
        year: Option<Year>,
    },
    /// No film is meant.
    #[error("That movie was not found in the database.")]
    MovieUnknown {
        /// Films that fit less, best first.
        near: Vec<Near>,
    },
    /// Several films are meant.
    #[error("{count} movies are called ‘{title}’: {}.", Named(.candidates, *.count))]
    MovieAmbiguous {
        /// What was asked for; cut, when it is very long.
        title: String,
        /// How many.
        count: u32,
        /// The first of them, newest first.
        candidates: Vec<Near>,
    },
    /// No film here is meant, and whether there is one nobody could say.
    #[error("‘{title}’ is not in the database, and OMDb could not be asked ({why}).")]
    MovieUnchecked {
        /// What was asked for.
        title: String,
        /// Why not.
        why: Unasked,
        /// Films here that fit less, best first.
        near: Vec<Near>,
    },
    /// A bound of the service is reached.
    #[error("The database of movies is full ({limit}).")]
    Full {
        /// The bound.
        limit: u64,
    },
    /// Not a command or query of this service.
    #[error("The service did not understand the request.")]
    Malformed,
}

/// An argument that can break a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// What a film is called.
    Title,
    /// When it came out.
    Year,
    /// What else it is called.
    Alias,
    /// Where to read of it.
    Url,
    /// What it is about.
    Description,
    /// The list of its genres.
    Genres,
    /// One of them.
    Genre,
    /// The list of films.
    Movies,
    /// The list of keys.
    Keys,
}

/// What is wrong with an argument, and what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Why {
    /// It is no text to keep.
    #[error(transparent)]
    Text(BadText),
    /// A number outside its bounds.
    #[error("a number from {min} to {max}, please.")]
    Number {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
    },
    /// A list of another length.
    #[error("from {min} to {max} of them, please.")]
    Count {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
    },
    /// Not where a browser could go.
    #[error("an address that begins with http:// or https:// and holds no blanks, please.")]
    Url,
}

/// Why OMDb could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unasked {
    /// Nobody gave the front end a key to it.
    #[error("the front end has no key")]
    NoKey,
    /// It did not answer.
    #[error("it did not answer")]
    Unavailable,
}

impl Refusal {
    /// The stable code; never renamed.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::MovieExists { .. } => "movie_exists",
            Self::MovieUnknown { .. } => "movie_unknown",
            Self::MovieAmbiguous { .. } => "movie_ambiguous",
            Self::MovieUnchecked { .. } => "movie_unchecked",
            Self::Full { .. } => "full",
            Self::Malformed => "malformed",
        }
    }

    /// What a program that was refused exits with.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::Invalid { .. } => 2,
            Self::MovieUnknown { .. } | Self::MovieAmbiguous { .. } => 3,
            Self::MovieExists { .. } | Self::Full { .. } => 4,
            Self::MovieUnchecked { .. } => 5,
        }
    }

    /// The sentence that a person reads.
    pub fn sentence(&self) -> String {
        self.to_string()
    }

    /// It with as much of its titles and candidates as a remembered reply can hold.
    pub(super) fn short(mut self) -> Self {
        /// Three of them fit.
        const TITLE_BYTES_MAX: usize = 72;
        /// What is left beside the title, tags and numbers.
        const CANDIDATES_BYTES_MAX: usize = REPLY_BYTES_MAX - TITLE_BYTES_MAX - 16;
        match &mut self {
            Self::MovieExists { title, .. } => cut(title, TITLE_BYTES_MAX),
            Self::MovieAmbiguous { title, candidates, .. } => {
                cut(title, TITLE_BYTES_MAX);
                for candidate in candidates.iter_mut() {
                    cut(&mut candidate.title, TITLE_BYTES_MAX);
                }
                while encode(candidates).len() > CANDIDATES_BYTES_MAX {
                    candidates.pop();
                }
            }
            _ => {}
        }
        self
    }
}

/// Shortens a text to that many bytes, and shows that it did.
fn cut(text: &mut String, bytes: usize) {
    const MARK: char = '…';
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes - MARK.len_utf8()));
        text.push(MARK);
    }
}

impl Field {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Year => "year",
            Self::Alias => "alias",
            Self::Url => "url",
            Self::Description => "description",
            Self::Genres => "genres",
            Self::Genre => "genre",
            Self::Movies => "movies",
            Self::Keys => "keys",
        }
    }
}

struct Place(Field, Option<u32>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())?;
        self.1.map_or(Ok(()), |at| write!(f, " of number {at}"))
    }
}

struct InWords(Option<Year>);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(year) => year.fmt(f),
            None => f.write_str("no year"),
        }
    }
}

/// Years, when they tell the films apart, else titles too.
struct Named<'a>(&'a [Near], u32);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(named, count) = *self;
        let alike = named.windows(2).all(|two| two[0].title == two[1].title);
        for (at, film) in named.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            if alike {
                write!(f, "{}", InWords(film.year))?;
            } else {
                write!(f, "{} ({})", film.title, InWords(film.year))?;
            }
        }
        match (count as usize).saturating_sub(named.len()) {
            0 => Ok(()),
            more if named.is_empty() => write!(f, "{more} of them"),
            more => write!(f, " and {more} more"),
        }
    }
}

//! What is known of a film.

use std::mem;

use serde::{Deserialize, Serialize};

use super::command::NewMovie;
use super::film_key::FilmKey;
use super::imdb_id::ImdbId;
use super::year::Year;

/// A film, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movie {
    /// "The Matrix"; never changes.
    pub title: String,
    /// Never changes.
    pub year: Option<Year>,
    /// What else it is called.
    pub aliases: Vec<String>,
    /// Where to read of it; may be empty.
    pub url: String,
    /// What it is about; may be empty.
    pub description: String,
    /// In the order they were given.
    pub genres: Vec<String>,
    /// Its number at IMDb, if that is known.
    pub imdb: Option<ImdbId>,
    /// Who told.
    pub source: Source,
}

/// Who told of a film.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// People here.
    Local,
    /// OMDb.
    Omdb,
    /// Both of them.
    Both,
}

/// A part of what is known of a film, that may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// [`Movie::aliases`].
    Aliases,
    /// [`Movie::url`].
    Url,
    /// [`Movie::description`].
    Description,
    /// [`Movie::genres`].
    Genres,
    /// [`Movie::imdb`].
    Imdb,
}

impl Part {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Aliases, Self::Url, Self::Description, Self::Genres, Self::Imdb];
}

impl Movie {
    /// Its key.
    pub fn key(&self) -> FilmKey {
        FilmKey::of(&self.title, self.year)
    }

    /// Whether nothing is known of this part.
    pub const fn lacks(&self, part: Part) -> bool {
        match part {
            Part::Aliases => self.aliases.is_empty(),
            Part::Url => self.url.is_empty(),
            Part::Description => self.description.is_empty(),
            Part::Genres => self.genres.is_empty(),
            Part::Imdb => self.imdb.is_none(),
        }
    }

    /// Whether there is a url and a description.
    pub const fn is_complete(&self) -> bool {
        !self.lacks(Part::Url) && !self.lacks(Part::Description)
    }

    /// Takes what it lacks from another record of the same film, and nothing else; whether that was anything.
    pub fn fill(&mut self, mut other: Self) -> bool {
        let mut gained = false;
        for part in Part::ALL {
            if self.lacks(part) && !other.lacks(part) {
                gained = true;
                match part {
                    Part::Aliases => self.aliases = mem::take(&mut other.aliases),
                    Part::Url => self.url = mem::take(&mut other.url),
                    Part::Description => self.description = mem::take(&mut other.description),
                    Part::Genres => self.genres = mem::take(&mut other.genres),
                    Part::Imdb => self.imdb = other.imdb,
                }
            }
        }
        if gained {
            self.source = self.source.and(other.source);
        }
        gained
    }
}

impl Source {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Omdb => "omdb",
            Self::Both => "both",
        }
    }

    /// Who told, when this one told, too.
    pub(super) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

impl From<Movie> for NewMovie {
    fn from(movie: Movie) -> Self {
        let Movie { title, year, aliases, url, description, genres, imdb, source: _ } = movie;
        Self { title, year: year.map(u16::from), aliases, url, description, genres, imdb }
    }
}

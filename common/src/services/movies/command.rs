//! What changes the state of `movies`, and what comes of it.

use serde::{Deserialize, Serialize};

use super::imdb_id::ImdbId;
use super::refusal::Refusal;
use super::year::Year;
use crate::services::Outcome;

/// Everything that changes the state. Texts are as a person or a list wrote them, in NFC; titles are taken apart by
/// [`Title::read`](super::Title::read).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds a film that is not there.
    Add {
        /// It.
        movie: NewMovie,
    },
    /// Changes the one film that is named so, or else adds it. Absent fields stay.
    Edit {
        /// Its title, or one that names it as well: without the article, or an alias.
        title: String,
        /// Its year; absent: whichever it is.
        year: Option<u16>,
        /// Where to read of it.
        url: Option<String>,
        /// What it is about.
        description: Option<String>,
        /// Instead of those it has.
        genres: Option<Vec<String>>,
    },
    /// Adds what OMDb tells of a film, or fills with it what is empty; never overwrites, so any number of repeats is
    /// one. Only from a front end's door: [`Facts::sender`].
    Fill {
        /// Title and year of the film here that is to be filled, or else of the new one.
        record: NewMovie,
    },
    /// Adds those films that are not there, and fills what is empty of the others: all, or none when one breaks a
    /// rule.
    AddMany {
        /// At most [`BATCH_MAX`](super::bounds::BATCH_MAX).
        movies: Vec<NewMovie>,
    },
}

/// A film that may be new.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMovie {
    /// What it is called; may hold the year and other names, in brackets.
    pub title: String,
    /// Its year; goes before the one in the title.
    pub year: Option<u16>,
    /// What else it is called, beside what the title tells. Beyond a bound the last are left out.
    pub aliases: Vec<String>,
    /// Where to read of it; may be empty.
    pub url: String,
    /// What it is about; may be empty.
    pub description: String,
    /// Of what kind it is; may be empty. One given twice counts once.
    pub genres: Vec<String>,
    /// Its number at IMDb.
    pub imdb: Option<ImdbId>,
}

/// What a front end puts beside a command. No client can send it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Whose command it is.
    pub sender: Sender,
}

/// Whose command it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sender {
    /// A client's, which says what it likes.
    #[default]
    Client,
    /// The front end's own, which has asked OMDb.
    Door,
}

/// What the service remembers of a command.
pub type Reply = Outcome<Done, Refusal>;

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// The film is new.
    Added {
        /// Its year: with the title that was sent, it names the film.
        year: Option<Year>,
    },
    /// The film is changed.
    Updated {
        /// Its year, as above.
        year: Option<Year>,
    },
    /// OMDb's record is taken.
    Filled(Filled),
    /// The films are there.
    Many {
        /// So many are new.
        added: u32,
        /// So many were there, and are known better.
        completed: u32,
        /// So many were there, and are as they were.
        unchanged: u32,
    },
}

/// What a record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filled {
    /// The film is new.
    Added,
    /// The film was there, and is known better.
    Completed,
    /// The film was there, and is as it was.
    Unchanged,
}

//! Movie information, for any Rust program: one method per thing a person can do.
//!
//! ```no_run
//! # async fn find() -> Result<(), Box<dyn std::error::Error>> {
//! use client::movies::{How, Movies, Places};
//!
//! let names = common::directory::Names::from_env()?;
//! let found = Movies::new(&names).find("matrix", None, How::Reading, Places::OmdbToo).await?;
//! println!("{} is told of at {}", found.movie.title, found.movie.url);
//! # Ok(())
//! # }
//! ```

pub(crate) mod commands;
mod shown;

use common::directory::Names;
use common::replication::RequestId;
use common::services::movies::command::{Done, NewMovie, Reply};
use common::services::movies::query::{Answer, Found, Held, Hit, Near};
use common::services::movies::{Command, FilmKey, Movie, NAME, Query, Refusal, Year};
use common::services::{Outcome, decode, encode};
use serde_json::{Value, json};

pub use common::services::movies::query::{How, Places};

use crate::errors::{Code, Failure, not_understood};
use crate::service::{Service, nfc, whole};

/// The database of films.
#[derive(Debug)]
pub struct Movies {
    service: Service,
}

/// What is to change of a film; absent parts stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Where to read of it.
    pub url: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// Instead of those it has.
    pub genres: Option<Vec<String>>,
}

/// What became of a film that was added or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is new.
    Added,
    /// It was there, and is changed.
    Updated,
}

/// What became of many films.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Many {
    /// So many are new.
    pub added: u32,
    /// So many were there, and are known better.
    pub completed: u32,
    /// So many were there, and are as they were.
    pub unchanged: u32,
}

/// As many as a page may have.
const WHOLE_PAGE: u32 = 0;

impl Movies {
    /// The database that these name servers know, with ordinary patience.
    pub fn new(names: &Names) -> Self {
        Self::over(Service::new(names, NAME))
    }

    /// The database behind this service handle, with its patience.
    pub fn over(service: Service) -> Self {
        Self { service }
    }

    /// The id that the last command ran under: sent again with it, it is not carried out again.
    pub fn last_id(&self) -> Option<RequestId> {
        self.service.last_id()
    }

    /// The one film that is meant; a year given goes before one in `text`.
    pub async fn find(
        &self,
        text: &str,
        year: Option<u16>,
        how: How,
        places: Places,
    ) -> Result<Found, Failure> {
        match self.ask(&Query::Find { text: nfc(text), year, how, places }).await? {
            Answer::Found(found) => Ok(*found),
            _ => Err(not_understood()),
        }
    }

    /// The films that fit, best first; at most `limit` of them, and no more than the service shows.
    pub async fn search(&self, text: &str, limit: u32) -> Result<Vec<Hit>, Failure> {
        match self.ask(&Query::Search { text: nfc(text), limit }).await? {
            Answer::Hits(hits) => Ok(hits.entries),
            _ => Err(not_understood()),
        }
    }

    /// The films whose titles begin so, those past `after`, by title; at most `limit` of them.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<FilmKey>,
        limit: Option<u32>,
    ) -> Result<Vec<Movie>, Failure> {
        let page = async |after| match self
            .ask(&Query::List { prefix: nfc(prefix), after, limit: WHOLE_PAGE })
            .await?
        {
            Answer::List(page) => Ok(page),
            _ => Err(not_understood()),
        };
        whole(page, |movie| Some(movie.key()), after, limit).await
    }

    /// Which of these films are there, and what they lack, in this order.
    pub async fn have(&self, keys: Vec<FilmKey>) -> Result<Vec<Option<Held>>, Failure> {
        let count = keys.len();
        match self.ask(&Query::Have { keys }).await? {
            Answer::Have(held) if held.len() == count => Ok(held),
            _ => Err(not_understood()),
        }
    }

    /// Adds a film that is not there; gives its year.
    pub async fn add(&self, movie: NewMovie) -> Result<Option<Year>, Failure> {
        match self.run(&Command::Add { movie: composed(movie) }).await? {
            Done::Added { year } => Ok(year),
            _ => Err(not_understood()),
        }
    }

    /// Changes the one film that is named so, or else adds it; gives its year.
    pub async fn edit(
        &self,
        title: &str,
        year: Option<u16>,
        changes: Changes,
    ) -> Result<(Written, Option<Year>), Failure> {
        let Changes { url, description, genres } = changes;
        let command = Command::Edit {
            title: nfc(title),
            year,
            url,
            description: description.map(|text| nfc(&text)),
            genres: genres.map(|genres| genres.iter().map(|genre| nfc(genre)).collect()),
        };
        match self.run(&command).await? {
            Done::Added { year } => Ok((Written::Added, year)),
            Done::Updated { year } => Ok((Written::Updated, year)),
            _ => Err(not_understood()),
        }
    }

    /// Adds those films that are not there, and fills what is empty of the others.
    pub async fn add_many(&self, movies: Vec<NewMovie>) -> Result<Many, Failure> {
        let movies = movies.into_iter().map(composed).collect();
        match self.run(&Command::AddMany { movies }).await? {
            Done::Many { added, completed, unchanged } => Ok(Many { added, completed, unchanged }),
            _ => Err(not_understood()),
        }
    }

    async fn run(&self, command: &Command) -> Result<Done, Failure> {
        let (id, reply) = self.service.execute(encode(command)).await.map_err(of_movies)?;
        match decode::<Reply>(&reply) {
            Ok(Outcome::Done(done)) => Ok(done),
            Ok(Outcome::Refused(refusal)) => Err(of_refusal(&refusal).request(id)),
            Err(_) => Err(not_understood().request(id)),
        }
    }

    async fn ask(&self, query: &Query) -> Result<Answer, Failure> {
        match decode::<Answer>(&self.service.query(encode(query)).await.map_err(of_movies)?) {
            Ok(Answer::Refused(refusal)) => Err(of_refusal(&refusal)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(not_understood()),
        }
    }
}

fn composed(movie: NewMovie) -> NewMovie {
    let all = |texts: Vec<String>| texts.iter().map(|text| nfc(text)).collect();
    NewMovie {
        title: nfc(&movie.title),
        aliases: all(movie.aliases),
        description: nfc(&movie.description),
        genres: all(movie.genres),
        ..movie
    }
}

/// The failure that a refusal is.
fn of_refusal(refusal: &Refusal) -> Failure {
    let failure = Failure::new(Code::named(refusal.code()), refusal.sentence());
    match refusal {
        Refusal::Invalid { field, .. } => failure.field("field", field.as_str()),
        Refusal::MovieExists { title, year } => failure
            .hint("client movie edit TITLE")
            .field("title", title.as_str())
            .field("year", number(*year)),
        Refusal::MovieUnknown { near } => offering(failure, near),
        Refusal::MovieAmbiguous { title, count, candidates } => failure
            .hint("the same with --year YEAR")
            .field("title", title.as_str())
            .field("count", *count)
            .field("candidates", names(candidates)),
        Refusal::MovieUnchecked { title, near, .. } => offering(failure, near).field("title", title.as_str()),
        Refusal::Full { limit } => failure.field("what", "movies").field("limit", *limit),
        Refusal::Malformed => failure.hint("a client of the servers' version"),
    }
}

/// Other films, instead of the one that is not there.
fn offering(failure: Failure, near: &[Near]) -> Failure {
    let failure = match near.first() {
        Some(film) => failure.hint(shown::find_words(&film.title, film.year)),
        None => failure.hint("client movie add TITLE --year YEAR"),
    };
    failure.field("near", names(near))
}

fn names(films: &[Near]) -> Value {
    films.iter().map(|film| json!({"title": film.title, "year": number(film.year)})).collect()
}

fn number(year: Option<Year>) -> Option<u16> {
    year.map(u16::from)
}

/// The same failure, of this service and not of the shop.
fn of_movies(mut failure: Failure) -> Failure {
    if failure.code == Code::NoPrimary {
        failure.message = "The movie database is not available right now.".into();
    }
    failure
}

#[cfg(test)]
mod tests;

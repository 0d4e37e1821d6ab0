//! Film ratings, for any Rust program: one method per thing a person can do.
//!
//! A handle remembers what its user has seen, so that they see their own ratings and never go back in time, whichever
//! replica answers. [`Ratings::session`] is that memory; who keeps it, and begins with it the next time, goes on where
//! they were.

use common::directory::Names;
use common::replication::{RequestId, Session};
use common::services::ratings::rating::{BUCKETS, Mean};
use common::services::ratings::{Answer, Done, FilmKey, NAME, Query, Rating, Refusal, Reply, Update};
use common::services::{Outcome, decode, encode};

use crate::errors::{self, Code, Failure};
use crate::service::{Service, nfc};

/// The ratings.
#[derive(Debug)]
pub struct Ratings {
    service: Service,
}

/// What came of a rating, or of taking one back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It stands, and this was the one before.
    Stands(Option<Rating>),
    /// A later one of the same user and film stands instead.
    Superseded(RequestId),
}

impl Ratings {
    /// The ratings that these name servers know.
    pub fn new(names: &Names) -> Self {
        Self::over(Service::new(names, NAME))
    }

    /// Over a service of one's own making.
    pub fn over(service: Service) -> Self {
        Self { service }
    }

    /// What the user has seen so far.
    pub fn session(&self) -> Session {
        self.service.session()
    }

    /// Goes on from what the user has seen before.
    pub fn go_on_from(&self, seen: &Session) {
        self.service.go_on_from(seen);
    }

    /// Rates a film.
    ///
    /// # Errors
    /// When it was refused, or not acknowledged.
    pub async fn rate(&self, film: FilmKey, user: &str, rating: Rating) -> Result<Written, Failure> {
        match self.run(&Update::Rate { film, user: nfc(user), rating }).await? {
            Done::Rated { previous, .. } => Ok(Written::Stands(previous)),
            Done::Superseded { by } => Ok(Written::Superseded(by)),
            _ => Err(errors::not_understood()),
        }
    }

    /// Takes a rating back.
    ///
    /// # Errors
    /// As [`Self::rate`]; `not_rated` when there was none.
    pub async fn delete(&self, film: FilmKey, user: &str) -> Result<Written, Failure> {
        match self.run(&Update::Delete { film, user: nfc(user) }).await? {
            Done::Deleted { previous } => Ok(Written::Stands(Some(previous))),
            Done::Superseded { by } => Ok(Written::Superseded(by)),
            _ => Err(errors::not_understood()),
        }
    }

    /// Rates a film for many, and tells for how many.
    ///
    /// # Errors
    /// As [`Self::rate`].
    pub async fn rate_many(&self, film: FilmKey, rows: Vec<(String, Rating)>) -> Result<u32, Failure> {
        match self.run(&Update::RateMany { film, rows }).await? {
            Done::RatedMany { count } => Ok(count),
            _ => Err(errors::not_understood()),
        }
    }

    /// A user's rating of a film.
    ///
    /// # Errors
    /// `not_rated`, or when no answer came.
    pub async fn view(&self, film: FilmKey, user: &str) -> Result<Rating, Failure> {
        match self.ask(&Query::View { film, user: nfc(user) }).await? {
            Answer::View { rating, .. } => Ok(rating),
            _ => Err(errors::not_understood()),
        }
    }

    /// The mean of a film's ratings; `None` when there are none.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn average(&self, film: FilmKey) -> Result<Option<Mean>, Failure> {
        match self.ask(&Query::Average { film }).await? {
            Answer::Average { mean } => Ok(mean),
            _ => Err(errors::not_understood()),
        }
    }

    /// The mean, and how many ratings there are near 0.0, 0.5, and so on to 5.0.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn histogram(&self, film: FilmKey) -> Result<(Option<Mean>, [u64; BUCKETS]), Failure> {
        match self.ask(&Query::Histogram { film }).await? {
            Answer::Histogram { mean, buckets } => Ok((mean, buckets)),
            _ => Err(errors::not_understood()),
        }
    }

    /// Which of these users, 500 at most, have rated a film.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn rated_by(&self, film: FilmKey, users: Vec<String>) -> Result<Vec<bool>, Failure> {
        match self.ask(&Query::RatedBy { film, users }).await? {
            Answer::RatedBy(rated) => Ok(rated),
            _ => Err(errors::not_understood()),
        }
    }

    /// All of a user's ratings, by film.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn mine(&self, user: &str) -> Result<Vec<(FilmKey, Rating)>, Failure> {
        let mut all: Vec<(FilmKey, Rating)> = Vec::new();
        loop {
            let after = all.last().map(|(film, _)| film.clone());
            match self.ask(&Query::Mine { user: nfc(user), after: after.clone(), limit: 0 }).await? {
                Answer::Mine { ratings, more } => {
                    let goes_on = ratings.last().map(|(film, _)| film) > after.as_ref();
                    all.extend(ratings);
                    // A page that does not go on would go on for ever.
                    if !more || !goes_on {
                        return Ok(all);
                    }
                }
                _ => return Err(errors::not_understood()),
            }
        }
    }

    async fn run(&self, update: &Update) -> Result<Done, Failure> {
        let (id, reply) = self.service.execute(encode(update)).await?;
        match decode::<Reply>(&reply) {
            Ok(Outcome::Done(done)) => Ok(done),
            Ok(Outcome::Refused(refusal)) => Err(of_refusal(&refusal).request(id)),
            Err(_) => Err(errors::not_understood().request(id)),
        }
    }

    async fn ask(&self, query: &Query) -> Result<Answer, Failure> {
        match decode::<Answer>(&self.service.query(encode(query)).await?) {
            Ok(Answer::Refused(refusal)) => Err(of_refusal(&refusal)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(errors::not_understood()),
        }
    }
}

fn of_refusal(refusal: &Refusal) -> Failure {
    let failure = Failure::new(Code::named(refusal.code()), refusal.sentence());
    match refusal {
        Refusal::Invalid { field, .. } => failure.field("field", field.as_str()),
        Refusal::NotRated => failure,
        Refusal::Full { limit } => failure.field("limit", *limit),
        Refusal::Malformed => failure.hint("a client of the servers' version"),
    }
}

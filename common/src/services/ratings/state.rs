//! What is kept, what updates do to it, and what queries say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ROWS_MAX;
use super::film::FilmKey;
use super::query::{Answer, PAGE_ENTRIES_MAX, Query};
use super::rating::{BUCKETS, Mean, Rating};
use super::refusal::{Field, Refusal, Why};
use super::update::{Done, Update};
use crate::clock::Timestamp;
use crate::replication::{Digest, RequestId};
use crate::services::encode;
use crate::services::user_code::UserCode;

/// The value of the service, and the rules by which updates change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ratings {
    pub(super) films: BTreeMap<FilmKey, Film>,
    /// Whose live ratings are where; made of the cells, as all below.
    by_user: BTreeMap<UserCode, BTreeSet<FilmKey>>,
    /// Deleted cells, the oldest first.
    deleted: BTreeSet<(RequestId, FilmKey, UserCode)>,
    pub(super) cells: usize,
    pub(super) digest: Digest,
}

/// A film that somebody has rated, or rated once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Film {
    pub(super) cells: BTreeMap<UserCode, Cell>,
    pub(super) tally: Tally,
}

/// One user's word on one film: the write with the highest stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) stamp: RequestId,
    /// `None`: deleted.
    pub(super) rating: Option<Rating>,
}

/// A film's live ratings, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sum: u64,
    pub(super) buckets: [u64; BUCKETS],
}

impl Tally {
    fn add(&mut self, rating: Rating) {
        self.sum += u64::from(rating.millionths());
        self.buckets[rating.bucket()] += 1;
    }

    fn take(&mut self, rating: Rating) {
        self.sum -= u64::from(rating.millionths());
        self.buckets[rating.bucket()] -= 1;
    }

    /// `None`: of nothing.
    pub(super) fn mean(&self) -> Option<Mean> {
        let count = self.buckets.iter().sum();
        (count > 0).then_some(Mean { sum: self.sum, count })
    }
}

/// What a write did to its cell.
enum Written {
    /// It stands in the place of this rating.
    Over(Option<Rating>),
    /// This one stands.
    Under(RequestId),
}

impl Ratings {
    /// Runs an update.
    pub(super) fn run(&mut self, stamp: RequestId, update: Update) -> Result<Done, Refusal> {
        match update {
            Update::Rate { film, user, rating } => {
                let (film, user) = (film.checked()?, read_user(&user)?);
                Ok(match self.write(&film, &user, Cell { stamp, rating: Some(rating) }) {
                    Written::Over(previous) => Done::Rated { rating, previous },
                    Written::Under(by) => Done::Superseded { by },
                })
            }
            Update::Delete { film, user } => {
                let (film, user) = (film.checked()?, read_user(&user)?);
                // Also where there is nothing: a rating that is older may still come.
                match self.write(&film, &user, Cell { stamp, rating: None }) {
                    Written::Over(Some(previous)) => Ok(Done::Deleted { previous }),
                    Written::Over(None) => Err(Refusal::NotRated),
                    Written::Under(by) => Ok(Done::Superseded { by }),
                }
            }
            Update::RateMany { film, rows } => {
                let film = film.checked()?;
                if !(1..=ROWS_MAX).contains(&rows.len()) {
                    let why = Why::Count { max: 64 };
                    return Err(Refusal::Invalid { field: Field::Rows, why });
                }
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(user, rating)| Ok((read_user(user)?, *rating)))
                    .collect::<Result<_, Refusal>>()?;
                let stands = |(user, rating): &(UserCode, Rating)| {
                    let cell = Cell { stamp, rating: Some(*rating) };
                    matches!(self.write(&film, user, cell), Written::Over(_))
                };
                let count = rows.iter().map(stands).filter(|stands| *stands).count();
                Ok(Done::RatedMany { count: u32::try_from(count).expect("64 at most") })
            }
        }
    }

    /// Writes a cell, unless a higher stamp stands there. The last of equal ones stands: they are rows of one update.
    fn write(&mut self, film: &FilmKey, user: &UserCode, cell: Cell) -> Written {
        let before = self.films.get(film).and_then(|film| film.cells.get(user)).copied();
        if let Some(before) = before
            && before.stamp > cell.stamp
        {
            return Written::Under(before.stamp);
        }
        if let Some(before) = before {
            self.remove(film, user, before);
        }
        self.insert(film, user, cell);
        Written::Over(before.and_then(|before| before.rating))
    }

    pub(super) fn insert(&mut self, film: &FilmKey, user: &UserCode, cell: Cell) {
        self.cells += 1;
        let entry = self.films.entry(film.clone()).or_default();
        entry.cells.insert(user.clone(), cell);
        match cell.rating {
            Some(rating) => {
                entry.tally.add(rating);
                self.by_user.entry(user.clone()).or_default().insert(film.clone());
                self.digest.0 = self.digest.0.wrapping_add(digest_of(film, user, cell));
            }
            None => {
                self.deleted.insert((cell.stamp, film.clone(), user.clone()));
            }
        }
    }

    fn remove(&mut self, film: &FilmKey, user: &UserCode, cell: Cell) {
        let entry = self.films.get_mut(film).expect("the cell is there");
        entry.cells.remove(user);
        self.cells -= 1;
        match cell.rating {
            Some(rating) => {
                entry.tally.take(rating);
                self.digest.0 = self.digest.0.wrapping_sub(digest_of(film, user, cell));
                if let Some(films) = self.by_user.get_mut(user) {
                    films.remove(film);
                    if films.is_empty() {
                        self.by_user.remove(user);
                    }
                }
            }
            None => {
                self.deleted.remove(&(cell.stamp, film.clone(), user.clone()));
            }
        }
        if entry.cells.is_empty() {
            self.films.remove(film);
        }
    }

    /// Drops the deleted cells that are older than anything that can still come.
    pub(super) fn drop_deleted(&mut self, settled: Timestamp) {
        while let Some((stamp, film, user)) = self.deleted.first().cloned()
            && stamp.time() < settled
        {
            self.remove(&film, &user, Cell { stamp, rating: None });
        }
    }

    /// Answers a query, or says why there is no answer.
    pub(super) fn answer(&self, query: Query) -> Result<Answer, Refusal> {
        let tally = |film| self.films.get(&film).map(|film| film.tally).unwrap_or_default();
        Ok(match query {
            Query::View { film, user } => {
                let cell = self.films.get(&film).and_then(|film| film.cells.get(&read_user(&user).ok()?));
                let live = cell.and_then(|cell| Some((cell.rating?, cell.stamp)));
                let (rating, stamp) = live.ok_or(Refusal::NotRated)?;
                Answer::View { rating, stamp }
            }
            Query::Average { film } => Answer::Average { mean: tally(film).mean() },
            Query::Histogram { film } => {
                let tally = tally(film);
                Answer::Histogram { mean: tally.mean(), buckets: tally.buckets }
            }
            Query::RatedBy { film, users } => {
                if users.len() > PAGE_ENTRIES_MAX {
                    return Err(Refusal::Invalid { field: Field::Users, why: Why::Count { max: 500 } });
                }
                let cells = self.films.get(&film).map(|film| &film.cells);
                let rated = |user: &UserCode| cells.and_then(|cells| cells.get(user)?.rating).is_some();
                let rated = |user: &String| Ok(rated(&read_user(user)?));
                Answer::RatedBy(users.iter().map(rated).collect::<Result<_, Refusal>>()?)
            }
            Query::Mine { user, after, limit } => self.ratings_of(&read_user(&user)?, after, limit as usize),
        })
    }

    fn ratings_of(&self, user: &UserCode, after: Option<FilmKey>, limit: usize) -> Answer {
        let limit = if limit == 0 { PAGE_ENTRIES_MAX } else { limit.min(PAGE_ENTRIES_MAX) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let films = self.by_user.get(user).into_iter();
        let mut films = films.flat_map(|films| films.range((from.clone(), Bound::Unbounded)));
        let rating = |film: &FilmKey| Some((film.clone(), self.films.get(film)?.cells.get(user)?.rating?));
        let ratings = films.by_ref().take(limit).filter_map(rating).collect();
        Answer::Mine { ratings, more: films.next().is_some() }
    }
}

/// Of one live cell; the value's is the sum of them all, so each change costs one.
fn digest_of(film: &FilmKey, user: &UserCode, cell: Cell) -> u128 {
    let hash = Sha256::digest(encode(&(film, user, cell)));
    let half = hash.first_chunk().expect("SHA-256 has 32 bytes");
    u128::from_be_bytes(*half)
}

fn read_user(typed: &str) -> Result<UserCode, Refusal> {
    UserCode::read(typed).map_err(|why| Refusal::Invalid { field: Field::User, why: Why::Text(why) })
}

//! What queries say.

use super::Movies;
use super::bounds::{HITS_MAX, KEYS_MAX};
use super::film_key::FilmKey;
use super::matching::Wanted;
use super::movie::Part;
use super::query::{Answer, Found, Held, Hit, Omdb, Page, Query};
use super::reading::read_title;
use super::refusal::{Field, Refusal, Why};
use super::state::{Meant, number};
use crate::services::matching;

impl Movies {
    /// Answers a query, or says why there is no answer.
    pub(super) fn answer(&self, query: Query) -> Result<Answer, Refusal> {
        Ok(match query {
            Query::Find { text, year, how, places: _ } => {
                let Meant { movie, class, near } = self.meant(&read_title(&text, year, None)?, how)?;
                let movie = movie.clone();
                Answer::Found(Box::new(Found { movie, class, near, omdb: Omdb::NotNeeded, stored: true }))
            }
            Query::Search { text, limit } => {
                let wanted = Wanted::new(&read_title(&text, None, None)?);
                let limit = if limit == 0 { HITS_MAX } else { HITS_MAX.min(limit as usize) };
                let hits = self.films.ranked(&wanted, limit).films.into_iter();
                Answer::Hits(Page::of(0, hits.map(|(movie, class)| Hit { movie: movie.clone(), class })))
            }
            Query::List { prefix, after, limit } => {
                let prefix = matching::key(&prefix);
                Answer::List(Page::of(limit, self.films.from(&prefix, after.as_ref()).cloned()))
            }
            Query::Have { keys } => {
                if keys.len() > KEYS_MAX {
                    let why = Why::Count { min: 0, max: number(KEYS_MAX) };
                    return Err(Refusal::Invalid { field: Field::Keys, at: None, why });
                }
                Answer::Have(keys.iter().map(|key| self.held(key)).collect())
            }
        })
    }

    fn held(&self, key: &FilmKey) -> Option<Held> {
        let movie = self.films.get(key)?;
        Some(Held { lacks: Part::ALL.into_iter().filter(|&part| movie.lacks(part)).collect() })
    }
}

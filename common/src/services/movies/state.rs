//! What is kept, and what commands do to it.

use std::collections::BTreeSet;

use super::bounds::{BATCH_MAX, CANDIDATES_MAX, MOVIES_MAX, NEAR_MAX};
use super::command::{Command, Done, Facts, Filled, NewMovie, Sender};
use super::films::Films;
use super::matching::Wanted;
use super::movie::{Movie, Source};
use super::query::{How, Near};
use super::reading::{new_movie, read_description, read_genres, read_title, read_url};
use super::refusal::{Field, Refusal, Why};
use super::title::Title;
use crate::services::matching::Class;

/// The state of the service, and the rules by which commands change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Movies {
    pub(super) films: Films,
}

/// The one film that is meant, or those that are not.
pub(super) struct Meant<'a> {
    pub(super) movie: &'a Movie,
    pub(super) class: Class,
    pub(super) near: Vec<Near>,
}

impl Movies {
    /// Runs a command: checks every rule in order, then changes the state in one step.
    pub(super) fn run(&mut self, facts: Facts, command: Command) -> Result<Done, Refusal> {
        match command {
            Command::Add { movie } => self.add(movie.read(Source::Local, None)?),
            Command::Edit { title, year, url, description, genres } => {
                let title = read_title(&title, year, None)?;
                let url = url.map(|url| read_url(&url, None)).transpose()?;
                let description = description.map(|text| read_description(&text, None)).transpose()?;
                let genres = genres.map(|genres| read_genres(&genres, None)).transpose()?;
                self.edit(title, |movie| {
                    movie.url = url.unwrap_or_else(|| std::mem::take(&mut movie.url));
                    movie.description = description.unwrap_or_else(|| std::mem::take(&mut movie.description));
                    movie.genres = genres.unwrap_or_else(|| std::mem::take(&mut movie.genres));
                    movie.source = movie.source.and(Source::Local);
                })
            }
            Command::Fill { .. } if facts.sender != Sender::Door => Err(Refusal::Malformed),
            Command::Fill { record } => {
                let record = record.read(Source::Omdb, None)?;
                self.check_room([&record])?;
                Ok(Done::Filled(self.add_or_fill(record)))
            }
            Command::AddMany { movies } => self.add_many(&movies),
        }
    }

    fn add(&mut self, movie: Movie) -> Result<Done, Refusal> {
        let key = movie.key();
        let same = |other: &&Movie| other.year == movie.year || other.year.is_none() || movie.year.is_none();
        if let Some(known) = self.films.titled(key.title()).find(same) {
            return Err(Refusal::MovieExists { title: known.title.clone(), year: known.year }.short());
        }
        self.check_room([&movie])?;
        self.films.insert(movie);
        Ok(Done::Added { year: key.year() })
    }

    fn edit(&mut self, title: Title, change: impl FnOnce(&mut Movie)) -> Result<Done, Refusal> {
        let key = match self.meant(&title, How::Naming) {
            Ok(meant) => meant.movie.key(),
            Err(Refusal::MovieUnknown { .. }) => {
                let mut movie = new_movie(title, Source::Local);
                change(&mut movie);
                self.check_room([&movie])?;
                let year = movie.year;
                self.films.insert(movie);
                return Ok(Done::Added { year });
            }
            Err(refusal) => return Err(refusal.short()),
        };
        self.films.change(&key, change);
        Ok(Done::Updated { year: key.year() })
    }

    fn add_many(&mut self, movies: &[NewMovie]) -> Result<Done, Refusal> {
        if !(1..=BATCH_MAX).contains(&movies.len()) {
            let why = Why::Count { min: 1, max: number(BATCH_MAX) };
            return Err(Refusal::Invalid { field: Field::Movies, at: None, why });
        }
        let read = movies.iter().zip(1..).map(|(movie, at)| movie.read(Source::Local, Some(at)));
        let movies = read.collect::<Result<Vec<_>, _>>()?;
        self.check_room(&movies)?;
        let (mut added, mut completed, mut unchanged) = (0, 0, 0);
        for movie in movies {
            *match self.add_or_fill(movie) {
                Filled::Added => &mut added,
                Filled::Completed => &mut completed,
                Filled::Unchanged => &mut unchanged,
            } += 1;
        }
        Ok(Done::Many { added, completed, unchanged })
    }

    fn add_or_fill(&mut self, movie: Movie) -> Filled {
        let key = movie.key();
        if self.films.get(&key).is_none() {
            self.films.insert(movie);
            return Filled::Added;
        }
        match self.films.change(&key, |known| known.fill(movie)) {
            Some(true) => Filled::Completed,
            _ => Filled::Unchanged,
        }
    }

    /// The one film that is called so, or why there is none.
    pub(super) fn meant(&self, title: &Title, how: How) -> Result<Meant<'_>, Refusal> {
        let wanted = Wanted::new(title);
        let mut ranking = self.films.ranked(&wanted, CANDIDATES_MAX.max(NEAR_MAX + 1));
        let best = ranking.films.first().map(|&(_, class)| class).filter(|&class| how.accepts(class));
        let Some(class) = best else {
            if ranking.films.is_empty() && wanted.year.is_some() {
                // Of another year, it is near enough to be offered.
                ranking = self.films.ranked(&wanted.of_any_year(), NEAR_MAX);
            }
            return Err(Refusal::MovieUnknown { near: near(&ranking.films, NEAR_MAX) });
        };
        if ranking.as_good > 1 {
            let as_good = (ranking.as_good as usize).min(CANDIDATES_MAX);
            return Err(Refusal::MovieAmbiguous {
                title: title.title.clone(),
                count: ranking.as_good,
                candidates: near(&ranking.films, as_good),
            });
        }
        Ok(Meant { movie: ranking.films[0].0, class, near: near(&ranking.films[1..], NEAR_MAX) })
    }

    /// Whether there is room for those of these films that are new.
    fn check_room<'a>(&self, movies: impl IntoIterator<Item = &'a Movie>) -> Result<(), Refusal> {
        let keys = movies.into_iter().map(Movie::key);
        let new: BTreeSet<_> = keys.filter(|key| self.films.get(key).is_none()).collect();
        check_room(self.films.len(), new.len())
    }
}

/// Whether so many more fit.
pub(super) fn check_room(count: usize, more: usize) -> Result<(), Refusal> {
    if count + more <= MOVIES_MAX { Ok(()) } else { Err(Refusal::Full { limit: MOVIES_MAX as u64 }) }
}

fn near(films: &[(&Movie, Class)], most: usize) -> Vec<Near> {
    let named =
        |&(movie, class): &(&Movie, Class)| Near { title: movie.title.clone(), year: movie.year, class };
    films.iter().take(most).map(named).collect()
}

/// A count that a bound of the service keeps far below 2³².
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).expect("every list is bounded far below")
}

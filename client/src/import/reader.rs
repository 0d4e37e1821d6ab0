//! MovieLens' lists, as they are imported: `movies.csv`, then `links.csv` and `ratings.csv`, where they are.
//!
//! Pure: from lines to films and their ratings. The same title and year twice is one film, with the aliases and genres
//! of both rows; of two ratings that one user gave it, the later counts. A row that breaks a rule is told and left out.

use std::collections::BTreeMap;
use std::io::Read;

use common::services::movies::bounds::GENRES_MAX;
use common::services::movies::command::NewMovie;
use common::services::movies::movie::Source;
use common::services::movies::{FilmKey, ImdbId, Movie};
use common::services::user_code::UserCode;
use csv::{ByteRecord, ErrorKind, ReaderBuilder, Trim};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use unicode_normalization::UnicodeNormalization as _;

/// What the lists hold.
#[derive(Debug, Default)]
pub struct Lists {
    /// In the order of their first rows.
    pub films: Vec<Film>,
    /// Rows that told of a film once more.
    pub films_merged: u64,
    /// Ratings that gave way to a later one of the same film and user.
    pub ratings_merged: u64,
    /// Rows that broke a rule.
    pub bad: Bad,
    by_key: BTreeMap<FilmKey, usize>,
    by_number: BTreeMap<u32, usize>,
}

/// A film, and what people think of it.
#[derive(Debug)]
pub struct Film {
    /// It.
    pub movie: Movie,
    /// By user, each once.
    pub ratings: Vec<Rated>,
}

/// What somebody thinks of a film.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rated {
    /// Who.
    pub user: UserCode,
    /// When, in seconds since 1970.
    pub at: u64,
    /// In millionths of a star, to 5,000,000.
    pub millionths: u32,
}

/// Rows that broke a rule.
#[derive(Debug, Default)]
pub struct Bad {
    /// How many.
    pub count: u64,
    /// The first of them, as many as a person reads.
    pub first: Vec<BadRow>,
}

/// A row that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Of this file.
    pub file: &'static str,
    /// In this line.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// Why a file is no list.
#[derive(Debug)]
pub enum BadList {
    /// It cannot be read.
    File(csv::Error),
    /// Its first line does not name the columns.
    Columns {
        /// Which it must name.
        expected: &'static [&'static str],
    },
}

impl std::fmt::Display for BadList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Columns { expected } => write!(f, "the first line must name {}", expected.join(", ")),
        }
    }
}

impl std::error::Error for BadList {}

#[derive(Deserialize)]
struct MovieRow {
    #[serde(rename = "movieId")]
    number: u32,
    title: String,
    genres: String,
}

#[derive(Deserialize)]
struct LinkRow {
    #[serde(rename = "movieId")]
    number: u32,
    #[serde(rename = "imdbId")]
    imdb: Option<u64>,
}

#[derive(Deserialize)]
struct RatingRow {
    #[serde(rename = "userId")]
    user: String,
    #[serde(rename = "movieId")]
    number: u32,
    rating: String,
    timestamp: u64,
}

impl Lists {
    /// Reads the films.
    ///
    /// # Errors
    /// When this is no list of films.
    pub fn read_movies(&mut self, list: impl Read) -> Result<(), BadList> {
        const COLUMNS: &[&str] = &["movieId", "title", "genres"];
        self.read("movies.csv", COLUMNS, list, |lists, row| lists.take_movie(&row))
    }

    /// Reads the films' numbers at IMDb.
    ///
    /// # Errors
    /// When this is no list of links.
    pub fn read_links(&mut self, list: impl Read) -> Result<(), BadList> {
        const COLUMNS: &[&str] = &["movieId", "imdbId"];
        self.read("links.csv", COLUMNS, list, |lists, LinkRow { number, imdb }| {
            let film = lists.film(number)?;
            if let Some(imdb) = imdb {
                let imdb = ImdbId::try_from(imdb).map_err(|error| error.to_string())?;
                film.movie.imdb.get_or_insert(imdb);
            }
            Ok(())
        })
    }

    /// Reads what users think of the films.
    ///
    /// # Errors
    /// When this is no list of ratings.
    pub fn read_ratings(&mut self, list: impl Read) -> Result<(), BadList> {
        const COLUMNS: &[&str] = &["userId", "movieId", "rating", "timestamp"];
        let mut last: Option<UserCode> = None;
        self.read("ratings.csv", COLUMNS, list, |lists, RatingRow { user, number, rating, timestamp }| {
            let film = lists.film(number)?;
            let millionths = millionths(&rating).ok_or("a rating is a number from 0 to 5")?;
            // The list goes by user: one text in memory for all their ratings.
            let user = match &last {
                Some(last) if last.as_str() == user => last.clone(),
                _ => UserCode::read(&nfc(&user)).map_err(|why| format!("user: {why}"))?,
            };
            last = Some(user.clone());
            film.ratings.push(Rated { user, at: timestamp, millionths });
            Ok(())
        })?;
        for film in &mut self.films {
            let rows = film.ratings.len();
            // The latest of a user first, and of one second the one that stands last in the list.
            film.ratings.reverse();
            film.ratings.sort_by(|a, b| a.user.cmp(&b.user).then(b.at.cmp(&a.at)));
            film.ratings.dedup_by(|a, b| a.user == b.user);
            self.ratings_merged += (rows - film.ratings.len()) as u64;
        }
        Ok(())
    }

    fn take_movie(&mut self, row: &MovieRow) -> Result<(), String> {
        const NO_GENRES: &str = "(no genres listed)";
        if self.by_number.contains_key(&row.number) {
            return Err(format!("there is a film of number {} already", row.number));
        }
        let genres = row.genres.split('|').filter(|genre| *genre != NO_GENRES && !genre.is_empty());
        let new =
            NewMovie { title: nfc(&row.title), genres: genres.map(nfc).collect(), ..NewMovie::default() };
        let movie = new.read(Source::Local, None).map_err(|refusal| refusal.sentence())?;
        let at = *self.by_key.entry(movie.key()).or_insert(self.films.len());
        self.by_number.insert(row.number, at);
        match self.films.get_mut(at) {
            None => self.films.push(Film { movie, ratings: Vec::new() }),
            Some(film) => {
                film.movie = united(&film.movie, movie).map_err(|refusal| refusal.sentence())?;
                self.films_merged += 1;
            }
        }
        Ok(())
    }

    fn film(&mut self, number: u32) -> Result<&mut Film, String> {
        let at = self.by_number.get(&number).ok_or_else(|| format!("no film has number {number}"))?;
        Ok(&mut self.films[*at])
    }

    /// Reads a list row by row; those that cannot be taken are noted.
    fn read<Row: DeserializeOwned>(
        &mut self,
        file: &'static str,
        columns: &'static [&'static str],
        list: impl Read,
        mut take: impl FnMut(&mut Self, Row) -> Result<(), String>,
    ) -> Result<(), BadList> {
        let mut reader = ReaderBuilder::new().trim(Trim::Headers).from_reader(list);
        let header = reader.byte_headers().map_err(BadList::File)?.clone();
        if columns.iter().any(|column| header.iter().all(|found| found != column.as_bytes())) {
            return Err(BadList::Columns { expected: columns });
        }
        let mut record = ByteRecord::new();
        loop {
            let (line, taken) = match reader.read_byte_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    let row = record.deserialize(Some(&header)).map_err(|error| in_words(&error));
                    let line = record.position().map_or(0, csv::Position::line);
                    (line, row.and_then(|row| take(self, row)))
                }
                Err(error) if error.is_io_error() => return Err(BadList::File(error)),
                Err(error) => (error.position().map_or(0, csv::Position::line), Err(in_words(&error))),
            };
            if let Err(why) = taken {
                self.bad.note(BadRow { file, line, why });
            }
        }
    }
}

impl Bad {
    /// As many as are shown.
    pub const SHOWN: usize = 10;

    fn note(&mut self, row: BadRow) {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push(row);
        }
    }
}

/// One film of two rows that tell of it.
fn united(film: &Movie, other: Movie) -> Result<Movie, common::services::movies::Refusal> {
    let mut new = NewMovie::from(film.clone());
    new.aliases.extend(other.aliases);
    new.genres.extend(other.genres.into_iter().filter(|genre| !film.genres.contains(genre)));
    new.genres.truncate(GENRES_MAX);
    new.read(Source::Local, None)
}

/// "3.5": 3,500,000. `None` when it is no number from 0 to 5 of at most six decimals.
fn millionths(text: &str) -> Option<u32> {
    const MAX: u32 = 5_000_000;
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 6 {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let parts: u32 = format!("{decimals:0<6}").parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(parts).filter(|&sum| sum <= MAX)
}

fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// What is wrong with a row, without where it stands.
fn in_words(error: &csv::Error) -> String {
    match error.kind() {
        ErrorKind::Deserialize { err, .. } => err.to_string(),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields instead of {expected_len}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;

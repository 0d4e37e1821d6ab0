//! What a film may hold.

use std::collections::BTreeSet;

use super::bounds::{
    ALIASES_MAX, DESCRIPTION_CHARS_MAX, GENRE_CHARS_MAX, GENRES_MAX, TITLE_CHARS_MAX, URL_CHARS_MAX,
};
use super::command::NewMovie;
use super::movie::{Movie, Source};
use super::refusal::{Field, Refusal, Why};
use super::state::number;
use super::title::Title;
use super::year::Year;
use crate::services::matching;
use crate::services::text::{self, Lines};

impl NewMovie {
    /// The film as it is kept, when it keeps every rule; `at` is which of several it is, from 1.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], with the first rule that it breaks.
    pub fn read(&self, source: Source, at: Option<u32>) -> Result<Movie, Refusal> {
        let mut title = read_title(&self.title, self.year, at)?;
        let given =
            self.aliases.iter().map(|alias| read(Field::Alias, alias, TITLE_CHARS_MAX, Lines::One, at));
        title.aliases.extend(given.collect::<Result<Vec<_>, _>>()?);
        title.aliases = names_apart(&title);
        Ok(Movie {
            url: read_url(&self.url, at)?,
            description: read_description(&self.description, at)?,
            genres: read_genres(&self.genres, at)?,
            imdb: self.imdb,
            ..new_movie(title, source)
        })
    }
}

/// A film of which nothing but the name is known.
pub(super) fn new_movie(title: Title, source: Source) -> Movie {
    Movie {
        title: title.title,
        year: title.year,
        aliases: title.aliases,
        url: String::new(),
        description: String::new(),
        genres: Vec::new(),
        imdb: None,
        source,
    }
}

/// A title as somebody wrote it; a year beside it goes before the one in it.
pub(super) fn read_title(typed: &str, year: Option<u16>, at: Option<u32>) -> Result<Title, Refusal> {
    let mut title = Title::read(typed);
    title.title = read(Field::Title, &title.title, TITLE_CHARS_MAX, Lines::One, at)?;
    for alias in &mut title.aliases {
        *alias = read(Field::Alias, alias, TITLE_CHARS_MAX, Lines::One, at)?;
    }
    title.aliases = names_apart(&title);
    if let Some(year) = year {
        let why = Why::Number { min: Year::MIN.into(), max: Year::MAX.into() };
        title.year = Some(Year::new(year).ok_or(Refusal::Invalid { field: Field::Year, at, why })?);
    }
    Ok(title)
}

/// The first aliases that differ from the title and from each other.
fn names_apart(title: &Title) -> Vec<String> {
    let mut seen = BTreeSet::from([matching::key(&title.title)]);
    let apart = title.aliases.iter().filter(|alias| seen.insert(matching::key(alias)));
    apart.take(ALIASES_MAX).cloned().collect()
}

pub(super) fn read_url(typed: &str, at: Option<u32>) -> Result<String, Refusal> {
    let url = read_or_empty(Field::Url, typed, URL_CHARS_MAX, Lines::One, at)?;
    let rest = url
        .split_once("://")
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"));
    let good = rest.is_some_and(|(_, rest)| !rest.is_empty()) && !url.contains(char::is_whitespace);
    if good || url.is_empty() {
        Ok(url)
    } else {
        Err(Refusal::Invalid { field: Field::Url, at, why: Why::Url })
    }
}

pub(super) fn read_description(typed: &str, at: Option<u32>) -> Result<String, Refusal> {
    read_or_empty(Field::Description, typed, DESCRIPTION_CHARS_MAX, Lines::Many, at)
}

pub(super) fn read_genres(typed: &[String], at: Option<u32>) -> Result<Vec<String>, Refusal> {
    let mut genres: Vec<String> = Vec::new();
    for genre in typed {
        let genre = read(Field::Genre, genre, GENRE_CHARS_MAX, Lines::One, at)?;
        if !genres.contains(&genre) {
            genres.push(genre);
        }
    }
    if genres.len() > GENRES_MAX {
        let why = Why::Count { min: 0, max: number(GENRES_MAX) };
        return Err(Refusal::Invalid { field: Field::Genres, at, why });
    }
    Ok(genres)
}

fn read_or_empty(
    field: Field,
    typed: &str,
    max: u32,
    lines: Lines,
    at: Option<u32>,
) -> Result<String, Refusal> {
    match text::check(typed, max, lines) {
        Err(text::BadText::Blank) => Ok(String::new()),
        checked => checked.map(str::to_owned).map_err(|why| invalid_text(field, at, why)),
    }
}

fn read(field: Field, typed: &str, max: u32, lines: Lines, at: Option<u32>) -> Result<String, Refusal> {
    text::check(typed, max, lines).map(str::to_owned).map_err(|why| invalid_text(field, at, why))
}

const fn invalid_text(field: Field, at: Option<u32>, why: text::BadText) -> Refusal {
    Refusal::Invalid { field, at, why: Why::Text(why) }
}

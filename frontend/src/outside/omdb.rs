//! OMDb: `GET /?apikey=K&…`, one film by its number or title, or a page of titles. Its bodies are known from its page
//! and from public clients: every field is a text, may be missing, and `"N/A"` when it is not known.
//!
//! The body counts before the status, for `"Response":"False"` comes with 200 and 401 alike. A key that is refused is
//! not used again, and a quota that is used up is left alone for an hour.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use common::clock::{Clock, Moment};
use common::services::movies::bounds::{DESCRIPTION_CHARS_MAX, GENRE_CHARS_MAX, GENRES_MAX, TITLE_CHARS_MAX};
use common::services::movies::command::NewMovie;
use common::services::movies::{ImdbId, Year};
use common::services::text::{self, Lines};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::{error, warn};
use unicode_normalization::UnicodeNormalization as _;
use url::Url;

use super::api::{Api, Manners, NoAnswer};
use super::web::{Page, Web};

/// As it is logged and counted.
pub(super) const NAME: &str = "OMDb";

/// It is free, and asked accordingly; whoever stands behind 64 others would wait in vain.
const MANNERS: Manners = Manners { call_time: Duration::from_secs(2), calls_max: 8, waiting_max: 64 };

/// A day's quota is back within a day; asking once an hour finds out when.
const QUOTA_REST: Duration = Duration::from_hours(1);

/// What nobody else may read: it has no way to be shown.
pub struct Secret(String);

impl Secret {
    /// The secret in the environment variable `name`, if there is one.
    pub fn from_env(name: &str) -> Option<Self> {
        std::env::var(name).ok().filter(|value| !value.is_empty()).map(Self)
    }

    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The service, and our key to it.
pub struct Omdb<W> {
    api: Api<W>,
    key: Secret,
    clock: Clock,
    rest: Cell<Rest>,
}

impl<W> fmt::Debug for Omdb<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Omdb").field("rest", &self.rest).finish_non_exhaustive()
    }
}

/// Whether it has told us not to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Never,
    /// The quota is used up.
    Until(Moment),
    /// The key is refused.
    ForEver,
}

/// An answer of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said<T> {
    /// This.
    That(T),
    /// It knows no such film.
    Absent,
}

/// What an answer is read as.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word<T> {
    Said(Said<T>),
    QuotaUsedUp,
    KeyRefused,
}

/// A film of a page of titles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) title: String,
    pub(super) year: Option<Year>,
    pub(super) imdb: ImdbId,
}

impl<W: Web> Omdb<W> {
    /// The service at `base`, asked with this key.
    pub fn new(web: Rc<W>, base: Url, key: Secret, clock: Clock) -> Self {
        Self { api: Api::new(NAME, base, MANNERS, web, clock), key, clock, rest: Cell::new(Rest::Never) }
    }

    /// The film of this number; `None`: no answer.
    pub(super) async fn by_number(&self, id: ImdbId, until: Moment) -> Option<Said<NewMovie>> {
        self.ask(&[("i", &id.to_string())], until, film).await
    }

    /// The film that it takes for the one of this title; `None`: no answer.
    pub(super) async fn by_title(
        &self,
        title: &str,
        year: Option<Year>,
        until: Moment,
    ) -> Option<Said<NewMovie>> {
        self.ask(&of_year(&[("t", title)], year.map(|year| year.to_string()).as_deref()), until, film).await
    }

    /// The first page of films whose titles hold these words; `None`: no answer.
    pub(super) async fn search(
        &self,
        text: &str,
        year: Option<Year>,
        until: Moment,
    ) -> Option<Said<Vec<Entry>>> {
        self.ask(&of_year(&[("s", text)], year.map(|year| year.to_string()).as_deref()), until, |page| {
            Some(entries(page))
        })
        .await
    }

    async fn ask<B: DeserializeOwned, T>(
        &self,
        question: &[(&str, &str)],
        until: Moment,
        read: fn(&B) -> Option<T>,
    ) -> Option<Said<T>> {
        match self.rest.get() {
            Rest::ForEver => return None,
            Rest::Until(then) if self.clock.now() < then => return None,
            Rest::Until(_) | Rest::Never => {}
        }
        let mut url = self.api.base().clone();
        url.query_pairs_mut()
            .append_pair("apikey", &self.key.0)
            .extend_pairs([("r", "json"), ("type", "movie")])
            .extend_pairs(question);
        match self.api.ask(&url, until, |page| word(page, read)).await? {
            Word::Said(said) => return Some(said),
            Word::QuotaUsedUp => {
                warn!(api = "OMDb", rest = ?QUOTA_REST, "the quota is used up");
                self.rest.set(Rest::Until(self.clock.now() + QUOTA_REST));
            }
            Word::KeyRefused => {
                if self.rest.replace(Rest::ForEver) != Rest::ForEver {
                    error!(
                        api = "OMDb",
                        "the key in OMDB_API_KEY is refused; not asked again before a restart"
                    );
                }
            }
        }
        None
    }
}

fn of_year<'a>(question: &[(&'a str, &'a str)], year: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    question.iter().copied().chain(year.map(|year| ("y", year))).collect()
}

/// What every body begins with.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "Response")]
    response: String,
    #[serde(rename = "Error", default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct FilmBody {
    title: String,
    year: String,
    genre: String,
    plot: String,
    #[serde(rename = "imdbID")]
    imdb: String,
    #[serde(rename = "Type")]
    kind: String,
}

#[derive(Deserialize)]
struct SearchBody {
    #[serde(rename = "Search")]
    films: Vec<FilmBody>,
}

fn word<B: DeserializeOwned, T>(page: &Page, read: fn(&B) -> Option<T>) -> Result<Word<T>, NoAnswer> {
    // It writes raw tabs into texts, which JSON forbids; between texts a blank is as good.
    let body: Vec<u8> = page.body.iter().map(|&byte| if byte < b' ' { b' ' } else { byte }).collect();
    let not = |why| NoAnswer { why };
    let head: Head = serde_json::from_slice(&body).map_err(|_| not("not JSON of its kind"))?;
    if head.response.eq_ignore_ascii_case("true") {
        let body = serde_json::from_slice(&body).map_err(|_| not("not JSON of its kind"))?;
        return read(&body).map(|that| Word::Said(Said::That(that))).ok_or(not("a film without a title"));
    }
    let error = head.error.to_lowercase();
    let says = |part: &str| error.contains(part);
    // "Too many results": whoever asks with a year gets one.
    if says("not found") || says("incorrect imdb id") || says("too many results") {
        Ok(Word::Said(Said::Absent))
    } else if says("limit") {
        Ok(Word::QuotaUsedUp)
    } else if says("key") {
        Ok(Word::KeyRefused)
    } else {
        Err(not("an error of another kind"))
    }
}

/// A film in our words; nothing of it is more than we may keep.
fn film(body: &FilmBody) -> Option<NewMovie> {
    let title = kept(&body.title, TITLE_CHARS_MAX)?;
    let year = year(&body.year);
    let imdb = body.imdb.parse::<ImdbId>().ok();
    let genres = body.genre.split(", ").filter_map(|genre| kept(genre, GENRE_CHARS_MAX));
    let released = year.map(|year| format!("{title} was released in {year}."));
    let plot = kept(&body.plot, DESCRIPTION_CHARS_MAX);
    let description = released.into_iter().chain(plot).collect::<Vec<_>>().join(" ");
    Some(NewMovie {
        year: year.map(u16::from),
        aliases: vec![],
        url: imdb.map(ImdbId::url).unwrap_or_default(),
        description: cut(&description, DESCRIPTION_CHARS_MAX),
        genres: genres.take(GENRES_MAX).collect(),
        imdb,
        title,
    })
}

/// The films of a page that can be asked for by their number.
fn entries(body: &SearchBody) -> Vec<Entry> {
    let films = body.films.iter().filter(|film| film.kind.is_empty() || film.kind == "movie");
    let entry = |film: &FilmBody| {
        let (title, imdb) = (kept(&film.title, TITLE_CHARS_MAX)?, film.imdb.parse().ok()?);
        Some(Entry { title, year: year(&film.year), imdb })
    };
    films.filter_map(entry).collect()
}

/// "2011–2019", "2019–": the first year.
fn year(text: &str) -> Option<Year> {
    Year::new(text.get(..4)?.parse().ok()?)
}

/// Text that anybody may be shown, cut to so many characters; `None`: it says nothing, or what nobody should read.
fn kept(text: &str, max: u32) -> Option<String> {
    if text == "N/A" {
        return None;
    }
    let plain: String = text.nfc().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text::check(&cut(&plain, max), max, Lines::One).ok().map(str::to_owned)
}

fn cut(text: &str, max: u32) -> String {
    text.chars().take(max as usize).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests;

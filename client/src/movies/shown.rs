//! Films as they are printed: the service's answers as objects of the contract, and as text for a person.

use common::services::matching::Class;
use common::services::movies::movie::Source;
use common::services::movies::query::{Found, Hit, Near, Omdb};
use common::services::movies::{Movie, Year};

use super::{Written, number};
use crate::objects;
use crate::output::{Lean, Screen, escaped, table};

/// A film that was found, as an object.
pub(super) fn found(found: &Found) -> objects::Movie {
    objects::Movie {
        class: Some(found.class.as_str()),
        stored: found.stored,
        omdb: found.omdb.as_str(),
        near: found.near.iter().map(near).collect(),
        ..of(&found.movie)
    }
}

/// A film that was searched for, as an object.
pub(super) fn hit(hit: &Hit) -> objects::Movie {
    objects::Movie { class: Some(hit.class.as_str()), ..of(&hit.movie) }
}

/// A film of the database, as an object.
pub(super) fn of(movie: &Movie) -> objects::Movie {
    let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    objects::Movie {
        title: movie.title.clone(),
        year: number(movie.year),
        url: told(&movie.url),
        description: told(&movie.description),
        genres: movie.genres.clone(),
        imdb: movie.imdb.map(|id| id.to_string()),
        source: movie.source.as_str(),
        class: None,
        complete: movie.is_complete(),
        stored: true,
        omdb: Omdb::NotNeeded.as_str(),
        near: vec![],
        outcome: None,
    }
}

fn near(film: &Near) -> objects::NearMovie {
    objects::NearMovie { title: film.title.clone(), year: number(film.year) }
}

impl Written {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Updated => "updated",
        }
    }

    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::Added => "Movie entry added.",
            Self::Updated => "Movie entry updated.",
        }
    }
}

/// A film as text: what it is, where to read of it, what it is about, and who says so when that is OMDb.
pub(super) fn film_text(movie: &Movie) -> String {
    let made = movie.year.map(|year| format!("was made in ({year})"));
    let genres = (!movie.genres.is_empty()).then(|| format!("has the genres {}", movie.genres.join("|")));
    let told = match (made, genres) {
        (None, None) => "is of no known year".to_owned(),
        (made, genres) => made.into_iter().chain(genres).collect::<Vec<_>>().join(" and "),
    };
    let mut lines = vec![format!("{} {told}", movie.title)];
    let more = [&movie.url, &movie.description].into_iter().filter(|text| !text.is_empty());
    lines.extend(more.map(|text| format!("  {}", text.replace('\n', "\n  "))));
    lines.extend(match movie.source {
        Source::Local => None,
        Source::Omdb => Some("  (told by OMDb)".to_owned()),
        Source::Both => Some("  (told by people here, and by OMDb)".to_owned()),
    });
    escaped(&lines.join("\n"))
}

/// What there is to say beside a film that was found.
pub(super) fn note(found: &Found) -> Option<&'static str> {
    match found.omdb {
        _ if !found.stored => Some("OMDb knows this film; it could not be stored now"),
        Omdb::Asked => Some("told by OMDb, and stored here now"),
        Omdb::NoKey => Some("OMDb could tell more; the front end has no key to it (env OMDB_API_KEY)"),
        Omdb::Unavailable => Some("OMDb could tell more, and did not answer"),
        Omdb::NotNeeded | Omdb::Absent => None,
    }
}

/// A list of films as text, with how well each fits what was searched for, if anything was.
pub(super) fn films_text<'a>(
    screen: Screen,
    films: impl IntoIterator<Item = (&'a Movie, Option<Class>)>,
) -> String {
    let row = |(movie, class): (&Movie, Option<Class>)| {
        let known = if movie.is_complete() { "" } else { "incomplete" };
        let year = movie.year.map(|year| year.to_string()).unwrap_or_default();
        let class = class.map_or("", Class::as_str);
        [&movie.title, &year, &movie.genres.join("|"), class, known].map(str::to_owned).to_vec()
    };
    let rows: Vec<_> = films.into_iter().map(row).collect();
    let fits = if rows.iter().any(|row| !row[3].is_empty()) { "FITS BY" } else { "" };
    let columns = [
        ("TITLE", Lean::Left),
        ("YEAR", Lean::Right),
        ("GENRES", Lean::Left),
        (fits, Lean::Left),
        ("", Lean::Left),
    ];
    table(screen, &columns, rows)
}

/// `client movie find 'The Matrix (1999)'`.
pub(super) fn find_words(title: &str, year: Option<Year>) -> String {
    let named = named(title, year);
    format!("client movie find {}", shlex::try_quote(&named).unwrap_or(std::borrow::Cow::Borrowed(&named)))
}

/// "The Matrix (1999)".
pub(super) fn named(title: &str, year: Option<Year>) -> String {
    match year {
        Some(year) => format!("{title} ({year})"),
        None => title.to_owned(),
    }
}

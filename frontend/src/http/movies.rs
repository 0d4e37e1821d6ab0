//! Films: search, one film, adding and editing. A film that is not here, or half known, is looked up at OMDb on the
//! way, as for every other client.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use common::replication::RequestId;
use common::services::Outcome;
use common::services::movies::command::{Command, NewMovie, Reply};
use common::services::movies::query::{Answer, Hit, How, Near, Places, Query};
use common::services::movies::refusal::{Field, Refusal};
use common::services::movies::{FilmKey, Movie, NAME, Title, Year};

use super::cookies::Visitor;
use super::counter::Failed;
use super::forms::{Form, encoded};
use super::page::{Notice, Page, Problem, html, refused, see};
use super::ratings::{self, Ratings, Seen};
use super::site::Site;

/// Of one page.
const FILMS_MAX: u32 = 50;

#[derive(Template)]
#[template(path = "movies.html")]
struct FilmList {
    page: Page,
    q: String,
    films: Vec<Card>,
    near: Vec<Card>,
    /// Where the list goes on.
    next: Option<String>,
}

/// A film in a list.
struct Card {
    title: String,
    year: Option<Year>,
    path: String,
    genres: String,
    description: String,
}

#[derive(Template)]
#[template(path = "movie.html")]
struct Film {
    page: Page,
    movie: Movie,
    path: String,
    /// What OMDb had to do with it, when that is worth a word.
    note: Option<&'static str>,
    /// `None`: nobody could say.
    ratings: Option<Ratings>,
    /// As typed, or the visitor's own.
    stars: String,
}

#[derive(Template)]
#[template(path = "movie_form.html")]
struct Editor {
    page: Page,
    request: RequestId,
    action: String,
    /// Whether title and year are asked for; those of a film never change.
    is_new: bool,
    title: String,
    year: String,
    url: String,
    description: String,
    genres: String,
}

impl FilmList {
    fn q_encoded(&self) -> String {
        encoded(&self.q)
    }
}

/// Why there is no film to show.
enum No {
    Refused(Refusal),
    Failed(Failed),
}

impl From<&Movie> for Card {
    fn from(movie: &Movie) -> Self {
        Self {
            title: movie.title.clone(),
            year: movie.year,
            path: path(&movie.key()),
            genres: movie.genres.join(", "),
            description: movie.description.clone(),
        }
    }
}

impl From<&Near> for Card {
    fn from(near: &Near) -> Self {
        let path = path(&FilmKey::of(&near.title, near.year));
        Self {
            title: near.title.clone(),
            year: near.year,
            path,
            genres: String::new(),
            description: String::new(),
        }
    }
}

/// A film's address: `/movies/the-matrix-1999`. A folded title holds blanks and no hyphens, so it reads back.
fn path(key: &FilmKey) -> String {
    let year = key.year().map_or_else(|| "x".to_owned(), |year| year.to_string());
    format!("/movies/{}-{year}", encoded(&key.title().replace(' ', "-")))
}

/// The title and the year of an address's last part.
fn parted(part: &str) -> Option<(String, Option<u16>)> {
    let (title, year) = part.rsplit_once('-')?;
    let year = match year {
        "x" => None,
        year => Some(year.parse().ok()?),
    };
    Some((title.replace('-', " "), year))
}

impl Site {
    async fn films(&self, query: &Query) -> Result<Answer, No> {
        match self.counter.query(NAME, query).await {
            Ok(Answer::Refused(refusal)) => Err(No::Refused(refusal)),
            Ok(answer) => Ok(answer),
            Err(failed) => Err(No::Failed(failed)),
        }
    }

    async fn find(
        &self,
        text: &str,
        year: Option<u16>,
        how: How,
    ) -> Result<(Movie, Option<&'static str>), No> {
        let query = Query::Find { text: text.to_owned(), year, how, places: Places::OmdbToo };
        let Answer::Found(found) = self.films(&query).await? else { return Err(No::Failed(Failed::Away)) };
        let note = (!found.stored).then_some("This comes from OMDb, and could not be stored here just now.");
        Ok((found.movie, note))
    }
}

/// `GET /movies`: all films, or with `?q=` those that fit.
pub(super) async fn list(
    State(site): State<Site>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let q = query.get("q").trim().to_owned();
    let problem = Problem::of(&visitor);
    let page = Page::new(&visitor, "movies", "Movies");
    let films =
        if q.is_empty() { all(&site, page, query.get("after")).await } else { search(&site, page, q).await };
    match films {
        Ok(films) => Ok(html(StatusCode::OK, &films)),
        Err(failed) => Err(problem(failed)),
    }
}

async fn all(site: &Site, page: Page, after: &str) -> Result<FilmList, Failed> {
    let key = |(title, year): (String, Option<u16>)| FilmKey::of(&title, year.and_then(Year::new));
    let query = Query::List { prefix: String::new(), after: parted(after).map(key), limit: FILMS_MAX };
    let list = match site.films(&query).await {
        Ok(Answer::List(list)) => list,
        Err(No::Failed(failed)) => return Err(failed),
        _ => return Err(Failed::Away),
    };
    let last = list.entries.last().filter(|_| list.more);
    let next = last.and_then(|movie| path(&movie.key()).strip_prefix("/movies/").map(str::to_owned));
    Ok(FilmList {
        page,
        q: String::new(),
        films: list.entries.iter().map(Card::from).collect(),
        near: vec![],
        next,
    })
}

async fn search(site: &Site, page: Page, q: String) -> Result<FilmList, Failed> {
    let hits: Vec<Hit> = match site.films(&Query::Search { text: q.clone(), limit: FILMS_MAX }).await {
        Ok(Answer::Hits(hits)) => hits.entries,
        Err(No::Failed(failed)) => return Err(failed),
        _ => vec![],
    };
    let mut films: Vec<Card> = hits.iter().map(|hit| Card::from(&hit.movie)).collect();
    let (mut notices, mut near) = (vec![], vec![]);
    // What was not named exactly may be at OMDb.
    if !hits.first().is_some_and(|best| How::Naming.accepts(best.class)) {
        match site.find(&q, None, How::Reading).await {
            Ok((movie, _)) => {
                let found = Card::from(&movie);
                films.retain(|film| film.path != found.path);
                films.insert(0, found);
            }
            Err(No::Refused(refusal)) => {
                if let Refusal::MovieUnknown { near: named } | Refusal::MovieUnchecked { near: named, .. } =
                    &refusal
                    && films.is_empty()
                {
                    near = named.iter().map(Card::from).collect();
                }
                if films.is_empty() {
                    notices.push(Notice::error(refusal.sentence()));
                }
            }
            // What is here is shown.
            Err(No::Failed(_)) => {}
        }
    }
    Ok(FilmList { page: page.saying(notices), q, films, near, next: None })
}

/// The film at this address and its true address, or the page that says why there is none.
pub(super) async fn named(site: &Site, visitor: &Visitor, part: &str) -> Result<(Movie, String), Response> {
    let (movie, _) = looked_up(site, visitor, part).await?;
    let path = path(&movie.key());
    Ok((movie, path))
}

async fn looked_up(
    site: &Site,
    visitor: &Visitor,
    part: &str,
) -> Result<(Movie, Option<&'static str>), Response> {
    let unknown = |near: &[Near]| {
        let page = Page::new(visitor, "movies", "Not here")
            .saying([Notice::error("That movie was not found in the database.")]);
        let near = near.iter().map(Card::from).collect();
        html(
            StatusCode::NOT_FOUND,
            &FilmList { page, q: part.replace('-', " "), films: vec![], near, next: None },
        )
    };
    let Some((title, year)) = parted(part) else { return Err(unknown(&[])) };
    match site.find(&title, year, How::Naming).await {
        Ok(found) => Ok(found),
        Err(No::Refused(Refusal::MovieUnknown { near } | Refusal::MovieUnchecked { near, .. })) => {
            Err(unknown(&near))
        }
        Err(No::Refused(Refusal::MovieAmbiguous { candidates, .. })) => Err(unknown(&candidates)),
        Err(No::Refused(refusal)) => {
            Err(refused(visitor, StatusCode::UNPROCESSABLE_ENTITY, &refusal.sentence()))
        }
        Err(No::Failed(failed)) => Err(away(visitor, failed)),
    }
}

fn away(visitor: &Visitor, failed: Failed) -> Response {
    Problem::of(visitor)(failed).into_response()
}

/// `GET /movies/{key}`.
pub(super) async fn show(
    State(site): State<Site>,
    visitor: Visitor,
    Path(part): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let (movie, note) = match looked_up(&site, &visitor, &part).await {
        Ok(found) => found,
        Err(response) => return response,
    };
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let news = [
        ("added", "Movie entry added."),
        ("updated", "Movie entry updated."),
        ("rated", "Your rating is kept."),
        ("deleted", "Your rating is taken back."),
    ];
    let news = news.into_iter().filter(|(word, _)| query.has(word)).map(|(_, text)| Notice::news(text));
    draw(&site, &visitor, &headers, movie, note, news.collect()).await
}

/// A film's page with something said first.
pub(super) async fn redraw(
    site: &Site,
    visitor: &Visitor,
    headers: &HeaderMap,
    movie: Movie,
    said: Notice,
) -> Response {
    draw(site, visitor, headers, movie, None, vec![said]).await
}

async fn draw(
    site: &Site,
    visitor: &Visitor,
    headers: &HeaderMap,
    movie: Movie,
    note: Option<&'static str>,
    said: Vec<Notice>,
) -> Response {
    let mut seen = Seen::of(headers);
    // A film is worth seeing without its ratings, too.
    let ratings = ratings::of(site, visitor.user(), &movie, &mut seen).await.ok();
    let mine = ratings.as_ref().and_then(|ratings| ratings.mine);
    let stars = mine.map_or_else(String::new, |rating| rating.to_string());
    let page = Page::new(visitor, "movies", movie.title.clone()).saying(said);
    let status = page.status();
    let path = path(&movie.key());
    let response = html(status, &Film { page, movie, path, note, ratings, stars });
    (seen.cookie().map(|cookie| [(header::SET_COOKIE, cookie)]), response).into_response()
}

/// `GET /movies/new`.
pub(super) async fn new(State(site): State<Site>, visitor: Visitor, RawQuery(query): RawQuery) -> Response {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    draw_new(&site, &visitor, &query, None)
}

fn draw_new(site: &Site, visitor: &Visitor, form: &Form, error: Option<Notice>) -> Response {
    let typed = |name: &str| form.get(name).to_owned();
    let editor = Editor {
        page: Page::new(visitor, "movies", "Add a movie").saying(error),
        request: site.draw(),
        action: "/movies/new".to_owned(),
        is_new: true,
        title: typed("title"),
        year: typed("year"),
        url: typed("url"),
        description: typed("description"),
        genres: typed("genres"),
    };
    html(editor.page.status(), &editor)
}

/// `POST /movies/new`.
pub(super) async fn add(State(site): State<Site>, visitor: Visitor, form: Form) -> Response {
    let Some(request) = form.request() else { return see("/movies/new") };
    let year = match form.get("year").trim() {
        "" => None,
        text => {
            let Ok(year) = text.parse() else {
                let error = Notice::at("year", "The year: a number like 1999, please.");
                return draw_new(&site, &visitor, &form, Some(error));
            };
            Some(year)
        }
    };
    let title = form.get("title").to_owned();
    let movie = NewMovie {
        title: title.clone(),
        year,
        url: form.get("url").trim().to_owned(),
        description: form.get("description").trim().to_owned(),
        genres: genres(&form),
        ..NewMovie::default()
    };
    match run(&site, request, &Command::Add { movie }).await {
        Ok(()) => {
            let read = Title::read(&title);
            let key = FilmKey::of(&read.title, year.and_then(Year::new).or(read.year));
            see(&format!("{}?added", path(&key)))
        }
        Err(No::Refused(refusal)) => draw_new(&site, &visitor, &form, Some(notice(&refusal))),
        Err(No::Failed(failed)) => away(&visitor, failed),
    }
}

/// `GET /movies/{key}/edit`.
pub(super) async fn edit(State(site): State<Site>, visitor: Visitor, Path(part): Path<String>) -> Response {
    match named(&site, &visitor, &part).await {
        Ok((movie, _)) => draw_edit(&site, &visitor, &movie, None),
        Err(response) => response,
    }
}

fn draw_edit(site: &Site, visitor: &Visitor, movie: &Movie, typed: Option<(&Form, Notice)>) -> Response {
    let path = path(&movie.key());
    let (form, error) = typed.unzip();
    let text = |name: &str, kept: &str| form.map_or(kept, |form| form.get(name)).to_owned();
    let editor = Editor {
        page: Page::new(visitor, "movies", format!("Edit {}", movie.title)).saying(error),
        request: site.draw(),
        action: format!("{path}/edit"),
        is_new: false,
        title: movie.title.clone(),
        year: movie.year.map_or_else(String::new, |year| year.to_string()),
        url: text("url", &movie.url),
        description: text("description", &movie.description),
        genres: text("genres", &movie.genres.join(", ")),
    };
    html(editor.page.status(), &editor)
}

/// `POST /movies/{key}/edit`.
pub(super) async fn change(
    State(site): State<Site>,
    visitor: Visitor,
    Path(part): Path<String>,
    form: Form,
) -> Response {
    let movie = match named(&site, &visitor, &part).await {
        Ok((movie, _)) => movie,
        Err(response) => return response,
    };
    let Some(request) = form.request() else { return see(&path(&movie.key())) };
    let command = Command::Edit {
        title: movie.title.clone(),
        year: movie.year.map(u16::from),
        url: Some(form.get("url").trim().to_owned()),
        description: Some(form.get("description").trim().to_owned()),
        genres: Some(genres(&form)),
    };
    match run(&site, request, &command).await {
        Ok(()) => see(&format!("{}?updated", path(&movie.key()))),
        Err(No::Refused(refusal)) => draw_edit(&site, &visitor, &movie, Some((&form, notice(&refusal)))),
        Err(No::Failed(failed)) => away(&visitor, failed),
    }
}

async fn run(site: &Site, request: RequestId, command: &Command) -> Result<(), No> {
    match site.counter.execute(NAME, request, command).await {
        Ok(Reply::Done(_)) => Ok(()),
        Ok(Outcome::Refused(refusal)) => Err(No::Refused(refusal)),
        Err(failed) => Err(No::Failed(failed)),
    }
}

/// As they are typed, with commas between.
fn genres(form: &Form) -> Vec<String> {
    form.get("genres")
        .split(',')
        .map(str::trim)
        .filter(|genre| !genre.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A refusal, at the field that it speaks of.
fn notice(refusal: &Refusal) -> Notice {
    match refusal {
        Refusal::Invalid { field, why, .. } => {
            let (id, name) = match field {
                Field::Title | Field::Alias => ("title", "The title"),
                Field::Year => ("year", "The year"),
                Field::Url => ("url", "The address"),
                Field::Description => ("description", "The description"),
                Field::Genres | Field::Genre => ("genres", "The genres"),
                Field::Movies | Field::Keys => return Notice::error(refusal.sentence()),
            };
            Notice::at(id, format!("{name}: {why}"))
        }
        Refusal::MovieExists { .. } => Notice::at("title", refusal.sentence()),
        other => Notice::error(other.sentence()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_films_address_reads_back() {
        for (title, year, address) in [
            ("The Matrix", Some(1999), "/movies/the-matrix-1999"),
            ("Blade Runner 2049", Some(2017), "/movies/blade-runner-2049-2017"),
            ("2012", None, "/movies/2012-x"),
            ("Солярис", Some(1972), "/movies/%D1%81%D0%BE%D0%BB%D1%8F%D1%80%D0%B8%D1%81-1972"),
        ] {
            let key = FilmKey::of(title, year.and_then(Year::new));
            assert_eq!(path(&key), address);
        }
        assert_eq!(parted("blade-runner-2049-2017"), Some(("blade runner 2049".to_owned(), Some(2017))));
        assert_eq!(parted("2012-x"), Some(("2012".to_owned(), None)));
        for bad in ["", "matrix", "matrix-", "matrix-y", "a-99999999"] {
            assert_eq!(parted(bad), None, "{bad}");
        }
    }
}

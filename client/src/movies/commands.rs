//! The commands about films: `movie`, and the short words of the older systems.

use common::directory::Names;
use common::services::movies::command::NewMovie;
use common::services::movies::query::{Found, How, Places};
use common::services::movies::{self, FilmKey, NAME, Title, Year};

use super::{Changes, Movies, Written, number, shown};
use crate::ask::Prompts;
use crate::desk::Desk;
use crate::errors::{Code, Failure};
use crate::grammar::{FindMovie, Global, Movie, MovieList, MovieText};
use crate::leaders::Leaders;
use crate::objects;
use crate::output::{Ended, Output};

/// Runs one of the commands.
///
/// # Errors
/// The command's failure, or what ended it.
pub(crate) async fn run(desk: &Desk, output: Output, global: Global, command: Movie) -> Result<(), Ended> {
    let counter = Counter {
        output,
        prompts: desk.prompts.clone(),
        movies: Movies::over(desk.service(NAME, output, &global)?),
        asks: Prompts::somebody_is_there(&global),
    };
    let names: Names = desk.names(&global)?;
    let leaders = Leaders::before(&names, NAME, output).await;
    let ended = match command {
        Movie::Find(find) => counter.find(find).await,
        Movie::Search { text, limit } => counter.search(&text.join(" "), limit).await,
        Movie::List(list) => counter.list(list).await,
        Movie::Add(movie) => counter.add(movie).await,
        Movie::Edit(movie) => counter.edit(movie).await,
    };
    leaders.after(&names, output).await;
    ended
}

/// Where one command is carried out.
struct Counter {
    output: Output,
    prompts: Prompts,
    movies: Movies,
    /// Whether somebody is there to be asked.
    asks: bool,
}

impl Counter {
    async fn find(&self, find: FindMovie) -> Result<(), Ended> {
        let FindMovie { title, year, local } = find;
        let places = if local { Places::Here } else { Places::OmdbToo };
        let found = match self.movies.find(&title.join(" "), year, How::Reading, places).await {
            Ok(found) => found,
            Err(failure) => {
                let (title, year) = self.meant_instead(failure).await?;
                self.movies.find(&title, year, How::Reading, places).await?
            }
        };
        self.learn([&found.movie]);
        if let Some(note) = shown::note(&found) {
            self.output.note(note);
        }
        self.output.one(&shown::found(&found), |_| shown::film_text(&found.movie))
    }

    /// Learns titles, for whoever types one of them next.
    fn learn<'a>(&self, movies: impl IntoIterator<Item = &'a movies::Movie>) {
        let titles = movies.into_iter().map(|movie| movie.title.clone()).collect();
        self.prompts.learn(|known| known.titles = titles);
    }

    /// What a person wanted, of films that are nearly called so; the failure, when none of them.
    async fn meant_instead(&self, failure: Failure) -> Result<(String, Option<u16>), Ended> {
        let offered = [Code::MovieUnknown, Code::MovieUnchecked].contains(&failure.code) && self.asks;
        let near = failure.fields.get("near").and_then(|near| near.get(0)).filter(|_| offered);
        let Some(title) = near.and_then(|film| film["title"].as_str()) else { return Err(failure.into()) };
        let year = near.and_then(|film| u16::try_from(film["year"].as_u64()?).ok());
        let named = shown::named(title, year.and_then(Year::new));
        self.output.say(&failure.message);
        if self.prompts.yes(&format!("Did you mean {named}?"), true).await? {
            Ok((title.to_owned(), year))
        } else {
            Err(failure.told().into())
        }
    }

    async fn search(&self, text: &str, limit: u32) -> Result<(), Ended> {
        let hits = self.movies.search(text, limit).await?;
        self.learn(hits.iter().map(|hit| &hit.movie));
        let objects: Vec<objects::Movie> = hits.iter().map(shown::hit).collect();
        self.output.list(&objects, |screen| match hits.as_slice() {
            [] => "No movie fits.".into(),
            hits => shown::films_text(screen, hits.iter().map(|hit| (&hit.movie, Some(hit.class)))),
        })
    }

    async fn list(&self, list: MovieList) -> Result<(), Ended> {
        let MovieList { prefix, limit, after } = list;
        let after = after.map(|text| {
            let title = Title::read(&text);
            FilmKey::of(&title.title, title.year)
        });
        let movies = self.movies.list(&prefix, after, limit).await?;
        self.learn(&movies);
        let objects: Vec<objects::Movie> = movies.iter().map(shown::of).collect();
        self.output.list(&objects, |screen| match movies.as_slice() {
            [] => "No movies.".into(),
            movies => shown::films_text(screen, movies.iter().map(|movie| (movie, None))),
        })
    }

    async fn add(&self, movie: MovieText) -> Result<(), Ended> {
        let MovieText { title, year, url, description, genres } = movie;
        let title = title.join(" ");
        let year = self
            .movies
            .add(NewMovie {
                title: title.clone(),
                year,
                url: url.unwrap_or_default(),
                description: description.unwrap_or_default(),
                genres,
                ..NewMovie::default()
            })
            .await?;
        self.show_written(&title, Written::Added, year).await
    }

    async fn edit(&self, movie: MovieText) -> Result<(), Ended> {
        let MovieText { title, year, url, description, genres } = movie;
        let title = title.join(" ");
        let genres = (!genres.is_empty()).then_some(genres);
        let (written, year) = self.movies.edit(&title, year, Changes { url, description, genres }).await?;
        self.show_written(&title, written, year).await
    }

    /// Shows a film that was written: as it is stored now.
    async fn show_written(&self, title: &str, written: Written, year: Option<Year>) -> Result<(), Ended> {
        let request_id = self.movies.last_id();
        let found = self.movies.find(title, number(year), How::Naming, Places::Here).await;
        let Found { movie, .. } = found.map_err(|failure| {
            let message = format!("{} It cannot be shown: {}", written.sentence(), failure.message);
            let hint = shown::find_words(title, year);
            Failure { request_id, ..Failure::new(Code::Unacknowledged, message).hint(hint) }
        })?;
        let object = objects::Movie { outcome: Some(written.as_str()), ..shown::of(&movie) };
        self.output.one(&object, |_| format!("{}\n{}", written.sentence(), shown::film_text(&movie)))
    }
}

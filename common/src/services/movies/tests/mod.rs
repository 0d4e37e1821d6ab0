//! The service's rules, as a person, an import, a door and a replica meet them.

mod commands;
mod finding;
mod lists;
mod properties;
mod refusals;

use super::command::{Filled, NewMovie, Sender};
use super::movie::{Part, Source};
use super::query::{Found, Hit, How, Near, Page, Places};
use super::*;
use crate::services::laws;

/// A database, and how tests talk to it.
struct Library {
    state: Movies,
    commands: u64,
}

/// A film of that title and year, of which all is known.
fn film(title: &str, year: u16) -> NewMovie {
    NewMovie {
        title: title.into(),
        year: Some(year),
        url: "https://films.example/1".into(),
        description: "Somebody wants something.".into(),
        genres: vec!["Drama".into()],
        ..NewMovie::default()
    }
}

/// A film of that title, in which the year may be, of which nothing is known.
fn bare(title: &str) -> NewMovie {
    NewMovie { title: title.into(), ..NewMovie::default() }
}

fn year(year: u16) -> Option<Year> {
    Year::new(year)
}

impl Library {
    fn empty() -> Self {
        Self { state: Movies::default(), commands: 0 }
    }

    fn demo() -> Self {
        let state = Movies::start(Timestamp::from_millis(7), &start_bytes(Start::Demo)).unwrap();
        Self { state, commands: 0 }
    }

    /// These titles, as a list writes them.
    fn of(titles: &[&str]) -> Self {
        let mut library = Self::empty();
        for batch in titles.chunks(bounds::BATCH_MAX) {
            library.add_many(batch.iter().map(|title| bare(title)).collect()).unwrap();
        }
        library
    }

    /// Runs a command; one that is refused must leave the state as it was.
    fn run_with(&mut self, facts: Facts, command: Command) -> Result<Done, Refusal> {
        let before = self.state.clone();
        let applied = laws::applied(self.commands);
        self.commands += 1;
        match self.state.apply(applied, facts, command) {
            Outcome::Done(done) => Ok(done),
            Outcome::Refused(refusal) => {
                assert!(self.state == before, "{refusal:?} changed the state");
                Err(refusal)
            }
        }
    }

    fn run(&mut self, command: Command) -> Result<Done, Refusal> {
        self.run_with(Facts::default(), command)
    }

    fn add(&mut self, movie: NewMovie) -> Result<Done, Refusal> {
        self.run(Command::Add { movie })
    }

    fn add_many(&mut self, movies: Vec<NewMovie>) -> Result<Done, Refusal> {
        self.run(Command::AddMany { movies })
    }

    fn fill(&mut self, record: NewMovie) -> Result<Done, Refusal> {
        self.run_with(Facts { sender: Sender::Door }, Command::Fill { record })
    }

    /// Edits what is given.
    fn edit(&mut self, title: &str, year: Option<u16>, description: &str) -> Result<Done, Refusal> {
        let description = Some(description.into());
        self.run(Command::Edit { title: title.into(), year, url: None, description, genres: None })
    }

    fn ask(&self, text: &str, year: Option<u16>, how: How) -> Result<Found, Refusal> {
        match self.state.query(Query::Find { text: text.into(), year, how, places: Places::Here }) {
            Answer::Found(found) => Ok(*found),
            Answer::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn find(&self, text: &str) -> Result<Found, Refusal> {
        self.ask(text, None, How::Reading)
    }

    fn movie(&self, text: &str) -> Movie {
        self.find(text).unwrap().movie
    }

    fn search(&self, text: &str, limit: u32) -> Vec<Hit> {
        match self.state.query(Query::Search { text: text.into(), limit }) {
            Answer::Hits(page) => page.entries,
            other => panic!("{other:?}"),
        }
    }

    fn list(&self, prefix: &str, after: Option<FilmKey>, limit: u32) -> Page<Movie> {
        match self.state.query(Query::List { prefix: prefix.into(), after, limit }) {
            Answer::List(page) => page,
            other => panic!("{other:?}"),
        }
    }
}

/// "The Matrix (1999)".
fn named(title: &str, year: Option<Year>) -> String {
    year.map_or_else(|| title.to_owned(), |year| format!("{title} ({year})"))
}

fn near_named(near: &[Near]) -> Vec<String> {
    near.iter().map(|near| named(&near.title, near.year)).collect()
}

//! Films: how long it takes to import MovieLens' sample, and to find one of them.

use std::cmp::Reverse;

use anyhow::{Context as _, Result, ensure};
use client::import::reader::Lists;
use common::clock::Clock;
use common::services::movies::command::{Command, Facts, NewMovie};
use common::services::movies::query::Query;
use common::services::movies::{Answer, Movies, Start, start_bytes};
use common::services::{StateMachine as _, laws};

use super::{Spread, figure, ms};
use crate::cluster::{Cluster, Options};
use crate::films::movielens_sample;

/// Measures both.
///
/// # Errors
/// When the sample is not there, or a process fails.
pub fn films() -> Result<()> {
    let folder = movielens_sample().context("no ml-latest-small in SHARED_DATA, nor in ../shared/data")?;
    let path = folder.to_str().context("a path is text")?;
    let cluster = Cluster::start(Options::default())?;
    for what in ["import of 9,742 rows, 3 replicas", "the same again"] {
        let done = cluster.json(&["import", "movielens", path])?.pop().context("an import is one object")?;
        figure(what, &done);
    }
    drop(cluster);

    let mut lists = Lists::default();
    lists.read_movies(std::fs::File::open(folder.join("movies.csv"))?)?;
    let films: Vec<NewMovie> = lists.films.into_iter().map(|film| film.movie.into()).collect();
    let titles: Vec<String> = films.iter().step_by(10).map(|film| film.title.clone()).collect();
    let applied = laws::applied(0);
    let mut movies = Movies::start(applied.time, &start_bytes(Start::Empty))?;
    for batch in films.chunks(100) {
        movies.apply(applied, Facts::default(), Command::AddMany { movies: batch.to_vec() });
    }
    for (what, change) in [
        ("a title as it is written", (|title| title.to_owned()) as fn(&str) -> String),
        ("its longest word", longest),
        ("its longest word, two letters swapped", |title| swapped(&longest(title))),
        ("all its words, each with two letters swapped", |title| {
            title.split(' ').map(swapped).collect::<Vec<_>>().join(" ")
        }),
    ] {
        let mut times = Vec::new();
        for title in &titles {
            let query = Query::Search { text: change(title), limit: 10 };
            let clock = Clock::start();
            let answer = movies.query(query);
            times.push(clock.now().since_origin());
            ensure!(matches!(answer, Answer::Hits(_) | Answer::Refused(_)));
        }
        figure(format!("search among {} films: {what}", films.len()), Spread::of(times));
    }

    let snapshot = movies.snapshot();
    let clock = Clock::start();
    let restored = Movies::restore(&snapshot)?;
    figure(format!("restoring them from {} bytes", snapshot.len()), ms(clock.now().since_origin()));
    ensure!(restored == movies, "another state was restored");
    Ok(())
}

fn longest(title: &str) -> String {
    title.split(' ').min_by_key(|word| Reverse(word.chars().count())).unwrap_or_default().to_owned()
}

/// The word with its second and third letter swapped; a short one as it is.
fn swapped(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() > 3 {
        letters.swap(1, 2);
    }
    letters.into_iter().collect()
}

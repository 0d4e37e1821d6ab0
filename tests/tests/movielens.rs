//! MovieLens' lists, imported through a front end into three replicas: once, however often it is begun, whoever dies.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{ChildStderr, Stdio};

use anyhow::{Context as _, Result, ensure};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::films::{films_everywhere, movielens_sample};
use common::services::movies::Movie;
use serde_json::Value;
use tempfile::TempDir;

/// A list of films like MovieLens', of these numbers.
fn list(numbers: Range<u32>) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let (mut movies, mut links) = ("movieId,title,genres\n".to_owned(), "movieId,imdbId,tmdbId\n".to_owned());
    for number in numbers {
        writeln!(movies, "{number},\"Film {number}, The (19{:02})\",Drama|Sci-Fi", number % 100)?;
        writeln!(links, "{number},{number:07},1")?;
    }
    fs::write(folder.path().join("movies.csv"), movies)?;
    fs::write(folder.path().join("links.csv"), links)?;
    Ok(folder)
}

fn words(folder: &Path) -> Result<[&str; 3]> {
    Ok(["import", "movielens", folder.to_str().context("a path is text")?])
}

/// Imports, and gives what became of the films.
fn import(cluster: &Cluster, folder: &Path) -> Result<Value> {
    Ok(cluster.json(&words(folder)?)?.pop().context("an import is one object")?["movies"].take())
}

/// The films, those of the samples left out.
fn imported(cluster: &Cluster) -> Result<Vec<Movie>> {
    let mut films = films_everywhere(cluster)?;
    films.retain(|movie| movie.title.starts_with("The Film "));
    Ok(films)
}

/// An import in the background, whose progress is read.
fn begin(cluster: &Cluster, folder: &Path) -> Result<(std::process::Child, BufReader<ChildStderr>)> {
    let mut command = cluster.client_command(&words(folder)?);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let told = BufReader::new(child.stderr.take().context("it is piped")?);
    Ok((child, told))
}

#[test]
fn a_second_import_changes_nothing_and_bad_rows_are_told_and_left_out() -> Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let folder = list(1..1_201)?;
    let done = import(&cluster, folder.path())?;
    assert_eq!((&done["added"], &done["unchanged"], &done["bad"]), (&1_200.into(), &0.into(), &0.into()));
    let films = imported(&cluster)?;
    assert_eq!(films.len(), 1_200);
    assert!(films.iter().all(|film| film.imdb.is_some() && film.genres == ["Drama", "Sci-Fi"]));

    let index = |cluster: &Cluster| -> Result<Value> {
        Ok(cluster.status()?["groups"][1]["members"][0]["index"].take())
    };
    let before = index(&cluster)?;
    let again = import(&cluster, folder.path())?;
    assert_eq!((&again["added"], &again["unchanged"]), (&0.into(), &1_200.into()));
    assert_eq!(index(&cluster)?, before, "nothing was sent");

    let mut movies = fs::read_to_string(folder.path().join("movies.csv"))?;
    movies += "7,Twice (1999),Drama\nx,No number (1999),Drama\n9001,\"Film 1, The (1901)\",Comedy\n9002,New (1999),(no genres listed)\n";
    fs::write(folder.path().join("movies.csv"), movies)?;
    let strict = cluster.client(&[&words(folder.path())?[..], &["--strict"]].concat())?;
    assert_eq!((strict.status.code(), index(&cluster)?), (Some(4), before));
    let output = cluster.client(&[&["--json"], &words(folder.path())?[..]].concat())?;
    let (object, said): (Value, _) =
        (serde_json::from_slice(&output.stdout)?, String::from_utf8(output.stderr)?);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("movies.csv line 1202") && said.contains("movies.csv line 1203"), "{said}");
    let movies = &object["movies"];
    let counts = ["added", "completed", "unchanged", "merged", "bad"].map(|name| movies[name].as_u64());
    assert_eq!(counts, [1, 0, 1_200, 1, 2].map(Some));
    Ok(())
}

#[test]
fn an_import_that_is_killed_half_way_is_completed_by_the_next() -> Result<()> {
    const FILMS: u32 = 4_000;
    let cluster = Cluster::start(Options::default())?;
    for round in 0..20 {
        let folder = list(round * FILMS + 1..(round + 1) * FILMS + 1)?;
        let before = imported(&cluster)?.len();
        let (mut importing, mut told) = begin(&cluster, folder.path())?;
        let mut line = String::new();
        told.read_line(&mut line)?;
        ensure!(line.starts_with("movies "), "{line}");
        importing.kill()?;
        importing.wait()?;
        let half = imported(&cluster)?.len() - before;
        import(&cluster, folder.path())?;
        let all = imported(&cluster)?.len() - before;
        assert_eq!(all, FILMS as usize);
        if half < all {
            ensure!(half > 0, "it had stored some when it was killed");
            return Ok(());
        }
        // It was done before it could be killed.
    }
    anyhow::bail!("each import was faster than its killer")
}

#[test]
fn an_import_goes_on_when_the_primary_is_killed() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let folder = list(1..4_001)?;
    let (mut importing, mut told) = begin(&cluster, folder.path())?;
    let mut line = String::new();
    told.read_line(&mut line)?;
    ensure!(line.starts_with("movies "), "{line}");
    let primary = cluster.primary()?;
    cluster.replicas[primary].kill()?;
    ensure!(importing.wait()?.success(), "the import noticed");
    assert_eq!(imported(&cluster)?.len(), 4_000);
    cluster.replicas[primary].start_again()?;
    cluster.await_whole(3)?;
    assert_eq!(imported(&cluster)?.len(), 4_000);
    Ok(())
}

#[test]
fn all_of_movielens_is_imported() -> Result<()> {
    let Some(folder) = movielens_sample() else {
        println!("not run: no ml-latest-small in SHARED_DATA, nor in ../shared/data");
        return Ok(());
    };
    let cluster = Cluster::start(Options::default())?;
    let path = folder.to_str().context("a path is text")?;
    let first = cluster.json(&["import", "movielens", path])?.pop().context("an import is one object")?;
    println!("{first}");
    let films = &first["movies"];
    // Twenty samples are there already, most of them under the same key.
    let count = |name: &str| films[name].as_u64().unwrap_or_default();
    assert_eq!(count("added") + count("completed") + count("unchanged"), 9_737, "{films}");
    assert_eq!((count("merged"), count("bad")), (5, 0));
    let all = films_everywhere(&cluster)?;
    let again = import(&cluster, &folder)?;
    assert_eq!(again["unchanged"], 9_737);
    assert_eq!(films_everywhere(&cluster)?, all);
    Ok(())
}

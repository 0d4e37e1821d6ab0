//! `import movielens DIR`: films and ratings from MovieLens' lists. What is there already is asked first, so that a second import
//! sends nothing, and one that was cut short goes on where it stopped, from any machine.

pub mod plan;
mod ratings;
pub mod reader;

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::services::movies::bounds::KEYS_MAX;
use common::services::movies::query::Held;
use common::services::movies::{Movie, NAME};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::desk::Desk;
use crate::errors::{self, Code, Failure};
use crate::grammar::{Global, Import, Movielens, Only};
use crate::movies::{Many, Movies};
use crate::objects;
use crate::output::{Ended, Output};
use crate::ratings::Ratings;
use plan::Plan;
use reader::{BadList, Lists};

/// Batches under way at once: as many as keep every disk busy, and no other caller waiting.
const AT_ONCE: usize = 16;

/// What whoever uses the data should know.
const LICENCE: &str = "MovieLens data: not for commercial use; README.txt beside them has the terms.";

/// Runs one of the commands.
///
/// # Errors
/// When the lists cannot be read, or not everything of them could be stored; what was stored stays.
pub(crate) async fn run(desk: &Desk, output: Output, global: Global, import: Import) -> Result<(), Ended> {
    let Import::Movielens(wish) = import;
    let clock = Clock::start();
    let (lists, bad_films) = read(&wish)?;
    for row in &lists.bad.first {
        output.say(&format!("{} line {}: {}", row.file, row.line, row.why));
    }
    if wish.strict && lists.bad.count > 0 {
        let failure = Failure::new(Code::BadRows, format!("{}; nothing was sent", rows(lists.bad.count)));
        return Err(failure.field("bad", lists.bad.count).into());
    }
    // Sixteen questions whether to try again would be fifteen too many.
    let unasked = Global { no_input: true, ..global };
    // Nor is one of so many commands the one to repeat: the whole import is.
    let service = desk.service(NAME, output, &unasked)?.noting(&Arc::default());
    desk.resumable.set(true);
    let movies = Movies::over(service);
    let rated = Ratings::over(desk.service(ratings::NAME, output, &unasked)?.noting(&Arc::default()));
    let done = async {
        let many = match wish.only {
            Some(Only::Ratings) => Many::default(),
            Some(Only::Movies) | None => films(&movies, &lists, wish.dry_run).await?,
        };
        let rated = match wish.only {
            Some(Only::Movies) => objects::Imported::default(),
            Some(Only::Ratings) | None => ratings::store(&rated, &lists, wish.dry_run).await?,
        };
        Ok::<_, Failure>((many, rated))
    };
    let done = done.await;
    desk.resumable.set(false);
    let (many, rated) =
        done.map_err(|failure| failure.hint("the same command again: it goes on where this one stopped"))?;
    let object = objects::Import {
        movies: objects::Imported {
            added: many.added,
            completed: many.completed,
            unchanged: many.unchanged,
            merged: lists.films_merged,
            bad: bad_films,
        },
        ratings: objects::Imported {
            merged: lists.ratings_merged,
            bad: lists.bad.count - bad_films,
            ..rated
        },
        seconds: tenths(clock.now().since_origin()),
    };
    output.one(&object, |_| text(&object, wish.dry_run))?;
    if object.ratings.added > 0 {
        output.note("no rating that was there was replaced; one that had been deleted is there again");
    }
    match lists.bad.count {
        0 => Ok(()),
        bad => {
            let failure = Failure::new(Code::BadRows, format!("{}, and left out", rows(bad)));
            Err(failure.hint("mend them, and the same command again").field("bad", bad).into())
        }
    }
}

/// Stores what is missing of the films, or only says what that is.
async fn films(movies: &Movies, lists: &Lists, only_looks: bool) -> Result<Many, Failure> {
    let films: Vec<&Movie> = lists.films.iter().map(|film| &film.movie).collect();
    let asked = stream::iter(films.chunks(KEYS_MAX))
        .map(|films| movies.have(films.iter().map(|film| film.key()).collect()))
        .buffered(AT_ONCE);
    let held: Vec<Vec<Option<Held>>> = asked.try_collect().await?;
    let Plan { batches, mut many } = Plan::new(films.iter().copied().zip(held.concat()));
    if only_looks {
        let missing = batches.iter().flat_map(|batch| &batch.films);
        for (_, known) in missing {
            *(if *known { &mut many.completed } else { &mut many.added }) += 1;
        }
        return Ok(many);
    }
    let progress = Progress::of("movies", batches.iter().map(|batch| batch.films.len() as u64).sum());
    let mut stored = stream::iter(batches)
        .map(async |batch| {
            let count = batch.films.len() as u64;
            Ok((count, movies.add_many(batch.movies()).await?))
        })
        .buffer_unordered(AT_ONCE);
    while let Some((count, more)) = stored.try_next().await? {
        many.added += more.added;
        many.completed += more.completed;
        many.unchanged += more.unchanged;
        progress.advance(count);
    }
    Ok(many)
}

/// The lists, and how many rows of those of films were bad.
fn read(wish: &Movielens) -> Result<(Lists, u64), Failure> {
    let mut lists = Lists::default();
    let path = wish.dir.join("movies.csv");
    lists.read_movies(open(&path)?).map_err(|bad| unreadable(&path, bad))?;
    let path = wish.dir.join("links.csv");
    match open(&path) {
        Ok(list) => lists.read_links(list).map_err(|bad| unreadable(&path, bad))?,
        Err(_) if !path.exists() => {}
        Err(failure) => return Err(failure),
    }
    let bad_films = lists.bad.count;
    let path = wish.dir.join("ratings.csv");
    match open(&path) {
        _ if wish.only == Some(Only::Movies) => {}
        Ok(list) => lists.read_ratings(list).map_err(|bad| unreadable(&path, bad))?,
        Err(_) if !path.exists() && wish.only.is_none() => {}
        Err(failure) => return Err(failure),
    }
    Ok((lists, bad_films))
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    File::open(path).map(BufReader::new).map_err(|error| errors::file(path, &error))
}

fn unreadable(path: &Path, bad: BadList) -> Failure {
    errors::file(path, &io::Error::new(io::ErrorKind::InvalidData, bad))
}

fn rows(count: u64) -> String {
    match count {
        1 => "1 row is bad".into(),
        count => format!("{count} rows are bad"),
    }
}

fn text(import: &objects::Import, only_looked: bool) -> String {
    let objects::Import { movies, ratings, seconds } = import;
    let objects::Imported { added: rated, unchanged: kept, merged: once, .. } = ratings;
    let objects::Imported { added, completed, unchanged, merged, .. } = movies;
    let would = if only_looked { "would be: " } else { "" };
    format!(
        "{would}movies: {added} added, {completed} completed, {unchanged} unchanged, {merged} merged   ratings: {rated} added, {kept} unchanged, {once} merged   {seconds:.1} s\n{LICENCE}"
    )
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// How far it is: a bar on a terminal, else a line for every tenth.
struct Progress {
    what: &'static str,
    bar: ProgressBar,
    lines: bool,
}

impl Progress {
    fn of(what: &'static str, all: u64) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(all), target);
        let style =
            ProgressStyle::with_template(&format!("{what} [{{bar:40}}] {{pos}}/{{len}}, {{eta}} left"));
        bar.set_style(style.expect("a template of its own words").progress_chars("=> "));
        Self { what, bar, lines: !terminal }
    }

    fn advance(&self, more: u64) {
        let all = self.bar.length().unwrap_or(0).max(1);
        let before = self.bar.position() * 10 / all;
        self.bar.inc(more);
        let (now, tenth) = (self.bar.position(), self.bar.position() * 10 / all);
        if self.lines && tenth > before {
            eprintln!("{} {now}/{all}", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

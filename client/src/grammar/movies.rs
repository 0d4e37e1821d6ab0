//! The words about films.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// About films.
#[derive(Clone, Debug, Subcommand)]
pub enum Movie {
    /// Find a film: here, and else at OMDb, from where it is kept
    #[command(visible_alias = "get", before_help = "Example: client movie find the matrix")]
    Find(FindMovie),
    /// Search films by words of their titles, best first
    #[command(before_help = "Example: client movie search lord rings --limit 3")]
    Search {
        /// Words of a title; slips of the hand are forgiven
        #[arg(required = true, value_name = "TEXT")]
        text: Vec<String>,
        /// This many at most
        #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=50))]
        limit: u32,
    },
    /// List films by title
    #[command(visible_alias = "all", before_help = "Example: client movie list --prefix \"the\" --json")]
    List(MovieList),
    /// Add a film
    #[command(
        before_help = "Example: client movie add Solaris --year 1972 --genre Drama --genre \"Science Fiction\""
    )]
    Add(MovieText),
    /// Change what is told of a film, or add it; what is not given stays
    #[command(before_help = "Example: client movie edit alien --description \"Nobody hears anybody.\"")]
    Edit(MovieText),
}

/// A film that somebody looks for.
#[derive(Clone, Debug, Args)]
pub struct FindMovie {
    /// Its title, with or without article; may end with the year in brackets
    #[arg(required = true, value_name = "TITLE")]
    pub title: Vec<String>,
    /// Its year
    #[arg(long, value_name = "YEAR")]
    pub year: Option<u16>,
    /// Do not ask OMDb
    #[arg(long)]
    pub local: bool,
}

/// Which films.
#[derive(Clone, Debug, Default, Args)]
pub struct MovieList {
    /// Only those whose titles begin so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// This many at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Only those after this one, like "Heat (1995)"
    #[arg(long, value_name = "TITLE")]
    pub after: Option<String>,
}

/// What is told of a film.
#[derive(Clone, Debug, Args)]
pub struct MovieText {
    /// Its title; may end with the year in brackets
    #[arg(required = true, value_name = "TITLE")]
    pub title: Vec<String>,
    /// Its year
    #[arg(long, value_name = "YEAR")]
    pub year: Option<u16>,
    /// Where to read of it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// What it is about
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Of what kind it is; may be given several times
    #[arg(long = "genre", value_name = "GENRE")]
    pub genres: Vec<String>,
}

/// Lists of others.
#[derive(Clone, Debug, Subcommand)]
pub enum Import {
    /// Import MovieLens' lists of films and ratings; again: what is missing
    #[command(before_help = "Example: client import movielens ml-latest-small")]
    Movielens(Movielens),
}

/// MovieLens' lists.
#[derive(Clone, Debug, Args)]
pub struct Movielens {
    /// Where movies.csv is, and links.csv and ratings.csv if there
    pub dir: PathBuf,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Stop at the first bad row, before anything is sent
    #[arg(long)]
    pub strict: bool,
    /// Only this
    #[arg(long, value_name = "WHAT")]
    pub only: Option<Only>,
}

/// A part of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// Titles, years, genres and IMDb's numbers.
    Movies,
    /// What users think of them.
    Ratings,
}

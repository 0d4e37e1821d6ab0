//! The commands about ratings.

use clap::{Args, Subcommand};

/// About ratings.
#[derive(Clone, Debug, Subcommand)]
pub enum Rating {
    /// Show your rating of a film
    #[command(before_help = "Example: client rating view toy story -u ann")]
    View(RatedFilm),
    /// Show the mean of a film's ratings
    #[command(before_help = "Example: client rating average \"Toy Story (1995)\"")]
    Average(RatedFilm),
    /// Show how a film's ratings are spread
    #[command(before_help = "Example: client rating histogram toy story")]
    Histogram(RatedFilm),
    /// Rate a film
    #[command(before_help = "Example: client rating rate \"Toy Story (1995)\" 4.5 -u ann")]
    Rate(Rate),
    /// Take your rating of a film back
    #[command(before_help = "Example: client rating delete toy story -u ann")]
    Delete(RatedFilm),
    /// List your ratings
    #[command(before_help = "Example: client rating mine -u ann --json")]
    Mine,
}

/// A film.
#[derive(Clone, Debug, Args)]
pub struct RatedFilm {
    /// Its title; may end with the year in brackets
    #[arg(required = true, value_name = "TITLE")]
    pub title: Vec<String>,
    /// Its year
    #[arg(long, value_name = "YEAR")]
    pub year: Option<u16>,
}

/// A rating to be given.
#[derive(Clone, Debug, Args)]
pub struct Rate {
    /// Of which film, its title as words; then how many stars, 0 to 5: 4, 2.5, 3.14159
    #[arg(required = true, num_args = 2.., value_names = ["TITLE", "STARS"], allow_negative_numbers = true)]
    pub words: Vec<String>,
    /// The film's year
    #[arg(long, value_name = "YEAR")]
    pub year: Option<u16>,
}

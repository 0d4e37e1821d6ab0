//! The commands about ratings.

use clap::{Args, Subcommand};
use common::services::ratings::Rating as Stars;

/// About ratings.
#[derive(Clone, Debug, Subcommand)]
pub enum Rating {
    /// Show your rating of a film
    #[command(before_help = "Example: client rating view \"Toy Story (1995)\" -u ann")]
    View(RatedFilm),
    /// Show the mean of a film's ratings
    #[command(before_help = "Example: client rating average \"Toy Story (1995)\"")]
    Average(RatedFilm),
    /// Show how a film's ratings are spread
    #[command(before_help = "Example: client rating histogram \"Toy Story (1995)\"")]
    Histogram(RatedFilm),
    /// Rate a film
    #[command(before_help = "Example: client rating rate \"Toy Story (1995)\" 4.5 -u ann")]
    Rate(Rate),
    /// Take your rating of a film back
    #[command(before_help = "Example: client rating delete \"Toy Story (1995)\" -u ann")]
    Delete(RatedFilm),
    /// List your ratings
    #[command(before_help = "Example: client rating mine -u ann --json")]
    Mine,
}

/// A film.
#[derive(Clone, Debug, Args)]
pub struct RatedFilm {
    /// Its title; the year may stand behind it in brackets
    pub title: String,
    /// Its year
    #[arg(long, value_name = "Y")]
    pub year: Option<u16>,
}

/// A rating to be given.
#[derive(Clone, Debug, Args)]
pub struct Rate {
    /// Of which film; the year may stand behind its title in brackets
    pub title: String,
    /// How many stars, 0 to 5: 4, 2.5, 3.14159
    #[arg(value_name = "STARS", allow_negative_numbers = true)]
    pub stars: Stars,
    /// The film's year
    #[arg(long, value_name = "Y")]
    pub year: Option<u16>,
}

//! The first state of a group: part of its Genesis entry, written once by the replica that creates the group.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::{Command, Facts, NewMovie};
use super::{ImdbId, Movies};
use crate::services::encode;

/// What a new group begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// The demonstration's twenty films.
    Demo,
    /// Nothing.
    Empty,
}

/// A first state as a Genesis entry holds it.
pub fn start_bytes(start: Start) -> Bytes {
    encode(&start)
}

/// Title, with another name; year; IMDb's number; description. Alien's url and description are empty, so that
/// completing can be seen; Inception, Brazil and Solaris are absent, so that fetching can.
#[rustfmt::skip]
const FILMS: [(&str, u16, u64, &str, &[&str]); 20] = [
    ("Toy Story", 1995, 114_709, "A cowboy doll has to share a shelf with a spaceman who does not know that he is a toy.", &["Animation", "Adventure", "Comedy"]),
    ("The Matrix", 1999, 133_093, "A programmer takes a pill and learns who runs the world that he took for real.", &["Action", "Sci-Fi"]),
    ("Alien", 1979, 78_748, "", &["Horror", "Sci-Fi"]),
    ("The Ring", 2002, 298_130, "Whoever watches the tape has seven days to find out why.", &["Horror", "Mystery"]),
    ("The Lord of the Rings: The Fellowship of the Ring", 2001, 120_737, "Nine walkers set out to throw a piece of jewellery away.", &["Adventure", "Fantasy"]),
    ("Heat", 1995, 113_277, "A thief and a detective in Los Angeles, each the best at his work, drink a coffee.", &["Crime", "Thriller"]),
    ("The Heat", 2013, 2_404_463, "Two policewomen who cannot stand each other are a team.", &["Action", "Comedy", "Crime"]),
    ("The Godfather", 1972, 68_646, "The youngest son never wanted a part in the family's business.", &["Crime", "Drama"]),
    ("Pulp Fiction", 1994, 110_912, "A briefcase, a boxer, a dance and a diner, not in this order.", &["Crime", "Thriller"]),
    ("Spirited Away", 2001, 245_429, "A girl works in a bath house for spirits to win her parents back.", &["Animation", "Fantasy"]),
    ("Jaws", 1975, 73_195, "The beach stays open although something swims there.", &["Adventure", "Horror"]),
    ("Casablanca", 1942, 34_583, "Of all the bars in the world, she walks into his, with her husband.", &["Drama", "Romance"]),
    ("Amélie", 2001, 211_915, "A waitress in Montmartre mends other people's lives in secret.", &["Comedy", "Romance"]),
    ("Seven (a.k.a. Se7en)", 1995, 114_369, "Two detectives follow a murderer who counts sins.", &["Mystery", "Thriller"]),
    ("Jane Eyre", 1996, 116_684, "A governess, a master and a locked door: with Charlotte Gainsbourg.", &["Drama", "Romance"]),
    ("Jane Eyre", 2011, 1_229_822, "A governess, a master and a locked door: with Mia Wasikowska.", &["Drama", "Romance"]),
    ("Metropolis", 1927, 17_136, "Above, gardens; below, machines; between them, somebody who looks like Maria.", &["Drama", "Sci-Fi"]),
    ("Psycho", 1960, 54_215, "A secretary on the run takes a room, and a shower.", &["Horror", "Thriller"]),
    ("Arrival", 2016, 2_543_164, "A linguist learns to write in circles before the armies lose patience.", &["Drama", "Sci-Fi"]),
    ("Groundhog Day", 1993, 107_048, "The man who announces the weather has the same day again, until he likes it.", &["Comedy", "Fantasy"]),
];

impl Movies {
    /// The first state that `start` describes.
    pub fn new(start: Start) -> Self {
        let mut movies = Self::default();
        if start == Start::Demo {
            for film in FILMS.map(new_movie) {
                movies
                    .run(Facts::default(), Command::Add { movie: film })
                    .expect("films above keep every rule");
            }
        }
        movies
    }
}

fn new_movie((title, year, imdb, description, genres): (&str, u16, u64, &str, &[&str])) -> NewMovie {
    let imdb = ImdbId::try_from(imdb).ok();
    let url = imdb.filter(|_| !description.is_empty()).map(ImdbId::url);
    NewMovie {
        title: title.into(),
        year: Some(year),
        aliases: vec![],
        url: url.unwrap_or_default(),
        description: description.into(),
        genres: genres.iter().map(|&genre| genre.into()).collect(),
        imdb,
    }
}

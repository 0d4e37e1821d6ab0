//! The rule by which films are found, on titles as a real list writes them: some here, and all 9,742 of MovieLens
//! where they are.

use std::path::{Path, PathBuf};

use common::services::movies::command::NewMovie;
use common::services::movies::query::{How, Near, Places};
use common::services::movies::{
    Answer, Command, Facts, Movie, Movies, Query, Refusal, Start, Year, start_bytes,
};
use common::services::{StateMachine, laws};

/// What is asked, and what comes of it; a list of near ones may go on.
const EXAMPLES: [(&str, &str); 24] = [
    ("the matrix", "exact: The Matrix (1999)"),
    ("Matrix, The", "exact: The Matrix (1999)"),
    ("matrix", "article: The Matrix (1999)"),
    ("spiderman", "article: Spider-Man (2002)"),
    ("WALL-E", "exact: WALL·E (2008)"),
    ("alien 3", "article: Alien³ (1992)"),
    ("se7en", "alias: Seven (1995)"),
    ("les miserables", "ambiguous: 4 movies are called ‘les miserables’: 2012, 2000, 1998, 1995."),
    ("sen to chihiro", "start: Spirited Away (2001)"),
    ("war of the worlds", "exact: War of the Worlds (2005)"),
    ("heat", "exact: Heat (1995)"),
    ("the heat", "exact: The Heat (2013)"),
    ("the ring", "ambiguous: 2 movies are called ‘the ring’: 2002, 1927."),
    ("lord of the rings", "article: The Lord of the Rings (1978)"),
    ("fellowship of the ring", "phrase, near: The Lord of the Rings: The Fellowship of the Ring (2001)"),
    (
        "lord rings",
        "words, near: The Lord of the Rings (1978); The Lord of the Rings: The Two Towers (2002); \
         The Lord of the Rings: The Return of the King (2003); \
         The Lord of the Rings: The Fellowship of the Ring (2001)",
    ),
    ("godfater", "letters, near: The Godfather (1972)"),
    ("matirx", "letters, near: The Matrix (1999)"),
    ("2001", "ambiguous: 2 movies are called ‘2001’: 2001 Maniacs (2005), 2001: A Space Odyssey (1968)."),
    ("xyzzy", "nothing near"),
    ("The Ring (1927)", "exact: The Ring (1927)"),
    (
        "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
        "exact: The City of Lost Children (1995)",
    ),
    ("la cité des enfants perdus", "alias: The City of Lost Children (1995)"),
    ("Death Note: Desu nôto (2006–2007)", "exact: Death Note: Desu nôto (2006)"),
];

/// Enough titles for every example, with those that could be taken for them.
const TITLES: [&str; 35] = [
    "2001 Maniacs (2005)",
    "2001: A Space Odyssey (1968)",
    "Alien (1979)",
    "Aliens (1986)",
    "Alien³ (a.k.a. Alien 3) (1992)",
    "Amazing Spider-Man, The (2012)",
    "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
    "Death Note: Desu nôto (2006–2007)",
    "Godfather, The (1972)",
    "Godfather: Part II, The (1974)",
    "Heat (1995)",
    "Heat, The (2013)",
    "In the Heat of the Night (1967)",
    "Lord of the Rings, The (1978)",
    "Lord of the Rings: The Fellowship of the Ring, The (2001)",
    "Lord of the Rings: The Return of the King, The (2003)",
    "Lord of the Rings: The Two Towers, The (2002)",
    "Matrix Reloaded, The (2003)",
    "Matrix, The (1999)",
    "Misérables, Les (1995)",
    "Misérables, Les (1998)",
    "Misérables, Les (2000)",
    "Misérables, Les (2012)",
    "Ring of Terror (1962)",
    "Ring, The (1927)",
    "Ring, The (2002)",
    "Ringu (Ring) (1998)",
    "Seven (a.k.a. Se7en) (1995)",
    "Spider (2002)",
    "Spider-Man (2002)",
    "Spider-Man 2 (2004)",
    "Spirited Away (Sen to Chihiro no kamikakushi) (2001)",
    "WALL·E (2008)",
    "War of the Worlds (2005)",
    "War of the Worlds, The (1953)",
];

/// A database of these titles.
fn library(titles: &[String]) -> Movies {
    let applied = laws::applied(0);
    let mut movies = Movies::start(applied.time, &start_bytes(Start::Empty)).expect("an empty start");
    for batch in titles.chunks(100) {
        let batch = batch.iter().map(|title| NewMovie { title: title.clone(), ..NewMovie::default() });
        let reply = movies.apply(applied, Facts::default(), Command::AddMany { movies: batch.collect() });
        assert!(matches!(reply, common::services::Outcome::Done(_)), "{reply:?}");
    }
    movies
}

fn named(title: &str, year: Option<Year>) -> String {
    year.map_or_else(|| title.to_owned(), |year| format!("{title} ({year})"))
}

/// What comes of a question, as the examples tell it.
fn told(movies: &Movies, text: &str) -> String {
    let query = Query::Find { text: text.into(), year: None, how: How::Reading, places: Places::Here };
    match movies.query(query) {
        Answer::Found(found) => {
            let Movie { title, year, .. } = found.movie;
            format!("{}: {}", found.class.as_str(), named(&title, year))
        }
        Answer::Refused(Refusal::MovieUnknown { near }) => match &near[..] {
            [] => "nothing near".into(),
            near @ [first, ..] => {
                let shown: Vec<_> = near.iter().map(|Near { title, year, .. }| named(title, *year)).collect();
                format!("{}, near: {}", first.class.as_str(), shown.join("; "))
            }
        },
        Answer::Refused(refusal @ Refusal::MovieAmbiguous { .. }) => format!("ambiguous: {refusal}"),
        other => panic!("{other:?}"),
    }
}

fn check_examples(titles: &[String]) {
    let movies = library(titles);
    for (text, expected) in EXAMPLES {
        let found = told(&movies, text);
        let goes_on = expected.contains("near: ") && found.starts_with(expected);
        assert!(found == expected || goes_on, "{text}: {found}, not {expected}");
    }
}

/// The sample of MovieLens, which its licence keeps out of this repository: beside it, or where the environment says.
fn movielens() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("SHARED_DATA").map_or_else(beside, PathBuf::from);
    Some(data.join("ml-latest-small")).filter(|folder| folder.is_dir())
}

#[test]
fn every_example_is_answered_as_the_specification_says() {
    check_examples(&TITLES.map(String::from));
}

#[test]
fn every_example_is_answered_so_among_all_titles_of_movielens() {
    let Some(folder) = movielens() else {
        println!("not run: no ml-latest-small in SHARED_DATA, nor in ../shared/data");
        return;
    };
    let mut rows = csv::Reader::from_path(folder.join("movies.csv")).unwrap();
    let titles: Vec<String> = rows.records().map(|row| row.unwrap()[1].to_owned()).collect();
    assert_eq!(titles.len(), 9_742);
    check_examples(&titles);

    let movies = library(&titles);
    for title in &titles {
        let query = Query::Find { text: title.clone(), year: None, how: How::Naming, places: Places::Here };
        let Answer::Found(found) = movies.query(query) else { panic!("{title} names no film") };
        assert_eq!(found.class.as_str(), "exact", "{title}");
    }
}

use std::collections::BTreeSet;

use super::super::bounds::MOVIES_MAX;
use super::super::refusal::Unasked;
use super::super::state::check_room;
use super::*;
use crate::services::{Machine, REPLY_BYTES_MAX, decode, encode};

/// The codes that concern films, of the table that all services share.
const CODES: [(&str, u8); 7] = [
    ("full", 4),
    ("invalid", 2),
    ("malformed", 1),
    ("movie_ambiguous", 3),
    ("movie_exists", 4),
    ("movie_unchecked", 5),
    ("movie_unknown", 3),
];

fn produced() -> Vec<Refusal> {
    let mut library = Library::demo();
    library
        .add_many(vec![bare("2001 Maniacs (2005)"), bare("2001: A Space Odyssey (1968)"), bare("Moonlight")])
        .unwrap();
    let reply = decode::<Reply>(&Machine::apply(&mut library.state, laws::applied(9), &[], &[99]));
    let Ok(Outcome::Refused(malformed)) = reply else { panic!("{reply:?}") };
    vec![
        malformed,
        library.add(bare(" ")).unwrap_err(),
        library.add(film("Heat", 1995)).unwrap_err(),
        library.add(film("Moonlight", 2016)).unwrap_err(),
        library.find("xyzzy").unwrap_err(),
        library.find("jane eyre").unwrap_err(),
        library.find("2001").unwrap_err(),
        check_room(MOVIES_MAX - 1, 2).unwrap_err(),
        // What only a front end's door can know.
        Refusal::MovieUnchecked { title: "Brazil".into(), why: Unasked::NoKey, near: vec![] },
        Refusal::MovieUnchecked { title: "Brazil".into(), why: Unasked::Unavailable, near: vec![] },
    ]
}

#[test]
fn every_code_is_produced_with_its_exit_status_and_no_other_is() {
    let found: BTreeSet<_> =
        produced().iter().map(|refusal| (refusal.code(), refusal.exit_status())).collect();
    assert_eq!(found, BTreeSet::from(CODES));
    assert_eq!(check_room(MOVIES_MAX - 1, 1), Ok(()));
}

#[test]
fn sentences_are_the_ones_that_people_know() {
    let sentences: Vec<_> = produced().iter().map(Refusal::sentence).collect();
    assert_eq!(
        sentences,
        [
            "The service did not understand the request.",
            "title: Don't leave it blank!",
            "That movie already exists in the database: Heat (1995).",
            "That movie already exists in the database: Moonlight (no year).",
            "That movie was not found in the database.",
            "2 movies are called ‘jane eyre’: 2011, 1996.",
            "2 movies are called ‘2001’: 2001 Maniacs (2005), 2001: A Space Odyssey (1968).",
            "The database of movies is full (1000000).",
            "‘Brazil’ is not in the database, and OMDb could not be asked (the front end has no key).",
            "‘Brazil’ is not in the database, and OMDb could not be asked (it did not answer).",
        ]
    );
}

#[test]
fn each_part_of_a_film_is_judged_by_its_rule() {
    let mut library = Library::empty();
    let long = |count| "x".repeat(count);
    for (movie, sentence) in [
        (film(&long(201), 2000), "title: at most 200 characters, please."),
        (
            film("He\u{202E}at", 2000),
            "title: U+202E cannot be shown to others; use letters, digits, signs and emoji.",
        ),
        (
            film("Heat\nWave", 2000),
            "title: U+000A cannot be shown to others; use letters, digits, signs and emoji.",
        ),
        (film("Heat", 1869), "year: a number from 1870 to 2100, please."),
        (film("Heat", 2101), "year: a number from 1870 to 2100, please."),
        (
            NewMovie { aliases: vec![long(201)], ..film("Heat", 2000) },
            "alias: at most 200 characters, please.",
        ),
        (
            NewMovie { url: "ftp://x".into(), ..film("Heat", 2000) },
            "url: an address that begins with http:// or https:// and holds no blanks, please.",
        ),
        (
            NewMovie { url: "https://".into(), ..film("Heat", 2000) },
            "url: an address that begins with http:// or https:// and holds no blanks, please.",
        ),
        (
            NewMovie { url: "https://a b".into(), ..film("Heat", 2000) },
            "url: an address that begins with http:// or https:// and holds no blanks, please.",
        ),
        (
            NewMovie { url: format!("https://{}", long(493)), ..film("Heat", 2000) },
            "url: at most 500 characters, please.",
        ),
        (
            NewMovie { description: long(2_001), ..film("Heat", 2000) },
            "description: at most 2000 characters, please.",
        ),
        (NewMovie { genres: vec![long(33)], ..film("Heat", 2000) }, "genre: at most 32 characters, please."),
        (
            NewMovie { genres: (0..21).map(|n| n.to_string()).collect(), ..film("Heat", 2000) },
            "genres: from 0 to 20 of them, please.",
        ),
    ] {
        assert_eq!(library.add(movie).unwrap_err().sentence(), sentence);
    }
    let none = library.add_many(vec![]).unwrap_err();
    assert_eq!(none.sentence(), "movies: from 1 to 100 of them, please.");
    assert!(library.add_many(vec![bare("x"); 101]).is_err());
    let at_the_bound = NewMovie {
        title: long(200),
        year: Some(2100),
        url: format!("HTTP://{}", long(493)),
        description: long(2_000),
        genres: (0..20).map(|n| format!("{n:032}")).collect(),
        ..NewMovie::default()
    };
    assert!(library.add(at_the_bound).is_ok());
    assert!(
        library.find(&format!("{} (2100)", long(200))).is_ok(),
        "a title is as long as it may be without its year"
    );
}

#[test]
fn the_longest_refusals_fit_into_a_remembered_reply() {
    let mut library = Library::empty();
    let wide = "🍕".repeat(200);
    let names =
        |count: u16| -> Vec<NewMovie> { (1900..1900 + count).map(|year| film(&wide, year)).collect() };
    library.add_many(names(100)).unwrap();
    let refusals = [
        (library.add(bare(&wide)).unwrap_err(), "movie_exists"),
        (library.edit(&wide, None, "x").unwrap_err(), "movie_ambiguous"),
    ];
    for (refusal, code) in refusals {
        assert_eq!(refusal.code(), code);
        let sentence = refusal.sentence();
        assert!(sentence.contains("🍕…"), "{sentence}");
        let bytes = encode(&Reply::Refused(refusal)).len();
        assert!(bytes <= REPLY_BYTES_MAX, "{code}: {bytes} bytes");
    }
    let sentence = library.edit(&wide, None, "x").unwrap_err().sentence();
    assert!(sentence.ends_with(": 1999, 1998 and 98 more."), "{sentence}");
    library.add_many((1900..1920).map(|year| film("Hamlet", year)).collect()).unwrap();
    let sentence = library.edit("hamlet", None, "x").unwrap_err().sentence();
    assert_eq!(
        sentence,
        "20 movies are called ‘hamlet’: 1919, 1918, 1917, 1916, 1915, 1914, 1913, 1912, 1911, 1910 and 10 more."
    );
}

use super::*;
use crate::services::page::PAGE_BYTES_MAX;
use crate::services::{decode, encode};

fn titles(page: &Page<Movie>) -> Vec<&str> {
    page.entries.iter().map(|movie| &*movie.title).collect()
}

#[test]
fn films_are_listed_by_key_in_pages_that_join() {
    let library = Library::of(&[
        "Heat, The (2013)",
        "Heat (1995)",
        "Heathers (1989)",
        "Heat (1986)",
        "Jaws (1975)",
        "Ére",
    ]);
    let all = library.list("", None, 0);
    assert_eq!(titles(&all), ["Ére", "Heat", "Heat", "Heathers", "Jaws", "The Heat"]);
    assert!(!all.more);
    let first = library.list("HEAT", None, 2);
    assert_eq!((titles(&first), first.more), (vec!["Heat", "Heat"], true));
    assert_eq!(first.entries[0].year, year(1986));
    let rest = library.list("HEAT", Some(first.entries[1].key()), 2);
    assert_eq!((titles(&rest), rest.more), (vec!["Heathers"], false));
    assert!(library.list("x", None, 0).entries.is_empty());
    let before = FilmKey::of("a", None);
    assert_eq!(titles(&library.list("jaws", Some(before), 0)), ["Jaws"], "a key before the prefix");
    assert!(library.list("heat", Some(FilmKey::of("zz", None)), 0).entries.is_empty());
}

/// A film as large as they may be.
fn largest(n: usize) -> NewMovie {
    let wide = |count| "🍕".repeat(count);
    NewMovie {
        title: format!("{n:03} {}", wide(196)),
        year: Some(2000),
        aliases: (0..8).map(|alias| format!("{n:03} {alias} {}", wide(194))).collect(),
        url: format!("https://{}", wide(492)),
        description: wide(2_000),
        genres: (10..30).map(|genre| format!("{genre}{}", wide(30))).collect(),
        imdb: "tt9999999999".parse().ok(),
    }
}

#[test]
fn a_page_holds_500_films_and_half_a_frame_at_most() {
    let small: Vec<_> = (0..501).map(|n| format!("Film {n}")).collect();
    let library = Library::of(&small.iter().map(String::as_str).collect::<Vec<_>>());
    let page = library.list("", None, 100_000);
    assert_eq!((page.entries.len(), page.more), (500, true));

    let mut library = Library::empty();
    for n in 0..60 {
        library.add(largest(n)).unwrap();
    }
    let listed = encode(&library.state.query(Query::List { prefix: "0".into(), after: None, limit: 0 }));
    let found = encode(&library.state.query(Query::Search { text: "🍕".into(), limit: 0 }));
    for answer in [&listed, &found] {
        assert!(answer.len() < PAGE_BYTES_MAX + 1024, "{} bytes", answer.len());
    }
    let Ok(Answer::List(page)) = decode(&listed) else { panic!("a full page cannot be read") };
    assert!(page.more && page.entries.len() > 20, "{}", page.entries.len());
}

#[test]
fn what_an_import_would_bring_is_asked_before() {
    let mut library = Library::demo();
    library.add(bare("Brazil (1985)")).unwrap();
    let keys = vec![
        FilmKey::of("Alien", year(1979)),
        FilmKey::of("Solaris", None),
        FilmKey::of("ALIEN", year(1980)),
        FilmKey::of("brazil", year(1985)),
        FilmKey::of("Seven", year(1995)),
    ];
    let Answer::Have(have) = library.state.query(Query::Have { keys }) else { panic!() };
    let lacks: Vec<_> = have.iter().map(|held| held.as_ref().map(|held| &*held.lacks)).collect();
    assert_eq!(
        lacks,
        [
            Some(&[Part::Aliases, Part::Url, Part::Description][..]),
            None,
            None,
            Some(&Part::ALL[..]),
            Some(&[][..])
        ]
    );
    let complete: Vec<_> = have.iter().flatten().map(query::Held::is_complete).collect();
    assert_eq!(complete, [false, false, true]);
    let many = |count| library.state.query(Query::Have { keys: vec![FilmKey::of("x", None); count] });
    assert!(matches!(many(1_000), Answer::Have(have) if have.len() == 1_000));
    let Answer::Refused(refusal) = many(1_001) else { panic!("answered") };
    assert_eq!(refusal.sentence(), "keys: from 0 to 1000 of them, please.");
}

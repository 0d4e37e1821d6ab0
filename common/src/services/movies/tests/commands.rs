use super::super::bounds::BATCH_MAX;
use super::*;

fn text_of(length: usize) -> String {
    "long ".repeat(length / 5)
}

#[test]
fn the_demonstration_begins_with_twenty_films_one_of_them_incomplete() {
    let library = Library::demo();
    let all = library.list("", None, 0).entries;
    assert_eq!(all.len(), 20);
    let incomplete: Vec<_> =
        all.iter().filter(|movie| !movie.is_complete()).map(|movie| &movie.title).collect();
    assert_eq!(incomplete, ["Alien"]);
    assert!(all.iter().all(|movie| movie.imdb.is_some() && movie.source == Source::Local));
    assert_eq!(library.movie("se7en").url, "https://www.imdb.com/title/tt0114369/");
    assert_eq!(library.movie("amelie").title, "Amélie");
    for absent in ["Inception", "Brazil", "Solaris"] {
        assert!(library.find(absent).is_err(), "{absent} is there, and cannot be fetched");
    }
    assert_eq!(Movies::start(Timestamp::from_millis(0), &start_bytes(Start::Empty)), Ok(Movies::default()));
    assert!(Movies::start(Timestamp::from_millis(0), &[9]).is_err());
}

#[test]
fn an_added_film_is_kept_as_typed_and_compared_folded() {
    let mut library = Library::empty();
    let typed = NewMovie {
        description: "Somebody_wants > \"something\", or | nothing;\nin two lines".into(),
        genres: vec!["Sci-Fi".into(), "Film-Noir".into(), "Sci-Fi".into()],
        ..film(" Spider-Man: Ça, \"là\" ", 2002)
    };
    assert_eq!(library.add(typed.clone()), Ok(Done::Added { year: year(2002) }));
    let movie = library.movie("spiderman ca la");
    assert_eq!(movie.title, "Spider-Man: Ça, \"là\"");
    assert_eq!(movie.description, typed.description);
    assert_eq!(movie.genres, ["Sci-Fi", "Film-Noir"], "one given twice counts once");
    assert_eq!((movie.source, movie.is_complete()), (Source::Local, true));
}

#[test]
fn add_refuses_the_known_and_what_may_be_it() {
    let mut library = Library::empty();
    library.add(film("Jane Eyre", 1996)).unwrap();
    assert_eq!(library.add(film("Jane Eyre", 2011)), Ok(Done::Added { year: year(2011) }), "another film");
    let exists = |title: &str, of| Err(Refusal::MovieExists { title: title.into(), year: year(of) });
    assert_eq!(library.add(film("JANE  EYRE!", 1996)), exists("Jane Eyre", 1996));
    assert_eq!(library.add(bare("Eyre, Jane (1996)")), Ok(Done::Added { year: year(1996) }));
    assert_eq!(library.add(bare("jane eyre")), exists("Jane Eyre", 1996), "which of them nobody knows");
    library.add(bare("Moonlight")).unwrap();
    assert_eq!(library.add(film("Moonlight", 2016)), exists("Moonlight", 0), "may be the same");
    assert_eq!(
        library.add(film("The Moonlight", 2016)),
        Ok(Done::Added { year: year(2016) }),
        "another title"
    );
}

#[test]
fn edit_replaces_what_is_given_and_keeps_the_rest() {
    let mut library = Library::demo();
    let before = library.movie("heat");
    assert_eq!(library.edit("Heat", Some(1995), "New."), Ok(Done::Updated { year: year(1995) }));
    assert_eq!(library.movie("heat"), Movie { description: "New.".into(), ..before.clone() });
    assert_eq!(library.movie("the heat").year, year(2013), "the other Heat is as it was");
    let edit = Command::Edit {
        title: "heat".into(),
        year: None,
        url: Some(String::new()),
        description: None,
        genres: Some(vec!["Slow".into()]),
    };
    library.run(edit).unwrap();
    let after = library.movie("heat");
    assert_eq!((&*after.url, &*after.description, after.genres), ("", "New.", vec!["Slow".to_owned()]));
    assert_eq!(after.title, "Heat");
}

#[test]
fn edit_changes_only_what_was_named_and_adds_what_is_not_there() {
    let mut library = Library::demo();
    assert_eq!(library.edit("matrix", None, "A."), Ok(Done::Updated { year: year(1999) }));
    assert_eq!(library.movie("the matrix").description, "A.");
    assert_eq!(library.edit("Se7en", None, "B."), Ok(Done::Updated { year: year(1995) }));
    assert_eq!(library.edit("Lord of the Rings", None, "C."), Ok(Done::Added { year: None }), "only begun");
    assert_eq!(library.movie("lord of the rings").description, "C.");
    assert_eq!(library.edit("Matrix", Some(2020), "D."), Ok(Done::Added { year: year(2020) }));
    assert_eq!(library.movie("the matrix").description, "A.");
    let Err(Refusal::MovieAmbiguous { count: 2, candidates, .. }) = library.edit("jane eyre", None, "E.")
    else {
        panic!("one of two was changed")
    };
    assert_eq!(near_named(&candidates), ["Jane Eyre (2011)", "Jane Eyre (1996)"]);
    assert_eq!(library.edit("Jane Eyre (1996)", None, "F."), Ok(Done::Updated { year: year(1996) }));
}

#[test]
fn fill_completes_what_is_empty_and_never_overwrites() {
    let mut library = Library::demo();
    let told = NewMovie { imdb: "tt9999999".parse().ok(), ..film("Alien", 1979) };
    assert_eq!(library.fill(told.clone()), Ok(Done::Filled(Filled::Completed)));
    let alien = library.movie("alien");
    assert_eq!((&*alien.description, alien.is_complete()), ("Somebody wants something.", true));
    assert_eq!(alien.imdb, "tt0078748".parse().ok(), "it had one");
    assert_eq!(alien.source, Source::Both);
    for _ in 0..3 {
        let other = NewMovie { description: "Another.".into(), ..told.clone() };
        assert_eq!(library.fill(other), Ok(Done::Filled(Filled::Unchanged)));
    }
    assert_eq!(library.movie("alien"), alien);
    assert_eq!(library.fill(film("Brazil", 1985)), Ok(Done::Filled(Filled::Added)));
    assert_eq!(library.movie("brazil").source, Source::Omdb);
    library.edit("brazil", None, "Ours.").unwrap();
    assert_eq!(library.movie("brazil").source, Source::Both);
    assert_eq!(library.fill(film("Heat", 1995)), Ok(Done::Filled(Filled::Unchanged)));
    assert_eq!(library.movie("heat").source, Source::Local, "nothing was taken");
}

#[test]
fn a_clients_fill_is_not_understood() {
    let mut library = Library::demo();
    let fill = Command::Fill { record: film("Alien", 1979) };
    assert_eq!(library.run(fill), Err(Refusal::Malformed));
}

#[test]
fn an_import_adds_completes_and_leaves_alone() {
    let mut library = Library::demo();
    let batch = vec![
        bare("Brazil (1985)"),
        NewMovie { genres: vec!["Horror".into()], ..bare("Alien (1979)") },
        NewMovie { description: "Cold.".into(), ..bare("Alien (1979)") },
        NewMovie { aliases: vec!["Le Fabuleux Destin d'Amélie Poulain".into()], ..bare("Amelie (2001)") },
        bare("Heat (1995)"),
        bare("Brazil (1985)"),
    ];
    let many = |added, completed, unchanged| Ok(Done::Many { added, completed, unchanged });
    assert_eq!(library.add_many(batch.clone()), many(1, 2, 3));
    assert_eq!(library.add_many(batch), many(0, 0, 6), "a repeat is nothing");
    assert_eq!(library.movie("alien").description, "Cold.");
    assert_eq!(library.movie("fabuleux destin d'amelie poulain").title, "Amélie", "a new alias is found");
    assert_eq!(library.movie("amelie").source, Source::Local);
}

#[test]
fn an_import_takes_all_films_of_a_batch_or_none() {
    let mut library = Library::empty();
    let refusal = library.add_many(vec![film("Heat", 1995), film("Heat", 1869)]).unwrap_err();
    assert_eq!(refusal.sentence(), "year of number 2: a number from 1870 to 2100, please.");
    assert!(library.list("", None, 0).entries.is_empty());
    let hundred = (0..BATCH_MAX).map(|n| bare(&n.to_string())).collect();
    assert_eq!(library.add_many(hundred), Ok(Done::Many { added: 100, completed: 0, unchanged: 0 }));
}

#[test]
fn aliases_are_names_apart_and_the_first_eight() {
    let mut library = Library::empty();
    let aliases = (0..9).map(|n| format!("Name {n}")).collect();
    library.add(NewMovie { aliases, ..bare("Title (a.k.a. TITLE) (Name 0) (1999)") }).unwrap();
    let movie = library.movie("title");
    let expected: Vec<_> = (0..8).map(|n| format!("Name {n}")).collect();
    assert_eq!(movie.aliases, expected);
    assert!(library.find("name 7").is_ok() && library.find("name 8").is_err());
}

#[test]
fn a_long_description_is_kept_whole() {
    let mut library = Library::empty();
    let description = text_of(2_000).trim().to_owned();
    library.add(NewMovie { description: description.clone(), ..film("Long", 2000) }).unwrap();
    assert_eq!(library.movie("long").description, description);
}

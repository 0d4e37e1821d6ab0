use super::*;
use crate::services::matching::Class;

#[test]
fn a_year_in_the_text_or_beside_it_filters_first() {
    let library = Library::of(&["Ring, The (2002)", "Ring, The (1927)", "Ring of Terror (1962)", "Ring"]);
    assert_eq!(library.movie("the ring (1927)").year, year(1927));
    assert_eq!(library.movie("Ring, The (2002)").year, year(2002));
    let asked = |text, beside| library.ask(text, Some(beside), How::Naming).map(|found| found.movie.year);
    assert_eq!(asked("ring", 1927), Ok(year(1927)));
    assert_eq!(asked("the ring (1927)", 2002), Ok(year(2002)), "the year beside it goes first");
    assert_eq!(library.ask("ring", Some(1962), How::Reading).unwrap().class, Class::Start);
}

#[test]
fn of_another_year_a_film_is_offered_and_not_taken() {
    let library = Library::of(&["Heat (1995)", "Heat, The (2013)"]);
    let Err(Refusal::MovieUnknown { near }) = library.find("heat (1994)") else { panic!("found") };
    assert_eq!(near_named(&near), ["Heat (1995)", "The Heat (2013)"]);
}

#[test]
fn what_is_named_may_be_changed_and_what_is_begun_only_read() {
    let library = Library::of(&[
        "Seven (a.k.a. Se7en) (1995)",
        "2001: A Space Odyssey (1968)",
        "Ponyo (Gake no ue no Ponyo) (2008)",
    ]);
    let naming = |text| library.ask(text, None, How::Naming).map(|found| found.class);
    assert_eq!(naming("SE7EN"), Ok(Class::Alias));
    assert_eq!(naming("the seven"), Ok(Class::Article));
    assert_eq!(naming("the se7en"), Ok(Class::Alias));
    assert_eq!(library.find("2001").unwrap().class, Class::Start);
    let Err(Refusal::MovieUnknown { near }) = naming("2001") else {
        panic!("a film was named by its beginning")
    };
    assert_eq!(near_named(&near), ["2001: A Space Odyssey (1968)"]);
    assert_eq!(library.find("gake no ue").unwrap().class, Class::Start);
    assert!(naming("gake no ue").is_err());
}

#[test]
fn a_film_is_found_by_whatever_it_was_added_as() {
    let titles = [
        "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
        "Bicycle Thieves (a.k.a. The Bicycle Thief) (Ladri di biciclette) (1948)",
        "Avventura, L' (Adventure, The) (1960)",
        "(500) Days of Summer (2009)",
        "M*A*S*H (a.k.a. MASH) (1970)",
        "…And Justice for All",
        "???",
        "🍕 (2020)",
        "千と千尋の神隠し (2001)",
    ];
    let library = Library::of(&titles);
    for title in titles {
        let found = library.ask(title, None, How::Naming).unwrap();
        let movie = found.movie;
        assert_eq!(found.class, Class::Exact, "{title}");
        assert_eq!(library.movie(&named(&movie.title, movie.year)), movie, "{title}");
    }
    for alias in
        ["la cite des enfants perdus", "Cité des enfants perdus, La", "the bicycle thief", "adventure"]
    {
        assert_eq!(library.ask(alias, None, How::Naming).unwrap().class, Class::Alias, "{alias}");
    }
    assert_eq!(library.movie("l'avventura").title, "L'Avventura");
    assert_eq!(library.find("mash").unwrap().class, Class::Article);
}

#[test]
fn inside_a_class_the_fewest_extra_words_come_first_then_the_newest_then_the_title() {
    let library = Library::of(&[
        "Hamlet (1948)",
        "Hamlet (1996)",
        "Hamlet",
        "Hamlet Goes Business (1987)",
        "Hamlet 2 (2008)",
        "Hamlet B (2008)",
        "Hamlet in the Park (2020)",
    ]);
    let titles: Vec<_> =
        library.search("hamlet", 0).into_iter().map(|hit| named(&hit.movie.title, hit.movie.year)).collect();
    assert_eq!(
        titles,
        [
            "Hamlet (1996)",
            "Hamlet (1948)",
            "Hamlet",
            "Hamlet 2 (2008)",
            "Hamlet B (2008)",
            "Hamlet Goes Business (1987)",
            "Hamlet in the Park (2020)"
        ]
    );
}

#[test]
fn beside_a_film_stand_others_that_fit_less() {
    let library = Library::of(&[
        "Alien (1979)",
        "Aliens (1986)",
        "Alien³ (1992)",
        "Alien: Resurrection (1997)",
        "Alien Nation (1988)",
    ]);
    let found = library.find("alien").unwrap();
    assert_eq!((found.class, found.stored), (Class::Exact, true));
    assert_eq!(near_named(&found.near), ["Alien: Resurrection (1997)", "Alien Nation (1988)"]);
    assert!(library.find("alien nation").unwrap().near.is_empty());
}

#[test]
fn slips_of_the_hand_count_only_when_nothing_better_is_there() {
    let library =
        Library::of(&["Matrix, The (1999)", "Matrixx (2004)", "Mattress (2000)", "Godfather, The (1972)"]);
    let classes = |text| -> Vec<_> {
        library.search(text, 0).into_iter().map(|hit| (hit.movie.title, hit.class)).collect()
    };
    assert_eq!(classes("matrix"), [("The Matrix".into(), Class::Article)]);
    assert_eq!(classes("matirx"), [("The Matrix".into(), Class::Letters)]);
    assert_eq!(classes("the godfathr"), [("The Godfather".into(), Class::Letters)]);
    assert_eq!(classes("godf"), [("The Godfather".into(), Class::Letters)], "the beginning of a word");
    assert_eq!(classes("go"), [], "two letters are nothing's beginning");
    assert_eq!(classes("the matirx godfather"), []);
}

#[test]
fn a_word_of_every_film_and_many_words_are_searched_too() {
    let titles: Vec<_> = (0..300).map(|n| format!("The Film Number {n} of the Series")).collect();
    let titles: Vec<_> = titles.iter().map(String::as_str).collect();
    let library = Library::of(&titles);
    assert_eq!(library.search("the", 0).len(), 50);
    assert_eq!(library.search("the", 7).len(), 7);
    assert_eq!(library.search("the", 99).len(), 50);
    let Err(Refusal::MovieAmbiguous { count, candidates, .. }) = library.find("the film") else { panic!() };
    assert_eq!((count, candidates.len()), (300, 10));
    assert_eq!(library.search(&"the ".repeat(50), 0).len(), 50, "a word said twice is one");
}

use super::*;

fn read_film(body: &str) -> Result<Word<NewMovie>, NoAnswer> {
    word(&Page { status: 200, body: body.to_owned().into() }, film)
}

fn told(body: &str) -> NewMovie {
    match read_film(body) {
        Ok(Word::Said(Said::That(film))) => film,
        other => panic!("{body}: {other:?}"),
    }
}

const INCEPTION: &str = r#"{"Title":"Inception","Year":"2010","Rated":"PG-13","Genre":"Action, Sci-Fi",
    "Plot":"A thief\tdreams.","imdbID":"tt1375666","Type":"movie","Response":"True"}"#;

#[test]
fn a05_omdb_record_becomes_ours() {
    let film = told(INCEPTION);
    assert_eq!((film.title.as_str(), film.year), ("Inception", Some(2010)));
    assert_eq!(film.url, "https://www.imdb.com/title/tt1375666/");
    assert_eq!(film.description, "Inception was released in 2010. A thief dreams.");
    // It writes tabs raw, too, which JSON forbids.
    assert_eq!(told(&INCEPTION.replace("\\t", "\t")), film);
    assert_eq!(
        (film.genres.join("|"), film.imdb.unwrap().to_string()),
        ("Action|Sci-Fi".into(), "tt1375666".into())
    );
}

#[test]
fn a_field_may_be_missing_not_known_a_range_or_broken() {
    let bare = told(r#"{"Title":"X","Response":"True"}"#);
    assert_eq!(bare, NewMovie { title: "X".into(), ..NewMovie::default() });
    let none = told(
        r#"{"Title":"X","Year":"N/A","Genre":"N/A","Plot":"N/A","imdbID":"N/A","Type":"N/A","Response":"True"}"#,
    );
    assert_eq!(none, bare);
    for (year, first) in
        [("2011–2019", Some(2011)), ("2019–", Some(2019)), ("19", None), ("soon", None), ("1492", None)]
    {
        assert_eq!(
            told(&format!(r#"{{"Title":"X","Year":"{year}","Response":"True"}}"#)).year,
            first,
            "{year}"
        );
    }
    let plot_alone = told(r#"{"Title":"X","Plot":"It is told.","Response":"True"}"#);
    assert_eq!(plot_alone.description, "It is told.");
    for imdb in ["0078748", "tt1/../../evil", "tt123", "http://evil.example"] {
        let film = told(&format!(r#"{{"Title":"X","imdbID":"{imdb}","Response":"True"}}"#));
        assert_eq!((film.url.as_str(), film.imdb), ("", None), "{imdb}");
    }
}

#[test]
fn what_is_told_is_cut_and_what_nobody_should_be_shown_is_left_out() {
    let long =
        told(&format!(r#"{{"Title":"X","Year":"2010","Plot":"{}","Response":"True"}}"#, "é".repeat(9_000)));
    assert_eq!(long.description.chars().count(), DESCRIPTION_CHARS_MAX as usize);
    let evil = told(r#"{"Title":"X","Plot":"\u202eevil","Genre":"Drama, \u202eevil","Response":"True"}"#);
    assert_eq!((evil.description.as_str(), evil.genres), ("", vec!["Drama".to_owned()]));
    assert!(read_film(r#"{"Title":"\u202eevil","Response":"True"}"#).is_err());
    assert!(read_film(r#"{"Response":"True"}"#).is_err());
}

#[test]
fn the_body_counts_and_each_of_its_errors_has_its_meaning() {
    let says = |error: &str| read_film(&format!(r#"{{"Response":"False","Error":"{error}"}}"#));
    for absent in
        ["Movie not found!", "Incorrect IMDb ID.", "Too many results.", "Series or episode NOT FOUND!"]
    {
        assert_eq!(says(absent), Ok(Word::Said(Said::Absent)), "{absent}");
    }
    assert_eq!(says("Request limit reached!"), Ok(Word::QuotaUsedUp));
    for key in ["Invalid API key!", "No API key provided."] {
        assert_eq!(says(key), Ok(Word::KeyRefused), "{key}");
    }
    assert!(says("Error getting data.").is_err());
    for broken in ["", "<html>", "{}", "[]", "null", r#"{"Response":true}"#, &INCEPTION[..80]] {
        assert!(read_film(broken).is_err(), "{broken}");
    }
}

#[test]
fn of_a_page_of_titles_films_with_a_number_are_taken() {
    let body = r#"{"Search":[{"Title":"The Ring","Year":"2002","imdbID":"tt0298130","Type":"movie"},
        {"Title":"The Ring Thing","Year":"2012","imdbID":"tt0000002","Type":"series"},
        {"Title":"Nothing","Year":"2012","imdbID":"","Type":"movie"}],"totalResults":"3","Response":"True"}"#;
    let page = Page { status: 401, body: body.into() };
    let Ok(Word::Said(Said::That(found))) = word(&page, |page| Some(entries(page))) else {
        panic!("it is an answer")
    };
    let imdb = "tt0298130".parse().unwrap();
    assert_eq!(found, [Entry { title: "The Ring".into(), year: Year::new(2002), imdb }]);
}

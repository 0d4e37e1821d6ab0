use common::services::matching::Class;
use common::services::movies::query::Omdb;
use common::services::movies::refusal::Unasked;

use super::*;

fn near(title: &str, year: u16) -> Near {
    Near { title: title.into(), year: Year::new(year), class: Class::Letters }
}

#[test]
fn a_refusal_tells_what_to_do_instead() {
    let unknown = of_refusal(&Refusal::MovieUnknown { near: vec![near("The Matrix", 1999)] });
    assert_eq!((unknown.code, unknown.exit()), (Code::MovieUnknown, 3));
    assert_eq!(unknown.hint.as_deref(), Some("client movie find 'The Matrix (1999)'"));
    assert_eq!(unknown.fields["near"], json!([{"title": "The Matrix", "year": 1999}]));
    let nothing = of_refusal(&Refusal::MovieUnknown { near: vec![] });
    assert!(nothing.hint.unwrap().contains("movie add"));
    let unchecked =
        of_refusal(&Refusal::MovieUnchecked { title: "x".into(), why: Unasked::NoKey, near: vec![] });
    assert_eq!((unchecked.code, unchecked.exit()), (Code::MovieUnchecked, 5));
    let ring = vec![near("The Ring", 2002), near("The Ring", 1927)];
    let several =
        of_refusal(&Refusal::MovieAmbiguous { title: "The Ring".into(), count: 2, candidates: ring });
    assert_eq!((several.code, &several.fields["count"]), (Code::MovieAmbiguous, &json!(2)));
    assert!(several.message.ends_with("2002, 1927."), "{}", several.message);
}

#[test]
fn a_film_reads_as_in_the_older_systems() {
    let movie = NewMovie {
        title: "Heat (1995)".into(),
        genres: vec!["Action".into(), "Crime".into()],
        ..NewMovie::default()
    };
    let movie = movie.read(common::services::movies::movie::Source::Local, None).unwrap();
    assert_eq!(shown::film_text(&movie), "Heat was made in (1995) and has the genres Action|Crime");
    let told =
        Movie { genres: vec![], url: "https://x".into(), description: "a\nb\u{1b}".into(), ..movie.clone() };
    assert_eq!(shown::film_text(&told), "Heat was made in (1995)\n  https://x\n  a\n  b\\u{1b}");
    let found =
        |omdb, stored| Found { movie: movie.clone(), class: Class::Exact, near: vec![], omdb, stored };
    assert_eq!(shown::note(&found(Omdb::NotNeeded, true)), None);
    assert!(shown::note(&found(Omdb::NoKey, true)).unwrap().contains("OMDB_API_KEY"));
    assert!(shown::note(&found(Omdb::Asked, false)).unwrap().contains("not be stored"));
}

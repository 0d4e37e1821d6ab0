use std::fs::File;
use std::path::{Path, PathBuf};

use super::*;

fn movies(rows: &str) -> Lists {
    let mut lists = Lists::default();
    lists.read_movies(format!("movieId,title,genres\n{rows}").as_bytes()).unwrap();
    lists
}

fn rated(lists: &Lists, film: usize) -> Vec<(&str, u32)> {
    lists.films[film].ratings.iter().map(|rated| (rated.user.as_str(), rated.millionths)).collect()
}

#[test]
fn a_row_is_a_film_with_its_year_and_other_names() {
    let lists = movies(concat!(
        "1,Toy Story (1995),Adventure|Animation\n",
        "2,\"City of Lost Children, The (Cité des enfants perdus, La) (1995) \",Sci-Fi\r\n",
        "3,Babylon 5,(no genres listed)\n",
    ));
    assert_eq!(lists.bad.first, []);
    let [toys, city, babylon] = &lists.films[..] else { panic!("{:?}", lists.films) };
    assert_eq!((&*toys.movie.title, toys.movie.year.map(u16::from)), ("Toy Story", Some(1995)));
    assert_eq!(toys.movie.genres, ["Adventure", "Animation"]);
    assert_eq!(city.movie.title, "The City of Lost Children");
    assert_eq!(city.movie.aliases, ["La Cité des enfants perdus"]);
    assert_eq!((babylon.movie.year, &babylon.movie.genres[..]), (None, &[][..]));
}

#[test]
fn the_same_title_and_year_twice_is_one_film() {
    let mut lists =
        movies("1,Emma (Aimee) (1996),Comedy\n2,EMMA (1996),Comedy|Romance\n3,Emma (2020),Drama\n");
    lists.read_links("movieId,imdbId,tmdbId\n1,0116191,3573\n2,0118308,\n3,9214832,\n".as_bytes()).unwrap();
    let ratings = "userId,movieId,rating,timestamp\n\
                   7,1,4.0,100\n7,2,3.5,99\n8,2,1.0,5\n8,1,2.0,5\n9,3,0.5,1\n";
    lists.read_ratings(ratings.as_bytes()).unwrap();
    assert_eq!((lists.films.len(), lists.films_merged, lists.ratings_merged), (2, 1, 2));
    let emma = &lists.films[0].movie;
    assert_eq!(
        (&*emma.aliases, &*emma.genres),
        (&["Aimee".to_owned()][..], &["Comedy".to_owned(), "Romance".to_owned()][..])
    );
    assert_eq!(emma.imdb.unwrap().to_string(), "tt0116191", "the first row's");
    assert_eq!(
        rated(&lists, 0),
        [("7", 4_000_000), ("8", 2_000_000)],
        "the later; of one second, the last row"
    );
    assert_eq!(rated(&lists, 1), [("9", 500_000)]);
}

#[test]
fn a_bad_row_is_told_with_its_line_and_the_rest_is_taken() {
    let mut lists = movies(
        "1,Heat (1995),Crime\nx,Jaws (1975),\n2,Jaws (1975)\n3, (1975),\n1,Psycho (1960),\n4,\"A\nB (1999)\",\n5,Alien (1979),\n",
    );
    let ratings =
        "userId,movieId,rating,timestamp\n7,1,5.5,1\n7,99,5.0,1\n7,1,nan,1\n,1,5,1\n7,1,5,-1\n7,1,5,1\n";
    lists.read_ratings(ratings.as_bytes()).unwrap();
    let told: Vec<_> =
        lists.bad.first.iter().map(|bad| format!("{} {}: {}", bad.file, bad.line, bad.why)).collect();
    assert_eq!(
        told,
        [
            "movies.csv 3: field 0: invalid digit found in string",
            "movies.csv 4: 2 fields instead of 3",
            "movies.csv 6: there is a film of number 1 already",
            "movies.csv 7: title: U+000A cannot be shown to others; use letters, digits, signs and emoji.",
            "ratings.csv 2: a rating is a number from 0 to 5",
            "ratings.csv 3: no film has number 99",
            "ratings.csv 4: a rating is a number from 0 to 5",
            "ratings.csv 5: user: Don't leave it blank!",
            "ratings.csv 6: field 3: invalid digit found in string",
        ]
    );
    let titles: Vec<_> = lists.films.iter().map(|film| &*film.movie.title).collect();
    assert_eq!(titles, ["Heat", "(1975)", "Alien"]);
    assert_eq!(rated(&lists, 0), [("7", 5_000_000)]);
    let many = movies(&"x,y,z\n".repeat(100));
    assert_eq!((many.bad.count, many.bad.first.len()), (100, Bad::SHOWN));
}

#[test]
fn a_list_names_its_columns_in_any_order() {
    let mut lists = Lists::default();
    lists.read_movies("\u{feff}genres, title ,movieId,more\nDrama,Heat (1995),1,x\n".as_bytes()).unwrap();
    assert_eq!(lists.films.len(), 1);
    for bad in ["", "movieId,title\n1,Heat\n", "userId,movieId,rating,timestamp\n"] {
        let error = lists.read_movies(bad.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "the first line must name movieId, title, genres");
    }
}

#[test]
fn ratings_are_exact() {
    for (text, expected) in
        [("0", 0), ("0.5", 500_000), ("5.0", 5_000_000), ("3.14159", 3_141_590), ("4.000001", 4_000_001)]
    {
        assert_eq!(millionths(text), Some(expected), "{text}");
    }
    for bad in ["", ".", "5.", ".5", "5.000001", "6", "-1", "1e0", "1,5", "NaN", "1.0000001", "99999999999"] {
        assert_eq!(millionths(bad), None, "{bad}");
    }
}

/// The sample of MovieLens, which its licence keeps out of this repository: beside it, or where the environment says.
fn movielens() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("SHARED_DATA").map_or_else(beside, PathBuf::from);
    Some(data.join("ml-latest-small")).filter(|folder| folder.is_dir())
}

#[test]
fn the_sample_of_movielens_is_read_whole() {
    let Some(folder) = movielens() else {
        println!("not run: no ml-latest-small in SHARED_DATA, nor in ../shared/data");
        return;
    };
    let list = |name| File::open(folder.join(name)).unwrap();
    let mut lists = Lists::default();
    lists.read_movies(list("movies.csv")).unwrap();
    lists.read_links(list("links.csv")).unwrap();
    lists.read_ratings(list("ratings.csv")).unwrap();
    assert_eq!(lists.bad.first, []);

    assert_eq!((lists.films.len(), lists.films_merged), (9_737, 5));
    let of = |title: &'static str| lists.films.iter().filter(move |film| film.movie.title == title);
    let without_year = lists.films.iter().filter(|film| film.movie.year.is_none()).count();
    assert_eq!(
        (without_year, of("Death Note: Desu nôto").count()),
        (12, 1),
        "13 without year or with a range"
    );
    assert!(lists.films.iter().all(|film| film.movie.imdb.is_some()));
    assert_eq!(lists.films.iter().filter(|film| film.movie.genres.is_empty()).count(), 34);
    assert_eq!(of("Hamlet").count(), 5);

    let ratings: usize = lists.films.iter().map(|film| film.ratings.len()).sum();
    assert_eq!((ratings, lists.ratings_merged), (100_832, 4));
    let toys = of("Toy Story").next().unwrap();
    let sum: u32 = toys.ratings.iter().map(|rated| rated.millionths).sum();
    assert_eq!((toys.ratings.len(), f64::from(sum) / 215e6), (215, 3.920_930_232_558_139_5));
    assert!(toys.ratings.contains(&Rated {
        user: UserCode::read("1").unwrap(),
        at: 964_982_703,
        millionths: 4_000_000
    }));
    let most = lists.films.iter().max_by_key(|film| film.ratings.len()).unwrap();
    assert_eq!((&*most.movie.title, most.ratings.len()), ("Forrest Gump", 329));
}

//! What the stand-in knows: own sample data, in the shapes of the real services.

use std::collections::BTreeMap;

use common::services::postcode::Postcode;
use serde_json::{Value, json};

use super::KEY;

/// Status and body.
type Answer = (u16, String);

/// Live postcodes: code, district (as postcodes.io calls a town; some have none), country.
#[rustfmt::skip]
const LIVE: &[(&str, Option<&str>, &str)] = &[
    // Where the sample orders go.
    ("DH1 3LE", Some("County Durham"), "England"), ("DH1 3LG", Some("County Durham"), "England"),
    ("DH1 1AB", Some("County Durham"), "England"), ("BR8 7RE", Some("Sevenoaks"), "England"),
    ("TW5 9RL", Some("Hounslow"), "England"), ("M1 1AE", Some("Manchester"), "England"),
    ("M14 6JX", Some("Manchester"), "England"), ("SW1A 2AE", Some("Westminster"), "England"),
    ("B3 3BU", Some("Birmingham"), "England"), ("B29 6RL", Some("Birmingham"), "England"),
    ("LS10 4PT", Some("Leeds"), "England"), ("YO10 3PG", Some("York"), "England"),
    ("BS1 6RN", Some("Bristol, City of"), "England"), ("OX14 3BW", Some("Vale of White Horse"), "England"),
    ("CB25 9LH", Some("South Cambridgeshire"), "England"), ("NE1 2DD", Some("Newcastle upon Tyne"), "England"),
    ("PL1 4RJ", Some("Plymouth"), "England"), ("TR14 8EG", Some("Cornwall"), "England"),
    ("NR14 7QH", Some("South Norfolk"), "England"), ("L12 4XS", Some("Liverpool"), "England"),
    ("AL1 1HE", Some("St Albans"), "England"), ("BA12 9PL", Some("Wiltshire"), "England"),
    ("BA21 3LS", Some("Somerset"), "England"), ("BB1 9SB", Some("Blackburn with Darwen"), "England"),
    ("BB11 2RS", Some("Burnley"), "England"), ("CF14 9HT", Some("Cardiff"), "Wales"),
    ("CF37 1SQ", Some("Rhondda Cynon Taf"), "Wales"), ("LL11 6AF", Some("Wrexham"), "Wales"),
    ("SA1 6RQ", Some("Swansea"), "Wales"), ("AB15 6JD", Some("Aberdeen City"), "Scotland"),
    ("EH17 8RA", Some("City of Edinburgh"), "Scotland"), ("EH19 3RB", Some("Midlothian"), "Scotland"),
    ("G13 1GF", Some("Glasgow City"), "Scotland"), ("IV1 1ES", Some("Highland"), "Scotland"),
    ("HS1 2AL", Some("Na h-Eileanan Siar"), "Scotland"), ("ZE1 0EE", Some("Shetland Islands"), "Scotland"),
    ("BT1 5GS", Some("Belfast"), "Northern Ireland"), ("BT48 6DQ", Some("Derry City and Strabane"), "Northern Ireland"),
    ("JE2 4WD", None, "Channel Islands"), ("GY1 1WW", None, "Channel Islands"), ("IM1 2SH", None, "Isle of Man"),
];

/// Codes that are not in use any more, and since when.
const RETIRED: &[(&str, u16, u8)] = &[
    ("AB1 0AA", 1996, 6),
    ("AB1 0LB", 1996, 6),
    ("AB1 2EZ", 1996, 6),
    ("AB1 5AS", 1996, 6),
    ("AB1 9SW", 1992, 7),
];

/// The services' own bodies, byte for byte, where they are public.
const BR8_7RE: &str = include_str!("../../data/web/postcodes_io_lookup_200_BR8_7RE.json");
const TW5_9RL: &str = include_str!("../../data/web/getthedata_unit_match_200.json");

/// A postcode in use that is not this one.
pub(super) fn other_postcode(asked: &str) -> &'static str {
    if asked == "M1 1AE" { "DH1 3LE" } else { "M1 1AE" }
}

/// `GET /postcodes/{asked}`.
pub(super) fn postcodes_io(asked: &str) -> Answer {
    let error = |text: &str| (404, json!({"status": 404, "error": text}).to_string());
    let Ok(postcode) = asked.parse::<Postcode>() else { return error("Invalid postcode") };
    let code = postcode.as_str();
    if code == "BR8 7RE" {
        return (200, BR8_7RE.to_owned());
    }
    if let Some((_, district, country)) = LIVE.iter().find(|row| row.0 == code) {
        let result = json!({"postcode": code, "quality": 1, "country": country, "admin_district": district,
            "region": null, "admin_county": null, "parish": null, "incode": &code[code.len() - 3..],
            "outcode": postcode.outcode()});
        return (200, json!({"status": 200, "result": result}).to_string());
    }
    if let Some((_, year, month)) = RETIRED.iter().find(|row| row.0 == code) {
        let retired = json!({"postcode": code, "year_terminated": year, "month_terminated": month,
            "longitude": -2.25, "latitude": 57.5});
        return (
            404,
            json!({"status": 404, "error": "Postcode not found", "terminated": retired}).to_string(),
        );
    }
    error("Postcode not found")
}

/// `GET /postcode/{asked}`: an older edition, without Northern Ireland and the islands.
pub(super) fn getthedata(asked: &str) -> Answer {
    let no_match = || (200, json!({"status": "no_match", "input": asked}).to_string());
    let Ok(postcode) = asked.parse::<Postcode>() else { return no_match() };
    let code = postcode.as_str();
    if code == "TW5 9RL" {
        return (200, TW5_9RL.to_owned());
    }
    let elsewhere = ["BT", "JE", "GY", "IM"].contains(&postcode.area());
    let live = LIVE.iter().any(|row| row.0 == code) && !elsewhere;
    let status = match RETIRED.iter().any(|row| row.0 == code) {
        true => "terminated",
        false if live => "live",
        false => return no_match(),
    };
    let data = json!({"postcode": code, "status": status, "usertype": "small", "easting": 510_364,
        "latitude": "51.480938", "postcode_area": postcode.area(), "outcode": postcode.outcode()});
    let body = json!({"status": "match", "match_type": "unit_postcode", "input": code, "data": data,
        "copyright": ["Contains OS data (c) Crown copyright and database right"]});
    (200, body.to_string())
}

/// A film: title, year, IMDb's number, genres, a plot of our own.
type Film = (&'static str, &'static str, u32, &'static str, &'static str);

/// The one that OMDb calls a series.
const SERIES: u32 = 903_747;

#[rustfmt::skip]
const FILMS: &[Film] = &[
    ("Inception", "2010", 1_375_666, "Action, Adventure, Sci-Fi", "Thieves work in dreams."),
    ("Alien", "1979", 78_748, "Horror, Sci-Fi", "A crew wakes too early, and not alone."),
    ("Aliens", "1986", 90_605, "Action, Adventure, Sci-Fi", "She goes back, with soldiers."),
    ("Brazil", "1985", 88_846, "Drama, Sci-Fi, Thriller", "A clerk looks for a typing error."),
    ("Solaris", "1972", 69_293, "Drama, Mystery, Sci-Fi", "An ocean sends visitors."),
    ("Solaris", "2002", 307_479, "Drama, Mystery, Romance", "An ocean sends visitors, again."),
    ("The Ring", "2002", 298_130, "Horror, Mystery", "A tape, and seven days."),
    ("The Lord of the Rings: The Fellowship of the Ring", "2001", 120_737, "Adventure, Drama, Fantasy", "Nine set out."),
    ("The Lord of the Rings: The Two Towers", "2002", 167_261, "Adventure, Drama, Fantasy", "They are parted."),
    ("The Lord of the Rings: The Return of the King", "2003", 167_260, "Adventure, Drama, Fantasy", "One comes back."),
    ("Toy Story", "1995", 114_709, "Animation, Adventure, Comedy", "A cowboy meets an astronaut."),
    ("Toy Story 2", "1999", 120_363, "Animation, Adventure, Comedy", "A cowboy is collected."),
    ("The Matrix", "1999", 133_093, "Action, Sci-Fi", "A choice of two pills."),
    ("Heat", "1995", 113_277, "Action, Crime, Drama", "A policeman and a thief have coffee."),
    ("The Heat", "2013", 2_404_463, "Action, Comedy, Crime", "Two policewomen have none."),
    ("The Godfather", "1972", 68_646, "Crime, Drama", "A family and its business."),
    ("Pulp Fiction", "1994", 110_912, "Crime, Drama", "Several stories, in another order."),
    ("Spirited Away", "2001", 245_429, "Animation, Adventure, Family", "A bathhouse for spirits."),
    ("Jaws", "1975", 73_195, "Adventure, Thriller", "A bigger boat is needed."),
    ("Casablanca", "1942", 34_583, "Drama, Romance, War", "Everybody comes to Rick's."),
    ("Amélie", "2001", 211_915, "Comedy, Romance", "A waitress arranges other lives."),
    ("Se7en", "1995", 114_369, "Crime, Drama, Mystery", "Seven sins, one week."),
    ("Metropolis", "1927", 17_136, "Drama, Sci-Fi", "A city with two floors."),
    ("Psycho", "1960", 54_215, "Horror, Mystery, Thriller", "A motel off the main road."),
    ("Arrival", "2016", 2_543_164, "Drama, Mystery, Sci-Fi", "A linguist learns to write."),
    ("Groundhog Day", "1993", 107_048, "Comedy, Drama, Fantasy", "The same day, again."),
    ("Blade Runner", "1982", 83_658, "Action, Drama, Sci-Fi", "A detective looks for four of six."),
    ("Unknown Reel", "N/A", 1_000_001, "N/A", "N/A"),
    ("Who Said \"Tab\there\"?", "1999", 1_000_002, "Comedy", "A title that\tno encoder would write."),
    ("Breaking Good", "2008–2013", SERIES, "Crime, Drama", "A chemist stays one."),
];

/// `GET /omdb/?…`; a lie is another film.
pub(super) fn omdb(asked: &BTreeMap<String, String>, lie: bool) -> Answer {
    let no = |status, error: &str| (status, json!({"Response": "False", "Error": error}).to_string());
    let given = |name: &str| asked.get(name).map(String::as_str).filter(|text| !text.is_empty());
    match given("apikey") {
        None => return no(401, "No API key provided."),
        Some(key) if key != KEY => return no(401, "Invalid API key!"),
        Some(_) => {}
    }
    let wanted = |film: &&Film| {
        given("y").is_none_or(|year| film.1.starts_with(year))
            && given("type").is_none_or(|kind| kind == kind_of(film))
    };
    if let Some(id) = given("i") {
        let Some(number) = id.strip_prefix("tt").and_then(|number| number.parse::<u32>().ok()) else {
            return no(200, "Incorrect IMDb ID.");
        };
        return match FILMS.iter().find(|film| film.2 == number) {
            Some(film) => (200, title(if lie { other_film(film) } else { film })),
            None => no(200, "Error getting data."),
        };
    }
    if let Some(text) = given("t") {
        let same = FILMS.iter().filter(wanted).find(|film| film.0.eq_ignore_ascii_case(text));
        return match same.or_else(|| FILMS.iter().filter(wanted).find(|film| holds(film.0, text))) {
            Some(film) => (200, title(if lie { other_film(film) } else { film })),
            None => no(200, "Movie not found!"),
        };
    }
    match given("s") {
        None => no(200, "Incorrect IMDb ID."),
        Some(text) if text.chars().count() < 3 => no(200, "Too many results."),
        Some(text) => {
            let found: Vec<_> = FILMS.iter().filter(wanted).filter(|film| holds(film.0, text)).collect();
            if found.is_empty() {
                return no(200, "Movie not found!");
            }
            let shown: Vec<_> = found.iter().take(10).map(|film| summary(film)).collect();
            let total = found.len().to_string();
            let body = json!({"Search": shown, "totalResults": total, "Response": "True"});
            (200, with_raw_tabs(&body))
        }
    }
}

fn other_film(film: &Film) -> &'static Film {
    let jaws = FILMS.iter().find(|film| film.0 == "Jaws").expect("it is one of them");
    if film == jaws { &FILMS[0] } else { jaws }
}

fn holds(title: &str, text: &str) -> bool {
    let title = title.to_lowercase();
    text.to_lowercase().split_whitespace().all(|word| title.contains(word))
}

fn kind_of(film: &Film) -> &'static str {
    if film.2 == SERIES { "series" } else { "movie" }
}

fn summary(film: &Film) -> Value {
    json!({"Title": film.0, "Year": film.1, "imdbID": format!("tt{:07}", film.2), "Type": kind_of(film),
        "Poster": "N/A"})
}

fn title(film: &Film) -> String {
    let mut body = summary(film);
    for (field, value) in [("Genre", film.3), ("Plot", film.4), ("Released", "N/A"), ("Response", "True")] {
        body[field] = value.into();
    }
    with_raw_tabs(&body)
}

/// The real service writes them so, though JSON has no raw tabs in texts.
fn with_raw_tabs(body: &Value) -> String {
    body.to_string().replace("\\t", "\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &[(&str, &str)]) -> (u16, String) {
        let key = [("apikey", KEY)];
        let all = key.iter().chain(query).map(|(name, value)| (String::from(*name), String::from(*value)));
        omdb(&all.collect(), false)
    }

    #[test]
    fn every_sample_is_a_postcode_and_both_services_know_the_british_ones() {
        assert!(LIVE.len() >= 40 && RETIRED.len() == 5);
        for (code, _, country) in LIVE {
            assert_eq!(code.parse::<Postcode>().map(|postcode| postcode.to_string()).as_deref(), Ok(*code));
            let body: Value = serde_json::from_str(&postcodes_io(code).1).unwrap();
            assert_eq!(body["result"]["postcode"], *code);
            let body: Value = serde_json::from_str(&getthedata(code).1).unwrap();
            let british = ["England", "Wales", "Scotland"].contains(country);
            assert_eq!(body["status"] == "match", british, "{code}");
        }
        for (code, ..) in RETIRED {
            assert!(postcodes_io(code).1.contains("terminated"), "{code}");
            assert!(getthedata(code).1.contains("terminated"), "{code}");
        }
    }

    #[test]
    fn films_are_found_by_number_title_and_words() {
        assert_eq!(FILMS.len(), 30);
        for (query, status, part) in [
            (&[("i", "tt0078748")][..], 200, "\"Title\":\"Alien\""),
            (&[("i", "tt9999999")], 200, "Error getting data."),
            (&[("i", "78748")], 200, "Incorrect IMDb ID."),
            (&[("t", "the ring")], 200, "\"Title\":\"The Ring\""),
            (&[("t", "solaris"), ("y", "2002")], 200, "\"Year\":\"2002\""),
            (&[("t", "breaking good"), ("type", "movie")], 200, "Movie not found!"),
            (&[("s", "lord rings"), ("type", "movie")], 200, "\"totalResults\":\"3\""),
            (&[("s", "a")], 200, "Too many results."),
            (&[("t", "tab")], 200, "Tab\there"),
        ] {
            let (got, body) = asked(query);
            assert!(got == status && body.contains(part), "{query:?}: {got} {body}");
        }
        assert_eq!(omdb(&BTreeMap::new(), false).0, 401);
        assert!(omdb(&[("apikey".into(), "x".into())].into(), false).1.contains("Invalid API key!"));
    }
}

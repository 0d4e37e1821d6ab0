//! postcodes.io: `GET /postcodes/{postcode}`, without a key. (Not `/validate`, whose "false" mixes malformed, unknown
//! and retired.) Shapes from its own source, `ideal-postcodes/postcodes.io`.

use common::services::just_hungry::bounds::TOWN_CHARS_MAX;
use common::services::just_hungry::refusal::Month;
use common::services::postcode::Postcode;
use common::services::text;
use serde_json::Value;

use super::api::NoAnswer;
use super::web::Page;

/// What it says of a postcode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// In use.
    Valid { town: Option<String> },
    /// Not known.
    Unknown,
    /// No postcode by its grammar, although it is one by ours.
    Malformed,
    /// Not in use any more.
    Retired { since: Option<Month> },
}

/// Its word for `asked`. Nearly all of its fields may be null, and so nearly none is needed.
pub(super) fn read(page: &Page, asked: Postcode) -> Result<Said, NoAnswer> {
    let no = |why| Err(NoAnswer { why });
    let Ok(body) = serde_json::from_slice::<Value>(&page.body) else { return no("not JSON") };
    match page.status {
        200 if is(&body["result"]["postcode"], asked) => {
            Ok(Said::Valid { town: town(&body["result"]["admin_district"]) })
        }
        200 => no("it speaks of another postcode"),
        404 => {
            let error = body["error"].as_str().unwrap_or_default();
            // Newer than the service, so it may be missing.
            match &body["terminated"] {
                Value::Null if error.eq_ignore_ascii_case("Postcode not found") => Ok(Said::Unknown),
                Value::Null if error.eq_ignore_ascii_case("Invalid postcode") => Ok(Said::Malformed),
                Value::Null => no("404 for another reason"),
                retired if is(&retired["postcode"], asked) => Ok(Said::Retired { since: month(retired) }),
                _ => no("it speaks of another postcode"),
            }
        }
        _ => no("an unexpected status"),
    }
}

/// Whether this is the postcode that we asked for, however it is spelt.
pub(super) fn is(field: &Value, asked: Postcode) -> bool {
    field.as_str().is_some_and(|text| text.parse() == Ok(asked))
}

/// A town that can be shown to anybody.
fn town(field: &Value) -> Option<String> {
    text::check(field.as_str()?, TOWN_CHARS_MAX, text::Lines::One).ok().map(str::to_owned)
}

fn month(retired: &Value) -> Option<Month> {
    let number = |field: &str| retired[field].as_u64();
    let year = u16::try_from(number("year_terminated")?).ok()?;
    let month = u8::try_from(number("month_terminated")?).ok()?;
    // There were no postcodes before 1959, and four digits are what a person expects.
    ((1959..=9999).contains(&year) && (1..=12).contains(&month)).then_some(Month { year, month })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, status: u16, body: &str) -> Result<Said, NoAnswer> {
        read(&Page { status, body: body.to_owned().into() }, code.parse().unwrap())
    }

    #[test]
    fn each_line_of_its_table_is_understood() {
        let town = |town: &str| Ok(Said::Valid { town: Some(town.to_owned()) });
        let june = Some(Month { year: 1996, month: 6 });
        for (code, status, body, expected) in [
            (
                "DH1 3LE",
                200,
                r#"{"status":200,"result":{"postcode":"DH1 3LE","admin_district":"County Durham"}}"#,
                town("County Durham"),
            ),
            (
                "DH1 3LE",
                200,
                r#"{"result":{"postcode":"dh13le","admin_district":null}}"#,
                Ok(Said::Valid { town: None }),
            ),
            ("DH1 3LE", 200, r#"{"result":{"postcode":"DH1 3LE"}}"#, Ok(Said::Valid { town: None })),
            ("DH1 9ZZ", 404, r#"{"status":404,"error":"Postcode not found"}"#, Ok(Said::Unknown)),
            ("DH1 9ZZ", 404, r#"{"status":404,"error":"INVALID postcode"}"#, Ok(Said::Malformed)),
            (
                "AB1 0AA",
                404,
                r#"{"error":"Postcode not found","terminated":{"postcode":"AB1 0AA","year_terminated":1996,"month_terminated":6}}"#,
                Ok(Said::Retired { since: june }),
            ),
            (
                "AB1 0AA",
                404,
                r#"{"terminated":{"postcode":"AB1 0AA","year_terminated":1996,"month_terminated":13}}"#,
                Ok(Said::Retired { since: None }),
            ),
        ] {
            assert_eq!(said(code, status, body), expected, "{body}");
        }
    }

    #[test]
    fn whatever_else_it_says_is_no_answer() {
        for (status, body) in [
            (200, r#"{"result":{"postcode":"DH1 3LG"}}"#),
            (200, r#"{"result":null}"#),
            (200, r#"{"result":true}"#),
            (200, r#"{"result":{"postcode":"DH1 3LE""#),
            (200, "<html>"),
            (200, ""),
            (404, r#"{"status":404,"error":"Resource not found"}"#),
            (404, r#"{"error":"Postcode not found","terminated":{"postcode":"AB1 0AA"}}"#),
            (404, "<html>404</html>"),
            (404, "[]"),
            (400, r#"{"error":"Postcode not found"}"#),
            (429, r#"{"error":"Postcode not found"}"#),
            (301, r#"{"result":{"postcode":"DH1 3LE"}}"#),
            (500, r#"{"result":{"postcode":"DH1 3LE"}}"#),
        ] {
            assert!(said("DH1 3LE", status, body).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn a_town_that_nobody_should_be_shown_is_none() {
        for town in ["\\u001b[31mred", "\\u202eevil", "", &"x".repeat(49)] {
            let body = format!(r#"{{"result":{{"postcode":"DH1 3LE","admin_district":"{town}"}}}}"#);
            assert_eq!(said("DH1 3LE", 200, &body), Ok(Said::Valid { town: None }), "{town}");
        }
    }
}

//! getthedata.com: `GET /postcode/{postcode}`, for when postcodes.io is away. Its data are of 2023 and lack Northern
//! Ireland, so it can say "yes" and "retired", never "no". Its bodies are known from public clients only: all fields
//! but `status` may be missing, and numbers come partly as texts.

use common::services::postcode::Postcode;
use serde_json::Value;

use super::api::NoAnswer;
use super::postcodes_io::is;
use super::web::Page;

/// What it says of a postcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// In use.
    Valid,
    /// Not in use any more.
    Retired,
    /// Neither: it knows nothing of this one.
    NotConfirmed,
}

/// Its word for `asked`.
pub(super) fn read(page: &Page, asked: Postcode) -> Result<Said, NoAnswer> {
    let no = |why| Err(NoAnswer { why });
    let Ok(body) = serde_json::from_slice::<Value>(&page.body) else { return no("not JSON") };
    match body["status"].as_str() {
        // With any status of HTTP.
        Some("no_match") => Ok(Said::NotConfirmed),
        Some("match") if page.status != 200 => no("a match with another status than 200"),
        // A district, an area or a sector of that name.
        Some("match") if body["match_type"] != "unit_postcode" => Ok(Said::NotConfirmed),
        Some("match") if !is(&body["data"]["postcode"], asked) => no("it speaks of another postcode"),
        Some("match") => match body["data"]["status"].as_str() {
            Some("live") => Ok(Said::Valid),
            Some("terminated") => Ok(Said::Retired),
            _ => no("neither live nor terminated"),
        },
        _ if !body["error"].is_null() => Ok(Said::NotConfirmed),
        _ => no("neither a match nor none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> Result<Said, NoAnswer> {
        read(&Page { status, body: body.to_owned().into() }, "TW5 9RL".parse().unwrap())
    }

    #[test]
    fn each_line_of_its_table_is_understood() {
        let unit = |status: &str| {
            format!(
                r#"{{"status":"match","match_type":"unit_postcode","data":{{"postcode":"TW5 9RL","status":"{status}"}}}}"#
            )
        };
        for (status, body, expected) in [
            (200, unit("live").as_str(), Said::Valid),
            (200, &unit("terminated"), Said::Retired),
            (
                200,
                r#"{"status":"match","match_type":"postcode_district","data":{"postcode_district":"TW5"}}"#,
                Said::NotConfirmed,
            ),
            (200, r#"{"status":"match"}"#, Said::NotConfirmed),
            (200, r#"{"status":"no_match"}"#, Said::NotConfirmed),
            (404, r#"{"status":"no_match","input":"ZZ99 9ZZ"}"#, Said::NotConfirmed),
            (400, r#"{"error":"bad input"}"#, Said::NotConfirmed),
        ] {
            assert_eq!(said(status, body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn whatever_else_it_says_is_no_answer() {
        for (status, body) in [
            (
                200,
                r#"{"status":"match","match_type":"unit_postcode","data":{"postcode":"TW5 9RX","status":"live"}}"#,
            ),
            (200, r#"{"status":"match","match_type":"unit_postcode","data":{"status":"live"}}"#),
            (200, r#"{"status":"match","match_type":"unit_postcode","data":{"postcode":"TW5 9RL"}}"#),
            (
                500,
                r#"{"status":"match","match_type":"unit_postcode","data":{"postcode":"TW5 9RL","status":"live"}}"#,
            ),
            (200, r#"{"status":"maybe"}"#),
            (200, "{}"),
            (200, "<html>"),
            (503, ""),
        ] {
            assert!(said(status, body).is_err(), "{status} {body}");
        }
    }
}

//! `postcode check`: by grammar and area, which need no network.

use common::services::just_hungry::refusal::Refusal;
use common::services::postcode::{BadPostcode, INPUT_CHARS_MAX, Postcode};

use crate::errors::{self, Failure};
use crate::objects;
use crate::output::{Ended, Lean, Output, table};

/// Checks postcodes, prints a row each, and fails as the first bad one does.
///
/// # Errors
/// When one of them is malformed, or unconfirmed and that is not enough.
pub fn check(output: Output, inputs: &[String], strict: bool) -> Result<(), Ended> {
    let answers: Vec<objects::Postcode> = inputs.iter().map(|input| answer(input)).collect();
    output.list(&answers, |screen| {
        let columns = [("POSTCODE", Lean::Left), ("ANSWER", Lean::Left), ("", Lean::Left)];
        let row = |one: &objects::Postcode| {
            let shown = one.postcode.clone().unwrap_or_else(|| one.input.clone());
            vec![shown, one.answer.to_owned(), one.message.clone()]
        };
        table(screen, &columns, answers.iter().map(row))
    })?;
    match inputs.iter().find_map(|input| failure(input, strict)) {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

/// What is known of what somebody typed.
fn answer(input: &str) -> objects::Postcode {
    let known = |postcode: Option<Postcode>, answer, message| objects::Postcode {
        input: input.into(),
        postcode: postcode.map(|postcode| postcode.to_string()),
        answer,
        source: postcode.map(|_| "unconfirmed".into()),
        town: None,
        retired: None,
        message,
    };
    match input.parse::<Postcode>() {
        Ok(postcode) => {
            let area = postcode.area_name();
            let message = format!(
                "Could not validate postcode {postcode} ({area}): no web service was asked. Its form is right."
            );
            known(Some(postcode), "unconfirmed", message)
        }
        Err(_) => known(None, "malformed", malformed(input).sentence()),
    }
}

fn malformed(input: &str) -> Refusal {
    Refusal::PostcodeMalformed { text: input.chars().take(INPUT_CHARS_MAX).collect() }
}

/// Why what somebody typed is not good enough, if it is not.
fn failure(input: &str, strict: bool) -> Option<Failure> {
    match input.parse::<Postcode>() {
        Ok(postcode) if strict => Some(errors::of_refusal(&Refusal::PostcodeUnconfirmed { postcode })),
        Ok(_) => None,
        Err(BadPostcode::TooLong | BadPostcode::Length | BadPostcode::Form | BadPostcode::Area) => {
            Some(errors::of_refusal(&malformed(input)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Code;

    #[test]
    fn a_good_form_is_unconfirmed_and_a_bad_one_malformed() {
        assert_eq!(
            crate::output::json(&answer(" dh1-3le. ")),
            r#"{"input":" dh1-3le. ","postcode":"DH1 3LE","answer":"unconfirmed","source":"unconfirmed","town":null,"#
                .to_owned()
                + r#""retired":null,"message":"Could not validate postcode DH1 3LE (Durham): no web service was asked. Its form is right."}"#
        );
        assert_eq!(
            crate::output::json(&answer("DH 11")),
            r#"{"input":"DH 11","postcode":null,"answer":"malformed","source":null,"town":null,"retired":null,"#
                .to_owned()
                + r#""message":"Invalid postcode: ‘DH 11’. Example: DH1 3LE."}"#
        );
    }

    #[test]
    fn unconfirmed_is_a_failure_only_for_the_strict() {
        assert_eq!(failure("DH1 3LE", false), None);
        assert_eq!(failure("DH1 3LE", true).map(|failure| failure.code), Some(Code::PostcodeUnconfirmed));
        assert_eq!(failure("DH 11", false).map(|failure| failure.exit()), Some(4));
    }
}

//! `postcode check`: what a front end, and whom it asks, know of postcodes.

use common::services::just_hungry::checked::{Checked, Finding};
use common::services::just_hungry::refusal::Refusal;
use common::services::just_hungry::{Answer, Query};
use common::services::postcode::Postcode;
use common::services::{decode, encode};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::errors::{self, Failure};
use crate::objects;
use crate::output::{Ended, Lean, Output, table};
use crate::service::Service;

/// Questions under way at once; a front end asks 16 for all of its callers.
const AT_ONCE: usize = 8;

/// Finds out about what somebody typed. What is no postcode is refused here: nobody has to be asked.
///
/// # Errors
/// When no front end answered.
pub async fn ask(service: &Service, text: &str) -> Result<Result<Checked, Refusal>, Failure> {
    if text.parse::<Postcode>().is_err() {
        return Ok(Err(Refusal::postcode_malformed(text)));
    }
    let answer = service.query(encode(&Query::Postcode { text: text.to_owned() })).await?;
    match decode(&answer) {
        Ok(Answer::Postcode(checked)) => Ok(Ok(checked)),
        Ok(Answer::Refused(refusal @ Refusal::PostcodeMalformed { .. })) => Ok(Err(refusal)),
        _ => Err(errors::not_understood()),
    }
}

/// Checks postcodes, prints a row each, and fails as the first bad one does.
///
/// # Errors
/// When one of them is not valid, or unconfirmed and that is not enough; or when no front end answered.
pub async fn check(output: Output, service: &Service, inputs: &[String], strict: bool) -> Result<(), Ended> {
    let asked = stream::iter(inputs).map(|input| ask(service, input)).buffered(AT_ONCE);
    let found: Vec<_> = asked.try_collect().await?;
    let answers: Vec<_> = inputs.iter().zip(&found).map(|(input, one)| object(input, one)).collect();
    output.list(&answers, |screen| {
        let columns = [("POSTCODE", Lean::Left), ("ANSWER", Lean::Left), ("", Lean::Left)];
        let row = |one: &objects::Postcode| {
            let shown = one.postcode.clone().unwrap_or_else(|| one.input.clone());
            vec![shown, one.answer.to_owned(), one.message.clone()]
        };
        table(screen, &columns, answers.iter().map(row))
    })?;
    match found.into_iter().find_map(|one| failure(one, strict)) {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

fn object(input: &str, found: &Result<Checked, Refusal>) -> objects::Postcode {
    let input = input.to_owned();
    match found {
        Ok(checked) => objects::Postcode {
            input,
            postcode: Some(checked.postcode.to_string()),
            answer: checked.answer(),
            source: Some(checked.source.to_string()),
            town: checked.town.clone(),
            retired: match &checked.finding {
                Finding::Retired { since: Some(month) } => {
                    Some(format!("{:04}-{:02}", month.year, month.month))
                }
                _ => None,
            },
            message: checked.sentence(),
        },
        Err(refusal) => objects::Postcode {
            input,
            postcode: None,
            answer: "malformed",
            source: None,
            town: None,
            retired: None,
            message: refusal.sentence(),
        },
    }
}

/// Why what was found out is not good enough, if it is not.
fn failure(found: Result<Checked, Refusal>, strict: bool) -> Option<Failure> {
    let refusal = match found.and_then(Checked::verdict) {
        Ok(verdict) if strict && !verdict.is_valid() => {
            Refusal::PostcodeUnconfirmed { postcode: verdict.postcode }
        }
        Ok(_) => return None,
        Err(refusal) => refusal,
    };
    Some(errors::of_refusal(&refusal))
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::services::just_hungry::checked::Doubt;
    use common::services::just_hungry::command::Source;
    use common::services::just_hungry::refusal::Month;

    use super::*;
    use crate::errors::Code;
    use crate::output::json;

    fn checked(code: &str, finding: Finding, source: Source, town: Option<&str>) -> Checked {
        let town = town.map(str::to_owned);
        Checked { postcode: code.parse().unwrap(), finding, source, town, checked: Timestamp::default() }
    }

    #[test]
    fn each_of_the_five_answers_is_one_object() {
        let valid = checked("DH1 3LE", Finding::Valid, Source::PostcodesIo, Some("County Durham"));
        let june = Finding::Retired { since: Some(Month { year: 1996, month: 6 }) };
        let retired = checked("AB1 0AA", june, Source::PostcodesIo, None);
        let doubt =
            Checked::unconfirmed("DH1 3LE".parse().unwrap(), Doubt::NobodyAsked, Timestamp::default());
        for (input, found, object) in [
            (
                " dh1-3le. ",
                Ok(valid),
                r#"{"input":" dh1-3le. ","postcode":"DH1 3LE","answer":"valid","source":"postcodes.io","town":"County Durham","retired":null,"message":"DH1 3LE, County Durham (checked by postcodes.io)"}"#,
            ),
            (
                "DH1 9ZZ",
                Ok(checked("DH1 9ZZ", Finding::Unknown { near: vec![] }, Source::PostcodesIo, None)),
                r#"{"input":"DH1 9ZZ","postcode":"DH1 9ZZ","answer":"unknown","source":"postcodes.io","town":null,"retired":null,"message":"Postcode not found: DH1 9ZZ."}"#,
            ),
            (
                "ab10aa",
                Ok(retired),
                r#"{"input":"ab10aa","postcode":"AB1 0AA","answer":"retired","source":"postcodes.io","town":null,"retired":"1996-06","message":"AB1 0AA was retired in June 1996."}"#,
            ),
            (
                "DH1 3LE",
                Ok(doubt),
                r#"{"input":"DH1 3LE","postcode":"DH1 3LE","answer":"unconfirmed","source":"unconfirmed","town":null,"retired":null,"message":"Could not validate postcode DH1 3LE (Durham): no web service was asked. Its form is right."}"#,
            ),
            (
                "DH 11",
                Err(Refusal::postcode_malformed("DH 11")),
                r#"{"input":"DH 11","postcode":null,"answer":"malformed","source":null,"town":null,"retired":null,"message":"Invalid postcode: ‘DH 11’. Example: DH1 3LE."}"#,
            ),
        ] {
            assert_eq!(json(&super::object(input, &found)), object);
        }
    }

    #[test]
    fn unconfirmed_is_a_failure_only_for_the_strict() {
        let doubt =
            || Ok(Checked::unconfirmed("DH1 3LE".parse().unwrap(), Doubt::NobodyKnew, Timestamp::default()));
        assert_eq!(failure(doubt(), false), None);
        let code = |found| failure(found, true).map(|failure| failure.code);
        assert_eq!(code(doubt()), Some(Code::PostcodeUnconfirmed));
        assert_eq!(code(Ok(checked("DH1 3LE", Finding::Valid, Source::Offline, None))), None);
        let unknown = checked("DH1 9ZZ", Finding::Unknown { near: vec![] }, Source::PostcodesIo, None);
        assert_eq!(code(Ok(unknown)), Some(Code::PostcodeUnknown));
        let malformed = failure(Err(Refusal::postcode_malformed("DH 11")), false).unwrap();
        assert_eq!((malformed.code, malformed.exit()), (Code::PostcodeMalformed, 4));
    }
}

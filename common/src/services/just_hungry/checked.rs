//! What a front end finds out about a postcode.

use serde::{Deserialize, Serialize};

use super::command::{Source, Verdict};
use super::refusal::{Month, Refusal};
use crate::clock::Timestamp;
use crate::services::postcode::Postcode;

/// What is known of a postcode of the right form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Which.
    pub postcode: Postcode,
    /// What is known.
    pub finding: Finding,
    /// Who said so.
    pub source: Source,
    /// The town, when somebody told.
    pub town: Option<String>,
    /// When.
    pub checked: Timestamp,
}

/// What somebody, or nobody, said of a postcode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// It is in use.
    Valid,
    /// It does not exist.
    Unknown {
        /// Ones like it that exist, best first: at most three.
        near: Vec<Postcode>,
    },
    /// It is not in use any more.
    Retired {
        /// Since when, if that is known.
        since: Option<Month>,
    },
    /// Nobody could say.
    Unconfirmed {
        /// Why not.
        doubt: Doubt,
    },
}

/// Why nobody could say whether a postcode is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doubt {
    /// The front end asks no web service.
    NobodyAsked,
    /// Each one was away, or does not know.
    NobodyKnew,
}

impl Checked {
    /// Nobody could say, for this reason.
    pub const fn unconfirmed(postcode: Postcode, doubt: Doubt, checked: Timestamp) -> Self {
        let (finding, source) = (Finding::Unconfirmed { doubt }, Source::Unconfirmed);
        Self { postcode, finding, source, town: None, checked }
    }

    /// The answer's word: `valid`, `unknown`, `retired` or `unconfirmed`. (The fifth, `malformed`, is a refusal of
    /// whoever reads the text.)
    pub const fn answer(&self) -> &'static str {
        match self.finding {
            Finding::Valid => "valid",
            Finding::Unknown { .. } => "unknown",
            Finding::Retired { .. } => "retired",
            Finding::Unconfirmed { .. } => "unconfirmed",
        }
    }

    /// What an order is given to go with.
    ///
    /// # Errors
    /// [`Refusal::PostcodeUnknown`] or [`Refusal::PostcodeRetired`]: nothing is delivered there.
    pub fn verdict(self) -> Result<Verdict, Refusal> {
        let Self { postcode, finding, source, town, checked } = self;
        match finding {
            Finding::Valid | Finding::Unconfirmed { .. } => Ok(Verdict { postcode, source, town, checked }),
            Finding::Unknown { near } => Err(Refusal::PostcodeUnknown { postcode, near }),
            Finding::Retired { since } => Err(Refusal::PostcodeRetired { postcode, since }),
        }
    }

    /// What a person reads.
    pub fn sentence(&self) -> String {
        match (&self.finding, self.clone().verdict()) {
            (Finding::Unconfirmed { doubt }, _) => {
                let why = match doubt {
                    Doubt::NobodyAsked => "no web service was asked",
                    Doubt::NobodyKnew => "neither web service could confirm it",
                };
                let (postcode, area) = (self.postcode, self.postcode.area_name());
                format!("Could not validate postcode {postcode} ({area}): {why}. Its form is right.")
            }
            (_, Ok(verdict)) => verdict.sentence(),
            (_, Err(refusal)) => refusal.sentence(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(code: &str, finding: Finding, source: Source, town: Option<&str>) -> Checked {
        let town = town.map(str::to_owned);
        Checked { postcode: code.parse().unwrap(), finding, source, town, checked: Timestamp::default() }
    }

    #[test]
    fn each_finding_has_its_word_and_its_sentence() {
        let june = Some(Month { year: 1996, month: 6 });
        for (one, word, sentence) in [
            (
                checked("DH1 3LE", Finding::Valid, Source::PostcodesIo, Some("County Durham")),
                "valid",
                "DH1 3LE, County Durham (checked by postcodes.io)",
            ),
            (
                checked("DH1 3LE", Finding::Valid, Source::GetTheData, None),
                "valid",
                "DH1 3LE, Durham (checked by getthedata)",
            ),
            (
                checked("DH1 3LE", Finding::Valid, Source::Offline, None),
                "valid",
                "DH1 3LE, Durham (checked offline)",
            ),
            (
                checked("DH1 9ZZ", Finding::Unknown { near: vec![] }, Source::PostcodesIo, None),
                "unknown",
                "Postcode not found: DH1 9ZZ.",
            ),
            (
                checked("AB1 0AA", Finding::Retired { since: june }, Source::PostcodesIo, None),
                "retired",
                "AB1 0AA was retired in June 1996.",
            ),
            (
                checked("AB1 0AA", Finding::Retired { since: None }, Source::GetTheData, None),
                "retired",
                "AB1 0AA was retired.",
            ),
            (
                Checked::unconfirmed("BT35 8GE".parse().unwrap(), Doubt::NobodyKnew, Timestamp::default()),
                "unconfirmed",
                "Could not validate postcode BT35 8GE (Northern Ireland (Belfast)): neither web service could \
                 confirm it. Its form is right.",
            ),
            (
                Checked::unconfirmed("DH1 3LE".parse().unwrap(), Doubt::NobodyAsked, Timestamp::default()),
                "unconfirmed",
                "Could not validate postcode DH1 3LE (Durham): no web service was asked. Its form is right.",
            ),
        ] {
            assert_eq!((one.answer(), one.sentence().as_str()), (word, sentence));
        }
    }

    #[test]
    fn only_a_no_is_a_refusal() {
        let valid = checked("DH1 3LE", Finding::Valid, Source::Offline, None);
        assert!(valid.verdict().unwrap().is_valid());
        let doubt =
            Checked::unconfirmed("BT35 8GE".parse().unwrap(), Doubt::NobodyKnew, Timestamp::default());
        assert!(!doubt.verdict().unwrap().is_valid());
        let unknown = checked("DH1 9ZZ", Finding::Unknown { near: vec![] }, Source::PostcodesIo, None);
        assert_eq!(unknown.verdict().unwrap_err().code(), "postcode_unknown");
        let retired = checked("AB1 0AA", Finding::Retired { since: None }, Source::GetTheData, None);
        assert_eq!(retired.verdict().unwrap_err().code(), "postcode_retired");
    }
}

//! Telephone numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A telephone number in E.164: `+`, then 8 to 15 digits, the first not 0. Whoever takes one in from a person
/// brings it into this form first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Phone(String);

/// Why a text is no [`Phone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a telephone number is + and 8 to 15 digits, like +441913341000")]
pub struct BadPhone;

impl Phone {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Phone {
    type Error = BadPhone;

    fn try_from(text: String) -> Result<Self, BadPhone> {
        let digits = text.strip_prefix('+').ok_or(BadPhone)?;
        let good = (8..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        if good && !digits.starts_with('0') { Ok(Self(text)) } else { Err(BadPhone) }
    }
}

impl From<Phone> for String {
    fn from(phone: Phone) -> Self {
        phone.0
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_international_form_is_a_number() {
        let phone = |text: &str| Phone::try_from(text.to_owned());
        assert_eq!(phone("+442079460018").unwrap().to_string(), "+442079460018");
        for text in [
            "",
            "+",
            "02079460018",
            "+0207946001",
            "+4420794",
            "+44 2079460018",
            "+12abc34567",
            "+1234567890123456",
        ] {
            assert_eq!(phone(text), Err(BadPhone), "{text}");
        }
    }
}

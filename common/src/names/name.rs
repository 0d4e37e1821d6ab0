use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::text;

/// A name that native programs may register: `[a-z0-9._-]`, 1 to 64 of them. It never becomes a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LogicalName(Box<str>);

/// A name as the registry keeps it: any UTF-8 of 1 to 1,024 bytes without NUL. Every [`LogicalName`] is one; the
/// others come from Pyro programs and are kept byte for byte. Compared bytewise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AnyName(Arc<str>);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum BadName {
    /// Nothing, or too much.
    #[error("a name has 1 to {limit} bytes, not {length}")]
    Length {
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A character outside the grammar.
    #[error("{found:?} may not stand in a name; a to z, 0 to 9, dot, underscore and hyphen may")]
    Character {
        /// The first of them.
        found: char,
    },
}

impl LogicalName {
    /// Long enough for `just.hungry` and a host's name, short enough for a table on a screen.
    pub const BYTES_MAX: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AnyName {
    /// Pyro sets no limit; this one keeps a million names in memory.
    pub const BYTES_MAX: usize = 1024;

    /// Whether `text` is one.
    pub(super) fn check(text: &str) -> Result<(), BadName> {
        checked_length(text, Self::BYTES_MAX)?;
        if text.contains('\0') { Err(BadName::Character { found: '\0' }) } else { Ok(()) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogicalName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        checked_length(text, Self::BYTES_MAX)?;
        match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
            Some(found) => Err(BadName::Character { found }),
            None => Ok(Self(text.into())),
        }
    }
}

impl FromStr for AnyName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

fn checked_length(text: &str, limit: usize) -> Result<(), BadName> {
    match text.len() {
        length if length == 0 || length > limit => Err(BadName::Length { length, limit }),
        _ => Ok(()),
    }
}

impl From<&LogicalName> for AnyName {
    fn from(name: &LogicalName) -> Self {
        Self(Arc::from(&*name.0))
    }
}

impl From<LogicalName> for AnyName {
    fn from(name: LogicalName) -> Self {
        Self(Arc::from(name.0))
    }
}

/// So that an ordered map of names can be searched by text.
impl Borrow<str> for AnyName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! name_as_text {
    ($($name:ident),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        /// What arrives over a socket obeys the same grammar.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                text::read(from, str::parse)
            }
        }
    )* };
}
name_as_text!(LogicalName, AnyName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_narrow_for_us_and_wide_for_pyro() {
        assert!("just.hungry".parse::<LogicalName>().is_ok());
        assert_eq!("Just".parse::<LogicalName>(), Err(BadName::Character { found: 'J' }));
        assert_eq!("".parse::<LogicalName>(), Err(BadName::Length { length: 0, limit: 64 }));
        assert!("a".repeat(65).parse::<LogicalName>().is_err());
        assert!("Test.Däta".parse::<AnyName>().is_ok());
        assert!("a\0b".parse::<AnyName>().is_err());
    }
}

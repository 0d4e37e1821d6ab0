//! Who somebody says they are.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::text::{self, BadText};

/// What keeps people apart: 1 to 64 characters of text, compared exactly. It is no authentication.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserCode(Arc<str>);

impl UserCode {
    /// A long e-mail address fits.
    pub const CHARS_MAX: u32 = 64;

    /// Reads a code as somebody typed it.
    ///
    /// # Errors
    /// When it is no text to keep.
    pub fn read(typed: &str) -> Result<Self, BadText> {
        text::check(typed, Self::CHARS_MAX, text::Lines::One).map(|text| Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

//! Identities that processes tell each other. Each is opaque: drawn at random once, compared, never computed with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One start of one process; new each time, public.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(Uuid);

impl InstanceId {
    /// Nobody's: the boot of a primary that an operator's record names.
    pub const NOBODY: Self = Self(Uuid::nil());

    /// A fresh identity.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The identity with these 128 bits; for simulations, which draw from their own seed.
    pub const fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// Its 128 bits.
    pub const fn to_u128(self) -> u128 {
        self.0.as_u128()
    }
}

/// One cluster: a name server's store, and everything whose state hangs on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// "Not stated", in a preamble.
    pub const UNSTATED: Self = Self([0; 16]);

    /// A fresh identity.
    pub fn random() -> Self {
        Self(*Uuid::new_v4().as_bytes())
    }

    /// The identity with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, as a preamble carries them.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// Why a text is no [`ClusterId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster is named by 32 hexadecimal digits, or by a text of 1 to 16 bytes without NUL")]
pub struct BadClusterId;

impl FromStr for ClusterId {
    type Err = BadClusterId;

    /// Reads 32 hexadecimal digits, or a text of at most 16 bytes, padded with zeros.
    fn from_str(text: &str) -> Result<Self, BadClusterId> {
        if text.len() == 32
            && let Ok(uuid) = Uuid::try_parse(text)
        {
            return Ok(Self(*uuid.as_bytes()));
        }
        let mut bytes = [0; 16];
        let room = bytes.get_mut(..text.len()).ok_or(BadClusterId)?;
        if text.is_empty() || text.contains('\0') {
            return Err(BadClusterId);
        }
        room.copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }
}

impl fmt::Display for ClusterId {
    /// Writes the text it was made of when it is a printable one, else 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let text = &self.0[..end];
        if end > 0 && text.iter().all(u8::is_ascii_graphic) {
            // Every byte is printable ASCII, so this is text.
            return f.write_str(&String::from_utf8_lossy(text));
        }
        write!(f, "{}", Uuid::from_bytes(self.0).simple())
    }
}

macro_rules! shown_as_text {
    ($($name:ident),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )* };
}
shown_as_text!(InstanceId);

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_may_be_named_by_a_short_text_or_by_digits() {
        assert_eq!("dev".parse::<ClusterId>().unwrap().to_string(), "dev");
        let drawn = ClusterId::random();
        assert_eq!(drawn.to_string().parse::<ClusterId>(), Ok(drawn));
        assert_eq!("".parse::<ClusterId>(), Err(BadClusterId));
        assert_eq!("a text of seventeen".parse::<ClusterId>(), Err(BadClusterId));
    }
}

//! Why `ratings` refuses.

use serde::{Deserialize, Serialize};

use crate::services::text::BadText;

/// Why an update or query was refused. `Display` is the sentence that a person reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// An argument breaks a rule.
    #[error("{}: {why}", .field.as_str())]
    Invalid {
        /// Which argument.
        field: Field,
        /// What was wrong with it, and what would be right.
        why: Why,
    },
    /// There is no such rating.
    #[error("User has not rated that movie.")]
    NotRated,
    /// The service's bound is reached.
    #[error("The list of ratings is full ({limit}).")]
    Full {
        /// The bound.
        limit: u64,
    },
    /// Not an update or query of this service.
    #[error("The service did not understand the request.")]
    Malformed,
}

/// An argument that can break a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// The film's key.
    Film,
    /// The user code.
    User,
    /// The rows of an import.
    Rows,
    /// The users that are asked about.
    Users,
}

/// What is wrong with an argument, and what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Why {
    /// It is no text to keep.
    #[error(transparent)]
    Text(BadText),
    /// Not a key.
    #[error("the folded title is needed; look the film up first.")]
    Folded,
    /// A list of another length.
    #[error("from 1 to {max} of them, please.")]
    Count {
        /// The greatest.
        max: u32,
    },
}

impl Refusal {
    /// The stable code; never renamed.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::NotRated => "not_rated",
            Self::Full { .. } => "full",
            Self::Malformed => "malformed",
        }
    }

    /// What a program that was refused exits with.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::Invalid { .. } => 2,
            Self::NotRated => 3,
            Self::Full { .. } => 4,
        }
    }

    /// The sentence that a person reads.
    pub fn sentence(&self) -> String {
        self.to_string()
    }
}

impl Field {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Film => "film",
            Self::User => "user",
            Self::Rows => "rows",
            Self::Users => "users",
        }
    }
}

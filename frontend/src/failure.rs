//! What the errors of the replicas' contract mean for a call on its way: go on, or give the caller this answer.

use common::replication::GroupName;
use common::rpc::Outcome;
use common::rpc::replica::{QueryError, SubmitError};
use common::rpc::transport::CallError;

use crate::router::{GivenUp, Setback};

/// How an unsuccessful try is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<E> {
    /// The journey goes on.
    Setback(Setback),
    /// Asking again would change nothing.
    Final(E),
}

/// An error of the replicas' contract, as a journey sees it.
pub trait Failure: Clone + Sized {
    /// Reads a replica's answer.
    fn read(self) -> Reading<Self>;
    /// Reads a call that brought no answer.
    fn read_call(error: CallError) -> Reading<Self>;
    /// What to tell the caller of a journey that reached nobody.
    fn given_up(service: &GroupName, how: &GivenUp) -> Self;
    /// What the failed try may have done.
    fn outcome(&self) -> Outcome;
    /// Whether "no effect" is said of every copy of the command, earlier ones included.
    fn speaks_for_all_copies(&self) -> bool;
}

/// Reads what happened to a call on its way; `Err` when that is final.
fn read_call(error: CallError) -> Result<Setback, CallError> {
    match error {
        CallError::Unreachable { .. } | CallError::Incompatible { .. } => Ok(Setback::Away),
        CallError::Busy { retry_in } => Ok(Setback::Busy { retry_in }),
        CallError::ConnectionLost | CallError::Unacknowledged => Ok(Setback::Lost),
        CallError::TooLarge { .. } | CallError::Internal { .. } => Err(error),
    }
}

impl Failure for SubmitError {
    fn read(self) -> Reading<Self> {
        match self {
            Self::NotPrimary { config, address } => Reading::Setback(Setback::NotPrimary { config, address }),
            Self::Busy { retry_in } => Reading::Setback(Setback::Busy { retry_in }),
            // Handing over, or not that far yet in its start.
            Self::Draining | Self::NoPrimary { .. } | Self::UnknownService { .. } => {
                Reading::Setback(Setback::Away)
            }
            Self::Unacknowledged { .. } => Reading::Setback(Setback::Lost),
            Self::Behind { .. } | Self::Overloaded | Self::Offline => Reading::Setback(Setback::Refused),
            Self::DiskFull
            | Self::TooLarge { .. }
            | Self::FromTheFuture { .. }
            | Self::Reused
            | Self::Expired { .. }
            | Self::AtTheDoor { .. }
            | Self::TooFewInSync { .. }
            | Self::TooFewToAdmit { .. }
            | Self::Internal { .. } => Reading::Final(self),
        }
    }

    fn read_call(error: CallError) -> Reading<Self> {
        match read_call(error) {
            Ok(setback) => Reading::Setback(setback),
            Err(CallError::TooLarge { limit }) => Reading::Final(Self::TooLarge { limit }),
            Err(error) => Reading::Final(Self::Internal { why: error.to_string() }),
        }
    }

    fn given_up(service: &GroupName, how: &GivenUp) -> Self {
        match *how {
            GivenUp { uncertain: true, waited, .. } => Self::Unacknowledged { waited },
            GivenUp { busy: Some(retry_in), .. } => Self::Busy { retry_in },
            GivenUp { .. } => Self::NoPrimary { service: service.clone() },
        }
    }

    fn outcome(&self) -> Outcome {
        self.outcome()
    }

    fn speaks_for_all_copies(&self) -> bool {
        // The table knows the id under another payload, so none of ours ever ran.
        matches!(self, Self::Reused)
    }
}

impl Failure for QueryError {
    fn read(self) -> Reading<Self> {
        match self {
            Self::NotPrimary { config, address } => Reading::Setback(Setback::NotPrimary { config, address }),
            Self::Busy { retry_in } => Reading::Setback(Setback::Busy { retry_in }),
            // An older copy elsewhere may be young enough.
            Self::Draining | Self::NoPrimary { .. } | Self::UnknownService { .. } | Self::Behind => {
                Reading::Setback(Setback::Away)
            }
            Self::Unacknowledged { .. } => Reading::Setback(Setback::Lost),
            Self::Lacks { .. } | Self::Overloaded | Self::Offline => Reading::Setback(Setback::Refused),
            Self::TooLarge { .. } | Self::TooFewInSync { .. } | Self::Internal { .. } => Reading::Final(self),
        }
    }

    fn read_call(error: CallError) -> Reading<Self> {
        match read_call(error) {
            Ok(setback) => Reading::Setback(setback),
            Err(CallError::TooLarge { limit }) => Reading::Final(Self::TooLarge { limit }),
            Err(error) => Reading::Final(Self::Internal { why: error.to_string() }),
        }
    }

    fn given_up(service: &GroupName, how: &GivenUp) -> Self {
        match *how {
            GivenUp { uncertain: true, waited, .. } => Self::Unacknowledged { waited },
            GivenUp { busy: Some(retry_in), .. } => Self::Busy { retry_in },
            GivenUp { .. } => Self::NoPrimary { service: service.clone() },
        }
    }

    fn outcome(&self) -> Outcome {
        // A query changes nothing, whatever became of it.
        Outcome::NoEffect
    }

    fn speaks_for_all_copies(&self) -> bool {
        true
    }
}

//! Why a call gave no answer, and what it may have done all the same.

use std::io;
use std::time::Duration;

use tarpc::client::RpcError;

use super::codec::FrameError;
use crate::names::Address;
use crate::rpc::Outcome;

/// When to try again at somebody who is busy: a queue of 64 has moved by then.
const BUSY_RETRY: Duration = Duration::from_millis(50);

/// Why a call gave no answer; made of tarpc's [`RpcError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No effect: nobody there.
    #[error("{address} cannot be reached ({why})")]
    Unreachable {
        /// Who.
        address: Address,
        /// For a person: "connection refused".
        why: String,
        /// Whether the other end's machine said so at once: its process is not there.
        refused: bool,
    },
    /// No effect: somebody else is there, or another version.
    #[error("{why}")]
    Incompatible {
        /// The other end's sentence.
        why: String,
    },
    /// No effect.
    #[error("a message has at most {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// No effect.
    #[error("busy; try again in {retry_in:?}")]
    Busy {
        /// When to try again.
        retry_in: Duration,
    },
    /// Unknown.
    #[error("the connection was lost")]
    ConnectionLost,
    /// Unknown.
    #[error("no answer within the deadline")]
    Unacknowledged,
    /// Unknown.
    #[error("the other end failed: {why}")]
    Internal {
        /// Its sentence.
        why: String,
    },
}

impl CallError {
    pub(super) fn busy() -> Self {
        Self::Busy { retry_in: BUSY_RETRY }
    }

    /// What the failed call may have done.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable { .. }
            | Self::Incompatible { .. }
            | Self::TooLarge { .. }
            | Self::Busy { .. } => Outcome::NoEffect,
            Self::ConnectionLost | Self::Unacknowledged | Self::Internal { .. } => Outcome::Unknown,
        }
    }
}

/// A call that provably never left; how a [`CallError`] without effect passes through tarpc's [`RpcError`].
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Unsent(pub(crate) CallError);

impl From<Unsent> for RpcError {
    fn from(unsent: Unsent) -> Self {
        Self::Send(Box::new(unsent))
    }
}

impl From<RpcError> for CallError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Shutdown | RpcError::Channel(_) => Self::ConnectionLost,
            RpcError::DeadlineExceeded => Self::Unacknowledged,
            RpcError::Server(said) if said.kind == io::ErrorKind::WouldBlock => Self::busy(),
            RpcError::Server(said) => Self::Internal { why: said.detail },
            RpcError::Send(why) => match why.downcast::<Unsent>() {
                Ok(unsent) => unsent.0,
                // A stub above ours passes our word on.
                Err(why) => match why.downcast::<Self>() {
                    Ok(error) => *error,
                    Err(why) => match why.downcast_ref::<FrameError>() {
                        Some(FrameError::TooLarge { limit }) => Self::TooLarge { limit: *limit as u64 },
                        _ => Self::Incompatible { why: why.to_string() },
                    },
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tarpc::{ChannelError, ServerError};

    use super::*;

    #[test]
    fn each_failure_tells_whether_it_may_have_had_an_effect() {
        let unreachable = CallError::Unreachable {
            address: "127.0.0.1:1".parse().unwrap(),
            why: "connection refused".to_owned(),
            refused: true,
        };
        let said = |kind| RpcError::Server(ServerError::new(kind, "why".to_owned()));
        let broken = Arc::new(FrameError::Short);
        let internal = CallError::Internal { why: "why".to_owned() };
        for (failure, expected, outcome) in [
            (RpcError::from(Unsent(unreachable.clone())), unreachable.clone(), Outcome::NoEffect),
            (RpcError::Send(Box::new(unreachable.clone())), unreachable, Outcome::NoEffect),
            (
                RpcError::Send(Box::new(FrameError::TooLarge { limit: 9 })),
                CallError::TooLarge { limit: 9 },
                Outcome::NoEffect,
            ),
            (
                RpcError::Send("why".into()),
                CallError::Incompatible { why: "why".to_owned() },
                Outcome::NoEffect,
            ),
            (said(io::ErrorKind::WouldBlock), CallError::busy(), Outcome::NoEffect),
            (RpcError::Shutdown, CallError::ConnectionLost, Outcome::Unknown),
            (RpcError::Channel(ChannelError::Read(broken)), CallError::ConnectionLost, Outcome::Unknown),
            (RpcError::DeadlineExceeded, CallError::Unacknowledged, Outcome::Unknown),
            (said(io::ErrorKind::Other), internal.clone(), Outcome::Unknown),
            (said(io::ErrorKind::InvalidData), internal, Outcome::Unknown),
        ] {
            let error = CallError::from(failure);
            assert_eq!((&error, error.outcome()), (&expected, outcome));
        }
    }
}

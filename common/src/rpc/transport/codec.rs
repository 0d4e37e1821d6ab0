//! Frames: a length of 4 bytes, big-endian, then one message of tarpc's in bincode 2. The only file that names the
//! codec; leaving it costs this file, a contract version, new golden bytes.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use bincode::config::standard;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bytes::{Buf as _, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::{ClientMessage, Response};
use tokio_util::codec::{Decoder, Encoder};

use super::deadline;
use crate::rpc::limits::{DEADLINE_MAX, FRAME_TIME, IDLE_TIME, WRITE_TIME};

const LENGTH: usize = 4;
/// How much room is made at once for a frame that is still coming: a claimed length is no reason to allocate it.
const STEP: usize = 64 * 1024;

/// Why a connection cannot go on, or (`TooLarge`, `Encode`) why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame claims to be longer than the contract allows.
    #[error("a frame of {claimed} bytes is announced; at most {limit} are taken")]
    TooLong {
        /// What its head says.
        claimed: usize,
        /// The bound.
        limit: usize,
    },
    /// A deadline that would make tarpc panic.
    #[error("a deadline in {seconds} s and {nanos} ns is not taken")]
    Deadline {
        /// Whole seconds.
        seconds: u64,
        /// The rest.
        nanos: u64,
    },
    /// No message of tarpc begins so.
    #[error("no message begins with {0}")]
    Tag(u64),
    /// The frame ends too early.
    #[error("a frame ends within its head")]
    Short,
    /// The frame is no message of this contract.
    #[error("a frame cannot be decoded: {0}")]
    Decode(String),
    /// The message ends before its frame does.
    #[error("a frame goes on for {0} bytes after its message")]
    Trailing(usize),
    /// The message is larger than the contract allows; nothing was sent.
    #[error("a message has at most {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The message cannot be encoded; nothing was sent.
    #[error("a message cannot be encoded: {0}")]
    Encode(String),
    /// A frame was begun and not ended.
    #[error("a frame was not whole after {FRAME_TIME:?}")]
    SlowFrame,
    /// The other end does not read.
    #[error("no byte could be written for {WRITE_TIME:?}")]
    SlowReader,
    /// Nobody uses the connection.
    #[error("idle for {IDLE_TIME:?}")]
    Idle,
}

/// What may come in: each kind with its own guards.
pub(super) trait Incoming: DeserializeOwned {
    /// Looks at the raw bytes: for what panics in the decoder, decoding is already too late.
    fn check_head(frame: &[u8]) -> Result<(), FrameError>;
    /// Pulls what was decoded into its bounds.
    fn clamp(&mut self, ceiling: Duration);
}

impl<Req: DeserializeOwned> Incoming for ClientMessage<Req> {
    fn check_head(frame: &[u8]) -> Result<(), FrameError> {
        check_head(frame)
    }

    fn clamp(&mut self, ceiling: Duration) {
        if let Self::Request(request) = self {
            request.context.deadline = deadline::at_most(request.context.deadline, ceiling);
        }
    }
}

impl<Resp: DeserializeOwned> Incoming for Response<Resp> {
    fn check_head(_: &[u8]) -> Result<(), FrameError> {
        Ok(())
    }

    fn clamp(&mut self, _: Duration) {}
}

/// Refuses a request whose deadline would make tarpc panic.
fn check_head(mut head: &[u8]) -> Result<(), FrameError> {
    match varint(&mut head)? {
        // Request: its first field is the deadline, as a Duration.
        0 => match (varint(&mut head)?, varint(&mut head)?) {
            (seconds, nanos) if seconds <= DEADLINE_MAX.as_secs() && nanos < 1_000_000_000 => Ok(()),
            (seconds, nanos) => Err(FrameError::Deadline { seconds, nanos }),
        },
        // Cancel.
        1 => Ok(()),
        tag => Err(FrameError::Tag(tag)),
    }
}

fn varint(head: &mut &[u8]) -> Result<u64, FrameError> {
    let (&first, rest) = head.split_first().ok_or(FrameError::Short)?;
    let width = match first {
        0..=250 => 0,
        251 => 2,
        252 => 4,
        253 => 8,
        _ => return Err(FrameError::Tag(first.into())),
    };
    let (raw, rest) = rest.split_at_checked(width).ok_or(FrameError::Short)?;
    let mut value = [0; 8];
    value[..width].copy_from_slice(raw);
    *head = rest;
    Ok(if width == 0 { first.into() } else { u64::from_le_bytes(value) })
}

/// `In` from frames, and `Out` to frames.
pub(super) struct Wire<In, Out> {
    frame_in: usize,
    frame_out: usize,
    ceiling: Duration,
    /// Bytes of the frame decoded last.
    pub(super) last_frame: usize,
    types: PhantomData<fn(Out) -> In>,
}

impl<In, Out> Wire<In, Out> {
    /// Frames of at most so many bytes in and out, deadlines at most `ceiling` away.
    pub(super) fn new(frame_in: usize, frame_out: usize, ceiling: Duration) -> Self {
        Self { frame_in, frame_out, ceiling, last_frame: 0, types: PhantomData }
    }
}

impl<In: Incoming, Out> Decoder for Wire<In, Out> {
    type Item = In;
    type Error = FrameError;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<In>, FrameError> {
        let Some(head) = from.first_chunk::<LENGTH>() else { return Ok(None) };
        // Checked before anything is allocated.
        let claimed = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if claimed > self.frame_in {
            return Err(FrameError::TooLong { claimed, limit: self.frame_in });
        }
        let Some(frame) = from.get(LENGTH..LENGTH + claimed) else {
            from.reserve((LENGTH + claimed - from.len()).min(STEP));
            return Ok(None);
        };
        In::check_head(frame)?;
        let mut message: In = decode(frame, self.frame_in)?;
        message.clamp(self.ceiling);
        from.advance(LENGTH + claimed);
        self.last_frame = claimed;
        Ok(Some(message))
    }
}

impl<In, Out: Serialize> Encoder<Out> for Wire<In, Out> {
    type Error = FrameError;

    /// Writes the frame whole, or leaves the buffer as it was.
    fn encode(&mut self, message: Out, to: &mut BytesMut) -> Result<(), FrameError> {
        let start = to.len();
        to.extend_from_slice(&[0; LENGTH]);
        let mut frame = Frame { to, left: self.frame_out, over: false };
        let written = bincode::serde::encode_into_writer(message, &mut frame, standard());
        let over = frame.over;
        if let Err(error) = written {
            to.truncate(start);
            return Err(if over {
                FrameError::TooLarge { limit: self.frame_out }
            } else {
                FrameError::Encode(error.to_string())
            });
        }
        let body = u32::try_from(to.len() - start - LENGTH).expect("a frame's limit is far below 4 GiB");
        to[start..start + LENGTH].copy_from_slice(&body.to_be_bytes());
        Ok(())
    }
}

/// Takes a message's bytes up to the limit, and no byte more.
struct Frame<'a> {
    to: &'a mut BytesMut,
    left: usize,
    over: bool,
}

impl Writer for Frame<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            self.over = true;
            return Err(EncodeError::UnexpectedEnd);
        };
        self.left = left;
        self.to.extend_from_slice(bytes);
        Ok(())
    }
}

/// Decodes a whole frame. The limit counts *decoded* bytes, where a `u128` of one byte is 16: 16 times the frame,
/// rounded up to one of three, since bincode wants it as a constant.
fn decode<T: DeserializeOwned>(frame: &[u8], frame_max: usize) -> Result<T, FrameError> {
    const SMALL: usize = 64 * 1024;
    const MIDDLE: usize = 256 * 1024;
    const LARGE: usize = 2 * 1024 * 1024;
    use bincode::serde::decode_from_slice as from;
    let decoded = if frame_max <= SMALL {
        from(frame, standard().with_limit::<{ 16 * SMALL }>())
    } else if frame_max <= MIDDLE {
        from(frame, standard().with_limit::<{ 16 * MIDDLE }>())
    } else {
        from(frame, standard().with_limit::<{ 16 * LARGE }>())
    };
    match decoded {
        Ok((message, read)) if read == frame.len() => Ok(message),
        Ok((_, read)) => Err(FrameError::Trailing(frame.len() - read)),
        Err(error) => Err(FrameError::Decode(error.to_string())),
    }
}

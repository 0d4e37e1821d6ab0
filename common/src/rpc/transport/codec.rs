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
use crate::rpc::limits::{DEADLINE_MAX, FRAME_TIME, WRITE_TIME};

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
}

/// What may come in: each kind with its own guards.
pub(super) trait Incoming: DeserializeOwned {
    /// Looks at the raw bytes: for what panics in the decoder, decoding is already too late. Returns the time that is
    /// asked for.
    fn check_head(frame: &[u8]) -> Result<Duration, FrameError>;
    /// Pulls what was decoded into its bounds.
    fn clamp(&mut self, ceiling: Duration);
}

impl<Req: DeserializeOwned> Incoming for ClientMessage<Req> {
    fn check_head(frame: &[u8]) -> Result<Duration, FrameError> {
        check_head(frame)
    }

    fn clamp(&mut self, ceiling: Duration) {
        if let Self::Request(request) = self {
            request.context.deadline = deadline::at_most(request.context.deadline, ceiling);
        }
    }
}

impl<Resp: DeserializeOwned> Incoming for Response<Resp> {
    fn check_head(_: &[u8]) -> Result<Duration, FrameError> {
        Ok(Duration::ZERO)
    }

    fn clamp(&mut self, _: Duration) {}
}

/// What may go out.
pub(super) trait Outbound {
    fn encode(&self, to: impl Writer) -> Result<(), EncodeError>;
}

impl<Req: Serialize> Outbound for ClientMessage<Req> {
    fn encode(&self, to: impl Writer) -> Result<(), EncodeError> {
        bincode::serde::encode_into_writer(self, to, standard())
    }
}

impl<Resp: Serialize> Outbound for Response<Resp> {
    /// As tarpc's own, but for the kind of an error: tarpc 0.38 writes that signed and reads it unsigned, which
    /// bincode encodes differently, so that `WouldBlock` would arrive as `Other`.
    fn encode(&self, to: impl Writer) -> Result<(), EncodeError> {
        let message = self.message.as_ref().map_err(|error| (kind(error.kind), &error.detail));
        bincode::serde::encode_into_writer((self.request_id, message), to, standard())
    }
}

/// The number under which tarpc reads a kind of error; it knows eighteen.
fn kind(kind: io::ErrorKind) -> u32 {
    use io::ErrorKind as Kind;
    match kind {
        Kind::NotFound => 0,
        Kind::PermissionDenied => 1,
        Kind::ConnectionRefused => 2,
        Kind::ConnectionReset => 3,
        Kind::ConnectionAborted => 4,
        Kind::NotConnected => 5,
        Kind::AddrInUse => 6,
        Kind::AddrNotAvailable => 7,
        Kind::BrokenPipe => 8,
        Kind::AlreadyExists => 9,
        Kind::WouldBlock => 10,
        Kind::InvalidInput => 11,
        Kind::InvalidData => 12,
        Kind::TimedOut => 13,
        Kind::WriteZero => 14,
        Kind::Interrupted => 15,
        Kind::UnexpectedEof => 17,
        _ => 16, // Other
    }
}

/// Refuses a request whose deadline would make tarpc panic; returns how far away it is.
fn check_head(mut head: &[u8]) -> Result<Duration, FrameError> {
    match varint(&mut head)? {
        // Request: its first field is the deadline, as a Duration.
        0 => match (varint(&mut head)?, varint(&mut head)?) {
            (seconds, nanos) if seconds <= DEADLINE_MAX.as_secs() && nanos < 1_000_000_000 => {
                Ok(Duration::from_secs(seconds) + Duration::from_nanos(nanos))
            }
            (seconds, nanos) => Err(FrameError::Deadline { seconds, nanos }),
        },
        // Cancel.
        1 => Ok(Duration::ZERO),
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
    /// The frame in the making. An encoder hands over field by field, which costs far less here than in the buffer that
    /// the socket is written from.
    body: Vec<u8>,
    types: PhantomData<fn(Out) -> In>,
}

impl<In, Out> Wire<In, Out> {
    /// Frames of at most so many bytes in and out, deadlines at most `ceiling` away.
    pub(super) fn new(frame_in: usize, frame_out: usize, ceiling: Duration) -> Self {
        Self { frame_in, frame_out, ceiling, last_frame: 0, body: Vec::new(), types: PhantomData }
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
        let time = In::check_head(frame)?;
        let mut message: In = decode(frame, self.frame_in)?;
        if time > self.ceiling {
            message.clamp(self.ceiling);
        }
        from.advance(LENGTH + claimed);
        self.last_frame = claimed;
        Ok(Some(message))
    }
}

impl<In, Out: Outbound> Encoder<Out> for Wire<In, Out> {
    type Error = FrameError;

    /// Writes the frame whole, or leaves the buffer as it was.
    fn encode(&mut self, message: Out, to: &mut BytesMut) -> Result<(), FrameError> {
        self.body.clear();
        let mut frame = Frame { body: &mut self.body, limit: self.frame_out, over: false };
        if let Err(error) = message.encode(&mut frame) {
            return Err(if frame.over {
                FrameError::TooLarge { limit: self.frame_out }
            } else {
                FrameError::Encode(error.to_string())
            });
        }
        let length = u32::try_from(self.body.len()).expect("a frame's limit is far below 4 GiB");
        to.reserve(LENGTH + self.body.len());
        to.extend_from_slice(&length.to_be_bytes());
        to.extend_from_slice(&self.body);
        // One large answer is no reason to hold its memory for the connection's life.
        self.body.shrink_to(STEP);
        Ok(())
    }
}

/// Takes a message's bytes up to the limit, and no byte more.
struct Frame<'a> {
    body: &'a mut Vec<u8>,
    limit: usize,
    over: bool,
}

impl Writer for Frame<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if bytes.len() > self.limit - self.body.len() {
            self.over = true;
            return Err(EncodeError::UnexpectedEnd);
        }
        self.body.extend_from_slice(bytes);
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

#[cfg(test)]
mod tests {
    use tarpc::client::RpcError;
    use tarpc::{Request, context, trace};

    use super::*;

    type ServerWire = Wire<ClientMessage<String>, Response<String>>;
    type ClientWire = Wire<Response<String>, ClientMessage<String>>;
    const CEILING: Duration = Duration::from_secs(10);

    /// As tarpc sends it: tag, deadline in seconds and nanoseconds, trace (16 bytes), span, sampling, id, message.
    fn head(seconds: &[u8], nanos: &[u8]) -> Vec<u8> {
        let mut body = vec![0];
        body.extend(seconds);
        body.extend(nanos);
        body.extend([0; 16]);
        body.extend([0, 1, 7]); // span 0, unsampled, request 7
        body.extend([2, b'h', b'i']);
        body
    }

    fn framed(body: &[u8]) -> BytesMut {
        let mut frame = BytesMut::from(&u32::try_from(body.len()).unwrap().to_be_bytes()[..]);
        frame.extend_from_slice(body);
        frame
    }

    fn decode(body: &[u8]) -> Result<Option<ClientMessage<String>>, FrameError> {
        ServerWire::new(1024, 1024, CEILING).decode(&mut framed(body))
    }

    #[test]
    fn tarpcs_envelope_has_the_bytes_that_the_guard_looks_at() {
        let mut context = context::current();
        context.trace_context = trace::Context::default();
        // A deadline is sent as the time left: of one that is past, nothing.
        context.deadline = deadline::now();
        let (mut bytes, mut wire) = (BytesMut::new(), ClientWire::new(1024, 1024, CEILING));
        // tarpc's types cannot be built outside it, but they can be decoded.
        let mut decoded = decode(&head(&[0], &[0])).unwrap().unwrap();
        let ClientMessage::Request(Request { context: sent, .. }) = &mut decoded else {
            panic!("no request")
        };
        *sent = context;
        wire.encode(decoded, &mut bytes).unwrap();
        assert_eq!(bytes, framed(&head(&[0], &[0])));

        let mut cancel = BytesMut::from(&[1][..]);
        cancel.extend_from_slice(&[0; 16]);
        cancel.extend_from_slice(&[0, 1, 7]);
        assert!(matches!(decode(&cancel), Ok(Some(ClientMessage::Cancel { request_id: 7, .. }))));
    }

    #[test]
    fn a_deadline_that_would_make_tarpc_panic_is_refused_before_it_is_decoded() {
        let seconds = |value: u64| [&[253][..], &value.to_le_bytes()].concat();
        let nanos = |value: u32| [&[252][..], &value.to_le_bytes()].concat();
        let two_years = 69_379_200;
        let three_hundred_years = 9_467_280_000;
        for (seconds, nanos) in [
            (seconds(two_years), vec![0]),
            (seconds(three_hundred_years), vec![0]),
            (seconds(1 << 63), vec![0]),
            (seconds(u64::MAX), nanos(999_999_999)),
            (vec![251, 0x11, 0x0E], vec![0]), // 3,601 s, just too far
            (vec![1], nanos(1_000_000_000)),
        ] {
            let refused = decode(&head(&seconds, &nanos));
            assert!(
                matches!(refused, Err(FrameError::Deadline { .. })),
                "{seconds:?} {nanos:?}: {refused:?}"
            );
        }
        assert!(decode(&head(&[251, 0x10, 0x0E], &nanos(999_999_999))).is_ok()); // an hour
    }

    #[test]
    fn a_far_deadline_is_pulled_to_the_ceiling() {
        let Some(ClientMessage::Request(request)) = decode(&head(&[251, 0x10, 0x0E], &[0])).unwrap() else {
            panic!("no request")
        };
        assert!(deadline::remaining(&request.context) <= CEILING);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(matches!(decode(&[]), Err(FrameError::Short)));
        assert!(matches!(decode(&[0, 251, 1]), Err(FrameError::Short)));
        assert!(matches!(decode(&[2]), Err(FrameError::Tag(2))));
        assert!(matches!(decode(&[0, 254]), Err(FrameError::Tag(254))));
        let good = head(&[1], &[0]);
        for end in 3..good.len() {
            assert!(matches!(decode(&good[..end]), Err(FrameError::Decode(_))), "cut at {end}");
        }
        assert!(matches!(decode(&[&good[..], &[0]].concat()), Err(FrameError::Trailing(1))));
    }

    #[test]
    fn a_claimed_length_is_refused_before_anything_is_allocated() {
        for claimed in [1025_u32, 1 << 31, u32::MAX] {
            let mut frame = BytesMut::from(&claimed.to_be_bytes()[..]);
            let refused = ServerWire::new(1024, 1024, CEILING).decode(&mut frame);
            assert!(matches!(refused, Err(FrameError::TooLong { limit: 1024, .. })));
            assert!(frame.capacity() < 1024);
        }
    }

    #[test]
    fn t06_a_small_frame_cannot_decode_into_much() {
        // A text that claims 2^40 bytes.
        let mut bomb = head(&[1], &[0]);
        bomb.truncate(bomb.len() - 3);
        bomb.push(253);
        bomb.extend((1_u64 << 40).to_le_bytes());
        assert!(matches!(decode(&bomb), Err(FrameError::Decode(_))));
    }

    #[test]
    fn the_kind_of_an_error_arrives_as_it_was_sent() {
        let mut wire = Wire::<Response<String>, Response<String>>::new(1024, 1024, CEILING);
        for kind in [
            io::ErrorKind::WouldBlock,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::InvalidData,
            io::ErrorKind::Other,
        ] {
            let error =
                Response { request_id: 1, message: Err(tarpc::ServerError::new(kind, "why".to_owned())) };
            let mut bytes = BytesMut::new();
            wire.encode(error.clone(), &mut bytes).unwrap();
            assert_eq!(wire.decode(&mut bytes).unwrap(), Some(error));
        }
        let mut bytes = BytesMut::new();
        wire.encode(Response { request_id: 1, message: Ok("hi".to_owned()) }, &mut bytes).unwrap();
        assert_eq!(bytes, framed(&[1, 0, 2, b'h', b'i']));
    }

    #[test]
    fn a_message_over_the_limit_leaves_the_buffer_as_it_was() {
        let mut wire = Wire::<Response<String>, Response<String>>::new(64, 64, CEILING);
        let mut bytes = BytesMut::from(&b"before"[..]);
        let long = Response { request_id: 1, message: Ok("x".repeat(65)) };
        let refused = wire.encode(long, &mut bytes);
        assert!(matches!(refused, Err(FrameError::TooLarge { limit: 64 })));
        assert_eq!(&bytes[..], b"before");
        let why = RpcError::Send(Box::new(refused.unwrap_err()));
        assert_eq!(super::super::CallError::from(why), super::super::CallError::TooLarge { limit: 64 });
    }
}

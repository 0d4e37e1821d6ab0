//! The two headers of Pyro, read and written. Numbers are big-endian.

use std::ops::{BitAnd, BitOr};

use ring::hmac;

/// The first bytes of every message.
pub const MAGIC: [u8; 4] = *b"PYRO";
/// Payload and annotations of one message, before and after inflating: a list of a hundred thousand names.
pub const MESSAGE_MAX: usize = 4 << 20;
/// Annotations of one message: correlation and authentication take 50 bytes.
pub const ANNOTATIONS_MAX: usize = 64 << 10;
/// Pieces of annotation in one message.
pub const CHUNKS_MAX: usize = 32;
/// The last field of a Pyro5 header.
const MAGIC5: u16 = 0x4DC5;
/// What a Pyro4 header's checksum begins with.
const CHECKSUM4: u16 = 0x34E9;
/// Bytes of an ordinary payload of ours: a URI and a few tags fit without the buffer growing.
const ANSWER_ORDINARILY: usize = 256;
/// Bytes of a message-authentication code.
const HMAC_BYTES: usize = 20;

/// Which Pyro speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Pyro 4, protocol 48.
    Four,
    /// Pyro 5, protocol 502.
    Five,
}

impl Dialect {
    /// Its number on the wire.
    pub const fn version(self) -> u16 {
        match self {
            Self::Four => 48,
            Self::Five => 502,
        }
    }

    /// Bytes of its header.
    pub const fn header(self) -> usize {
        match self {
            Self::Four => 24,
            Self::Five => 40,
        }
    }

    /// Its package's name in class names.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Four => "Pyro4",
            Self::Five => "Pyro5",
        }
    }

    /// Bytes of one annotation's own header.
    const fn chunk_header(self) -> usize {
        match self {
            Self::Four => 6,
            Self::Five => 8,
        }
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's first.
    Connect,
    /// The answer to it.
    ConnectOk,
    /// The other answer to it.
    ConnectFail,
    /// A call.
    Invoke,
    /// Its answer.
    Result,
    /// A sign of life, both ways.
    Ping,
    /// None that we know.
    Other(u16),
}

impl Kind {
    const fn of(number: u16) -> Self {
        match number {
            1 => Self::Connect,
            2 => Self::ConnectOk,
            3 => Self::ConnectFail,
            4 => Self::Invoke,
            5 => Self::Result,
            6 => Self::Ping,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u16 {
        match self {
            Self::Connect => 1,
            Self::ConnectOk => 2,
            Self::ConnectFail => 3,
            Self::Invoke => 4,
            Self::Result => 5,
            Self::Ping => 6,
            Self::Other(number) => number,
        }
    }
}

/// A message's flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// The payload is an exception.
    pub const EXCEPTION: Self = Self(1);
    /// The payload is compressed.
    pub const COMPRESSED: Self = Self(2);
    /// Nobody waits for an answer.
    pub const ONEWAY: Self = Self(4);
    /// Several calls in one.
    pub const BATCH: Self = Self(8);
    /// Pyro4: the answer to the first message is to say which methods there are.
    pub const META_ON_CONNECT: Self = Self(0x10);
    /// Pyro5: the header holds a correlation id.
    pub const CORRELATED: Self = Self(0x40);

    /// Whether all of `flags` are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The flags of requests for streams and unread payloads, which we do not do.
    pub const fn streams(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Four => Self(0x20 | 0x40),
            Dialect::Five => Self(0x10 | 0x20),
        }
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// A message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which Pyro speaks.
    pub dialect: Dialect,
    /// What it is.
    pub kind: Kind,
    /// How the payload is encoded.
    pub serializer: u16,
    /// How to take it.
    pub flags: Flags,
    /// Which message of its sender; the answer repeats it.
    pub sequence: u16,
    /// Bytes of the payload.
    pub payload: u32,
    /// Bytes of the annotations, which go before it.
    pub annotations: u32,
    /// Whose call this is part of.
    pub correlation: Option<[u8; 16]>,
}

/// Why bytes are no message that we take. The connection ends with any of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Another protocol altogether.
    #[error("invalid data")]
    Magic,
    /// A Pyro of another time.
    #[error("invalid protocol version: {0}")]
    Version(u16),
    /// The header is damaged.
    #[error("header checksum mismatch")]
    Damaged,
    /// It is too large.
    #[error("message too large ({0}, max={MESSAGE_MAX})")]
    TooLarge(u64),
    /// Its annotations are.
    #[error("annotations too large ({0}, max={ANNOTATIONS_MAX})")]
    Annotations(u32),
    /// Its annotations do not fill their place exactly.
    #[error("annotation chunk length exceeds remaining data")]
    Chunks,
}

impl Head {
    /// Reads the header that `bytes` begin with; `None` when they do not hold all of it yet.
    ///
    /// # Errors
    /// When they cannot become one, told as early as can be.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, BadFrame> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(BadFrame::Magic);
        }
        if bytes.len() < 6 {
            return Ok(None);
        }
        let dialect = match two(bytes, 4) {
            48 => Dialect::Four,
            502 => Dialect::Five,
            other => return Err(BadFrame::Version(other)),
        };
        let Some(bytes) = bytes.get(..dialect.header()) else { return Ok(None) };
        let payload = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        let head = match dialect {
            Dialect::Five => {
                let flags = Flags(two(bytes, 8));
                let correlation: [u8; 16] = bytes[20..36].try_into().expect("sixteen bytes");
                if two(bytes, 38) != MAGIC5 {
                    return Err(BadFrame::Damaged);
                }
                Self {
                    dialect,
                    kind: Kind::of(bytes[6].into()),
                    serializer: bytes[7].into(),
                    flags,
                    sequence: two(bytes, 10),
                    payload,
                    annotations: u32::from_be_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]),
                    correlation: flags.has(Flags::CORRELATED).then_some(correlation),
                }
            }
            Dialect::Four => {
                let head = Self {
                    dialect,
                    kind: Kind::of(two(bytes, 6)),
                    serializer: two(bytes, 16),
                    flags: Flags(two(bytes, 8)),
                    sequence: two(bytes, 10),
                    payload,
                    annotations: two(bytes, 18).into(),
                    correlation: None,
                };
                if two(bytes, 22) != head.checksum(payload, head.annotations) {
                    return Err(BadFrame::Damaged);
                }
                head
            }
        };
        Ok(Some(head))
    }

    /// Whether we take so much.
    ///
    /// # Errors
    /// What is too large.
    pub fn check(&self) -> Result<(), BadFrame> {
        let whole = u64::from(self.payload) + u64::from(self.annotations);
        if whole > MESSAGE_MAX as u64 {
            return Err(BadFrame::TooLarge(whole));
        }
        if self.annotations as usize > ANNOTATIONS_MAX {
            return Err(BadFrame::Annotations(self.annotations));
        }
        Ok(())
    }

    /// Bytes of the whole message.
    pub const fn whole(&self) -> usize {
        self.start() + self.payload as usize
    }

    /// Where the payload begins.
    pub const fn start(&self) -> usize {
        self.dialect.header() + self.annotations as usize
    }

    /// Pyro4's: a sum of all fields.
    fn checksum(&self, payload: u32, annotations: u32) -> u16 {
        let sum = u64::from(self.kind.number())
            + u64::from(self.dialect.version())
            + u64::from(payload)
            + u64::from(annotations)
            + u64::from(self.serializer)
            + u64::from(self.flags.0)
            + u64::from(self.sequence)
            + u64::from(CHECKSUM4);
        u16::try_from(sum % (1 << 16)).expect("less than 65,536")
    }
}

/// What of a message's annotations concerns us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations<'a> {
    /// Pyro4's correlation id.
    pub correlation: Option<[u8; 16]>,
    /// Pyro4's message-authentication code.
    pub code: Option<&'a [u8]>,
    /// All others than the code, in the order of their names: the code is over their values.
    pub others: Vec<([u8; 4], &'a [u8])>,
}

impl<'a> Annotations<'a> {
    /// Reads what stands between header and payload.
    ///
    /// # Errors
    /// When the pieces do not fill it exactly, or are too many.
    pub fn read(dialect: Dialect, bytes: &'a [u8]) -> Result<Self, BadFrame> {
        let mut found = Self::default();
        let mut rest = bytes;
        let mut chunks = 0;
        while !rest.is_empty() {
            let (header, after) = rest.split_at_checked(dialect.chunk_header()).ok_or(BadFrame::Chunks)?;
            let name = [header[0], header[1], header[2], header[3]];
            let length = header[4..].iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            let (data, after) = after.split_at_checked(length).ok_or(BadFrame::Chunks)?;
            chunks += 1;
            if !name.is_ascii() || chunks > CHUNKS_MAX {
                return Err(BadFrame::Chunks);
            }
            rest = after;
            if name == *b"HMAC" && dialect == Dialect::Four {
                found.code = Some(data);
                continue;
            }
            if name == *b"CORR" && dialect == Dialect::Four {
                found.correlation = data.try_into().ok();
            }
            // Of two with one name the later one counts, as in Pyro.
            found.others.retain(|(other, _)| *other != name);
            found.others.push((name, data));
        }
        found.others.sort_unstable_by_key(|(name, _)| *name);
        Ok(found)
    }
}

/// The secret that Pyro4 programs prove to share.
#[derive(Clone, Debug)]
pub struct Key(hmac::Key);

impl Key {
    /// The key made of these bytes, as Pyro4 takes it.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret))
    }

    /// Whether `annotations` hold the code of this message; in a time that does not depend on where it is wrong.
    pub fn is_of(&self, payload: &[u8], annotations: &Annotations<'_>) -> bool {
        let Some(code) = annotations.code else { return false };
        let mut message = payload.to_vec();
        annotations.others.iter().for_each(|(_, data)| message.extend_from_slice(data));
        hmac::verify(&self.0, &message, code).is_ok()
    }

    fn sign(&self, payload: &[u8], correlation: Option<&[u8; 16]>) -> [u8; HMAC_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(payload);
        context.update(correlation.map_or(&[][..], |id| &id[..]));
        context.sign().as_ref().try_into().expect("SHA-1 has 20 bytes")
    }
}

/// A message being written: the header's place is kept, the payload goes behind it, and the header is put in last.
#[derive(Debug)]
pub struct Outgoing {
    /// The message so far.
    pub bytes: Vec<u8>,
    head: Head,
    key: Option<Key>,
}

impl Outgoing {
    /// Begins an answer: `head`'s dialect, kind, serializer, flags, sequence and correlation.
    pub fn new(head: Head, key: Option<&Key>) -> Self {
        let key = key.filter(|_| head.dialect == Dialect::Four).cloned();
        let four = head.dialect == Dialect::Four;
        let chunk = head.dialect.chunk_header();
        let annotations = if four && head.correlation.is_some() { chunk + 16 } else { 0 }
            + if key.is_some() { chunk + HMAC_BYTES } else { 0 };
        let annotations = u32::try_from(annotations).expect("two pieces at most");
        let head = Head { annotations, ..head };
        let mut bytes = Vec::with_capacity(head.start() + ANSWER_ORDINARILY);
        bytes.resize(head.start(), 0);
        Self { bytes, head, key }
    }

    /// Takes the payload away again.
    pub fn restart(&mut self) {
        self.bytes.truncate(self.head.start());
    }

    /// The whole message.
    pub fn finish(mut self, flags: Flags) -> Vec<u8> {
        let head = &self.head;
        let correlated = head.dialect == Dialect::Five && head.correlation.is_some();
        let flags = if correlated { flags | Flags::CORRELATED } else { flags };
        let start = head.start();
        let payload = u32::try_from(self.bytes.len() - start).expect("answers are bounded");
        let annotations = head.annotations;
        let code = self.key.as_ref().map(|key| key.sign(&self.bytes[start..], head.correlation.as_ref()));
        let mut front = Vec::with_capacity(start);
        front.extend(MAGIC);
        front.extend(head.dialect.version().to_be_bytes());
        match head.dialect {
            Dialect::Five => {
                front.extend([low(head.kind.number()), low(head.serializer)]);
                front.extend(flags.0.to_be_bytes());
                front.extend(head.sequence.to_be_bytes());
                front.extend(payload.to_be_bytes());
                front.extend(annotations.to_be_bytes());
                front.extend(head.correlation.unwrap_or_default());
                front.extend([0; 2]);
                front.extend(MAGIC5.to_be_bytes());
            }
            Dialect::Four => {
                let sum = Head { flags, ..*head }.checksum(payload, annotations);
                front.extend(head.kind.number().to_be_bytes());
                front.extend(flags.0.to_be_bytes());
                front.extend(head.sequence.to_be_bytes());
                front.extend(payload.to_be_bytes());
                front.extend(head.serializer.to_be_bytes());
                front.extend(u16::try_from(annotations).expect("two pieces at most").to_be_bytes());
                front.extend([0; 2]);
                front.extend(sum.to_be_bytes());
                let pieces = [
                    head.correlation.as_ref().map(|id| (b"CORR", &id[..])),
                    code.as_ref().map(|code| (b"HMAC", &code[..])),
                ];
                for (name, data) in pieces.into_iter().flatten() {
                    front.extend(name);
                    front.extend(u16::try_from(data.len()).expect("20 at most").to_be_bytes());
                    front.extend(data);
                }
            }
        }
        self.bytes[..start].copy_from_slice(&front);
        self.bytes
    }
}

fn two(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// A Pyro5 header has one byte for what Pyro4's has two for; ours fit.
fn low(number: u16) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

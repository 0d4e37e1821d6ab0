//! One connection's conversation: greeting, calls, and what is answered without asking anybody. Bytes in, turns out.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::answer::Answer;
use super::format::Format;
use super::frame::{Annotations, BadFrame, Dialect, Flags, Head, Key, Kind, MESSAGE_MAX, Outgoing};
use super::name_server::{Bound, Call, Object};
use super::refusal::{Class, Refusal};
use super::value::Value;

/// Calls in one batch: some seconds of work at most, done a few at a time.
pub const BATCH_MAX: usize = 10_000;

/// One connection's conversation.
#[derive(Clone, Debug)]
pub struct Conversation {
    key: Option<Key>,
    /// Why nobody is welcome, if so.
    closed: Option<Cow<'static, str>>,
    greeted: bool,
}

/// What became of the bytes so far.
#[derive(Debug)]
pub enum Turn {
    /// The message is not whole yet; it has so many bytes, or more.
    Wait(usize),
    /// It was answered; the connection goes on.
    Said {
        /// Bytes of the message.
        used: usize,
        /// What to send; nothing to who wants none.
        answer: Option<Vec<u8>>,
    },
    /// It was answered with what follows, if anything, and the connection ends.
    Over(Option<Vec<u8>>),
    /// It asks for something.
    Asked {
        /// Bytes of the message.
        used: usize,
        /// What.
        request: Box<Request>,
    },
}

/// Calls to be carried out, and how to answer them.
#[derive(Debug)]
pub struct Request {
    /// What to write results into.
    pub answer: Answer,
    /// The calls, in order; the first that fails is the last.
    pub calls: Vec<Result<Call, Failure>>,
    /// Whether nobody waits for the answer.
    pub oneway: bool,
    /// Whose call it is part of, for the log.
    pub correlation: Option<[u8; 16]>,
}

/// A call that failed before it was carried out.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its own fault: of a batch, the last result.
    Of(Refusal),
    /// There is no such method: of a batch, the answer to all of it.
    OfAll(Refusal),
}

impl Conversation {
    /// Waits for the greeting. With a key, Pyro4 programs must prove to have it. With a reason in `closed`, nobody is
    /// welcome.
    pub fn new(key: Option<Key>, closed: Option<Cow<'static, str>>) -> Self {
        Self { key, closed, greeted: false }
    }

    /// Whether the greeting was exchanged.
    pub const fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Looks at what came and was not used yet.
    pub fn turn(&mut self, input: &[u8]) -> Turn {
        let head = match Head::read(input) {
            Ok(Some(head)) => head,
            Ok(None) => return Turn::Wait(input.len() + 1),
            Err(why) => return self.farewell(None, &why.into()),
        };
        if let Err(why) = head.check() {
            return self.farewell(Some(head), &why.into());
        }
        let used = head.whole();
        let Some(message) = input.get(..used) else { return Turn::Wait(used) };
        let payload = &message[head.start()..];
        let annotations = match Annotations::read(head.dialect, &message[head.dialect.header()..head.start()])
        {
            Ok(annotations) => annotations,
            Err(why) => return self.farewell(Some(head), &why.into()),
        };
        let head = Head { correlation: head.correlation.or(annotations.correlation), ..head };
        if let Some(why) = self.unproven(&head, payload, &annotations) {
            return self.farewell(Some(head), &Refusal::new(Class::Security, why));
        }
        match (head.kind, self.greeted) {
            (Kind::Connect, false) => self.greet(head, payload, used),
            (Kind::Ping, true) => {
                let mut pong = Outgoing::new(Head { kind: Kind::Ping, ..head }, self.key.as_ref());
                pong.bytes.extend(b"pong");
                Turn::Said { used, answer: Some(pong.finish(Flags::default())) }
            }
            (Kind::Invoke, true) => self.call(head, payload, used),
            _ => self.farewell(Some(head), &Refusal::new(Class::Protocol, "invalid message type here")),
        }
    }

    /// Why a message of Pyro4 is not proven to come from somebody with our key.
    fn unproven(&self, head: &Head, payload: &[u8], annotations: &Annotations<'_>) -> Option<&'static str> {
        if head.dialect != Dialect::Four {
            return None;
        }
        match (&self.key, annotations.code) {
            (None, None) => None,
            (Some(key), Some(_)) if key.is_of(payload, annotations) => None,
            (Some(_), Some(_)) => Some("message hmac mismatch"),
            (None, Some(_)) | (Some(_), None) => Some("hmac key config not symmetric"),
        }
    }

    fn greet(&mut self, head: Head, payload: &[u8], used: usize) -> Turn {
        if let Some(why) = &self.closed {
            return self.fail_to_connect(Some(head), &why.clone());
        }
        let Some(format) = Format::of(head.dialect, head.serializer) else {
            return self.fail_to_connect(Some(head), &unspoken(head.serializer));
        };
        let with_methods = head.dialect == Dialect::Five || head.flags.has(Flags::META_ON_CONNECT);
        let welcome = inflated(&head, payload).and_then(|payload| {
            let said = format.read(&payload)?;
            let of = said.get("object");
            let missing = |what| Refusal::new(Class::Protocol, format!("missing '{what}' in handshake"));
            said.get("handshake").ok_or_else(|| missing("handshake"))?;
            let object = match of {
                None if with_methods => return Err(missing("object")),
                None => Object::NameServer,
                Some(id) => id.as_text().and_then(Object::of).ok_or_else(unknown_object)?,
            };
            Ok(object.metadata(head.dialect, head.dialect == Dialect::Four))
        });
        let meta = match welcome {
            Ok(meta) => meta,
            Err(why) => return self.fail_to_connect(Some(head), &why.text),
        };
        let mut answer = Outgoing::new(Head { kind: Kind::ConnectOk, ..head }, self.key.as_ref());
        let hello = Value::text("hello");
        let said = if with_methods {
            Value::Map(vec![(Value::text("handshake"), hello), (Value::text("meta"), meta)])
        } else {
            hello
        };
        format.begin(&mut answer.bytes);
        format.write(&mut answer.bytes, &said);
        self.greeted = true;
        let flags = if head.dialect == Dialect::Four && with_methods {
            Flags::META_ON_CONNECT
        } else {
            Flags::default()
        };
        Turn::Said { used, answer: Some(answer.finish(flags)) }
    }

    fn call(&self, head: Head, payload: &[u8], used: usize) -> Turn {
        let Some(format) = Format::of(head.dialect, head.serializer) else {
            return self.farewell(Some(head), &Refusal::new(Class::Protocol, unspoken(head.serializer)));
        };
        let mut answer = Answer::new(&head, format, self.key.as_ref());
        let oneway = head.flags.has(Flags::ONEWAY);
        match calls(&head, format, payload) {
            Ok(calls) => Turn::Asked {
                used,
                request: Box::new(Request { answer, calls, oneway, correlation: head.correlation }),
            },
            // The one fault of a call after which its sender may be out of step.
            Err(why) if matches!(&why, Refusal { class: Class::Protocol, text } if text.starts_with("message too")) => {
                self.farewell(Some(head), &why)
            }
            Err(why) => {
                answer.refusal_of_all(&why);
                Turn::Said { used, answer: (!oneway).then(|| answer.finish()) }
            }
        }
    }

    /// The last word: in whichever form the other end understands.
    fn farewell(&self, head: Option<Head>, why: &Refusal) -> Turn {
        match head {
            Some(head) if self.greeted => {
                let format = Format::of(head.dialect, head.serializer).unwrap_or(Format::Serpent);
                let head = Head { flags: Flags::default(), ..head };
                let mut answer = Answer::new(&head, format, self.key.as_ref());
                answer.refusal_of_all(why);
                Turn::Over(Some(answer.finish()))
            }
            // Its sequence is not known: whatever we said, it would not be taken for an answer.
            None if self.greeted => Turn::Over(None),
            head => self.fail_to_connect(head, &why.text),
        }
    }

    /// Tells a client that it is not welcome, in its serializer when we speak it: it decodes by the number it is told.
    fn fail_to_connect(&self, head: Option<Head>, why: &str) -> Turn {
        let head = head.unwrap_or(Head {
            dialect: Dialect::Five,
            kind: Kind::ConnectFail,
            serializer: 0,
            flags: Flags::default(),
            sequence: 0,
            payload: 0,
            annotations: 0,
            correlation: None,
        });
        let format = Format::of(head.dialect, head.serializer).unwrap_or(Format::Serpent);
        let head = Head { kind: Kind::ConnectFail, serializer: format.number(head.dialect), ..head };
        let mut answer = Outgoing::new(head, self.key.as_ref());
        format.begin(&mut answer.bytes);
        format.write_text(&mut answer.bytes, why);
        Turn::Over(Some(answer.finish(Flags::default())))
    }
}

impl From<BadFrame> for Refusal {
    fn from(why: BadFrame) -> Self {
        Self::new(Class::Protocol, why.to_string())
    }
}

fn unspoken(serializer: u16) -> String {
    format!("serializer {serializer} is not supported here: use serpent, json or msgpack")
}

fn unknown_object() -> Refusal {
    Refusal::new(Class::Daemon, "unknown object")
}

/// The payload, inflated when it was compressed: never beyond the bound, whatever it claims.
fn inflated<'p>(head: &Head, payload: &'p [u8]) -> Result<Cow<'p, [u8]>, Refusal> {
    if !head.flags.has(Flags::COMPRESSED) {
        return Ok(Cow::Borrowed(payload));
    }
    let mut whole = Vec::new();
    let bounded = ZlibDecoder::new(payload).take(MESSAGE_MAX as u64 + 1).read_to_end(&mut whole);
    if whole.len() > MESSAGE_MAX {
        return Err(BadFrame::TooLarge(whole.len() as u64).into());
    }
    bounded.map_err(|_| Refusal::new(Class::Serialize, "the payload is not compressed as its flag says"))?;
    Ok(Cow::Owned(whole))
}

/// The calls of a message.
fn calls(head: &Head, format: Format, payload: &[u8]) -> Result<Vec<Result<Call, Failure>>, Refusal> {
    if (head.flags & Flags::streams(head.dialect)) != Flags::default() {
        return Err(Refusal::new(Class::Protocol, "not supported by this name server"));
    }
    let payload = inflated(head, payload)?;
    let shape =
        || Refusal::new(Class::Serialize, "a call is an object, a method, and two kinds of arguments");
    let parts = format.parts(format.read(&payload)?).ok_or_else(shape)?;
    let object = parts.object.as_text().and_then(Object::of).ok_or_else(unknown_object)?;
    let one = |method: &Value<'_>, positional: &Value<'_>, keywords: &Value<'_>| {
        let bound = Bound::new(object, head.dialect, method, positional).map_err(Failure::OfAll)?;
        bound.call(positional, keywords).map_err(Failure::Of)
    };
    if !head.flags.has(Flags::BATCH) {
        return Ok(vec![one(&parts.method, &parts.positional, &parts.keywords)]);
    }
    let batch = parts.positional.items().ok_or_else(shape)?;
    if batch.len() > BATCH_MAX {
        let why = format!("a batch has at most {BATCH_MAX} calls, not {}", batch.len());
        return Err(Refusal::new(Class::Value, why));
    }
    batch
        .iter()
        .map(|call| match call.items() {
            Some([method, positional, keywords]) => Ok(one(method, positional, keywords)),
            _ => Err(shape()),
        })
        .collect()
}

#[cfg(test)]
mod tests;

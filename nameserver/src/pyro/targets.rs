//! What fuzzers feed: each takes any bytes, and panics when something that must hold does not. Only with the feature
//! `fuzz`; nothing of it is shipped.

use super::conversation::{Conversation, Failure, Turn};
use super::format::Format;
use super::frame::{Annotations, Dialect, Flags, Head, Key, Outgoing};
use super::name_server::Call;
use super::refusal::Refusal;
use super::uri::Uri;
use super::value::Value;

/// A name, and what takes its input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 6] = [
    ("frame", frame),
    ("serpent", serpent),
    ("json", json),
    ("msgpack", msgpack),
    ("uri", uri),
    ("conversation", conversation),
];

/// A header that is read is written back as it was.
pub fn frame(bytes: &[u8]) {
    let Ok(Some(head)) = Head::read(bytes) else { return };
    if head.check().is_err() || bytes.len() < head.whole() {
        return;
    }
    let annotations = Annotations::read(head.dialect, &bytes[head.dialect.header()..head.start()]);
    let Ok(annotations) = annotations else { return };
    let key = Key::new(b"key");
    let proven = key.is_of(&bytes[head.start()..head.whole()], &annotations);
    assert!(!proven || annotations.code.is_some());
    let correlation = head.correlation.or(annotations.correlation);
    let mut out = Outgoing::new(Head { correlation, ..head }, Some(&key));
    out.bytes.extend(&bytes[head.start()..head.whole()]);
    let again = out.finish(head.flags);
    let read = Head::read(&again).expect("ours is good").expect("ours is whole");
    assert_eq!((read.kind, read.serializer, read.sequence), (head.kind, head.serializer, head.sequence));
    assert_eq!((read.payload, read.whole()), (head.payload, again.len()));
    if head.dialect == Dialect::Four {
        let annotations = Annotations::read(Dialect::Four, &again[head.dialect.header()..read.start()]);
        assert!(key.is_of(&again[read.start()..], &annotations.expect("ours are good")));
    }
}

/// What is read is written so that it reads back the same.
fn back(format: Format, bytes: &[u8]) {
    let Ok(value) = format.read(bytes) else { return };
    let mut once = Vec::new();
    format.write(&mut once, &value);
    let again = format.read(&once).unwrap_or_else(|why| panic!("{value:?} reads back as {why}"));
    let mut twice = Vec::new();
    format.write(&mut twice, &again);
    // JSON's numbers are read by a library that may be off by the last bit.
    assert!(once == twice || format == Format::Json, "{value:?} became {again:?}");
    drop(format.parts(value));
}

/// Python literals.
pub fn serpent(bytes: &[u8]) {
    back(Format::Serpent, bytes);
}

/// JSON.
pub fn json(bytes: &[u8]) {
    back(Format::Json, bytes);
}

/// `MessagePack`.
pub fn msgpack(bytes: &[u8]) {
    back(Format::Msgpack, bytes);
}

/// A URI that is read survives its state, and its text unless a place without a host was in it.
pub fn uri(bytes: &[u8]) {
    let Some(uri) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Uri>().ok()) else { return };
    assert_eq!(Uri::from_state(&uri.to_state()), Some(uri.clone()));
    let _ = uri.to_string().parse::<Uri>();
}

/// A whole connection: every turn makes progress, and every answer is a message.
pub fn conversation(bytes: &[u8]) {
    // The first byte says whether there is a key; what follows comes in two pieces at first.
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let key = (first & 1 == 1).then(|| Key::new(b"secret"));
    let mut conversation = Conversation::new(key, None);
    let mut at = 0;
    let mut end = bytes.len() / 2;
    loop {
        let (used, answer) = match conversation.turn(&bytes[at..end]) {
            Turn::Wait(wanted) => {
                assert!(wanted > end - at, "it waits for what it has");
                if end == bytes.len() {
                    return;
                }
                end = bytes.len();
                continue;
            }
            Turn::Over(answer) => {
                if let Some(answer) = answer {
                    is_message(&answer);
                }
                return;
            }
            Turn::Said { used, answer } => (used, answer),
            Turn::Asked { used, request } => {
                let mut answer = request.answer;
                for call in request.calls {
                    match call {
                        Ok(Call::Known(value)) => answer.value(&value),
                        Ok(Call::List { .. }) => {
                            answer.open_listing(0);
                            answer.close_listing();
                        }
                        Ok(Call::Lookup { name, .. }) => {
                            answer.refusal(&Refusal::naming(format!("unknown name: {name}")));
                            break;
                        }
                        Ok(_) => answer.value(&Value::Int(1)),
                        Err(Failure::Of(why)) => {
                            answer.refusal(&why);
                            break;
                        }
                        Err(Failure::OfAll(why)) => {
                            answer.refusal_of_all(&why);
                            break;
                        }
                    }
                }
                (used, (!request.oneway).then(|| answer.finish()))
            }
        };
        assert!(used > 0 && used <= end - at, "a message has bytes");
        if let Some(answer) = answer {
            is_message(&answer);
        }
        at += used;
    }
}

/// Whether a client could read it.
fn is_message(answer: &[u8]) {
    let head = Head::read(answer).expect("ours is good").expect("ours is whole");
    assert_eq!(head.whole(), answer.len());
    if let Some(format) = Format::of(head.dialect, head.serializer)
        && head.kind != super::frame::Kind::Ping
        && !head.flags.has(Flags::COMPRESSED)
    {
        format.read(&answer[head.start()..]).expect("ours is readable");
    }
}

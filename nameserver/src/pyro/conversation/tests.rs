//! Conversations, byte for byte. Requests are what the stock clients sent (Pyro5 5.17, Pyro4 4.82).

use super::*;

const CONNECT5: &[u8] = b"PYRO\x01\xf6\x01\x01\0\0\0\0\0\0\0J\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0M\xc5# serpent utf-8 python3.2\n{'handshake':'hello','object':'Pyro.NameServer'}";
const LOOKUP5: &[u8] = b"PYRO\x01\xf6\x04\x01\0\0\0\x07\0\0\0@\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0M\xc5# serpent utf-8 python3.2\n('Pyro.NameServer','lookup',('a',),{})";
const PING5: &[u8] =
    b"PYRO\x01\xf6\x06*\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0M\xc5ping";
const BATCH5: &[u8] = b"PYRO\x01\xf6\x04\x01\0\x08\0\x08\0\0\0p\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0M\xc5# serpent utf-8 python3.2\n('Pyro.NameServer','<batch>',[('count',(),{}),('lookup',(5,),{}),('ping',(),{})],None)";
/// Compressed, and the last sequence before it wraps.
const COMPRESSED5: &[u8] = b"PYRO\x01\xf6\x04\x01\0\x02\xff\xff\0\0\0`\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0M\xc5x^SV(N-*H\xcd+Q(-I\xd3\xb5P(\xa8,\xc9\xc8\xcf3\xd63\xe2\xd2P\x0f\xa8,\xca\xd7\xf3K\xccM\rN-*K-R\xd7Q\xcf\xc9\xcf\xcf.-P\xd7\xd1PO\xa4\0\xa8\xebh\xeaT\xab\x17\xa5\x96\x94\x16\xe5\xc5\xe7\xa6\x96$\xa6$\x96$\xaa[\x85\x14\x95\xa6\xd6j\x02\0J?3:";
const CONNECT4: &[u8] = b"PYRO\x000\0\x01\0\x10\0\0\0\0\0J\0\x01\0\0\0\x005u# serpent utf-8 python3.2\n{'handshake':'hello','object':'Pyro.NameServer'}";
const CONNECT4_SIGNED: &[u8] = b"PYRO\x000\0\x01\0\x10\0\0\0\0\0J\0\x01\x000\0\x005\xa5CORR\0\x100123456789abcdefHMAC\0\x14\x08\xfc\xdc\x99\x8a\xc3\x13}\x14g\"\xe2\x16\x8e*kP:\x89B# serpent utf-8 python3.2\n{'handshake':'hello','object':'Pyro.NameServer'}";
const LOOKUP4: &[u8] = b"PYRO\x000\0\x04\0\0\0\x07\0\0\0@\0\x01\0\0\0\x005e# serpent utf-8 python3.2\n('Pyro.NameServer','lookup',('a',),{})";
const LOOKUP4_SIGNED: &[u8] = b"PYRO\x000\0\x04\0\0\0\x07\0\0\0@\0\x01\0\x1a\0\x005\x7fHMAC\0\x14\x14H\x05P~\x9a\xc2f\x06\xd8a\xfc~2[k\xebd\xdb9# serpent utf-8 python3.2\n('Pyro.NameServer','lookup',('a',),{})";

fn fresh() -> Conversation {
    Conversation::new(None, None)
}

/// One in which the greeting was exchanged.
fn greeted() -> Conversation {
    let mut conversation = fresh();
    assert!(matches!(conversation.turn(CONNECT5), Turn::Said { .. }));
    conversation
}

fn said(turn: Turn) -> Vec<u8> {
    match turn {
        Turn::Said { answer: Some(answer), .. } | Turn::Over(Some(answer)) => answer,
        other => panic!("nothing was said: {other:?}"),
    }
}

fn asked(turn: Turn) -> Box<Request> {
    match turn {
        Turn::Asked { request, .. } => request,
        other => panic!("nothing was asked: {other:?}"),
    }
}

/// Header and payload of an answer of ours.
fn taken_apart(answer: &[u8]) -> (Head, String) {
    let head = Head::read(answer).unwrap().unwrap();
    assert_eq!(head.whole(), answer.len());
    let payload = String::from_utf8_lossy(&answer[head.start()..]);
    (head, payload.strip_prefix("# serpent utf-8 python3.2\n").unwrap_or(&payload).to_owned())
}

/// A message of Pyro5.
fn message(kind: Kind, serializer: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let head = Head {
        dialect: Dialect::Five,
        kind,
        serializer,
        flags: Flags(flags),
        sequence: 9,
        payload: 0,
        annotations: 0,
        correlation: None,
    };
    let mut out = Outgoing::new(head, None);
    out.bytes.extend(payload);
    out.finish(Flags(flags))
}

#[test]
fn the_greeting_of_pyro5_has_these_bytes() {
    let answer = said(fresh().turn(CONNECT5));
    let golden = b"PYRO\x01\xf6\x02\x01\0\0\0\0\0\0\0\xa8\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0M\xc5# serpent utf-8 python3.2\n{'handshake':'hello','meta':{'methods':{'count','list','lookup','ping','register','remove','set_metadata','yplookup'},'oneway':(),'attrs':()}}";
    assert_eq!(answer.escape_ascii().to_string(), golden.escape_ascii().to_string());
}

#[test]
fn the_greeting_of_pyro4_has_these_bytes_with_the_methods_and_without() {
    let answer = said(fresh().turn(CONNECT4));
    let (head, payload) = taken_apart(&answer);
    assert_eq!((head.kind, head.flags), (Kind::ConnectOk, Flags::META_ON_CONNECT));
    let golden = "{'handshake':'hello','meta':{'methods':['count','list','lookup','ping','register','remove','set_metadata'],'oneway':[],'attrs':[]}}";
    assert_eq!(payload, golden);
    let bare =
        b"PYRO\x000\0\x01\0\0\0\0\0\0\0/\0\x01\0\0\0\x005J# serpent utf-8 python3.2\n{'handshake':'hello'}";
    let answer = said(fresh().turn(bare));
    assert_eq!(answer, b"PYRO\x000\0\x02\0\0\0\0\0\0\0!\0\x01\0\0\0\x005=# serpent utf-8 python3.2\n'hello'");
}

#[test]
fn a_call_arrives_however_it_is_cut() {
    for end in 0..LOOKUP5.len() {
        assert!(matches!(greeted().turn(&LOOKUP5[..end]), Turn::Wait(wanted) if wanted > end));
    }
    let request = asked(greeted().turn(LOOKUP5));
    assert!(matches!(&request.calls[..], [Ok(Call::Lookup { name, tagged: false })] if &**name == "a"));
    let mut answer = request.answer;
    answer.value(&Value::text("b"));
    let golden = b"PYRO\x01\xf6\x05\x01\0\0\0\x07\0\0\0\x1d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0M\xc5# serpent utf-8 python3.2\n'b'";
    assert_eq!(answer.finish(), golden);
}

#[test]
fn a_call_may_be_compressed_and_its_answer_never_is() {
    let request = asked(greeted().turn(COMPRESSED5));
    assert!(matches!(&request.calls[..], [Ok(Call::Lookup { name, tagged: true })] if name.len() == 60));
    let (head, _) = taken_apart(&request.answer.finish());
    assert_eq!((head.sequence, head.flags), (65_535, Flags::default()));
}

#[test]
fn a_bomb_goes_off_in_a_box() {
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write as _;

    let mut bomb = ZlibEncoder::new(Vec::new(), Compression::best());
    for _ in 0..1_000 {
        bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < MESSAGE_MAX);
    let turn = greeted().turn(&message(Kind::Invoke, 1, 2, &bomb));
    assert!(matches!(turn, Turn::Over(_)));
    let (head, payload) = taken_apart(&said(turn));
    assert_eq!((head.flags, head.sequence), (Flags::EXCEPTION, 9));
    assert!(
        payload.contains("Pyro5.errors.ProtocolError") && payload.contains("message too large"),
        "{payload}"
    );
    let broken = said(greeted().turn(&message(Kind::Invoke, 1, 2, b"no zlib")));
    assert!(taken_apart(&broken).1.contains("SerializeError"));
}

#[test]
fn a_batch_ends_with_its_first_failure() {
    let Request { mut answer, calls, oneway, .. } = *asked(greeted().turn(BATCH5));
    assert!(!oneway && matches!(&calls[..], [Ok(Call::Count), Err(Failure::Of(_)), Ok(Call::Known(_))]));
    let Err(Failure::Of(why)) = &calls[1] else { panic!("{calls:?}") };
    answer.value(&Value::Int(3));
    answer.refusal(why);
    let (head, payload) = taken_apart(&answer.finish());
    assert_eq!((head.kind, head.flags, head.sequence), (Kind::Result, Flags::BATCH, 8));
    assert_eq!(
        payload,
        "[3,{'__class__':'Pyro5.core._ExceptionWrapper','exception':{'__class__':'builtins.TypeError',\
         '__exception__':True,'args':('name must be a str',),'attributes':{'_pyroTraceback':\
         ['(raised by the name server, which is no Python program and has no traceback)\\n']}}}]"
    );
}

#[test]
fn a_ping_is_answered_unread_by_any_serializer() {
    let pong = b"PYRO\x01\xf6\x06*\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0M\xc5pong";
    assert_eq!(said(greeted().turn(PING5)), pong);
    assert!(matches!(fresh().turn(PING5), Turn::Over(_)), "not before the greeting");
}

#[test]
fn a_correlation_is_echoed() {
    let mut call = LOOKUP5.to_vec();
    call[9] = 0x40;
    call[20..36].copy_from_slice(b"0123456789abcdef");
    let request = asked(greeted().turn(&call));
    assert_eq!(request.correlation, Some(*b"0123456789abcdef"));
    let answer = request.answer.finish();
    assert_eq!((&answer[8..10], &answer[20..36]), (&b"\0\x40"[..], &b"0123456789abcdef"[..]));
}

#[test]
fn a_shared_key_is_proven_both_ways() {
    let key = || Some(Key::new(b"secret"));
    let mut conversation = Conversation::new(key(), None);
    let answer = said(conversation.turn(CONNECT4_SIGNED));
    let head = Head::read(&answer).unwrap().unwrap();
    let annotations = Annotations::read(Dialect::Four, &answer[24..head.start()]).unwrap();
    assert_eq!(annotations.correlation, Some(*b"0123456789abcdef"));
    assert!(Key::new(b"secret").is_of(&answer[head.start()..], &annotations));
    assert!(matches!(conversation.turn(LOOKUP4_SIGNED), Turn::Asked { .. }));

    let why = |key: Option<Key>, connect: &[u8]| {
        let turn = Conversation::new(key, None).turn(connect);
        assert!(matches!(turn, Turn::Over(_)));
        taken_apart(&said(turn)).1
    };
    assert_eq!(why(Some(Key::new(b"other")), CONNECT4_SIGNED), "'message hmac mismatch'");
    assert_eq!(why(None, CONNECT4_SIGNED), "'hmac key config not symmetric'");
    assert_eq!(why(key(), CONNECT4), "'hmac key config not symmetric'");
    // The names of annotations are not under the code: another one than the correlation's is skipped, like any.
    for at in 28..CONNECT4_SIGNED.len() {
        let mut damaged = CONNECT4_SIGNED.to_vec();
        damaged[at] ^= 1;
        assert!(matches!(Conversation::new(key(), None).turn(&damaged), Turn::Over(_)), "byte {at}");
    }
    // Once greeted, the proof is still asked for.
    assert!(matches!(conversation.turn(LOOKUP4), Turn::Over(_)));
    // Pyro5 has no such thing.
    assert!(matches!(Conversation::new(key(), None).turn(CONNECT5), Turn::Said { .. }));
}

#[test]
fn who_is_not_understood_is_told_so_in_words_and_leaves() {
    let refused = |bytes: &[u8]| {
        let turn = fresh().turn(bytes);
        assert!(matches!(turn, Turn::Over(_)), "{bytes:?}");
        let (head, payload) = taken_apart(&said(turn));
        assert_eq!(head.kind, Kind::ConnectFail);
        payload
    };
    assert_eq!(refused(b"PYRX"), "'invalid data'");
    assert_eq!(refused(b"PYRO\x01\xf5"), "'invalid protocol version: 501'");
    let unspoken = |n| format!("'serializer {n} is not supported here: use serpent, json or msgpack'");
    assert_eq!(refused(&message(Kind::Connect, 2, 0, b"\x7b")), unspoken(2));
    assert_eq!(refused(&message(Kind::Invoke, 1, 0, b"")), "'invalid message type here'");
    assert_eq!(refused(&message(Kind::Other(99), 1, 0, b"")), "'invalid message type here'");
    assert_eq!(
        refused(&message(Kind::Connect, 1, 0, b"{'handshake':1}")),
        r#""missing 'object' in handshake""#
    );
    assert_eq!(
        refused(&message(Kind::Connect, 1, 0, b"{'object':'Pyro.NameServer'}")),
        r#""missing 'handshake' in handshake""#
    );
    let undreamt = b"{'handshake':1,'object':'undreamt'}";
    assert_eq!(refused(&message(Kind::Connect, 1, 0, undreamt)), "'unknown object'");
    assert_eq!(
        refused(&message(Kind::Connect, 3, 0, b"{\"handshake\":1,\"object\":7}")),
        "\"unknown object\""
    );
    let mut damaged = CONNECT4.to_vec();
    damaged[10] = 1;
    assert_eq!(refused(&damaged), "'header checksum mismatch'");
    let mut large = message(Kind::Connect, 1, 0, b"");
    large[12..16].copy_from_slice(&[0x10, 0, 0, 0]);
    assert_eq!(refused(&large), "'message too large (268435456, max=4194304)'");
    let mut annotated = message(Kind::Connect, 1, 0, b"");
    annotated[19] = 12;
    annotated.extend(b"ABCD\0\0\0\xff1234");
    assert_eq!(refused(&annotated), "'annotation chunk length exceeds remaining data'");
    let closed = Conversation::new(None, Some("too many connections".into())).turn(CONNECT5);
    assert_eq!(taken_apart(&said(closed)).1, "'too many connections'");
}

#[test]
fn after_the_greeting_a_fault_of_the_frame_ends_it_and_a_fault_of_the_call_does_not() {
    let over = |bytes: &[u8]| matches!(greeted().turn(bytes), Turn::Over(_));
    assert!(over(CONNECT5) && over(b"nonsense") && over(&message(Kind::Result, 1, 0, b"")));
    assert!(over(&message(Kind::Invoke, 2, 0, b"")), "a serializer that we do not speak");
    let refused = |flags, payload: &[u8]| {
        let turn = greeted().turn(&message(Kind::Invoke, 1, flags, payload));
        assert!(matches!(turn, Turn::Said { .. }), "{payload:?}");
        taken_apart(&said(turn)).1
    };
    for (flags, payload, class) in [
        (0, &b"("[..], "builtins.SyntaxError"),
        (0, b"'\xff'", "builtins.ValueError"),
        (0, b"1", "Pyro5.errors.SerializeError"),
        (0, b"('undreamt','lookup',(),{})", "Pyro5.errors.DaemonError"),
        (8, b"('Pyro.NameServer','<batch>',[1],{})", "Pyro5.errors.SerializeError"),
        (0x10, b"", "Pyro5.errors.ProtocolError"),
        (0x20, b"", "Pyro5.errors.ProtocolError"),
    ] {
        assert!(refused(flags, payload).contains(class), "{payload:?}");
    }
    let batch = format!("('Pyro.NameServer','',[{}],{{}})", "('ping',(),{}),".repeat(BATCH_MAX + 1));
    assert!(refused(8, batch.as_bytes()).contains("a batch has at most 10000 calls"));
    // Who wants no answer gets none, not even this one.
    let oneway = greeted().turn(&message(Kind::Invoke, 1, 4, b"("));
    assert!(matches!(oneway, Turn::Said { answer: None, .. }));
}

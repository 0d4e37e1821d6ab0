//! Fuzzing without an instrumented build: seeds, damaged by chance, fed to the targets of the Pyro door. A seed of the
//! generator makes the same inputs again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::clock::Clock;
use nameserver::pyro::frame::{Dialect, Flags, Head, Kind, Outgoing};
use nameserver::pyro::targets::{TARGETS, Target};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Inputs grow by damage; this is enough for every bound that bytes alone can reach quickly.
const INPUT_MAX: usize = 4 << 10;
/// Damages to one input at most.
const DAMAGES_MAX: u32 = 8;

/// What was seen of one target.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub target: &'static str,
    /// Inputs fed.
    pub executions: u64,
    /// The slowest took this long.
    pub slowest: Duration,
}

/// A target that panicked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{target} panicked at execution {execution} of seed {seed}, fed with {input}")]
pub struct Broken {
    target: &'static str,
    seed: u64,
    execution: u64,
    /// As a Rust byte string.
    input: String,
}

/// Texts that mean something to some reader, put anywhere.
const WORDS: [&[u8]; 40] = [
    b"PYRO",
    b"\x01\xf6",
    b"\x000",
    b"\x4d\xc5",
    b"None",
    b"True",
    b"(",
    b")",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"'",
    b"\"\"\"",
    b"\\u",
    b"\\x",
    b"\\",
    b"b'",
    b"#",
    b"1e30000",
    b"0x",
    b"NaN",
    b"Infinity",
    b"-",
    b"__class__",
    b"Pyro5.core.URI",
    b"state",
    b"Pyro.NameServer",
    b"lookup",
    b"@",
    b"[::1]",
    b"PYROMETA:",
    b"./u:",
    b"\xdd\xff\xff\xff\xff",
    b"\xc7\x05\x31",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"HMAC",
];

/// Feeds `executions` inputs to a target.
///
/// # Errors
/// The first input that it panics on.
pub fn run(target: Target, seed: u64, executions: u64) -> Result<Seen, Broken> {
    let (name, feed) = target;
    let mut inputs = inputs(name, seed);
    let clock = Clock::start();
    let mut slowest = Duration::ZERO;
    for execution in 0..executions {
        let input = inputs.next().expect("it never ends");
        let began = clock.now();
        let fed = catch_unwind(AssertUnwindSafe(|| feed(&input)));
        slowest = slowest.max(clock.now().since(began));
        if fed.is_err() {
            let input = format!("b\"{}\"", input.escape_ascii());
            return Err(Broken { target: name, seed, execution, input });
        }
    }
    Ok(Seen { target: name, executions, slowest })
}

/// The inputs of a target, without end.
pub fn inputs(target: &str, seed: u64) -> impl Iterator<Item = Vec<u8>> + use<> {
    let seeds = seeds(target);
    let mut chance = StdRng::seed_from_u64(seed);
    std::iter::repeat_with(move || {
        let mut input = seeds[chance.random_range(0..seeds.len())].clone();
        // Some stay whole, so that what follows the first message of a conversation is reached too.
        for _ in 0..chance.random_range(0..=DAMAGES_MAX) {
            damage(&mut input, &seeds, &mut chance);
        }
        input
    })
}

/// The targets of these names; all when there are none.
pub fn targets(names: &[String]) -> Vec<Target> {
    let wanted = |target: &&Target| names.is_empty() || names.iter().any(|name| name == target.0);
    TARGETS.iter().filter(wanted).copied().collect()
}

fn damage(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut StdRng) {
    let at = chance.random_range(0..=input.len());
    let till = chance.random_range(at..=input.len().min(at + 64));
    match chance.random_range(0..8) {
        0 if at < input.len() => input[at] ^= 1 << chance.random_range(0..8),
        1 if at < input.len() => input[at] = chance.random(),
        2 => drop(input.drain(at..till)),
        3 => {
            let copy = input[at..till].to_vec();
            input.splice(at..at, copy);
        }
        4 => {
            let word = WORDS[chance.random_range(0..WORDS.len())];
            input.splice(at..at, word.iter().copied());
        }
        5 => {
            let word = WORDS[chance.random_range(0..WORDS.len())];
            input.splice(at..till, word.iter().copied());
        }
        6 => {
            let other = &seeds[chance.random_range(0..seeds.len())];
            let from = chance.random_range(0..=other.len());
            input.truncate(at);
            input.extend(&other[from..]);
        }
        _ => {
            // One byte many times: depth.
            let byte = input.get(at).copied().unwrap_or(b'(');
            input.splice(at..at, std::iter::repeat_n(byte, chance.random_range(1..200)));
        }
    }
    input.truncate(INPUT_MAX);
}

/// A message as a client sends it.
fn message(dialect: Dialect, kind: Kind, serializer: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let head = Head {
        dialect,
        kind,
        serializer,
        flags: Flags(flags),
        sequence: 1,
        payload: 0,
        annotations: 0,
        correlation: Some(*b"0123456789abcdef"),
    };
    let mut out = Outgoing::new(head, None);
    out.bytes.extend(payload);
    out.finish(Flags(flags))
}

fn literals() -> Vec<Vec<u8>> {
    let texts: [&str; 9] = [
        "{'handshake':'hello','object':'Pyro.NameServer'}",
        "('Pyro.NameServer','lookup',('just.hungry',True),{})",
        "('Pyro.NameServer','register',('a','PYRO:o@h:1',False,{'x','y'}),{})",
        "('Pyro.NameServer','register',('a',{'__class__':'Pyro5.core.URI','state':('PYRO','o',None,'h',1)}),None)",
        "('Pyro.NameServer','<batch>',[('count',(),{}),('lookup',(5,),{}),('ping',(),{})],None)",
        "('Pyro.NameServer','list',(),{'regex':'(a|b)*c','return_metadata':1.5})",
        "('Pyro.Daemon','get_metadata',['Pyro.NameServer'],{})",
        r"['it\'s',b'\x00',-1_000,0x1F,1e30000,None,(1,),{1:2},{'a','b'},'''x''']",
        r#"{"object": "Pyro.NameServer", "method": "yplookup", "params": [["a\u00e9"]], "kwargs": {"x": NaN}}"#,
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn packed() -> Vec<Vec<u8>> {
    let call: [&[u8]; 4] = [
        b"\x82\xa9handshake\xa5hello\xa6object\xafPyro.NameServer",
        b"\x94\xafPyro.NameServer\xa6lookup\x92\xa1a\xc3\x80",
        b"\x94\xafPyro.NameServer\xa8register\x94\xa1a\xaaPYRO:o@h:1\xc2\x92\xa1x\xa1y\xc0",
        b"\xdc\0\x05\x01\xd1\xff\0\xcb?\xf8\0\0\0\0\0\0\xc7\x05\x3112345\xd7\x320000000\0",
    ];
    call.iter().map(|call| call.to_vec()).collect()
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let messages = |first: &[u8]| -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for dialect in [Dialect::Four, Dialect::Five] {
            let (json, msgpack) = if dialect == Dialect::Four { (2, 6) } else { (3, 4) };
            let mut calls: Vec<(u16, Vec<u8>)> = literals().into_iter().map(|text| (1, text)).collect();
            calls.extend(literals().into_iter().skip(8).map(|text| (json, text)));
            calls.extend(packed().into_iter().map(|bytes| (msgpack, bytes)));
            let hello = message(dialect, Kind::Connect, 1, 0x10, &literals()[0]);
            all.push([first, &hello].concat());
            for (serializer, call) in calls {
                for flags in [0, 4, 8] {
                    let call = message(dialect, Kind::Invoke, serializer, flags, &call);
                    let ping = message(dialect, Kind::Ping, 42, 0, b"ping");
                    all.push([first, &hello, &call, &ping].concat());
                }
            }
        }
        all
    };
    match target {
        "frame" => messages(b"")
            .into_iter()
            .map(|all| all[all.len().min(24)..].to_vec())
            .chain(messages(b""))
            .collect(),
        "conversation" => messages(b"\0"),
        "msgpack" => packed(),
        "uri" => [
            "PYRO:o@h:1",
            "PYRO:a@b@[::1]:1",
            "PYRONAME:n@h",
            "PYROMETA:a,b@h:2",
            "PYRO:o@./u:/tmp/s",
            "pyro:é@:0",
        ]
        .map(|text| text.as_bytes().to_vec())
        .into(),
        _ => literals(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few seconds in a push; a million each by `fuzz-pyro`.
    #[test]
    fn no_bytes_break_the_pyro_door() {
        for target in targets(&[]) {
            let seen = run(target, 1, 20_000).unwrap_or_else(|broken| panic!("{broken}"));
            assert_eq!(seen.executions, 20_000);
        }
    }

    #[test]
    fn a_panic_is_told_with_its_input() {
        let broken = run(("uri", |bytes| assert!(bytes.len() < 30)), 1, 10_000).unwrap_err();
        assert!(broken.to_string().contains("of seed 1, fed with b\""), "{broken}");
    }
}

//! T5 and T6: floods, slow readers, decode bombs. Beside each, a good client on a connection of its own must notice
//! nothing: its one connection stays, and each of its calls is answered within a second.

use std::io::{self, Write as _};
use std::time::Duration;

use common::names::Address;
use common::rpc::transport::{CallError, Connection, within};
use tokio::runtime::LocalRuntime;

use crate::house::{
    CALL_ECHO_HI, CALL_LONG_900_KB, CALL_SLOW_5_S, ECHO, EchoClient, EchoRequest, EchoResponse, House, Raw,
    cancel, cluster, frame, preamble, request,
};

/// A good client, which never reconnects.
struct Good {
    runtime: LocalRuntime,
    client: EchoClient<Connection<EchoRequest, EchoResponse>>,
}

impl Good {
    fn of(house: &House) -> Self {
        let runtime = LocalRuntime::new().unwrap();
        let address = Address::from(house.address);
        let connection =
            runtime.block_on(Connection::dial(&address, ECHO, cluster(), Duration::from_secs(5)));
        Self { runtime, client: connection.unwrap().into() }
    }

    fn notices_nothing(&self) {
        let call = self.client.echo(within(ECHO, Duration::from_secs(1)), "good".to_owned());
        assert_eq!(self.runtime.block_on(call).map_err(CallError::from), Ok("good".to_owned()));
    }
}

/// Of this process: the server lives in it.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn seconds(value: u64) -> Vec<u8> {
    [&[253][..], &value.to_le_bytes()].concat()
}

#[test]
fn a_refusal_is_an_answer() {
    let house = House::open();
    let good = Good::of(&house);
    let welcome = preamble(*b"echo", [1, 2], cluster());
    let changed = |at: usize, to: u8| {
        let mut bytes = welcome.clone();
        bytes[at] = to;
        bytes
    };
    for (said, verdict, sentence) in [
        (vec![0x16, 3, 1, 2, 0, 1, 0], 1, "this port speaks RPC; what came is something else"),
        (b"\x8AJH\r rest".to_vec(), 1, "this port speaks RPC; what came is something else"),
        (changed(4, 2), 2, "only layout 1 of the preamble is known here"),
        (changed(5, 65), 2, "a contract's name has 1 to 64 bytes"),
        (changed(11, 1), 2, "reserved bits are set in the preamble"),
        (changed(31, 1), 2, "reserved bits are set in the preamble"),
        (changed(32, b'E'), 2, "a contract's name is made of a to z, 0 to 9, dot and hyphen"),
        (preamble(*b"echo", [2, 1], cluster()), 2, "the lowest version stated is 0 or above the highest"),
        (
            preamble(*b"echo", [3, 9], cluster()),
            3,
            "this is echo, versions 1\u{2013}2; you asked for versions 3\u{2013}9",
        ),
        (preamble(*b"shop", [1, 1], cluster()), 4, "this is echo, you asked for shop"),
        (
            preamble(*b"echo", [1, 1], "prod".parse().unwrap()),
            5,
            "this is cluster test, you asked for cluster prod",
        ),
    ] {
        let mut raw = Raw::connect(house.address);
        raw.say(&said);
        // What is sent beyond must not eat the sentence by a reset.
        let _ = raw.0.write_all(&vec![0xFF; 20_000]);
        assert_eq!(raw.verdict(), (verdict, sentence.to_owned()));
        assert!(raw.rest().is_empty());
    }
    good.notices_nothing();
}

#[test]
fn a_browser_is_told_that_this_is_no_web_server() {
    let house = House::open();
    for said in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD /status HTTP/1.0\r\n\r\n"] {
        let mut raw = Raw::connect(house.address);
        for piece in said.as_bytes().chunks(3) {
            raw.say(piece);
        }
        let answer = String::from_utf8(raw.rest()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("--http\n"), "{answer}");
    }
}

#[test]
fn t06_a_frame_that_breaks_the_rules_closes_its_connection_alone() {
    let house = House::open();
    let good = Good::of(&house);
    let nanos = |value: u32| [&[252][..], &value.to_le_bytes()].concat();
    let mut half = request(&[9], &[0], 2, CALL_ECHO_HI);
    half.truncate(half.len() - 1);
    let mut hostile = vec![
        u32::MAX.to_be_bytes().to_vec(),
        (1_u32 << 31).to_be_bytes().to_vec(),
        ((1_u32 << 20) + 1).to_be_bytes().to_vec(),
        frame(&[]),
        frame(&[9]),
        frame(&[0, 254, 0, 0]),
        frame(&half[4..]),
        request(&[9], &[0], 2, &[0, 2, b'h', b'i', 0]),
        request(&[9], &[0], 2, &[77]),
        request(&[9], &[0], 2, &[0, 3, 0xFF, 0xFE, 0xFD]),
        // A text of 2^40 bytes.
        request(&[9], &[0], 2, &[0, 253, 0, 0, 0, 0, 0, 1, 0, 0]),
        request(&seconds(69_379_200), &[0], 2, CALL_ECHO_HI), // 2.2 years
        request(&seconds(9_467_280_000), &[0], 2, CALL_ECHO_HI), // 300 years
        request(&seconds(1 << 63), &[0], 2, CALL_ECHO_HI),
        request(&seconds(u64::MAX), &nanos(u32::MAX), 2, CALL_ECHO_HI),
        request(&[9], &nanos(1_000_000_000), 2, CALL_ECHO_HI),
    ];
    // Random bytes, of a seed that a failure prints.
    hostile.extend((0..200_u64).map(|seed| {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        frame(&(0..64).map(|_| random()).collect::<Vec<_>>())
    }));
    for (number, bytes) in hostile.iter().enumerate() {
        let mut raw = Raw::welcomed(house.address);
        raw.say(&request(&[9], &[0], 1, CALL_ECHO_HI));
        assert_eq!(raw.hear(), (1, vec![0, 0, 2, b'h', b'i']));
        raw.say(bytes);
        assert!(raw.rest().is_empty(), "hostile frame {number}: {bytes:?}");
    }
    good.notices_nothing();
}

#[test]
fn what_is_beyond_the_limit_in_flight_is_refused_without_effect() {
    let house = House::open();
    let good = Good::of(&house);
    let mut raw = Raw::welcomed(house.address);
    for id in 0..70 {
        raw.say(&request(&[9], &[0], id, CALL_SLOW_5_S));
    }
    for id in 64..70 {
        let (refused, why) = raw.hear();
        assert_eq!((refused, &why[..2]), (id, &[1, 10][..]), "an error, of kind WouldBlock");
    }
    good.notices_nothing();
    for id in 0..70 {
        raw.say(&cancel(id));
    }
    raw.say(&request(&[9], &[0], 100, CALL_ECHO_HI));
    assert_eq!(raw.hear().0, 100);
    assert_eq!(*house.begun.borrow(), 64);
}

#[test]
fn a_storm_of_cancellations_leaves_nothing_behind() {
    let house = House::open();
    let good = Good::of(&house);
    let mut raw = Raw::welcomed(house.address);
    let storm: Vec<u8> = (0..250)
        .flat_map(|id| [request(&[9], &[0], id, CALL_SLOW_5_S), cancel(id), cancel(id)].concat())
        .collect();
    for _ in 0..40 {
        raw.say(&storm);
    }
    // And of requests whose time is over when they come: nobody answers those.
    let expired: Vec<u8> = (0..250).flat_map(|id| request(&[0], &[0], id, CALL_SLOW_5_S)).collect();
    for _ in 0..10 {
        raw.say(&expired);
    }
    raw.say(&request(&[9], &[0], 250, CALL_ECHO_HI));
    while raw.hear().0 != 250 {}
    good.notices_nothing();
}

#[test]
fn t05_floods_and_slow_readers_take_neither_memory_nor_time_of_others() {
    let house = House::open();
    let good = Good::of(&house);
    good.notices_nothing();
    let before = resident_bytes();

    let idle: Vec<_> = (0..500).map(|_| Raw::welcomed(house.address)).collect();
    let undecided: Vec<_> = (0..600).map(|_| Raw::connect(house.address)).collect();
    good.notices_nothing();
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut raw = Raw::welcomed(house.address);
            raw.say(&(1_u32 << 20).to_be_bytes());
            raw.say(&[0, 9, 0]);
            raw
        })
        .collect();
    good.notices_nothing();
    // Each asks for 900 KB, again and again, and reads none of it.
    let flood: Vec<u8> = (0..250).flat_map(|id| request(&[9], &[0], id, CALL_LONG_900_KB)).collect();
    let never_reading: Vec<_> = (0..10)
        .map(|_| {
            let raw = Raw::welcomed(house.address);
            raw.0.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
            raw
        })
        .collect();
    let mut sent = 0;
    for _ in 0..20 {
        for mut raw in never_reading.iter().map(|raw| &raw.0) {
            match raw.write(&flood) {
                Ok(bytes) => sent += bytes,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        good.notices_nothing();
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "{grown} bytes more after {sent} bytes of requests");

    // All of it goes, and everything is as before.
    drop((idle, undecided, slow, never_reading));
    good.notices_nothing();
    Raw::welcomed(house.address).say(&request(&[9], &[0], 1, CALL_ECHO_HI));
}

#[test]
fn connections_beyond_the_most_are_told_so_and_a_place_given_back_is_taken_again() {
    let house = House::at("127.0.0.1:0".parse().unwrap(), 3);
    let mut held: Vec<_> = (0..3).map(|_| Raw::welcomed(house.address)).collect();
    let mut fourth = Raw::connect(house.address);
    assert_eq!(fourth.verdict(), (6, "all 3 connections are taken".to_owned()));
    assert!(fourth.rest().is_empty());
    drop(held.pop());
    // The server notices on its own time.
    let mut raw = loop {
        let mut raw = Raw::connect(house.address);
        raw.say(&preamble(*b"echo", [1, 1], cluster()));
        if raw.verdict().0 == 0 {
            break raw;
        }
    };
    raw.say(&request(&[9], &[0], 1, CALL_ECHO_HI));
    assert_eq!(raw.hear().0, 1);
}

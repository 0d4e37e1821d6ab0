//! The Pyro door under callers who mean harm, and beside native ones: raw messages, no Python.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::process::{PATIENCE, Process};
use cluster_tests::pyro::{Wire, message};
use common::directory::Names;
use common::names::{
    ContractName, Entry, Expect, ObjectName, Readiness, Sharing, Tags, Target, Tenure, Weight,
};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::transport::within;
use nameserver::pyro::frame::Kind;
use tempfile::TempDir;

/// A name server that keeps nothing, and where it logs.
fn start(args: &[&str]) -> Result<(Process, TempDir)> {
    let folder = tempfile::tempdir()?;
    let first = ["-l", "127.0.0.1:0", "--store", "memory", "--autoclean", "off"];
    let all = first.iter().chain(args).map(|&arg| arg.to_owned()).collect();
    Ok((Process::start("nameserver", "nameserver", all, folder.path())?, folder))
}

fn lookup(name: &str) -> Vec<u8> {
    message(Kind::Invoke, 0, &format!("('Pyro.NameServer','lookup',('{name}',),{{}})"))
}

fn list() -> Vec<u8> {
    message(Kind::Invoke, 0, "('Pyro.NameServer','list',(),{})")
}

/// Registers this many names, `n.0` and so on.
fn fill(address: SocketAddr, names: usize) -> Result<()> {
    let mut wire = Wire::connect(address)?;
    for from in (0..names).step_by(1_000) {
        let calls: Vec<_> = (from..names.min(from + 1_000))
            .map(|number| format!("('register',('n.{number}','PYRO:o@127.0.0.1:4444'),{{}})"))
            .collect();
        let calls = calls.join(",");
        wire.call(&message(Kind::Invoke, 8, &format!("('Pyro.NameServer','<batch>',[{calls}],None)")))?;
    }
    Ok(())
}

/// Everything that comes until the other end closes.
fn rest(stream: &mut TcpStream) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Pyro's own name server takes 80 connections, and one silent one beyond them freezes it.
#[test]
fn silent_idle_and_never_reading_callers_hold_up_nobody() -> Result<()> {
    let (server, _folder) = start(&[])?;
    let address = server.address();
    fill(address, 5_000)?;
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    let mut idle: Vec<_> = (0..200).map(|_| Wire::connect(address)).collect::<Result<_>>()?;
    // Each has asked for megabytes, and takes none of them.
    let mut stalled: Vec<_> = (0..10).map(|_| Wire::connect(address)).collect::<Result<_>>()?;
    for wire in &mut stalled {
        wire.0.write_all(&list().repeat(50))?;
    }
    let mut wire = Wire::connect(address)?;
    for number in 0..1_000 {
        wire.call(&lookup(&format!("n.{number}")))?;
    }
    for wire in &mut idle {
        wire.call(&lookup("n.1"))?;
    }
    ensure!(server.memory()? < 128 << 20, "{} bytes", server.memory()?);
    drop(silent);
    Ok(())
}

#[test]
fn ten_thousand_clients_may_rest() -> Result<()> {
    let most = common::rpc::transport::raise_fd_limit();
    let clients = 10_000.min(most.saturating_sub(500));
    if clients < 10_000 {
        println!("not run: ten thousand resting clients: {most} descriptors are allowed; {clients} instead");
    }
    let (server, _folder) = start(&["--max-connections", "10100"])?;
    let address = server.address();
    fill(address, 10)?;
    let mut resting: Vec<_> = (0..clients).map(|_| Wire::connect(address)).collect::<Result<_>>()?;
    ensure!(server.memory()? < 128 << 20, "{} bytes", server.memory()?);
    for wire in resting.iter_mut().step_by(97) {
        wire.call(&lookup("n.1"))?;
    }
    Ok(())
}

#[test]
fn half_a_message_is_not_waited_for_for_ever() -> Result<()> {
    let (server, _folder) = start(&[])?;
    let mut mute = TcpStream::connect(server.address())?;
    let mut greeting = TcpStream::connect(server.address())?;
    greeting.write_all(b"PYRO\x01\xf6\x01\x01")?;
    let mut header = Wire::connect(server.address())?;
    header.0.write_all(&lookup("a")[..7])?;
    let mut payload = Wire::connect(server.address())?;
    payload.0.write_all(&lookup("a")[..60])?;
    // Who says nothing at all may be another server's look whether we live.
    for stream in [&mut mute, &mut greeting, &mut header.0, &mut payload.0] {
        ensure!(rest(stream)?.is_empty());
    }
    Ok(())
}

#[test]
fn hostile_messages_are_answered_where_there_is_an_answer_and_harm_nobody() -> Result<()> {
    let (server, _folder) = start(&[])?;
    let address = server.address();
    fill(address, 10)?;
    let quiet = server.memory()?;
    let invoke = |literal: &str| message(Kind::Invoke, 0, literal);
    // What a call's fault is, its connection survives.
    for (call, said) in [
        (invoke(&"(".repeat(10_000)), "nested more than 64 deep"),
        (
            invoke(&format!("('Pyro.NameServer','lookup',({},),{{}})", "1".repeat(1_000_000))),
            "has 1000000 digits",
        ),
        (invoke(&format!("[{}]", "0,".repeat(300_000))), "more than 250000 elements"),
        (invoke("('Pyro.NameServer','lookup',('\\ud800',),{})"), "surrogates are no characters"),
        (invoke("('Pyro.NameServer','list',(),{'regex':'\\\\w{1000}{1000}{1000}'})"), "invalid regex"),
        (invoke("('Pyro.NameServer','lookup',(b'a',),{})"), "name must be a str"),
        (invoke("('Pyro.NameServer','register',('a','PYRO:o@h:1'),{'metadata':['t'*300]})"), "expected"),
        (invoke("1"), "a call is an object"),
    ] {
        let mut wire = Wire::connect(address)?;
        let refused = wire.call(&call).err().with_context(|| format!("taken instead: {said}"))?.to_string();
        ensure!(refused.contains(said), "{said}: {refused}");
        wire.call(&lookup("n.1"))?;
    }
    // What a message's fault is ends the connection.
    let mut announced = invoke("");
    announced[12..16].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    let mut annotated = invoke("");
    annotated[19] = 9;
    annotated.extend(b"ABCD\xff\xff\xff\xff1");
    for (bytes, said) in [
        (announced, "message too large (2147483647, max=4194304)"),
        (annotated, "annotation chunk length"),
        (message(Kind::Other(77), 0, "1"), "invalid message type"),
        (message(Kind::Connect, 0, "{}"), "invalid message type"),
        (b"nonsense that is long enough".to_vec(), ""),
    ] {
        let mut wire = Wire::connect(address)?;
        wire.0.write_all(&bytes)?;
        let bytes = rest(&mut wire.0)?;
        let text = String::from_utf8_lossy(&bytes);
        ensure!(text.contains(said), "{said}: {text}");
    }
    let mut stranger = TcpStream::connect(address)?;
    stranger.write_all(b"PYRO\x03\xe7")?;
    let bytes = rest(&mut stranger)?;
    let text = String::from_utf8_lossy(&bytes);
    ensure!(text.ends_with("'invalid protocol version: 999'"), "{text}");
    ensure!(server.memory()? < quiet + (64 << 20), "{} bytes, at first {quiet}", server.memory()?);
    ensure!(!server.log().contains("panicked"), "{}", server.log());
    Ok(())
}

#[test]
fn who_finds_no_place_is_told_so_in_its_own_protocol() -> Result<()> {
    let (server, _folder) = start(&["--max-connections", "3"])?;
    let address = server.address();
    let mut taken: Vec<_> = (0..3).map(|_| Wire::connect(address)).collect::<Result<_>>()?;
    let refused = Wire::connect(address).err().context("there is no place")?.to_string();
    ensure!(refused.contains("'too many connections'"), "{refused}");
    taken.pop();
    // The place is free when its task has seen the end.
    while Wire::connect(address).is_err() {}
    Ok(())
}

#[test]
fn broadcasts_are_answered_to_the_letter_and_nothing_else_is() -> Result<()> {
    let free = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let (server, _folder) = start(&["--advertise", "shop.example", "--discovery", &free.to_string()])?;
    let asker = UdpSocket::bind("127.0.0.1:0")?;
    asker.set_read_timeout(Some(PATIENCE))?;
    for noise in [&b"GET_NSUR"[..], b"GET_NSURI\n", b"get_nsuri", b"", &[0; 1_000]] {
        asker.send_to(noise, free)?;
    }
    asker.send_to(b"GET_NSURI", free)?;
    let mut answer = [0; 200];
    let (bytes, _) = asker.recv_from(&mut answer)?;
    let uri = format!("PYRO:Pyro.NameServer@shop.example:{}", server.address().port());
    assert_eq!(String::from_utf8_lossy(&answer[..bytes]), uri);
    // Datagrams of one sender stay in order here: what was not the question has had its chance.
    asker.set_nonblocking(true)?;
    ensure!(asker.recv_from(&mut answer).is_err(), "one question, one answer");
    Ok(())
}

/// Sixty-four of each on one port, each finding the others' names.
#[tokio::test]
async fn native_and_pyro_clients_share_a_port_and_a_name_space() -> Result<()> {
    let (server, _folder) = start(&[])?;
    let address = server.address();
    let pyros = std::thread::spawn(move || -> Result<()> {
        let mut wires: Vec<_> = (0..64).map(|_| Wire::connect(address)).collect::<Result<_>>()?;
        for (number, wire) in wires.iter_mut().enumerate() {
            let literal =
                format!("('Pyro.NameServer','register',('Pyro {number}','PYRO:o@127.0.0.1:4444'),{{}})");
            wire.call(&message(Kind::Invoke, 0, &literal))?;
        }
        Ok(())
    });
    let entry = || Entry {
        sharing: Sharing::Exclusive,
        target: Target::Service {
            address: "127.0.0.1:5555".parse().expect("an address"),
            object: ObjectName::new("").expect("empty is good"),
            contract: ContractName::new("greeting").expect("a good name"),
        },
        tags: Tags::default(),
        readiness: Readiness::Up,
        weight: Weight::default(),
    };
    let natives: Vec<Names> = (0..64).map(|_| Names::new(vec![address.into()], "test")).collect();
    for (number, names) in natives.iter().enumerate() {
        let name = format!("native.{number}").parse()?;
        let context = within(NAME_SERVICE, Duration::from_secs(5));
        names.server().register(context, Tenure::Permanent, name, entry(), Expect::Free).await??;
    }
    tokio::task::spawn_blocking(move || pyros.join().expect("it does not panic")).await??;
    for (number, names) in natives.iter().enumerate() {
        let found = names.find(format!("Pyro {number}").parse()?, Duration::from_secs(5)).await?;
        ensure!(matches!(&found[0].target, Target::Pyro { uri } if uri.as_str() == "PYRO:o@127.0.0.1:4444"));
    }
    tokio::task::spawn_blocking(move || -> Result<()> {
        let mut wire = Wire::connect(address)?;
        let answer = wire.call(&list())?;
        let text = String::from_utf8_lossy(&answer);
        for number in 0..64 {
            let native = format!("'native.{number}':'PYRO:native.{number}@127.0.0.1:5555'");
            ensure!(text.contains(&native) && text.contains(&format!("'Pyro {number}':")), "{text}");
        }
        Ok(())
    })
    .await?
}

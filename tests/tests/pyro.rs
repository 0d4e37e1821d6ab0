//! Stock Pyro programs on our name server's port: the clients, tools and servers that the world has, unchanged.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::process::{PATIENCE, Process, program};
use cluster_tests::pyro::Python;
use cluster_tests::source;
use common::clock::Clock;
use nameserver::pyro::serpent;
use tempfile::TempDir;

/// A name server, and where it keeps its log.
struct House {
    server: Process,
    folder: TempDir,
}

impl House {
    fn start(args: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = start(folder.path(), args)?;
        Ok(Self { server, folder })
    }

    fn host(&self) -> String {
        self.server.address().ip().to_string()
    }

    fn port(&self) -> String {
        self.server.address().port().to_string()
    }
}

fn start(folder: &Path, args: &[&str]) -> Result<Process> {
    let store = folder.join("names.redb").to_string_lossy().into_owned();
    let first = ["-l", "127.0.0.1:0", "--store", &store];
    let all = first.iter().chain(args).map(|&arg| arg.to_owned()).collect();
    Process::start("nameserver", "nameserver", all, folder)
}

/// Runs a script that checks for itself, with each serializer, plain and compressed.
fn all_serializers(script: &str) -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let house = House::start(&["--autoclean", "off"])?;
    for serializer in ["serpent", "json", "msgpack"] {
        for compression in ["False", "True"] {
            python.check(&[script, &house.host(), &house.port(), serializer, compression], &[])?;
        }
    }
    ensure!(!house.server.log().contains("ERROR"), "{}", house.server.log());
    Ok(())
}

#[test]
fn a_stock_pyro5_client_finds_every_method_every_answer_and_every_refusal() -> Result<()> {
    all_serializers("pyro5_client.py")
}

#[test]
fn a_stock_pyro4_client_finds_every_method_every_answer_and_every_refusal() -> Result<()> {
    all_serializers("pyro4_client.py")
}

/// The lines that a tool says.
fn tool(python: &Python, house: &House, module: &str, args: &[&str]) -> Result<String> {
    let front = ["-m", module, "-n", &house.host(), "-p", &house.port()].map(str::to_owned);
    let all: Vec<&str> = front.iter().map(String::as_str).chain(args.iter().copied()).collect();
    let output = python.run(&all, &[])?;
    let said = String::from_utf8(output.stdout)?;
    Ok(said.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_tools_of_both_pyros_do_every_verb() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let house = House::start(&["--autoclean", "off"])?;
    let own = format!("PYRO:Pyro.NameServer@{}", house.server.address());
    for (module, class, tags, all, any) in [
        ("Pyro5.nsc", "{'class:Pyro5.nameserver.NameServer'}", "{'t1'}", "yplookup_all", "yplookup_any"),
        ("Pyro4.nsc", "['class:Pyro4.naming.NameServer']", "['t1']", "listmeta_all", "listmeta_any"),
    ] {
        let said = |args: &[&str]| tool(&python, &house, module, args);
        let listed = |title: &str, entries: &str| {
            format!("--------START LIST {title}\n{entries}--------END LIST {title}").replace(" \n", "\n")
        };
        let entry = format!("a.b --> PYRO:o@h:1\n    metadata: {tags}\n");
        let bare = "a.b --> PYRO:o@h:1\n";
        let ours = format!("Pyro.NameServer --> {own}\n    metadata: {class}\n");
        assert_eq!(said(&["ping"])?, "Name server ping ok.");
        assert_eq!(said(&["list"])?.trim_end(), listed("", &ours).trim_end());
        assert_eq!(said(&["register", "a.b", "PYRO:o@h:1"])?, "Registered a.b");
        let taken = said(&["register", "a.b", "PYRO:o@h:1"])?;
        assert_eq!(taken, "Error: NamingError - name already registered: a.b");
        assert_eq!(said(&["list", "a."])?, listed("- prefix 'a.'", bare));
        assert_eq!(said(&["setmeta", "a.b", "t1"])?, "Metadata updated");
        assert_eq!(said(&["lookup", "a.b"])?, format!("PYRO:o@h:1\nmetadata: {tags}"));
        assert_eq!(said(&["listmatching", "a"])?, listed("- regex 'a'", &entry));
        let searched = " - searched by metadata";
        assert_eq!(said(&[all, "t1"])?, listed(searched, &entry));
        assert_eq!(said(&[any, "t1", "t2"])?, listed(searched, &entry));
        assert_eq!(said(&[all, "t1", "t2"])?, listed(searched, ""));
        assert_eq!(said(&["setmeta", "a.b"])?, "Metadata cleared");
        assert_eq!(said(&["remove", "a.b"])?, "Removed a.b");
        assert_eq!(said(&["remove", "a.b"])?, "Nothing removed");
        assert_eq!(said(&["lookup", "a.b"])?, "Error: NamingError - unknown name: a.b");
    }
    Ok(())
}

#[test]
fn a_python_object_is_called_by_its_name_and_by_its_tag_and_followed_to_its_new_place() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let mut house = House::start(&["--autoclean", "off"])?;
    for pyro in ["5", "4"] {
        let name = format!("greeter.{pyro}");
        let serve = |house: &House, word: &str| {
            python.start(&["server.py", pyro, &house.host(), &house.port(), &name, &name, word])
        };
        let (mut server, first) = serve(&house, "Hello")?;
        let uris: &[String] = match pyro {
            "5" => &[format!("PYRONAME:{name}"), format!("PYROMETA:{name}")],
            _ => &[format!("PYRONAME:{name}"), format!("PYROMETA:{name}@{}", house.server.address())],
        };
        let mut callers = Vec::new();
        for uri in uris {
            let (mut caller, _) = python.start(&["caller.py", pyro, &house.host(), &house.port(), uri])?;
            writeln!(caller.input, "you")?;
            assert_eq!(caller.line()?, "Hello, you", "{uri}");
            callers.push(caller);
        }
        server.kill();
        // Its name outlives it, and the name server's end too.
        let address = house.server.address().to_string();
        house.server.set("-l", address);
        house.server.kill()?;
        house.server.start_again()?;
        let (_server, second) = serve(&house, "Good day")?;
        ensure!(first != second, "another object has another URI");
        for caller in &mut callers {
            writeln!(caller.input, "you")?;
            assert_eq!(caller.line()?, "lost");
            writeln!(caller.input, "you")?;
            assert_eq!(caller.line()?, "Good day, you");
        }
    }
    ensure!(house.folder.path().join("names.redb").exists());
    Ok(())
}

/// Of a whole system Pyro's tool sees every name, and takes none; ours sees Pyro's.
#[test]
fn pyro_sees_our_names_we_see_pyros_and_nobody_is_robbed() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let cluster = Cluster::start(Options { replicas: 1, ..Options::default() })?;
    let address = cluster.name_server.address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let replica = cluster.replicas[0].address().to_string();
    let said = python.check(&["both.py", &host, &port, &replica], &[])?;
    ensure!(said.ends_with("ok\n"), "{said}");
    let listed = cluster.json(&["ns", "list"])?;
    let names: Vec<String> = listed.iter().map(ToString::to_string).collect();
    for (name, uri) in [("Python Object", "PYRO:obj@127.0.0.1:4444"), ("just.hungry", "")] {
        let found = names.iter().any(|line| line.contains(name) && line.contains(uri));
        ensure!(found, "{name} is not among {names:#?}");
    }
    Ok(())
}

/// Its name goes within the period and a quarter of it; whoever dialled it meanwhile held up nobody.
#[test]
fn a_killed_python_server_is_forgotten_and_a_living_one_is_not() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let house = House::start(&["--autoclean", "1s"])?;
    let serve = |name| python.start(&["server.py", "5", &house.host(), &house.port(), name, "t", "Hello"]);
    let (mut dies, _) = serve("dies")?;
    let (_lives, _) = serve("lives")?;
    dies.kill();
    let clock = Clock::start();
    loop {
        let listed = tool(&python, &house, "Pyro5.nsc", &["list"])?;
        ensure!(listed.contains("lives -->"), "{listed}");
        if !listed.contains("dies -->") {
            return Ok(());
        }
        ensure!(clock.now().since_origin() < PATIENCE, "{listed}");
    }
}

#[test]
fn pyro5s_own_tests_of_its_name_server_pass_at_ours() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let ours = program("nameserver").to_string_lossy().into_owned();
    let tests = python.pyro5_tests().join("test_naming.py").to_string_lossy().into_owned();
    let args = ["-m", "pytest", "-q", "-p", "ours", "-p", "no:cacheprovider", &tests];
    let said = python.check(&args, &[("NAMESERVER", &ours), ("PYTHONPATH", ".")])?;
    let last = said.lines().last().context("pytest says how it went")?;
    let passed: u32 = last.split(' ').next().and_then(|count| count.parse().ok()).context("N passed in …")?;
    ensure!(passed >= 18 && !last.contains("failed"), "{said}");
    Ok(())
}

#[test]
fn a_pyro4_program_proves_the_shared_key_and_so_do_we() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    std::fs::write(&file, "secret words\n")?;
    let house = House::start(&["--pyro4-hmac-key-file", &file.to_string_lossy()])?;
    python.check(&["keys.py", &house.host(), &house.port(), "secret words"], &[])?;
    let log = house.server.log();
    ensure!(!log.contains("secret words"), "{log}");
    Ok(())
}

#[test]
fn pyro_programs_may_be_given_eyes_only_or_nothing() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    for mode in ["read-only", "off"] {
        let house = House::start(&["--pyro", mode])?;
        python.check(&["modes.py", &house.host(), &house.port(), mode], &[])?;
    }
    Ok(())
}

#[test]
fn a_stock_client_finds_the_name_server_by_broadcast() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    // Any free port; it is free again a moment before it is taken.
    let free = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let house = House::start(&["--advertise", "127.0.0.1", "--discovery", &free.to_string()])?;
    let uri = format!("PYRO:Pyro.NameServer@{}", house.server.address());
    python.check(&["discovery.py", "127.0.0.1", &free.port().to_string(), &uri], &[])?;
    Ok(())
}

/// As stock clients shout, in a network of the test's own.
#[test]
fn a_true_broadcast_is_answered_with_the_address_that_the_asker_can_reach() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let script = source::top().join("tests/tests/pyro/broadcast.sh");
    let apart = std::process::Command::new("unshare")
        .args(["--map-root-user", "--net", "sh"])
        .arg(script)
        .arg(program("nameserver"))
        .arg(python.program())
        .current_dir(folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output();
    let Ok(apart) = apart else {
        println!("not run: broadcasts: there is no unshare");
        return Ok(());
    };
    let said = String::from_utf8_lossy(&apart.stdout).into_owned() + &String::from_utf8_lossy(&apart.stderr);
    if apart.status.code() == Some(77) || said.contains("unshare") {
        println!("not run: broadcasts: {}", said.lines().last().unwrap_or("no network namespace"));
        return Ok(());
    }
    ensure!(apart.status.success() && said.ends_with("ok\n"), "{said}");
    Ok(())
}

/// What our reader makes of a literal, Python makes of it too; what it refuses, Python refuses, or it is of the kinds that are
/// left out on purpose.
#[test]
fn serpent_is_read_as_python_reads_it() -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let mut cases = String::new();
    for input in cluster_tests::fuzz::inputs("serpent", 7).take(20_000) {
        let mut ours = Vec::new();
        let read = serpent::read(&input);
        if let Ok(value) = &read {
            serpent::write(&mut ours, value);
        }
        let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let why = read.err().map(|why| why.to_string()).unwrap_or_default();
        writeln!(cases, "{} {} {}", hex(&input), hex(&ours), hex(why.as_bytes()))?;
    }
    let file = folder.path().join("cases");
    std::fs::write(&file, cases)?;
    let said = python.check(&["oracle.py", &file.to_string_lossy()], &[])?;
    ensure!(said.ends_with("ok\n"), "{said}");
    Ok(())
}

//! The programs, each on a machine of its own.

use std::cell::Cell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser as _;
use common::machine::simulated::{Machine, trace};
use common::services::SERVICES;
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

/// Where the name server listens.
pub const NAME_SERVER_PORT: u16 = 9090;

/// What a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The name server.
    NameServer,
    /// A replica, by number.
    Replica(u8),
    /// A front end.
    FrontEnd,
}

/// A program on a machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// What.
    pub program: Program,
    /// Where.
    pub machine: Rc<Machine>,
    /// How long the machine takes to start it next time.
    pub start_after: Rc<Cell<Duration>>,
    /// Whether its machine is about to start it.
    pub waits: Rc<Cell<bool>>,
}

/// What is the same for all hosts of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the name server is.
    pub name_server: SocketAddr,
    /// A fresh port at each start, or always the same.
    pub fresh_ports: bool,
    /// Replicas that must be in sync for an answer.
    pub min_in_sync: u8,
    /// Disks on which a rating must be for an answer.
    pub ack_after: u8,
    /// How long names outlive their processes.
    pub ttl: &'static str,
}

/// Puts `program` on a machine called `name`.
pub fn add(sim: &mut Sim<'_>, name: &'static str, program: Program, plan: &Plan) -> Host {
    let ip = sim.lookup(name);
    let machine = Machine::new(name, ip);
    let host =
        Host { program, machine: Rc::clone(&machine), start_after: Rc::default(), waits: Rc::default() };
    let (plan, start_after, waits) = (plan.clone(), Rc::clone(&host.start_after), Rc::clone(&host.waits));
    sim.host(name, move || {
        let (machine, plan, wait) = (Rc::clone(&machine), plan.clone(), start_after.get());
        let waits = Rc::clone(&waits);
        async move {
            machine.power_on();
            waits.set(true);
            tokio::time::sleep(wait).await;
            waits.set(false);
            let ended = match program {
                Program::NameServer => name_server(&machine).await,
                Program::Replica(number) => replica(number, &machine, &plan).await,
                Program::FrontEnd => front_end(&machine, &plan).await,
            };
            let code = match ended {
                Ok(()) => 0,
                Err(error) => {
                    trace::note(format_args!("{} fails: {error}", machine.name));
                    1
                }
            };
            machine.ended.set(Some(machine.ended.get().unwrap_or(code)));
            // Its other tasks are taken away by who runs the simulation.
            std::future::pending().await
        }
    });
    host
}

type Ended = Result<(), Box<dyn Error>>;

async fn name_server(machine: &Machine) -> Ended {
    let listen = SocketAddr::new(machine.ip, NAME_SERVER_PORT).to_string();
    let flags = nameserver::config::Flags::try_parse_from([
        "nameserver",
        "--listen",
        &listen,
        "--store",
        "/nameserver/store.redb",
        "--cluster",
        "simulated",
        "--insecure-bind",
    ])?;
    let stop = CancellationToken::new();
    tokio::task::spawn_local(nameserver::server::stop_on_signals(stop.clone())?);
    Ok(nameserver::server::run(flags.check(None)?, stop).await?)
}

async fn replica(number: u8, machine: &Machine, plan: &Plan) -> Ended {
    let port = if plan.fresh_ports { 0 } else { 7000 };
    let config = replica::config::Config::try_parse_from([
        "replica",
        &number.to_string(),
        "--listen",
        &SocketAddr::new(machine.ip, port).to_string(),
        "--name-server",
        &plan.name_server.to_string(),
        "--data-dir",
        "/replica",
        "--first",
        "--start",
        "empty",
        "--min-in-sync",
        &plan.min_in_sync.to_string(),
        "--ack-after",
        &plan.ack_after.to_string(),
        "--ttl",
        plan.ttl,
        "--insecure-bind",
    ])?;
    Ok(replica::run(config, SERVICES).await?)
}

async fn front_end(machine: &Machine, plan: &Plan) -> Ended {
    let port = if plan.fresh_ports { 0 } else { 8000 };
    let config = frontend::config::Config::try_parse_from([
        "frontend",
        "--listen",
        &SocketAddr::new(machine.ip, port).to_string(),
        "--name-server",
        &plan.name_server.to_string(),
        "--http",
        "off",
        "--postcodes",
        "offline",
        "--ttl",
        plan.ttl,
        "--insecure-bind",
    ])?;
    Ok(frontend::process::run(config.checked()?, SERVICES).await?)
}

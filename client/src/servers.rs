//! `servers`: the client's own list of name servers, a line each, in the state directory. It is asked when nobody says
//! otherwise: `--name-server`, `NAME_SERVER` and Pyro's variables go first.

use std::fs;
use std::io;
use std::path::PathBuf;

use common::directory::Names;
use common::names::Address;

use crate::errors::{self, Code, Failure};
use crate::grammar::{Global, Servers};
use crate::objects;
use crate::output::{Ended, Lean, Output, table};
use crate::session::{state_directory, write_whole};

/// The name servers to ask.
///
/// # Errors
/// When an address is none, or the list cannot be read.
pub(crate) fn to_ask(global: &Global) -> Result<Vec<Address>, Failure> {
    if !global.name_server.is_empty() {
        return Ok(global.name_server.clone());
    }
    let pyro =
        ["PYRO_NS_HOST", "PYRO_NS_PORT"].map(std::env::var_os).into_iter().flatten().any(|v| !v.is_empty());
    let own = if pyro { vec![] } else { List::open()?.servers };
    if !own.is_empty() {
        return Ok(own);
    }
    let names = Names::from_env().map_err(|error| errors::invalid("name-server", error))?;
    Ok(names.servers().to_vec())
}

/// Runs one of the commands.
///
/// # Errors
/// When the list cannot be read or written, or has no such number.
pub(crate) fn run(output: Output, global: &Global, command: Servers) -> Result<(), Ended> {
    let mut list = List::open()?;
    match command {
        Servers::List => {}
        Servers::Add { address } if list.servers.contains(&address) => {
            output.note(&format!("{address} is in the list already"));
        }
        Servers::Add { address } => {
            list.servers.push(address);
            list.write()?;
        }
        Servers::Remove { number } => {
            if !(1..=list.servers.len()).contains(&number) {
                let failure = Failure::new(Code::ServerUnknown, "Invalid choice of server.");
                return Err(failure.hint("client servers list").into());
            }
            list.servers.remove(number - 1);
            list.write()?;
        }
    }
    let servers: Vec<objects::Server> = list
        .servers
        .iter()
        .zip(1..)
        .map(|(address, number)| objects::Server { number, address: address.to_string() })
        .collect();
    output.list(&servers, |screen| {
        let row = |one: &objects::Server| vec![one.number.to_string(), one.address.clone()];
        let columns = [("NO", Lean::Right), ("ADDRESS", Lean::Left)];
        if servers.is_empty() {
            "No name servers of your own.".into()
        } else {
            table(screen, &columns, servers.iter().map(row))
        }
    })?;
    let asked = to_ask(global)?;
    if asked != list.servers {
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        output.note(&format!("asked is {}", asked.join(", ")));
    }
    Ok(())
}

/// The list, and where it stands.
struct List {
    file: Option<PathBuf>,
    servers: Vec<Address>,
}

impl List {
    /// A missing list is empty; so is that of somebody without a home.
    fn open() -> Result<Self, Failure> {
        let file = state_directory().map(|state| state.join("servers"));
        let text = match file.as_deref().map(fs::read_to_string) {
            None => String::new(),
            Some(Ok(text)) => text,
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Some(Err(error)) => return Err(errors::file(file.as_deref().expect("it was read"), &error)),
        };
        let read = |(line, number): (&str, usize)| {
            line.trim().parse().map_err(|error| {
                let file = file.clone().unwrap_or_default();
                let message = format!("{}:{number}: {error}", file.display());
                Failure::new(Code::Damaged, message).hint("mend that line, or remove the file")
            })
        };
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        Ok(Self { servers: lines.map(read).collect::<Result<_, _>>()?, file })
    }

    fn write(&self) -> Result<(), Failure> {
        let Some(file) = &self.file else {
            let nowhere = io::Error::new(io::ErrorKind::NotFound, "neither XDG_STATE_HOME nor HOME is set");
            return Err(errors::file(std::path::Path::new("servers"), &nowhere));
        };
        let text = self.servers.iter().fold(String::new(), |all, address| all + &address.to_string() + "\n");
        write_whole(file, text.as_bytes()).map_err(|error| errors::file(file, &error))
    }
}

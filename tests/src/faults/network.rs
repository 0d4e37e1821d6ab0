//! A network of a test's own: each process at an address of its own, and links that can be cut in one direction.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};

use super::world::tool;
use crate::cluster::Place;
use crate::process::Around;

/// The programs that a network needs.
pub const NEEDS: &[&str] = &["nft", "nsenter"];

/// One bridge; the test itself is on it too, and reaches everybody always. To be made in a world of the test's own,
/// with which it is gone.
#[derive(Debug)]
pub struct Network {
    hosts: BTreeMap<String, Ipv4Addr>,
}

impl Network {
    /// A network of hosts with these names.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub fn new(names: &[&str]) -> Result<Self> {
        // Names of namespaces are files; these are ours alone.
        tool("mount", &["-t", "tmpfs", "none", "/run"])?;
        ip("link add hub type bridge")?;
        ip("addr add 10.77.0.1/24 dev hub")?;
        ip("link set hub up")?;
        let mut hosts = BTreeMap::new();
        for (&name, number) in names.iter().zip(10_u8..) {
            let address = Ipv4Addr::new(10, 77, 0, number);
            ip(&format!("netns add {name}"))?;
            ip(&format!("link add to{number} type veth peer name eth0 netns {name}"))?;
            ip(&format!("link set to{number} master hub up"))?;
            ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            let deaf = "add table inet cut; add set inet cut from { type ipv4_addr; }; \
                        add chain inet cut in { type filter hook input priority 0; }; \
                        add rule inet cut in ip saddr @from drop; \
                        add chain inet cut lossy { type filter hook input priority 1; }";
            nft(name, deaf)?;
            hosts.insert(name.to_owned(), address);
        }
        Ok(Self { hosts })
    }

    /// Where the process called `name` runs.
    ///
    /// # Panics
    /// When there is no host of that name.
    pub fn place(&self, name: &str) -> Place {
        let ip = IpAddr::V4(self.hosts[name]);
        let through = ["nsenter".to_owned(), format!("--net=/run/netns/{name}"), "--".to_owned()];
        let around = Around { through: through.into(), ..Around::default() };
        Place { ip, around, ..Place::default() }
    }

    /// Lets nothing through from `from` to `to` any more; the other way goes on.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn cut(&self, from: &str, to: &str) -> Result<()> {
        let address = self.hosts.get(from).with_context(|| format!("no host {from}"))?;
        nft(to, &format!("add element inet cut from {{ {address} }}"))
    }

    /// Cuts `one` from each of `others`, in both directions.
    ///
    /// # Errors
    /// As [`Network::cut`].
    pub fn part(&self, one: &str, others: &[&str]) -> Result<()> {
        others.iter().try_for_each(|other| {
            self.cut(one, other)?;
            self.cut(other, one)
        })
    }

    /// Loses so many of a hundred packets, wherever they come from.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub fn lose(&self, percent: u8) -> Result<()> {
        let rule = format!("add rule inet cut lossy numgen random mod 100 < {percent} drop");
        self.hosts.keys().try_for_each(|name| nft(name, &rule))
    }

    /// Everybody hears everybody again, and everything.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub fn heal(&self) -> Result<()> {
        self.hosts
            .keys()
            .try_for_each(|name| nft(name, "flush set inet cut from; flush chain inet cut lossy"))
    }
}

fn ip(line: &str) -> Result<()> {
    tool("ip", &line.split_whitespace().collect::<Vec<_>>())
}

fn nft(host: &str, line: &str) -> Result<()> {
    tool("nsenter", &[&format!("--net=/run/netns/{host}"), "--", "nft", line])
}

//! The name server's flags, and what follows from them: checked once, here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use common::ids::ClusterId;
use common::telemetry::{DEFAULT_FILTER, LogFormat};

use crate::leases::LEASES_MAX;
use crate::probes::Autoclean;
use crate::registry::NAMES_MAX;

/// The port that everybody tries first.
const PORT: u16 = 9090;

/// Keeps names, leases and group configurations; the one address that everybody in a cluster knows.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "nameserver",
    version,
    before_help = "nameserver\nnameserver --listen 127.0.0.1:9999 --store /var/lib/hungry/names.redb\nnameserver --listen 127.0.0.1:0 --store memory"
)]
pub struct Flags {
    /// Where to listen; port 0 takes a free one
    #[arg(short, long, value_name = "ADDR", env = "NS_LISTEN", default_value = "127.0.0.1:9090")]
    pub listen: SocketAddr,
    /// Where names and groups outlive a restart: a file, or `memory` [default: nameserver.redb in the state
    /// directory, nameserver-PORT.redb off port 9090, memory for port 0]
    #[arg(long, value_name = "FILE|memory")]
    pub store: Option<String>,
    /// The cluster's id: 32 hex digits, or a text of at most 16 bytes [default: the file's own; `dev` for memory]
    #[arg(long, value_name = "ID")]
    pub cluster: Option<ClusterId>,
    /// How long after its start a memory store says "warming" instead of "not found"
    #[arg(long, value_name = "D", default_value = "10s", value_parser = duration)]
    pub warm_up: Duration,
    /// How long nobody may answer at a name without a lease before it is removed. Unless given: 20s, for names that
    /// were seen alive once and stand on their registrant's own machine; given: for all that can be dialled
    #[arg(long, value_name = "D|off", env = "NS_AUTOCLEAN")]
    pub autoclean: Option<String>,
    /// The same in seconds, as Pyro has it; 0 is off
    #[arg(long, hide = true, value_name = "SECONDS", env = "PYRO_NS_AUTOCLEAN")]
    pub pyro_autoclean: Option<f64>,
    /// Whether stock Pyro 4 and 5 programs are served on the same port
    #[arg(long, value_name = "on|read-only|off", default_value = "on")]
    pub pyro: PyroMode,
    /// The host that Pyro programs are told to find this name server at [default: that of --listen; listening
    /// everywhere, the address that they came to]
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Answer Pyro programs that look for a name server by broadcast; usually at port 9091
    #[arg(long, value_name = "ADDR")]
    pub discovery: Option<SocketAddr>,
    /// A secret that Pyro 4 programs must share, in a file
    #[arg(long, value_name = "FILE")]
    pub pyro4_hmac_key_file: Option<PathBuf>,
    /// The secret itself, as Pyro 4 has it
    #[arg(long, hide = true, value_name = "KEY", env = "PYRO_HMAC_KEY", hide_env_values = true)]
    pub pyro4_hmac_key: Option<String>,
    /// Where to show /healthz, /status and /metrics over HTTP; port 0 takes a free one
    #[arg(long, value_name = "ADDR|off", env = "NS_HTTP", default_value = "off", value_parser = http_at)]
    pub http: std::option::Option<SocketAddr>,
    /// Names at most
    #[arg(long, value_name = "N", default_value_t = NAMES_MAX)]
    pub max_names: usize,
    /// Leases at most
    #[arg(long, value_name = "N", default_value_t = LEASES_MAX)]
    pub max_leases: usize,
    /// Connections at most
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_connections: usize,
    /// What to log
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = DEFAULT_FILTER)]
    pub log: String,
    /// How log lines look
    #[arg(long, value_name = "text|json", default_value = "text")]
    pub log_format: Format,
    /// Listen on an address that other machines reach, without encryption
    #[arg(long)]
    pub insecure_bind: bool,
    /// Print all limits, and stop
    #[arg(long)]
    pub show_limits: bool,
}

/// Whether Pyro programs are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PyroMode {
    /// They are.
    On,
    /// They may look, and change nothing.
    ReadOnly,
    /// They are told that they are not.
    Off,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

/// What the name server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where names and groups outlive a restart.
    pub store: StorePlace,
    /// Whose name server it is; `None`: the store says.
    pub cluster: Option<ClusterId>,
    /// How long a memory store cannot know who is there.
    pub warm_up: Duration,
    /// What is done about names without a lease.
    pub autoclean: Autoclean,
    /// What Pyro programs get.
    pub pyro: PyroConfig,
    /// Where to show pages.
    pub http: Option<SocketAddr>,
    /// Names at most.
    pub names_max: usize,
    /// Leases at most.
    pub leases_max: usize,
    /// Connections at most.
    pub connections_max: usize,
}

/// What Pyro programs get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PyroConfig {
    /// Whether they are served.
    pub mode: PyroMode,
    /// As which host we are known; `None`: as the one they came to.
    pub advertise: Option<String>,
    /// Where broadcasts are answered.
    pub discovery: Option<SocketAddr>,
    /// What Pyro 4 programs must know.
    pub secret: Option<PyroSecret>,
}

/// What Pyro 4 programs must know.
#[derive(Clone, PartialEq, Eq)]
pub enum PyroSecret {
    /// This.
    Text(String),
    /// What is in this file, without the end of its last line.
    File(PathBuf),
}

impl std::fmt::Debug for PyroSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PyroSecret(***)")
    }
}

/// Where names and groups outlive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// Nowhere.
    Memory,
    /// In this file.
    File(PathBuf),
}

/// Why flags cannot be followed; what to try instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFlags {
    /// Everybody on the network could change names.
    #[error(
        "{0} can be reached from other machines, and nothing is encrypted\n  try: --listen 127.0.0.1:9090, or --insecure-bind when the network is yours alone"
    )]
    InsecureBind(SocketAddr),
    /// No store of that kind.
    #[error("no store of this kind: {0:?}\n  try: --store FILE or --store memory")]
    Store(String),
    /// It would give out an address of no use.
    #[error(
        "--discovery {0} would send other machines to {1}, which only this one reaches\n  try: --listen with an address that they reach, or --advertise HOST"
    )]
    Discovery(SocketAddr, SocketAddr),
    /// No machine has such a name, or it does not fit an answer.
    #[error("--advertise takes a host name or an address of at most {1} bytes, without a port, not {0:?}")]
    Advertise(String, usize),
    /// No such period.
    #[error(
        "names without a lease are given at least 1s, not {0:?}\n  try: --autoclean 20s or --autoclean off"
    )]
    Autoclean(String),
    /// No place for a store.
    #[error(
        "neither XDG_STATE_HOME nor HOME says where to keep the store\n  try: --store FILE or --store memory"
    )]
    NoStateDirectory,
}

impl Flags {
    /// Checks the flags. `state` is the user's state directory, when there is one.
    ///
    /// # Errors
    /// The first that cannot be followed.
    pub fn check(&self, state: Option<PathBuf>) -> Result<Config, BadFlags> {
        let open = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        if let (Some(open), false) =
            ([Some(&self.listen), self.http.as_ref()].into_iter().flatten().find(open), self.insecure_bind)
        {
            return Err(BadFlags::InsecureBind(*open));
        }
        let store = match self.store.as_deref() {
            Some("memory") => StorePlace::Memory,
            Some(other) if other.is_empty() || other.contains("://") => {
                return Err(BadFlags::Store(other.to_owned()));
            }
            Some(file) => StorePlace::File(file.into()),
            None if self.listen.port() == 0 => StorePlace::Memory,
            None => {
                let file = match self.listen.port() {
                    PORT => "nameserver.redb".to_owned(),
                    port => format!("nameserver-{port}.redb"),
                };
                StorePlace::File(state.ok_or(BadFlags::NoStateDirectory)?.join(file))
            }
        };
        Ok(Config {
            listen: self.listen,
            store,
            cluster: self.cluster,
            warm_up: self.warm_up,
            autoclean: self.autoclean()?,
            pyro: self.pyro()?,
            http: self.http,
            names_max: self.max_names,
            leases_max: self.max_leases,
            connections_max: self.max_connections,
        })
    }
}

impl Flags {
    fn pyro(&self) -> Result<PyroConfig, BadFlags> {
        if let Some(discovery) = self.discovery
            && self.listen.ip().to_canonical().is_loopback()
            && self.advertise.is_none()
        {
            return Err(BadFlags::Discovery(discovery, self.listen));
        }
        let room = crate::pyro::discovery::ANSWER_MAX - "PYRO:Pyro.NameServer@[]:65535".len();
        if let Some(host) = &self.advertise {
            let good = host.parse::<std::net::IpAddr>().is_ok()
                || format!("{host}:1").parse::<common::names::Address>().is_ok();
            if !good || host.len() > room {
                return Err(BadFlags::Advertise(host.clone(), room));
            }
        }
        let file = self.pyro4_hmac_key_file.clone().map(PyroSecret::File);
        let text = self.pyro4_hmac_key.clone().filter(|key| !key.is_empty()).map(PyroSecret::Text);
        Ok(PyroConfig {
            mode: self.pyro,
            advertise: self.advertise.clone(),
            discovery: self.discovery,
            secret: file.or(text),
        })
    }

    fn autoclean(&self) -> Result<Autoclean, BadFlags> {
        let period = match (self.autoclean.as_deref(), self.pyro_autoclean) {
            (None | Some(""), None) => return Ok(Autoclean::Careful(Autoclean::PERIOD)),
            (Some("off"), _) | (None | Some(""), Some(0.0)) => return Ok(Autoclean::Off),
            (None | Some(""), Some(seconds)) => {
                Duration::try_from_secs_f64(seconds).map_err(|_| seconds.to_string())
            }
            (Some(text), _) => duration(text).map_err(|_| text.to_owned()),
        };
        match period {
            Ok(period) if period >= Autoclean::PERIOD_MIN => Ok(Autoclean::All(period)),
            Ok(period) => Err(BadFlags::Autoclean(format!("{period:?}"))),
            Err(text) => Err(BadFlags::Autoclean(text)),
        }
    }
}

/// The user's state directory: `$XDG_STATE_HOME/just-hungry`, else `~/.local/state/just-hungry`.
pub fn state_directory() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(base.join("just-hungry"))
}

/// `off`, or where.
fn http_at(text: &str) -> Result<Option<SocketAddr>, &'static str> {
    match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "an address like 127.0.0.1:9091, or off"),
    }
}

/// Reads `300ms`, `5s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 =
        number.parse().map_err(|_| "a duration is a number and a unit: 300ms, 5s, 2m".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_mins(number.into())),
        _ => Err("a duration is a number and a unit: 300ms, 5s, 2m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(arguments: &[&str]) -> Result<Config, BadFlags> {
        let flags = Flags::try_parse_from(["nameserver"].iter().chain(arguments)).unwrap();
        flags.check(Some("/state".into()))
    }

    #[test]
    fn the_store_follows_the_port_unless_it_is_named() {
        let store = |arguments: &[&str]| checked(arguments).unwrap().store;
        assert_eq!(store(&["-l", "127.0.0.1:9090"]), StorePlace::File("/state/nameserver.redb".into()));
        assert_eq!(store(&["-l", "127.0.0.1:9091"]), StorePlace::File("/state/nameserver-9091.redb".into()));
        assert_eq!(store(&["-l", "127.0.0.1:0"]), StorePlace::Memory);
        assert_eq!(store(&["-l", "127.0.0.1:0", "--store", "x.redb"]), StorePlace::File("x.redb".into()));
        assert_eq!(store(&["--store", "memory"]), StorePlace::Memory);
        let etcd = checked(&["--store", "etcd://h/p"]);
        assert_eq!(etcd, Err(BadFlags::Store("etcd://h/p".into())));
    }

    #[test]
    fn an_address_for_everybody_must_be_meant() {
        let address = "0.0.0.0:9090".parse().unwrap();
        assert_eq!(checked(&["-l", "0.0.0.0:9090"]), Err(BadFlags::InsecureBind(address)));
        assert!(checked(&["-l", "0.0.0.0:9090", "--insecure-bind"]).is_ok());
        assert!(checked(&["-l", "[::1]:9090"]).is_ok());
        assert_eq!(checked(&["--http", "0.0.0.0:9090"]), Err(BadFlags::InsecureBind(address)));
    }

    #[test]
    fn pages_are_off_unless_they_have_an_address() {
        let http = |arguments: &[&str]| checked(arguments).unwrap().http;
        assert_eq!(http(&[]), None);
        assert_eq!(http(&["--http", "off"]), None);
        assert_eq!(http(&["--http", "127.0.0.1:0"]), Some("127.0.0.1:0".parse().unwrap()));
    }

    #[test]
    fn names_without_a_lease_are_cleaned_carefully_unless_a_period_is_given() {
        let autoclean = |arguments: &[&str]| checked(arguments).map(|config| config.autoclean);
        assert_eq!(autoclean(&[]), Ok(Autoclean::Careful(Duration::from_secs(20))));
        assert_eq!(autoclean(&["--autoclean", "off"]), Ok(Autoclean::Off));
        assert_eq!(autoclean(&["--autoclean", "1s"]), Ok(Autoclean::All(Duration::from_secs(1))));
        assert_eq!(autoclean(&["--pyro-autoclean", "2.5"]), Ok(Autoclean::All(Duration::from_millis(2_500))));
        assert_eq!(autoclean(&["--pyro-autoclean", "0.0"]), Ok(Autoclean::Off));
        for bad in [["--autoclean", "999ms"], ["--autoclean", "soon"], ["--pyro-autoclean", "0.5"]] {
            assert!(autoclean(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("10").is_err());
        assert!(duration("-1s").is_err());
    }
}

//! What a person may ask of a replica: flags, environment, defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use common::names::{Address, LogicalName};
use common::rpc::limits;
use common::telemetry;

/// Hosts one member of each replicated service.
///
/// Examples:
///   replica 1 --first            the first replica of a new cluster
///   replica 2                    one more, on the same machine
///   replica 3 -n 10.0.0.7:9090   one more, told where the name server is
#[derive(Clone, Debug, Parser)]
#[command(name = "replica", version, verbatim_doc_comment, max_term_width = 100)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Config {
    /// Which replica: a number N registers `replica.N`; a name such as `replica.west` is taken as it is
    #[arg(value_name = "N", value_parser = replica_name, required_unless_present = "show_limits")]
    pub name: Option<LogicalName>,

    /// The name servers, tried in turn [else `PYRO_NS_HOST` and `PYRO_NS_PORT`, else 127.0.0.1:9090]
    #[arg(short, long, value_name = "HOST:PORT[,…]", value_delimiter = ',', env = "NAME_SERVER")]
    pub name_server: Vec<Address>,

    /// Where to listen; port 0 takes a free one
    #[arg(short, long, value_name = "ADDR", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))]
    pub listen: SocketAddr,

    /// Where its data are [default: replica.N in the state directory]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Keep everything in memory: what it acknowledges dies with it
    #[arg(long, conflicts_with = "data_dir")]
    pub ephemeral: bool,

    /// Create the groups that do not exist yet; harmless at any later start
    #[arg(long)]
    pub first: bool,

    /// The data directory is a restored copy: take no part before an operator adopts the group or forces its election
    #[arg(long, conflicts_with_all = ["ephemeral", "first"])]
    pub restored: bool,

    /// What a group that it creates begins with [default: demo]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub start: Option<Start>,

    /// The catalogue of a group that it creates: `name,price,stock`, one product a line
    #[arg(long, value_name = "FILE.csv")]
    pub menu: Option<PathBuf>,

    /// How many replicas must be in sync for an answer, in a group that it creates [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=7))]
    pub min_in_sync: Option<u8>,

    /// Between two rounds of gossip, more or less
    #[arg(long, value_name = "D", default_value = "200ms", value_parser = gossip_interval)]
    pub gossip_interval: Duration,

    /// On how many disks a rating is before it is answered
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    pub ack_after: u8,

    /// Of the calls about ratings, which part is refused as if it were overloaded, for teaching: 0 to 1
    #[arg(long, value_name = "R", default_value = "0", value_parser = rate)]
    pub overload_rate: u32,

    /// What the draws of which calls to refuse begin with [default: drawn itself]
    #[arg(long, value_name = "N")]
    pub overload_seed: Option<u64>,

    /// How long its name outlives it: 100ms to 24h
    #[arg(long, value_name = "D", env = "LEASE_TTL", default_value = "3s", value_parser = ttl)]
    pub ttl: Duration,

    /// Where to show /healthz, /readyz and /metrics over HTTP; port 0 takes a free one
    #[arg(long, value_name = "ADDR|off", default_value = "off", value_parser = http_at)]
    pub http: std::option::Option<SocketAddr>,

    /// Connections at most
    #[arg(long, value_name = "N", default_value_t = limits::CONNECTIONS_MAX)]
    pub max_connections: usize,

    /// Which log lines are written
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = telemetry::DEFAULT_FILTER)]
    pub log: String,

    /// How log lines look
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Listen outside loopback although anybody there may then read and change everything
    #[arg(long)]
    pub insecure_bind: bool,

    /// Print the limits and exit
    #[arg(long)]
    pub show_limits: bool,
}

/// What a new group begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// A catalogue, sample orders, twenty films.
    Demo,
    /// Nothing.
    Empty,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

impl From<LogFormat> for telemetry::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

impl Config {
    /// Checks what no single flag can know.
    ///
    /// # Errors
    /// A sentence, and what to try.
    pub fn check(&self) -> Result<(), String> {
        let open = [("--listen", Some(self.listen)), ("--http", self.http)]
            .into_iter()
            .filter_map(|(flag, address)| Some((flag, address?)))
            .find(|(_, address)| !address.ip().is_loopback());
        match open {
            Some((flag, address)) if !self.insecure_bind => Err(format!(
                "{address} can be reached from outside this machine, and nothing here asks who calls\n  \
                 try: {flag} 127.0.0.1:{}    or, in a network you trust, --insecure-bind",
                address.port()
            )),
            _ => Ok(()),
        }
    }

    /// The flags among those given that count only when a group is created.
    pub fn creation_flags(&self) -> Vec<&'static str> {
        let given = [
            ("--start", self.start.is_some()),
            ("--menu", self.menu.is_some()),
            ("--min-in-sync", self.min_in_sync.is_some()),
        ];
        given.into_iter().filter_map(|(flag, given)| given.then_some(flag)).collect()
    }

    /// Where the data are: the flag's, else `name` in the user's state directory.
    ///
    /// # Errors
    /// A sentence, when the environment names no such directory.
    pub fn data_dir(&self, name: &LogicalName) -> Result<PathBuf, String> {
        if let Some(dir) = &self.data_dir {
            return Ok(dir.clone());
        }
        let absolute =
            |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        let state =
            state.ok_or("neither XDG_STATE_HOME nor HOME names a directory\n  try: --data-dir DIR")?;
        Ok(state.join("just-hungry").join(name.as_str()))
    }
}

fn replica_name(text: &str) -> Result<LogicalName, String> {
    let name = if text.starts_with("replica.") { text.to_owned() } else { format!("replica.{text}") };
    name.parse().map_err(|error| format!("{error}"))
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text).ok_or("not a duration like 300ms, 5s or 2m")?;
    let allowed = Duration::from_millis(100)..=Duration::from_hours(24);
    if allowed.contains(&ttl) { Ok(ttl) } else { Err("a lease lives 100ms to 24h".to_owned()) }
}

/// `off`, or where.
fn http_at(text: &str) -> Result<Option<SocketAddr>, &'static str> {
    match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "an address like 127.0.0.1:9101, or off"),
    }
}

fn gossip_interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text).ok_or("not a duration like 300ms, 5s or 2m")?;
    let allowed = Duration::from_millis(10)..=Duration::from_mins(1);
    if allowed.contains(&interval) { Ok(interval) } else { Err("10ms to 1m".to_owned()) }
}

/// In millionths.
fn rate(text: &str) -> Result<u32, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number like 0.2".to_owned())?;
    if !(0.0..=1.0).contains(&rate) {
        return Err("0 to 1".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to a million")]
    Ok((rate * 1e6).round() as u32)
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..digits].parse().ok()?;
    let millis: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Config, clap::Error> {
        Config::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn a_number_is_a_name_and_a_name_is_taken_as_it_is() {
        let name = |line| parse(line).unwrap().name.unwrap().to_string();
        assert_eq!(name("replica 1"), "replica.1");
        assert_eq!(name("replica replica.west"), "replica.west");
        assert!(parse("replica West").is_err());
        assert!(parse("replica").is_err());
    }

    #[test]
    fn a_lease_lives_100_ms_to_24_h() {
        assert_eq!(parse("replica 1 --ttl 100ms").unwrap().ttl, Duration::from_millis(100));
        assert_eq!(parse("replica 1 --ttl 24h").unwrap().ttl, Duration::from_hours(24));
        for bad in ["99ms", "25h", "3", "s", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(parse(&format!("replica 1 --ttl={bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bind_outside_loopback_has_to_be_asked_for() {
        assert!(parse("replica 1 -l 0.0.0.0:0").unwrap().check().is_err());
        assert_eq!(parse("replica 1 -l 0.0.0.0:0 --insecure-bind").unwrap().check(), Ok(()));
        assert_eq!(parse("replica 1 -l [::1]:0").unwrap().check(), Ok(()));
        assert!(parse("replica 1 --http 0.0.0.0:9101").unwrap().check().is_err());
        assert_eq!(parse("replica 1 --http 127.0.0.1:9101").unwrap().check(), Ok(()));
        assert_eq!(parse("replica 1").unwrap().http, None);
        assert!(parse("replica 1 --http on").is_err());
    }

    #[test]
    fn only_the_flags_that_were_given_can_be_ignored() {
        let flags = |line| parse(line).unwrap().creation_flags();
        assert!(flags("replica 1 --first").is_empty());
        assert_eq!(flags("replica 1 --start demo --min-in-sync 1"), ["--start", "--min-in-sync"]);
        assert_eq!(flags("replica 1 --menu menu.csv"), ["--menu"]);
    }

    #[test]
    fn what_concerns_gossip_is_checked() {
        let config = parse("replica 1 --gossip-interval 50ms --ack-after 2 --overload-rate 0.2").unwrap();
        let got = (config.gossip_interval, config.ack_after, config.overload_rate);
        assert_eq!(got, (Duration::from_millis(50), 2, 200_000));
        for bad in ["--gossip-interval 1ms", "--ack-after 0", "--overload-rate 1.1", "--overload-rate nan"] {
            assert!(parse(&format!("replica 1 {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_and_a_directory_exclude_each_other() {
        assert!(parse("replica 1 --ephemeral --data-dir /tmp/x").is_err());
    }
}

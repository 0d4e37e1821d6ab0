//! The front end's flags and defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use common::names::Address;
use common::rpc::limits::FRONTEND;
use common::telemetry::{DEFAULT_FILTER, LogFormat};

use crate::outside::Policy;

/// Takes in clients' calls and finds the replica for each.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "frontend",
    version,
    after_help = "Examples:\n  frontend\n  frontend --name-server 10.0.0.5:9090 --http off\n  frontend --strict-postcode"
)]
pub struct Config {
    /// Name servers, the first that answers counts [default: `PYRO_NS_HOST` and `PYRO_NS_PORT`, else 127.0.0.1:9090]
    #[arg(short, long, env = "NAME_SERVER", value_name = "HOST:PORT", value_delimiter = ',')]
    pub name_server: Vec<Address>,

    /// Where clients are served; port 0: any free one
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Where /healthz and /readyz are, or `off` [default: 127.0.0.1:8080, or a free port when that one is taken]
    #[arg(long, value_name = "ADDR|off")]
    pub http: Option<HttpAt>,

    /// Refuse orders to postcodes that nobody could confirm
    #[arg(long)]
    pub strict_postcode: bool,

    /// How long our name outlives us when we die, 100ms to 24h
    #[arg(long, env = "LEASE_TTL", value_name = "TIME", default_value = "3s", value_parser = ttl)]
    pub ttl: Duration,

    /// Connections at most
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub max_connections: usize,

    /// What to log, as a filter
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", default_value = DEFAULT_FILTER)]
    pub log: String,

    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: Format,

    /// Allow addresses that other machines reach, although nothing is encrypted
    #[arg(long)]
    pub insecure_bind: bool,

    /// Print how much of anything a connection may take, and end
    #[arg(long)]
    pub show_limits: bool,
}

/// Where the web pages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpAt {
    /// There.
    Address(SocketAddr),
    /// Nowhere.
    Off,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For a person.
    Text,
    /// One object a line.
    Json,
}

/// Why the flags cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// Nothing protects what goes over the wire.
    #[error(
        "{address} can be reached from other machines, and nothing is encrypted\n  try: 127.0.0.1, or --insecure-bind as well"
    )]
    OpenBind {
        /// The address.
        address: SocketAddr,
    },
}

/// Where the web pages are when nobody says where.
const HTTP_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Config {
    /// Checks what one flag cannot know of another.
    ///
    /// # Errors
    /// [`BadConfig`], with what to do instead.
    pub fn checked(self) -> Result<Self, BadConfig> {
        let http = match self.http {
            Some(HttpAt::Address(address)) => Some(address),
            Some(HttpAt::Off) | None => None,
        };
        let open =
            [Some(self.listen), http].into_iter().flatten().find(|address| !address.ip().is_loopback());
        match open {
            Some(address) if !self.insecure_bind => Err(BadConfig::OpenBind { address }),
            _ => Ok(self),
        }
    }

    /// The addresses to try for the web pages, in order; none when they are off. Only the default gives way to a
    /// free port: who names an address wants that one.
    pub fn http_addresses(&self) -> Vec<SocketAddr> {
        match self.http {
            None => vec![HTTP_DEFAULT, SocketAddr::new(HTTP_DEFAULT.ip(), 0)],
            Some(HttpAt::Address(address)) => vec![address],
            Some(HttpAt::Off) => vec![],
        }
    }

    /// What to think of an unconfirmed postcode.
    pub fn policy(&self) -> Policy {
        if self.strict_postcode { Policy::Strict } else { Policy::Lenient }
    }

    /// The text of `--show-limits`.
    pub fn limits(&self) -> String {
        let limits = FRONTEND.limits;
        format!(
            "connections          {}\nrequest frame        {} bytes\nanswer frame         {} bytes\n\
             calls per connection {}\ndeadline             {:?}\n",
            self.max_connections, limits.frame_in, limits.frame_out, limits.in_flight, limits.deadline_max,
        )
    }
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

impl FromStr for HttpAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::Address)
            .map_err(|_| "an address like 127.0.0.1:8080, or off, please".to_owned())
    }
}

/// Reads a lease's time-to-live: a number and `ms`, `s`, `m` or `h`.
fn ttl(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let time =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)).map(Duration::from_millis);
    time.filter(|time| (TTL_MIN..=TTL_MAX).contains(time))
        .ok_or_else(|| "a time from 100ms to 24h, like 300ms, 3s or 2m, please".to_owned())
}

/// What the name server grants.
const TTL_MIN: Duration = Duration::from_millis(100);
const TTL_MAX: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[&str]) -> Config {
        Config::try_parse_from(std::iter::once(&"frontend").chain(flags)).unwrap()
    }

    #[test]
    fn the_flags_are_a_sound_grammar() {
        use clap::CommandFactory as _;
        Config::command().debug_assert();
    }

    #[test]
    fn only_the_default_page_gives_way_to_a_free_port() {
        assert_eq!(config(&[]).http_addresses().len(), 2);
        assert_eq!(config(&["--http", "127.0.0.1:8080"]).http_addresses(), [HTTP_DEFAULT]);
        assert!(config(&["--http", "off"]).http_addresses().is_empty());
    }

    #[test]
    fn an_open_bind_needs_a_word() {
        let open = BadConfig::OpenBind { address: "0.0.0.0:1".parse().unwrap() };
        assert_eq!(config(&["-l", "0.0.0.0:1"]).checked().unwrap_err(), open);
        assert_eq!(config(&["--http", "0.0.0.0:1"]).checked().unwrap_err(), open);
        assert!(config(&["-l", "0.0.0.0:1", "--insecure-bind"]).checked().is_ok());
        assert!(config(&["-l", "[::1]:0"]).checked().is_ok());
    }

    #[test]
    fn a_ttl_has_a_unit_and_bounds() {
        assert_eq!(ttl("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(ttl("2m"), Ok(Duration::from_mins(2)));
        for text in
            ["", "3", "s", "99ms", "25h", "-3s", "1.5s", "99999999999999999999h", "18446744073709551615h"]
        {
            assert!(ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn several_name_servers_are_one_list() {
        let servers = config(&["-n", "127.0.0.1:1,shop.example:2"]).name_server;
        assert_eq!(servers.len(), 2);
    }
}

//! The front end's flags and defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use common::names::Address;
use common::rpc::limits::FRONTEND;
use common::telemetry::{DEFAULT_FILTER, LogFormat};
use url::Url;

use crate::outside::Policy;
use crate::outside::web::is_this_machine;

/// Takes in clients' calls and finds the replica for each.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "frontend",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  frontend\n  frontend --name-server 10.0.0.5:9090 --http off\n  frontend --postcodes offline --postcode-data postcodes.bitmap.bin\n  frontend postcode-data build codepo_gb/"
)]
pub struct Config {
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Name servers, the first that answers counts [default: `PYRO_NS_HOST` and `PYRO_NS_PORT`, else 127.0.0.1:9090]
    #[arg(short, long, env = "NAME_SERVER", value_name = "HOST:PORT", value_delimiter = ',')]
    pub name_server: Vec<Address>,

    /// Where clients are served; port 0: any free one
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Where the web pages are, with /healthz, /readyz and /metrics, or `off` [default: 127.0.0.1:8080, or a free port
    /// when that one is taken]
    #[arg(long, value_name = "ADDR|off")]
    pub http: Option<HttpAt>,

    /// Whether postcodes are looked up in the web, or only in our own data
    #[arg(long, env = "POSTCODES", value_name = "WHERE", default_value = "auto")]
    pub postcodes: Postcodes,

    /// Postcode data, from `frontend postcode-data build` [default: postcodes.bitmap.bin in the state directory, when it
    /// is there]
    #[arg(long, env = "POSTCODE_DATA", value_name = "FILE")]
    pub postcode_data: Option<PathBuf>,

    /// Refuse orders to postcodes that nobody could confirm
    #[arg(long)]
    pub strict_postcode: bool,

    /// The web service that is asked about postcodes first
    #[arg(long, value_name = "URL", default_value = "https://api.postcodes.io")]
    pub postcodes_url: ServiceUrl,

    /// The web service that is asked when the first is away
    #[arg(long, value_name = "URL", default_value = "https://api.getthedata.com")]
    pub getthedata_url: ServiceUrl,

    /// The web service that is asked about films; the key to it is taken from the environment: `OMDB_API_KEY`
    #[arg(long, value_name = "URL", default_value = "https://www.omdbapi.com")]
    pub omdb_url: ServiceUrl,

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

/// What a front end's program does when it does not serve.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Postcode data: which postcodes of Great Britain are in use, for checks without any network
    #[command(subcommand)]
    PostcodeData(PostcodeData),
}

/// What is done with postcode data.
#[derive(Clone, Debug, Subcommand)]
pub enum PostcodeData {
    /// Make them of the CSV files of Code-Point Open, which the Ordnance Survey gives away
    Build {
        /// Where the files are: the directory that Code-Point Open was unpacked into, or its Data/CSV
        dir: PathBuf,
        /// Where to write [default: postcodes.bitmap.bin in the state directory, where a front end looks for it]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Where postcodes are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Postcodes {
    /// postcodes.io, else getthedata.com, else our own data.
    Auto,
    /// Our own data.
    Offline,
}

/// The address of a web service: https, or http to this very machine, so that nobody on the way reads or answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl(Url);

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

/// Where the postcode data are when nobody says where, in the state directory.
const POSTCODE_DATA: &str = "postcodes.bitmap.bin";

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

    /// The file of postcode data: the flag's, which must be there, else the default's, when it is.
    pub fn postcode_data(&self) -> Option<PathBuf> {
        self.postcode_data.clone().or_else(|| postcode_data_default().filter(|path| path.exists()))
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

/// Where a front end looks for postcode data; `None`, when the environment names no state directory.
pub fn postcode_data_default() -> Option<PathBuf> {
    let absolute =
        |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("just-hungry").join(POSTCODE_DATA))
}

impl Postcodes {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Offline => "offline",
        }
    }
}

impl ServiceUrl {
    /// As it is asked.
    pub const fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for ServiceUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "an address like https://api.postcodes.io, please")?;
        let safe = url.scheme() == "https" || (url.scheme() == "http" && is_this_machine(&url));
        if !safe {
            return Err("https, or http to this machine, please: others could answer in its place");
        }
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.query().is_some() || url.fragment().is_some() {
            return Err("an address without user, password, ? and #, please");
        }
        Ok(Self(url))
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
    fn a_web_service_is_asked_over_https_or_on_this_machine() {
        for good in
            ["https://api.postcodes.io", "http://127.0.0.1:8089", "http://[::1]:1/x/", "http://localhost:1"]
        {
            assert!(good.parse::<ServiceUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "api.postcodes.io",
            "http://api.postcodes.io",
            "http://10.0.0.1:8089",
            "http://localhost.example/",
            "file:///etc/passwd",
            "https://user:word@api.postcodes.io",
            "https://api.postcodes.io/?x=1",
            "https://api.postcodes.io/#x",
        ] {
            assert!(bad.parse::<ServiceUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn data_are_built_by_a_command_that_takes_no_flags_of_a_server() {
        assert!(matches!(
            config(&["postcode-data", "build", "codepo_gb", "-o", "x"]).command,
            Some(Command::PostcodeData(PostcodeData::Build { output: Some(_), .. }))
        ));
        assert!(
            Config::try_parse_from(["frontend", "--http", "off", "postcode-data", "build", "x"]).is_err()
        );
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

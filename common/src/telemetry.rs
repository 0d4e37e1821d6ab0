//! How our processes log: one filter, one format, one list of field names.
//!
//! **Field names**, so that one `grep` follows one thing through all processes: `name`, `address`, `peer`,
//! `instance`, `cluster`, `service`, `group`, `replica`, `role`, `trouble`, `epoch`, `index`, `version`, `request`,
//! `lease`, `in_sync`, `waited`, `error`, `path`, `api`, `outcode`. A message is constant and in lower case; what varies is a
//! field.

use std::net::SocketAddr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Roles and membership; no line per call, which a hostile caller could fill the disk with.
pub const DEFAULT_FILTER: &str = "info";

/// Between two reminders that anybody can call.
const WARN_EVERY: Duration = Duration::from_hours(1);

/// Warns, now and every hour, when `address` can be reached from other machines: nothing is encrypted there.
pub async fn warn_of_open_port(address: SocketAddr) {
    while !address.ip().to_canonical().is_loopback() {
        tracing::warn!(%address, "anybody who reaches this address may read and change everything");
        tokio::time::sleep(WARN_EVERY).await;
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error.
///
/// # Errors
/// A sentence, when `filter` is not a filter or logging was started before.
pub fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| format!("not a log filter: {filter:?} ({error})"))?;
    // Not a terminal: no colour, so that a log file stays text.
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    match format {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => builder.json().finish().try_init(),
    }
    .map_err(|error| error.to_string())
}

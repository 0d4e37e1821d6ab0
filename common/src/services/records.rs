//! Snapshots: a byte that tells the format, then records one after the other.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RestoreError;

/// Ten times the largest record, a basket of fifty long names: foreign bytes that lie about a length are refused
/// before memory is taken for it.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// A snapshot of this format.
pub(super) fn write(format: u8, state: &impl Serialize) -> Bytes {
    let mut bytes = vec![format];
    bincode::serde::encode_into_std_write(state, &mut bytes, bincode::config::standard())
        .expect("plain data always encodes into memory");
    bytes.into()
}

/// What follows the format, which must be this one.
pub(super) fn body(format: u8, snapshot: &[u8]) -> Result<&[u8], RestoreError> {
    match snapshot.split_first() {
        None => Err(damaged("no bytes")),
        Some((found, body)) if *found == format => Ok(body),
        Some((found, _)) => Err(damaged(&format!("written in format {found}, this program reads {format}"))),
    }
}

/// Reads one record off the front.
pub(super) fn take<T: DeserializeOwned>(rest: &mut &[u8]) -> Result<T, RestoreError> {
    let config = bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();
    let (record, length) =
        bincode::serde::decode_from_slice(rest, config).map_err(|error| damaged(&error.to_string()))?;
    *rest = &rest[length..];
    Ok(record)
}

/// Bytes that are no snapshot, and why.
pub(super) fn damaged(why: &str) -> RestoreError {
    RestoreError { why: why.into() }
}

//! Real processes under random trouble, short: the long runs are `faults` (tests/src/bin/faults.rs).

use std::time::Duration;

use anyhow::Result;
use cluster_tests::trouble::{Setting, suffer, zombies};

/// As the binary's, in a few seconds: everything that can go wrong happens once.
const SHORT: Duration = Duration::from_secs(8);

#[test]
fn nothing_is_lost_doubled_or_stale_while_everything_goes_wrong_once() -> Result<()> {
    let setting = Setting::usual(1, SHORT, 11);
    let report = suffer(&setting)?;
    assert!(report.anomalies.is_empty(), "again: faults random 8 1 11\n{report}");
    report.counts(&setting)
}

#[test]
fn a_primary_that_sleeps_past_every_time_limit_acknowledges_nothing_and_shows_nothing_old() -> Result<()> {
    let report = zombies(1, 3, None)?;
    assert!(report.anomalies.is_empty(), "again: faults zombies 3 1\n{report}");
    assert!(report.epoch > 3, "not everybody was deposed: {report}");
    Ok(())
}

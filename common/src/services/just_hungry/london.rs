//! The day in London.

use std::sync::LazyLock;

use jiff::ToSpan;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::clock::Timestamp;

/// Where the riders live. The rules are compiled in, so that every machine tells the same midnight.
pub fn zone() -> TimeZone {
    static LONDON: LazyLock<TimeZone> = LazyLock::new(|| {
        TimeZoneDatabase::bundled().get("Europe/London").expect("London is in the bundled database")
    });
    LONDON.clone()
}

/// The start of the day in London that begins `days` midnights after `time`; `time` itself past the calendar's end.
pub fn midnight_after(time: Timestamp, days: i64) -> Timestamp {
    let midnight = || {
        let instant = jiff::Timestamp::from_millisecond(i64::try_from(time.millis()).ok()?).ok()?;
        let day = instant.to_zoned(zone()).date().checked_add(days.days()).ok()?;
        let start = day.to_zoned(zone()).ok()?.timestamp().as_millisecond();
        u64::try_from(start).ok().map(Timestamp::from_millis)
    };
    midnight().unwrap_or(time)
}

/// A time as it is said in London at `now`: `23:59 today`, `12:04 on 2026-01-01`.
pub fn in_words(time: Timestamp, now: Timestamp) -> String {
    let zoned = |time: Timestamp| {
        let instant = jiff::Timestamp::from_millisecond(i64::try_from(time.millis()).ok()?).ok()?;
        Some(instant.to_zoned(zone()))
    };
    let (Some(then), Some(now)) = (zoned(time), zoned(now)) else { return time.to_string() };
    let clock = then.strftime("%H:%M");
    let day = then.date();
    match () {
        () if day == now.date() => format!("{clock} today"),
        () if Some(day) == now.date().tomorrow().ok() => format!("{clock} tomorrow"),
        () if Some(day) == now.date().yesterday().ok() => format!("{clock} yesterday"),
        () => format!("{clock} on {day}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_millis(time.as_millisecond().try_into().unwrap())
    }

    #[test]
    fn midnight_is_londons_in_winter_in_summer_and_across_the_change() {
        for (placed, next, after) in [
            ("2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
            // Half past midnight of the second of July in London.
            ("2026-07-01T23:30:00Z", "2026-07-02T23:00:00Z", "2026-07-03T23:00:00Z"),
            // The clocks go forward on the 29th of March, back on the 25th of October.
            ("2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-29T23:00:00Z"),
            ("2026-10-24T22:59:59Z", "2026-10-24T23:00:00Z", "2026-10-26T00:00:00Z"),
            // A midnight's own order has a whole day.
            ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
        ] {
            assert_eq!(midnight_after(at(placed), 1), at(next), "{placed}");
            assert_eq!(midnight_after(at(placed), 2), at(after), "{placed}");
        }
    }

    #[test]
    fn the_end_of_the_calendar_has_no_midnight_after_it() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(midnight_after(end, 1), end);
    }
}

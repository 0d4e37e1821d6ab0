//! The real web services, once, by hand: `cargo test -p cluster-tests --test live -- --ignored`. No other test asks them.

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster_tests::shop::run;
use common::clock::Timestamp;
use common::services::just_hungry::command::Source;
use frontend::outside::postcodes::Postcodes;
use frontend::outside::web::Http;

const POSTCODES_IO: &str = "https://api.postcodes.io";
const GETTHEDATA: &str = "https://api.getthedata.com";
/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:9";

fn ask(first: &str, second: &str, code: &str) -> Result<(&'static str, Source)> {
    run(async {
        let postcodes = Postcodes::asking(Http::default(), first.parse()?, second.parse()?, None);
        let found = postcodes.check(code.parse()?, Timestamp::default(), Duration::from_secs(4)).await;
        println!("{code} at {first}: {}", found.sentence());
        Ok((found.answer(), found.source))
    })
}

#[test]
#[ignore = "asks the real web services"]
fn the_real_services_still_answer_as_we_read_them() -> Result<()> {
    for (first, second, code, answer, source) in [
        (POSTCODES_IO, NOBODY, "DH1 3LE", "valid", Source::PostcodesIo),
        (POSTCODES_IO, NOBODY, "DH1 9ZZ", "unknown", Source::PostcodesIo),
        (POSTCODES_IO, NOBODY, "AB1 0AA", "retired", Source::PostcodesIo),
        (NOBODY, GETTHEDATA, "SW1A 1AA", "valid", Source::GetTheData),
        (NOBODY, GETTHEDATA, "DH1 9ZZ", "unconfirmed", Source::Unconfirmed),
    ] {
        let found = ask(first, second, code)?;
        ensure!(found == (answer, source), "{code} at {first} and {second}: {found:?}");
    }
    Ok(())
}

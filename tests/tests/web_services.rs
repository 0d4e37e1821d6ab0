//! The web services that postcodes are looked up at, on the real wire: whatever they do, an order's fate is what the
//! policy says, and nobody waits but who asked. Limits of time are tested in virtual time, beside the code.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use client::just_hungry::{JustHungry, NewDetails, Order};
use cluster_tests::cluster::{Cluster, Options, Place};
use cluster_tests::fake_apis::{Api, FakeApis, Fault};
use cluster_tests::process::PATIENCE;
use cluster_tests::shop::{names, run, service};
use common::clock::{Clock, Timestamp};
use common::services::just_hungry::command::{Item, Lines, Source};
use common::services::postcode::Postcode;
use frontend::outside::postcodes::Postcodes;
use frontend::outside::web::Http;
use futures::future::try_join_all;
use serde_json::Value;

/// A front end's postcodes, looked up at `apis`.
fn postcodes(apis: &FakeApis) -> Result<Postcodes<Http>> {
    let url = |api| apis.url(api).parse();
    Ok(Postcodes::asking(Http::default(), url(Api::Postcodes)?, url(Api::GetTheData)?, None))
}

fn code(text: &str) -> Postcode {
    text.parse().expect("a postcode")
}

/// A cluster whose front end asks at `apis`.
fn cluster(apis: &FakeApis, more: &[&str]) -> Result<Cluster> {
    let options = Options { replicas: 1, ..Options::default() };
    Cluster::start_in(options, |name| {
        let mut place = Place::default();
        if name.starts_with("frontend") {
            place.args = apis.flags();
            place.args.extend(more.iter().map(|&arg| arg.to_owned()));
        }
        place
    })
}

/// `order place` of a burger to this postcode.
fn place(cluster: &Cluster, postcode: &str) -> Result<Result<Value, Value>> {
    let words = ["--json", "order", "place", "-u", "ann", "--item", "burger", "--postcode", postcode];
    let output = cluster.client(&words)?;
    if output.status.success() {
        return Ok(Ok(serde_json::from_slice(&output.stdout)?));
    }
    let said = String::from_utf8(output.stderr)?;
    let last = said.lines().last().context("a failure says why")?;
    Ok(Err(serde_json::from_str::<Value>(last)?["error"].take()))
}

#[test]
fn whatever_one_service_does_the_other_answers_and_whatever_both_do_nobody_confirms() -> Result<()> {
    let cases = [Api::Postcodes, Api::GetTheData]
        .into_iter()
        .flat_map(|api| Fault::EACH.into_iter().map(move |fault| Ok((api, fault, FakeApis::anywhere()?))));
    let cases: Vec<_> = cases.collect::<Result<_>>()?;
    let one = async |(api, fault, apis): &(Api, Fault, FakeApis)| -> Result<()> {
        let (api, fault) = (*api, *fault);
        let postcodes = postcodes(apis)?;
        let check =
            async |text| postcodes.check(code(text), Timestamp::default(), Duration::from_secs(4)).await;
        apis.fault(api, fault);
        let found = check("DH1 3LE").await;
        let expected = if api == Api::Postcodes { Source::GetTheData } else { Source::PostcodesIo };
        ensure!(found.source == expected, "{fault:?} at {api}: {found:?}");
        ensure!(!apis.calls().iter().any(|call| call.target.contains("M1%201AE")), "a redirect was followed");
        // One trouble is over: the next call works.
        apis.fault(api, Fault::None);
        ensure!(check("DH1 3LG").await.answer() == "valid", "after {fault:?} at {api}");

        let other = if api == Api::Postcodes { Api::GetTheData } else { Api::Postcodes };
        apis.fault(api, fault);
        apis.fault(other, Fault::Status(500));
        let found = check("M1 1AE").await;
        ensure!(found.answer() == "unconfirmed", "{fault:?} at {api}: {found:?}");
        Ok(())
    };
    run(async { try_join_all(cases.iter().map(one)).await.map(drop) })
}

#[test]
fn who_answered_is_shown_and_what_was_asked_is_one_segment() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let cluster = cluster(&apis, &[])?;
    let check = |codes: &[&str]| -> Result<(Option<i32>, Vec<String>)> {
        let output = cluster.client(&[&["--json", "postcode", "check"], codes].concat())?;
        let text = String::from_utf8(output.stdout)?;
        let shown = text.lines().map(|line| -> Result<String> {
            let row: Value = serde_json::from_str(line)?;
            let field = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            Ok(["postcode", "answer", "source", "town", "retired"].map(field).join(" | "))
        });
        Ok((output.status.code(), shown.collect::<Result<_>>()?))
    };
    let (exit, shown) = check(&["dh1-3le", "DH1 9ZZ", "AB1 0AA", "JE2 4WD", "nowhere", "BT35 8GE"])?;
    let expected = [
        "DH1 3LE | valid | postcodes.io | County Durham | -",
        "DH1 9ZZ | unknown | postcodes.io | - | -",
        "AB1 0AA | retired | postcodes.io | - | 1996-06",
        "JE2 4WD | valid | postcodes.io | - | -",
        "- | malformed | - | - | -",
        "BT35 8GE | unknown | postcodes.io | - | -",
    ];
    assert_eq!((exit, shown), (Some(4), expected.map(str::to_owned).into()));
    let asked: Vec<_> = apis.calls().into_iter().map(|call| call.target).collect();
    let mut segments = ["DH1%203LE", "DH1%209ZZ", "AB1%200AA", "JE2%204WD", "BT35%208GE"];
    segments.sort_unstable();
    let mut seen: Vec<_> = asked.iter().filter_map(|target| target.strip_prefix("/postcodes/")).collect();
    seen.sort_unstable();
    assert_eq!((seen.as_slice(), asked.len()), (&segments[..], 5), "{asked:?}");

    // Known from now on: nobody is asked again, whatever has become of the services.
    for api in Api::ALL {
        apis.fault(api, Fault::Refuse);
    }
    assert_eq!(check(&["DH1 3LE"])?.0, Some(0));
    assert!(apis.calls().is_empty());
    apis.fault(Api::GetTheData, Fault::None);
    let (exit, shown) = check(&["TW5 9RL", "AB1 0LB", "BT1 5GS"])?;
    let expected = [
        "TW5 9RL | valid | getthedata | - | -",
        "AB1 0LB | retired | getthedata | - | -",
        "BT1 5GS | unconfirmed | unconfirmed | - | -",
    ];
    assert_eq!((exit, shown), (Some(4), expected.map(str::to_owned).into()));
    Ok(())
}

#[test]
fn b07_check_unavailable_is_not_invalid() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    apis.fault(Api::Postcodes, Fault::Refuse);
    apis.fault(Api::GetTheData, Fault::Status(500));
    let lenient = cluster(&apis, &[])?;
    let order = place(&lenient, "DH1 3LE")?.map_err(|error| anyhow::anyhow!("{error}"))?;
    assert_eq!(order["postcode_check"], "unconfirmed");

    let strict = cluster(&apis, &["--strict-postcode"])?;
    assert_eq!(
        place(&strict, "DH1 3LE")?.map_err(|error| error["code"].clone()),
        Err("postcode_unconfirmed".into())
    );
    Ok(())
}

#[test]
fn without_root_certificates_nobody_confirms_and_orders_go_on() -> Result<()> {
    let options = Options { replicas: 1, ..Options::default() };
    let cluster = Cluster::start_in(options, |name| {
        let mut place = Place::default();
        if name.starts_with("frontend") {
            let words =
                "--postcodes auto --postcodes-url https://127.0.0.1:9 --getthedata-url https://127.0.0.1:9";
            place.args = words.split(' ').map(str::to_owned).collect();
            // And a proxy that is not there: this machine is asked without one.
            let nowhere = [
                ("SSL_CERT_FILE", "/no/such/file"),
                ("SSL_CERT_DIR", "/no/such/folder"),
                ("HTTPS_PROXY", "http://127.0.0.1:1"),
            ];
            place.around.environment =
                nowhere.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        }
        place
    })?;
    for _ in 0..3 {
        let order = place(&cluster, "DH1 3LE")?.map_err(|error| anyhow::anyhow!("{error}"))?;
        assert_eq!(order["postcode_check"], "unconfirmed");
    }
    let log = cluster.front_ends[0].log();
    assert_eq!(log.matches("a web service rests").count(), 2, "{log}");
    Ok(())
}

#[test]
fn a_no_is_the_end_of_an_order_and_a_town_goes_with_a_yes() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let cluster = cluster(&apis, &[])?;
    let order = place(&cluster, "dh13le")?.map_err(|error| anyhow::anyhow!("{error}"))?;
    assert_eq!((&order["postcode"], &order["postcode_check"]), (&"DH1 3LE".into(), &"postcodes.io".into()));
    for (postcode, refused) in
        [("DH1 9ZZ", "postcode_unknown"), ("AB1 0AA", "postcode_retired"), ("DH 11", "postcode_malformed")]
    {
        let error = place(&cluster, postcode)?.expect_err(postcode);
        assert_eq!(error["code"], refused, "{error}");
    }
    assert_eq!(cluster.json(&["order", "list", "-u", "ann"])?.len(), 1);
    Ok(())
}

#[test]
fn fault_postcode_in_url_escaped() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let cluster = cluster(&apis, &[])?;
    let long = "DH1 3LE".repeat(1_500);
    for malformed in
        ["../x", "?x=1", "#", "%2f", "DH1%203LE", "\u{202e}\u{202e}", "🍕", "DH1 3LE/../../x", &long]
    {
        let error = place(&cluster, malformed)?.expect_err(malformed);
        assert_eq!(error["code"], "postcode_malformed", "{malformed}");
    }
    assert!(apis.calls().is_empty(), "nobody is asked about what is no postcode");
    for (written, asked) in
        [("DH1/3LE", "DH1%203LE"), ("?dh13lg#", "DH1%203LG"), ("..M1\u{202e}1AE", "M1%201AE")]
    {
        place(&cluster, written)?.map_err(|error| anyhow::anyhow!("{error}"))?;
        let calls: Vec<_> = apis.calls().into_iter().map(|call| call.target).collect();
        assert_eq!(calls, [format!("/postcodes/{asked}")]);
    }
    Ok(())
}

#[test]
fn t08_logs_hold_no_characters_that_steer_a_terminal_and_no_whole_postcode() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let mut cluster = cluster(&apis, &["--log", "debug"])?;
    for api in [Api::Postcodes, Api::GetTheData] {
        apis.fault(api, Fault::Cut);
    }
    place(&cluster, "DH1 3LE")?.map_err(|error| anyhow::anyhow!("{error}"))?;
    apis.fault(Api::Postcodes, Fault::Html);
    place(&cluster, "M1 1AE")?.map_err(|error| anyhow::anyhow!("{error}"))?;
    for user in ["\u{1b}[31mred", "a\r\nINFO forged", "\u{202e}evil", "\u{9b}31m"] {
        let words = ["order", "place", "-u", user, "--item", user, "--postcode", user];
        assert!(!cluster.client(&words)?.status.success(), "{user:?}");
    }
    for process in cluster.processes() {
        let log = process.log();
        ensure!(!log.is_empty(), "{} logs nothing", process.name());
        let steers = |c: &char| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c);
        ensure!(!log.chars().any(|c| steers(&c)), "{}: {log:?}", process.name());
        ensure!(!log.contains("forged"), "{}: {log}", process.name());
        for part in ["3LE", "1AE"] {
            ensure!(!log.contains(part), "{}: {log}", process.name());
        }
    }
    Ok(())
}

#[test]
fn an_order_waits_for_a_hanging_service_at_the_door_and_nobody_waits_for_it() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let cluster = cluster(&apis, &[])?;
    for api in [Api::Postcodes, Api::GetTheData] {
        apis.fault(api, Fault::Hang);
    }
    let names = names(cluster.name_server.address());
    run(async {
        let burger = || Lines::Given(vec![Item { item: "Burger".to_owned(), qty: 1 }]);
        let (ann, bob) = (JustHungry::over(service(&names)), JustHungry::over(service(&names)));
        // Bob's details are checked while nobody answers, too; it is the one wait of this half minute.
        let details = NewDetails { postcode: Some("M1 1AE".to_owned()), ..NewDetails::default() };
        let verdict = bob.set_details("bob", details).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        ensure!(verdict.is_some_and(|verdict| !verdict.is_valid()), "nobody was there to confirm it");
        let clock = Clock::start();
        let flagged = Order { postcode: Some("DH1 3LE".to_owned()), ..Order::of("ann", burger()) };
        ann.place(flagged.clone()).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        ensure!(clock.now().since_origin() < PATIENCE, "an order waits with the service at rest");
        Ok(())
    })?;

    // A front end that has not learnt yet that they hang: one order is at its door, and others pass it.
    let mut cluster = cluster;
    cluster.front_ends[0].stop()?;
    cluster.front_ends[0].start_again()?;
    run(async {
        let burger = || Lines::Given(vec![Item { item: "Burger".to_owned(), qty: 1 }]);
        let (ann, bob) = (JustHungry::over(service(&names)), JustHungry::over(service(&names)));
        let asking = Order { postcode: Some("DH1 3LG".to_owned()), ..Order::of("ann", burger()) };
        let mut waiting = std::pin::pin!(ann.place(asking));
        let mut passed = Vec::new();
        let placed = loop {
            tokio::select! {
                biased;
                placed = &mut waiting => break placed,
                other = bob.place(Order::of("bob", burger())) => {
                    passed.push(other.map_err(|error| anyhow::anyhow!("{error:?}"))?);
                }
            }
        };
        let placed = placed.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        ensure!(passed.len() > 1, "nobody passed the order that waited");
        // The log has no entry that waited: the order came into it last, though it was sent first.
        let last = passed.last().context("somebody passed")?;
        ensure!(passed.iter().all(|one| one.id < placed.id) && last.placed <= placed.placed, "{placed:?}");
        let kept = ann.order("ann", placed.no).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        ensure!(kept.verdict.source == Source::Unconfirmed, "{kept:?}");
        Ok(())
    })
}

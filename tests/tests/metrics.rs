//! What the programs count: each prints what its contract says, no more and no less; the dashboard, the alerts and the
//! handbook name nothing else; and a real Prometheus finds something for every panel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::browser::{Browser, encoded};
use cluster_tests::cluster::{Cluster, Options, Place};
use cluster_tests::fake_apis::{Api, FakeApis, Fault, KEY};
use cluster_tests::process::PATIENCE;
use cluster_tests::source::{self, files};
use common::clock::Clock;
use common::meters::{CONTRACT, Kind, Metric, Program};
use serde_json::Value;

/// How long a dead process keeps its name, here.
const TTL: Duration = Duration::from_secs(1);

/// Where each process of a cluster shows its numbers, and what it is called.
struct Watched {
    apis: FakeApis,
    cluster: Cluster,
}

impl Watched {
    fn start() -> Result<Self> {
        let apis = FakeApis::anywhere()?;
        let cluster = Cluster::start_in(Options { ttl: TTL, ..Options::default() }, |name| {
            let mut place =
                Place { args: ["--http", "127.0.0.1:0"].map(str::to_owned).into(), ..Place::default() };
            if name.starts_with("frontend") {
                place.args.extend(apis.flags());
                place.around.environment = vec![("OMDB_API_KEY".to_owned(), KEY.to_owned())];
            }
            place
        })?;
        Ok(Self { apis, cluster })
    }

    /// Those that live: name, `127.0.0.1:PORT`.
    fn places(&self) -> Vec<(String, String)> {
        let Cluster { name_server, replicas, front_ends, .. } = &self.cluster;
        let all = [name_server].into_iter().chain(replicas).chain(front_ends);
        let alive = all.filter(|process| process.pid().is_some());
        alive
            .map(|process| (process.name().to_owned(), process.told("http").replace("http://", "")))
            .collect()
    }

    /// Has something of everything happen that is counted, but for what must not.
    fn live(&mut self) -> Result<()> {
        let ann = |words: &[&'static str]| [&["-u", "ann"], words].concat();
        let burger = ["order", "place", "--item", "burger", "--postcode", "DH1 3LE"];
        for words in [
            ann(&burger),
            // Known by now.
            ann(&burger),
            ann(&["order", "cancel", "1", "--yes"]),
            ann(&["rating", "rate", "Heat", "4"]),
            // Of OMDb's, and then of ours.
            vec!["movie", "find", "Inception"],
        ] {
            self.cluster.json(&words)?;
        }
        let placed = self.cluster.json(&ann(&burger))?.pop().context("an order is placed")?;
        // All members refuse: each is a try that leads to another.
        let set = |status: &str| -> Result<()> {
            let mut replicas = self.cluster.replicas.iter();
            replicas.try_for_each(|replica| {
                self.cluster.json(&["cluster", "set", replica.name(), status]).map(drop)
            })
        };
        set("offline")?;
        ensure!(
            !self.cluster.client(&ann(&["rating", "rate", "Heat", "5"]))?.status.success(),
            "nobody is online"
        );
        set("online")?;
        // Refused, found nowhere, and a web service that fails until it is left alone.
        for words in [
            ann(&["order", "place", "--item", "flour", "--postcode", "DH1 3LE"]),
            vec!["movie", "find", "xyzzy"],
            vec!["ns", "lookup", "nobody"],
            vec!["movie", "find", "xyzzy"],
        ] {
            ensure!(!self.cluster.client(&words)?.status.success(), "{words:?}");
        }
        self.apis.fault(Api::Postcodes, Fault::Status(500));
        for postcode in ["M1 1AE", "EC1A 1BB", "W1A 0AX"] {
            self.cluster.client(&["postcode", "check", postcode])?;
        }
        let primary = self.cluster.primary()?;
        self.cluster.replicas[primary].kill()?;
        let name = self.cluster.replicas[primary].name().to_owned();
        self.cluster.json(&ann(&burger))?;
        // The first order again: the next primary knows it.
        let id = placed["request_id"].as_str().context("it tells its id")?;
        let again = self.cluster.json(&[&["--request-id", id], &*ann(&burger)].concat())?;
        ensure!(again[0]["no"] == placed["no"], "{again:?} is not {placed}");
        // Its name ends with its lease; each look is a process of its own.
        let clock = Clock::start();
        while self.cluster.client(&["ns", "lookup", &name])?.status.success() {
            ensure!(clock.now().since_origin() < PATIENCE, "{name} is still there");
        }
        Ok(())
    }
}

/// Metrics by name: how each moves, the labels of its series, and the sum of their values.
type Shown = BTreeMap<String, (String, BTreeSet<Vec<String>>, f64)>;

/// What Prometheus reads.
fn read(text: &str) -> Result<Shown> {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut shown = Shown::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            kinds.extend(rest.split_once(' '));
            continue;
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let name = histogram.filter(|name| kinds.get(name) == Some(&"histogram")).unwrap_or(name);
        let kind = kinds.get(name).with_context(|| format!("{name} has no type"))?;
        let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\""));
        let mut labels: Vec<_> =
            labels.map(|(name, _)| name.to_owned()).filter(|name| name != "le").collect();
        labels.sort();
        let entry =
            shown.entry(name.to_owned()).or_insert_with(|| ((*kind).to_owned(), BTreeSet::new(), 0.0));
        entry.1.insert(labels);
        let value: f64 = value.parse().with_context(|| line.to_owned())?;
        if !value.is_nan() {
            entry.2 += value;
        }
    }
    Ok(shown)
}

fn program(name: &str) -> Program {
    match name.split('.').next() {
        Some("nameserver") => Program::NameServer,
        Some("replica") => Program::Replica,
        _ => Program::FrontEnd,
    }
}

/// What stays at 0 in a cluster that is well, or is of others than these.
const STILL: &[&str] = &[
    "gossip_divergence_total",
    "ns_pauses_total",
    "ns_paused_seconds_total",
    "ns_probes_total",
    "ns_pyro_calls_total",
    "ns_pyro_refused_total",
];

#[test]
fn every_program_shows_what_its_contract_says_and_counts_what_happens() -> Result<()> {
    let mut watched = Watched::start()?;
    watched.live()?;
    let mut seen: BTreeMap<&str, (BTreeSet<Vec<String>>, f64)> = BTreeMap::new();
    for (process, place) in watched.places() {
        let page = Browser::at(&place).get("/metrics")?;
        ensure!(page.status == 200, "{process}: {} {}", page.status, page.body);
        let shown = read(&page.body)?;
        let ours = |metric: &&Metric| metric.shown_by.contains(&program(&process));
        for (name, (kind, labels, value)) in &shown {
            let metric = CONTRACT.iter().filter(ours).find(|metric| metric.name == name);
            let metric =
                metric.with_context(|| format!("{process} shows {name}, of which no contract knows"))?;
            ensure!(*kind == format!("{:?}", metric.kind).to_lowercase(), "{process}: {name} is a {kind}");
            let seen = seen.entry(metric.name).or_default();
            seen.0.extend(labels.iter().cloned());
            seen.1 += value;
        }
        let missing: Vec<_> = CONTRACT
            .iter()
            .filter(ours)
            .map(|metric| metric.name)
            .filter(|name| !shown.contains_key(*name))
            .collect();
        // What a replica counts only while it leads shows at the one that does.
        ensure!(
            missing.iter().all(|name| *name == "replication_behind_entries"),
            "{process} does not show {missing:?}"
        );
    }
    for metric in CONTRACT {
        let (labels, value) =
            seen.get(metric.name).with_context(|| format!("nobody shows {}", metric.name))?;
        let mut wanted: Vec<_> = metric.labels.iter().map(|&label| label.to_owned()).collect();
        wanted.sort();
        ensure!(*labels == BTreeSet::from([wanted]), "{} has the labels {labels:?}", metric.name);
        let moves = *value > 0.0 || metric.kind == Kind::Gauge;
        ensure!(moves != STILL.contains(&metric.name), "{} came to {value}", metric.name);
    }
    Ok(())
}

#[test]
fn a_watcher_hears_who_lives_and_who_takes_part_from_every_program() -> Result<()> {
    let watched = Watched::start()?;
    for (process, place) in watched.places() {
        let mut watcher = Browser::at(&place);
        ensure!(watcher.get("/healthz")?.body == "ok\n", "{process} lives");
        if process != "nameserver" {
            ensure!(watcher.get("/readyz")?.body == "ready\n", "{process} takes part");
            ensure!(watcher.get("/metricz")?.status == 404);
        }
        let elsewhere = watcher.send("GET", "/metrics", &[("Host", "evil.example")], "")?;
        ensure!([403, 421].contains(&elsewhere.status), "{process} to another's page: {}", elsewhere.status);
    }
    Ok(())
}

#[test]
fn a_replica_that_waits_for_a_name_server_lives_and_is_not_ready() -> Result<()> {
    let mut watched = Watched::start()?;
    let (name, place) = watched.places().swap_remove(1);
    ensure!(name == "replica.1");
    watched.cluster.name_server.kill()?;
    for front_end in &mut watched.cluster.front_ends {
        front_end.kill()?;
    }
    let mut watcher = Browser::at(&place);
    ensure!(watcher.get("/readyz")?.body == "ready\n", "what runs goes on without a name server");
    let new = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    watched.cluster.replicas[0].kill()?;
    let data = tempfile::tempdir()?;
    // On an empty disk it has to ask a name server first, and none is there.
    watched.cluster.replicas[0].set("--data-dir", data.path().to_string_lossy().into_owned());
    watched.cluster.replicas[0].set("--http", new.to_string());
    watched.cluster.replicas[0].launch()?;
    let mut watcher = Browser::at(&new.to_string());
    let clock = Clock::start();
    let page = loop {
        match watcher.get("/readyz") {
            Ok(page) => break page,
            Err(error) => ensure!(clock.now().since_origin() < PATIENCE, "it does not show pages: {error}"),
        }
    };
    ensure!((page.status, page.body.as_str()) == (503, "waiting for a name server\n"), "{page:?}");
    ensure!(watcher.get("/healthz")?.status == 200);
    Ok(())
}

// --- dashboard, alerts, handbook ----------------------------------------------------------------------------------

/// The queries of the dashboard's panels, each with its panel's title.
fn panels() -> Vec<(String, String)> {
    let text = files()
        .into_iter()
        .find(|file| file.path == "docs/monitoring/grafana.json")
        .expect("there is one")
        .text;
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let mut queries = vec![];
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        for target in panel["targets"].as_array().expect("a panel has targets") {
            let words = |value: &Value| value.as_str().expect("it is text").to_owned();
            queries.push((words(&panel["title"]), words(&target["expr"])));
        }
    }
    queries
}

/// The conditions of the alerts.
fn alerts(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    lines.map(str::to_owned).collect()
}

/// The metrics that a query is about.
fn metrics_in(query: &str) -> BTreeSet<String> {
    const WORDS: &[&str] = &["by", "sum", "min", "max", "rate", "increase", "histogram_quantile", "up"];
    let mut plain = String::new();
    let (mut depth, mut rest) = (0, query);
    // Without labels, be they chosen or grouped by.
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("by (") { "by (".len() } else { next.len_utf8() };
        let opens = skipped > 1 || "{[".contains(next);
        if depth > 0 || opens {
            depth += i32::from(opens) - i32::from("}])".contains(next));
        } else {
            plain.push(next);
        }
        rest = &rest[skipped..];
    }
    let words = plain.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let words =
        words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()) && !WORDS.contains(word));
    words.map(str::to_owned).collect()
}

/// Whether a query's word is a metric of ours, with what Prometheus makes of a histogram.
fn is_known(word: &str) -> bool {
    CONTRACT.iter().any(|metric| match metric.kind {
        Kind::Histogram => {
            ["_bucket", "_sum", "_count"].iter().any(|end| word.strip_suffix(end) == Some(metric.name))
        }
        Kind::Counter | Kind::Gauge => word == metric.name,
    })
}

#[test]
fn dashboard_alerts_and_handbook_name_the_metrics_that_there_are() {
    let files = files();
    let text = |path: &str| {
        files.iter().find(|file| file.path == path).expect("the repository has it").text.as_str()
    };
    let alerts = alerts(text("docs/monitoring/alerts.yml"));
    assert!(alerts.len() > 5);
    let queries = panels().into_iter().map(|(_, query)| query).chain(alerts);
    let unknown: Vec<_> =
        queries.flat_map(|query| metrics_in(&query)).filter(|word| !is_known(word)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let handbook = text("docs/OPERATING.md");
    let told = |metric: &&Metric| {
        handbook.contains(&format!("`{}`", metric.name)) || handbook.contains(&format!("`{}{{", metric.name))
    };
    let untold: Vec<_> = CONTRACT.iter().filter(|metric| !told(metric)).map(|metric| metric.name).collect();
    assert!(untold.is_empty(), "docs/OPERATING.md does not tell of {untold:?}");

    let planted = r#"sum by (le, up_to) (rate(commit_seconds_bucket{contract="x"}[5m])) / no_such_total > 3"#;
    assert_eq!(
        metrics_in(planted),
        BTreeSet::from(["commit_seconds_bucket".to_owned(), "no_such_total".to_owned()])
    );
    assert!(is_known("commit_seconds_bucket") && !is_known("commit_seconds") && !is_known("no_such_total"));
}

// --- a real Prometheus --------------------------------------------------------------------------------------------

/// A program that ends with whoever owns it.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_prometheus_takes_the_sample_and_finds_something_for_every_panel() -> Result<()> {
    let has = |name| {
        Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if !has("prometheus") || !has("promtool") {
        // Not by `println`, which a passing test keeps to itself.
        writeln!(
            std::io::stderr(),
            "not run: a real Prometheus: it is not installed (apt-get install prometheus)"
        )?;
        return Ok(());
    }
    let sample = source::top().join("docs/monitoring");
    let promtool = |words: &[&str]| -> Result<()> {
        let output = Command::new("promtool").args(words).current_dir(&sample).output()?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    promtool(&["check", "config", "prometheus.yml"])?;

    let mut watched = Watched::start()?;
    // The sample, with this cluster's addresses, and in a hurry.
    let mut config = fs::read_to_string(sample.join("prometheus.yml"))?
        .replace("scrape_interval: 5s", "scrape_interval: 1s");
    for (process, place) in watched.places() {
        let at = config
            .find(&format!("process: {process} "))
            .with_context(|| format!("{process} is in the sample"))?;
        let quote = config[..at].rfind("[\"").context("its address stands before it")? + 2;
        let end = quote + config[quote..].find('"').context("and ends")?;
        config.replace_range(quote..end, &place);
    }
    let folder = tempfile::tempdir()?;
    fs::copy(sample.join("alerts.yml"), folder.path().join("alerts.yml"))?;
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, config)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let log = fs::File::create(folder.path().join("log"))?;
    let prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--web.listen-address={address}"))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let _guard = Guard(prometheus);
    let answer = |query: &str| -> Result<Vec<Value>> {
        let page = Browser::at(&address).get(&format!("/api/v1/query?query={}", encoded(query)))?;
        let answer: Value =
            serde_json::from_str(&page.body).with_context(|| format!("{query}: {}", page.body))?;
        ensure!(answer["status"] == "success", "{query}: {answer}");
        Ok(answer["data"]["result"].as_array().context("a result")?.clone())
    };
    let clock = Clock::start();
    let wait = |query: &str| -> Result<()> {
        loop {
            let found = answer(query);
            if found.as_ref().is_ok_and(|found| !found.is_empty()) {
                return Ok(());
            }
            let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            ensure!(clock.now().since_origin() < 2 * PATIENCE, "nothing for {query}: {found:?}\n{}", log());
            #[expect(
                clippy::disallowed_methods,
                reason = "Prometheus looks by its own clock, and tells nobody"
            )]
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    // A rate is of two looks: one before, and one after everything.
    wait("sum(up{job=\"just-hungry\"}) == 5")?;
    watched.live()?;
    for (panel, query) in panels() {
        wait(&query).with_context(|| panel)?;
    }
    for alert in alerts(&fs::read_to_string(sample.join("alerts.yml"))?) {
        answer(&alert)?;
    }
    Ok(())
}

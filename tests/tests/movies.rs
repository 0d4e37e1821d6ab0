//! Films, on the real programs: the database fills itself from OMDb, every replica has what one has, and nobody notices
//! who dies meanwhile.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use client::movies::Movies;
use client::service::{Patience, Service};
use cluster_tests::cluster::{Cluster, Options, Place};
use cluster_tests::fake_apis::{Api, Call, FakeApis, Fault, KEY};
use cluster_tests::films::{film_everywhere, films_everywhere};
use cluster_tests::process::{PATIENCE, program};
use cluster_tests::shop::{names, run};
use common::clock::Clock;
use common::services::movies::command::NewMovie;
use common::services::movies::movie::Source;
use common::services::movies::{Movie, NAME};
use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A cluster whose front ends ask `apis`, with this key.
fn asking(apis: &FakeApis, options: Options, key: &str, more: &[&str]) -> Result<Cluster> {
    Cluster::start_in(options, |name| {
        let mut place = Place::default();
        if name.starts_with("frontend") {
            place.args = apis.flags();
            place.args.extend(more.iter().map(|&arg| arg.to_owned()));
            place.around.environment = vec![("OMDB_API_KEY".to_owned(), key.to_owned())];
        }
        place
    })
}

fn cluster(apis: &FakeApis, options: Options) -> Result<Cluster> {
    asking(apis, options, KEY, &[])
}

/// `movie find`, as one object.
fn find(cluster: &Cluster, title: &str) -> Result<Value> {
    cluster.json(&["movie", "find", title])?.pop().context("a film is one object")
}

/// Waits until OMDb is asked.
fn asked(apis: &FakeApis) -> Result<Vec<Call>> {
    let clock = Clock::start();
    loop {
        let calls = apis.calls();
        if !calls.is_empty() {
            return Ok(calls);
        }
        ensure!(clock.now().since_origin() < PATIENCE, "nobody asks");
        std::thread::yield_now();
    }
}

/// A client in the background.
fn begin(cluster: &Cluster, words: &[&str]) -> Result<Child> {
    let mut command = cluster.client_command(&[&["--json"], words].concat());
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// What a client in the background printed, which succeeded.
fn ended(child: Child) -> Result<Value> {
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Slow enough for something to happen meanwhile, and faster than anybody's patience with OMDb.
const SLOW: Fault = Fault::Slow(Duration::from_millis(900));

#[test]
fn a03_unknown_movie_is_fetched_and_on_every_replica() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let mut cluster = cluster(&apis, Options::default())?;
    assert_eq!(cluster.front_ends[0].told("omdb"), "auto");
    assert_eq!(film_everywhere(&cluster, "Inception")?, None);

    let found = find(&cluster, "inception")?;
    assert_eq!(
        (&found["omdb"], &found["stored"], &found["source"]),
        (&"asked".into(), &true.into(), &"omdb".into())
    );
    assert_eq!(found["url"], "https://www.imdb.com/title/tt1375666/");
    // Each was asked itself.
    let movie = film_everywhere(&cluster, "Inception")?.context("it is everywhere")?;
    assert_eq!((movie.source, movie.is_complete()), (Source::Omdb, true));
    let calls: Vec<_> = apis.calls().into_iter().map(|call| call.target).collect();
    let expected = format!("/omdb/?apikey={KEY}&r=json&type=movie&t=inception");
    assert_eq!(calls, [expected]);

    // From now on it is here: nobody is asked, whatever becomes of OMDb and the primary.
    apis.fault(Api::Omdb, Fault::Refuse);
    let primary = cluster.primary()?;
    cluster.replicas[primary].kill()?;
    assert_eq!(find(&cluster, "inception")?["omdb"], "not_needed");
    assert!(apis.calls().is_empty());
    Ok(())
}

#[test]
fn a04_incomplete_movie_is_completed_and_kept_and_a16_movies_survive_a_full_stop() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let mut cluster = cluster(&apis, Options::default())?;
    let before = film_everywhere(&cluster, "Alien")?.context("it is among the samples")?;
    assert!(!before.is_complete());
    // What a person wrote is kept.
    cluster.json(&["movie", "edit", "alien", "--description", "Ours."])?;
    let found = find(&cluster, "alien")?;
    assert_eq!(
        (&found["omdb"], &found["complete"], &found["source"]),
        (&"asked".into(), &true.into(), &"both".into())
    );
    assert_eq!(apis.calls().len(), 1);
    let movie = film_everywhere(&cluster, "Alien")?.context("it is everywhere")?;
    let expected = Movie {
        url: "https://www.imdb.com/title/tt0078748/".into(),
        description: "Ours.".into(),
        source: Source::Both,
        ..before
    };
    assert_eq!(movie, expected);

    let all = films_everywhere(&cluster)?;
    for replica in &mut cluster.replicas {
        replica.signal(Signal::KILL)?;
    }
    for replica in &mut cluster.replicas {
        replica.ended()?;
    }
    for replica in &mut cluster.replicas {
        replica.start_again()?;
    }
    cluster.await_whole(3)?;
    assert_eq!(find(&cluster, "alien")?["omdb"], "not_needed");
    assert_eq!(films_everywhere(&cluster)?, all);
    assert!(apis.calls().is_empty());
    Ok(())
}

#[test]
fn a10_update_reaches_every_replica_and_a_new_one_gets_all() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let text = r#"_ > , " ' | ; 🎬"#;
    let long = "é".repeat(2_000);
    cluster.json(&["movie", "add", text, "--year", "1999", "--description", &long])?;
    cluster.json(&["movie", "edit", "heat", "--genre", "Crime", "--description", "a\nb"])?;
    let movie = film_everywhere(&cluster, text)?.context("it is everywhere")?;
    assert_eq!(movie.description, long);
    assert_eq!(film_everywhere(&cluster, "Heat")?.context("it is everywhere")?.description, "a\nb");
    let all = films_everywhere(&cluster)?;
    // One film, one copy.
    assert_eq!(all.len(), 21);
    cluster.add_replica()?;
    cluster.await_whole(4)?;
    assert_eq!(films_everywhere(&cluster)?, all);
    // And each says that its state is the same, not only its films.
    let status = cluster.status()?;
    let groups = status["groups"].as_array().context("a status has groups")?;
    let movies = groups.iter().find(|group| group["service"] == NAME).context("movies is one")?;
    let hashes: Vec<_> =
        movies["members"].as_array().context("of members")?.iter().map(|one| &one["state_hash"]).collect();
    assert!(hashes.len() == 4 && hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    Ok(())
}

#[test]
fn a11_replica_without_name_server_waits() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data").to_string_lossy().into_owned();
    // Nobody listens at a port that was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let log = folder.path().join("replica.log");
    let mut replica = Command::new(program("replica"))
        .args(["1", "--first", "-n", &nobody, "--data-dir", &data])
        .stderr(File::create(&log)?)
        .stdout(Stdio::null())
        .spawn()?;
    let said = || fs::read_to_string(&log).unwrap_or_default().matches("waiting for a name server").count();
    let clock = Clock::start();
    while said() == 0 {
        ensure!(clock.now().since_origin() < PATIENCE, "it does not say what it waits for");
    }
    kill_process(Pid::from_child(&replica), Signal::INT)?;
    assert_eq!((replica.wait()?.code(), said()), (Some(0), 1));
    Ok(())
}

#[test]
fn a12_dead_primary_is_replaced_before_and_mid_request() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let mut cluster = cluster(&apis, Options::default())?;
    let primary = cluster.primary()?;
    cluster.replicas[primary].kill()?;
    assert_eq!(find(&cluster, "heat")?["title"], "Heat");
    cluster.json(&["movie", "add", "Brazil", "--year", "1985"])?;
    cluster.replicas[primary].start_again()?;
    cluster.await_whole(3)?;

    apis.fault(Api::Omdb, SLOW);
    let finding = begin(&cluster, &["movie", "find", "inception"])?;
    asked(&apis)?;
    let primary = cluster.primary()?;
    cluster.replicas[primary].kill()?;
    let found = ended(finding)?;
    assert_eq!((&found["title"], &found["stored"]), (&"Inception".into(), &true.into()));
    assert!(film_everywhere(&cluster, "Inception")?.is_some());
    assert!(film_everywhere(&cluster, "Brazil")?.is_some());
    Ok(())
}

#[test]
fn a13_many_clients_at_once() -> Result<()> {
    const CLIENTS: usize = 64;
    let cluster = Cluster::start(Options { front_ends: 2, ..Options::default() })?;
    let names = names(cluster.name_server.address());
    run(async {
        let one = async |number: usize| -> Result<()> {
            let patience = Patience { timeout: PATIENCE, ..Patience::default() };
            let movies = Movies::over(Service::new(&names, NAME).patient(patience));
            let film = |title: String| NewMovie { title, year: Some(2000), ..NewMovie::default() };
            movies.add(film(format!("Film {number}"))).await.map_err(|failure| anyhow!("{failure:?}"))?;
            // All want this one, too; one of them adds it.
            let common = movies.add(film("The same".into())).await;
            ensure!(common.is_ok() || common.is_err_and(|failure| failure.code.name() == "movie_exists"));
            Ok(())
        };
        join_all((0..CLIENTS).map(one)).await.into_iter().collect::<Result<()>>()
    })?;
    assert_eq!(films_everywhere(&cluster)?.len(), 20 + CLIENTS + 1);
    Ok(())
}

#[test]
fn a14_moved_front_end_is_found_in_the_middle_of_a_request() -> Result<()> {
    // Nobody's name is to run out while everybody is frozen.
    let mut cluster = Cluster::start(Options { ttl: 4 * PATIENCE, ..Options::default() })?;
    for replica in &cluster.replicas {
        replica.signal(Signal::STOP)?;
    }
    let adding = begin(&cluster, &["movie", "add", "Brazil (1985)", "--timeout", "60s"])?;
    cluster.add_front_end()?;
    cluster.front_ends[0].kill()?;
    for replica in &cluster.replicas {
        replica.signal(Signal::CONT)?;
    }
    // Through the other one, and under the same id: it is added, and not there already.
    assert_eq!(ended(adding)?["outcome"], "added");
    assert!(film_everywhere(&cluster, "Brazil")?.is_some());
    // And somewhere else again.
    cluster.front_ends[1].kill()?;
    cluster.front_ends[1].start_again()?;
    assert_eq!(find(&cluster, "brazil")?["title"], "Brazil");
    Ok(())
}

#[test]
fn a17_client_gone_after_sending() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let cluster = cluster(&apis, Options::default())?;
    apis.fault_next(Api::Omdb, SLOW, 1);
    let mut finding = begin(&cluster, &["movie", "find", "inception"])?;
    asked(&apis)?;
    finding.kill()?;
    finding.wait()?;
    // Others do not notice, and the work goes on.
    assert_eq!(find(&cluster, "heat")?["title"], "Heat");
    let clock = Clock::start();
    while film_everywhere(&cluster, "Inception")?.is_none() {
        ensure!(clock.now().since_origin() < PATIENCE, "the film was given up with its client");
    }
    Ok(())
}

#[test]
fn a_find_outlives_whatever_omdb_does_and_the_key_is_nowhere() -> Result<()> {
    let apis = FakeApis::anywhere()?;
    let options = Options { replicas: 1, ..Options::default() };
    let mut cluster = asking(&apis, options, KEY, &["--log", "trace"])?;
    for (number, fault) in Fault::EACH.into_iter().enumerate() {
        apis.fault(Api::Omdb, fault);
        let found = find(&cluster, "alien")?;
        let part = found["omdb"].as_str().context("it is told")?;
        ensure!(["unavailable", "absent"].contains(&part), "{fault:?}: {found}");
        let output = cluster.client(&["--json", "movie", "find", &format!("nobody {number}")])?;
        ensure!([Some(3), Some(5)].contains(&output.status.code()), "{fault:?}: {output:?}");
        // With a breaker that has seen nothing, and a service that works again.
        apis.fault(Api::Omdb, Fault::None);
        cluster.front_ends[0].stop()?;
        cluster.front_ends[0].start_again()?;
    }
    assert_eq!(find(&cluster, "inception")?["omdb"], "asked");
    let log = cluster.front_ends[0].log();
    ensure!(log.contains("a web service rests"), "nothing of this was logged");
    nowhere(&mut cluster, KEY)?;

    // A key that is refused: said once, without it, and not used again.
    let marked = "marked-key-0f3c";
    let mut cluster = asking(&apis, options, marked, &["--log", "trace"])?;
    apis.calls();
    for title in ["brazil", "solaris"] {
        let output = cluster.client(&["--json", "movie", "find", title])?;
        assert_eq!(output.status.code(), Some(5), "{output:?}");
    }
    assert_eq!(apis.calls().len(), 1);
    assert_eq!(cluster.front_ends[0].log().matches("is refused").count(), 1);
    nowhere(&mut cluster, marked)
}

/// No process has written the key anywhere.
fn nowhere(cluster: &mut Cluster, key: &str) -> Result<()> {
    for process in cluster.processes() {
        ensure!(!process.log().contains(key), "{} tells the key", process.name());
    }
    Ok(())
}

#[test]
fn without_a_key_films_are_found_here_only_and_it_is_said_once() -> Result<()> {
    let cluster = Cluster::start(Options { replicas: 1, ..Options::default() })?;
    let front_end = &cluster.front_ends[0];
    assert_eq!(front_end.told("omdb"), "no_key");
    assert_eq!(find(&cluster, "alien")?["omdb"], "no_key");
    assert_eq!(find(&cluster, "heat")?["omdb"], "not_needed");
    let unknown = cluster.client(&["--json", "movie", "find", "inception"])?;
    let said: Value = serde_json::from_slice(&unknown.stderr)?;
    assert_eq!((unknown.status.code(), &said["error"]["code"]), (Some(5), &"movie_unchecked".into()));
    assert_eq!(front_end.log().matches("no key to OMDb").count(), 1);
    Ok(())
}

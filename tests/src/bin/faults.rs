//! Real processes under random trouble, and what their clients saw judged:
//! `cargo run -p cluster-tests --bin faults -- MODE …`. A failure keeps its history and prints what replays it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cluster_tests::faults::{damage, kills, power, world};
use cluster_tests::history::{Kind, orders, read};
use cluster_tests::load::first_state;
use cluster_tests::process::planted_replica;
use cluster_tests::trouble::{EndedByItself, Harm, Report, Setting, Whom, plan, suffer, zombies};
use common::clock::Clock;

const USAGE: &str = "\
faults random SECONDS SEED [TROUBLES]   one run; a trouble every two and a half seconds, if not told otherwise
faults gate SEED                        two runs of 60 s, at least 20 troubles and 10,000 calls together
faults long MINUTES SEED                runs of 60 s from seed to seed, until the time is over
faults zombies TIMES SEED               the primary is frozen until another leads, and longer, so many times
faults planted [NAME [SEED]]            replicas that break a rule must be found out
faults judge FILE                       judges a history that was kept
faults kills TIMES SEED                 a replica dies before, after or amid what it writes, so many times
faults power TIMES                      all disks lose their power at one moment, so many times (as root)
faults flips TIMES SEED                 a replica's file is opened with a bit flipped somewhere, so many times";

/// A run of the gate, and of a night.
const ROUND: Duration = Duration::from_mins(1);
/// In each.
const TROUBLES: u32 = 24;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("{text} is no number\n{USAGE}"));
    match words.as_slice() {
        ["random", seconds, seed] => {
            let seconds = number(seconds)?;
            let count = u32::try_from(seconds * 2 / 5)?;
            random(Duration::from_secs(seconds), number(seed)?, count).map(drop)
        }
        ["random", seconds, seed, count] => {
            random(Duration::from_secs(number(seconds)?), number(seed)?, count.parse()?).map(drop)
        }
        ["gate", seed] => gate(number(seed)?),
        ["long", minutes, seed] => long(Duration::from_mins(number(minutes)?), number(seed)?),
        ["zombies", times, seed] => asleep(times.parse()?, number(seed)?),
        ["planted"] => PLANTED.iter().try_for_each(|(name, how)| planted(name, *how, 1)),
        ["planted", name, rest @ ..] => {
            let (name, how) =
                PLANTED.iter().find(|(one, _)| one == name).context("nobody plants that here")?;
            planted(name, *how, rest.first().map_or(Ok(1), |seed| number(seed))?)
        }
        ["kills", times, seed] => {
            let folder = tempfile::tempdir()?;
            println!("{:?}", kills::run(folder.path(), times.parse()?, number(seed)?)?);
            Ok(())
        }
        ["power", times] => world::this_in_own_world(power::NEEDS, || {
            let folder = tempfile::tempdir()?;
            println!("{times} losses, {} orders", power::run(folder.path(), times.parse()?)?);
            Ok(())
        }),
        ["flips", times, seed] => flips(times.parse()?, number(seed)?),
        ["judge", file] => {
            let lines = read(std::io::BufReader::new(std::fs::File::open(file)?))?;
            let found = orders::judge(&first_state(), &lines)?;
            for anomaly in &found {
                println!("{anomaly}");
            }
            ensure!(found.is_empty(), "{} anomalies", found.len());
            Ok(())
        }
        _ => bail!("which mode?\n{USAGE}"),
    }
}

/// Opens a file left by a kill, and one left by a stop, with flipped bits.
fn flips(times: usize, seed: u64) -> Result<()> {
    // What redb panics over is caught and counted as refused; its words would bury ours.
    std::panic::set_hook(Box::new(|_| {}));
    for left in [damage::Left::Killed, damage::Left::Stopped] {
        let patient = damage::Patient::new(left, seed)?;
        let mut dice = damage::dice(seed);
        let mut refused = 0;
        for _ in 0..times {
            let bit = damage::bit(&mut dice, patient.whole.len());
            refused += usize::from(patient.flip(bit)? == damage::Outcome::Refused);
        }
        println!("{left:?}: {times} flips, {refused} refused, the others harmless");
    }
    Ok(())
}

/// Fails when something was found, or the run says nothing.
fn passed(report: &Report, again: &str) -> Result<()> {
    println!("{report}");
    ensure!(report.anomalies.is_empty(), "{} anomalies; again: faults {again}", report.anomalies.len());
    Ok(())
}

fn random(time: Duration, seed: u64, count: u32) -> Result<Report> {
    let setting = Setting::usual(seed, time, count);
    let again = format!("random {} {seed} {count}", time.as_secs());
    let report = suffer(&setting).with_context(|| format!("again: faults {again}"))?;
    for (planned, under_way) in &report.fired {
        println!("  {planned}, {under_way} calls under way");
    }
    passed(&report, &again)?;
    report.counts(&setting).with_context(|| format!("again: faults {again}"))?;
    Ok(report)
}

fn gate(seed: u64) -> Result<()> {
    let runs = [random(ROUND, seed, TROUBLES)?, random(ROUND, seed + 1, TROUBLES)?];
    let calls: usize = runs.iter().map(|report| report.calls).sum();
    let troubles: usize = runs.iter().map(|report| report.fired.len()).sum();
    println!("gate: {calls} calls, {troubles} troubles, 0 anomalies");
    ensure!(calls >= 10_000 && troubles >= 20, "too little happened to mean anything");
    Ok(())
}

fn long(time: Duration, seed: u64) -> Result<()> {
    let clock = Clock::start();
    let begun = clock.now();
    let (mut runs, mut calls, mut troubles) = (0, 0, 0);
    while clock.now().since(begun) < time {
        let report = random(ROUND, seed + runs, TROUBLES)?;
        runs += 1;
        calls += report.calls;
        troubles += report.fired.len();
        println!("{runs} runs, {calls} calls, {troubles} troubles, 0 anomalies so far");
    }
    Ok(())
}

fn asleep(times: u32, seed: u64) -> Result<()> {
    let report = zombies(seed, times, None)?;
    println!(
        "{} pauses, {} acknowledgements by a deposed primary, {} stale reads",
        report.fired.len(),
        report.count(&[Kind::Misplaced, Kind::Forked, Kind::Lost]),
        report.count(&[Kind::Stale, Kind::NotLinearizable])
    );
    passed(&report, &format!("zombies {times} {seed}"))?;
    let asleep = report.fired.iter().map(|(planned, _)| planned.lasts);
    let waiting = report.fired.iter().map(|(_, under_way)| *under_way).min().unwrap_or_default();
    let (least, most) = (asleep.clone().min().unwrap_or_default(), asleep.max().unwrap_or_default());
    println!(
        "each was deposed; asleep for {least:.1?} to {most:.1?}, with at least {waiting} calls under way"
    );
    Ok(())
}

/// What makes a broken rule show.
#[derive(Clone, Copy)]
enum How {
    /// Everybody is killed at once, again and again.
    Killed,
    /// Everything that usually happens.
    Usual,
    /// Zombies.
    Asleep,
}

/// Rules that only whole processes show broken, with their disks, sockets and sleeps.
const PLANTED: [(&str, How); 4] = [
    ("AckBeforeFsync", How::Killed),
    ("NoFence", How::Asleep),
    ("NoConfirm", How::Asleep),
    ("NoDedupAtApply", How::Usual),
];

/// Runs until it must have been found.
const RUNS_MAX: u64 = 6;

fn planted(name: &str, how: How, seed: u64) -> Result<()> {
    planted_replica();
    let clock = Clock::start();
    let begun = clock.now();
    for seed in seed..seed + RUNS_MAX {
        let found = match how {
            How::Asleep => zombies(seed, 12, Some(name)),
            How::Usual | How::Killed => {
                let mut setting = Setting::usual(seed, Duration::from_secs(30), 12);
                setting.plant = Some(name.to_owned());
                if matches!(how, How::Killed) {
                    // What waits for the disk is what a kill takes.
                    setting.slow_disks = 40;
                    setting.plan = plan(seed, setting.time, 12, &[(Harm::Kill, Whom::Replicas)]);
                }
                suffer(&setting)
            }
        };
        let spent = clock.now().since(begun);
        match found {
            Ok(report) if report.anomalies.is_empty() => println!("{name}: seed {seed}: {report}"),
            Ok(report) => {
                println!("{name}: found by seed {seed} after {spent:.0?}: {report}");
                return Ok(());
            }
            // A replica that finds itself or another breaking a rule ends; that is a finding, too.
            Err(error) if error.downcast_ref::<EndedByItself>().is_some() => {
                println!("{name}: found by seed {seed} after {spent:.0?}: {error:#}");
                return Ok(());
            }
            Err(error) if matches!(how, How::Asleep) => {
                // An unbroken group heals after every zombie: such a test is red, too.
                println!("{name}: seed {seed} does not heal, seen after {spent:.0?}: {error:#}");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    bail!("{name} was not found in {RUNS_MAX} runs")
}

//! Real postcode data, when they are there: in the folder `shared/data` beside the repository, or where `SHARED_DATA`
//! says. They are never part of it, and these tests pass without them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::process::program;
use cluster_tests::source::top;
use common::services::postcode::Postcode;
use frontend::outside::data::PostcodeData;
use serde_json::Value;

/// A file of the real data, if it is there.
fn shared(name: &str) -> Option<PathBuf> {
    let beside = || top().join("../shared/data");
    let folder = std::env::var_os("SHARED_DATA").map_or_else(beside, PathBuf::from);
    let path = folder.join("postcodes").join(name);
    if !path.exists() {
        println!("not run: there is no {}", path.display());
    }
    path.exists().then_some(path)
}

/// The cells of a plain CSV file, without its first line.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().skip(1).map(|line| line.split(',').collect())
}

#[test]
fn all_of_great_britain_is_known_and_what_is_retired_is_not() -> Result<()> {
    let Some(path) = shared("gb_units_2025_10.bitmap.bin") else { return Ok(()) };
    let data = PostcodeData::open(&path)?;
    assert_eq!(data.counts().1, 1_745_849);
    let Some(path) = shared("codepoint_open_sample.csv") else { return Ok(()) };
    for row in rows(&fs::read_to_string(path)?) {
        ensure!(data.contains(row[0].parse()?), "{} is live", row[0]);
    }
    let Some(path) = shared("onspd_sample.csv") else { return Ok(()) };
    let (mut live, mut retired) = (0, 0);
    for row in rows(&fs::read_to_string(path)?) {
        let [code, terminated, usertype, country] = [row[0], row[2], row[3], row[7]];
        // Codes that our grammar or our areas leave out cannot be asked about.
        let Ok(postcode) = code.parse::<Postcode>() else { continue };
        let british = country.starts_with(['E', 'W', 'S']);
        if !terminated.is_empty() {
            retired += 1;
            ensure!(!data.contains(postcode), "{code} is retired");
        } else if british && usertype == "0" {
            live += 1;
            ensure!(data.contains(postcode), "{code} is live");
        }
    }
    ensure!(live > 100 && retired > 50, "{live} live and {retired} retired ones were looked at");
    Ok(())
}

#[test]
fn the_program_makes_data_of_the_public_files_and_a_front_end_reads_them() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sample = match shared("codepoint_open_sample.csv") {
        Some(path) => fs::read_to_string(path)?,
        None => "\"DH1 3LE\",10,427000,542000\n\"AB101AB\",10,394235,806529\n".to_owned(),
    };
    let csv = folder.path().join("Data/CSV");
    fs::create_dir_all(&csv)?;
    fs::write(csv.join("all.csv"), &sample)?;
    let file = folder.path().join("made.bin");
    let build = |output: &PathBuf| {
        Command::new(program("frontend"))
            .args(["postcode-data", "build"])
            .arg(folder.path())
            .arg("-o")
            .arg(output)
            .output()
    };
    let built = build(&file)?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let data = PostcodeData::open(&file)?;
    let said = String::from_utf8(built.stdout)?;
    assert!(
        said.starts_with(&format!("{} postcodes in {} sectors", data.counts().1, data.counts().0)),
        "{said}"
    );
    for line in sample.lines() {
        let first = line.split(',').next().unwrap_or_default().trim_matches('"');
        if let Ok(postcode) = first.parse() {
            ensure!(data.contains(postcode), "{first}");
        }
    }

    // A damaged file is refused before anything is served.
    let bytes = fs::read(&file)?;
    fs::write(&file, &bytes[..bytes.len() - 1])?;
    let started = Command::new(program("frontend"))
        .args(["--http", "off", "-n", "127.0.0.1:9", "--postcode-data"])
        .arg(&file)
        .output()?;
    let said = String::from_utf8(started.stderr)?;
    assert_eq!(started.status.code(), Some(2), "{said}");
    assert!(
        said.contains("made.bin: damaged at byte") && said.contains("try: frontend postcode-data"),
        "{said}"
    );
    let nothing = Command::new(program("frontend")).args(["postcode-data", "build"]).arg(&file).output()?;
    assert_eq!(nothing.status.code(), Some(2));
    Ok(())
}

#[test]
fn what_others_take_for_a_postcode_reads_as_the_same_one() -> Result<()> {
    let Some(path) = shared("parser-cases/normalisation.json") else { return Ok(()) };
    let cases: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let cases = cases["tests"].as_array().context("a list of cases")?;
    let mut read = 0;
    for case in cases {
        let (Some(base), Some(expected)) = (case["base"].as_str(), case["expected"].as_str()) else {
            continue;
        };
        if let Ok(postcode) = base.parse::<Postcode>() {
            read += 1;
            assert_eq!(postcode.to_string(), expected, "{base}");
        }
    }
    ensure!(read > 0, "none of {} cases is a postcode by our grammar", cases.len());
    Ok(())
}

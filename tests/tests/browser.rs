//! The pages in a real browser: chromium, driven by playwright-core, judged by axe-core. Where one of them is missing,
//! that is said, and nothing fails. `SHOTS=DIR` keeps a picture of each page.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::source;

/// Where a program is, by its names.
fn found(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let all = names.iter().flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)));
    all.into_iter().find(|file| file.is_file())
}

/// The folder in which the browser's driver and judge are installed, once for many runs.
fn modules(scripts: &Path) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    if ["playwright-core", "axe-core"].iter().all(|name| folder.join("node_modules").join(name).is_dir()) {
        return Ok(folder);
    }
    let npm = found(&["npm"]).ok_or("npm is not installed")?;
    std::fs::create_dir_all(&folder).map_err(|why| why.to_string())?;
    std::fs::copy(scripts.join("package.json"), folder.join("package.json"))
        .map_err(|why| why.to_string())?;
    let output = Command::new(npm)
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(&folder)
        .output()
        .map_err(|why| why.to_string())?;
    if output.status.success() {
        return Ok(folder);
    }
    Err(format!(
        "npm cannot install playwright-core and axe-core: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

#[test]
fn people_order_watch_and_search_in_a_real_browser() -> Result<()> {
    let scripts = source::top().join("tests/browser");
    let needed = (|| {
        let node = found(&["node"]).ok_or("node is not installed")?;
        let chromium = found(&["chromium", "chromium-browser"]).ok_or("chromium is not installed")?;
        Ok::<_, String>((node, chromium, modules(&scripts)?))
    })();
    let (node, chromium, modules) = match needed {
        Ok(needed) => needed,
        Err(why) => {
            // Not by `println`, which a passing test keeps to itself.
            writeln!(std::io::stderr(), "not run: the pages in a real browser: {why}")?;
            return Ok(());
        }
    };
    let mut cluster = Cluster::with_pages(Options::default())?;
    let mut journeys = Command::new(node)
        .arg(scripts.join("journeys.mjs"))
        .env("MODULES", &modules)
        .env("CHROMIUM", chromium)
        .env("PAGES", cluster.front_ends[0].told("http"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut answers = journeys.stdin.take().context("its input is piped")?;
    let asked = BufReader::new(journeys.stdout.take().context("its output is piped")?);
    for line in asked.lines() {
        ensure!(line? == "kill", "the journeys ask for nothing else");
        let primary = cluster.primary()?;
        cluster.replicas[primary].kill()?;
        answers.write_all(b"done\n")?;
    }
    ensure!(journeys.wait()?.success(), "a journey failed");
    Ok(())
}

//! docs/CHECKLIST.md and docs/RELIABILITY.md name tests that exist: whoever renames one, or takes one away, hears of it
//! here.

use std::collections::BTreeSet;

use cluster_tests::source::{File, files};

/// Every test there is: functions after `#[test]` and the like, and stories.
fn tests(files: &[File]) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for file in files {
        if let Some((folder, story)) = file.path.rsplit_once('/')
            && folder.ends_with("/scenarios")
        {
            found.extend(story.strip_suffix(".txt"));
        }
        let functions = file.text.lines().filter(|_| file.is_rust()).filter_map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
            line.split('(').next()
        });
        found.extend(functions);
    }
    found
}

/// What is wrong with a list of rows.
fn breaches(list: &str, tests: &BTreeSet<&str>) -> Vec<String> {
    let rows = list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| row "));
    let mut found = Vec::new();
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let named: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            found.push(format!("no test: {row}"));
        }
        let missing = named.iter().filter(|name| !tests.contains(*name));
        found.extend(missing.map(|name| format!("there is no test {name}: {row}")));
    }
    found
}

#[test]
fn every_row_of_the_checklist_names_a_test_that_exists() {
    let files = files();
    let tests = tests(&files);
    let list = files.iter().find(|file| file.path == "docs/CHECKLIST.md").expect("the repository has it");
    let found = breaches(&list.text, &tests);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    assert!(list.text.lines().filter(|line| line.starts_with("| ")).count() > 70, "the list has its rows");

    let planted = "| row | here | test |\n|---|---|---|\n| 1.1 | x | `no_such_test_anywhere` |\n| 1.2 | x | |\n\
                   | 1.3 | x | `slow_backup_disk_is_dropped` |\n";
    assert_eq!(breaches(planted, &tests).len(), 2);
}

#[test]
fn every_threat_has_a_test_that_bears_its_number() {
    let files = files();
    let tests = tests(&files);
    let page = files.iter().find(|file| file.path == "docs/RELIABILITY.md").expect("the repository has it");
    for threat in 1..=15 {
        let number = format!("t{threat:02}_");
        assert!(page.text.contains(&format!("`{number}…`")), "docs/RELIABILITY.md does not tell of {number}");
        assert!(tests.iter().any(|name| name.starts_with(&number)), "no test is called {number}…");
    }
}

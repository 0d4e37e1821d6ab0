//! The rules of the house that no compiler holds: who may import whom, what a core may not name, what does not
//! survive the wire, and what does not belong into a repository. Each rule is shown to bite on a planted line.

use std::collections::{BTreeMap, BTreeSet};

use cluster_tests::source::{File, files, item_end, program, programs, without_words, words};

/// Fails, and shows every breach.
fn none(breaches: impl IntoIterator<Item = String>) {
    let breaches: Vec<_> = breaches.into_iter().collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

// --- who may import whom ------------------------------------------------------------------------------------------

/// The dependencies that a manifest names, of every kind.
fn dependencies(manifest: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
        } else if inside && line.starts_with(|c: char| c.is_alphanumeric()) {
            found.extend(line.split(['.', '=', ' ']).next());
        }
    }
    found
}

/// The manifests of the packages, by the folders' names, which are the packages' but for the tests'.
fn manifests(files: &[File]) -> BTreeMap<&str, &str> {
    let found =
        files.iter().filter_map(|file| Some((file.path.strip_suffix("/Cargo.toml")?, file.text.as_str())));
    found.filter(|(folder, _)| !folder.contains('/')).collect()
}

fn forbidden_packages(folder: &str, manifest: &str, packages: &BTreeSet<&str>) -> Vec<String> {
    let allowed: &[&str] = match folder {
        "tests" => return vec![],
        "common" => &[],
        _ => &["common"],
    };
    let ours = dependencies(manifest).into_iter().filter(|name| packages.contains(name));
    ours.filter(|name| !allowed.contains(name))
        .map(|name| format!("{folder} may not depend on {name}"))
        .collect()
}

#[test]
fn processes_depend_on_common_and_never_on_each_other() {
    let files = files();
    let manifests = manifests(&files);
    let packages: BTreeSet<_> = manifests.keys().copied().collect();
    assert!(packages.contains("common") && packages.len() > 4, "{packages:?}");
    none(manifests.iter().flat_map(|(folder, text)| forbidden_packages(folder, text, &packages)));

    let planted = "[dev-dependencies]\nreplica.workspace = true\ncommon = { path = \"..\" }\n";
    let found = forbidden_packages("client", planted, &packages);
    assert_eq!(found, ["client may not depend on replica"]);
}

#[test]
fn every_dependency_is_used_and_has_its_reason_written_down() {
    let files = files();
    let manifests = manifests(&files);
    let text = |path: &str| &files.iter().find(|file| file.path == path).expect("the repository has it").text;
    let reasons = text("docs/ARCHITECTURE.md");
    let known = dependencies(text("Cargo.toml"));
    let unexplained = known.iter().filter(|name| !manifests.contains_key(*name));
    let unexplained = unexplained.filter(|name| !reasons.contains(&format!("`{name}`")));
    none(unexplained.map(|name| format!("docs/ARCHITECTURE.md does not say why `{name}` is here")));

    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let folder = file.path.split('/').next().unwrap_or_default();
        let code = without_words(&file.text);
        used.entry(folder).or_default().extend(words(&code).map(|(_, word)| word.to_owned()));
    }
    let used = |folder: &str, name: &str| used[folder].contains(&name.replace('-', "_"));
    let named = manifests
        .iter()
        .flat_map(|(folder, text)| dependencies(text).into_iter().map(move |name| (folder, name)));
    none(
        named
            .filter(|(folder, name)| !used(folder, name))
            .map(|(folder, name)| format!("{folder} does not use {name}")),
    );
    assert!(!used("common", "no-such-package"));
}

/// What each module of `common` may name of the others.
const INSIDE_COMMON: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("clock", &[]),
    ("machine", &[]),
    ("meters", &[]),
    ("pages", &["machine", "meters"]),
    ("telemetry", &[]),
    ("names", &["ids"]),
    ("replication", &["ids", "clock"]),
    ("rpc", &["ids", "clock", "machine", "meters", "names", "replication"]),
    ("services", &["ids", "clock", "replication"]),
    ("directory", &["ids", "clock", "machine", "names", "replication", "rpc"]),
    (
        "lib",
        &["clock", "directory", "ids", "machine", "names", "replication", "rpc", "services", "telemetry"],
    ),
];

/// The modules named by `crate::…` paths in `code`, also in groups like `crate::{a::B, c}`.
fn modules_named(code: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let path = &code[at + "crate::".len()..];
        let Some(group) = path.strip_prefix('{') else {
            found.extend(words(path).next().map(|(_, word)| word));
            continue;
        };
        let mut depth = 1;
        let mut first = true;
        for part in group.split_inclusive(['{', '}', ',']) {
            if first && depth == 1 {
                found.extend(words(part).next().map(|(_, word)| word));
            }
            first = part.ends_with([',', '{']);
            depth = match part.chars().last() {
                Some('{') => depth + 1,
                Some('}') => depth - 1,
                _ => depth,
            };
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// Whether `code`, in a file that deep below the top module, leaves its top module by `super`.
fn leaves_by_super(code: &str, depth: usize) -> bool {
    code.contains(&"super::".repeat(depth))
}

fn forbidden_modules(module: &str, path: &str, code: &str) -> Vec<String> {
    let Some((_, allowed)) = INSIDE_COMMON.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: no rule says what {module} may import")];
    };
    let foreign = modules_named(code).into_iter().filter(|name| *name != module && !allowed.contains(name));
    let foreign = foreign.filter(|name| INSIDE_COMMON.iter().any(|(module, _)| module == name));
    let mut breaches: Vec<_> =
        foreign.map(|name| format!("{path}: {module} may not import {name}")).collect();
    let folders = path.strip_prefix("common/src/").map_or(0, |rest| rest.matches('/').count());
    let depth = if path.ends_with("/mod.rs") { folders } else { folders + 1 };
    if module != "lib" && leaves_by_super(code, depth) {
        breaches
            .push(format!("{path}: write crate:: for what lies outside {module}, so that this test sees it"));
    }
    breaches
}

#[test]
fn inside_common_modules_import_only_what_lies_below_them() {
    let files = programs();
    let common = files.iter().filter_map(|file| Some((file.below("common/src")?, file)));
    none(common.flat_map(|(module, file)| forbidden_modules(module, &file.path, &file.text)));

    let planted = "use crate::{ids::{A, services}, services::B, names}; use crate::directory::C;";
    assert_eq!(modules_named(planted), BTreeSet::from(["ids", "services", "names", "directory"]));
    assert_eq!(forbidden_modules("rpc", "common/src/rpc/x.rs", planted).len(), 2);
    assert_eq!(forbidden_modules("rpc", "common/src/rpc/x.rs", "use super::super::services::B;").len(), 1);
    assert_eq!(forbidden_modules("rpc", "common/src/rpc/x/mod.rs", "use super::limits;"), [""; 0]);
    assert_eq!(forbidden_modules("convenience", "common/src/convenience.rs", "").len(), 1);
}

// --- cores --------------------------------------------------------------------------------------------------------

/// Where cores are: a file, or everything in a folder.
const CORES: &[&str] = &[
    "common/src/replication",
    "common/src/services",
    "frontend/src/outside/breaker",
    "frontend/src/outside/cache",
    "frontend/src/router",
    "nameserver/src/groups",
    "nameserver/src/leases",
    "nameserver/src/probes",
    "nameserver/src/pyro",
    "nameserver/src/registry",
    "replica/src/disk/batch",
    "replica/src/gossip",
    "replica/src/passive",
    "replica/src/planted",
    "replica/src/state",
];

/// The shells that live beside their cores.
const SHELLS: &[&str] = &[
    "nameserver/src/pyro/desk",
    "nameserver/src/pyro/discovery",
    "nameserver/src/pyro/session",
    "replica/src/gossip/driver",
    "replica/src/passive/driver",
];

/// What no core names: a clock, a runtime, a socket, a file, chance, and maps whose order is chance.
const NOT_IN_CORES: &[&str] = &[
    "tokio",
    "tarpc",
    "rand",
    "Clock",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "thread",
    "fs",
    "async",
    "await",
];

fn within(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn forbidden_in_cores(path: &str, code: &str) -> Vec<String> {
    let named = words(code).filter(|(_, word)| NOT_IN_CORES.contains(word));
    let named = named.map(|(line, word)| format!("{path}:{line}: a core does not name {word}"));
    let drawn = code.lines().enumerate().filter(|(_, line)| line.contains("::random("));
    named.chain(drawn.map(|(above, _)| format!("{path}:{}: a core draws nothing", above + 1))).collect()
}

#[test]
fn cores_name_no_clock_no_runtime_no_chance_and_no_map_without_order() {
    let files = programs();
    for core in CORES {
        assert!(files.iter().any(|file| within(&file.path, core)), "there is no core {core} any more");
    }
    let cores = files.iter().filter(|file| CORES.iter().any(|core| within(&file.path, core)));
    let cores = cores.filter(|file| !SHELLS.iter().any(|shell| within(&file.path, shell)));
    none(cores.flat_map(|file| forbidden_in_cores(&file.path, &file.text)));

    let planted = program(
        "use std::collections::HashMap; // tokio\nlet x = \"rand\";\nlet now = Instant::now();\nA::random();",
    );
    assert_eq!(forbidden_in_cores("x", &planted).len(), 3);
}

// --- the wire -----------------------------------------------------------------------------------------------------

/// Attributes of serde that bincode writes and cannot read back.
const NOT_ON_THE_WIRE: &[&str] = &["skip_serializing_if", "flatten", "tag", "untagged", "content"];

fn unreadable_shapes(path: &str, code: &str) -> Vec<String> {
    let attributes = code.split("#[serde(").skip(1).filter_map(|rest| rest.split(")]").next());
    let bad = attributes.flat_map(words).filter(|(_, word)| NOT_ON_THE_WIRE.contains(word));
    bad.map(|(_, word)| format!("{path}: serde's {word} does not survive bincode")).collect()
}

/// Types of which one small frame could make work without end: those that hold themselves, and many of nothing.
fn endless_shapes(path: &str, code: &str) -> Vec<String> {
    let mut found: Vec<_> = ["Vec<()>", "BTreeSet<()>", "VecDeque<()>"]
        .iter()
        .filter(|shape| code.contains(**shape))
        .map(|shape| format!("{path}: {shape} costs a frame nothing and a reader everything"))
        .collect();
    for (at, _) in code.match_indices("Deserialize)]") {
        let item = &code[at + "Deserialize)]".len()..];
        let item = &item[..item_end(item)];
        let mut names =
            words(item).map(|(_, word)| word).skip_while(|word| *word != "struct" && *word != "enum").skip(1);
        let Some(name) = names.next() else { continue };
        // `A::B` names a constant of `A`, not an `A`.
        let item = item.replace(&format!("{name}::"), "");
        if words(&item).filter(|(_, word)| *word == name).count() > 1
            || words(&item).any(|(_, word)| word == "Self")
        {
            found.push(format!("{path}: {name} holds itself: a small frame would take the stack"));
        }
    }
    found
}

#[test]
fn wire_types_have_shapes_that_read_back_and_end() {
    let files = programs();
    let common = files.iter().filter(|file| file.path.starts_with("common/src/"));
    none(common.flat_map(|file| {
        [unreadable_shapes(&file.path, &file.text), endless_shapes(&file.path, &file.text)].concat()
    }));

    assert_eq!(unreadable_shapes("x", "#[serde(default, flatten)] a: B, #[serde(tag = )] c").len(), 2);
    assert_eq!(endless_shapes("x", "#[derive(Deserialize)]\npub struct A { b: Vec<()> }").len(), 1);
    assert_eq!(endless_shapes("x", "#[derive(Deserialize)] enum A { B(Box<A>), C } struct D(A);").len(), 1);
}

// --- the repository -----------------------------------------------------------------------------------------------

/// STYLE: at 600 lines look for the second idea.
const LINES_MAX: usize = 600;

fn too_long(path: &str, code: &str) -> Option<String> {
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    (lines > LINES_MAX).then(|| format!("{path} has {lines} lines of program: more than one idea"))
}

#[test]
fn no_file_is_longer_than_one_idea() {
    none(programs().iter().filter_map(|file| too_long(&file.path, &file.text)));
    assert!(too_long("x", &"a\n".repeat(LINES_MAX + 1)).is_some());
    assert!(too_long("x", &"a\n\n".repeat(LINES_MAX)).is_none());
}

/// `text` in parts, so that this file does not breach its own rules.
fn joined(parts: &[[&str; 2]]) -> Vec<String> {
    parts.iter().map(|parts| parts.concat()).collect()
}

fn holding(file: &File, unwanted: &[String]) -> Vec<String> {
    let lines = file.text.lines().enumerate().flat_map(|(above, line)| {
        unwanted.iter().filter(move |word| line.contains(*word)).map(move |word| (above + 1, word))
    });
    lines.map(|(line, word)| format!("{}:{line}: {word}", file.path)).collect()
}

#[test]
fn nothing_is_left_to_do_later() {
    let unwanted = joined(&[["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["todo", "!"], ["unimplemented", "!"]]);
    none(files().iter().flat_map(|file| holding(file, &unwanted)));

    let planted = File { path: "x.sh".into(), text: ["ok\n# TO", "DO: this"].concat() };
    assert_eq!(holding(&planted, &unwanted).len(), 1);
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let unwanted = joined(&[["/ho", "me/"], ["/Us", "ers/"], ["/ro", "ot/"], ["/wo", "rk/"], ["C:", "\\"]]);
    none(files().iter().flat_map(|file| holding(file, &unwanted)));

    let planted = File { path: "x.md".into(), text: ["see /ho", "me/me/x"].concat() };
    assert_eq!(holding(&planted, &unwanted).len(), 1);
}

// --- what we build on ---------------------------------------------------------------------------------------------

/// Exceptions of `deny.toml` without the day on which somebody looked at them.
fn undated(deny: &str) -> Vec<&str> {
    let day = |text: &str| text.split("looked at ").nth(1).is_some_and(|day| day.starts_with("20"));
    deny.lines().filter(|line| line.contains("{ id = ") && !day(line)).collect()
}

#[test]
fn t15_dependencies_are_locked_and_judged_and_exceptions_are_dated() {
    let files = files();
    let text = |path: &str| &*files.iter().find(|file| file.path == path).expect(path).text;
    assert!(text("Cargo.lock").contains("checksum"));
    assert!(text(".ci/run").contains("cargo deny --log-level error check bans licenses sources"));
    assert!(text("deny.toml").contains("unknown-registry = \"deny\""));
    assert_eq!(undated(text("deny.toml")), [""; 0]);

    assert_eq!(undated("    { id = \"RUSTSEC-2025-1\", reason = \"because\" },").len(), 1);
}

//! The repository as text: its files, and Rust source without what a rule should not see.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
#[derive(Clone, Debug)]
pub struct File {
    /// Where, from the top of the repository; parts joined by `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// The top of the repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in a folder of the repository")
        .into()
}

/// Every text file of the repository, in the order of paths; not what is built, fetched or run there.
pub fn files() -> Vec<File> {
    let top = top();
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if ["target", ".git", ".run"].iter().any(|no| name == *no) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(&top).unwrap_or(&path);
                found.push(File { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.iter().any(|file| file.path == "Cargo.toml"), "{} is not the repository", top.display());
    found
}

impl File {
    /// Whether it is Rust that goes into a program: not tests, stories, examples or benches.
    pub fn is_program(&self) -> bool {
        let aside = ["tests", "scenarios", "examples", "benches", "fixtures"];
        let outside = |part: &str| aside.contains(&part.strip_suffix(".rs").unwrap_or(part));
        self.is_rust() && !self.path.split('/').any(outside)
    }

    /// The modules that it declares for tests only, as paths without `.rs`.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder,
            _ => self.path.trim_end_matches(".rs"),
        };
        let code = without_words(&self.text);
        let items = code.split(TEST_MARK).skip(1).map(|rest| &rest[..item_end(rest)]);
        let modules = items.filter_map(|item| item.trim().strip_suffix(';')?.split_once("mod "));
        modules.map(|(_, name)| format!("{folder}/{name}")).collect()
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    /// The folder or file right below `folder` that it belongs to: `names` for `common/src/names/query.rs`.
    pub fn below(&self, folder: &str) -> Option<&str> {
        let rest = self.path.strip_prefix(folder)?.strip_prefix('/')?;
        let first = rest.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }
}

/// Every Rust file that goes into a program, without comments, texts and tests; lines are kept.
pub fn programs() -> Vec<File> {
    let files = files();
    let of_tests: Vec<_> = files.iter().filter(|file| file.is_rust()).flat_map(File::test_modules).collect();
    let is_test = |path: &str| {
        of_tests.iter().any(|module| {
            path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    };
    let programs = files.into_iter().filter(|file| file.is_program() && !is_test(&file.path));
    programs.map(|File { path, text }| File { path, text: program(&text) }).collect()
}

/// The program in `source`: comments, texts and test modules blanked out, lines kept.
pub fn program(source: &str) -> String {
    without_tests(&without_words(source))
}

/// The words of `code`, identifiers and keywords, each with the number of its line.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(above, line)| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.filter(|word| !word.is_empty()).map(move |word| (above + 1, word))
    })
}

/// `text` with everything but line ends made blank.
fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

/// `source` with comments blanked out, and what stands between quotes.
pub fn without_words(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let after_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            'r' if !after_word || out.ends_with('b') => raw(rest).unwrap_or(0),
            // `'a'` and `'\n'`, but not the lifetime `'a`.
            '\'' => character(rest).unwrap_or(0),
            _ => 0,
        };
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.push_str(&blank(&rest[..length]));
            rest = &rest[length..];
        }
    }
    out
}

fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    loop {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            [] => return at,
            _ => at += 1,
        }
    }
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|&byte| byte == b'#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end)? + end.len();
    Some(1 + hashes + 1 + length)
}

fn character(text: &str) -> Option<usize> {
    let mut inside = text.char_indices().skip(1);
    let (_, first) = inside.next()?;
    if first == '\\' {
        inside.next()?;
        return inside.find(|&(_, c)| c == '\'').map(|(at, _)| at + 1);
    }
    inside.next().filter(|&(_, c)| c == '\'').map(|(at, _)| at + 1)
}

/// What stands before that which only tests compile.
const TEST_MARK: &str = "#[cfg(test)]";

/// `code`, which holds no comments and texts any more, with everything blanked out that only tests compile.
fn without_tests(code: &str) -> String {
    if code.contains("#![cfg(test)]") {
        return blank(code);
    }
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(TEST_MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at + TEST_MARK.len()..];
        let end = item_end(item);
        out.push_str(&blank(&rest[at..at + TEST_MARK.len() + end]));
        rest = &item[end..];
    }
    out + rest
}

/// Where the item ends that `code` begins with: at its semicolon, or at the brace that closes its first one.
pub fn item_end(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b';' if depth == 0 => return at + 1,
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if byte == b'}' && depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_no_comments_no_texts_and_no_tests() {
        let source = r##"
use a::B; // use c::D;
/* e /* f */ g */ const H: &str = "i \" j"; const K: char = '"'; const L: &str = r#"m " n"#;
fn o<'p>(q: &'p str) {}
#[cfg(test)]
mod r { fn s() {} }
#[cfg(test)]
use t::u;
fn v() {}
"##;
        let program = program(source);
        let words: String = words(&program).map(|(_, word)| word).collect::<Vec<_>>().join(" ");
        assert_eq!(words, "use a B const H str const K char const L str fn o p q p str fn v");
        assert_eq!(program.lines().count(), source.lines().count());
    }

    #[test]
    fn what_only_tests_compile_is_not_a_program() {
        let file = |path: &str| File { path: path.into(), text: String::new() };
        for path in ["a/src/b/tests.rs", "a/tests/b.rs", "a/src/scenarios/b.rs", "a/b.md"] {
            assert!(!file(path).is_program(), "{path}");
        }
        assert!(file("a/src/tested.rs").is_program());
        let declared =
            |path: &str| File { path: path.into(), text: "#[cfg(test)]\npub(crate) mod b;".into() };
        assert_eq!(declared("a/src/lib.rs").test_modules(), ["a/src/b"]);
        assert_eq!(declared("a/src/c.rs").test_modules(), ["a/src/c/b"]);
    }
}

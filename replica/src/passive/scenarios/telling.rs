//! How what happens is told: one line per step of a replica, what is equal told once, background left out.

use std::collections::BTreeSet;
use std::time::Duration;

use common::clock::Moment;

/// Time that passed is told from here on; below, it is what messages and fsyncs take.
const NOTABLE: Duration = Duration::from_millis(5);
/// Words of what is left out unless a story asks for it.
const BACKGROUND: &[&str] = &["beacon", "hears", "hello", "looks", "notes", "knows", "asks", "alarm"];

/// Something that somebody does: `from` to `to`, if it is a message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    from: Vec<String>,
    to: Vec<String>,
    what: String,
}

impl Item {
    fn told(&self) -> String {
        let arrow = if self.to.is_empty() { "" } else { " -> " };
        format!("{}{arrow}{} {}", all_of(&self.from), all_of(&self.to), self.what)
    }
}

/// What one replica did in one step, or several did alike.
struct Step {
    at: Moment,
    items: Vec<Item>,
}

/// The tale so far.
pub(super) struct Telling {
    left_out: BTreeSet<String>,
    /// If these are some, nothing else is told.
    only: BTreeSet<String>,
    muted: bool,
    lines: Vec<String>,
    /// Steps of the moment that is not over.
    steps: Vec<Step>,
    /// Times are told from here.
    since: Moment,
    /// What the last line says, and how often it was said.
    last: Option<(String, usize)>,
    /// Everything that happened since the line of acts began, told or not.
    recent: Vec<String>,
}

impl Telling {
    pub(super) fn new() -> Self {
        Self {
            left_out: BACKGROUND.iter().map(|&word| word.to_owned()).collect(),
            only: BTreeSet::new(),
            muted: false,
            lines: Vec::new(),
            steps: Vec::new(),
            since: Moment::ORIGIN,
            last: None,
            recent: Vec::new(),
        }
    }

    pub(super) fn leave_out(&mut self, word: &str) {
        self.left_out.insert(word.to_owned());
    }

    pub(super) fn also_tell(&mut self, word: &str) {
        self.left_out.remove(word);
    }

    /// Only what begins with these words.
    pub(super) fn only_tell(&mut self, words: &[&str]) {
        self.only = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// A line of acts begins.
    pub(super) fn begin(&mut self, at: Moment, muted: bool) {
        self.end_moment();
        self.muted = muted;
        self.since = at;
        self.last = None;
        self.recent.clear();
    }

    /// A step begins.
    pub(super) fn step(&mut self, at: Moment) {
        if self.steps.first().is_some_and(|step| step.at != at) {
            self.end_moment();
        }
        self.steps.push(Step { at, items: Vec::new() });
    }

    /// Something happens in this step; `to` is somebody if it is a message.
    pub(super) fn tell(&mut self, from: &str, to: Option<&str>, what: String) {
        let item =
            Item { from: vec![from.to_owned()], to: to.map(str::to_owned).into_iter().collect(), what };
        self.recent.push(item.told());
        let word = item.what.split_whitespace().next().unwrap_or_default();
        let left_out = self.left_out.contains(word) || !self.only.is_empty() && !self.only.contains(word);
        if self.muted || left_out {
            return;
        }
        let Some(step) = self.steps.last_mut() else { return };
        let same = step.items.iter_mut().find(|other| {
            let alike = other.what == item.what && other.to.is_empty() == item.to.is_empty();
            alike && (item.to.is_empty() || other.from == item.from && !other.to.contains(&item.to[0]))
        });
        match same {
            Some(other) if item.to.is_empty() => other.from.extend(item.from),
            Some(other) => other.to.extend(item.to),
            None => step.items.push(item),
        }
    }

    /// Whether `words` were among what happened since this line of acts began.
    pub(super) fn heard(&self, words: &str) -> bool {
        self.recent.iter().any(|told| told.contains(words))
    }

    /// The moment is over: its steps become lines.
    fn end_moment(&mut self) {
        let mut merged: Vec<Step> = Vec::new();
        for step in std::mem::take(&mut self.steps).into_iter().filter(|step| !step.items.is_empty()) {
            let alike = |other: &&mut Step| {
                let pairs = other.items.iter().zip(&step.items);
                other.items.len() == step.items.len()
                    && pairs
                        .into_iter()
                        .all(|(a, b)| a.what == b.what && a.to == b.to && !a.from.contains(&b.from[0]))
            };
            match merged.iter_mut().find(alike) {
                Some(other) => {
                    for (item, more) in other.items.iter_mut().zip(step.items) {
                        item.from.extend(more.from);
                    }
                }
                None => merged.push(step),
            }
        }
        for step in merged {
            self.line(&step);
        }
    }

    fn line(&mut self, step: &Step) {
        let text = step.items.iter().map(Item::told).collect::<Vec<_>>().join("; ");
        let waited = step.at.since(self.since);
        self.since = step.at;
        if let (Some((before, times)), Some(line)) = (&mut self.last, self.lines.last_mut())
            && *before == text
        {
            // The same again and again: told once, and how often.
            if *times > 1 {
                line.truncate(line.rfind(" (").unwrap_or(line.len()));
            }
            *times += 1;
            *line = format!("{line} ({times} times)");
            return;
        }
        let passed = if waited >= NOTABLE { format!("+{} ", in_words(waited)) } else { String::new() };
        self.lines.push(format!("{passed}{text}"));
        self.last = Some((text, 1));
    }

    /// All of it.
    pub(super) fn told(mut self) -> String {
        self.end_moment();
        self.lines.push(String::new());
        self.lines.join("\n")
    }
}

/// `r1 r2`; many in a row are `c1#1-9`.
fn all_of(names: &[String]) -> String {
    let (Some(first), Some(last)) = (names.first(), names.last()) else { return String::new() };
    match last.split_once('#') {
        Some((_, number)) if names.len() > 3 => format!("{first}-{number}"),
        _ => names.join(" "),
    }
}

fn in_words(time: Duration) -> String {
    let millis = time.as_millis();
    if millis >= 1_000 && millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

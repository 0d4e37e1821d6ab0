//! What somebody wants to order.

use serde::{Deserialize, Serialize};

use super::bounds::{LINES_MAX, NAME_CHARS_MAX, QTY_MAX};
use super::catalogue::{ProductKey, number};
use super::command::Item;
use super::refusal::{Field, Refusal, Why};
use crate::services::text;

/// What somebody wants, one line per product, in the order they were first added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    lines: Vec<Line>,
}

/// So many of one product, which may have left the menu since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) key: ProductKey,
    /// The name by which it was asked for last.
    pub(super) item: String,
    pub(super) qty: u32,
}

impl Line {
    /// The line that somebody typed; `at` is its number among several.
    pub(super) fn read(typed: &Item, at: Option<u32>) -> Result<Self, Refusal> {
        let item = item(&typed.item, at)?;
        if !(1..=QTY_MAX).contains(&typed.qty) {
            return Err(bad_qty(at));
        }
        Ok(Self { key: ProductKey::of(item), item: item.into(), qty: typed.qty })
    }
}

impl Wanted {
    /// The lines of an order that brings its own; equal items are one line.
    pub(super) fn read(typed: &[Item]) -> Result<Self, Refusal> {
        if !(1..=LINES_MAX).contains(&typed.len()) {
            return Err(bad_count());
        }
        let mut wanted = Self::default();
        for (item, at) in typed.iter().zip(1..) {
            wanted.add(Line::read(item, Some(at))?, Some(at))?;
        }
        Ok(wanted)
    }

    /// So many more.
    pub(super) fn add(&mut self, mut line: Line, at: Option<u32>) -> Result<(), Refusal> {
        let before = self.lines.iter().find(|other| other.key == line.key).map_or(0, |other| other.qty);
        line.qty += before;
        if line.qty > QTY_MAX {
            return Err(bad_qty(at));
        }
        self.set(line)
    }

    /// Exactly so many.
    pub(super) fn set(&mut self, line: Line) -> Result<(), Refusal> {
        if let Some(other) = self.lines.iter_mut().find(|other| other.key == line.key) {
            *other = line;
        } else if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        } else {
            return Err(bad_count());
        }
        Ok(())
    }

    /// None any more; whether there were some.
    pub(super) fn remove(&mut self, key: &ProductKey) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| line.key != *key);
        self.lines.len() < before
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Items in all.
    pub(super) fn items(&self) -> u32 {
        self.lines.iter().map(|line| line.qty).sum()
    }
}

/// A product's name as somebody typed it.
pub(super) fn item(typed: &str, at: Option<u32>) -> Result<&str, Refusal> {
    text::check(typed, NAME_CHARS_MAX, text::Lines::One).map_err(|why| Refusal::Invalid {
        field: Field::Item,
        at,
        why: Why::Text(why),
    })
}

fn bad_qty(at: Option<u32>) -> Refusal {
    Refusal::Invalid { field: Field::Qty, at, why: Why::Number { min: 1, max: QTY_MAX } }
}

fn bad_count() -> Refusal {
    Refusal::Invalid { field: Field::Lines, at: None, why: Why::Count { min: 1, max: number(LINES_MAX) } }
}

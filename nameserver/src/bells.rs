//! Who waits for a change: one bell per poll, hung up by what it asks for, so that a change wakes those whom it may
//! concern and nobody else. A thousand processes that wait for a thousand services do not all look up when one of them
//! moves.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use common::names::Names;
use tokio::sync::Notify;

use crate::matcher::Numbered;

/// All bells, by the first label of the names that they ring for (`replica` of `replica.1`).
#[derive(Debug, Default)]
pub(crate) struct Bells(RefCell<Hung>);

#[derive(Debug, Default)]
struct Hung {
    next: u64,
    /// For every name.
    all: BTreeMap<u64, Rc<Notify>>,
    by_label: BTreeMap<Box<str>, BTreeMap<u64, Rc<Notify>>>,
}

/// One poll's bell; taken down when dropped. A ring before the wait is not lost.
#[derive(Debug)]
pub(crate) struct Bell {
    bells: Rc<Bells>,
    number: u64,
    /// `None`: for every name.
    labels: Option<BTreeSet<Box<str>>>,
    rung: Rc<Notify>,
}

impl Bells {
    /// A bell that rings for whatever may concern `queries`.
    pub(crate) fn hang(self: &Rc<Self>, queries: &[Numbered]) -> Bell {
        let labels = queries.iter().map(|(_, matcher)| label_of(&matcher.query().names)).collect();
        let rung = Rc::new(Notify::new());
        let hung = &mut *self.0.borrow_mut();
        hung.next += 1;
        let number = hung.next;
        match &labels {
            None => drop(hung.all.insert(number, Rc::clone(&rung))),
            Some(labels) => {
                for label in labels {
                    hung.by_label.entry(Box::clone(label)).or_default().insert(number, Rc::clone(&rung));
                }
            }
        }
        Bell { bells: Rc::clone(self), number, labels, rung }
    }

    /// Rings for names that begin with these labels.
    pub(crate) fn ring<'a>(&self, labels: impl IntoIterator<Item = &'a str>) {
        let hung = self.0.borrow();
        hung.all.values().for_each(|bell| bell.notify_one());
        for label in labels {
            hung.by_label
                .get(label)
                .into_iter()
                .flat_map(BTreeMap::values)
                .for_each(|bell| bell.notify_one());
        }
    }

    /// Rings for everybody.
    pub(crate) fn ring_all(&self) {
        let hung = self.0.borrow();
        hung.all
            .values()
            .chain(hung.by_label.values().flat_map(BTreeMap::values))
            .for_each(|bell| bell.notify_one());
    }
}

impl Bell {
    /// Returns once it has rung since the last time.
    pub(crate) async fn rings(&self) {
        self.rung.notified().await;
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let hung = &mut *self.bells.0.borrow_mut();
        hung.all.remove(&self.number);
        for label in self.labels.iter().flatten() {
            if let Some(bells) = hung.by_label.get_mut(label) {
                bells.remove(&self.number);
                if bells.is_empty() {
                    hung.by_label.remove(label);
                }
            }
        }
    }
}

/// The first label of a name.
pub(crate) fn label(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// The first label of every name that matches; `None` when they have different ones.
fn label_of(names: &Names) -> Option<Box<str>> {
    match names {
        Names::Exact(name) => Some(label(name.as_str()).into()),
        Names::Prefix(prefix) => prefix.split_once('.').map(|(label, _)| label.into()),
        Names::Any | Names::Regex(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use common::names::{Query, WatchId};
    use futures::FutureExt as _;

    use super::*;
    use crate::matcher::Matcher;

    fn bell(bells: &Rc<Bells>, names: &[Names]) -> Bell {
        let ready = |names: &Names| (WatchId(0), Matcher::new(Query::by_name(names.clone())).unwrap());
        bells.hang(&names.iter().map(ready).collect::<Vec<_>>())
    }

    fn rang(bell: &Bell) -> bool {
        bell.rings().now_or_never().is_some()
    }

    #[test]
    fn a_bell_rings_for_what_may_concern_it() {
        let bells = Rc::new(Bells::default());
        let exact = bell(
            &bells,
            &[Names::Exact("shop.one".parse().unwrap()), Names::Exact("plain".parse().unwrap())],
        );
        let prefix = bell(&bells, &[Names::Prefix("replica.1".into())]);
        let open = bell(&bells, &[Names::Prefix("repl".into())]);
        let any = bell(&bells, &[Names::Exact("shop.one".parse().unwrap()), Names::Any]);
        let nothing = bell(&bells, &[]);
        let all = [&exact, &prefix, &open, &any, &nothing];
        bells.ring(["shop"]);
        assert_eq!(all.map(rang), [true, false, true, true, false]);
        assert!(!rang(&exact), "once");
        bells.ring(["replica", "plain"]);
        assert_eq!(all.map(rang), [true, true, true, true, false]);
        bells.ring(["rep"]);
        assert_eq!(all.map(rang), [false, false, true, true, false]);
        bells.ring_all();
        assert_eq!(all.map(rang), [true, true, true, true, false]);
        drop((exact, prefix, open, any, nothing));
        assert!(bells.0.borrow().all.is_empty() && bells.0.borrow().by_label.is_empty());
    }
}

//! A walk that broke a law, made short: things are left out as long as a law is still broken (Zeller, Hildebrandt,
//! *Simplifying and Isolating Failure-Inducing Input*, IEEE TSE 28(2), 2002).

use super::act::Step;
use super::walk::{Start, Walked};

/// Replays at most: some seconds.
const REPLAYS_MAX: usize = 20_000;

/// The shortest list of steps found that still breaks a law, and its story.
pub fn shrink(start: &Start) -> Option<Walked> {
    let recorded = start.recorded();
    let law = law_of(recorded.broken.as_deref()?).to_owned();
    let mut steps = recorded.steps;
    let mut replays = 0;
    let mut breaks = |steps: &[Step]| {
        replays += 1;
        let broken = start.replay(steps, false).broken;
        broken.is_some_and(|how| law_of(&how) == law)
    };
    if !breaks(&steps) {
        return None;
    }
    let mut left = REPLAYS_MAX;
    let mut piece = steps.len().div_ceil(2);
    while piece > 0 && left > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < steps.len() && left > 0 {
            let end = (at + piece).min(steps.len());
            let without = [&steps[..at], &steps[end..]].concat();
            left -= 1;
            if breaks(&without) {
                steps = without;
                shorter = true;
            } else {
                at = end;
            }
        }
        // One by one until nothing can be left out.
        piece = if piece > 1 { piece.div_ceil(2) } else { usize::from(shorter) };
        if piece == 1 && !shorter && steps.len() <= 1 {
            break;
        }
    }
    for at in 0..steps.len() {
        let mut simpler = steps.clone();
        simpler[at].together = false;
        if steps[at].together && breaks(&simpler) {
            steps = simpler;
        }
    }
    let mut walked = start.replay(&steps, true);
    walked.steps = steps;
    Some(walked)
}

/// `I9` of `I9: r1 shows …`; a panic's first words.
fn law_of(broken: &str) -> &str {
    broken.split([':', ',']).next().unwrap_or(broken)
}

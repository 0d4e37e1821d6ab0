//! A walk that broke a law, made short.

use super::act::Step;
use super::walk::{Start, Walked};
use crate::shrink::{law_of, shortest};

/// The shortest list of steps found that still breaks a law, and its story.
pub fn shrink(start: &Start) -> Option<Walked> {
    let recorded = start.recorded();
    let law = law_of(recorded.broken.as_deref()?).to_owned();
    let mut steps = recorded.steps;
    let mut breaks = |steps: &[Step]| {
        let broken = start.replay(steps, false).broken;
        broken.is_some_and(|how| law_of(&how) == law)
    };
    if !breaks(&steps) {
        return None;
    }
    steps = shortest(steps, &mut breaks);
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

//! A list of steps that breaks a law, made short: things are left out as long as a law is still broken (Zeller,
//! Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, IEEE TSE 28(2), 2002).

/// Replays at most: some seconds.
const REPLAYS_MAX: usize = 20_000;

/// The shortest list found of these steps that still breaks it. They break it.
pub fn shortest<S: Clone>(mut steps: Vec<S>, mut breaks: impl FnMut(&[S]) -> bool) -> Vec<S> {
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
    steps
}

/// `I9` of `I9: r1 shows …`; a panic's first words.
pub fn law_of(broken: &str) -> &str {
    broken.split([':', ',']).next().unwrap_or(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_left() {
        let steps: Vec<u32> = (0..100).collect();
        let left = shortest(steps, |steps| steps.contains(&7) && steps.contains(&80));
        assert_eq!(left, [7, 80]);
        assert_eq!(law_of("I9: r1 shows"), "I9");
    }
}

//! A few seeds of every shape of walk, in each run of the tests. The program `walk` walks for as long as wanted.

use cluster_tests::passive::shapes::Shape;
use cluster_tests::passive::walk::Start;
use cluster_tests::passive::world::Counts;
use replica::passive::Planted;

/// Of each shape; `WALK_SEEDS=n` walks more of them.
const SEEDS: u64 = 10;

#[test]
fn whatever_happens_no_acknowledged_update_is_lost_and_none_runs_twice() {
    let seeds = std::env::var("WALK_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let mut counts = Counts::default();
    for shape in Shape::ALL {
        for seed in 0..seeds {
            let walked = Start { shape, seed, planted: Planted::default() }.walk();
            counts.add(&walked.counts);
            let name = shape.name();
            assert!(
                walked.broken.is_none(),
                "{}\nreplay it: cargo run --release -p cluster-tests --bin walk -- --shape {name} --seed {seed}",
                walked.broken.unwrap_or_default()
            );
        }
    }
    println!("{counts:?}");
    assert!(counts.acknowledged > 20 * seeds && counts.reads > 10 * seeds, "too little happens: {counts:?}");
    assert!(counts.epochs > 20 * seeds, "primaries hardly change: {counts:?}");
}

#[test]
fn the_same_seed_is_the_same_walk() {
    let start = Start { shape: Shape::General, seed: 7, planted: Planted::default() };
    let (first, second) = (start.recorded(), start.recorded());
    assert_eq!(first.steps, second.steps);
    assert_eq!(format!("{:?}", first.counts), format!("{:?}", second.counts));
    let replayed = start.replay(&first.steps, false);
    assert_eq!(format!("{:?}", first.counts), format!("{:?}", replayed.counts));
}

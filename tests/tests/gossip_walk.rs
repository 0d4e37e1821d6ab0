//! A few seeds of every shape of walk of the gossip cores, in each run of the tests. The program `gossip_walk` walks for
//! as long as wanted.

use cluster_tests::gossip::shapes::Shape;
use cluster_tests::gossip::walk::Start;
use cluster_tests::gossip::world::Counts;
use replica::gossip::Planted;

/// Of each shape; `WALK_SEEDS=n` walks more of them.
const SEEDS: u64 = 10;

#[test]
fn whatever_happens_no_effect_is_seen_before_its_cause_and_all_become_equal() {
    let seeds = std::env::var("WALK_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let mut counts = Counts::default();
    for shape in Shape::ALL {
        for seed in 0..seeds {
            let walked = Start { shape, seed, planted: Planted::default() }.walk();
            counts.add(&walked.counts);
            let name = shape.name();
            assert!(
                walked.broken.is_none(),
                "{}\nreplay it: cargo run --release -p cluster-tests --bin gossip_walk -- --shape {name} --seed {seed}",
                walked.broken.unwrap_or_default()
            );
        }
    }
    println!("{counts:?}");
    assert!(
        counts.acknowledged > 50 * seeds && counts.queries > 50 * seeds,
        "too little happens: {counts:?}"
    );
    assert!(counts.retired > seeds && counts.joins > 10 * seeds, "members hardly change: {counts:?}");
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

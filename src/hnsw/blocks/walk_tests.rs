use super::walk::{BlockStore, Effort, Exact, KeySet, Near, Ranking, Tested, Walk};
use proptest::prelude::*;
use std::collections::HashSet;

/// A graph of points in the plane, with links to near ones and a few far ones.
struct Plane {
    points: Vec<[f32; 2]>,
    links: Vec<Vec<u32>>,
    deleted: Vec<bool>,
    query: [f32; 2],
    /// estimates are off by up to this share
    noise: f32,
}

fn squared(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

impl Plane {
    fn random(count: usize, noise: f32, seed: u64) -> Plane {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut point = || [rng.f32(), rng.f32()];
        let points: Vec<_> = (0..count).map(|_| point()).collect();
        let query = point();
        let mut links: Vec<Vec<u32>> = points
            .iter()
            .map(|&from| {
                let mut all: Vec<u32> = (0..count as u32).collect();
                all.sort_by(|&a, &b| {
                    let distance = |node: u32| squared(from, points[node as usize]);
                    distance(a).total_cmp(&distance(b))
                });
                all.into_iter().skip(1).take(8).collect()
            })
            .collect();
        // a ring: everything can be reached from everywhere
        for (node, links) in links.iter_mut().enumerate() {
            links.push(((node + 1) % count) as u32);
        }
        let deleted = (0..count).map(|_| rng.f32() < 0.1).collect();
        Plane {
            points,
            links,
            deleted,
            query,
            noise,
        }
    }

    fn distance(&self, node: u32) -> f32 {
        squared(self.query, self.points[node as usize])
    }

    fn estimate(&self, node: u32) -> f32 {
        // the same for a node whoever asks
        let random = fastrand::Rng::with_seed(node as u64).f32() * 2.0 - 1.0;
        self.distance(node) * (1.0 + self.noise * random)
    }

    /// Live nodes, nearest first.
    fn exact(&self) -> Vec<u32> {
        let live = (0..self.points.len() as u32).filter(|&node| !self.deleted[node as usize]);
        let mut live: Vec<u32> = live.collect();
        live.sort_by(|&a, &b| self.distance(a).total_cmp(&self.distance(b)));
        live
    }
}

impl BlockStore for Plane {
    type Node = u32;
    type Row = u32;

    fn key(node: u32) -> u64 {
        node as u64 + 1
    }

    fn expand(&mut self, node: u32, mut neighbour: impl FnMut(u32, f32)) -> Option<Near<u32>> {
        for &link in &self.links[node as usize] {
            neighbour(link, self.estimate(link));
        }
        (!self.deleted[node as usize]).then(|| Near {
            distance: self.distance(node),
            error: 0.0,
            row: node,
        })
    }
}

fn run(walk: &mut Walk<Plane>, plane: &mut Plane) {
    while walk.step(plane).is_some() {}
}

fn effort(rank: usize, multiple: f32, ef: usize) -> Effort {
    Effort {
        rank,
        multiple,
        ef,
        ..Effort::default()
    }
}

fn hits(walk: &Walk<Plane>, nearest: &[u32]) -> usize {
    let found: HashSet<u32> = walk.found().iter().map(|near| near.row).collect();
    nearest.iter().filter(|node| found.contains(node)).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_walk_without_bound_finds_every_live_row_once(
        count in 2usize..300, noise in 0.0f32..0.5, seed in any::<u64>(), multiple in 1.0f32..1.4,
    ) {
        let mut plane = Plane::random(count, noise, seed);
        let mut walk = Walk::default();
        walk.start([(0, plane.estimate(0))]);
        walk.aim(effort(count + 1, multiple, 0));
        run(&mut walk, &mut plane);
        let mut found: Vec<u32> = walk.found().iter().map(|near| near.row).collect();
        let mut live = plane.exact();
        found.sort_unstable();
        live.sort_unstable();
        prop_assert_eq!(found, live);
        prop_assert!(walk.is_exhausted());
        prop_assert_eq!(walk.work().expanded, count as u64);
    }

    #[test]
    fn a_generous_walk_finds_the_nearest(count in 50usize..400, noise in 0.0f32..0.2, seed in any::<u64>()) {
        let mut plane = Plane::random(count, noise, seed);
        let nearest: Vec<u32> = plane.exact().into_iter().take(10).collect();
        for effort in [effort(10, 3.0, 0), effort(10, 1.0, 100), effort(100, 1.0, 0)] {
            let mut walk = Walk::default();
            walk.start([(0, plane.estimate(0))]);
            walk.aim(effort);
            run(&mut walk, &mut plane);
            prop_assert!(hits(&walk, &nearest) + 1 >= nearest.len(), "{effort:?}");
        }
    }

    #[test]
    fn a_walk_that_goes_on_finds_what_a_fresh_one_does(
        count in 50usize..400, seed in any::<u64>(), first in 1usize..20, more in 1usize..60,
    ) {
        let mut plane = Plane::random(count, 0.1, seed);
        let nearest: Vec<u32> = plane.exact().into_iter().take(first + more).collect();
        let mut fresh = Walk::default();
        fresh.start([(0, plane.estimate(0))]);
        fresh.aim(effort(first + more, 1.2, 0));
        run(&mut fresh, &mut plane);
        let mut resumed = Walk::default();
        resumed.start([(0, plane.estimate(0))]);
        for rank in [first, first + more / 2, first + more] {
            resumed.aim(effort(rank, 1.2, 0));
            run(&mut resumed, &mut plane);
        }
        let rows: HashSet<u32> = resumed.found().iter().map(|near| near.row).collect();
        prop_assert_eq!(rows.len(), resumed.found().len(), "no row twice");
        prop_assert!(hits(&resumed, &nearest) + 1 >= hits(&fresh, &nearest));
    }

    #[test]
    fn a_walk_among_few_tests_each_row_once_and_none_that_is_too_far(
        count in 50usize..400, seed in any::<u64>(), of in 2u32..10, late in any::<bool>(),
    ) {
        let mut plane = Plane::random(count, 0.1, seed);
        let passing: Vec<u32> = plane.exact().into_iter().filter(|node| node.is_multiple_of(of)).collect();
        let mut tested: Vec<u32> = Vec::new();
        let mut walk = Walk::default();
        walk.start([(0, plane.estimate(0))]);
        if late {
            // rows were found before anybody knew that they have to pass
            walk.aim(effort(5, 1.2, 0));
            run(&mut walk, &mut plane);
            walk.begin_tests(|_| false, |_| unreachable!());
        }
        let mut test = |rows: &[Near<u32>], passes: &mut Vec<bool>| {
            tested.extend(rows.iter().map(|near| near.row));
            passes.clear();
            passes.extend(rows.iter().map(|near| near.row.is_multiple_of(of)));
        };
        for rank in [5, 10, count + 1] {
            walk.aim(effort(rank, 3.0, 0));
            walk.test_waiting(Tested::Nearer, &mut test);
            while walk.step_and_wait(&mut plane).is_some() {
                walk.test_waiting(Tested::Nearer, &mut test);
            }
            walk.test_waiting(Tested::All, &mut test);
            let wanted = &passing[..rank.min(passing.len())];
            prop_assert!(hits(&walk, wanted) + 1 >= wanted.len(), "{rank}");
        }
        prop_assert!(walk.is_exhausted());
        prop_assert_eq!(walk.found().len(), passing.len());
        prop_assert_eq!(walk.tested() as usize, tested.len());
        tested.sort_unstable();
        let mut live = plane.exact();
        live.sort_unstable();
        prop_assert_eq!(tested, live);
    }

    #[test]
    fn a_walk_used_again_is_as_good_as_new(seed in any::<u64>()) {
        let mut walk = Walk::default();
        let mut plane = Plane::random(200, 0.1, seed);
        walk.start([(3, plane.estimate(3))]);
        walk.aim(effort(50, 1.3, 0));
        run(&mut walk, &mut plane);
        let mut other = Plane::random(150, 0.1, !seed);
        let mut fresh = Walk::default();
        for walk in [&mut walk, &mut fresh] {
            walk.start([(0, other.estimate(0))]);
            walk.aim(effort(10, 1.1, 0));
            run(walk, &mut other);
        }
        let rows = |walk: &Walk<Plane>| walk.found().iter().map(|near| near.row).collect::<Vec<_>>();
        prop_assert_eq!(rows(&walk), rows(&fresh));
        prop_assert_eq!(walk.work(), fresh.work());
    }

    /// Distances are few, so that many are equal, and rows invisible, as dead ones are.
    #[test]
    fn a_ranking_is_in_exact_order_whatever_the_bounds(
        rows in proptest::collection::vec((0u8..40, 0.0f32..6.0, -1.0f32..1.0, any::<bool>()), 0..80),
    ) {
        let mut ranking = Ranking::default();
        for (row, &(exact, error, off, _)) in rows.iter().enumerate() {
            ranking.push(Near { distance: exact as f32 + error * off, error: error * 1.001 + 1e-4, row });
        }
        let mut order = Vec::new();
        let mut measured = 0;
        let mut measure = |row: &usize| {
            measured += 1;
            let (exact, _, _, visible) = rows[*row];
            // finer than an internal distance tells
            let operator = exact as f64 + *row as f64 * 1e-12;
            visible.then_some(Exact { operator, internal: exact as f32 })
        };
        while let Some(near) = ranking.pop(&mut measure) {
            order.push(near.row);
        }
        prop_assert_eq!(ranking.measured(), measured);
        prop_assert!(ranking.is_empty());
        let seen: HashSet<usize> = order.iter().copied().collect();
        prop_assert_eq!(seen.len(), order.len());
        for (row, &(_, _, _, visible)) in rows.iter().enumerate() {
            prop_assert!(seen.contains(&row) || !visible, "a visible row is missing");
        }
        // rows that nobody had to look at may come although they are not visible, in their place
        let key = |row: usize| (rows[row].0, row);
        let visible: Vec<_> = order.iter().filter(|&&row| rows[row].3).map(|&row| key(row)).collect();
        prop_assert!(visible.is_sorted_by_key(|key| key.0));
        prop_assert!(visible.is_sorted(), "equal internal distances are told apart by the operator's");
    }

    #[test]
    fn a_key_set_is_a_set(keys in proptest::collection::vec(1u64..5_000, 0..4_000)) {
        let mut set = KeySet::new();
        for _ in 0..2 {
            let mut expected = HashSet::new();
            for &key in &keys {
                prop_assert_eq!(set.insert(key), expected.insert(key));
            }
            set.clear();
        }
    }
}

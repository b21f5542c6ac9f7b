//! Growth in memory: an index of lists as rows, and how much of it a search has to read.

use super::grow::{AROUND, Arrangement, Fate, Held, NEIGHBOURS, Placed, Pool, Sizes, arrange};
use crate::cluster::{Alone, Lists, Rows, Training, train};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

/// Rows around some centres.
fn clustered(dims: usize, count: usize, centres: usize, seed: u64) -> Rows {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut point = |spread: f32| -> Vec<f32> {
        (0..dims)
            .map(|_| spread * (random.f32() + random.f32() + random.f32() - 1.5))
            .collect()
    };
    let centres: Vec<Vec<f32>> = (0..centres).map(|_| point(2.0)).collect();
    let mut rows = Rows::new(dims);
    for row in 0..count {
        let near = point(1.0);
        let centre = &centres[row % centres.len()];
        let sum: Vec<f32> = near.iter().zip(centre).map(|(a, b)| a + b).collect();
        rows.push_point(&sum);
    }
    rows
}

fn pick(rows: &Rows, numbers: impl IntoIterator<Item = u32>) -> Rows {
    let mut picked = Rows::new(rows.dims());
    for row in numbers {
        picked.push_scaled(rows.scale(row as usize), rows.code(row as usize));
    }
    picked
}

/// An index in memory.
struct Index {
    centroids: Rows,
    lists: Vec<Vec<Placed>>,
    undivided: Vec<usize>,
    /// copies written by arranging lists
    moves: usize,
}

impl Index {
    fn empty(dims: usize) -> Index {
        let mut centroids = Rows::new(dims);
        centroids.push_point(&vec![0.0; dims]);
        Index {
            centroids,
            lists: vec![Vec::new()],
            undivided: vec![0],
            moves: 0,
        }
    }

    fn built(rows: &Rows, numbers: &[u32], lists: usize) -> Index {
        let of_index = pick(rows, numbers.iter().copied());
        let training = Training {
            lists,
            iterations: 8,
            seed: 1,
            sphere: None,
        };
        let centroids = train(&of_index, training, &mut Alone);
        let mut index = Index {
            lists: vec![Vec::new(); centroids.len()],
            undivided: vec![0; centroids.len()],
            centroids,
            moves: 0,
        };
        let pairs = Lists::of(&index.centroids).nearest_two(&of_index, &mut Alone);
        for (&row, pair) in numbers.iter().zip(pairs) {
            index.put(row, pair.first as usize, false);
            index.put(row, pair.second as usize, true);
        }
        index.undivided = index.lists.iter().map(Vec::len).collect();
        index
    }

    fn put(&mut self, row: u32, list: usize, is_second: bool) {
        self.lists[list].push(Placed { row, is_second });
    }

    fn insert(&mut self, rows: &Rows, row: u32, total: usize) {
        let one = pick(rows, [row]);
        let pair = Lists::of(&self.centroids).nearest_two(&one, &mut Alone)[0];
        self.put(row, pair.first as usize, false);
        if pair.second != pair.first {
            self.put(row, pair.second as usize, true);
        }
        let sizes = Sizes::of(total as f64, 2, None);
        for list in [pair.first as usize, pair.second as usize] {
            let copies = self.lists[list].len();
            if sizes.is_too_large(copies, self.undivided[list]) {
                self.arrange(rows, list, Fate::Divided(sizes.parts(copies)));
                return;
            }
        }
    }

    fn arrange(&mut self, rows: &Rows, cause: usize, fate: Fate) {
        let mut order: Vec<(f32, usize)> = (0..self.lists.len())
            .map(|list| {
                let c = &self.centroids;
                let own = c.product(list, c, list);
                (own - 2.0 * c.product(list, c, cause), list)
            })
            .filter(|&(_, list)| list != cause)
            .collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut members = vec![cause];
        members.extend(order.iter().take(NEIGHBOURS).map(|&(_, list)| list));
        let around = order.iter().skip(NEIGHBOURS).take(AROUND);
        let around = pick(&self.centroids, around.map(|&(_, list)| list as u32));
        let centroids = pick(&self.centroids, members.iter().map(|&list| list as u32));
        let mut at: HashMap<u32, usize> = HashMap::new();
        let (mut numbers, mut held, mut of_cause) = (Vec::new(), Vec::new(), Vec::new());
        for &list in &members {
            for &Placed { row, is_second } in &self.lists[list] {
                let known = *at.entry(row).or_insert_with(|| {
                    numbers.push(row);
                    held.push(if is_second { Held::Second } else { Held::First });
                    numbers.len() - 1
                });
                if (held[known] == Held::Second) != is_second {
                    held[known] = Held::Both;
                }
                if list == cause {
                    of_cause.push(known as u32);
                }
            }
        }
        let pool = Pool {
            centroids: &centroids,
            cause: (0, fate),
            rows: &pick(rows, numbers.iter().copied()),
            held: &held,
            of_cause: &of_cause,
            around: &around,
            is_whole: members.len() == self.lists.len(),
            copies: 2,
            seed: 7,
            sphere: None,
        };
        let Some(Arrangement { centroids, lists }) = arrange(&pool) else {
            self.undivided[cause] = self.lists[cause].len();
            return;
        };
        let kept: Vec<u32> = (0..self.lists.len() as u32)
            .filter(|&list| !members.contains(&(list as usize)))
            .collect();
        let mut all = pick(&self.centroids, kept.iter().copied());
        let mut all_lists: Vec<_> = kept
            .iter()
            .map(|&list| std::mem::take(&mut self.lists[list as usize]))
            .collect();
        let mut undivided: Vec<_> = kept
            .iter()
            .map(|&list| self.undivided[list as usize])
            .collect();
        for (list, copies) in lists.into_iter().enumerate() {
            all.push_scaled(centroids.scale(list), centroids.code(list));
            self.moves += copies.len();
            undivided.push(
                members
                    .get(list + 1)
                    .map_or(0, |&member| self.undivided[member]),
            );
            let named = copies.iter().map(|placed| Placed {
                row: numbers[placed.row as usize],
                ..*placed
            });
            all_lists.push(named.collect());
        }
        (self.centroids, self.lists, self.undivided) = (all, all_lists, undivided);
    }

    /// Copies read for recall .95 of the ten nearest of some rows, on average.
    fn reads(&self, rows: &Rows, queries: &Rows, nearest: &[Vec<u32>]) -> f64 {
        let mut points: Vec<(f64, usize)> = vec![(0.0, 0); self.lists.len()];
        for (query, nearest) in nearest.iter().enumerate() {
            let mut order: Vec<(f32, usize)> = (0..self.lists.len())
                .map(|list| {
                    let c = &self.centroids;
                    let own = c.product(list, c, list);
                    (own - 2.0 * c.product(list, queries, query), list)
                })
                .collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut found = HashSet::new();
            let mut read = 0;
            for (point, (_, list)) in points.iter_mut().zip(order) {
                read += self.lists[list].len();
                let copies = self.lists[list].iter().map(|placed| placed.row);
                found.extend(copies.filter(|row| nearest.contains(row)));
                point.0 += found.len() as f64 / nearest.len() as f64;
                point.1 += read;
            }
        }
        let _ = rows;
        let count = nearest.len() as f64;
        let (mut before, mut reads) = ((0.0, 0.0), 0.0);
        for (recall, read) in points {
            let (recall, read) = (recall / count, read as f64 / count);
            reads = read;
            if recall >= 0.95 {
                let share = (0.95 - before.0) / (recall - before.0).max(1e-9);
                return before.1 + share * (read - before.1);
            }
            before = (recall, read);
        }
        reads
    }

    /// Every row has a first copy, and two copies in different lists if there is more than one.
    fn check(&self, rows: &[u32]) {
        let mut copies: HashMap<u32, Vec<(usize, bool)>> = HashMap::new();
        for (list, placed) in self.lists.iter().enumerate() {
            for placed in placed {
                let of_row = copies.entry(placed.row).or_default();
                of_row.push((list, placed.is_second));
            }
        }
        assert_eq!(copies.len(), rows.len());
        let mut twice = 0;
        for row in rows {
            let of_row = &copies[row];
            assert!(of_row.len() <= 2, "row {row}: {of_row:?}");
            assert!(of_row.iter().filter(|(_, is_second)| !is_second).count() == 1);
            twice += (of_row.len() == 2 && of_row[0].0 != of_row[1].0) as usize;
        }
        if self.lists.len() > 1 {
            assert!(twice * 100 >= rows.len() * 95, "{twice} of {}", rows.len());
        }
    }
}

fn exact(rows: &Rows, numbers: &[u32], queries: &Rows) -> Vec<Vec<u32>> {
    (0..queries.len())
        .map(|query| {
            let mut order: Vec<(f32, u32)> = numbers
                .iter()
                .map(|&row| {
                    let own = rows.product(row as usize, rows, row as usize);
                    (own - 2.0 * rows.product(row as usize, queries, query), row)
                })
                .collect();
            order.select_nth_unstable_by(9, |a, b| a.0.total_cmp(&b.0));
            order[..10].iter().map(|&(_, row)| row).collect()
        })
        .collect()
}

const DIMS: usize = 24;

#[test]
fn an_index_filled_row_by_row_reads_at_most_twice_what_a_build_does() {
    let rows = clustered(DIMS, 12_000, 40, 3);
    let queries = clustered(DIMS, 200, 40, 3);
    for ordered in [false, true] {
        let mut numbers: Vec<u32> = (0..rows.len() as u32).collect();
        if ordered {
            numbers.sort_by_key(|row| (row % 40, *row));
        }
        let mut grown = Index::empty(DIMS);
        for (at, &row) in numbers.iter().enumerate() {
            grown.insert(&rows, row, at + 1);
        }
        grown.check(&numbers);
        let built = Index::built(&rows, &numbers, grown.lists.len());
        let nearest = exact(&rows, &numbers, &queries);
        let reads = grown.reads(&rows, &queries, &nearest);
        let of_build = built.reads(&rows, &queries, &nearest);
        assert!(
            reads <= 2.0 * of_build,
            "ordered {ordered}: {reads} against {of_build}"
        );
        assert!(grown.lists.len() > 90, "{} lists", grown.lists.len());
        assert!(
            grown.moves < 25 * rows.len(),
            "a row was moved {} times",
            grown.moves / rows.len()
        );
    }
}

#[test]
fn lists_trained_on_one_topic_follow_the_rows_of_others() {
    let rows = clustered(DIMS, 12_000, 30, 5);
    let (known, other): (Vec<u32>, Vec<u32>) = (0..rows.len() as u32).partition(|row| row % 30 < 5);
    let mut grown = Index::built(&rows, &known, 30);
    for (at, &row) in other.iter().enumerate() {
        grown.insert(&rows, row, known.len() + at + 1);
    }
    let numbers: Vec<u32> = (0..rows.len() as u32).collect();
    grown.check(&numbers);
    let built = Index::built(&rows, &numbers, grown.lists.len());
    let queries = clustered(DIMS, 200, 30, 5);
    let nearest = exact(&rows, &numbers, &queries);
    let reads = grown.reads(&rows, &queries, &nearest);
    let of_build = built.reads(&rows, &queries, &nearest);
    assert!(reads <= 2.0 * of_build, "{reads} against {of_build}");
}

#[test]
fn lists_of_a_build_are_not_all_divided_at_once() {
    let rows = clustered(DIMS, 24_000, 40, 6);
    let numbers: Vec<u32> = (0..rows.len() as u32).collect();
    let (built, more) = numbers.split_at(8_000);
    let mut index = Index::built(&rows, built, 125);
    let mut moves = Vec::new();
    for (at, &row) in (built.len() + 1..).zip(more) {
        let before = index.moves;
        index.insert(&rows, row, at);
        moves.push(index.moves - before);
    }
    let most = moves.windows(1200).map(|some| some.iter().sum::<usize>());
    let most = most.max().unwrap_or(0);
    let average = moves.iter().sum::<usize>() * 1200 / moves.len();
    assert!(
        most < 3 * average,
        "{most} copies are moved by 1,200 inserts, {average} on average"
    );
}

#[test]
fn a_dissolved_list_leaves_its_rows_to_its_neighbours() {
    let rows = clustered(DIMS, 3_000, 10, 9);
    let numbers: Vec<u32> = (0..rows.len() as u32).collect();
    let mut index = Index::built(&rows, &numbers, 20);
    let before = index.lists.len();
    index.arrange(&rows, 4, Fate::Dissolved);
    assert_eq!(index.lists.len(), before - 1);
    index.check(&numbers);
}

#[test]
fn rows_that_are_all_the_same_are_not_divided() {
    let mut rows = Rows::new(DIMS);
    for _ in 0..1000 {
        rows.push_point(&std::array::from_fn::<f32, DIMS, _>(|n| {
            0.1 + n as f32 / 7.0
        }));
    }
    let mut index = Index::empty(DIMS);
    for row in 0..1000 {
        index.insert(&rows, row, row as usize + 1);
    }
    assert_eq!(index.lists.len(), 1);
    assert_eq!(index.lists[0].len(), 1000);
}

#[test]
fn sizes_follow_the_rows_or_the_number_that_was_given() {
    let tiny = Sizes::of(999.0, 1, None);
    assert!(!tiny.is_too_large(999, 0) && !tiny.is_too_small(1, 5));
    let few = Sizes::of(1000.0, 2, None);
    assert!(!few.is_too_large(150, 0) && few.is_too_large(200, 0));
    assert!(
        !few.is_too_large(200, 190),
        "it could not be divided just now"
    );
    assert_eq!((few.parts(200), few.parts(1000)), (2, 8));
    let many = Sizes::of(1e6, 1, None);
    assert!(!many.is_too_large(300, 0) && many.is_too_large(400, 0));
    let given = Sizes::of(1e6, 1, Some(100));
    assert!(!given.is_too_large(12_400, 0) && given.is_too_large(12_600, 0));
    assert!(given.is_too_small(2_400, 200) && !given.is_too_small(2_600, 200));
    assert!(
        !given.is_too_small(0, 100),
        "as many lists as were asked for"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_copy_of_a_pool_is_in_one_of_its_new_lists(
        seed in any::<u64>(),
        count in 1usize..200,
        lists in 1usize..6,
        copies in 1usize..=2,
        fate in prop::sample::select(vec![Fate::Divided(2), Fate::Divided(7), Fate::Dissolved]),
        spread in 1usize..5,
        is_whole in any::<bool>(),
    ) {
        let rows = clustered(5, count, spread, seed);
        let centroids = clustered(5, lists, lists, seed ^ 1);
        let around = clustered(5, if is_whole { 0 } else { 3 }, 3, seed ^ 2);
        let mut random = fastrand::Rng::with_seed(seed);
        let held: Vec<Held> = (0..count)
            .map(|_| match (copies, random.u8(..3)) {
                (1, _) | (_, 0) => Held::First,
                (_, 1) => Held::Second,
                _ => Held::Both,
            })
            .collect();
        let of_cause: Vec<u32> = (0..count as u32).filter(|_| random.bool()).collect();
        let pool = Pool {
            centroids: &centroids,
            cause: (0, fate),
            rows: &rows,
            held: &held,
            of_cause: &of_cause,
            around: &around,
            is_whole,
            copies,
            seed,
            sphere: None,
        };
        let Some(made) = arrange(&pool) else {
            return Ok(());
        };
        let expected = match fate {
            Fate::Divided(2) => lists + 1,
            Fate::Divided(most) => {
                prop_assert!(made.centroids.len() < lists + most);
                made.centroids.len()
            }
            Fate::Dissolved => lists - 1,
        };
        prop_assert_eq!(made.centroids.len(), expected);
        prop_assert_eq!(made.lists.len(), expected);
        let mut found = vec![Vec::new(); count];
        for (list, placed) in made.lists.iter().enumerate() {
            for placed in placed {
                found[placed.row as usize].push((list, placed.is_second));
            }
        }
        for (row, found) in found.iter().enumerate() {
            let mut distinct: Vec<usize> = found.iter().map(|&(list, _)| list).collect();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), found.len(), "two copies in one list");
            let seconds = found.iter().filter(|(_, is_second)| *is_second).count();
            if copies == 2 && (held[row] == Held::Both || is_whole) {
                prop_assert_eq!(found.len() - seconds, 1);
                prop_assert_eq!(seconds, (expected > 1) as usize);
            } else {
                prop_assert_eq!(found.len(), 1);
                prop_assert_eq!(seconds == 1, held[row] == Held::Second);
            }
        }
    }
}

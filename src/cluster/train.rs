//! k-means.

use super::crew::{Crew, Tasks};
use super::lists::{MOST_FLAT, Near, OF_GROUP};
use super::{Lists, Rows};
use crate::distance::lanes::{Isa, for_every_isa};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};
use std::sync::atomic::AtomicBool;

/// What is asked of a training.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// how many lists, at least one
    pub lists: usize,
    /// how often centroids move to the mean of their rows; 8 to 10 are enough
    pub iterations: usize,
    /// decides everything that is random
    pub seed: u64,
    /// Where centroids are to have length one: what has to be added to a row for its length to mean
    /// something, `Codec::rotated_centroid`. Under cosine this finds more rows in the same number of
    /// lists than means do.
    pub sphere: Option<&'a [f32]>,
}

/// A list in which rows are this many times as far from their centroid, all together, as in one of average
/// distances is to be two: most likely it has rows of two clusters, of which only one got a centroid.
const TOO_MUCH: f64 = 4.0;

/// Lists whose centroids are summed up by one task.
const TASK: usize = 32;

/// Rows of a sample for each group of lists.
const FOR_A_GROUP: usize = 256;

/// Rows for each list in the first half of a training. Where centroids are far from their places, a few rows show the
/// way as well as all (mini-batch k-means, Sculley 2010).
const EARLY_ROWS: usize = 16;

/// How often all centroids move after their groups were trained one by one.
const REFINEMENTS: usize = 3;

/// Centroids of lists for rows like these: as many as asked for, or fewer where there are not so many
/// different rows. The result depends on the rows, their order and the seed alone.
///
/// Beyond 16,384 lists it trains groups of four lists first and then the lists of each group, and mends the borders
/// between groups in the end.
///
/// # Panics
/// Without rows.
pub fn train(rows: &Rows, training: Training<'_>, crew: &mut dyn Crew) -> Rows {
    train_beyond(MOST_FLAT, rows, training, crew)
}

pub(super) fn train_beyond(
    most_flat: usize,
    rows: &Rows,
    training: Training<'_>,
    crew: &mut dyn Crew,
) -> Rows {
    assert!(!rows.is_empty(), "k-means of nothing");
    if training.lists <= most_flat {
        return distinct(&flat_k_means(rows, training, crew));
    }
    let mut random = fastrand::Rng::with_seed(training.seed);
    let mut centroids = grouped_k_means(rows, training, crew);
    for _ in 0..REFINEMENTS {
        let nearest = Lists::of(&centroids).nearest(rows, crew);
        let lists = centroids.len();
        centroids = moved(
            rows,
            lists,
            &nearest,
            training,
            Gaps::Empty,
            &mut random,
            crew,
        );
    }
    distinct(&centroids)
}

/// k-means that compares each row with each centroid.
pub(super) fn flat_k_means(rows: &Rows, training: Training<'_>, crew: &mut dyn Crew) -> Rows {
    let lists = training.lists.clamp(1, rows.len());
    let mut random = fastrand::Rng::with_seed(training.seed);
    let mut centroids = some_rows(rows, lists, &mut random);
    let early = early(rows, lists);
    let mut known: Option<Vec<Near>> = None;
    for iteration in 0..training.iterations {
        // centroids that were taken from elsewhere have the other half of the time to find their places
        let is_early = 2 * iteration < training.iterations;
        let (rows, gaps) = match is_early {
            true => (early.as_ref().unwrap_or(rows), Gaps::WhereLeastIsLost),
            false => (rows, Gaps::Empty),
        };
        let all = Lists::of(&centroids);
        // once all rows have found a list, centroids move little
        let nearest = match &known {
            Some(before) if all.are_many() => all.nearest_again(rows, before, crew),
            _ => all.nearest(rows, crew),
        };
        centroids = moved(rows, lists, &nearest, training, gaps, &mut random, crew);
        known = (!is_early).then_some(nearest);
    }
    centroids
}

/// The rows by which centroids move while they are far from their places; `None` where all are needed.
fn early(rows: &Rows, lists: usize) -> Option<Rows> {
    let count = EARLY_ROWS * lists;
    (2 * count <= rows.len()).then(|| rows.some(&every(rows.len(), count)))
}

/// So many numbers below `all`, at equal distances.
fn every(all: usize, count: usize) -> Vec<u32> {
    (0..count).map(|at| (at * all / count) as u32).collect()
}

/// k-means of groups, and of lists in each.
fn grouped_k_means(rows: &Rows, training: Training<'_>, crew: &mut dyn Crew) -> Rows {
    let groups = training.lists.div_ceil(OF_GROUP);
    let count = (FOR_A_GROUP * groups).min(rows.len());
    let sample = every(rows.len(), count);
    let of_groups = Training {
        lists: groups,
        sphere: None,
        ..training
    };
    let centres = flat_k_means(&rows.some(&sample), of_groups, crew);
    let nearest = Lists::of(&centres).nearest(rows, crew);
    let members = Members::of(&nearest, centres.len());
    let sizes = (0..centres.len()).map(|group| members.of_list(group).len());
    let mut centroids = Rows::new(rows.dims());
    for (group, lists) in shares(training.lists, rows.len(), sizes)
        .into_iter()
        .enumerate()
    {
        if lists == 0 {
            continue;
        }
        let members = members.of_list(group);
        let of_group = Training {
            lists,
            seed: training.seed.wrapping_add(1 + group as u64),
            ..training
        };
        let own = flat_k_means(&rows.some(members), of_group, crew);
        for list in 0..own.len() {
            centroids.push_scaled(own.scale(list), own.code(list));
        }
    }
    centroids
}

/// As many lists for each group as its share of the rows, but one where there are rows at all, and no more
/// than `lists` together; there are fewer groups than lists.
fn shares(lists: usize, rows: usize, sizes: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut seen = 0;
    let mut shares: Vec<usize> = sizes
        .map(|size| {
            let before = seen * lists / rows;
            seen += size;
            (seen * lists / rows - before).max((size > 0) as usize)
        })
        .collect();
    for _ in lists..shares.iter().sum() {
        if let Some(largest) = shares.iter_mut().max() {
            *largest -= 1;
        }
    }
    shares
}

/// Which lists give their centroids to lists that have more rows, or farther ones, than one centroid can
/// stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gaps {
    /// those without rows
    Empty,
    /// those, and where a list has [`TOO_MUCH`] those whose rows are nearest to them, all together
    WhereLeastIsLost,
}

/// Centroids at the means of the rows nearest to them.
fn moved(
    rows: &Rows,
    lists: usize,
    nearest: &[Near],
    training: Training<'_>,
    gaps: Gaps,
    random: &mut fastrand::Rng,
    crew: &mut dyn Crew,
) -> Rows {
    let members = Members::of(nearest, lists);
    let mut points = means(rows, &members, crew);
    let mut loads = vec![0.0; lists];
    for near in nearest {
        loads[near.list as usize] += near.distance as f64;
    }
    fill_gaps(rows, &members, &loads, gaps, &mut points, random);
    let mut moved = Rows::new(rows.dims());
    for point in points.chunks_exact_mut(rows.dims()) {
        if let Some(origin) = training.sphere {
            onto_sphere(point, origin);
        }
        moved.push_point(point);
    }
    moved
}

/// Rows at random, each at most once.
fn some_rows(rows: &Rows, count: usize, random: &mut fastrand::Rng) -> Rows {
    let mut numbers: Vec<u32> = (0..rows.len() as u32).collect();
    for at in 0..count {
        let other = random.usize(at..numbers.len());
        numbers.swap(at, other);
    }
    rows.some(&numbers[..count])
}

/// The rows of each list, in their order.
pub(super) struct Members {
    /// where each list begins, and the end
    starts: Vec<usize>,
    rows: Vec<u32>,
}

impl Members {
    pub(super) fn of(nearest: &[Near], lists: usize) -> Members {
        let mut starts = vec![0; lists + 2];
        for near in nearest {
            starts[near.list as usize + 2] += 1;
        }
        for at in 2..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut rows = vec![0; nearest.len()];
        for (row, near) in nearest.iter().enumerate() {
            let next = &mut starts[near.list as usize + 1];
            rows[*next] = row as u32;
            *next += 1;
        }
        starts.pop();
        Members { starts, rows }
    }

    fn lists(&self) -> usize {
        self.starts.len() - 1
    }

    /// All rows, list by list.
    pub(super) fn all(&self) -> &[u32] {
        &self.rows
    }

    pub(super) fn of_list(&self, list: usize) -> &[u32] {
        &self.rows[self.starts[list]..self.starts[list + 1]]
    }
}

/// The mean of each list's rows, one after another; zeros where there is none.
fn means(rows: &Rows, members: &Members, crew: &mut dyn Crew) -> Vec<f32> {
    let dims = rows.dims();
    let mut points = vec![0.0; members.lists() * dims];
    let tasks = Tasks::new(points.chunks_mut(TASK * dims).zip((0..).step_by(TASK)));
    crew.run(&|stop: &AtomicBool| {
        while let Some((points, start)) = tasks.next(stop) {
            for (list, point) in (start..).zip(points.chunks_exact_mut(dims)) {
                let members = members.of_list(list);
                for &row in members {
                    add_row(point, rows, row as usize);
                }
                let share = 1.0 / members.len().max(1) as f32;
                point.iter_mut().for_each(|x| *x *= share);
            }
        }
    });
    points
}

/// Adds a row to the sum of some.
pub fn add_row(sum: &mut [f32], rows: &Rows, row: usize) {
    add(Isa::best(), sum, rows.scale(row), rows.code(row));
}

for_every_isa! {
    fn add(isa: Isa, sum: &mut [f32], scale: f32, code: &[i8]) {
        let _ = isa;
        for (sum, &i) in sum.iter_mut().zip(code) {
            *sum += scale * i as f32;
        }
    }
}

/// Puts centroids that are hardly needed, or not at all, at a row of a list with the greatest load, which then
/// counts as two halves. `loads` has the sum of distances of each list's rows.
fn fill_gaps(
    rows: &Rows,
    members: &Members,
    loads: &[f64],
    gaps: Gaps,
    points: &mut [f32],
    random: &mut fastrand::Rng,
) {
    let dims = rows.dims();
    let too_much = TOO_MUCH * loads.iter().sum::<f64>() / loads.len() as f64;
    // of lists that cannot be two there is nothing to give away; of equal ones the longest comes first
    let size = |list: usize| members.of_list(list).len();
    let divisible = (0..members.lists()).filter(|&list| size(list) > 1);
    let mut greatest: BinaryHeap<(Load, usize, usize)> = divisible
        .map(|list| (Load(loads[list]), size(list), list))
        .collect();
    let mut givers: Vec<usize> = (0..members.lists()).collect();
    // the empty ones first
    let key = |list: usize| (!members.of_list(list).is_empty(), Load(loads[list]), list);
    givers.sort_by_key(|&list| key(list));
    for giver in givers {
        let is_empty = members.of_list(giver).is_empty();
        let Some(&(Load(load), size, list)) = greatest.peek() else {
            return;
        };
        let is_gap = is_empty
            || (gaps == Gaps::WhereLeastIsLost
                && load > too_much
                && loads[giver] * TOO_MUCH < load);
        if !is_gap || size < 2 {
            return;
        }
        greatest.pop();
        greatest.push((Load(load / 2.0), size - size / 2, list));
        greatest.push((Load(load / 2.0), size / 2, list));
        let of_list = members.of_list(list);
        let row = of_list[random.usize(..of_list.len())] as usize;
        let point = &mut points[giver * dims..][..dims];
        point.fill(0.0);
        add_row(point, rows, row);
    }
}

/// What a list's centroid leaves to be desired: the sum of its rows' distances.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Load(f64);

impl Eq for Load {}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Scales a point to length one, as seen from an origin at `-origin`.
pub fn onto_sphere(point: &mut [f32], origin: &[f32]) {
    let pairs = || point.iter().zip(origin);
    let squared: f64 = pairs().map(|(x, o)| (*x as f64 + *o as f64).powi(2)).sum();
    if squared > 0.0 {
        let factor = 1.0 / squared.sqrt();
        for (x, o) in point.iter_mut().zip(origin) {
            *x = ((*x as f64 + *o as f64) * factor - *o as f64) as f32;
        }
    }
}

/// All centroids that are different.
fn distinct(centroids: &Rows) -> Rows {
    let mut seen = HashSet::new();
    let mut distinct = Rows::new(centroids.dims());
    for list in 0..centroids.len() {
        let (scale, code) = (centroids.scale(list), centroids.code(list));
        if seen.insert((scale.to_bits(), code)) {
            distinct.push_scaled(scale, code);
        }
    }
    distinct
}

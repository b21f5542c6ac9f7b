//! How an index of lists grows: when a list is divided, and where its rows and its neighbours' then go.
//!
//! A list that has outgrown its size is divided by 2-means (one that is far too large into more, by k-means),
//! and the lists around it are arranged anew
//! with it: halves alone (as in SPFresh: Xu et al., SOSP 2023) leave boundaries where the first rows
//! happened to put them, so that searches have to read more and more lists that hold parts of the same
//! neighbourhood. Measured on 116,659 sentence embeddings of 384 dimensions in random order, loaded one by one into an
//! empty index, rows read for recall .95, and how often a row is moved on the way:
//!
//! | lists arranged anew with a divided one | one step of k-means | moves of a row | three steps, divided earlier | moves |
//! |---|---|---|---|---|
//! | 4 | | | 3,424 | 9 |
//! | 6 | | | 3,112 | 12 |
//! | 8 | 4,916 | 14 | 3,617 | 15 |
//! | 12 | 4,701 | 19 | | |
//! | 24 | 3,721 | 34 | | |
//!
//! k-means over all rows needs 2,545 in as many lists (1,446). What a step leaves to be desired is that a sixth of the rows
//! are not in their nearest list afterwards, after three steps a tenth; steps take hardly any time, as reading and writing lists
//! does. "Divided earlier" is at 1.25 times the size of an average list instead of 1.5: more lists for as many moves.
//!
//! A row's copy never leaves the lists that are arranged together, so nothing but these lists changes:
//! all of them are replaced by new ones with new names, and that is the only way rows ever move. Centroids
//! follow their rows whenever a list takes part.

use crate::cluster::{self, Alone, Lists, Rows, Training};

/// Lists that are arranged anew with one that is divided or dissolved.
pub const NEIGHBOURS: usize = 6;
/// Lists around those, which a row's first copy may be in when its second is placed.
pub const AROUND: usize = 32;
/// A list is divided when it has so many times the copies of an average one.
const MOST: f64 = 1.25;
/// A list is dissolved when it has less than this part of an average one's.
const LEAST: f64 = 0.25;
/// Lists are dissolved where an index has so many times those that its rows are worth. A few small ones
/// cost a search nothing.
const TOO_MANY: f64 = 1.5;
/// Rows below which one list is as good as many.
const FEWEST_ROWS_OF_LISTS: f64 = 1_000.0;
/// Lists are no smaller than this on average, however many are asked for.
const FEWEST_ROWS: f64 = 64.0;
/// So many times the square root of the rows is how many lists there are. The more, the fewer rows a search reads, and
/// the more centroids.
const OF_ROOT: f64 = 8.0;
/// The same of an index that grows: lists are divided once they are as large as those of so many. Dividing smaller ones
/// takes an insert three times as long, and the rows that a grown index reads do not get fewer.
const OF_ROOT_GROWN: f64 = 4.0;
/// A list is divided into so many at most.
const MOST_PARTS: usize = 64;
/// Copies that are arranged at a time, whatever the lists' size.
const MOST_AT_ONCE: f64 = 32_000.0;
/// A list that could not be divided, or that a build left as large, is not looked at again until it has grown by a
/// factor, at least the first and less than the second. All lists of a build grow alike: by one factor they would all
/// be divided at once, and inserts take ten times as long meanwhile.
const GROWN: (f64, f64) = (1.25, 2.0);
/// No fraction of small numbers is near it.
const GOLDEN_RATIO: f64 = 1.618_033_988_749_895;
/// Rows below which a centroid stays where it is: their mean says little.
const FEWEST_FOR_MEAN: usize = 4;
/// Centroids no farther from each other than this part of their squares are the same.
const SAME: f32 = 1e-6;
/// Iterations of k-means where a list is divided into more than two.
const ITERATIONS: usize = 6;
/// Steps of k-means over all lists that are arranged together. Five or eight gain nothing more.
const STEPS: usize = 3;

/// How many lists serve so many rows best, where the user does not say.
pub fn lists_for(rows: f64) -> f64 {
    if rows < FEWEST_ROWS_OF_LISTS {
        return 1.0;
    }
    lists_by(OF_ROOT, rows)
}

/// So many times the root of the rows, but no list of fewer than [`FEWEST_ROWS`].
fn lists_by(of_root: f64, rows: f64) -> f64 {
    (of_root * rows.sqrt()).min(rows / FEWEST_ROWS)
}

/// How large lists of an index are to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// copies that a list is to have on average as the index grows
    average: f64,
    /// lists that the rows are worth, or that the user asked for
    lists: f64,
}

impl Sizes {
    /// Of an index with so many rows, each in `copies` lists; `given` is the number of lists that the
    /// user asked for.
    pub fn of(rows: f64, copies: usize, given: Option<usize>) -> Sizes {
        let (lists, grown) = match given {
            Some(given) => (given.max(1) as f64, given.max(1) as f64),
            None => (lists_for(rows), lists_by(OF_ROOT_GROWN, rows)),
        };
        if rows < FEWEST_ROWS_OF_LISTS {
            return Sizes {
                average: f64::INFINITY,
                lists: f64::INFINITY,
            };
        }
        Sizes {
            average: (rows / grown).max(FEWEST_ROWS) * copies as f64,
            lists,
        }
    }

    /// Whether a list with so many copies is to be divided. `undivided` is how many it had when that could
    /// not be done, or when it was built, or 0.
    pub fn is_too_large(self, copies: usize, undivided: usize) -> bool {
        copies as f64 > MOST * self.average && copies as f64 > grown(undivided) * undivided as f64
    }

    /// Into how many lists one with so many copies is to be divided.
    pub fn parts(self, copies: usize) -> usize {
        ((copies as f64 / self.average).ceil() as usize).clamp(2, MOST_PARTS)
    }

    /// Whether a list with so many copies, one of `lists`, is to be dissolved into its neighbours.
    pub fn is_too_small(self, copies: usize, lists: usize) -> bool {
        let is_small = copies == 0 || (copies as f64) < LEAST * self.average;
        is_small && self.average.is_finite() && lists as f64 > TOO_MANY * self.lists
    }

    /// Copies that are arranged at a time: more would keep an insert waiting.
    pub fn most_at_once(self) -> usize {
        ((NEIGHBOURS + 2) as f64 * MOST * self.average).min(MOST_AT_ONCE) as usize
    }
}

/// The factor by which a list of so many copies is to grow. Different for lists of different sizes, and as often small
/// as large: of the multiples of the golden ratio the parts after the point.
fn grown(copies: usize) -> f64 {
    let part = (copies as f64 * GOLDEN_RATIO).fract();
    GROWN.0 + part * (GROWN.1 - GROWN.0)
}

/// What lists being arranged anew have of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// its copy in its nearest list
    First,
    /// the other copy
    Second,
    /// both
    Both,
}

/// What becomes of one of the lists being arranged anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// its rows are shared out among so many, or fewer where they are not different enough
    Divided(usize),
    /// its rows go to the others
    Dissolved,
}

/// Lists that are arranged anew.
pub struct Pool<'a> {
    /// their centroids
    pub centroids: &'a Rows,
    /// which of them is the reason, and what is to become of it
    pub cause: (usize, Fate),
    /// rows that have copies in these lists, each once
    pub rows: &'a Rows,
    /// for each row, which copies
    pub held: &'a [Held],
    /// the rows in the list that is the reason
    pub of_cause: &'a [u32],
    /// centroids of the nearest lists that are not arranged
    pub around: &'a Rows,
    /// every list of the index is in the pool
    pub is_whole: bool,
    /// lists that a row is to be in
    pub copies: usize,
    /// decides what is random
    pub seed: u64,
    /// where centroids are to have length one, as [`Training::sphere`] has it
    pub sphere: Option<&'a [f32]>,
}

/// A copy in a new list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// number of the row
    pub row: u32,
    /// it is the row's second copy
    pub is_second: bool,
}

/// What a pool of lists becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrangement {
    /// centroids of the new lists: first of those that were not the reason, in the order of the pool, then of its parts
    pub centroids: Rows,
    /// their copies
    pub lists: Vec<Vec<Placed>>,
}

/// Arranges lists anew. `None` where the reason for it cannot be dealt with: the rows of a list to be
/// divided are all the same, or there is no other list to dissolve one into.
///
/// Every copy that is in the pool is in one of the new lists; a row never has two in the same list,
/// unless there is only one.
pub fn arrange(pool: &Pool<'_>) -> Option<Arrangement> {
    let mut centroids = starts(pool)?;
    for _ in 0..STEPS {
        move_to_means(pool, &mut centroids);
    }
    let placement = Placement::new(pool, &centroids);
    let mut lists = vec![Vec::new(); centroids.len()];
    placement.each(|list, placed| lists[list].push(placed));
    Some(Arrangement { centroids, lists })
}

/// Where the new centroids start from.
fn starts(pool: &Pool<'_>) -> Option<Rows> {
    let (cause, fate) = pool.cause;
    let mut centroids = Rows::new(pool.centroids.dims());
    for list in (0..pool.centroids.len()).filter(|&list| list != cause) {
        copy_row(pool.centroids, list, &mut centroids);
    }
    if let Fate::Divided(count) = fate {
        let parts = parts(pool, count)?;
        for part in 0..parts.len() {
            copy_row(&parts, part, &mut centroids);
        }
    }
    (!centroids.is_empty()).then_some(centroids)
}

/// The centroids of the parts of the list to be divided.
fn parts(pool: &Pool<'_>, count: usize) -> Option<Rows> {
    // second copies lie at a list's rim and would draw its parts there
    let is_first = |row: &&u32| pool.held[**row as usize] != Held::Second;
    let few = pool.of_cause.iter().filter(is_first).count() < count * FEWEST_FOR_MEAN;
    let mut rows = Rows::new(pool.rows.dims());
    for row in pool.of_cause.iter().filter(|row| few || is_first(row)) {
        copy_row(pool.rows, *row as usize, &mut rows);
    }
    if rows.len() < 2 {
        return None;
    }
    let parts = match count {
        2 => cluster::split(&rows, pool.seed).centroids,
        lists => {
            let training = Training {
                lists,
                iterations: ITERATIONS,
                seed: pool.seed,
                sphere: pool.sphere,
            };
            cluster::train(&rows, training, &mut Alone)
        }
    };
    // means of rows that are all the same differ by rounding
    let own = parts.product(0, &parts, 0);
    let same = |a: usize| {
        let other = parts.product(a, &parts, a);
        own - 2.0 * parts.product(0, &parts, a) + other <= SAME * (own + other)
    };
    (!(0..parts.len()).all(same)).then_some(parts)
}

/// Moves centroids to the mean of the rows whose nearest they are, a step of k-means.
fn move_to_means(pool: &Pool<'_>, centroids: &mut Rows) {
    let dims = centroids.dims();
    let nearest = Lists::of(centroids).nearest(pool.rows, &mut Alone);
    let mut sums = vec![0.0f32; centroids.len() * dims];
    let mut counts = vec![0usize; centroids.len()];
    for (row, near) in nearest.iter().enumerate() {
        if pool.held[row] == Held::Second {
            continue;
        }
        let list = near.list as usize;
        counts[list] += 1;
        cluster::add_row(&mut sums[list * dims..][..dims], pool.rows, row);
    }
    let mut moved = Rows::new(dims);
    for (list, count) in counts.into_iter().enumerate() {
        if count < FEWEST_FOR_MEAN {
            copy_row(centroids, list, &mut moved);
            continue;
        }
        let sum = &mut sums[list * dims..][..dims];
        sum.iter_mut().for_each(|x| *x /= count as f32);
        if let Some(origin) = pool.sphere {
            cluster::onto_sphere(sum, origin);
        }
        moved.push_point(sum);
    }
    *centroids = moved;
}

fn copy_row(from: &Rows, row: usize, to: &mut Rows) {
    to.push_scaled(from.scale(row), from.code(row));
}

/// Where the copies of a pool go.
struct Placement<'a> {
    pool: &'a Pool<'a>,
    /// the new lists' centroids, then those around
    all: Rows,
    new: usize,
    /// nearest of the new lists to each row
    nearest: Vec<u32>,
    /// for each of all, its products with the new ones
    products: Vec<f32>,
    /// of the new lists' centroids with themselves
    squares: Vec<f32>,
}

impl<'a> Placement<'a> {
    fn new(pool: &'a Pool<'a>, centroids: &Rows) -> Self {
        let mut all = centroids.clone();
        for list in 0..pool.around.len() {
            copy_row(pool.around, list, &mut all);
        }
        let nearest = Lists::of(centroids).nearest(pool.rows, &mut Alone);
        let new = centroids.len();
        let of_list = |list| (0..new).map(move |other| (list, other));
        let pairs = (0..all.len()).flat_map(of_list);
        let products: Vec<f32> = pairs
            .map(|(list, other)| all.product(list, &all, other))
            .collect();
        Placement {
            pool,
            new,
            squares: (0..new).map(|list| products[list * new + list]).collect(),
            products,
            nearest: nearest.iter().map(|near| near.list).collect(),
            all,
        }
    }

    fn each(&self, mut place: impl FnMut(usize, Placed)) {
        let of_all = match self.pool.copies {
            1 => Vec::new(),
            _ => Lists::of(&self.all).nearest(self.pool.rows, &mut Alone),
        };
        for (row, &held) in self.pool.held.iter().enumerate() {
            let nearest = self.nearest[row] as usize;
            let mut put = |list: usize, is_second: bool| {
                let row = row as u32;
                place(list, Placed { row, is_second });
            };
            let both = self.pool.copies > 1 && (held == Held::Both || self.pool.is_whole);
            match held {
                _ if both => {
                    put(nearest, false);
                    if let Some(second) = self.second(row, nearest) {
                        put(second, true);
                    }
                }
                Held::First | Held::Both => put(nearest, false),
                Held::Second => {
                    // its first copy is in a list that is not arranged: the nearest, unless the new
                    // centroids are nearer by now
                    let first = of_all.get(row).map_or(0, |near| near.list as usize);
                    match first < self.new {
                        true => put(first, true),
                        false => put(self.second(row, first).unwrap_or(nearest), true),
                    }
                }
            }
        }
    }

    /// The new list, other than `first`, that SOAR chooses for a row's second copy: see
    /// [`Lists::nearest_two`], which chooses among all.
    fn second(&self, row: usize, first: usize) -> Option<usize> {
        let rows = self.pool.rows;
        let square = rows.product(row, rows, row);
        let with_first = rows.product(row, &self.all, first);
        let first_square = self.all.product(first, &self.all, first);
        let residual = square - 2.0 * with_first + first_square;
        let products = &self.products[first * self.new..][..self.new];
        let loss = |list: usize| {
            let with = rows.product(row, &self.all, list);
            let distance = square - 2.0 * with + self.squares[list];
            let between = products[list];
            let along = square - with_first - with + between;
            match residual > 0.0 {
                true => distance + 2.0 * along * along / residual,
                false => distance,
            }
        };
        (0..self.new)
            .filter(|&list| list != first)
            .map(|list| (loss(list), list))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, list)| list)
    }
}

//! Which lists rows belong to.

use super::choose::{Chooser, two};
use super::crew::{Crew, Tasks};
use super::flat::Flat;
use super::train::{Members, Training, flat_k_means};
use super::{Alone, Rows};
use crate::distance::lanes::Isa;
use std::sync::atomic::AtomicBool;

/// Lists, nearest first, that the second one is chosen from.
pub(super) const CANDIDATES: usize = 24;

/// Rows compared with one panel of centroids after the other.
const BLOCK: usize = 240;

/// Distances kept at a time while second lists are looked for.
const KEPT: usize = 256 << 10;

/// More lists than these are looked for in groups.
pub(super) const MOST_FLAT: usize = 16_384;

/// Lists of a group. In larger ones, which are fewer, a row's nearest list is often in none of the nearest groups.
pub(super) const OF_GROUP: usize = 4;

/// Groups whose lists a row is compared with.
const GROUPS: usize = 32;

/// How often the centroids of groups move.
const ITERATIONS: usize = 3;

/// Rows that look for their lists in groups together: the more, the more of them meet in each.
const GROUPED_BLOCK: usize = 1024;

/// Centroids to compare rows with: all of them, or where there are many, those of the nearest groups.
#[derive(Debug, Clone)]
pub struct Lists<'a> {
    pub(super) isa: Isa,
    pub(super) centroids: &'a Rows,
    search: Search,
}

#[derive(Debug, Clone)]
enum Search {
    All(Flat),
    Groups(Groups),
}

/// Centroids of centroids.
#[derive(Debug, Clone)]
struct Groups {
    centres: Flat,
    count: usize,
    lists: Vec<Group>,
    /// room for the distances to the lists of any group
    widest: usize,
}

#[derive(Debug, Clone)]
struct Group {
    numbers: Vec<u32>,
    lists: Flat,
}

/// A row's nearest list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// number of the list
    pub list: u32,
    /// squared distance to its centroid
    pub distance: f32,
}

/// The two lists a row is in; the same twice where there is only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pair {
    /// the nearest
    pub first: u32,
    /// the one that SOAR adds
    pub second: u32,
}

impl Near {
    /// Farther than any list.
    pub(super) const FAR: Near = Near {
        list: 0,
        distance: f32::INFINITY,
    };
}

impl Lists<'_> {
    /// Lists with these centroids, at least one, for many rows.
    pub fn of(centroids: &Rows) -> Lists<'_> {
        Lists::with(Isa::best(), centroids, MOST_FLAT)
    }

    pub(super) fn with(isa: Isa, centroids: &Rows, most_flat: usize) -> Lists<'_> {
        assert!(!centroids.is_empty(), "no lists");
        let search = match centroids.len() > most_flat {
            true => Search::Groups(Groups::of(isa, centroids)),
            false => Search::All(Flat::of(isa, centroids)),
        };
        Lists {
            isa,
            centroids,
            search,
        }
    }

    /// All centroids, where each is looked at.
    pub(super) fn flat(&self) -> Option<&Flat> {
        match &self.search {
            Search::All(flat) => Some(flat),
            Search::Groups(_) => None,
        }
    }

    /// The nearest list of each row; of equally near ones, the first.
    pub fn nearest(&self, rows: &Rows, crew: &mut dyn Crew) -> Vec<Near> {
        assert_eq!(rows.dims(), self.centroids.dims(), "dimensions of rows");
        let mut all = vec![Near::FAR; rows.len()];
        let block = match self.search {
            Search::All(_) => BLOCK,
            Search::Groups(_) => GROUPED_BLOCK,
        };
        let tasks = Tasks::new(all.chunks_mut(block).zip((0..).step_by(block)));
        crew.run(&|stop: &AtomicBool| {
            let mut chooser = Chooser::default();
            while let Some((nearest, start)) = tasks.next(stop) {
                let numbers: Vec<u32> = (start as u32..).take(nearest.len()).collect();
                match &self.search {
                    Search::All(flat) => flat.improve(rows, &numbers, 0, nearest),
                    Search::Groups(groups) => {
                        for (group, members) in
                            groups.members(self.isa, rows, &numbers, &mut chooser)
                        {
                            let numbers: Vec<u32> =
                                members.iter().map(|&at| numbers[at as usize]).collect();
                            let mut found = vec![Near::FAR; members.len()];
                            group.lists.improve(rows, &numbers, 0, &mut found);
                            for (&at, found) in members.iter().zip(found) {
                                let nearest = &mut nearest[at as usize];
                                let list = group.numbers[found.list as usize];
                                let is_nearer = found.distance < nearest.distance
                                    || (found.distance == nearest.distance && list < nearest.list);
                                if is_nearer {
                                    *nearest = Near { list, ..found };
                                }
                            }
                        }
                    }
                }
                for (nearest, row) in nearest.iter_mut().zip(start..) {
                    nearest.distance = (nearest.distance + rows.squares[row]).max(0.0);
                }
            }
        });
        all
    }

    /// [`Lists::nearest`] on this thread.
    pub fn nearest_here(&self, rows: &Rows) -> Vec<Near> {
        self.nearest(rows, &mut Alone)
    }

    /// For each row its nearest list, and of the others the one with the least
    /// |r'|^2 + 2 <r', r>^2 / |r|^2, where r and r' are what is left of the row relative to the first and
    /// the other list: so that a query for which r is a bad stretch meets a better one (SOAR).
    pub fn nearest_two(&self, rows: &Rows, crew: &mut dyn Crew) -> Vec<Pair> {
        assert_eq!(rows.dims(), self.centroids.dims(), "dimensions of rows");
        let (width, block) = match &self.search {
            Search::All(flat) => (flat.whole(), (KEPT / flat.whole()).clamp(6, BLOCK)),
            Search::Groups(groups) => (GROUPS * groups.widest, GROUPED_BLOCK),
        };
        let block = block.min(rows.len().max(1));
        let mut all = vec![Pair::default(); rows.len()];
        let tasks = Tasks::new(all.chunks_mut(block).zip((0..).step_by(block)));
        crew.run(&|stop: &AtomicBool| {
            let mut distances = vec![f32::INFINITY; block * width];
            let mut chooser = Chooser::default();
            while let Some((pairs, start)) = tasks.next(stop) {
                let numbers: Vec<u32> = (start as u32..).take(pairs.len()).collect();
                let mut visited = Vec::new();
                match &self.search {
                    Search::All(flat) => {
                        let of_row = |at: usize| at * width..(at + 1) * width;
                        flat.distances(rows, &numbers, of_row, &mut distances);
                    }
                    Search::Groups(groups) => {
                        distances.fill(f32::INFINITY);
                        visited = vec![Vec::new(); pairs.len()];
                        for (group, members) in
                            groups.members(self.isa, rows, &numbers, &mut chooser)
                        {
                            let numbers: Vec<u32> =
                                members.iter().map(|&at| numbers[at as usize]).collect();
                            let of_row = |row: usize| {
                                let at = members[row] as usize;
                                let from = at * width + visited[at].len() * groups.widest;
                                from..from + group.lists.whole()
                            };
                            group
                                .lists
                                .distances(rows, &numbers, of_row, &mut distances);
                            for &at in &members {
                                visited[at as usize].push(group);
                            }
                        }
                    }
                }
                for (at, pair) in pairs.iter_mut().enumerate() {
                    chooser.gather(self.isa, &distances[at * width..][..width], CANDIDATES);
                    if let Search::Groups(groups) = &self.search {
                        for near in &mut chooser.nearest {
                            let place = near.list as usize;
                            let group = visited[at][place / groups.widest];
                            near.list = group.numbers[place % groups.widest];
                        }
                    }
                    *pair = two(self.centroids, rows.squares[start + at], &chooser.nearest);
                }
            }
        });
        all
    }
}

impl Groups {
    /// Groups of lists that are near each other.
    fn of(isa: Isa, centroids: &Rows) -> Groups {
        let training = Training {
            lists: centroids.len().div_ceil(OF_GROUP),
            iterations: ITERATIONS,
            seed: 1,
            sphere: None,
        };
        let centres = flat_k_means(centroids, training, &mut Alone);
        let nearest = Lists::with(isa, &centres, usize::MAX).nearest_here(centroids);
        let members = Members::of(&nearest, centres.len());
        let lists: Vec<Group> = (0..centres.len())
            .map(|group| {
                let numbers = members.of_list(group).to_vec();
                let lists = Flat::of(isa, &centroids.some(&numbers));
                Group { numbers, lists }
            })
            .collect();
        Groups {
            centres: Flat::of(isa, &centres),
            count: centres.len(),
            widest: lists
                .iter()
                .map(|group| group.lists.whole())
                .max()
                .unwrap_or(0),
            lists,
        }
    }

    /// Each group with the places of the rows to which it is one of the nearest.
    fn members<'a>(
        &'a self,
        isa: Isa,
        rows: &Rows,
        numbers: &[u32],
        chooser: &mut Chooser,
    ) -> impl Iterator<Item = (&'a Group, Vec<u32>)> + use<'a> {
        let width = self.centres.whole();
        let mut distances = vec![0.0; numbers.len() * width];
        let of_row = |at: usize| at * width..(at + 1) * width;
        self.centres
            .distances(rows, numbers, of_row, &mut distances);
        let mut members = vec![Vec::new(); self.count];
        for (at, distances) in distances.chunks_exact(width).enumerate() {
            chooser.gather(isa, distances, GROUPS);
            for near in &chooser.nearest {
                members[near.list as usize].push(at as u32);
            }
        }
        let groups = self.lists.iter().zip(members);
        groups.filter(|(group, members)| !group.numbers.is_empty() && !members.is_empty())
    }
}

//! Which lists a row belongs to.

use super::directory::Directory;
use super::index::{Contents, Ivf, META_BLOCK};
use super::sample::signs_of;
use super::storage::Size;
use crate::am::damaged::raise_damaged;
use crate::cluster::{Rows, nearest_to, two_nearest_to};
use crate::ivf::format::{ListId, Meta};
use crate::ivf::grow::Sizes;
use crate::page::Damage;
use std::cell::RefCell;
use std::rc::Rc;

/// Indexes whose lists a backend that inserts keeps ready.
const MOST_KEPT: usize = 4;

thread_local! {
    /// of which index
    static KEPT: RefCell<Vec<(Contents, Rc<Placer>)>> = const { RefCell::new(Vec::new()) };
}

/// The lists of an index at one generation of its directory, ready to be compared with rows.
pub struct Placer {
    /// the lists
    pub directory: Rc<Directory>,
    /// their centroids, by positions in the directory
    pub centroids: Rows,
    /// copies in all of them, as far as they were counted
    copies: usize,
}

impl Placer {
    /// The lists as the metapage names them.
    pub fn of(ivf: &Ivf, meta: &Meta) -> Rc<Placer> {
        let contents = ivf.contents();
        let known = KEPT.with_borrow(|kept| {
            let found = kept.iter().find(|(of, placer)| {
                *of == contents && placer.directory.generation == meta.generation
            });
            found.map(|(_, placer)| placer.clone())
        });
        known.unwrap_or_else(|| {
            let placer = Rc::new(Placer::new(ivf, Directory::of(ivf, meta)));
            KEPT.with_borrow_mut(|kept| {
                kept.retain(|(of, _)| *of != contents);
                if kept.len() == MOST_KEPT {
                    kept.remove(0);
                }
                kept.push((contents, placer.clone()));
            });
            placer
        })
    }

    fn new(ivf: &Ivf, directory: Rc<Directory>) -> Placer {
        if directory.lists().is_empty() {
            raise_damaged(ivf.index, META_BLOCK, Damage("an index without a list"));
        }
        let all = 0..directory.lists().len();
        let copies = all.clone().map(|at| counted(ivf, &directory, at)).sum();
        Placer {
            centroids: centroids(ivf, &directory, all),
            directory,
            copies,
        }
    }

    /// Positions in the directory of a row's lists, nearest first: as many as `copies`, or one where
    /// there is only one. `row` has one row.
    pub fn lists_of(&self, row: &Rows, copies: usize) -> (usize, Option<usize>) {
        if copies < 2 {
            return (nearest_to(&self.centroids, row, 0).list as usize, None);
        }
        let pair = two_nearest_to(&self.centroids, row, 0);
        let second = (pair.second != pair.first).then_some(pair.second as usize);
        (pair.first as usize, second)
    }

    /// How large lists are to be, as far as one knows who has just seen the size of a list.
    pub fn sizes(&self, ivf: &Ivf, meta: &Meta, seen: &[(ListId, Size)]) -> Sizes {
        let mut copies = self.copies;
        for (list, size) in seen {
            let before = self.directory.position(*list);
            let before = before.map_or(0, |at| counted(ivf, &self.directory, at));
            copies = copies - before + size.rows.max(before);
        }
        let of_row = meta.copies as usize;
        Sizes::of(copies as f64 / of_row as f64, of_row, ivf.given_lists(meta))
    }
}

/// Copies that the list at a position has at least.
fn counted(ivf: &Ivf, directory: &Directory, at: usize) -> usize {
    let listed = &directory.lists()[at];
    let full = (listed.pages as usize).saturating_sub(1) * ivf.lists.capacity();
    full.max(listed.rows as usize)
}

/// The centroids of lists, by their positions in the directory, as they are compared with rows.
pub fn centroids(
    ivf: &Ivf,
    directory: &Directory,
    positions: impl IntoIterator<Item = usize>,
) -> Rows {
    let mut rows = Rows::new(ivf.shape.dims as usize);
    let mut signs = Vec::new();
    for at in positions {
        if let Some(centre) = directory.centre(at) {
            rows.push_scaled(centre.factors.scale, centre.code);
        } else if let Some(bits) = directory.bits(at) {
            signs_of(ivf.column, bits.payload(), &mut signs);
            rows.push_scaled(1.0, &signs);
        }
    }
    rows
}

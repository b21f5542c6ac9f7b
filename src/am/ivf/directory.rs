//! The directory in memory: all lists of an index with their centroids, as searches scan it.

use super::index::{Contents, Ivf, check, read_meta};
use crate::distance::{Operand, Value};
use crate::ivf::format::{Entries, EntriesMut, Entry, ListId, Meta, Opaque, PageKind};
use crate::ivf::rough::Rough;
use crate::page::Damage;
use crate::pg::buffer::{Access, Exclusive, Shared};
use crate::pg::change::{Change, Logging};
use crate::quantize::{Base, Centre, CentreRef, Quantizer, Query};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::rc::Rc;

/// A list, without its centroid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Listed {
    /// its name
    pub id: ListId,
    /// its first page
    pub first: u32,
    /// rows, when last counted
    pub rows: u32,
    /// pages
    pub pages: u32,
    /// where its entry is
    pub place: EntryPlace,
}

/// Where an entry of the directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPlace {
    /// block of the directory page
    pub block: u32,
    /// slot on it
    pub slot: usize,
}

/// The lists of an index, as they were at one generation of its directory. What may have changed since
/// without a new generation: a list's last page, its pages and rows.
pub struct Directory {
    /// which state of the directory this is
    pub generation: u32,
    lists: Vec<Listed>,
    by_id: FxHashMap<ListId, usize>,
    centroids: Centroids,
    /// codes of the centroids where there are enough of them
    rough: Option<Rough>,
}

enum Centroids {
    /// codes in the form of `sq8`, with their factors in arrays
    Codes {
        dims: usize,
        codes: Vec<u8>,
        adds: Vec<f32>,
        scales: Vec<f32>,
        factors: Vec<Centre>,
    },
    /// bit strings
    Bits(Vec<Value>),
}

/// Directories that a backend keeps at hand.
const MOST_KEPT: usize = 4;
/// Bytes of a directory that is worth keeping between statements.
const MOST_KEPT_BYTES: usize = 64 << 20;

thread_local! {
    /// of which index
    static KEPT: RefCell<Vec<(Contents, Rc<Directory>)>> = const { RefCell::new(Vec::new()) };
}

impl Directory {
    /// The directory as the metapage names it, read from its pages unless it is at hand.
    pub fn of(ivf: &Ivf, meta: &Meta) -> Rc<Directory> {
        let contents = ivf.contents();
        let known = KEPT.with_borrow(|kept| {
            let found = kept
                .iter()
                .find(|(of, d)| *of == contents && d.generation == meta.generation);
            found.map(|(_, directory)| directory.clone())
        });
        known.unwrap_or_else(|| Directory::read(ivf))
    }

    /// The directory as it is now.
    pub fn now(ivf: &Ivf) -> Rc<Directory> {
        Directory::of(ivf, &read_meta(ivf.index))
    }

    /// Reads the directory. Whoever changes it raises the generation last, so when that is the same
    /// before and after, it was read as a whole.
    #[cold]
    fn read(ivf: &Ivf) -> Rc<Directory> {
        loop {
            pgrx::check_for_interrupts!();
            let meta = read_meta(ivf.index);
            let directory = Directory::read_pages(ivf, &meta);
            if read_meta(ivf.index).generation != meta.generation {
                continue;
            }
            let directory = Rc::new(directory);
            KEPT.with_borrow_mut(|kept| {
                kept.retain(|(of, _)| *of != ivf.contents());
                if directory.memory() > MOST_KEPT_BYTES {
                    return;
                }
                if kept.len() == MOST_KEPT {
                    kept.remove(0);
                }
                kept.push((ivf.contents(), directory.clone()));
            });
            return directory;
        }
    }

    fn read_pages(ivf: &Ivf, meta: &Meta) -> Directory {
        let dims = meta.dims as usize;
        let mut directory = Directory {
            generation: meta.generation,
            lists: Vec::new(),
            by_id: FxHashMap::default(),
            centroids: match ivf.codec {
                Some(_) => Centroids::Codes {
                    dims,
                    codes: Vec::new(),
                    adds: Vec::new(),
                    scales: Vec::new(),
                    factors: Vec::new(),
                },
                None => Centroids::Bits(Vec::new()),
            },
            rough: None,
        };
        let mut block = meta.directory;
        let mut pages = 0;
        while block != 0 {
            let page = Shared::read(ivf.index, block, Access::Random);
            block = check(ivf.index, block, || {
                let entries = Entries::of(page.page(), ivf.entries)?;
                for (slot, entry, centroid) in entries.iter() {
                    directory.add(EntryPlace { block, slot }, entry, centroid)?;
                }
                pages += 1;
                // a chain in a circle is longer than the index
                if pages > ivf.index.blocks() {
                    return Err(Damage("the directory has no end"));
                }
                Ok(entries.next)
            });
        }
        if ivf.codec.is_some() {
            let centres = (0..directory.lists.len()).map(|at| directory.centre(at).expect("codes"));
            directory.rough = Rough::of(dims, centres);
        }
        directory
    }

    fn add(&mut self, place: EntryPlace, entry: &Entry, centroid: &[u8]) -> Result<(), Damage> {
        let listed = Listed {
            id: ListId(entry.list),
            first: entry.first,
            rows: entry.rows,
            pages: entry.pages,
            place,
        };
        if self.by_id.insert(listed.id, self.lists.len()).is_some() {
            return Err(Damage("list with two entries in the directory"));
        }
        if entry.first == 0 || entry.last == 0 {
            return Err(Damage("list without a page"));
        }
        self.lists.push(listed);
        match &mut self.centroids {
            Centroids::Codes {
                codes,
                adds,
                scales,
                factors,
                ..
            } => {
                let centre = entry.centre;
                if ![centre.add, centre.scale, centre.norm]
                    .iter()
                    .all(|x| x.is_finite())
                {
                    return Err(Damage("centroid that is no number"));
                }
                // the bytes of its code have the signs
                if centre.scale.is_sign_negative() {
                    return Err(Damage("centroid by a negative scale"));
                }
                codes.extend_from_slice(centroid);
                codes.resize(codes.len().next_multiple_of(8), 0);
                adds.push(centre.add);
                scales.push(centre.scale);
                factors.push(centre);
            }
            Centroids::Bits(values) => values.push(Value::of(Operand {
                payload: centroid,
                norm_squared: 0.0,
            })),
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        let centroids = match &self.centroids {
            Centroids::Codes { codes, .. } => codes.len(),
            Centroids::Bits(values) => values.iter().map(|value| value.payload().len()).sum(),
        };
        let rough = self.rough.as_ref().map_or(0, Rough::memory);
        centroids + rough + self.lists.len() * (2 * size_of::<Listed>() + 48)
    }

    /// Lists, in the order of their entries.
    pub fn lists(&self) -> &[Listed] {
        &self.lists
    }

    /// Where in [`lists`](Directory::lists) a list is.
    pub fn position(&self, id: ListId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The centroid of the list at a position; `None` where it is a bit string.
    pub fn centre(&self, at: usize) -> Option<CentreRef<'_>> {
        match &self.centroids {
            Centroids::Codes {
                dims,
                codes,
                factors,
                ..
            } => Some(CentreRef {
                factors: factors[at],
                code: bytemuck::cast_slice(&codes[at * dims.next_multiple_of(8)..][..*dims]),
            }),
            Centroids::Bits(_) => None,
        }
    }

    /// The bits of the centroid of the list at a position; `None` where it is a code.
    pub fn bits(&self, at: usize) -> Option<&Value> {
        match &self.centroids {
            Centroids::Codes { .. } => None,
            Centroids::Bits(values) => Some(&values[at]),
        }
    }

    /// Codes that have lower bounds of the distances of all centroids, in the order of [`lists`](Directory::lists), and
    /// take far less time; `None` where there are none.
    pub fn rough(&self) -> Option<&Rough> {
        self.rough.as_ref()
    }

    /// Distances of all centroids to a query, in the order of [`lists`](Directory::lists).
    pub fn distances(&self, ivf: &Ivf, target: &Target<'_>, distances: &mut Vec<f32>) {
        distances.clear();
        distances.resize(self.lists.len(), 0.0);
        match (&self.centroids, target) {
            (
                Centroids::Codes {
                    dims,
                    codes,
                    adds,
                    scales,
                    ..
                },
                Target::Query(query),
            ) => query.estimate(Quantizer::Sq8, *dims, codes, adds, scales, distances),
            (Centroids::Bits(values), Target::Bits(value)) => {
                for (distance, centroid) in distances.iter_mut().zip(values) {
                    let exact = ivf
                        .shape
                        .space
                        .distance(value.operand(), centroid.operand());
                    *distance = exact as f32;
                }
            }
            _ => unreachable!("a query is what its index's centroids are"),
        }
    }

    /// Where estimates of the rows of the list at a position start from; `distance` is that of its
    /// centroid. `None` for bit strings.
    #[inline]
    pub fn base(&self, at: usize, query: &Query, distance: f32) -> Option<Base> {
        match &self.centroids {
            Centroids::Codes { factors, .. } => {
                Some(query.base_at(distance, factors[at].add, factors[at].norm))
            }
            Centroids::Bits(_) => None,
        }
    }
}

/// What distances of centroids are measured to.
pub enum Target<'a> {
    /// a coded vector
    Query(&'a Query),
    /// a bit string
    Bits(&'a Value),
}

/// A list to be entered in the directory of an index being built.
pub struct NewList<'a> {
    /// everything but the centroid's bytes
    pub entry: Entry,
    /// the centroid's bytes
    pub centroid: &'a [u8],
}

/// Writes the directory of an index being built to new pages; returns the first.
pub fn write<'a>(
    ivf: &Ivf,
    fork: pgrx::pg_sys::ForkNumber::Type,
    lists: impl IntoIterator<Item = NewList<'a>>,
) -> u32 {
    let first = ivf.index.blocks_in(fork);
    let mut lists = lists.into_iter().peekable();
    loop {
        pgrx::check_for_interrupts!();
        let mut page = Exclusive::extend(ivf.index, fork);
        let next = page.block() + 1;
        let mut change = Change::begin(ivf.index, Logging::AtEndOfBuild);
        let mut target = change.new_page(&mut page, &Opaque::new(PageKind::Directory));
        let bytes = target.contents_bytes_mut(ivf.entries.contents_len());
        let mut entries = EntriesMut::new(bytes, ivf.entries);
        for slot in 0..ivf.entries.capacity() {
            let Some(list) = lists.next() else { break };
            entries.set(slot, &list.entry, list.centroid);
        }
        let is_last = lists.peek().is_none();
        if !is_last {
            target.special_mut::<Opaque>().next = next;
        }
        change.commit();
        if is_last {
            return first;
        }
    }
}

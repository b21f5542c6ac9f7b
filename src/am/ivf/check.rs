//! The part of `vector_index_check` that knows `ivf` and `ivfflat`: pages one by one, the directory, the
//! pages of each list, and what rows say of the table.
//!
//! Lists grow meanwhile: what does not fit is looked at again with the entry as it is then, and rows that
//! seem missing are looked for once more. The check has the right to arrange lists anew, so that nobody
//! else does; VACUUM waits for it where it needs that right.

use super::index::{self, Ivf, META_BLOCK};
use crate::am::check::claims::{self, CLAIM, Claim, Items, fingerprint};
use crate::am::column;
use crate::am::filter::keys::FilterColumns;
use crate::check::Findings;
use crate::distance::Value;
use crate::hnsw::format::{NodeId, RawTid};
use crate::ivf::check::{self as structure, Expected};
use crate::ivf::format::{
    Entries, Entry, ListPage, Meta, Opaque, PageKind, RowForm, VectorAddress, VectorPage,
};
use crate::pg::attempt::{PageCopy, attempt};
use crate::pg::buffer::{Access, Strategy};
use crate::pg::relation::{Index, Turnstile};
use crate::pg::rows::Values;
use crate::pg::table::Table;
use crate::quantize::Rotated;
use pgrx::pg_sys;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;

/// Looks at what seems wrong.
const LOOKS: usize = 3;

/// Checks an index, and against its table where that is given.
pub fn check(index: Index, table: Option<&Table>, found: &mut Findings<'_>) {
    let access = Access::Sequential(Strategy::bulk_read());
    if index.blocks() == 0 {
        return found.error(META_BLOCK, None, "the index has no metapage");
    }
    let mut page = PageCopy::new();
    if let Err(message) = page.read(index, META_BLOCK, access) {
        return found.error(META_BLOCK, None, message);
    }
    let read = Meta::of(page.page()).and_then(|meta| Ok((*meta, meta.shape()?)));
    let (meta, shape) = match read {
        Ok(read) => read,
        Err(damage) => return found.error(META_BLOCK, None, damage),
    };
    let declared = index.attribute(0).1;
    if shape.space != column::space_of(index)
        || shape.dims as i32 != declared
        || shape.filters as usize + 1 != index.columns()
    {
        let message = "the metapage is of another column or operator class";
        return found.error(META_BLOCK, None, message);
    }
    let ivf = match attempt(|| Ivf::of_meta(index, shape, &meta)) {
        Ok(ivf) => ivf,
        Err(message) => return found.error(META_BLOCK, None, message),
    };
    // lists are not arranged anew meanwhile: their rows would be seen twice, or not at all
    let _alone = Turnstile::lock(index, META_BLOCK, pg_sys::ExclusiveLock);
    let mut check = Check {
        index,
        access,
        expected: Expected::new(shape),
        ivf,
        pages: FxHashMap::default(),
        vectors: FxHashMap::default(),
        filter_columns: FilterColumns::of(index),
        rows: 0,
        page,
    };
    check.pages(found);
    check.chain(meta.centroid, PageKind::Centroid, found);
    check.chain(meta.codebook, PageKind::Codebook, found);
    check.directory(found);
    check.leftovers(found);
    check.rows(table, found);
}

struct Check {
    index: Index,
    access: Access,
    expected: Expected,
    ivf: Ivf,
    /// pages that something must lead to
    pages: FxHashMap<u32, PageKind>,
    /// what stands for each compact code, and its row
    vectors: FxHashMap<(u32, usize), (RawTid, u64)>,
    /// make keys of the table's rows
    filter_columns: FilterColumns,
    rows: u64,
    page: PageCopy,
}

/// A list as a directory page has it.
#[derive(Clone, Copy)]
struct Place {
    block: u32,
    slot: usize,
    entry: Entry,
}

/// A row of a list page.
struct Row {
    tid: NodeId,
    is_second: bool,
    address: VectorAddress,
    /// stands for its value, and for its keys
    fingerprint: u64,
}

/// A second copy of a row.
#[derive(Clone, Copy)]
struct Second {
    tid: NodeId,
    item: NodeId,
    fingerprint: u64,
}

impl Check {
    fn pages(&mut self, found: &mut Findings<'_>) {
        for block in 0..self.index.blocks() {
            pgrx::check_for_interrupts!();
            if let Err(message) = self.page.read(self.index, block, self.access) {
                found.error(block, None, message);
                continue;
            }
            let page = self.page.page();
            let Some(kind) = structure::page(&self.expected, page, block, found) else {
                continue;
            };
            match kind {
                PageKind::Meta | PageKind::Free => continue,
                PageKind::List => {
                    let rows = ListPage::of(page, &self.expected.lists);
                    self.rows += rows.map_or(0, |rows| rows.count()) as u64;
                }
                PageKind::Vectors => {
                    self.vectors_on(block);
                    continue;
                }
                _ => {}
            }
            self.pages.insert(block, kind);
        }
    }

    /// Remembers the compact codes of the page at hand.
    fn vectors_on(&mut self, block: u32) {
        let layout = self.expected.vectors;
        let Ok(page) = VectorPage::of(self.page.page(), layout) else {
            return;
        };
        for slot in 0..layout.capacity() {
            if let Some((tid, compact)) = page.get(slot) {
                let value = code_fingerprint(compact.factors, compact.code);
                self.vectors.insert((block, slot), (tid, value));
            }
        }
    }

    /// A chain of pages that never changes.
    fn chain(&mut self, first: u32, kind: PageKind, found: &mut Findings<'_>) {
        let mut block = first;
        while block != 0 {
            if self.pages.remove(&block) != Some(kind) {
                let message = format!("a chain of pages of kind {kind:?} goes on where none is");
                return found.error(block, None, message);
            }
            block = self.next_of(block);
        }
    }

    fn next_of(&mut self, block: u32) -> u32 {
        match self.page.read(self.index, block, Access::Random) {
            Ok(()) => Opaque::of(self.page.page()).map_or(0, |(_, opaque)| opaque.next),
            Err(_) => 0,
        }
    }

    /// The directory, and the pages of every list in it.
    fn directory(&mut self, found: &mut Findings<'_>) {
        let meta = index::read_meta(self.index);
        let (mut block, mut seen) = (meta.directory, FxHashSet::default());
        let mut ids = FxHashSet::default();
        if block == 0 {
            found.error(META_BLOCK, None, "no directory");
        }
        while block != 0 {
            pgrx::check_for_interrupts!();
            self.pages.remove(&block);
            if !seen.insert(block) {
                return found.error(block, None, "the directory leads back to itself");
            }
            let (places, next) = match self.places_on(block) {
                Ok(read) => read,
                Err(message) => return found.error(block, None, message),
            };
            for place in places {
                if !ids.insert(place.entry.list) {
                    let message = format!("list {} is there twice", place.entry.list);
                    found.error(block, None, message);
                }
                self.list(place, found);
            }
            block = next;
        }
        // lists may have come and gone since
        let now = index::read_meta(self.index);
        if now.generation == meta.generation {
            if ids.len() != now.lists as usize {
                let message = format!("{} lists, and the metapage says {}", ids.len(), now.lists);
                found.error(META_BLOCK, None, message);
            }
            if ids.iter().any(|&id| id >= now.next_list) {
                let message = "a list's number is to be given out again";
                found.error(META_BLOCK, None, message);
            }
        }
    }

    fn places_on(&mut self, block: u32) -> Result<(Vec<Place>, u32), String> {
        if block >= self.index.blocks() {
            return Err("the directory goes on past the end of the index".into());
        }
        self.page.read(self.index, block, Access::Random)?;
        if self.page.page().is_new() {
            return Err("the directory goes on where no page is".into());
        }
        let entries =
            Entries::of(self.page.page(), self.expected.entries).map_err(|damage| damage.0)?;
        let places = entries.iter().map(|(slot, entry, _)| Place {
            block,
            slot,
            entry: *entry,
        });
        Ok((places.collect(), entries.next))
    }

    /// A list as its entry is now; `None` where that is of another list.
    fn now(&mut self, place: Place) -> Option<Place> {
        let (places, _) = self.places_on(place.block).ok()?;
        places
            .into_iter()
            .find(|other| other.slot == place.slot && other.entry.list == place.entry.list)
    }

    fn list(&mut self, place: Place, found: &mut Findings<'_>) {
        let mut place = place;
        for look in 0..=LOOKS {
            let Err((block, message)) = self.list_pages(place.entry) else {
                return;
            };
            if look == LOOKS {
                let message = format!("list {}: {message}", place.entry.list);
                return found.error(block, None, message);
            }
            match self.now(place) {
                Some(now) => place = now,
                None => return,
            }
        }
    }

    /// From a list's first page to its last.
    fn list_pages(&mut self, entry: Entry) -> Result<(), (u32, String)> {
        let mut block = entry.first;
        let mut pages = 0;
        let mut last = 0;
        let mut seen = FxHashSet::default();
        while block != 0 {
            pgrx::check_for_interrupts!();
            let wrong = |message: &str| (block, message.to_owned());
            if block >= self.index.blocks() {
                return Err(wrong("goes on past the end of the index"));
            }
            if !seen.insert(block) {
                return Err(wrong("leads back to itself"));
            }
            self.page
                .read(self.index, block, Access::Random)
                .map_err(|message| (block, message))?;
            if self.page.page().is_new() {
                return Err(wrong("goes on where no page is"));
            }
            let opaque = Opaque::expect(self.page.page(), PageKind::List)
                .map_err(|damage| wrong(damage.0))?;
            if opaque.list != entry.list {
                return Err(wrong("goes on with another list's page"));
            }
            pages += 1;
            last = block;
            block = opaque.next;
        }
        if last != entry.last || pages != entry.pages {
            let message = format!(
                "{pages} pages, the last of them {last}, and the directory says {} and {}",
                entry.pages, entry.last
            );
            return Err((last, message));
        }
        for block in seen {
            self.pages.remove(&block);
        }
        Ok(())
    }

    /// Pages that nothing leads to.
    fn leftovers(&mut self, found: &mut Findings<'_>) {
        for (block, kind) in std::mem::take(&mut self.pages) {
            // perhaps it was freed, or came into a list, while this went on
            let read = self.page.read(self.index, block, Access::Random);
            let is_still = matches!(Opaque::of(self.page.page()), Ok((now, _)) if now == kind);
            if read.is_ok() && is_still {
                let message = format!(
                    "page of kind {kind:?} that nothing leads to: left by a crash, or in use since the check began"
                );
                found.warning(block, None, message);
            }
        }
    }

    /// Rows against each other, their compact codes, and the table.
    fn rows(&mut self, table: Option<&Table>, found: &mut Findings<'_>) {
        // SAFETY: reads a setting.
        let memory = unsafe { pg_sys::maintenance_work_mem } as usize * 1024;
        let passes = (self.rows as usize * CLAIM).div_ceil(memory).max(1) as u64;
        let heap_blocks = table.map_or(u32::MAX as u64, |table| table.blocks() as u64);
        for pass in 0..passes {
            let edge = |pass: u64| (pass * heap_blocks / passes) as u32;
            let last = pass + 1 == passes;
            let range = edge(pass)..if last { u32::MAX } else { edge(pass + 1) };
            let mut firsts: Vec<Claim> = Vec::new();
            let mut seconds: Vec<Second> = Vec::new();
            for block in 1..self.index.blocks() {
                self.claims(block, &range, &mut firsts, &mut seconds, found);
            }
            self.seconds(&firsts, seconds, found);
            claims::check(self, table, edge(pass)..edge(pass + 1), firsts, found);
        }
    }

    /// What the rows of a page say.
    fn claims(
        &mut self,
        block: u32,
        range: &Range<u32>,
        firsts: &mut Vec<Claim>,
        seconds: &mut Vec<Second>,
        found: &mut Findings<'_>,
    ) {
        pgrx::check_for_interrupts!();
        let rows = self.rows_on(block);
        for (n, row) in rows.into_iter().enumerate() {
            if !range.contains(&row.tid.block) {
                continue;
            }
            let item = NodeId {
                block,
                offset: n as u16 + 1,
            };
            if self.expected.shape.has_addresses() && !self.is_at(&row) {
                // the row may have been taken out since
                let tid = row.tid.into();
                if self.has(item, tid) {
                    let message = "row without its compact code";
                    found.error(block, item.offset, message);
                }
            }
            match row.is_second {
                true => seconds.push(Second {
                    tid: row.tid,
                    item,
                    fingerprint: row.fingerprint,
                }),
                false => firsts.push(Claim::new(row.tid, item, row.fingerprint)),
            }
        }
    }

    /// Whether a row's compact code is where the row says, as the index is now.
    fn is_at(&mut self, row: &Row) -> bool {
        let Some((block, slot)) = row.address.place() else {
            return false;
        };
        let tid = RawTid::from(row.tid);
        if self
            .vectors
            .get(&(block, slot))
            .is_some_and(|(of, _)| *of == tid)
        {
            return true;
        }
        if block >= self.index.blocks()
            || self.page.read(self.index, block, Access::Random).is_err()
        {
            return false;
        }
        let page = VectorPage::of(self.page.page(), self.expected.vectors);
        page.is_ok_and(|page| page.get(slot).is_some_and(|(of, _)| of == tid))
    }

    fn rows_on(&mut self, block: u32) -> Vec<Row> {
        if self.page.read(self.index, block, self.access).is_err() || self.page.page().is_new() {
            return Vec::new();
        }
        let Ok(page) = ListPage::of(self.page.page(), &self.expected.lists) else {
            return Vec::new();
        };
        let shape = &self.expected.shape;
        let rows = (0..page.count()).map(|n| page.row(n));
        rows.filter_map(|row| {
            let value = match (shape.form, row.address.place()) {
                (RowForm::Values, _) => fingerprint(&row.code[..shape.row_len as usize]),
                (_, Some(at)) => self.vectors.get(&at).map_or(0, |(_, value)| *value),
                _ => 0,
            };
            Some(Row {
                tid: row.tid.id()?,
                is_second: row.is_second,
                address: row.address,
                fingerprint: with_keys(value, row.keys.iter()),
            })
        })
        .collect()
    }

    /// A second copy has a first one, with the same keys.
    fn seconds(&mut self, firsts: &[Claim], seconds: Vec<Second>, found: &mut Findings<'_>) {
        if seconds.is_empty() {
            return;
        }
        let first = |claim: &Claim| (claim.row(), claim.fingerprint());
        let known: FxHashMap<NodeId, u64> = firsts.iter().map(first).collect();
        let mut alone: FxHashMap<NodeId, NodeId> = FxHashMap::default();
        let mut other: FxHashMap<NodeId, NodeId> = FxHashMap::default();
        for second in seconds {
            match known.get(&second.tid) {
                None => drop(alone.insert(second.tid, second.item)),
                Some(&of_first) if of_first != second.fingerprint => {
                    other.insert(second.tid, second.item);
                }
                Some(_) => {}
            }
        }
        self.contradictions(other, found);
        for _ in 0..LOOKS {
            self.keep_those_not_found(&mut alone);
        }
        for (tid, item) in alone {
            if self.has(item, tid.into()) {
                // searches find it there, in fewer cases
                let message = format!(
                    "row ({},{}) has a second copy alone: VACUUM is between its lists, or was cut short",
                    tid.block, tid.offset
                );
                found.warning(item.block, item.offset, message);
            }
        }
    }

    /// Copies of a row that seem to be of different rows. A heap TID may have become another row's between
    /// reading the one and the other.
    fn contradictions(&mut self, mut other: FxHashMap<NodeId, NodeId>, found: &mut Findings<'_>) {
        for _ in 0..LOOKS {
            if other.is_empty() {
                return;
            }
            let mut copies: FxHashMap<NodeId, FxHashSet<u64>> = FxHashMap::default();
            for block in 1..self.index.blocks() {
                pgrx::check_for_interrupts!();
                for row in self.rows_on(block) {
                    if other.contains_key(&row.tid) {
                        copies.entry(row.tid).or_default().insert(row.fingerprint);
                    }
                }
            }
            other.retain(|tid, _| copies.get(tid).is_some_and(|of_row| of_row.len() > 1));
        }
        for (tid, item) in other {
            let message = format!(
                "the copies of row ({},{}) have different keys",
                tid.block, tid.offset
            );
            found.error(item.block, item.offset, message);
        }
    }

    /// Looks through all lists for first copies of rows.
    fn keep_those_not_found<T>(&mut self, wanted: &mut FxHashMap<NodeId, T>) {
        if wanted.is_empty() {
            return;
        }
        for block in 1..self.index.blocks() {
            pgrx::check_for_interrupts!();
            for row in self.rows_on(block) {
                if !row.is_second {
                    wanted.remove(&row.tid);
                }
            }
        }
    }
}

/// Stands for a value and the keys beside it.
fn with_keys(value: u64, keys: impl Iterator<Item = u64>) -> u64 {
    keys.fold(value, |so_far, key| {
        fingerprint(bytemuck::bytes_of(&[so_far, key]))
    })
}

/// Stands for a compact code.
fn code_fingerprint(factors: crate::quantize::Compact, code: &[i8]) -> u64 {
    let mut bytes = bytemuck::bytes_of(&factors).to_vec();
    bytes.extend_from_slice(bytemuck::cast_slice(code));
    fingerprint(&bytes)
}

impl Items for Check {
    fn has(&mut self, item: NodeId, tid: RawTid) -> bool {
        let Some(wanted) = tid.id() else {
            return false;
        };
        // rows change places on their page
        let rows = self.rows_on(item.block);
        rows.iter().any(|row| row.tid == wanted && !row.is_second)
            || rows
                .get(item.offset as usize - 1)
                .is_some_and(|row| row.tid == wanted)
    }

    fn fingerprint_of(&mut self, row: Values<'_>) -> Option<u64> {
        // SAFETY: the server computed it as the index's first column.
        let value = unsafe { self.ivf.column.value(row.first()?) };
        if !self.ivf.column.is_indexable(&value) {
            return None;
        }
        let of_value = self.fingerprint_of_value(&value);
        // SAFETY: values of the index's columns.
        let keys = unsafe { self.filter_columns.keys(row) };
        Some(with_keys(of_value, keys.iter().copied()))
    }

    fn look_again(&mut self, missing: &mut FxHashMap<NodeId, ()>) {
        for _ in 0..LOOKS {
            self.keep_those_not_found(missing);
        }
    }
}

impl Check {
    fn fingerprint_of_value(&self, value: &Value) -> u64 {
        if self.expected.shape.form == RowForm::Values {
            return fingerprint(value.payload());
        }
        if !self.expected.shape.has_addresses() {
            // its code is relative to its list, and nothing else of its value is kept
            return 0;
        }
        let mut floats = Vec::new();
        index::floats_of(self.ivf.column, value.payload(), &mut floats);
        let codec = self.ivf.codec();
        let mut rotated = Rotated::default();
        codec.rotate(&floats, &mut rotated);
        let mut code = vec![0i8; floats.len()];
        let factors = codec.encode_rotated(&rotated, &mut code);
        code_fingerprint(factors, &code)
    }
}

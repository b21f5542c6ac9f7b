//! The part of `vector_index_check` that knows `ivf` and `ivfflat`: pages one by one, the directory, the
//! pages of each list, and what rows say of the table.
//!
//! Lists grow meanwhile: what does not fit is looked at again with the entry as it is then, and rows that
//! seem missing are looked for once more. The check has the right to arrange lists anew, so that nobody
//! else does; VACUUM waits for it where it needs that right. Replay on a standby asks nobody: what was
//! found while it arranged lists is forgotten, and the check begins anew.

use super::directory::Directory;
use super::index::{self, Ivf, META_BLOCK};
use super::sample::{Scratch, push_row};
use crate::am::check::claims::{
    self, CLAIM, Claim, Claims, Items, fingerprint, fingerprint_of_keys,
};
use crate::am::column::Column;
use crate::am::filter::keys::FilterColumns;
use crate::check::{Findings, Severity};
use crate::cluster::Rows;
use crate::hnsw::format::{NodeId, RawTid};
use crate::ivf::check::{self as structure, Expected};
use crate::ivf::format::{
    Bf16, Entries, Entry, ListId, ListPage, ListRow, Meta, Opaque, PageKind, RowForm,
    VectorAddress, VectorPage,
};
use crate::pg::attempt::{PageCopy, attempt};
use crate::pg::buffer::{Access, Strategy};
use crate::pg::error::raise_index;
use crate::pg::relation::{Index, Turnstile};
use crate::pg::rows::Values;
use crate::pg::table::Table;
use crate::quantize::{CompactRef, ListEncoder, ListFactors, Rotated};
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;
use std::rc::Rc;

/// Looks at what seems wrong.
const LOOKS: usize = 3;

/// Times that a check on a standby begins, where replay arranges lists again and again.
const BEGINNINGS: usize = 5;

/// Checks an index, and against its table where that is given.
///
/// Raises 55000 on a standby where lists are arranged all the time.
pub fn check(index: Index, table: Option<&Table>, found: &mut Findings<'_>) {
    // SAFETY: reads the server's state.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return check_during_replay(index, table, found);
    }
    // lists are not arranged anew meanwhile: their rows would be seen twice, or not at all
    let _alone = Turnstile::lock(index, META_BLOCK, pg_sys::ExclusiveLock);
    look(index, table, found);
}

fn check_during_replay(index: Index, table: Option<&Table>, found: &mut Findings<'_>) {
    let generation = || attempt(|| index::read_meta(index).generation).ok();
    for _ in 0..BEGINNINGS {
        let before = generation();
        let mut findings = Vec::new();
        let mut take = |finding| findings.push(finding);
        look(index, table, &mut Findings::new(&mut take));
        if findings.is_empty() || generation() == before {
            return findings.into_iter().for_each(|finding| found.take(finding));
        }
    }
    raise_index(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "could not check index \"{}\": replay arranges its lists all the time",
            index.name()
        ),
        Some(
            "Call pg_wal_replay_pause() first, and pg_wal_replay_resume() after the check.".into(),
        ),
    )
}

fn look(index: Index, table: Option<&Table>, found: &mut Findings<'_>) {
    let access = Access::Sequential(Strategy::bulk_read());
    if index.blocks() == 0 {
        return found.error(META_BLOCK, None, "the index has no metapage");
    }
    let mut page = PageCopy::new();
    if let Err(message) = page.read(index, META_BLOCK, access) {
        return found.error(META_BLOCK, None, message);
    }
    if let Some(version) = index::other_version(page.page()) {
        return found.error(META_BLOCK, None, format!("the index {version}"));
    }
    let read = Meta::of(page.page()).and_then(|meta| Ok((*meta, meta.shape()?)));
    let (meta, shape) = match read {
        Ok(read) => read,
        Err(damage) => return found.error(META_BLOCK, None, damage),
    };
    let column = Column::built(index, shape.space.code(), shape.dims);
    if column.is_err() || shape.filters as usize + 1 != index.columns() {
        let message = "the metapage is of another column or operator class";
        return found.error(META_BLOCK, None, message);
    }
    let ivf = match attempt(|| Ivf::of_meta(index, shape, &meta)) {
        Ok(ivf) => ivf,
        Err(message) => return found.error(META_BLOCK, None, message),
    };
    // damage of the directory is told below
    let directory = attempt(|| Directory::now(&ivf)).ok();
    let mut check = Check {
        index,
        access,
        expected: Expected::new(shape),
        ivf,
        directory,
        pages: FxHashMap::default(),
        list_of: FxHashMap::default(),
        vectors: FxHashMap::default(),
        rows: 0,
        page,
        filter_columns: FilterColumns::of(index),
        row: RowOfTable::default(),
    };
    check.pages(found);
    let centroid_len = match meta.centroid {
        0 => 0,
        _ => 4 * meta.dims as usize,
    };
    check.chain(meta.centroid, PageKind::Centroid, centroid_len, found);
    let codebook_len = meta.codebook_len as usize;
    check.chain(meta.codebook, PageKind::Codebook, codebook_len, found);
    check.directory(found);
    check.leftovers(found);
    check.rows(table, found);
}

struct Check {
    index: Index,
    access: Access,
    expected: Expected,
    ivf: Ivf,
    /// the lists with their centroids, where the directory can be read
    directory: Option<Rc<Directory>>,
    /// pages that something must lead to
    pages: FxHashMap<u32, PageKind>,
    /// pages of lists that the directory has
    list_of: FxHashMap<u32, ListId>,
    /// what stands for each compact code, and its row
    vectors: FxHashMap<(u32, usize), (RawTid, u64)>,
    rows: u64,
    page: PageCopy,
    /// make keys of the table's rows
    filter_columns: FilterColumns,
    row: RowOfTable,
}

/// The row of the table that was looked at last.
#[derive(Default)]
struct RowOfTable {
    scratch: Scratch,
    rows: Rows,
    /// stands for the value, where lists keep values
    value: u64,
    /// stands for the keys of its filter columns
    keys: u64,
    decoded: Rotated,
    encoder: ListEncoder,
    code: Vec<u8>,
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
    /// stands for its value
    fingerprint: u64,
    /// stands for its keys
    keys: u64,
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

    /// A chain of pages that never changes, with so many bytes on them.
    fn chain(&mut self, first: u32, kind: PageKind, len: usize, found: &mut Findings<'_>) {
        let mut block = first;
        let mut bytes = 0;
        while block != 0 {
            if self.pages.remove(&block) != Some(kind) {
                let message = format!("a chain of pages of kind {kind:?} goes on where none is");
                return found.error(block, None, message);
            }
            block = match self.page.read(self.index, block, Access::Random) {
                Ok(()) => {
                    let page = self.page.page();
                    bytes += page.contents().map_or(0, <[u8]>::len);
                    Opaque::of(page).map_or(0, |(_, opaque)| opaque.next)
                }
                Err(_) => 0,
            };
        }
        if bytes != len {
            let message = format!("{bytes} bytes on pages of kind {kind:?}, and not {len}");
            found.error(first, None, message);
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
                self.centroid(place, found);
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

    /// The centroid of a list has the factors that its bytes have.
    fn centroid(&self, place: Place, found: &mut Findings<'_>) {
        let (Some(directory), Some(codec)) = (&self.directory, &self.ivf.codec) else {
            return;
        };
        let at = directory.position(ListId(place.entry.list));
        let Some(centre) = at.and_then(|at| directory.centre(at)) else {
            return;
        };
        let expected = codec.centre_of(centre.factors.scale, centre.code);
        if bytemuck::bytes_of(&expected) != bytemuck::bytes_of(&centre.factors) {
            let message = format!(
                "centroid of list {} contradicts its factors",
                place.entry.list
            );
            found.error(place.block, None, message);
        }
    }

    /// From a list's first page to its last.
    fn list_pages(&mut self, entry: Entry) -> Result<(), (u32, String)> {
        let mut block = entry.first;
        let mut pages = 0;
        let mut last = 0;
        let mut seen = FxHashSet::default();
        let mut rows: FxHashSet<RawTid> = FxHashSet::default();
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
            // what cannot be read was told page by page
            if let Ok(page) = ListPage::of(self.page.page(), &self.expected.lists)
                && !page.tids().iter().all(|&tid| rows.insert(tid))
            {
                return Err(wrong("has a row twice"));
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
            self.list_of.insert(block, ListId(entry.list));
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
            let mut all = Claims::default();
            for block in 1..self.index.blocks() {
                self.claims(block, &range, &mut all, found);
            }
            self.seconds(&all, found);
            claims::check(self, table, edge(pass)..edge(pass + 1), all, found);
        }
    }

    /// What the rows of a page say.
    fn claims(
        &mut self,
        block: u32,
        range: &Range<u32>,
        all: &mut Claims,
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
                if self.has_any(item, row.tid) {
                    let message = "row without its compact code";
                    found.error(block, item.offset, message);
                }
            }
            let claim = Claim::new(row.tid, item, row.fingerprint, row.keys);
            match row.is_second {
                true => all.copies.push(claim),
                false => all.items.push(claim),
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
        let is_listed = |directory: &Rc<Directory>| directory.position(page.list).is_some();
        if !self.directory.as_ref().is_none_or(is_listed) {
            // left by a crash: nobody reads its rows
            return Vec::new();
        }
        let rows = (0..page.count()).map(|n| page.row(n));
        rows.filter_map(|row| {
            Some(Row {
                tid: row.tid.id()?,
                is_second: row.is_second,
                address: row.address,
                fingerprint: self.fingerprint_of(&row),
                keys: fingerprint_of_keys(&row.keys.iter().collect::<Vec<u64>>()),
            })
        })
        .collect()
    }

    /// Stands for all that a list, and a vector page, keep of a row.
    fn fingerprint_of(&self, row: &ListRow<'_>) -> u64 {
        let shape = &self.expected.shape;
        match shape.form {
            RowForm::Values => fingerprint_of_value(
                &row.code[..shape.row_len as usize],
                shape.has_norms().then_some(row.norm_squared),
            ),
            RowForm::Codes(_) => {
                let at = row.address.place();
                let compact = at.and_then(|at| self.vectors.get(&at));
                fingerprint_of_code(
                    row.factors,
                    row.code,
                    compact.map_or(0, |(_, value)| *value),
                )
            }
        }
    }

    /// A second copy has a first one.
    fn seconds(&mut self, claims: &Claims, found: &mut Findings<'_>) {
        if claims.copies.is_empty() {
            return;
        }
        let known: FxHashSet<NodeId> = claims.items.iter().map(Claim::row).collect();
        let mut alone: FxHashMap<NodeId, NodeId> = FxHashMap::default();
        for copy in &claims.copies {
            if !known.contains(&copy.row()) {
                alone.insert(copy.row(), copy.item());
            }
        }
        for _ in 0..LOOKS {
            self.keep_those_not_found(&mut alone);
        }
        for (tid, item) in alone {
            if self.has_any(item, tid) {
                // searches find it there, in fewer cases
                let message = format!(
                    "row ({},{}) has a second copy alone: VACUUM is between its lists, or was cut short",
                    tid.block, tid.offset
                );
                found.warning(item.block, item.offset, message);
            }
        }
    }

    /// Whether a page has a copy of a row. Rows change places on their page.
    fn has_any(&mut self, item: NodeId, tid: NodeId) -> bool {
        self.rows_on(item.block).iter().any(|row| row.tid == tid)
    }

    /// What lists keep as the code of the row of the table that was looked at last.
    fn has_code(&mut self, claim: &Claim) -> bool {
        let list = self.list_of.get(&claim.item().block);
        let (Some(directory), Some(codec), Some(coding)) =
            (&self.directory, &self.ivf.codec, &self.ivf.coding)
        else {
            return true;
        };
        let at = list.and_then(|list| directory.position(*list));
        let Some(centre) = at.and_then(|at| directory.centre(at)) else {
            return true;
        };
        let RowOfTable {
            scratch,
            decoded,
            encoder,
            code,
            ..
        } = &mut self.row;
        let compact = CompactRef {
            factors: scratch.factors,
            code: &scratch.code,
        };
        let kept = match self.expected.shape.has_addresses() {
            true => code_fingerprint(compact.factors, compact.code),
            false => 0,
        };
        code.resize(self.expected.shape.row_len as usize, 0);
        // who puts a row into a list has its value; who arranges lists, what its compact code stands for
        let factors = coding.encode(codec, centre, &scratch.rotated, encoder, code);
        if fingerprint_of_code(rounded(factors), code, kept) == claim.value {
            return true;
        }
        codec.decode(compact, decoded);
        let factors = coding.encode(codec, centre, decoded, encoder, code);
        fingerprint_of_code(rounded(factors), code, kept) == claim.value
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

/// Stands for a compact code.
fn code_fingerprint(factors: crate::quantize::Compact, code: &[i8]) -> u64 {
    let mut bytes = bytemuck::bytes_of(&factors).to_vec();
    bytes.extend_from_slice(bytemuck::cast_slice(code));
    fingerprint(&bytes)
}

/// Stands for a value in full.
fn fingerprint_of_value(payload: &[u8], norm_squared: Option<f32>) -> u64 {
    let norm = norm_squared.map_or(0, |norm| norm.to_bits() as u64 + 1);
    fingerprint(payload) ^ norm.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Stands for a code, and the compact code beside it.
fn fingerprint_of_code(factors: ListFactors, code: &[u8], compact: u64) -> u64 {
    let mut bytes = code.to_vec();
    for factor in [factors.add, factors.scale, factors.error] {
        bytes.extend_from_slice(&factor.to_ne_bytes());
    }
    bytes.extend_from_slice(&compact.to_ne_bytes());
    fingerprint(&bytes)
}

/// Factors as a list page keeps them.
fn rounded(factors: ListFactors) -> ListFactors {
    ListFactors {
        error: Bf16::at_least(factors.error).get(),
        ..factors
    }
}

impl Items for Check {
    fn has(&mut self, item: NodeId, tid: RawTid) -> bool {
        let Some(wanted) = tid.id() else {
            return false;
        };
        // rows change places on their page
        let rows = self.rows_on(item.block);
        rows.iter().any(|row| row.tid == wanted && !row.is_second)
    }

    fn has_copy(&mut self, copy: NodeId, tid: RawTid) -> bool {
        tid.id().is_some_and(|tid| self.has_any(copy, tid))
    }

    fn look_at(&mut self, row: Values<'_>) -> bool {
        let Some(value) = row.first() else {
            return false;
        };
        // SAFETY: the server computed it as the index's first column.
        let value = unsafe { self.ivf.column.value(value) };
        if !self.ivf.column.is_indexable(&value) {
            return false;
        }
        let shape = &self.expected.shape;
        match shape.form {
            RowForm::Values => {
                let norm = value.operand().norm_squared;
                self.row.value =
                    fingerprint_of_value(value.payload(), shape.has_norms().then_some(norm));
            }
            RowForm::Codes(_) => {
                let RowOfTable { scratch, rows, .. } = &mut self.row;
                if rows.dims() != shape.dims as usize {
                    *rows = Rows::new(shape.dims as usize);
                }
                rows.clear();
                let codec = self.ivf.codec.as_deref();
                push_row(codec, self.ivf.column, value.payload(), scratch, rows);
            }
        }
        // SAFETY: values of the index's columns.
        self.row.keys = fingerprint_of_keys(unsafe { self.filter_columns.keys(row) });
        true
    }

    fn difference(&mut self, item: &Claim) -> Option<&'static str> {
        if item.keys != self.row.keys {
            return Some("key of a filter column");
        }
        match self.expected.shape.form {
            RowForm::Values => (item.value != self.row.value).then_some("value"),
            RowForm::Codes(_) => (!self.has_code(item)).then_some("code"),
        }
    }

    fn difference_of_copy(&mut self, copy: &Claim, _item: Option<&Claim>) -> Option<&'static str> {
        self.difference(copy)
    }

    fn severity_of_two(&self, one: NodeId, other: NodeId) -> Severity {
        // a crash leaves old lists beside the new ones that were to take their places; scans hand a row
        // out once
        match self.list_of.get(&one.block) == self.list_of.get(&other.block) {
            true => Severity::Error,
            false => Severity::Warning,
        }
    }

    fn look_again(&mut self, missing: &mut FxHashMap<NodeId, ()>) {
        for _ in 0..LOOKS {
            self.keep_those_not_found(missing);
        }
    }
}

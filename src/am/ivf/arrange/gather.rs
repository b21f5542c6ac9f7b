//! The rows of the lists that are arranged, with their vectors.

use super::Member;
use crate::am::damaged::raise_damaged;
use crate::am::ivf::directory::Directory;
use crate::am::ivf::index::Ivf;
use crate::am::ivf::sample::{Scratch, push_row};
use crate::am::ivf::storage::{Steps, Visit};
use crate::cluster::Rows;
use crate::hnsw::format::RawTid;
use crate::ivf::format::{ListRow, VectorAddress, VectorPage};
use crate::ivf::grow::Held;
use crate::page::Damage;
use crate::pg::buffer::{Access, Shared};
use crate::pg::heap::TableReader;
use rustc_hash::FxHashMap;

/// A table that is opened when the first value of it is needed.
pub struct Table<F> {
    open: F,
    reader: Option<TableReader>,
}

impl<F: Fn() -> TableReader> Table<F> {
    /// A table that `open` opens.
    pub fn new(open: F) -> Self {
        Table { open, reader: None }
    }

    /// The reader.
    pub fn reader(&mut self) -> &mut TableReader {
        self.reader.get_or_insert_with(&self.open)
    }

    /// Closes the table.
    pub fn end(self) {
        if let Some(reader) = self.reader {
            reader.end();
        }
    }
}

fn key(tid: RawTid) -> u64 {
    (tid.block_hi as u64) << 32 | (tid.block_lo as u64) << 16 | tid.offset as u64
}

/// A row whose copies are arranged.
pub struct Row {
    pub tid: RawTid,
    pub address: VectorAddress,
    pub norm_squared: f32,
    /// the error of its code
    pub error: f32,
    /// which member it was found in
    member: usize,
    /// its vector could not be read any more
    pub is_lost: bool,
}

/// Rows of the lists that are arranged.
pub struct Pooled {
    pub rows: Vec<Row>,
    pub held: Vec<Held>,
    pub of_cause: Vec<u32>,
    by_tid: FxHashMap<u64, u32>,
    /// of all rows, one for each filter column
    pub keys: Vec<u64>,
    /// values, where lists keep values
    pub values: Vec<u8>,
    pub value_len: usize,
    pub vectors: Rows,
}

impl Pooled {
    pub fn new(ivf: &Ivf) -> Pooled {
        Pooled {
            rows: Vec::new(),
            held: Vec::new(),
            of_cause: Vec::new(),
            by_tid: FxHashMap::default(),
            keys: Vec::new(),
            values: Vec::new(),
            value_len: ivf.shape.row_len as usize,
            vectors: Rows::new(ivf.shape.dims as usize),
        }
    }

    /// Reads the copies of a list.
    pub fn read(&mut self, ivf: &Ivf, member: &Member, is_cause: bool) {
        let mut block = member.entry.first;
        let mut steps = Steps::new();
        while block != 0 {
            pgrx::check_for_interrupts!();
            steps.step(ivf, block);
            let page = Shared::read(ivf.index, block, Access::Random);
            let Visit::Page(page) = ivf.list_page(block, page.page(), member.id) else {
                raise_damaged(
                    ivf.index,
                    block,
                    Damage("page of another list than its chain"),
                );
            };
            for n in 0..page.count() {
                self.add(ivf, &page.row(n), member, is_cause);
            }
            block = page.next;
        }
    }

    fn add(&mut self, ivf: &Ivf, row: &ListRow<'_>, member: &Member, is_cause: bool) {
        let new = self.rows.len() as u32;
        let at = *self.by_tid.entry(key(row.tid)).or_insert(new);
        if at == new {
            self.rows.push(Row {
                tid: row.tid,
                address: row.address,
                norm_squared: row.norm_squared,
                error: row.factors.error,
                member: member.at,
                is_lost: false,
            });
            self.held.push(match row.is_second {
                true => Held::Second,
                false => Held::First,
            });
            self.keys.extend(row.keys.iter());
            if ivf.keeps_values() {
                self.values
                    .extend_from_slice(row.code.value(self.value_len));
            }
        } else if (self.held[at as usize] == Held::Second) != row.is_second {
            self.held[at as usize] = Held::Both;
        }
        if is_cause && self.of_cause.last() != Some(&at) {
            self.of_cause.push(at);
        }
    }

    /// Gets the vectors of all rows: from vector pages, from lists, or from the table.
    pub fn fetch<F: Fn() -> TableReader>(
        &mut self,
        ivf: &Ivf,
        directory: &Directory,
        table: &mut Table<F>,
    ) {
        let mut scratch = Scratch::default();
        let column = ivf.column;
        for n in 0..self.rows.len() {
            pgrx::check_for_interrupts!();
            let row = &mut self.rows[n];
            let vectors = &mut self.vectors;
            if ivf.keeps_values() {
                let payload = &self.values[n * self.value_len..][..self.value_len];
                push_row(ivf.codec.as_deref(), column, payload, &mut scratch, vectors);
                continue;
            }
            if let Some((block, slot)) = row.address.place() {
                let page = Shared::read(ivf.index, block, Access::Random);
                let page = ivf.check(block, || VectorPage::of(page.page(), ivf.vectors));
                match page.get(slot) {
                    Some((tid, compact)) if tid == row.tid => vectors.push(compact),
                    _ => raise_damaged(ivf.index, block, Damage("no vector of a row")),
                }
                continue;
            }
            let fetched = table.reader().fetch(row.tid, |datum| {
                // SAFETY: a non-NULL value of the indexed column.
                let value = unsafe { column.value(datum) };
                push_row(
                    ivf.codec.as_deref(),
                    column,
                    value.payload(),
                    &mut scratch,
                    vectors,
                );
            });
            if fetched.is_none() {
                // dead for everybody here, but perhaps not for a standby's queries: it stays, as near
                // as is known where it was
                row.is_lost = true;
                let centre = directory.centre(row.member);
                let centre = centre.expect("lists with codes have centroids in codes");
                vectors.push_scaled(centre.factors.scale, centre.code);
            }
        }
    }
}

//! New lists on their pages.

use super::gather::Pooled;
use crate::am::ivf::build::Centroid;
use crate::am::ivf::index::Ivf;
use crate::ivf::format::{Entry, Keys, ListId, ListPageMut, ListRow, Opaque, RowBytes, RowForm};
use crate::ivf::grow::Placed;
use crate::pg::change::{Change, Logging};
use crate::quantize::{CentreRef, Compact, CompactRef, ListEncoder, ListFactors, Rotated};

/// Writes new lists.
pub struct Writer<'a> {
    ivf: &'a Ivf,
    pooled: &'a Pooled,
    rotated: Rotated,
    encoder: ListEncoder,
    code: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub fn new(ivf: &'a Ivf, pooled: &'a Pooled) -> Self {
        Writer {
            ivf,
            pooled,
            rotated: Rotated::default(),
            encoder: ListEncoder::default(),
            code: Vec::new(),
        }
    }

    /// Writes a list to free or new pages, the last first, so that each leads to one that is there.
    pub fn write(&mut self, id: ListId, centroid: &Centroid, rows: &[Placed]) -> Entry {
        let ivf = self.ivf;
        let mut entry = Entry {
            list: id.0,
            first: 0,
            last: 0,
            undivided: 0,
            pages: 0,
            rows: rows.len() as u32,
            reserved: 0,
            centre: centroid.centre,
        };
        let capacity = ivf.lists.capacity();
        let pages = rows.len().div_ceil(capacity).max(1);
        for n in (0..pages).rev() {
            let rows = rows.get(n * capacity..).unwrap_or_default();
            let mut page = ivf.take_page();
            let mut opaque = Opaque::of_list(id);
            opaque.next = entry.first;
            let mut change = Change::begin(ivf.index, Logging::EachChange);
            let mut target = change.new_page(&mut page, &opaque);
            let bytes = target.contents_bytes_mut(ivf.lists.contents_len());
            let mut list = ListPageMut::new(bytes, &ivf.lists);
            for &placed in rows.iter().take(capacity) {
                self.encode(placed, centroid, |row| list.push(row));
            }
            change.commit();
            entry.first = page.block();
            if entry.last == 0 {
                entry.last = entry.first;
            }
            entry.pages += 1;
        }
        entry
    }

    fn encode(
        &mut self,
        placed: Placed,
        centroid: &Centroid,
        push: impl FnOnce(&ListRow<'_>) -> bool,
    ) {
        let (ivf, n) = (self.ivf, placed.row as usize);
        let row = &self.pooled.rows[n];
        let filters = ivf.lists.filters();
        let keys = &self.pooled.keys[n * filters..][..filters];
        let mut list_row = ListRow {
            tid: row.tid,
            is_second: placed.is_second,
            factors: ListFactors::default(),
            address: row.address,
            norm_squared: row.norm_squared,
            keys: Keys::of(bytemuck::cast_slice(keys)),
            code: RowBytes::of(&[]),
        };
        match ivf.shape.form {
            RowForm::Codes(_) => {
                let vectors = &self.pooled.vectors;
                let compact = CompactRef {
                    factors: Compact {
                        scale: vectors.scale(n),
                        ..Compact::default()
                    },
                    code: vectors.code(n),
                };
                ivf.codec().decode(compact, &mut self.rotated);
                self.code.resize(ivf.shape.row_len as usize, 0);
                let centre = CentreRef {
                    factors: centroid.centre,
                    code: bytemuck::cast_slice(&centroid.bytes),
                };
                list_row.factors = ivf.coding().encode(
                    ivf.codec(),
                    centre,
                    &self.rotated,
                    &mut self.encoder,
                    &mut self.code,
                );
                if row.is_lost {
                    list_row.factors.error = list_row.factors.error.max(row.error);
                }
                list_row.code = RowBytes::of(&self.code);
            }
            RowForm::Values => {
                let len = self.pooled.value_len;
                list_row.code = RowBytes::of(&self.pooled.values[n * len..][..len]);
            }
        }
        let has_room = push(&list_row);
        assert!(has_room, "a page takes as many rows as it has room for");
    }
}

//! Rows of lists against each other, and against the table.

use super::{Check, LOOKS};
use crate::am::check::claims::{self, CLAIM, Claim, Claims, Items, fingerprint_of_keys};
use crate::am::ivf::directory::Directory;
use crate::check::{Findings, Severity};
use crate::hnsw::format::{NodeId, RawTid};
use crate::ivf::format::{ListPage, RowForm, VectorAddress, VectorPage};
use crate::pg::buffer::Access;
use crate::pg::rows::Values;
use crate::pg::table::Table;
use pgrx::pg_sys;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;
use std::rc::Rc;

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
    /// Rows against each other, their compact codes, and the table.
    pub fn rows(&mut self, table: Option<&Table>, found: &mut Findings<'_>) {
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
        self.take_value(&value);
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

//! Exact distances of rows, from the table.

use super::index::Blocks;
use super::search::ScanRow;
use crate::am::filter::Filter;
use crate::distance::Value;
use crate::hnsw::blocks::{Exact, Near, Ranking};
use crate::hnsw::format::RawTid;
use crate::pg::conditions::Conditions;
use crate::pg::heap::HeapReader;
use crate::quantize::Query;
use std::rc::Rc;

/// Computes exact distances from the table.
pub struct Measure {
    /// the index
    pub blocks: Rc<Blocks>,
    /// what is searched for
    pub query: Value,
    /// reads rows
    pub reader: HeapReader,
    /// which rows are wanted
    pub filter: Option<Rc<Filter>>,
    /// working space
    pub lists: Vec<RawTid>,
}

impl Measure {
    /// Exact distance of a row: of the first heap tuple that the snapshot sees, among those wanted.
    /// `None` where it sees none.
    pub fn of(&mut self, row: &ScanRow, query: &Query) -> Option<Exact> {
        let found = row.tids().iter().find_map(|&tid| self.fetch(tid));
        let operator = found.or_else(|| {
            if !row.has_lists {
                return None;
            }
            let mut lists = std::mem::take(&mut self.lists);
            lists.clear();
            row.all_tids(&self.blocks, self.filter.as_deref(), &mut lists);
            let found = lists.iter().find_map(|&tid| self.fetch(tid));
            self.lists = lists;
            found
        })?;
        Some(Exact {
            operator,
            internal: query.internal(operator),
        })
    }

    /// The next row in exact order, and how many were met before that the snapshot does not see.
    pub fn pop(
        &mut self,
        ranking: &mut Ranking<ScanRow>,
        query: &Query,
    ) -> (Option<Near<ScanRow>>, usize) {
        let mut unseen = 0;
        let next = ranking.pop(|row| {
            let exact = self.of(row, query);
            unseen += exact.is_none() as usize;
            exact
        });
        (next, unseen)
    }

    /// Whether one of a row's heap tuples, among those wanted, is visible and passes.
    pub fn passes(&mut self, row: &ScanRow, conditions: &Conditions) -> bool {
        let mut tids = row.tids().iter();
        if tids.any(|&tid| self.reader.passes(tid, conditions)) {
            return true;
        }
        if !row.has_lists {
            return false;
        }
        let mut lists = std::mem::take(&mut self.lists);
        lists.clear();
        row.all_tids(&self.blocks, self.filter.as_deref(), &mut lists);
        let passes = lists.iter().any(|&tid| self.reader.passes(tid, conditions));
        self.lists = lists;
        passes
    }

    /// The same of many rows: `passes` gets an answer for each. Their heap pages are asked for ahead.
    pub fn pass_each(
        &mut self,
        rows: &[Near<ScanRow>],
        conditions: &Conditions,
        passes: &mut Vec<bool>,
    ) {
        let mut tids = std::mem::take(&mut self.lists);
        tids.clear();
        tids.extend(rows.iter().filter_map(|near| near.row.only_tid()));
        self.reader.prefetch(&tids);
        self.reader.pass_each(&tids, conditions, passes);
        self.lists = tids;
        if passes.len() == rows.len() {
            return;
        }
        let of_one = std::mem::take(passes);
        let mut of_one = of_one.into_iter();
        for near in rows {
            let of_row = match near.row.only_tid() {
                Some(_) => of_one.next() == Some(true),
                None => self.passes(&near.row, conditions),
            };
            passes.push(of_row);
        }
    }

    fn fetch(&mut self, tid: RawTid) -> Option<f64> {
        let (column, query) = (self.blocks.hnsw.column, &self.query);
        self.reader.fetch(tid, |datum| {
            // SAFETY: a non-NULL value of the indexed column.
            unsafe { column.distance(datum, query.operand()) }
        })?
    }
}

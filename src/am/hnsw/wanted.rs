//! Which nodes of a walk count: those with a row that is wanted. The others lead the way.

use super::storage::{Hnsw, PageNode};
use super::tids::tids_of;
use crate::am::filter::Filter;
use crate::hnsw::format::{NodeId, RawTid};
use crate::pg::conditions::Conditions;
use crate::pg::heap::HeapReader;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// What has to hold of a node's rows.
pub struct Wanted {
    /// an allow-list
    pub filter: Option<Rc<Filter>>,
    /// what the plan node asks of rows, and that the snapshot sees them; nothing where it asks nothing
    pub conditions: Conditions,
    /// reads the table
    pub reader: HeapReader,
    known: FxHashMap<NodeId, bool>,
    tids: Vec<RawTid>,
}

impl Wanted {
    /// Nothing looked at yet.
    pub fn new(filter: Option<Rc<Filter>>, conditions: Conditions, reader: HeapReader) -> Self {
        Wanted {
            filter,
            conditions,
            reader,
            known: FxHashMap::default(),
            tids: Vec::new(),
        }
    }

    /// Bytes that answers take.
    pub fn memory(&self) -> usize {
        self.known.capacity() * (size_of::<(NodeId, bool)>() + 1)
    }

    /// Whether one of a node's rows is wanted. No page may be locked.
    pub fn has_row_of(&mut self, hnsw: &Hnsw, node: PageNode) -> bool {
        if let Some(&known) = self.known.get(&node.id) {
            return known;
        }
        self.tids.clear();
        tids_of(hnsw, node.id, node.generation, &mut self.tids);
        let allowed = self.filter.as_ref().and_then(|filter| filter.allowed());
        let (reader, conditions) = (&mut self.reader, &self.conditions);
        let is_wanted = self.tids.iter().any(|&tid| {
            allowed.is_none_or(|allowed| allowed.contains(tid))
                && (conditions.is_empty() || reader.passes(tid, conditions))
        });
        self.known.insert(node.id, is_wanted);
        is_wanted
    }
}

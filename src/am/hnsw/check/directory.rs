//! What nodes there are: eight bytes for each line pointer of the index.

use crate::hnsw::Level;
use crate::hnsw::format::{Node, NodeId};

/// Flags of [`Known`].
const THERE: u8 = 1;
const DELETED: u8 = 2;
const REACHED: u8 = 4;
const EXPANDED: u8 = 8;

/// What is known of a line pointer.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    generation: u32,
    level: Level,
    flags: u8,
}

/// The line pointers of all pages of nodes, in order.
#[derive(Debug, Default)]
pub struct Directory {
    /// number of the first of each block
    first: Vec<u32>,
    known: Vec<Known>,
}

impl Directory {
    /// What is pushed from now on is of the next block.
    pub fn begin_page(&mut self) {
        self.first.push(self.known.len() as u32);
    }

    /// The next line pointer: its node, where it has one.
    pub fn push(&mut self, node: Option<&Node<'_>>) {
        self.known.push(match node {
            None => Known::default(),
            Some(node) => Known {
                generation: node.header.generation,
                level: node.header.level,
                flags: THERE | if node.is_deleted() { DELETED } else { 0 },
            },
        });
    }

    /// Line pointers of a block.
    pub fn count(&self, block: u32) -> usize {
        let edge = |at: usize| self.first.get(at).copied().unwrap_or(0) as usize;
        edge(block as usize + 1).saturating_sub(edge(block as usize))
    }

    fn position(&self, id: NodeId) -> Option<usize> {
        let at = (id.offset as usize).checked_sub(1)?;
        (at < self.count(id.block)).then(|| self.first[id.block as usize] as usize + at)
    }

    fn get(&self, id: NodeId) -> Option<Known> {
        let known = self.known[self.position(id)?];
        (known.flags & THERE != 0).then_some(known)
    }

    /// Number of a line pointer among all, where it has a node.
    pub fn number(&self, id: NodeId) -> Option<usize> {
        self.position(id)
            .filter(|&at| self.known[at].flags & THERE != 0)
    }

    /// Highest layer of a node; `None` where there is none.
    pub fn level(&self, id: NodeId) -> Option<Level> {
        self.get(id).map(|known| known.level)
    }

    /// Generation of a node; `None` where there is none.
    pub fn generation(&self, id: NodeId) -> Option<u32> {
        self.get(id).map(|known| known.generation)
    }

    /// Highest layer of all live nodes, and how many there are.
    pub fn live(&self) -> (Option<Level>, u64) {
        let live = self
            .known
            .iter()
            .filter(|known| known.flags & (THERE | DELETED) == THERE);
        live.fold((None, 0), |(highest, count), known| {
            (highest.max(Some(known.level)), count + 1)
        })
    }

    /// Notes that something leads to a node.
    pub fn reach(&mut self, id: NodeId) {
        if let Some(at) = self.position(id) {
            self.known[at].flags |= REACHED;
        }
    }

    /// The nodes of a block that have been reached since this was asked last.
    pub fn take_reached(&mut self, block: u32, offsets: &mut Vec<u16>) {
        offsets.clear();
        let count = self.count(block);
        let first = self.first[block as usize] as usize;
        for (n, known) in self.known[first..first + count].iter_mut().enumerate() {
            if known.flags & (REACHED | EXPANDED) == REACHED {
                known.flags |= EXPANDED;
                offsets.push(n as u16 + 1);
            }
        }
    }

    /// Live nodes of a block that nothing leads to.
    pub fn unreached(&self, block: u32) -> Vec<NodeId> {
        let first = self.first[block as usize] as usize;
        let known = &self.known[first..first + self.count(block)];
        let unreached = known
            .iter()
            .enumerate()
            .filter(|(_, known)| known.flags & (THERE | DELETED | REACHED) == THERE);
        unreached
            .map(|(n, _)| NodeId {
                block,
                offset: n as u16 + 1,
            })
            .collect()
    }
}

//! Every node can be reached: what no entry leads to is found and attached.

use super::build::{Follow, Graph, Links, Near};
use super::link::Worker;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// How nodes that nothing led to were attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attached {
    /// nodes that a neighbour leads to now, in place of a covered link
    pub by_link: usize,
    /// nodes that became entries: no neighbour could spare a link
    pub as_entry: usize,
}

/// A forest that spans what can be reached: by which node each was found. Links of the forest are
/// kept; any other can go, and every node is still reached.
struct Forest {
    parents: Vec<u32>,
    open: Vec<u32>,
}

impl Forest {
    const UNREACHED: u32 = u32::MAX;

    fn is_reached(&self, node: u32) -> bool {
        self.parents[node as usize] != Self::UNREACHED
    }

    /// Adds a node, and all that it leads to.
    fn flood(&mut self, graph: &Graph, node: u32, parent: u32, stop: &AtomicBool) {
        self.parents[node as usize] = parent;
        self.open.push(node);
        let mut neighbours = Vec::new();
        while let Some(node) = self.open.pop() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            neighbours.clear();
            graph.lists.read(node, Follow::All, &mut neighbours);
            for &neighbour in &neighbours {
                if !self.is_reached(neighbour) {
                    self.parents[neighbour as usize] = node;
                    self.open.push(neighbour);
                }
            }
        }
    }
}

impl Graph {
    /// Attaches the linked nodes that no entry leads to. Call it when no thread links. Once `stop` is
    /// set it returns soon, with work left undone.
    pub fn attach_unreached(
        &mut self,
        worker: &mut Worker,
        stop: &AtomicBool,
    ) -> io::Result<Attached> {
        let mut attached = Attached::default();
        let mut forest = Forest {
            parents: vec![Forest::UNREACHED; self.len()],
            open: Vec::new(),
        };
        for entry in 0..self.entries().len() {
            let node = self.entries()[entry];
            if self.entries.is_open(entry) && !forest.is_reached(node) {
                forest.flood(self, node, node, stop);
            }
        }
        for node in 0..self.len() as u32 {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if forest.is_reached(node) || !self.lists.is_linked(node) {
                continue;
            }
            let parent = self.attach_by_link(node, &forest, worker);
            match parent {
                Some(_) => attached.by_link += 1,
                None => {
                    self.add_entry(node)?;
                    attached.as_entry += 1;
                }
            }
            forest.flood(self, node, parent.unwrap_or(node), stop);
        }
        Ok(attached)
    }

    /// Lets the nearest node that can spare a link lead to this one.
    fn attach_by_link(&self, node: u32, forest: &Forest, worker: &mut Worker) -> Option<u32> {
        let ef = self.shape.ef_construction;
        let nearest = self.nearest(self.get(node), ef, Follow::All, worker);
        let mut links = Links::default();
        let mut is_attached = false;
        for near in nearest {
            self.lists.change(near.node, &mut links, |list| {
                let may_go = |link: &Near| forest.parents[link.node as usize] != near.node;
                if list.len() == self.shape.slots {
                    match list.covered.iter().rposition(may_go) {
                        Some(at) => drop(list.covered.remove(at)),
                        None => return,
                    }
                }
                let distance = near.distance;
                let at = list.covered.partition_point(|l| l.distance <= distance);
                list.covered.insert(at, Near { distance, node });
                is_attached = true;
            });
            if is_attached {
                return Some(near.node);
            }
        }
        None
    }
}

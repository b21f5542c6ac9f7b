//! The graph in memory, built by several threads at once (Algorithm 1 of the paper).
//!
//! Values are pushed by one thread, then inserted by any number. Each node's neighbour lists have
//! a lock of their own, held for one list at a time, so threads never wait for each other in a
//! circle. The entry point is locked for writing while a node that rises above it is inserted.

use super::{Candidate, Distance, Level, Params, Searcher, Store, select_neighbours};
use crate::distance::{Operand, Space};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Bytes of one slab of payloads.
const SLAB: usize = 256 << 10;

/// A neighbour and its distance to the node whose list holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// number of the neighbour
    pub node: u32,
    /// distance to it
    pub distance: f32,
    /// what the heuristic said of it
    verdict: Verdict,
}

impl Link {
    fn new(node: u32, distance: Distance) -> Self {
        Link {
            node,
            distance: distance.0 as f32,
            verdict: Verdict::Unknown,
        }
    }
}

/// What the heuristic said of a neighbour when it last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// nothing yet: its list had room
    Unknown,
    /// no nearer chosen neighbour covers its way
    Chosen,
    /// kept only while there is room
    Covered,
}

/// What became of a pushed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// a new node
    New(u32),
    /// the node that has this very value already
    Duplicate(u32),
}

/// Where a node's payload lies.
#[derive(Debug, Clone, Copy)]
struct Span {
    slab: u32,
    offset: u32,
    len: u32,
    norm_squared: f32,
}

/// Neighbour lists of a node, ground layer first.
#[derive(Debug, Default)]
struct Lists(Box<[Vec<Link>]>);

/// A graph in memory.
pub struct Graph {
    space: Space,
    params: Params,
    slabs: Vec<Box<[u64]>>,
    slab_used: usize,
    spans: Vec<Span>,
    lists: Vec<Mutex<Lists>>,
    entry: RwLock<Option<(u32, Level)>>,
    by_hash: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    rng: fastrand::Rng,
    highest_level: Level,
    bytes: usize,
}

impl Graph {
    /// An empty graph. `highest_level` caps the levels drawn; `seed` makes them repeatable.
    pub fn new(space: Space, params: Params, highest_level: Level, seed: u64) -> Self {
        Graph {
            space,
            params,
            slabs: Vec::new(),
            slab_used: SLAB,
            spans: Vec::new(),
            lists: Vec::new(),
            entry: RwLock::new(None),
            by_hash: HashMap::default(),
            rng: fastrand::Rng::with_seed(seed),
            highest_level,
            bytes: 0,
        }
    }

    /// Adds a value, to be inserted later, unless a node has these very bytes.
    pub fn push(&mut self, payload: &[u8]) -> Pushed {
        let hash = hash_of(payload);
        if let Some(&node) = self.by_hash.get(&hash)
            && self.operand(node).payload == payload
        {
            return Pushed::Duplicate(node);
        }
        let node = self.spans.len() as u32;
        self.by_hash.entry(hash).or_insert(node);
        let span = self.store(payload);
        self.spans.push(span);
        let level = self.params.random_level(&mut self.rng, self.highest_level);
        let lists = (0..=level).map(|l| Vec::with_capacity(self.params.capacity(l)));
        self.lists.push(Mutex::new(Lists(lists.collect())));
        self.bytes += self.node_bytes(level);
        Pushed::New(node)
    }

    fn store(&mut self, payload: &[u8]) -> Span {
        let words = payload.len().div_ceil(8);
        if self.slab_used + words * 8 > self.slabs.last().map_or(0, |slab| slab.len() * 8) {
            let size = (words * 8).max(SLAB);
            self.slabs.push(vec![0u64; size / 8].into_boxed_slice());
            self.slab_used = 0;
        }
        // what is untouched of a slab takes no memory
        self.bytes += words * 8;
        let slab = self.slabs.len() - 1;
        let offset = self.slab_used;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.slabs[slab]);
        bytes[offset..offset + payload.len()].copy_from_slice(payload);
        self.slab_used += words * 8;
        Span {
            slab: slab as u32,
            offset: offset as u32,
            len: payload.len() as u32,
            norm_squared: self.space.norm_squared(payload),
        }
    }

    /// Bytes a node takes beside its payload.
    fn node_bytes(&self, level: Level) -> usize {
        let heap_overhead = 16;
        size_of::<Span>()
            + size_of::<Mutex<Lists>>()
            + 2 * size_of::<(u64, u32)>()
            + (level as usize + 1) * (size_of::<Vec<Link>>() + heap_overhead)
            + self.params.total_capacity(level) * size_of::<Link>()
    }

    /// Bytes held, payloads and links.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// Number of nodes pushed.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// A node's value.
    #[inline]
    pub fn operand(&self, node: u32) -> Operand<'_> {
        let span = self.spans[node as usize];
        let slab: &[u8] = bytemuck::cast_slice(&self.slabs[span.slab as usize]);
        Operand {
            payload: &slab[span.offset as usize..][..span.len as usize],
            norm_squared: span.norm_squared,
        }
    }

    /// The highest layer that a node is in.
    pub fn level(&self, node: u32) -> Level {
        (self.lock(node).0.len() - 1) as Level
    }

    /// A node's neighbours at a level it is in.
    pub fn links(&self, node: u32, level: Level) -> Vec<Link> {
        self.lock(node).0[level as usize].clone()
    }

    /// The entry point and its level; `None` while no node is inserted.
    pub fn entry(&self) -> Option<(u32, Level)> {
        *self.entry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, node: u32) -> MutexGuard<'_, Lists> {
        self.lists[node as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn distance(&self, a: u32, b: u32) -> Distance {
        Distance(self.space.distance(self.operand(a), self.operand(b)))
    }

    /// Links a pushed node into the graph. Safe to call from many threads, once per node.
    pub fn insert<'g>(&'g self, node: u32, worker: &mut Worker<'g>) {
        let level = self.level(node);
        let reader = self.entry.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((entry, entry_level)) = *reader
            && entry_level >= level
        {
            drop(reader);
            return self.connect(node, level, (entry, entry_level), worker);
        }
        drop(reader);
        let mut writer = self.entry.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = *writer {
            self.connect(node, level, entry, worker);
            if entry.1 >= level {
                return;
            }
        }
        *writer = Some((node, level));
    }

    fn connect<'g>(
        &'g self,
        node: u32,
        level: Level,
        (entry, entry_level): (u32, Level),
        worker: &mut Worker<'g>,
    ) {
        let Worker { store, searcher } = worker;
        store.look_around(node);
        let entry = store.candidate(entry);
        let mut entries = searcher.descend(store, entry, entry_level, level);
        let mut chosen = Vec::new();
        for level in (0..=level.min(entry_level)).rev() {
            let ef = self.params.ef_construction as usize;
            let nearest = searcher.search_layer(store, &entries, ef, level);
            chosen.push(select_neighbours(
                &nearest,
                self.params.capacity(level),
                |a, b| self.distance(a, b),
            ));
            entries = nearest;
        }
        // From the bottom up: whoever finds the node on a level finds its lists below filled. A
        // thread that came down into an empty list would see nothing else, and its node would
        // become an island.
        for (level, chosen) in chosen.iter().rev().enumerate() {
            let links = chosen.iter().map(|c| Link::new(c.node, c.distance));
            self.lock(node).0[level].extend(links);
            let capacity = self.params.capacity(level as Level);
            for neighbour in chosen {
                let link = Link::new(node, neighbour.distance);
                self.admit(&mut self.lock(neighbour.node).0[level], link, capacity);
            }
        }
    }

    /// Adds a link to a list. A full list keeps what the heuristic chooses: it drops its farthest
    /// covered link, or its farthest where none is covered.
    ///
    /// Verdicts are kept with the links, nearest first, so that a new link is compared only with
    /// the chosen ones: about 20 distances, where choosing from scratch takes 300. One thing is
    /// left out: what only a link covered that is now covered itself stays covered.
    fn admit(&self, list: &mut Vec<Link>, mut link: Link, capacity: usize) {
        if list.len() < capacity {
            list.push(link);
            return;
        }
        if list.iter().any(|l| l.verdict == Verdict::Unknown) {
            self.judge(list);
        }
        let at = list.partition_point(|l| l.distance <= link.distance);
        let covers =
            |near: &Link, far: &Link| self.distance(near.node, far.node).0 as f32 <= far.distance;
        let (nearer, farther) = list.split_at_mut(at);
        let is_covered = nearer
            .iter()
            .any(|l| l.verdict == Verdict::Chosen && covers(l, &link));
        link.verdict = if is_covered {
            Verdict::Covered
        } else {
            Verdict::Chosen
        };
        if !is_covered {
            for other in farther.iter_mut().filter(|l| l.verdict == Verdict::Chosen) {
                if covers(&link, other) {
                    other.verdict = Verdict::Covered;
                }
            }
        }
        list.insert(at, link);
        let dropped = list.iter().rposition(|l| l.verdict == Verdict::Covered);
        list.remove(dropped.unwrap_or(list.len() - 1));
    }

    /// Sorts a list, nearest first, and gives every link its verdict.
    fn judge(&self, list: &mut [Link]) {
        list.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.node.cmp(&b.node)));
        for i in 0..list.len() {
            let (nearer, rest) = list.split_at_mut(i);
            let link = &mut rest[0];
            let is_covered = nearer.iter().any(|l| {
                l.verdict == Verdict::Chosen
                    && self.distance(l.node, link.node).0 as f32 <= link.distance
            });
            link.verdict = if is_covered {
                Verdict::Covered
            } else {
                Verdict::Chosen
            };
        }
    }
}

/// One thread's working memory.
pub struct Worker<'g> {
    store: MemoryStore<'g>,
    searcher: Searcher<MemoryStore<'g>>,
}

impl<'g> Worker<'g> {
    /// Working memory for a graph to which nothing is pushed any more.
    pub fn new(graph: &'g Graph) -> Self {
        Worker {
            store: MemoryStore::new(graph),
            searcher: Searcher::default(),
        }
    }
}

/// The storage trait over the graph in memory.
pub(super) struct MemoryStore<'g> {
    graph: &'g Graph,
    /// what is searched for
    query: Operand<'g>,
    /// the node whose value that is, which does not find itself
    itself: Option<u32>,
    /// epoch in which a node was last seen
    seen: Vec<u32>,
    epoch: u32,
    /// links still to be read of a visit
    ahead: Vec<u32>,
}

impl<'g> MemoryStore<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let query = Operand {
            payload: &[],
            norm_squared: 0.0,
        };
        MemoryStore {
            graph,
            query,
            itself: None,
            seen: vec![0; graph.len()],
            epoch: 0,
            ahead: Vec::new(),
        }
    }

    /// Sets what is searched for.
    #[cfg(test)]
    pub(super) fn look_for(&mut self, query: Operand<'g>) {
        self.query = query;
        self.itself = None;
    }

    fn look_around(&mut self, node: u32) {
        self.query = self.graph.operand(node);
        self.itself = Some(node);
    }

    /// A node as a candidate.
    #[inline]
    pub(super) fn candidate(&self, node: u32) -> Candidate<u32> {
        let distance = self
            .graph
            .space
            .distance(self.query, self.graph.operand(node));
        Candidate {
            distance: Distance(distance),
            node,
        }
    }
}

impl Store for MemoryStore<'_> {
    type Link = u32;
    type Node = u32;

    fn links(&mut self, node: u32, level: Level, links: &mut Vec<u32>) {
        links.clear();
        links.extend(
            self.graph.lock(node).0[level as usize]
                .iter()
                .map(|l| l.node),
        );
    }

    #[inline]
    fn visit(&mut self, links: &[u32], found: &mut Vec<Candidate<u32>>) {
        self.ahead.clear();
        for &link in links {
            let seen = &mut self.seen[link as usize];
            if *seen != self.epoch {
                *seen = self.epoch;
                self.ahead.push(link);
            }
        }
        for (i, &link) in self.ahead.iter().enumerate() {
            if let Some(&next) = self.ahead.get(i + 2) {
                crate::distance::prefetch(self.graph.operand(next).payload);
            }
            found.push(self.candidate(link));
        }
    }

    #[inline]
    fn is_live(&self, _node: u32) -> bool {
        true
    }

    fn restart(&mut self, seen: &[Candidate<u32>]) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.seen.fill(0);
            self.epoch = 1;
        }
        if let Some(node) = self.itself {
            self.seen[node as usize] = self.epoch;
        }
        for candidate in seen {
            self.seen[candidate.node as usize] = self.epoch;
        }
    }
}

/// Passes a hash through.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ byte as u64;
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

fn hash_of(payload: &[u8]) -> u64 {
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(payload);
    hasher.write_usize(payload.len());
    hasher.finish()
}

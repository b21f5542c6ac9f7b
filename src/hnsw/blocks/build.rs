//! The graph in memory: one thread takes values in, then any number of threads link them.
//!
//! Everything of a node lies in flat arrays, by its number: its record (compact code with factors),
//! the hash of its payload, and its list of links. The arrays are [`Region`]s: what does not fit
//! the memory allowed goes on in files.

use super::memory::{Backing, Region};
use crate::quantize::{Codec, Compact, CompactRef};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What is chosen for a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// most links a node has, at most [`MAX_SLOTS`]
    pub slots: usize,
    /// candidates kept while a node looks for its neighbours
    pub ef_construction: usize,
    /// makes the order of linking repeatable
    pub seed: u64,
}

/// Most links a list can have: their number is kept in a byte.
pub const MAX_SLOTS: usize = 255;

/// Most nodes of a graph: a bit of their number is a mark in searches.
pub const MAX_NODES: usize = 1 << 31;

/// What became of a pushed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// a new node
    New(u32),
    /// the node that has this very value already
    Duplicate(u32),
}

/// What the heuristic (Algorithm 4 of the paper) said of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// no nearer chosen neighbour covers its way
    Chosen,
    /// kept while there is room
    Covered,
}

/// A link as it is kept: a neighbour and its internal distance to the node whose list holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// number of the neighbour
    pub node: u32,
    /// distance to it
    pub distance: f32,
    /// what the heuristic said of it
    pub verdict: Verdict,
}

/// Compact codes with their factors, one record for each node.
pub(super) struct Records {
    bytes: Region<u8>,
    dims: usize,
    stride: usize,
    len: usize,
}

impl Records {
    /// Records begin where any of their fields may lie.
    const ALIGN: usize = 16;

    pub(super) fn new(dims: usize) -> Self {
        Records {
            bytes: Region::default(),
            dims,
            stride: (size_of::<Compact>() + dims).next_multiple_of(Self::ALIGN),
            len: 0,
        }
    }

    pub(super) fn push(&mut self, node: CompactRef<'_>) -> io::Result<()> {
        let at = self.len * self.stride;
        make_room(&mut self.bytes, at + self.stride)?;
        let record = &mut self.bytes[at..at + self.stride];
        let (factors, code) = record.split_at_mut(size_of::<Compact>());
        factors.copy_from_slice(bytemuck::bytes_of(&node.factors));
        code[..self.dims].copy_from_slice(bytemuck::cast_slice(node.code));
        self.len += 1;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn get(&self, node: usize) -> CompactRef<'_> {
        let record = &self.bytes[node * self.stride..][..self.stride];
        let (factors, code) = record.split_at(size_of::<Compact>());
        CompactRef {
            factors: *bytemuck::from_bytes(factors),
            code: bytemuck::cast_slice(&code[..self.dims]),
        }
    }

    /// Asks the processor for a record that is about to be read.
    #[inline(always)]
    pub(super) fn prefetch(&self, node: usize) {
        let record = &self.bytes[node * self.stride..][..self.stride];
        for line in record.chunks(64).take(16) {
            prefetch(line);
        }
    }
}

/// Asks the processor for the cache line that a slice begins in.
#[inline(always)]
fn prefetch<T>(line: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Grows an array by a quarter where it is too short, so that growing stays a small part.
fn make_room<T: super::memory::Plain>(region: &mut Region<T>, len: usize) -> io::Result<()> {
    if len <= region.len() {
        return Ok(());
    }
    region.grow_to(len.max(region.len() / 4 * 5))
}

/// Values on their way into a graph, pushed by one thread.
pub struct Intake<F> {
    codec: Codec,
    shape: Shape,
    records: Records,
    hashes: Region<u64>,
    /// open addressing by hash: number of a node plus one, 0 where a place is free
    places: Region<u32>,
    limit: usize,
    spill: F,
    is_spilled: bool,
}

impl<F: FnMut() -> io::Result<B>, B: Into<Backing>> Intake<F> {
    /// Fewest places of the table of hashes.
    const FEWEST_PLACES: usize = 16 << 10;

    /// An empty graph of vectors that `codec` encodes. When it needs more than `limit` bytes of
    /// private memory, links included, it moves to files that `spill` opens, see
    /// [`Backing`].
    pub fn new(codec: Codec, shape: Shape, limit: usize, spill: F) -> io::Result<Self> {
        assert!((1..=MAX_SLOTS).contains(&shape.slots));
        let mut places = Region::default();
        places.grow_to(Self::FEWEST_PLACES)?;
        Ok(Intake {
            records: Records::new(codec.dims()),
            codec,
            shape,
            hashes: Region::default(),
            places,
            limit,
            spill,
            is_spilled: false,
        })
    }

    /// Adds a value, to be linked later, unless a node has it: the same hash and the same code.
    pub fn push(&mut self, value: CompactRef<'_>, hash: u64) -> io::Result<Pushed> {
        assert_eq!(value.code.len(), self.records.dims);
        assert!(self.len() < MAX_NODES);
        let mut place = self.first_place(hash);
        while let Some(node) = self.places[place].checked_sub(1) {
            if self.hashes[node as usize] == hash && is_equal(self.get(node), value) {
                return Ok(Pushed::Duplicate(node));
            }
            place = (place + 1) & (self.places.len() - 1);
        }
        let node = self.len();
        if !self.is_spilled && self.bytes_of(node + 1) > self.limit {
            self.move_to_files()?;
        }
        make_room(&mut self.hashes, node + 1)?;
        self.hashes[node] = hash;
        self.records.push(value)?;
        self.places[place] = node as u32 + 1;
        if self.len() * 2 > self.places.len() {
            self.double_places()?;
        }
        Ok(Pushed::New(node as u32))
    }

    fn first_place(&self, hash: u64) -> usize {
        // Fibonacci hashing (Knuth, 6.4): the high bits of the product depend on all of the hash
        let bits = self.places.len().trailing_zeros();
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - bits)) as usize
    }

    fn double_places(&mut self) -> io::Result<()> {
        self.places.grow_to(self.places.len() * 2)?;
        self.places.fill(0);
        for node in 0..self.len() {
            let mut place = self.first_place(self.hashes[node]);
            while self.places[place] != 0 {
                place = (place + 1) & (self.places.len() - 1);
            }
            self.places[place] = node as u32 + 1;
        }
        Ok(())
    }

    fn move_to_files(&mut self) -> io::Result<()> {
        self.records.bytes.move_to((self.spill)()?)?;
        self.hashes.move_to((self.spill)()?)?;
        self.places.move_to((self.spill)()?)?;
        self.is_spilled = true;
        Ok(())
    }

    /// Number of nodes pushed.
    pub fn len(&self) -> usize {
        self.records.len
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of private memory that the graph takes once it is linked. What is in files is not
    /// counted.
    pub fn memory(&self) -> usize {
        match self.is_spilled {
            true => 0,
            false => self.bytes_of(self.len()),
        }
    }

    /// Whether the graph has outgrown its memory and is in files.
    pub fn is_spilled(&self) -> bool {
        self.is_spilled
    }

    fn bytes_of(&self, nodes: usize) -> usize {
        let list = Lists::words(self.shape.slots) * size_of::<u32>();
        let place = 2 * size_of::<u32>();
        nodes * (self.records.stride + size_of::<u64>() + place + list)
    }

    /// A node's compact code.
    pub fn get(&self, node: u32) -> CompactRef<'_> {
        self.records.get(node as usize)
    }

    /// The codec that the graph was made with.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The graph of what was pushed, ready to be linked.
    pub fn finish(mut self) -> io::Result<Graph> {
        let mut lists = Lists {
            words: match self.is_spilled {
                true => Region::in_file((self.spill)()?)?,
                false => Region::default(),
            },
            slots: self.shape.slots,
        };
        lists
            .words
            .grow_to(self.len() * Lists::words(self.shape.slots))?;
        self.records.bytes.settle();
        lists.words.settle();
        let turns = Turns::new(self.len(), self.shape.seed);
        let entries = Entries::new(&self.records, turns)?;
        let graph = Graph {
            codec: self.codec,
            shape: self.shape,
            records: self.records,
            hashes: self.hashes,
            lists,
            turns,
            entries,
        };
        if !graph.is_empty() {
            // the one node that is linked without a link, for all others to start from
            graph.lists.mark_linked(turns.node(0));
            graph.entries.open(0);
        }
        Ok(graph)
    }
}

fn is_equal(a: CompactRef<'_>, b: CompactRef<'_>) -> bool {
    bytemuck::bytes_of(&a.factors) == bytemuck::bytes_of(&b.factors) && a.code == b.code
}

/// The order in which nodes are linked: steps of the golden ratio through the order of pushing, so
/// that each stretch of it is a sample of all rows, in whatever order they came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turns {
    len: u64,
    start: u64,
    step: u64,
}

impl Turns {
    fn new(len: usize, seed: u64) -> Self {
        let len = len as u64;
        let gcd = |mut a: u64, mut b: u64| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        let golden = ((len as f64 * 0.618_033_988_749_895) as u64).max(1);
        let step = (golden..).find(|&step| gcd(step, len.max(1)) == 1);
        Turns {
            len,
            start: fastrand::Rng::with_seed(seed).u64(0..len.max(1)),
            step: step.unwrap_or(1),
        }
    }

    pub(super) fn node(self, turn: usize) -> u32 {
        ((self.start + turn as u64 * self.step) % self.len) as u32
    }
}

/// The first nodes linked, scanned whole by each that comes later: a search starts from the
/// nearest of them.
pub(super) struct Entries {
    pub(super) nodes: Vec<u32>,
    /// their records again, side by side
    pub(super) records: Records,
    is_open: Vec<AtomicBool>,
}

impl Entries {
    fn new(records: &Records, turns: Turns) -> io::Result<Self> {
        let count = (2.0 * (records.len as f64).sqrt()).ceil() as usize;
        let nodes: Vec<u32> = (0..count.min(records.len))
            .map(|turn| turns.node(turn))
            .collect();
        let mut copies = Records::new(records.dims);
        for &node in &nodes {
            copies.push(records.get(node as usize))?;
        }
        Ok(Entries {
            is_open: nodes.iter().map(|_| AtomicBool::new(false)).collect(),
            nodes,
            records: copies,
        })
    }

    /// Lets searches start from an entry, which is linked now.
    pub(super) fn open(&self, entry: usize) {
        self.is_open[entry].store(true, Ordering::Release);
    }

    /// Adds an entry, open at once.
    fn push(&mut self, node: u32, record: CompactRef<'_>) -> io::Result<()> {
        self.records.push(record)?;
        self.nodes.push(node);
        self.is_open.push(AtomicBool::new(true));
        Ok(())
    }

    pub(super) fn is_open(&self, entry: usize) -> bool {
        self.is_open[entry].load(Ordering::Acquire)
    }
}

/// The lists of links. A list is a header, `slots` numbers of nodes and `slots` distances; chosen
/// ones first, then covered ones, both nearest first.
///
/// Searches read lists that are being written, without a lock: at worst they see a neighbour twice
/// or miss one that is moving. Writers lock the list, one at a time.
pub(super) struct Lists {
    words: Region<AtomicU32>,
    slots: usize,
}

/// A list's header is this: locked, linked, chosen links, links.
const LOCKED: u32 = 1 << 31;
const LINKED: u32 = 1 << 30;

impl Lists {
    fn words(slots: usize) -> usize {
        1 + 2 * slots
    }

    #[inline(always)]
    fn list(&self, node: u32) -> &[AtomicU32] {
        let words = Self::words(self.slots);
        &self.words[node as usize * words..][..words]
    }

    /// Asks the processor for a list that is about to be read.
    #[inline(always)]
    pub(super) fn prefetch(&self, node: u32) {
        let list = self.list(node);
        prefetch(list);
        prefetch(&list[list.len().min(16)..]);
    }

    /// Appends the neighbours to follow.
    #[inline(always)]
    pub(super) fn read(&self, node: u32, follow: Follow, nodes: &mut Vec<u32>) {
        let list = self.list(node);
        let header = list[0].load(Ordering::Acquire);
        let count = match follow {
            Follow::Chosen => header >> 8,
            Follow::All => header,
        } as u8;
        nodes.extend(
            list[1..][..count as usize]
                .iter()
                .map(|word| word.load(Ordering::Acquire)),
        );
    }

    fn lock(&self, node: u32) -> u32 {
        let header = &self.list(node)[0];
        let mut spins = 0u32;
        loop {
            let seen = header.load(Ordering::Relaxed) & !LOCKED;
            let locked = header.compare_exchange_weak(
                seen,
                seen | LOCKED,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if locked.is_ok() {
                return seen;
            }
            spins += 1;
            if spins.is_multiple_of(64) {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Marks a node as linked; false where it was.
    pub(super) fn mark_linked(&self, node: u32) -> bool {
        self.list(node)[0].fetch_or(LINKED, Ordering::AcqRel) & LINKED == 0
    }

    pub(super) fn is_linked(&self, node: u32) -> bool {
        self.list(node)[0].load(Ordering::Acquire) & LINKED != 0
    }

    /// Changes a list under its lock.
    #[inline]
    pub(super) fn change(&self, node: u32, links: &mut Links, change: impl FnOnce(&mut Links)) {
        let header = self.lock(node);
        let list = self.list(node);
        self.copy(list, header, links);
        change(links);
        debug_assert!(links.len() <= self.slots);
        let (nodes, distances) = list[1..].split_at(self.slots);
        for (i, link) in links.chosen.iter().chain(&links.covered).enumerate() {
            nodes[i].store(link.node, Ordering::Release);
            distances[i].store(link.distance.to_bits(), Ordering::Relaxed);
        }
        let counts = (links.chosen.len() << 8 | links.len()) as u32;
        list[0].store(header & LINKED | counts, Ordering::Release);
    }

    pub(super) fn get(&self, node: u32, links: &mut Links) {
        let list = self.list(node);
        self.copy(list, list[0].load(Ordering::Acquire), links);
    }

    fn copy(&self, list: &[AtomicU32], header: u32, links: &mut Links) {
        let (chosen, count) = ((header >> 8) as u8 as usize, header as u8 as usize);
        let (nodes, distances) = list[1..].split_at(self.slots);
        let link = |i: usize| Near {
            node: nodes[i].load(Ordering::Relaxed),
            distance: f32::from_bits(distances[i].load(Ordering::Relaxed)),
        };
        links.chosen.clear();
        links.chosen.extend((0..chosen).map(link));
        links.covered.clear();
        links.covered.extend((chosen..count).map(link));
    }
}

/// Which links a search goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// those that the heuristic chose
    Chosen,
    /// covered ones too
    All,
}

/// A node and its distance from what is searched for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// distance to it
    pub distance: f32,
    /// number of the node
    pub node: u32,
}

/// A list of links outside of the graph.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) chosen: Vec<Near>,
    pub(super) covered: Vec<Near>,
}

impl Links {
    pub(super) fn len(&self) -> usize {
        self.chosen.len() + self.covered.len()
    }

    pub(super) fn contains(&self, node: u32) -> bool {
        let is_node = |link: &Near| link.node == node;
        self.chosen.iter().any(is_node) || self.covered.iter().any(is_node)
    }
}

/// A graph in memory, to be linked by any number of threads (`link.rs`).
pub struct Graph {
    pub(super) codec: Codec,
    pub(super) shape: Shape,
    pub(super) records: Records,
    hashes: Region<u64>,
    pub(super) lists: Lists,
    turns: Turns,
    pub(super) entries: Entries,
}

impl Graph {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.records.len
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node to link in a turn from `0..self.len()`. The first turns are the entry points; the
    /// last ones are any nodes: they can be left out for a while, as a sample of queries.
    pub fn at_turn(&self, turn: usize) -> u32 {
        self.turns.node(turn)
    }

    /// A node's compact code.
    #[inline(always)]
    pub fn get(&self, node: u32) -> CompactRef<'_> {
        self.records.get(node as usize)
    }

    /// The hash that a node was pushed with.
    pub fn hash(&self, node: u32) -> u64 {
        self.hashes[node as usize]
    }

    /// The codec that the graph was made with.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Where searches start: about twice the square root of the number of nodes.
    pub fn entries(&self) -> &[u32] {
        &self.entries.nodes
    }

    /// Appends a node's links, chosen ones first, then covered ones, both nearest first.
    pub fn links(&self, node: u32, into: &mut Vec<Link>) {
        self.links_with(node, &mut Links::default(), into);
    }

    /// The same with working space to be used again.
    pub(super) fn links_with(&self, node: u32, links: &mut Links, into: &mut Vec<Link>) {
        self.lists.get(node, links);
        let with = |verdict| {
            move |near: &Near| Link {
                node: near.node,
                // without the mark in its lowest bit, by which equal ones could seem unsorted
                distance: f32::from_bits(near.distance.to_bits() & !1),
                verdict,
            }
        };
        into.extend(links.chosen.iter().map(with(Verdict::Chosen)));
        into.extend(links.covered.iter().map(with(Verdict::Covered)));
    }

    /// Lets searches start from a linked node.
    pub(super) fn add_entry(&mut self, node: u32) -> io::Result<()> {
        self.entries.push(node, self.records.get(node as usize))
    }
}

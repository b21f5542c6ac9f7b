//! An index of blocks as its file has it, and what must hold there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use postgres::Client;
use vectorext::distance::Space;
use vectorext::hnsw::blocks::format::{
    Block, BlockLayout, CENTROID_FLOATS, ENTRY_QUANTIZER, Entries, EntryLayout, Span,
};
use vectorext::hnsw::format::{Meta, NodeId, Opaque, PageKind, RawTid};
use vectorext::page::PageView;
use vectorext::quantize::{Codebook, Codec};

use crate::harness::Server;

const PAGE: usize = 8192;

/// Whether nodes marked deleted may be there, and links to them: between a DELETE's VACUUM that a
/// crash ended, and the next VACUUM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    Nowhere,
    Allowed,
}

/// What a graph is like in which everything holds that must.
#[derive(Debug)]
pub struct Graph {
    pub nodes: usize,
    pub entries: usize,
    /// nodes that the entry table leads to, over whatever links
    pub reached: usize,
}

/// The pages of an index, as aligned as a server has them.
pub struct Pages(Vec<u64>);

/// Where an index's file is.
pub fn path_of(server: &Server, client: &mut Client, index: &str) -> PathBuf {
    let query = format!("SELECT pg_relation_filepath('{index}')");
    let path: String = client.query_one(&query, &[]).unwrap().get(0);
    server.data().join(path)
}

impl Pages {
    /// The pages of an index that nobody writes to at the moment.
    pub fn of(server: &Server, client: &mut Client, index: &str) -> Pages {
        client.batch_execute("CHECKPOINT").unwrap();
        let file = std::fs::File::open(path_of(server, client, index)).unwrap();
        let len = file.metadata().unwrap().len() as usize;
        assert!(len.is_multiple_of(PAGE), "{index} has {len} bytes");
        let mut words = vec![0; len / 8];
        file.read_exact_at(bytemuck::cast_slice_mut(&mut words), 0)
            .unwrap();
        Pages(words)
    }

    fn count(&self) -> u32 {
        (self.0.len() * 8 / PAGE) as u32
    }

    fn page(&self, block: u32) -> PageView<'_> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.0);
        PageView::new(&bytes[block as usize * PAGE..][..PAGE])
    }

    fn meta(&self) -> &Meta {
        Meta::of(self.page(0)).unwrap()
    }

    /// The codec that the index's codes were made with.
    fn codec(&self) -> Codec {
        let meta = self.meta();
        let mut centroid: Vec<f32> = Vec::new();
        let mut next = meta.centroid;
        while next != 0 {
            let (kind, opaque) = Opaque::of(self.page(next)).unwrap();
            assert_eq!(kind, PageKind::Centroid);
            let count = (meta.dims as usize - centroid.len()).min(CENTROID_FLOATS);
            let contents = self.page(next).contents().unwrap();
            centroid.extend_from_slice(bytemuck::cast_slice(&contents[..4 * count]));
            next = opaque.next;
        }
        let metric = Space::from_code(meta.space).unwrap().metric;
        let codec = Codec::new(metric, meta.dims as usize, meta.seed, &centroid, meta.reach);
        let Some(pq) = self.layout().block.pq() else {
            return codec;
        };
        let mut bytes = Vec::new();
        let mut next = meta.codebook;
        while next != 0 {
            let (kind, opaque) = Opaque::of(self.page(next)).unwrap();
            assert_eq!(kind, PageKind::Codebook);
            bytes.extend_from_slice(self.page(next).contents().unwrap());
            next = opaque.next;
        }
        codec.with_codebook(Codebook::from_bytes(pq, &bytes).unwrap())
    }

    fn layout(&self) -> BlockLayout {
        BlockLayout::of(self.meta().shape().unwrap()).expect("an index of blocks")
    }

    fn nodes<'a>(&'a self, layout: &'a BlockLayout) -> BTreeMap<NodeId, Block<'a>> {
        let mut nodes = BTreeMap::new();
        for block in 1..self.count() {
            let page = self.page(block);
            if page.is_new() || Opaque::of(page).unwrap().0 != PageKind::Nodes {
                continue;
            }
            for offset in 1..=page.item_count() {
                if let Some(item) = page.item(offset).unwrap() {
                    let id = NodeId { block, offset };
                    nodes.insert(id, Block::of(item, layout).unwrap());
                }
            }
        }
        nodes
    }

    /// All words of the file.
    pub fn words(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }

    /// Words that tell each vector from any other: its hash, and the beginning of each of its codes.
    pub fn marks(&self) -> HashSet<u64> {
        let (codec, layout) = (self.codec(), self.layout());
        let mut marks = HashSet::new();
        let mut mark = |bytes: &[u8]| {
            marks.insert(u64::from_ne_bytes(bytes[..8].try_into().unwrap()));
        };
        for block in self.nodes(&layout).values() {
            let compact = block.compact();
            mark(&block.hash().to_ne_bytes());
            mark(bytemuck::cast_slice(&compact.code[..8]));
            // of few dimensions, different vectors may have the same bits
            if layout.block.dims < 64 {
                continue;
            }
            let mut code = vec![0; layout.block.code_len()];
            if let Some(quantizer) = layout.block.quantizer {
                let dims = layout.block.code_dims as usize;
                codec.quantize(compact, quantizer, dims, &mut code);
                mark(&code);
            }
            let dims = layout.block.dims as usize;
            let mut code = vec![0; ENTRY_QUANTIZER.code_len(dims)];
            codec.quantize(compact, ENTRY_QUANTIZER, dims, &mut code);
            mark(&code);
        }
        marks
    }

    /// The heap tuples of the entry table's nodes, as SQL writes a tid.
    pub fn tuples_of_entries(&self) -> Vec<String> {
        let (meta, layout) = (self.meta(), self.layout());
        let nodes = self.nodes(&layout);
        let mut tuples = Vec::new();
        let mut next = meta.entries;
        while next != 0 {
            let entries = Entries::of(self.page(next), EntryLayout::of(meta.dims)).unwrap();
            for node in entries.nodes() {
                let tids = nodes[&node.id().unwrap()].tids().iter();
                tuples.extend(
                    tids.filter_map(|tid| tid.id())
                        .map(|tid| format!("({},{})", tid.block, tid.offset)),
                );
            }
            next = entries.next;
        }
        tuples
    }

    /// Panics where a link, a code, a span or an entry is not what it must be.
    pub fn check(&self, deleted: Deleted) -> Graph {
        let layout = self.layout();
        let mut check = Check {
            codec: self.codec(),
            nodes: self.nodes(&layout),
            layout: &layout,
            deleted,
            wrong: Vec::new(),
        };
        for (&id, block) in &check.nodes.clone() {
            check.block(id, block);
        }
        let entries = check.entries(self);
        let entry = self.meta().entry.id();
        let live = check.nodes.values().filter(|block| !block.is_deleted());
        let live = live.count();
        match entry {
            Some(entry) => check.target(entry, "the entry point"),
            None if live > 0 => check.wrong.push("no entry point".into()),
            None => {}
        }
        assert!(
            check.wrong.is_empty(),
            "{} things are wrong in {live} nodes:\n{}",
            check.wrong.len(),
            check.wrong[..check.wrong.len().min(20)].join("\n")
        );
        let reached = check.reached(entries.iter().copied().chain(entry));
        Graph {
            nodes: live,
            entries: entries.len(),
            reached,
        }
    }
}

struct Check<'a> {
    codec: Codec,
    nodes: BTreeMap<NodeId, Block<'a>>,
    layout: &'a BlockLayout,
    deleted: Deleted,
    wrong: Vec<String>,
}

impl<'a> Check<'a> {
    fn target(&mut self, id: NodeId, what: &str) {
        match self.nodes.get(&id) {
            None => self.wrong.push(format!("{what} leads to no node: {id:?}")),
            Some(block) if block.is_deleted() && self.deleted == Deleted::Nowhere => self
                .wrong
                .push(format!("{what} leads to a deleted node: {id:?}")),
            Some(_) => {}
        }
    }

    fn block(&mut self, id: NodeId, block: &Block<'a>) {
        if block.is_deleted() {
            if self.deleted == Deleted::Nowhere {
                self.wrong.push(format!("{id:?} is deleted"));
            }
            return;
        }
        let has_tuple = !block.tids().is_empty() || block.header.more_tids != RawTid::NONE;
        if !has_tuple {
            self.wrong.push(format!("{id:?} is of no heap tuple"));
        }
        let mut seen = BTreeSet::from([id]);
        for (slot, link) in block.links().iter().enumerate() {
            let neighbour = link.id().expect("links in use come first");
            let what = format!("link {slot} of {id:?}");
            if !seen.insert(neighbour) {
                self.wrong.push(format!("{what} is there twice"));
            }
            self.target(neighbour, &what);
            if let Some(other) = self.nodes.get(&neighbour).copied() {
                self.link(block, slot, &other, &what);
            }
        }
        let used = block.links().len();
        let codes_unused = match self.layout.block.quantizer {
            Some(_) => {
                let codes = block.codes(self.layout.slots());
                codes[used * self.layout.block.code_len()..]
                    .iter()
                    .all(|&byte| byte == 0)
                    && block.adds()[used..].iter().all(|&add| add == 0.0)
                    && block.scales()[used..].iter().all(|&scale| scale == 0.0)
            }
            None => true,
        };
        let is_clean = block.slots()[used..].iter().all(|&s| s == RawTid::NONE)
            && block.spans()[used..]
                .iter()
                .all(|span| bytemuck::bytes_of(span) == [0, 0])
            && codes_unused;
        if !is_clean {
            self.wrong
                .push(format!("{id:?} has something beside unused links"));
        }
    }

    fn link(&mut self, block: &Block<'a>, slot: usize, other: &Block<'a>, what: &str) {
        let distance = self.codec.distance(block.compact(), other.compact());
        let span = block.spans()[slot];
        if span.with_verdict(false) != Span::new(distance, false) {
            let kept = span.distance();
            self.wrong
                .push(format!("{what} has span {kept} and is {distance} long"));
        }
        if let Some(quantizer) = self.layout.block.quantizer {
            let mut code = vec![0; self.layout.block.code_len()];
            let dims = self.layout.block.code_dims as usize;
            let factors = self
                .codec
                .quantize(other.compact(), quantizer, dims, &mut code);
            let kept = block.kept(slot);
            if kept.factors != factors || kept.code != code {
                self.wrong
                    .push(format!("{what} has another code than its neighbour"));
            }
        }
    }

    /// Checks the entry table and returns its nodes.
    fn entries(&mut self, pages: &Pages) -> Vec<NodeId> {
        let meta = pages.meta();
        let layout = EntryLayout::of(meta.dims);
        let mut seen = BTreeSet::new();
        let mut next = meta.entries;
        let mut code = vec![0; layout.code_len()];
        let mut steps = 0;
        while next != 0 {
            steps += 1;
            assert!(steps <= pages.count(), "the entry table has no end");
            let entries = Entries::of(pages.page(next), layout).unwrap();
            for (at, node) in entries.nodes().iter().enumerate() {
                let id = node.id().expect("an entry leads somewhere");
                let what = format!("entry {at} of page {next}");
                if !seen.insert(id) {
                    self.wrong.push(format!("{what} is there twice"));
                }
                self.target(id, &what);
                if let Some(block) = self.nodes.get(&id) {
                    let dims = meta.dims as usize;
                    let factors =
                        self.codec
                            .quantize(block.compact(), ENTRY_QUANTIZER, dims, &mut code);
                    let kept = &entries.codes()[at * layout.code_len()..][..layout.code_len()];
                    let same = (entries.adds()[at], entries.scales()[at], kept)
                        == (factors.add, factors.scale, code.as_slice());
                    if !same {
                        self.wrong.push(format!("{what} has another code"));
                    }
                }
            }
            next = entries.next;
        }
        seen.into_iter().collect()
    }

    /// How many live nodes some lead to.
    fn reached(&self, from: impl Iterator<Item = NodeId>) -> usize {
        let mut open: Vec<NodeId> = from.collect();
        let mut seen: BTreeSet<NodeId> = open.iter().copied().collect();
        while let Some(id) = open.pop() {
            let links = self.nodes.get(&id).map(Block::links).unwrap_or_default();
            open.extend(
                links
                    .iter()
                    .filter_map(|link| link.id())
                    .filter(|&link| seen.insert(link)),
            );
        }
        let is_live = |id: &&NodeId| self.nodes.get(*id).is_some_and(|b| !b.is_deleted());
        seen.iter().filter(is_live).count()
    }
}

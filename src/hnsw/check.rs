//! What must hold of a page of an `hnsw` index by itself. What holds between pages is checked where
//! pages can be read (`am/hnsw/check`).

use super::blocks::format::{
    Block, BlockLayout, CENTROID_FLOATS, Entries, EntriesHeader, EntryLayout, Span,
};
use super::blocks::map::{Directory, MapLayout, MapPage, MapRow};
use super::format::{
    self, CHUNK, DELETED, Meta, Node, NodeId, Opaque, PageKind, RawTid, Shape, TidList, chunk_of,
};
use crate::check::{self, Contents, Findings};
use crate::distance::{Element, Metric, Operand, Space};
use crate::page::{HEADER, PageView};
use crate::vector::{self, SparseRef};
use rustc_hash::FxHashSet;

/// What the metapage says of every other page.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// what is indexed
    pub space: Space,
    /// dimensions
    pub dims: u32,
    /// what nodes look like
    pub shape: Shape,
    layout: Option<BlockLayout>,
    entries: EntryLayout,
    map: Option<MapLayout>,
}

impl Expected {
    /// What an index with that metapage must look like.
    pub fn new(space: Space, dims: u32, shape: Shape) -> Self {
        Expected {
            space,
            dims,
            shape,
            layout: BlockLayout::of(shape),
            entries: EntryLayout::of(dims),
            map: None,
        }
    }

    /// The layout of its code map, where it has one.
    pub fn map(&self) -> Option<MapLayout> {
        self.map
    }

    /// The same index with that code map.
    pub fn with_map(self, map: Option<MapLayout>) -> Self {
        Expected { map, ..self }
    }

    /// Where everything in a block lies; `None` for the plain layout.
    pub fn block_layout(&self) -> Option<&BlockLayout> {
        self.layout.as_ref()
    }

    /// Where everything on a page of the entry table lies.
    pub fn entry_layout(&self) -> EntryLayout {
        self.entries
    }
}

/// What a page holds.
fn contents_of(kind: PageKind) -> Contents {
    match kind {
        PageKind::Meta
        | PageKind::Centroid
        | PageKind::Codebook
        | PageKind::Entries
        | PageKind::Map
        | PageKind::Directory => Contents::Whole,
        _ => Contents::Items,
    }
}

/// Checks a page. Its kind, where it has one and can be read.
pub fn page(
    expected: &Expected,
    page: PageView<'_>,
    block: u32,
    found: &mut Findings<'_>,
) -> Option<PageKind> {
    let (kind, opaque) = check::page(page, block, size_of::<Opaque>(), Opaque::of, found)?;
    if contents_of(kind) == Contents::Whole {
        check::whole(page, block, found);
    } else {
        check::items(page, block, found);
    }
    let is_in_chain = contents_of(kind) == Contents::Whole && kind != PageKind::Meta;
    if opaque.next != 0 && !is_in_chain {
        found.error(block, None, "a chain leads on from a page that is in none");
    }
    match kind {
        PageKind::Meta if block != 0 => found.error(block, None, "metapage that is not block 0"),
        PageKind::Meta => meta(page, found),
        PageKind::Nodes => nodes(expected, page, block, opaque, found),
        PageKind::Chunk => chunks(page, block, found),
        PageKind::Tids => lists(expected, page, block, found),
        PageKind::Free if page.item_count() > 0 => {
            found.error(block, None, "items on a free page");
        }
        PageKind::Free => {}
        PageKind::Centroid => centroid(page, block, found),
        PageKind::Codebook => {
            if page.contents().is_ok_and(<[u8]>::is_empty) {
                found.error(block, None, "part of a codebook without contents");
            }
        }
        PageKind::Entries => entries(expected, page, block, found),
        PageKind::Map => map(expected, page, block, found),
        PageKind::Directory => directory(expected, page, block, found),
    }
    if block == 0 && kind != PageKind::Meta {
        found.error(block, None, "block 0 is not the metapage");
    }
    Some(kind)
}

fn meta(page: PageView<'_>, found: &mut Findings<'_>) {
    let meta = match Meta::of(page) {
        Ok(meta) => meta,
        Err(damage) => return found.error(0, None, damage),
    };
    let mut error = |message: &str| found.error(0, None, message);
    if page.bounds().0 != HEADER + size_of::<Meta>() {
        error("metapage of another length");
    }
    let curve = meta.curve();
    let sensible = curve.iter().all(|point| {
        (1.0..=100.0).contains(&point.multiple) && (0.0..=1.0).contains(&point.recall)
    });
    let rising = curve
        .windows(2)
        .all(|two| two[0].multiple < two[1].multiple);
    if !sensible || !rising {
        error("calibration curve of impossible values");
    }
    if meta.map == 0 && meta.map_page != 0 {
        error("room in a code map that there is not");
    }
    let unused: &[u8] = bytemuck::cast_slice(&meta.curve[curve.len()..]);
    let reserved = bytemuck::bytes_of(&meta.reserved);
    if unused.iter().chain(reserved).any(|&byte| byte != 0) {
        error("bytes where the metapage has none");
    }
    let of_blocks = [
        meta.quantizer as u32,
        meta.code_dims,
        meta.centroid,
        meta.entries,
        meta.curve_len,
        meta.codebook,
        meta.map,
        meta.keys as u32,
        meta.map_quantizer as u32,
    ];
    if meta.layout == format::PLAIN && of_blocks.iter().any(|&field| field != 0) {
        error("fields of blocks in an index of the plain layout");
    }
    if !meta.reach.is_finite() || meta.reach < 0.0 {
        error("reach is no length");
    }
    if meta.entry.id().is_none() && (meta.entry != RawTid::NONE || meta.entry_level != 0) {
        error("half an entry point");
    }
}

fn nodes(
    expected: &Expected,
    page: PageView<'_>,
    block: u32,
    opaque: &Opaque,
    found: &mut Findings<'_>,
) {
    for offset in 1..=page.item_count() {
        let Ok(Some(item)) = page.item(offset) else {
            continue; // told already where it is damage
        };
        let id = NodeId { block, offset };
        match Node::of(item, expected.shape) {
            Ok(node) => {
                if node.header.generation > opaque.generation {
                    found.error(block, offset, "node of a later generation than its page's");
                }
                self::node(expected, id, &node, found);
            }
            Err(damage) => found.error(block, offset, damage),
        }
    }
}

fn node(expected: &Expected, id: NodeId, node: &Node<'_>, found: &mut Findings<'_>) {
    let (block, offset) = (id.block, id.offset);
    let mut error = |message: &str| found.error(block, offset, message);
    let header = node.header;
    if header.flags & !DELETED != 0 || header.reserved != 0 {
        error("unknown flags of a node");
    }
    let expected_len = match expected.shape.block {
        Some(block) => Some(block.value_len()),
        None => expected.space.element.payload_len(expected.dims),
    };
    if expected_len.is_some_and(|len| len != header.value_len as usize) {
        return error("value of the wrong length");
    }
    tids(header.tid_count as usize, &header.tids, &mut error);
    if !node.unused_keys_are_zero() {
        error("keys beyond the last heap TID");
    }
    let has_lists = header.more_tids != RawTid::NONE;
    if has_lists && header.more_tids.id().is_none_or(|at| at.block == block) {
        error("TID list on the node's own page, or nowhere");
    }
    if node.chunks().iter().any(|chunk| chunk.id().is_none()) {
        error("node without one of its chunks");
    }
    for level in 0..=header.level {
        links(id, node.links(level), &mut error);
    }
    match expected.block_layout() {
        None if node.chunks().is_empty() => {
            let value = Operand {
                payload: node.inline(),
                norm_squared: header.norm_squared,
            };
            if let Err(message) = value_of(expected, value) {
                error(message);
            }
        }
        None => {}
        Some(layout) => match Block::of_node(node, layout) {
            Ok(block) => self::block(&block, layout, &mut error),
            Err(damage) => error(damage.0),
        },
    }
    let is_empty = header.tid_count == 0 && !has_lists;
    if node.is_deleted() && !is_empty {
        error("deleted node with heap tuples");
    } else if !node.is_deleted() && is_empty {
        found.warning(
            block,
            offset,
            "node without heap tuples that is not marked deleted: the next VACUUM removes it",
        );
    }
}

/// Checks a value that was put together from its pieces.
pub fn value_of(expected: &Expected, value: Operand<'_>) -> Result<(), &'static str> {
    let payload = value.payload;
    match expected.space.element {
        Element::Sparse => {
            let sparse = SparseRef::from_body(payload).map_err(|_| "malformed sparse value")?;
            if sparse.dims != expected.dims as usize || sparse.validate().is_err() {
                return Err("malformed sparse value");
            }
        }
        Element::Bit => {
            let unused = (payload.len() * 8).saturating_sub(expected.dims as usize);
            let last = payload.last().copied().unwrap_or(0);
            if unused > 7 || last & ((1u16 << unused) - 1) as u8 != 0 {
                return Err("bits past the end of a bit value");
            }
        }
        Element::F32 => elements::<f32>(payload)?,
        Element::F16 => elements::<half::f16>(payload)?,
        Element::Bf16 => elements::<half::bf16>(payload)?,
        Element::I8 => elements::<i8>(payload)?,
    }
    if value.norm_squared != expected.space.norm_squared(payload) {
        return Err("norm that is not its value's");
    }
    if expected.space.metric == Metric::Cosine && value.norm_squared <= 0.0 {
        return Err("zero vector, which has no place under cosine");
    }
    Ok(())
}

/// Checks elements of a dense type.
fn elements<E: vector::Element>(payload: &[u8]) -> Result<(), &'static str> {
    let elements: &[E] = bytemuck::try_cast_slice(payload).map_err(|_| "misaligned")?;
    match elements.iter().all(|x| x.check().is_ok()) {
        true => Ok(()),
        false => Err("value that is not finite"),
    }
}

/// Those in use come first and lead to tuples, each once; the others are zero.
fn tids(count: usize, slots: &[RawTid], error: &mut dyn FnMut(&str)) {
    let (used, unused) = slots.split_at(count.min(slots.len()));
    let mut seen = FxHashSet::default();
    if used.iter().any(|tid| tid.offset == 0) {
        error("heap TID that leads nowhere");
    }
    if !used.iter().all(|tid| seen.insert(*tid)) {
        error("the same heap TID twice");
    }
    if unused.iter().any(|tid| *tid != RawTid::NONE) {
        error("heap TIDs beyond the last");
    }
}

/// Those in use come first, each once and none to the node itself; the others are zero.
fn links(id: NodeId, slots: &[RawTid], error: &mut dyn FnMut(&str)) {
    let used = slots.iter().take_while(|link| link.offset != 0).count();
    let mut seen = FxHashSet::default();
    if !slots[..used].iter().all(|link| seen.insert(*link)) {
        error("the same neighbour twice");
    }
    if seen.contains(&RawTid::from(id)) {
        error("link of a node to itself");
    }
    if slots[used..].iter().any(|link| *link != RawTid::NONE) {
        error("links beyond the last");
    }
}

fn block(block: &Block<'_>, layout: &BlockLayout, error: &mut dyn FnMut(&str)) {
    let compact = block.compact();
    let factors = compact.factors;
    let sum: i32 = compact.code.iter().map(|&i| i as i32).sum();
    let finite = [factors.add, factors.scale, factors.error]
        .iter()
        .all(|x| x.is_finite());
    if sum != factors.sum || !finite || compact.code.contains(&i8::MIN) {
        error("compact code that contradicts its factors");
    }
    if block.header.norm_squared != 0.0 {
        error("norm where a block has none");
    }
    let used = block.links().len();
    let spans: &[Span] = block.spans();
    if spans[..used]
        .iter()
        .any(|span| !span.distance().is_finite() || span.distance() < 0.0)
    {
        error("span that is no length");
    }
    let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    let mut unused_is_zero = is_zero(bytemuck::cast_slice(&spans[used..]));
    if layout.block.quantizer.is_some() {
        let codes = block.codes(layout.slots());
        unused_is_zero &= is_zero(bytemuck::cast_slice(&block.adds()[used..]))
            && is_zero(bytemuck::cast_slice(&block.scales()[used..]))
            && is_zero(&codes[used * layout.block.code_len()..]);
    }
    if !unused_is_zero {
        error("something beside unused links");
    }
    if !block.padding_is_zero() {
        error("something between the parts of a block");
    }
}

fn chunks(page: PageView<'_>, block: u32, found: &mut Findings<'_>) {
    let mut count = 0;
    for offset in 1..=page.item_count() {
        let Ok(Some(item)) = page.item(offset) else {
            continue;
        };
        count += 1;
        match chunk_of(item) {
            Ok((header, piece)) => {
                let rest = &item[size_of::<format::ChunkHeader>() + piece.len()..];
                let is_sound = header.owner.id().is_some()
                    && header.reserved == 0
                    && (1..=CHUNK).contains(&piece.len())
                    && rest.iter().all(|&byte| byte == 0);
                if !is_sound {
                    found.error(block, offset, "chunk header out of range");
                }
            }
            Err(damage) => found.error(block, offset, damage),
        }
    }
    // none where a crash came between making the page and filling it
    if count > 1 {
        found.error(block, None, "more than one chunk on a page");
    }
}

fn lists(expected: &Expected, page: PageView<'_>, block: u32, found: &mut Findings<'_>) {
    for offset in 1..=page.item_count() {
        let Ok(Some(item)) = page.item(offset) else {
            continue;
        };
        match TidList::of(item) {
            Ok(TidList { header, .. }) => {
                let mut error = |message: &str| found.error(block, offset, message);
                let slots = &item[size_of::<format::TidListHeader>()..];
                let (slots, rest) = slots.split_at(header.capacity as usize * size_of::<RawTid>());
                let keys = 8 * header.keys as usize * header.capacity as usize;
                let has_rest = rest.len() > 7 + keys;
                let used = slots.len().next_multiple_of(8) - slots.len();
                let used = used..used + 8 * header.keys as usize * header.count as usize;
                let is_unused = |(at, _): &(usize, &u8)| !used.contains(at);
                let mut unused = rest.iter().enumerate().filter(is_unused);
                let is_zero = unused.all(|(_, &byte)| byte == 0);
                if header.keys as usize != expected.shape.keys() || has_rest || !is_zero {
                    error("TID list header out of range");
                }
                if header.next.id().is_none() && header.next != RawTid::NONE {
                    error("TID list that leads nowhere");
                }
                if header.count == 0 {
                    error("TID list without TIDs");
                }
                tids(
                    header.count as usize,
                    bytemuck::cast_slice(slots),
                    &mut error,
                );
            }
            Err(damage) => found.error(block, offset, damage),
        }
    }
}

fn centroid(page: PageView<'_>, block: u32, found: &mut Findings<'_>) {
    let floats = page.contents().ok().and_then(|contents| {
        bytemuck::try_cast_slice::<u8, f32>(contents)
            .ok()
            .filter(|floats| !floats.is_empty() && floats.len() <= CENTROID_FLOATS)
    });
    match floats {
        Some(floats) if floats.iter().all(|x| x.is_finite()) => {}
        _ => found.error(block, None, "part of a centroid that is no vector"),
    }
}

fn entries(expected: &Expected, page: PageView<'_>, block: u32, found: &mut Findings<'_>) {
    let layout = expected.entries;
    let entries = match Entries::of(page, layout) {
        Ok(entries) => entries,
        Err(damage) => return found.error(block, None, damage),
    };
    let contents = page.contents().unwrap_or_default();
    if contents.is_empty() {
        return;
    }
    if contents.len() != layout.size {
        found.error(block, None, "page of the entry table of another length");
    }
    if entries.nodes().iter().any(|node| node.id().is_none()) {
        found.error(block, None, "entry that leads nowhere");
    }
    let header: &EntriesHeader = bytemuck::from_bytes(&contents[..size_of::<EntriesHeader>()]);
    if header.reserved != 0 || !entries.unused_is_zero() {
        found.error(block, None, "something beyond the last entry");
    }
}

fn map(expected: &Expected, page: PageView<'_>, block: u32, found: &mut Findings<'_>) {
    let Some(layout) = expected.map else {
        return found.error(block, None, "page of a code map where there is none");
    };
    let map = match MapPage::of(page, layout) {
        Ok(map) => map,
        Err(damage) => return found.error(block, None, damage),
    };
    let has_nothing = |row: &MapRow| row.tid.id().is_none() || row.node.id().is_none();
    if map.rows().iter().any(has_nothing) {
        found.error(block, None, "entry of the code map that leads nowhere");
    }
    if !map.unused_is_zero() {
        found.error(
            block,
            None,
            "something beyond the last entry of the code map",
        );
    }
    let lows = (0..layout.keys).map(|n| map.keys(n).iter().copied().min().unwrap_or(u64::MAX));
    let highs = (0..layout.keys).map(|n| map.keys(n).iter().copied().max().unwrap_or(0));
    if !lows.chain(highs).eq(map.zone().iter().copied()) {
        found.error(
            block,
            None,
            "zone of a page of the code map that is not its keys'",
        );
    }
}

fn directory(expected: &Expected, page: PageView<'_>, block: u32, found: &mut Findings<'_>) {
    let Some(layout) = expected.map else {
        return found.error(block, None, "directory of a code map where there is none");
    };
    let directory = match Directory::of(page, layout) {
        Ok(directory) => directory,
        Err(damage) => return found.error(block, None, damage),
    };
    if (0..directory.count).any(|slot| directory.page(slot).0 == 0) {
        found.error(block, None, "page of the code map that is none");
    }
    if !directory.unused_is_zero() {
        found.error(
            block,
            None,
            "something beyond the last page in the code map's directory",
        );
    }
}

//! Whatever lies on a page, its parsers and its check come to an end, and read nothing that is not there.

use super::blocks::format::{Block, BlockShape, Entries};
use super::blocks::map::{Directory, MapLayout, MapPage};
use super::check::{self, Expected};
use super::format::{Meta, Node, Opaque, PageKind, Shape, TidList, chunk_of};
use crate::check::Findings;
use crate::distance::{Element, Metric, Space};
use crate::page::{HEADER, PageView};
use crate::quantize::Quantizer;
use proptest::prelude::*;

/// What indexes are like, among those whose nodes fit on a page.
fn expected() -> impl Strategy<Value = Expected> {
    let quantizer = prop_oneof![
        Just(None),
        Just(Some(Quantizer::Rabitq1)),
        Just(Some(Quantizer::Rabitq4)),
        Just(Some(Quantizer::Sq8)),
    ];
    let element = prop_oneof![
        Just(Element::F32),
        Just(Element::F16),
        Just(Element::Bf16),
        Just(Element::I8),
        Just(Element::Sparse),
        Just(Element::Bit),
    ];
    let plain = (element, 1u32..1500, 2u16..30).prop_map(|(element, dims, m)| {
        let metric = match element {
            Element::Bit => Metric::Hamming,
            _ => Metric::Cosine,
        };
        Expected::new(Space { element, metric }, dims, Shape::plain(m))
    });
    let blocks = (quantizer, 1u32..1500, 2u16..30, 0u8..4).prop_filter_map(
        "does not fit",
        |(quantizer, dims, m, keys)| {
            let shape = match quantizer {
                Some(quantizer) => BlockShape::inline(dims, m, quantizer, keys),
                None => BlockShape::compact(dims, m, keys),
            }?;
            let space = Space {
                element: Element::F32,
                metric: Metric::L2,
            };
            let map = MapLayout::of(dims, quantizer.unwrap_or(Quantizer::Rabitq1), keys as usize);
            Some(Expected::new(space, dims, shape).with_map(map))
        },
    );
    prop_oneof![plain, blocks]
}

/// A page of a kind with noise where the server does not check: between header and special area, and in
/// some cases in these.
fn page(kind: u16, noise: u64, density: u8, bounds: Option<(u16, u16)>) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(noise);
    let mut words = vec![0u64; 1024];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    for byte in &mut bytes[HEADER..] {
        if random.u8(..) <= density {
            *byte = random.u8(..);
        }
    }
    let special = 8192 - size_of::<Opaque>();
    let mut opaque = Opaque::new(PageKind::Nodes, random.u32(..));
    opaque.kind = kind;
    bytes[special..].copy_from_slice(bytemuck::bytes_of(&opaque));
    let (lower, upper) = bounds.unwrap_or_else(|| {
        if random.bool() {
            // one structure
            return (special as u16, special as u16);
        }
        // a few line pointers to items that are there
        let mut upper = special;
        let count = random.usize(..20);
        for n in 0..count {
            let len = random.usize(8..4000).next_multiple_of(8);
            if upper < HEADER + 4 * count + len {
                break;
            }
            upper -= len;
            let raw = upper as u32 | 1 << 15 | (len as u32) << 17;
            bytes[HEADER + 4 * n..][..4].copy_from_slice(&raw.to_ne_bytes());
        }
        ((HEADER + 4 * count) as u16, upper as u16)
    });
    bytes[12..14].copy_from_slice(&lower.to_ne_bytes());
    bytes[14..16].copy_from_slice(&upper.to_ne_bytes());
    bytes[16..18].copy_from_slice(&(special as u16).to_ne_bytes());
    bytes[18..20].copy_from_slice(&(8192u16 | 4).to_ne_bytes());
    words
}

fn read_all(expected: &Expected, page: PageView<'_>) {
    let mut take = |_| {};
    check::page(expected, page, 7, &mut Findings::new(&mut take));
    let _ = Meta::of(page).map(|meta| (meta.shape().is_ok(), MapLayout::of_meta(meta).is_ok()));
    if let Ok(entries) = Entries::of(page, expected.entry_layout()) {
        let _ = (
            entries.nodes().len(),
            entries.adds().len(),
            entries.codes().len(),
        );
    }
    if let Some(layout) = expected.map() {
        if let Ok(map) = MapPage::of(page, layout) {
            let keys = (0..layout.keys).map(|column| map.keys(column).len());
            let _ = (
                keys.sum::<usize>(),
                map.rows().len(),
                map.codes().len(),
                map.zone().len(),
            );
        }
        if let Ok(directory) = Directory::of(page, layout) {
            for slot in 0..directory.count {
                let _ = directory.page(slot);
            }
        }
    }
    for offset in 1..=page.item_count() {
        let Ok(Some(item)) = page.item(offset) else {
            continue;
        };
        let _ = chunk_of(item).is_ok();
        let _ = TidList::of(item).map(|list| (list.tids.len(), list.keys.len()));
        let Ok(node) = Node::of(item, expected.shape) else {
            continue;
        };
        let _ = (
            node.tids().len(),
            node.keys().len(),
            node.inline().len(),
            node.chunks().len(),
        );
        for level in 0..=node.header.level {
            let _ = node.links(level);
        }
        if let Some(layout) = expected.block_layout()
            && let Ok(block) = Block::of_node(&node, layout)
        {
            let _ = (
                block.compact().code.len(),
                block.links().len(),
                block.spans().len(),
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_page_makes_its_readers_panic_or_leave_it(
        expected in expected(),
        kind in 0u16..14,
        noise: u64,
        density in prop_oneof![Just(0u8), Just(20), Just(255)],
        bounds in proptest::option::of((any::<u16>(), any::<u16>())),
        flips in proptest::collection::vec((0usize..8192, any::<u8>()), 0..4),
    ) {
        let mut words = page(kind, noise, density, bounds);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        for (at, byte) in flips {
            bytes[at] = byte;
        }
        read_all(&expected, PageView::new(bytes));
    }
}

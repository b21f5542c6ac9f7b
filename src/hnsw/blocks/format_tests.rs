use super::format::*;
use crate::hnsw::format::{
    MAX_ITEM, NewNode, Node, NodeId, NodeMut, Opaque, PageKind, RawTid, Shape,
};
use crate::page::{HEADER, PageView};
use crate::quantize::{Compact, CompactRef, Factors, Quantizer};
use proptest::prelude::*;

fn shape() -> impl Strategy<Value = Shape> {
    let quantizer = prop_oneof![
        Just(None),
        Just(Some(Quantizer::Rabitq1)),
        Just(Some(Quantizer::Rabitq2)),
        Just(Some(Quantizer::Rabitq4)),
        Just(Some(Quantizer::Sq8)),
    ];
    let keys = prop_oneof![Just(0u8), 0u8..8];
    (1u32..3000, 2u16..40, quantizer, keys).prop_filter_map(
        "does not fit",
        |(dims, m, quantizer, keys)| match quantizer {
            Some(quantizer) => BlockShape::inline(dims, m, quantizer, keys),
            None => BlockShape::compact(dims, m, keys),
        },
    )
}

fn layout() -> impl Strategy<Value = BlockLayout> {
    shape().prop_map(|shape| BlockLayout::of(shape).expect("a shape of blocks"))
}

fn value(layout: &BlockLayout) -> Vec<u8> {
    let code: Vec<i8> = (0..layout.block.dims).map(|i| (i * 7) as i8).collect();
    let factors = Compact {
        add: 1.5,
        scale: 0.25,
        error: 0.125,
        sum: code.iter().map(|&i| i as i32).sum(),
    };
    encode_value(
        CompactRef {
            factors,
            code: &code,
        },
        0x0123_4567_89ab_cdef,
    )
}

fn item(layout: &BlockLayout) -> Vec<u8> {
    let new = NewNode {
        level: 0,
        generation: 5,
        value: &value(layout),
        norm_squared: 0.0,
        chunks: &[],
        tids: &[RawTid {
            block_hi: 0,
            block_lo: 3,
            offset: 4,
        }],
        keys: &keys(layout, 0),
        more_tids: RawTid::NONE,
    };
    new.encode(layout.shape)
}

/// Keys of a heap tuple.
fn keys(layout: &BlockLayout, number: u64) -> Vec<u64> {
    let columns = 0..layout.block.keys as u64;
    columns.map(|column| !(number << 8 | column)).collect()
}

/// What a link is known by: everything beside it follows from the number.
fn node(number: u32) -> NodeId {
    NodeId {
        block: number / 3 + 1,
        offset: (number % 3 + 1) as u16,
    }
}

fn code(layout: &BlockLayout, number: u32) -> Vec<u8> {
    (0..layout.block.code_len())
        .map(|i| (number as usize * 31 + i) as u8)
        .collect()
}

fn factors(number: u32) -> Factors {
    Factors {
        add: number as f32,
        scale: 0.5 * number as f32,
    }
}

fn span(number: u32) -> Span {
    Span::new(number as f32, number.is_multiple_of(2))
}

fn set(layout: &BlockLayout, links: &mut BlockMut<'_, '_>, slot: usize, number: u32) {
    let code = code(layout, number);
    let kept = Kept {
        factors: factors(number),
        code: &code,
    };
    links.set(slot, node(number), span(number), Some(kept));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Add(u32),
    Replace(usize, u32),
    Remove(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u32..1000).prop_map(Step::Add),
        2 => (any::<usize>(), 1u32..1000).prop_map(|(slot, number)| Step::Replace(slot, number)),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn shapes_fit_their_pages(shape in shape()) {
        let layout = BlockLayout::of(shape).expect("a shape of blocks");
        prop_assert!(layout.size <= MAX_ITEM);
        prop_assert_eq!(layout.size, shape.block_size());
        prop_assert!(layout.size.is_multiple_of(8));
        prop_assert!(shape.slots >= 2 && shape.slots <= 2 * shape.m);
        prop_assert!(4 * layout.block.code_dims >= layout.block.dims || layout.block.quantizer.is_none());
    }

    #[test]
    fn links_are_what_was_set(layout in layout(), steps in proptest::collection::vec(step(), 0..60)) {
        let mut item = item(&layout);
        let mut expected: Vec<u32> = Vec::new();
        for step in steps {
            let mut writable = NodeMut::of(&mut item, layout.shape).expect("a sound item");
            let mut links = BlockMut::of(&mut writable, &layout);
            match step {
                Step::Add(number) if expected.len() < layout.slots() => {
                    set(&layout, &mut links, expected.len(), number);
                    expected.push(number);
                }
                Step::Replace(slot, number) if !expected.is_empty() => {
                    let slot = slot % expected.len();
                    set(&layout, &mut links, slot, number);
                    expected[slot] = number;
                }
                Step::Remove(slot) if !expected.is_empty() => {
                    let slot = slot % expected.len();
                    links.remove(slot);
                    expected.swap_remove(slot);
                }
                Step::Clear => {
                    links.clear_all();
                    expected.clear();
                }
                _ => {}
            }
            prop_assert_eq!(links.count(), expected.len());
        }
        let block = Block::of(&item, &layout).expect("a sound item");
        prop_assert_eq!(block.links().len(), expected.len());
        for (slot, &number) in expected.iter().enumerate() {
            prop_assert_eq!(block.links()[slot].id(), Some(node(number)));
            prop_assert_eq!(block.spans()[slot], span(number));
            if layout.block.quantizer.is_some() {
                let kept = block.kept(slot);
                prop_assert_eq!(kept.factors, factors(number));
                prop_assert_eq!(kept.code, &code(&layout, number)[..]);
            }
        }
        // what belongs to no link is zero; the rest of the block is as it was
        let mut emptied = item.clone();
        let mut writable = NodeMut::of(&mut emptied, layout.shape).expect("a sound item");
        let mut links = BlockMut::of(&mut writable, &layout);
        while links.count() > 0 {
            links.remove(0);
        }
        prop_assert_eq!(emptied, self::item(&layout));
        prop_assert_eq!(block.value(), &value(&layout)[..]);
        prop_assert_eq!(block.hash(), 0x0123_4567_89ab_cdef);
        prop_assert_eq!(block.compact().code.len(), layout.block.dims as usize);
        prop_assert_eq!(block.tids().len(), 1);
        prop_assert_eq!(block.keys(), &keys(&layout, 0)[..]);
    }

    #[test]
    fn no_damage_makes_a_block_panic(
        layout in layout(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut words = vec![0u64; layout.size / 8];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        bytes.copy_from_slice(&item(&layout));
        for (at, byte) in damage {
            bytes[at.index(layout.size)] = byte;
        }
        let bytes: &[u8] = if is_cut { &bytes[..cut.index(layout.size)] } else { bytes };
        if let Ok(block) = Block::of(bytes, &layout) {
            let _ = (block.is_deleted(), block.compact().code.len(), block.hash(), block.tids().len(), block.keys().len());
            let used = block.links().len();
            prop_assert!(used <= layout.slots());
            let _ = (block.spans().len(), block.links().iter().filter_map(|link| link.id()).count());
            if layout.block.quantizer.is_some() {
                let _ = (block.adds().len(), block.scales().len(), block.codes(used).len());
                for slot in 0..layout.slots() {
                    let _ = block.kept(slot);
                }
            }
        }
        if let Ok(node) = Node::of(bytes, layout.shape) {
            let _ = Block::of_node(&node, &layout);
        }
    }

    #[test]
    fn entries_are_what_was_pushed(
        dims in 1u32..3000,
        steps in proptest::collection::vec((any::<bool>(), any::<usize>(), 1u32..100_000), 0..200),
    ) {
        let layout = EntryLayout::of(dims);
        let mut page = vec![0u64; 1024];
        let at = HEADER / 8;
        let code = |number: u32| vec![number as u8; layout.code_len()];
        let mut expected: Vec<u32> = Vec::new();
        for (is_push, slot, number) in steps {
            let contents = &mut bytemuck::cast_slice_mut(&mut page[at..])[..layout.size];
            let mut table = EntriesMut::of(contents, layout);
            if is_push || expected.is_empty() {
                let kept = Kept { factors: factors(number), code: &code(number) };
                let is_room = expected.len() < layout.capacity;
                prop_assert_eq!(table.push(node(number), kept), is_room);
                if is_room {
                    expected.push(number);
                }
            } else {
                let slot = slot % expected.len();
                table.remove(slot);
                expected.swap_remove(slot);
            }
        }
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut page);
        // pd_lower, pd_upper, pd_special
        let special = 8192 - size_of::<Opaque>();
        bytes[12..14].copy_from_slice(&((HEADER + layout.size) as u16).to_ne_bytes());
        bytes[14..16].copy_from_slice(&(special as u16).to_ne_bytes());
        bytes[16..18].copy_from_slice(&(special as u16).to_ne_bytes());
        bytes[special..].copy_from_slice(bytemuck::bytes_of(&Opaque::new(PageKind::Entries, 0)));
        prop_assert!(HEADER + layout.size <= special);
        let entries = Entries::of(PageView::new(bytes), layout).expect("a sound page");
        prop_assert_eq!(entries.count, expected.len());
        for (slot, &number) in expected.iter().enumerate() {
            prop_assert_eq!(entries.nodes()[slot].id(), Some(node(number)));
            prop_assert_eq!(entries.adds()[slot], factors(number).add);
            prop_assert_eq!(entries.scales()[slot], factors(number).scale);
            let len = layout.code_len();
            prop_assert_eq!(&entries.codes()[slot * len..][..len], &code(number)[..]);
        }
    }

    #[test]
    fn a_span_tells_verdict_and_distance_to_two_digits(distance in 0.0f32..1e30, covered in any::<bool>()) {
        let span = Span::new(distance, covered);
        prop_assert_eq!(span.is_covered(), covered);
        prop_assert!((span.distance() - distance).abs() <= distance / 64.0 + f32::MIN_POSITIVE);
        prop_assert_eq!(span.with_verdict(!covered), Span::new(distance, !covered));
        prop_assert_eq!(span.with_verdict(!covered).distance(), span.distance());
    }

    #[test]
    fn a_span_of_any_number_is_a_finite_distance(bits in any::<u32>(), covered in any::<bool>()) {
        let span = Span::new(f32::from_bits(bits), covered);
        prop_assert!(span.distance().is_finite() && span.distance() >= 0.0);
        prop_assert_eq!(span.is_covered(), covered);
    }
}

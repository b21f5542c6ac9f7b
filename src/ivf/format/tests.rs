use super::*;
use crate::distance::{Element, Metric, Space};
use crate::hnsw::format::{NodeId, RawTid};
use crate::quantize::fast_scan::{self, GROUP};
use crate::quantize::{Centre, Compact, CompactRef, ListFactors, Quantizer};
use proptest::prelude::*;

fn coded(dims: u32, quantizer: Quantizer, rerank: Rerank) -> Shape {
    Shape {
        space: Space {
            element: Element::F32,
            metric: Metric::Cosine,
        },
        dims,
        form: RowForm::Codes(Code::Grid(quantizer)),
        row_len: quantizer.code_len(dims as usize) as u32,
        rerank,
        filters: 0,
    }
}

fn filtered(filters: u8, shape: Shape) -> Shape {
    Shape { filters, ..shape }
}

fn plain(dims: u32) -> Shape {
    Shape {
        form: RowForm::Values,
        row_len: 4 * dims,
        ..coded(dims, Quantizer::Rabitq1, Rerank::None)
    }
}

fn tid(n: u16) -> RawTid {
    NodeId {
        block: 7,
        offset: n,
    }
    .into()
}

/// A page with a special area and contents, aligned as in the buffer pool.
#[repr(align(8))]
struct Page([u8; 8192]);

impl Page {
    fn new(special: &Opaque, len: usize) -> Box<Page> {
        let mut page = Box::new(Page([0; 8192]));
        let at = 8192 - size_of::<Opaque>();
        page.0[at..].copy_from_slice(bytemuck::bytes_of(special));
        let (lower, upper) = ((crate::page::HEADER + len) as u16, at as u16);
        page.0[12..14].copy_from_slice(&lower.to_ne_bytes());
        page.0[14..16].copy_from_slice(&upper.to_ne_bytes());
        page.0[16..18].copy_from_slice(&upper.to_ne_bytes());
        page
    }

    fn contents(&mut self, len: usize) -> &mut [u8] {
        &mut self.0[crate::page::HEADER..][..len]
    }

    fn view(&self) -> PageView<'_> {
        PageView::new(&self.0)
    }
}

#[test]
fn a_row_with_one_bit_a_dimension_takes_dims_eighths_and_sixteen_bytes() {
    let layout = ListLayout::of(&coded(384, Quantizer::Rabitq1, Rerank::Heap));
    // but for what pads the arrays
    assert!(layout.capacity() >= CONTENTS / (384 / 8 + 16) - 1);
}

#[test]
fn values_of_as_many_dimensions_as_pgvector_allows_fit() {
    assert!(plain(2000).fits());
    let bits = Shape {
        space: Space {
            element: Element::Bit,
            metric: Metric::Hamming,
        },
        row_len: 8000,
        ..plain(64_000)
    };
    assert!(bits.fits());
    assert!(!plain(2100).fits());
    assert!(coded(8000, Quantizer::Sq8, Rerank::Heap).fits());
    assert!(
        !coded(9000, Quantizer::Rabitq1, Rerank::Heap).fits(),
        "no centroid fits"
    );
}

#[test]
fn a_list_page_gives_back_its_rows_and_erases_what_is_taken_out() {
    for shape in [
        coded(100, Quantizer::Rabitq2, Rerank::Heap),
        coded(100, Quantizer::Sq8, Rerank::Index),
        plain(100),
        filtered(1, coded(100, Quantizer::Rabitq1, Rerank::Heap)),
        filtered(3, coded(64, Quantizer::Rabitq2, Rerank::Index)),
        filtered(31, plain(100)),
    ] {
        let layout = ListLayout::of(&shape);
        let mut page = Page::new(&Opaque::of_list(ListId(5)), layout.contents_len());
        let mut rows = ListPageMut::new(page.contents(layout.contents_len()), &layout);
        let codes: Vec<Vec<u8>> = (0..=layout.capacity())
            .map(|n| vec![n as u8 | 1; shape.row_len as usize])
            .collect();
        let keys: Vec<Vec<u8>> = (0..=layout.capacity() as u64)
            .map(|n| (0..shape.filters as u64).map(move |column| 1 << 40 | n << 8 | column))
            .map(|keys| keys.flat_map(u64::to_ne_bytes).collect())
            .collect();
        let row = |n: usize| ListRow {
            tid: tid(n as u16 + 1),
            is_second: layout.has_marks() && n % 3 == 1,
            factors: ListFactors {
                add: n as f32,
                scale: 1.0 + n as f32,
                error: 0.5,
            },
            address: VectorAddress::new(70_000, n),
            norm_squared: 3.0 * n as f32,
            keys: Keys::of(&keys[n]),
            code: RowBytes::of(&codes[n]),
        };
        for n in 0..layout.capacity() {
            assert!(rows.push(&row(n)));
        }
        assert!(!rows.push(&row(layout.capacity())), "the page is full");
        rows.swap_remove(1);
        let last = layout.capacity() - 1;
        let read = ListPage::of(page.view(), &layout).expect("a sound page");
        assert_eq!((read.count(), read.list, read.next), (last, ListId(5), 0));
        let (found, expected) = (read.row(1), row(last));
        assert_eq!(found.tid, expected.tid);
        assert_eq!(found.is_second, expected.is_second);
        assert_eq!(found.keys, expected.keys);
        assert_eq!(found.keys.iter().count(), shape.filters as usize);
        for (column, key) in expected.keys.iter().enumerate() {
            assert_eq!((read.keys(column).len(), read.keys(column)[1]), (last, key));
        }
        let found_code: Vec<u8> = found.code.iter().take(shape.row_len as usize).collect();
        assert_eq!(found_code, codes[last]);
        if shape.form == RowForm::Values {
            assert_eq!(found.norm_squared, expected.norm_squared);
        } else {
            assert_eq!(found.factors, expected.factors);
        }
        if shape.has_addresses() {
            assert_eq!(found.address.place(), Some((70_000, last)));
        }
        assert!(read.unused_is_zero());
        // the last byte of all is the end of the code that was moved
        page.contents(layout.contents_len())[layout.contents_len() - 1] = 1;
        let read = ListPage::of(page.view(), &layout).expect("a sound page");
        assert!(!read.unused_is_zero(), "a byte of a row that is gone");
        page.contents(layout.contents_len())[layout.contents_len() - 1] = 0;
        let mut rows = ListPageMut::new(page.contents(layout.contents_len()), &layout);
        for _ in 0..last {
            rows.swap_remove(0);
        }
        assert!(
            page.contents(layout.contents_len())
                .iter()
                .all(|&byte| byte == 0)
        );
    }
}

#[test]
fn a_freed_entry_is_erased_and_its_slot_used_again() {
    let shape = coded(20, Quantizer::Rabitq1, Rerank::Heap);
    let layout = EntryLayout::of(&shape);
    let mut page = Page::new(&Opaque::new(PageKind::Directory), layout.contents_len());
    let entry = |list: u32| Entry {
        list,
        first: 10 + list,
        last: 20 + list,
        undivided: 0,
        pages: 1,
        rows: 9,
        reserved: 0,
        centre: Centre {
            add: 1.0,
            scale: 2.0,
            norm: 3.0,
            sum: 4,
        },
    };
    let mut entries = EntriesMut::new(page.contents(layout.contents_len()), layout);
    assert_eq!(entries.add(&entry(1), &[1; 20]), Some(0));
    assert_eq!(entries.add(&entry(2), &[2; 20]), Some(1));
    entries.free(0);
    let read = Entries::of(page.view(), layout).expect("a sound page");
    let found: Vec<_> = read
        .iter()
        .map(|(slot, entry, _)| (slot, entry.list))
        .collect();
    assert_eq!(found, [(1, 2)]);
    assert!(read.unused_is_zero());
    let end = layout.contents_len() - 1;
    page.contents(layout.contents_len())[end] = 1;
    let read = Entries::of(page.view(), layout).expect("a sound page");
    assert!(!read.unused_is_zero(), "a byte of a list that is gone");
    page.contents(layout.contents_len())[end] = 0;
    let mut entries = EntriesMut::new(page.contents(layout.contents_len()), layout);
    assert_eq!(entries.add(&entry(3), &[3; 20]), Some(0));
    let read = Entries::of(page.view(), layout).expect("a sound page");
    assert_eq!(read.get(0), Some((&entry(3), &[3u8; 20][..])));
}

#[test]
fn a_vector_page_gives_back_compact_codes() {
    let shape = coded(33, Quantizer::Rabitq1, Rerank::Index);
    let layout = VectorLayout::of(&shape);
    assert!(layout.capacity() > 100);
    let mut page = Page::new(&Opaque::new(PageKind::Vectors), layout.contents_len());
    let code: Vec<i8> = (0..33).map(|i| i - 16).collect();
    let factors = Compact {
        add: 1.0,
        scale: 0.5,
        error: 0.25,
        sum: 7,
    };
    let last = layout.capacity() - 1;
    let mut vectors = VectorPageMut::new(page.contents(layout.contents_len()), layout);
    let compact = CompactRef {
        factors,
        code: &code,
    };
    vectors.set(last, tid(3), compact);
    vectors.set(0, tid(4), compact);
    vectors.free(0);
    let read = VectorPage::of(page.view(), layout).expect("a sound page");
    assert!(read.get(0).is_none() && read.get(layout.capacity()).is_none());
    let (row, found) = read.get(last).expect("it was put there");
    assert_eq!(
        (row, found.factors, found.code),
        (tid(3), factors, &code[..])
    );
    assert_eq!(read.free_slots().count(), last);
    assert!(read.unused_is_zero());
    // the first slot's code begins where those of all others end
    let first = layout.contents_len() - layout.capacity() * code.len().next_multiple_of(8);
    page.contents(layout.contents_len())[first] = 1;
    let read = VectorPage::of(page.view(), layout).expect("a sound page");
    assert!(!read.unused_is_zero(), "a byte of a code that is gone");
}

#[test]
fn errors_are_rounded_up() {
    for x in [0.0, 1e-30, 0.1, 1.0, 1.01, 3.4e38] {
        let kept = Bf16::at_least(x).get();
        assert!(
            kept.is_finite() && (kept >= x || x > 3.3e38) && kept <= x * 1.01,
            "{x} as {kept}"
        );
        for mark in [true, false] {
            let marked = Bf16::at_least(x).marked(mark);
            assert_eq!((marked.get(), marked.is_marked()), (kept, mark));
        }
    }
}

#[test]
fn a_metapage_that_contradicts_itself_is_refused() {
    let shape = coded(384, Quantizer::Rabitq1, Rerank::Heap);
    let sound = Meta::new(Method::Ivf, &shape);
    let read = |meta: &Meta| {
        let mut page = Page::new(&Opaque::new(PageKind::Meta), size_of::<Meta>());
        page.contents(size_of::<Meta>())
            .copy_from_slice(bytemuck::bytes_of(meta));
        Meta::of(page.view()).map(|meta| meta.shape())
    };
    assert_eq!(read(&sound), Ok(Ok(shape)));
    for damaged in [
        Meta { magic: 1, ..sound },
        Meta { space: 0, ..sound },
        Meta { dims: 0, ..sound },
        Meta {
            dims: 70_000,
            ..sound
        },
        Meta {
            quantizer: 200,
            ..sound
        },
        Meta { rerank: 0, ..sound },
        Meta { method: 9, ..sound },
        Meta { copies: 3, ..sound },
        Meta {
            row_len: u32::MAX,
            ..sound
        },
        Meta {
            filters: 32,
            ..sound
        },
        Meta {
            version: 1,
            ..sound
        },
        Meta {
            reach: f32::NAN,
            ..sound
        },
        Meta {
            curve_points: 17,
            ..sound
        },
    ] {
        assert!(read(&damaged).is_err());
    }
}

proptest! {
    /// Who writes rows by a metapage with one flipped bit still writes as many bytes as a row has room for.
    #[test]
    fn a_flipped_bit_never_makes_rows_of_another_length(shape in shapes()) {
        let sound = Meta::new(Method::Ivf, &shape);
        for bit in 0..8 * size_of::<Meta>() {
            let mut damaged = sound;
            bytemuck::bytes_of_mut(&mut damaged)[bit / 8] ^= 1 << (bit % 8);
            let Ok(read) = damaged.shape() else {
                continue;
            };
            let len = match read.form {
                RowForm::Codes(code) => code.code_len(read.dims as usize).ok(),
                RowForm::Values => read.space.element.payload_len(read.dims),
            };
            prop_assert_eq!(len, Some(shape.row_len as usize), "bit {}", bit);
        }
    }
}

/// What indexes are like, among those whose rows fit on a page.
fn shapes() -> impl Strategy<Value = Shape> {
    let code = prop_oneof![
        Just(Code::Grid(Quantizer::Rabitq1)),
        Just(Code::Grid(Quantizer::Rabitq5)),
        Just(Code::Grid(Quantizer::Sq8)),
        Just(Code::Binary),
        Just(Code::Pq {
            segments: 1,
            bits: 4
        }),
    ];
    let rerank = prop_oneof![Just(Rerank::Heap), Just(Rerank::Index), Just(Rerank::None)];
    let coded = (1u32..1200, code, rerank).prop_map(|(dims, code, rerank)| Shape {
        form: RowForm::Codes(code),
        row_len: code.code_len(dims as usize).expect("a code") as u32,
        ..coded(dims, Quantizer::Rabitq1, rerank)
    });
    let bits = (1u32..60_000).prop_map(|dims| Shape {
        space: Space {
            element: Element::Bit,
            metric: Metric::Jaccard,
        },
        row_len: dims.div_ceil(8),
        ..plain(dims)
    });
    let any = prop_oneof![coded, (1u32..1900).prop_map(plain), bits];
    (any, 0usize..4)
        .prop_map(|(shape, filters)| filtered(filters as _, shape))
        .prop_filter("does not fit", |shape| shape.fits())
}

fn read_all(shape: Shape, page: PageView<'_>) {
    let mut take = |_| {};
    let expected = crate::ivf::check::Expected::new(shape);
    crate::ivf::check::page(
        &expected,
        page,
        3,
        &mut crate::check::Findings::new(&mut take),
    );
    if let Ok(page) = ListPage::of(page, &expected.lists) {
        for row in 0..page.count() {
            let _ = page.row(row);
        }
        let _ = (
            page.codes().len(),
            page.norms().len(),
            page.addresses().len(),
        );
    }
    if let Ok(page) = Entries::of(page, expected.entries) {
        page.iter().count();
    }
    if let Ok(page) = VectorPage::of(page, expected.vectors) {
        page.free_slots().count();
    }
    let _ = Meta::of(page).map(|meta| (meta.shape().is_ok(), meta.curve().len()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_list_page_has_the_rows_that_were_put_on_it_and_not_taken_out(
        dims in 1u32..300,
        quantizer in prop::sample::select(vec![Quantizer::Rabitq1, Quantizer::Rabitq2]),
        steps in proptest::collection::vec(any::<u16>(), 0..160),
        growing in 0u16..8,
    ) {
        let shape = coded(dims, quantizer, Rerank::Heap);
        let layout = ListLayout::of(&shape);
        prop_assert_eq!(layout.has_groups(), quantizer == Quantizer::Rabitq1);
        let len = shape.row_len as usize;
        let mut page = Page::new(&Opaque::of_list(ListId(5)), layout.contents_len());
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            let mut rows = ListPageMut::new(page.contents(layout.contents_len()), &layout);
            if step % 8 < growing && !expected.is_empty() {
                let at = step as usize % expected.len();
                rows.swap_remove(at);
                expected.swap_remove(at);
            } else if expected.len() < layout.capacity() {
                let code: Vec<u8> = (0..len).map(|at| (7 * n + at) as u8 | 1).collect();
                let row = ListRow {
                    tid: tid(n as u16 + 1),
                    is_second: false,
                    factors: ListFactors::default(),
                    address: VectorAddress::default(),
                    norm_squared: 0.0,
                    keys: Keys::default(),
                    code: RowBytes::of(&code),
                };
                prop_assert!(rows.push(&row));
                expected.push(code);
            }
            let read = ListPage::of(page.view(), &layout).expect("a sound page");
            prop_assert!(read.unused_is_zero());
            prop_assert_eq!(read.count(), expected.len());
            let mut together = Vec::new();
            for (row, code) in expected.iter().enumerate() {
                prop_assert!(read.row(row).code == RowBytes::of(code), "row {}", row);
                together.extend_from_slice(code);
            }
            if layout.has_groups() {
                for group in together.chunks_exact_mut(GROUP * len) {
                    fast_scan::group(group);
                }
            }
            prop_assert_eq!(read.codes(), &together[..]);
        }
    }

    #[test]
    fn no_page_however_damaged_is_read_out_of_bounds(
        shape in shapes(),
        kind in 0u16..9,
        noise: u64,
        density in prop_oneof![Just(0u8), Just(20), Just(255)],
        count in prop_oneof![0u32..300, any::<u32>()],
        lower in proptest::option::of(any::<u16>()),
        flips in proptest::collection::vec((0usize..8192, any::<u8>()), 0..4),
    ) {
        let mut special = Opaque::new(PageKind::List);
        special.kind = kind;
        let expected = crate::ivf::check::Expected::new(shape);
        let len = match kind {
            1 => size_of::<Meta>(),
            4 => expected.entries.contents_len(),
            5 => expected.lists.contents_len(),
            6 => expected.vectors.contents_len(),
            _ => CONTENTS,
        };
        let mut page = Page::new(&special, len);
        let mut random = fastrand::Rng::with_seed(noise);
        for byte in page.contents(len) {
            if random.u8(..) <= density {
                *byte = random.u8(..);
            }
        }
        page.contents(len)[..4].copy_from_slice(&count.to_ne_bytes());
        page.0[18..20].copy_from_slice(&(8192u16 | 4).to_ne_bytes());
        if let Some(lower) = lower {
            page.0[12..14].copy_from_slice(&lower.to_ne_bytes());
        }
        for (at, byte) in flips {
            page.0[at] = byte;
        }
        read_all(shape, page.view());
    }

    #[test]
    fn a_metapage_of_any_bytes_says_what_it_is_or_is_refused(noise: u64, flips in 0usize..12) {
        let sound = Meta::new(Method::Ivf, &coded(384, Quantizer::Rabitq1, Rerank::Heap));
        let mut page = Page::new(&Opaque::new(PageKind::Meta), size_of::<Meta>());
        page.contents(size_of::<Meta>()).copy_from_slice(bytemuck::bytes_of(&sound));
        let mut random = fastrand::Rng::with_seed(noise);
        for _ in 0..flips {
            let at = random.usize(..size_of::<Meta>());
            page.contents(size_of::<Meta>())[at] = random.u8(..);
        }
        if let Ok(shape) = Meta::of(page.view()).and_then(Meta::shape) {
            prop_assert!(shape.fits());
            read_all(shape, page.view());
        }
    }
}

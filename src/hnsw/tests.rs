use super::build::MemoryStore;
use super::format::Shape;
use super::format::{self, *};
use super::*;
use crate::distance::{Element, Metric, Operand, Space};
use proptest::prelude::*;
use std::collections::HashSet;

const L2: Space = Space {
    element: Element::F32,
    metric: Metric::L2,
};

fn random_rows(count: usize, dims: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut normal = || (0..12).map(|_| rng.f32()).sum::<f32>() - 6.0;
    (0..count)
        .map(|_| (0..dims).map(|_| normal()).collect())
        .collect()
}

fn operand(row: &[f32]) -> Operand<'_> {
    Operand {
        payload: bytemuck::cast_slice(row),
        norm_squared: 0.0,
    }
}

fn build(rows: &[Vec<f32>], params: Params, threads: usize) -> Graph {
    let mut graph = Graph::new(L2, params, format::highest_level(params.m), 7);
    for row in rows {
        graph.push(bytemuck::cast_slice(row));
    }
    let next = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut worker = Worker::new(&graph);
                loop {
                    let node = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if node as usize >= graph.len() {
                        break;
                    }
                    graph.insert(node, &mut worker);
                }
            });
        }
    });
    graph
}

/// The k nearest by the graph: a descent and the first batch of a stream.
fn search<'g>(graph: &'g Graph, query: &'g [f32], k: usize, ef: usize) -> Vec<u32> {
    let mut store = MemoryStore::new(graph);
    store.look_for(operand(query));
    let (entry, level) = graph
        .entry()
        .expect("a graph with nodes has an entry point");
    let entry = store.candidate(entry);
    let entries = Searcher::default().descend(&mut store, entry, level, 0);
    let mut stream = Stream::new(&mut store, entries);
    let batch = stream.next_batch(&mut store, ef, |_| true);
    batch.into_iter().take(k).map(|c| c.node).collect()
}

fn exact(rows: &[Vec<f32>], query: &[f32], k: usize) -> Vec<u32> {
    let mut all: Vec<(f64, u32)> = rows
        .iter()
        .zip(0..)
        .map(|(row, node)| (L2.distance(operand(row), operand(query)), node))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.into_iter().take(k).map(|(_, node)| node).collect()
}

fn recall(rows: &[Vec<f32>], graph: &Graph, ef: usize) -> f64 {
    let queries = random_rows(200, rows[0].len(), 99);
    let hits: usize = queries
        .iter()
        .map(|query| {
            let truth: HashSet<u32> = exact(rows, query, 10).into_iter().collect();
            search(graph, query, 10, ef)
                .iter()
                .filter(|node| truth.contains(node))
                .count()
        })
        .sum();
    hits as f64 / (queries.len() * 10) as f64
}

fn check_invariants(graph: &Graph, params: Params) {
    let (entry, entry_level) = graph
        .entry()
        .expect("a graph with nodes has an entry point");
    assert_eq!(graph.level(entry), entry_level);
    for node in 0..graph.len() as u32 {
        assert!(
            graph.level(node) <= entry_level,
            "no node rises above the entry point"
        );
        for level in 0..=graph.level(node) {
            let links = graph.links(node, level);
            let distinct: HashSet<u32> = links.iter().map(|l| l.node).collect();
            assert_eq!(distinct.len(), links.len(), "a neighbour is linked once");
            assert!(
                links.len() <= params.capacity(level),
                "a list stays within its capacity"
            );
            assert!(!distinct.contains(&node), "a node is not its own neighbour");
            assert!(
                links.iter().all(|l| graph.level(l.node) >= level),
                "links stay on the level"
            );
        }
    }
}

#[test]
fn recall_is_high_with_one_thread_and_with_several() {
    let rows = random_rows(4000, 16, 1);
    let params = Params {
        m: 16,
        ef_construction: 64,
    };
    for threads in [1, 4] {
        let graph = build(&rows, params, threads);
        check_invariants(&graph, params);
        let recall = recall(&rows, &graph, 80);
        assert!(recall > 0.97, "recall {recall} with {threads} threads");
    }
}

#[test]
fn rows_on_a_line_are_all_reached() {
    let rows: Vec<Vec<f32>> = (0..500).map(|i| vec![i as f32 * 0.5, 1.5, 0.0]).collect();
    let params = Params {
        m: 16,
        ef_construction: 64,
    };
    for _ in 0..20 {
        let graph = build(&rows, params, 4);
        for (node, row) in rows.iter().enumerate() {
            assert_eq!(search(&graph, row, 1, 20), [node as u32]);
        }
    }
}

#[test]
fn searches_of_clusters_end_in_the_right_one() {
    let centres = random_rows(20, 48, 5);
    let near = |count: usize, seed: u64| -> Vec<Vec<f32>> {
        let mut rows = random_rows(count, 48, seed);
        for (n, row) in rows.iter_mut().enumerate() {
            for (x, centre) in row.iter_mut().zip(&centres[n % centres.len()]) {
                *x = 0.41 * *x + 1.15 * centre;
            }
        }
        rows
    };
    let params = Params {
        m: 16,
        ef_construction: 64,
    };
    let queries = near(100, 99);
    let mut lost = 0;
    for seed in 0..12 {
        let rows = near(4_000, seed);
        let graph = build(&rows, params, 1);
        for query in &queries {
            let found = search(&graph, query, 10, 40);
            let wanted = exact(&rows, query, 10);
            lost += !found.iter().any(|node| wanted.contains(node)) as usize;
        }
    }
    assert_eq!(lost, 0, "of 1,200 searches have no right row");
}

#[test]
fn rows_that_come_cluster_by_cluster_are_all_found() {
    let params = Params {
        m: 16,
        ef_construction: 64,
    };
    let mut missed = 0;
    for seed in 0..6 {
        let mut rows = random_rows(4_000, 48, seed);
        let centres = random_rows(20, 48, seed + 100);
        let near = |row: &mut Vec<f32>, cluster: usize| {
            for (x, centre) in row.iter_mut().zip(&centres[cluster]) {
                *x = 0.28 * *x + centre;
            }
        };
        for (n, row) in rows.iter_mut().enumerate() {
            near(row, n / 200);
        }
        let graph = build(&rows, params, 1);
        let mut queries = random_rows(100, 48, seed + 200);
        for (n, query) in queries.iter_mut().enumerate() {
            near(query, n % 20);
            let found = search(&graph, query, 20, 320);
            let wanted = exact(&rows, query, 20);
            missed += wanted.iter().filter(|node| !found.contains(node)).count();
        }
    }
    assert!(missed <= 6, "of 12,000 rows {missed} are missed");
}

#[test]
fn equal_values_become_one_node() {
    let mut graph = Graph::new(
        L2,
        Params {
            m: 4,
            ef_construction: 8,
        },
        3,
        1,
    );
    let value: &[u8] = bytemuck::cast_slice(&[1f32, 2.0]);
    assert_eq!(graph.push(value), Pushed::New(0));
    assert_eq!(graph.push(value), Pushed::Duplicate(0));
    assert_eq!(
        graph.push(bytemuck::cast_slice(&[2f32, 1.0])),
        Pushed::New(1)
    );
    assert_eq!(graph.len(), 2);
}

#[test]
fn selection_prefers_other_directions() {
    // two candidates close together to the right, one farther away to the left
    let points = [1.0f64, 1.1, -2.0];
    let candidates: Vec<Candidate<usize>> = [0, 1, 2]
        .map(|i| Candidate {
            distance: Distance(points[i].abs()),
            node: i,
        })
        .to_vec();
    let between = |a: usize, b: usize| Distance((points[a] - points[b]).abs());
    let chosen = select_neighbours(&candidates, 2, between);
    assert_eq!(chosen.iter().map(|c| c.node).collect::<Vec<_>>(), [0, 2]);
    let all = select_neighbours(&candidates, 3, between);
    assert_eq!(all.len(), 3, "with room for all, none is left out");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stream_hands_out_each_reachable_row_once_in_sorted_batches(
        count in 1usize..300,
        dims in 1usize..12,
        m in 2u16..12,
        ef in 1usize..50,
        seed in any::<u64>(),
    ) {
        let rows = random_rows(count, dims, seed);
        let params = Params { m, ef_construction: 2 * m.max(8) };
        let graph = build(&rows, params, 1);
        check_invariants(&graph, params);
        let query = random_rows(1, dims, seed ^ 1).remove(0);
        let mut store = MemoryStore::new(&graph);
        store.look_for(operand(&query));
        let (entry, level) = graph.entry().unwrap();
        let entry = store.candidate(entry);
        let mut searcher = Searcher::default();
        let entries = searcher.descend(&mut store, entry, level, 0);
        let at_once = searcher.search_layer(&mut store, &entries, ef, 0);

        let mut stream = Stream::new(&mut store, entries.clone());
        let mut seen = HashSet::new();
        let mut batches = 0;
        while !stream.is_exhausted() {
            let batch = stream.next_batch(&mut store, ef, |_| true);
            prop_assert!(batch.is_sorted(), "a batch is nearest first");
            if batches == 0 {
                prop_assert_eq!(&batch, &at_once, "the first batch is the paper's search");
            }
            for candidate in &batch {
                prop_assert!(seen.insert(candidate.node), "a row is handed out once");
            }
            batches += 1;
            prop_assert!(batches <= graph.len() + 1, "every batch makes progress");
        }
        let mut reachable: HashSet<u32> = entries.iter().map(|entry| entry.node).collect();
        let mut open: Vec<u32> = reachable.iter().copied().collect();
        while let Some(node) = open.pop() {
            open.extend(graph.links(node, 0).iter().map(|l| l.node).filter(|&n| reachable.insert(n)));
        }
        prop_assert_eq!(seen, reachable, "every reachable row is handed out");
    }

    #[test]
    fn every_node_layout_fits_a_page_and_reads_back(
        len in 0usize..130_000,
        level in 0u8..64,
        m in 2u16..=100,
        tids in 0usize..=INLINE_TIDS,
        generation in any::<u32>(),
    ) {
        let level = level.min(highest_level(m));
        let layout = Layout::choose(len, level, Shape::plain(m));
        prop_assert!(layout.size <= MAX_ITEM);
        prop_assert_eq!(layout.inline + (layout.chunks * CHUNK).min(len), len);
        let value: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
        let chunks: Vec<NodeId> =
            (0..layout.chunks).map(|i| NodeId { block: 70_000 + i as u32, offset: 1 }).collect();
        let tids: Vec<RawTid> =
            (0..tids).map(|i| NodeId { block: i as u32, offset: 9 }.into()).collect();
        let new = NewNode {
            level,
            generation,
            value: &value,
            norm_squared: 2.5,
            chunks: &chunks,
            tids: &tids,
            keys: &[],
            more_tids: RawTid::NONE,
        };
        let mut item = aligned(&new.encode(Shape::plain(m)));
        let link = NodeId { block: 0x1_2345, offset: 77 };
        NodeMut::of(bytes_of(&mut item), Shape::plain(m)).unwrap().set_links(level, [link]);
        let node = Node::of(bytes_of(&mut item), Shape::plain(m)).unwrap();
        prop_assert_eq!(node.inline(), &value[len - layout.inline..]);
        prop_assert_eq!(node.chunks().iter().filter_map(|c| c.id()).collect::<Vec<_>>(), chunks);
        prop_assert_eq!(node.tids(), &tids[..]);
        prop_assert_eq!(node.links(level)[0].id(), Some(link));
        prop_assert_eq!(node.links(level).len(), Params { m, ef_construction: 4 }.capacity(level));
        prop_assert!(node.links(level + 1).is_empty());
    }

    #[test]
    fn a_tid_list_keeps_the_keys_of_each_tid(
        columns in 0usize..6,
        count in 0usize..100,
        more in 0usize..100,
    ) {
        let capacity = (count + more).min(max_list_tids(columns));
        let tid = |n: usize| RawTid::from(NodeId { block: n as u32, offset: 1 });
        let keys_of = |n: usize| (0..columns).map(move |column| !((n << 8 | column) as u64));
        let tids: Vec<RawTid> = (0..count.min(capacity)).map(tid).collect();
        let mut keys: Vec<u64> = (0..tids.len()).flat_map(keys_of).collect();
        let item = encode_tid_list(3, RawTid::NONE, capacity, &tids, &keys, columns);
        prop_assert!(item.len() <= MAX_ITEM);
        let mut item = aligned(&item);
        let list = TidList::of(bytes_of(&mut item)).unwrap();
        prop_assert_eq!((list.tids, list.keys), (&tids[..], &keys[..]));
        let mut all = tids.clone();
        for n in tids.len()..capacity {
            let new: Vec<u64> = keys_of(n).collect();
            TidListMut::of(bytes_of(&mut item)).unwrap().push(tid(n), &new);
            all.push(tid(n));
            keys.extend(new);
        }
        let list = TidList::of(bytes_of(&mut item)).unwrap();
        prop_assert_eq!((list.tids, list.keys), (&all[..], &keys[..]));
        TidListMut::of(bytes_of(&mut item)).unwrap().set(&tids, &keys[..tids.len() * columns]);
        let list = TidList::of(bytes_of(&mut item)).unwrap();
        prop_assert_eq!((list.tids, list.keys), (&tids[..], &keys[..tids.len() * columns]));
    }

    #[test]
    fn no_item_however_damaged_is_read_out_of_bounds(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        kind in 0u8..5,
        m in 2u16..=100,
    ) {
        let mut item = aligned(&bytes);
        let item = &mut bytes_of(&mut item)[..bytes.len()];
        if let Some(first) = item.first_mut() {
            *first = kind;
        }
        if let Ok(node) = Node::of(item, Shape::plain(m)) {
            let _ = (node.inline(), node.chunks(), node.tids(), node.is_deleted());
            for level in 0..=node.header.level {
                let _ = node.links(level);
            }
        }
        let _ = NodeMut::of(item, Shape::plain(m)).map(|mut node| node.links(0).len());
        let _ = chunk_of(item);
        let _ = TidList::of(item).map(|list| (list.header.count, list.tids.len(), list.keys.len()));
        let _ = TidListMut::of(item).map(|list| (list.slots.len(), list.keys.len()));
    }
}

/// A copy with the alignment that items have on a page.
fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

fn bytes_of(words: &mut [u64]) -> &mut [u8] {
    bytemuck::cast_slice_mut(words)
}

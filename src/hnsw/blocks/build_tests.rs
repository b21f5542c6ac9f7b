use super::build::{Follow, Graph, Intake, Link, Pushed, Shape, Verdict};
use super::format::CurvePoint;
use super::*;
use crate::distance::Metric;
use crate::quantize::{Codec, CompactRef, Quantizer};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const SHAPE: Shape = Shape {
    slots: 16,
    ef_construction: 40,
    seed: 1,
};

static GO_ON: AtomicBool = AtomicBool::new(false);

fn normal_rows(count: usize, dims: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut normal = || (0..12).map(|_| rng.f32()).sum::<f32>() - 6.0;
    (0..count)
        .map(|_| (0..dims).map(|_| normal()).collect())
        .collect()
}

/// Tight clusters far apart, one after the other.
fn clustered_rows(clusters: usize, each: usize, dims: usize) -> Vec<Vec<f32>> {
    let centers = normal_rows(clusters, dims, 3);
    let around = normal_rows(clusters * each, dims, 4);
    let row = |(i, noise): (usize, Vec<f32>)| {
        let center = &centers[i / each];
        let pairs = center.iter().zip(noise);
        pairs.map(|(c, noise)| 100.0 * c + 5.0 * noise).collect()
    };
    around.into_iter().enumerate().map(row).collect()
}

/// A file without a name.
fn temporary_file() -> io::Result<File> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("vectorext-test-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

fn no_file() -> io::Result<File> {
    Err(io::Error::other("no file"))
}

fn codec(dims: usize) -> Codec {
    Codec::new(Metric::L2, dims, 1, &vec![0.0; dims], 0.0)
}

/// The number of each row's node.
fn push_all<F: FnMut() -> io::Result<File>>(
    intake: &mut Intake<F>,
    rows: &[Vec<f32>],
) -> io::Result<Vec<Pushed>> {
    let (mut scratch, mut code) = (Vec::new(), Vec::new());
    let mut push = |row: &Vec<f32>| {
        code.resize(row.len(), 0);
        let factors = intake.codec().encode(row, &mut scratch, &mut code);
        let hash = row.iter().fold(0u64, |hash, x| {
            (hash.rotate_left(5) ^ x.to_bits() as u64).wrapping_mul(0x517c_c1b7_2722_0a95)
        });
        let code = &code;
        intake.push(CompactRef { factors, code }, hash)
    };
    rows.iter().map(&mut push).collect()
}

fn link_all(graph: &Graph, threads: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut worker = Worker::default();
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= graph.len() {
                        break;
                    }
                    graph.link(graph.at_turn(turn), &mut worker);
                }
            });
        }
    });
}

fn build(rows: &[Vec<f32>], threads: usize) -> Graph {
    let dims = rows.first().map_or(4, Vec::len);
    let mut intake = Intake::new(codec(dims), SHAPE, usize::MAX, no_file).unwrap();
    push_all(&mut intake, rows).unwrap();
    let mut graph = intake.finish().unwrap();
    link_all(&graph, threads);
    let mut worker = Worker::default();
    graph.attach_unreached(&mut worker, &GO_ON).unwrap();
    graph
}

fn links(graph: &Graph, node: u32) -> Vec<Link> {
    let mut links = Vec::new();
    graph.links(node, &mut links);
    links
}

fn check_lists(graph: &Graph) {
    for node in 0..graph.len() as u32 {
        let links = links(graph, node);
        assert!(links.len() <= SHAPE.slots, "a list stays within its slots");
        let distinct: HashSet<u32> = links.iter().map(|l| l.node).collect();
        assert_eq!(distinct.len(), links.len(), "a neighbour is linked once");
        assert!(!distinct.contains(&node), "a node is not its own neighbour");
        assert!(
            links.is_sorted_by_key(|l| l.verdict == Verdict::Covered),
            "chosen ones come first"
        );
        for pair in links.windows(2).filter(|l| l[0].verdict == l[1].verdict) {
            assert!(pair[0].distance <= pair[1].distance, "nearest first");
        }
        for link in &links {
            let distance = graph
                .codec()
                .distance(graph.get(node), graph.get(link.node));
            // who is the query and who is not may change the last bits
            assert!((distance - link.distance).abs() <= 1e-3 * distance.abs().max(1.0));
        }
    }
}

fn check_verdicts(graph: &Graph) {
    let distance = |a, b| graph.codec().distance(graph.get(a), graph.get(b));
    for node in 0..graph.len() as u32 {
        let mut chosen = links(graph, node);
        chosen.retain(|l| l.verdict == Verdict::Chosen);
        for (i, far) in chosen.iter().enumerate() {
            for near in &chosen[..i] {
                assert!(
                    distance(near.node, far.node) * 1.101 > far.distance,
                    "no chosen link covers another"
                );
            }
        }
    }
}

fn not_reached(graph: &Graph) -> usize {
    let mut reached = vec![false; graph.len()];
    let mut open = graph.entries().to_vec();
    while let Some(node) = open.pop() {
        if !std::mem::replace(&mut reached[node as usize], true) {
            open.extend(links(graph, node).iter().map(|l| l.node));
        }
    }
    reached.iter().filter(|&&reached| !reached).count()
}

/// Recall of the ten nearest of nodes themselves.
fn recall(graph: &Graph, ef: usize) -> f64 {
    let queries: Vec<u32> = (0..graph.len() as u32).step_by(graph.len() / 100).collect();
    let exact = graph.exact_nearest(&queries, 10, &GO_ON);
    let mut worker = Worker::default();
    let mut hits = 0;
    for (&query, exact) in queries.iter().zip(&exact) {
        let found = graph.nearest(graph.get(query), ef, Follow::All, &mut worker);
        let tenth = exact.last().unwrap().distance * 1.0001;
        let others = found.iter().filter(|near| near.node != query);
        hits += others
            .take(10)
            .filter(|near| near.distance <= tenth)
            .count();
    }
    hits as f64 / (10 * queries.len()) as f64
}

#[test]
fn threads_keep_lists_sound_and_recall_high() {
    let rows = normal_rows(5000, 24, 1);
    for threads in [1, 4] {
        let graph = build(&rows, threads);
        check_lists(&graph);
        check_verdicts(&graph);
        assert_eq!(not_reached(&graph), 0);
        let recall = recall(&graph, 80);
        assert!(recall > 0.95, "recall {recall} with {threads} threads");
    }
}

#[test]
fn clusters_far_apart_are_found_though_most_have_no_entry() {
    let rows = clustered_rows(400, 12, 16);
    let graph = build(&rows, 2);
    check_lists(&graph);
    assert_eq!(not_reached(&graph), 0);
    let recall = recall(&graph, 80);
    assert!(recall > 0.95, "recall {recall}");
}

#[test]
fn rows_on_a_line_are_found() {
    let rows: Vec<Vec<f32>> = (0..3000).map(|i| vec![i as f32 * 0.5, 1.5, 0.0]).collect();
    let graph = build(&rows, 4);
    assert_eq!(not_reached(&graph), 0);
    let recall = recall(&graph, 80);
    assert!(recall > 0.95, "recall {recall}");
}

#[test]
fn equal_values_are_one_node_and_equal_hashes_are_not_enough() {
    let rows = normal_rows(300, 8, 1);
    let mut intake = Intake::new(codec(8), SHAPE, usize::MAX, no_file).unwrap();
    push_all(&mut intake, &rows).unwrap();
    let again = push_all(&mut intake, &rows).unwrap();
    let expected: Vec<Pushed> = (0..300).map(Pushed::Duplicate).collect();
    assert_eq!(again, expected);
    let (factors, mut code) = (intake.get(0).factors, intake.get(0).code.to_vec());
    let same_hash = |intake: &mut Intake<_>, code: &[i8]| {
        intake.push(CompactRef { factors, code }, 42).unwrap()
    };
    assert_eq!(same_hash(&mut intake, &code), Pushed::New(300));
    code[0] ^= 1;
    assert_eq!(same_hash(&mut intake, &code), Pushed::New(301));
    assert_eq!(same_hash(&mut intake, &code), Pushed::Duplicate(301));
    assert_eq!(intake.finish().unwrap().hash(301), 42);
}

#[test]
fn a_graph_in_files_is_the_graph_in_memory() {
    let rows = normal_rows(20_000, 16, 1);
    let build = |limit| {
        let mut intake = Intake::new(codec(16), SHAPE, limit, temporary_file).unwrap();
        push_all(&mut intake, &rows).unwrap();
        assert_eq!(intake.is_spilled(), limit < usize::MAX);
        assert_eq!(intake.memory() == 0, intake.is_spilled());
        let graph = intake.finish().unwrap();
        link_all(&graph, 1);
        graph
    };
    let in_memory = build(usize::MAX);
    for limit in [0, 500_000] {
        let in_files = build(limit);
        for node in 0..rows.len() as u32 {
            assert_eq!(in_files.hash(node), in_memory.hash(node));
            assert_eq!(in_files.get(node).code, in_memory.get(node).code);
            assert_eq!(links(&in_files, node), links(&in_memory, node));
        }
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let mut intake = Intake::new(codec(8), SHAPE, 1000, no_file).unwrap();
    let error = push_all(&mut intake, &normal_rows(100, 8, 1)).unwrap_err();
    assert_eq!(error.to_string(), "no file");
}

#[test]
fn few_nodes_are_all_linked_with_each_other() {
    for count in [0, 1, 2, 3, SHAPE.slots + 1] {
        let graph = build(&normal_rows(count, 4, 1), 2);
        assert_eq!(graph.len(), count);
        assert_eq!(graph.is_empty(), count == 0);
        assert_eq!(not_reached(&graph), 0);
        check_lists(&graph);
        let order = graph.order(8, &GO_ON);
        assert_eq!(order.iter().collect::<HashSet<_>>().len(), count);
        let mut worker = Worker::default();
        for node in 0..count as u32 {
            let found = graph.nearest(graph.get(node), 40, Follow::All, &mut worker);
            assert_eq!(found.len(), count, "every node finds all");
            assert_eq!(found[0].node, node);
        }
    }
}

#[test]
fn nodes_that_nothing_leads_to_are_attached() {
    let rows = normal_rows(2000, 8, 1);
    let mut graph = build(&rows, 1);
    let entries: HashSet<u32> = graph.entries().iter().copied().collect();
    let lost: Vec<u32> = (0..2000)
        .filter(|n| !entries.contains(n))
        .step_by(40)
        .collect();
    let mut kept = super::build::Links::default();
    for node in 0..2000 {
        graph.lists.change(node, &mut kept, |list| {
            list.chosen.retain(|l| !lost.contains(&l.node));
            list.covered.retain(|l| !lost.contains(&l.node));
        });
    }
    assert_eq!(not_reached(&graph), lost.len());
    let mut worker = Worker::default();
    let attached = graph.attach_unreached(&mut worker, &GO_ON).unwrap();
    assert_eq!(attached.by_link + attached.as_entry, lost.len());
    assert_eq!(not_reached(&graph), 0);
    check_lists(&graph);
}

#[test]
fn nodes_left_out_are_no_ones_neighbours_until_they_are_linked() {
    let rows = normal_rows(1000, 8, 1);
    let mut intake = Intake::new(codec(8), SHAPE, usize::MAX, no_file).unwrap();
    push_all(&mut intake, &rows).unwrap();
    let mut graph = intake.finish().unwrap();
    let mut worker = Worker::default();
    for turn in 0..900 {
        graph.link(graph.at_turn(turn), &mut worker);
    }
    let left_out: Vec<u32> = (900..1000).map(|turn| graph.at_turn(turn)).collect();
    for nearest in graph.exact_nearest(&left_out, 10, &GO_ON) {
        assert_eq!(nearest.len(), 10);
        assert!(nearest.iter().all(|near| !left_out.contains(&near.node)));
    }
    for node in 0..1000 {
        assert!(
            links(&graph, node)
                .iter()
                .all(|l| !left_out.contains(&l.node))
        );
    }
    for &node in &left_out {
        graph.link(node, &mut worker);
        graph.link(node, &mut worker);
    }
    check_lists(&graph);
    graph.attach_unreached(&mut worker, &GO_ON).unwrap();
    assert_eq!(not_reached(&graph), 0);
}

#[test]
fn an_order_has_every_node_once_and_neighbours_side_by_side() {
    let rows = clustered_rows(100, 8, 8);
    let graph = build(&rows, 1);
    let order = graph.order(8, &GO_ON);
    assert_eq!(order.iter().collect::<HashSet<_>>().len(), rows.len());
    let apart = order.chunks(8).map(|page| {
        let clusters: HashSet<u32> = page.iter().map(|node| node / 8).collect();
        clusters.len()
    });
    let clusters_a_page = apart.sum::<usize>() as f64 / 100.0;
    assert!(
        clusters_a_page < 3.5,
        "{clusters_a_page} clusters on a page"
    );
}

/// Inline codes made by one thread; in a file where one is given.
fn codes(graph: &Graph, quantizer: Quantizer, file: Option<File>) -> Codes {
    let dims = graph.codec().dims();
    let file = file.map(Into::into);
    Codes::of(graph, quantizer, dims, file, |work| work(&GO_ON)).unwrap()
}

#[test]
fn codes_made_in_pieces_are_each_nodes_own_in_memory_and_in_a_file() {
    let graph = build(&normal_rows(5000, 24, 2), 1);
    for file in [None, Some(temporary_file().unwrap())] {
        let codes = codes(&graph, Quantizer::Rabitq2, file);
        for node in 0..graph.len() as u32 {
            let mut code = vec![0; Quantizer::Rabitq2.code_len(24)];
            let factors =
                graph
                    .codec()
                    .quantize(graph.get(node), Quantizer::Rabitq2, 24, &mut code);
            let kept = codes.kept(node);
            assert_eq!(
                (kept.factors, kept.code),
                (factors, &code[..]),
                "node {node}"
            );
        }
    }
}

/// The curve that nodes whose turn comes last tell, and the recall of searches for other rows with
/// the multiple that should reach `target`.
fn measured_and_reached(quantizer: Option<Quantizer>, target: f32) -> (Vec<CurvePoint>, f64) {
    let rows = normal_rows(4000, 24, 6);
    let mut intake = Intake::new(codec(24), SHAPE, usize::MAX, no_file).unwrap();
    push_all(&mut intake, &rows).unwrap();
    let graph = intake.finish().unwrap();
    let mut worker = Worker::default();
    let turn = |turn: usize| graph.at_turn(turn);
    (0..3400).for_each(|at| graph.link(turn(at), &mut worker));
    let codes = quantizer.map(|quantizer| codes(&graph, quantizer, None));
    let nearest = |queries: &[u32]| -> Vec<Vec<u32>> {
        let found = graph.exact_nearest(queries, calibrate::RANK, &GO_ON);
        let numbers = |near: Vec<build::Near>| near.iter().map(|near| near.node).collect();
        found.into_iter().map(numbers).collect()
    };
    let mut preview = Preview::new(&graph, codes.as_ref());
    let queries: Vec<u32> = (3400..3700).map(turn).collect();
    let mut at = 0..;
    let next = || at.next().unwrap();
    let curve = measure(&mut preview, &queries, &nearest(&queries), next, &GO_ON).curve();

    let others: Vec<u32> = (3700..4000).map(turn).collect();
    let mut walk = Walk::default();
    let mut seeds = Vec::new();
    let mut hits = 0;
    for (&query, nearest) in others.iter().zip(nearest(&others)) {
        preview.query.reset_of(graph.codec(), graph.get(query));
        preview.seeds(&mut seeds);
        walk.start(seeds.drain(..));
        walk.aim(Effort {
            rank: calibrate::RANK,
            multiple: calibrate::multiple_for(&curve, target),
            ..Effort::default()
        });
        while walk.step(&mut preview).is_some() {}
        let found: HashSet<u32> = walk.found().iter().map(|near| near.row).collect();
        hits += nearest.iter().filter(|node| found.contains(node)).count();
    }
    (curve, hits as f64 / (others.len() * calibrate::RANK) as f64)
}

#[test]
fn the_multiple_measured_for_a_recall_reaches_it_for_other_rows() {
    for quantizer in [None, Some(Quantizer::Rabitq1), Some(Quantizer::Rabitq4)] {
        for target in [0.8, 0.9] {
            let (curve, reached) = measured_and_reached(quantizer, target);
            assert!(curve.is_sorted_by(|a, b| a.recall <= b.recall), "{curve:?}");
            assert!(
                reached >= target as f64 - 0.02,
                "{quantizer:?}: {reached} of {target}: {curve:?}"
            );
        }
    }
}

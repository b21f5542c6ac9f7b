//! Time and recall of the graph build in memory.
//!
//!     cargo run --release --example build_graph -- FILE.f16 DIMS    rows of a file, under cosine
//!     cargo run --release --example build_graph -- clusters|uniform|curve|copies|normal
//!
//! Prints one line: seconds to link, and recall@10 of a plain best-first walk over all links for
//! some ef, after re-ranking 20. Environment: THREADS, SLOTS, EF, LIMIT (bytes before files).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use vectorext::distance::Metric;
use vectorext::hnsw::blocks::Worker;
use vectorext::hnsw::blocks::build::{Follow, Graph, Intake, Pushed, Shape};
use vectorext::quantize::{Codec, CompactRef};

/// Rows held out as queries.
const QUERIES: usize = 1000;

struct Rows {
    dims: usize,
    metric: Metric,
    values: Vec<f32>,
}

impl Rows {
    fn get(&self, row: usize) -> &[f32] {
        &self.values[row * self.dims..][..self.dims]
    }

    fn len(&self) -> usize {
        self.values.len() / self.dims
    }

    fn read(path: &str, dims: usize) -> Rows {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let element = |two: &[u8]| half::f16::from_le_bytes([two[0], two[1]]).to_f32();
        Rows {
            dims,
            metric: Metric::Cosine,
            values: bytes.chunks_exact(2).map(element).collect(),
        }
        .normalize()
    }

    /// Generated rows, under l2.
    fn generate(kind: &str) -> Rows {
        let mut rng = fastrand::Rng::with_seed(5);
        let count = 100_000 + QUERIES;
        let mut normal = move || (0..12).map(|_| rng.f32()).sum::<f32>() - 6.0;
        let mut rng = fastrand::Rng::with_seed(6);
        let (dims, values) = match kind {
            "clusters" => {
                let centers: Vec<f32> = (0..1000 * 128).map(|_| 10.0 * normal()).collect();
                let row = |_| {
                    let center = &centers[rng.usize(0..1000) * 128..][..128];
                    center.iter().map(|c| c + normal()).collect::<Vec<_>>()
                };
                (128, (0..count).flat_map(row).collect())
            }
            "uniform" => (16, (0..count * 16).map(|_| rng.f32()).collect()),
            "normal" => (64, (0..count * 64).map(|_| normal()).collect()),
            "curve" => {
                let row = |i: usize| {
                    let t = i as f32 / count as f32;
                    (0..32).map(move |k| (t * (k + 1) as f32).sin() * 100.0)
                };
                (32, (0..count).flat_map(row).collect())
            }
            "copies" => {
                let originals: Vec<f32> = (0..10_000 * 32).map(|_| normal()).collect();
                let row = |_| originals[rng.usize(0..10_000) * 32..][..32].to_vec();
                (32, (0..count).flat_map(row).collect())
            }
            _ => panic!("no such rows: {kind}"),
        };
        Rows {
            dims,
            metric: Metric::L2,
            values,
        }
    }

    /// Divides each row by its length.
    fn normalize(mut self) -> Rows {
        for row in self.values.chunks_exact_mut(self.dims) {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.iter_mut().for_each(|x| *x /= norm);
        }
        self
    }

    /// Squared distance.
    fn distance(&self, a: usize, b: usize) -> f32 {
        let mut lanes = [0f32; 16];
        let pairs = self
            .get(a)
            .chunks_exact(16)
            .zip(self.get(b).chunks_exact(16));
        for (a, b) in pairs {
            for i in 0..16 {
                lanes[i] += (a[i] - b[i]) * (a[i] - b[i]);
            }
        }
        lanes.iter().sum()
    }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

/// CPU seconds of the process.
fn cpu() -> f64 {
    // SAFETY: getrusage fills a struct of integers.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn threads(work: impl Fn(usize) + Sync) -> (Duration, f64) {
    let (start, cpu_at_start) = (Instant::now(), cpu());
    std::thread::scope(|scope| {
        for thread in 0..setting("THREADS", 2) {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
    (start.elapsed(), cpu() - cpu_at_start)
}

fn link(graph: &Graph) -> (Duration, f64) {
    let next = AtomicUsize::new(0);
    threads(|_| {
        let mut worker = Worker::default();
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= graph.len() {
                break;
            }
            graph.link(graph.at_turn(turn), &mut worker);
        }
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let rows = match &arguments[..] {
        [path, dims] => Rows::read(path, dims.parse().expect("DIMS")),
        [kind] => Rows::generate(kind),
        _ => {
            return eprintln!(
                "give a file of float16 rows and their dimensions, or a kind of rows"
            );
        }
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    if arguments[0] != "curve" {
        fastrand::Rng::with_seed(7).shuffle(&mut order);
    }
    let queries: Vec<usize> = (0..QUERIES)
        .map(|i| order[i * (order.len() / QUERIES)])
        .collect();
    let held: std::collections::HashSet<usize> = queries.iter().copied().collect();
    let base: Vec<usize> = order
        .into_iter()
        .filter(|row| !held.contains(row))
        .collect();

    let mut centroid = vec![0.0; rows.dims];
    for &row in base.iter().step_by(10) {
        for (sum, x) in centroid.iter_mut().zip(rows.get(row)) {
            *sum += x / base.len().div_ceil(10) as f32;
        }
    }
    let codec = Codec::new(rows.metric, rows.dims, 1, &centroid, 0.0);
    let shape = Shape {
        slots: setting("SLOTS", 32),
        ef_construction: setting("EF", 64),
        seed: 1,
    };
    let directory = std::env::temp_dir();
    let mut files = 0;
    let spill = || {
        files += 1;
        let path = directory.join(format!("build_graph.{}.{files}", std::process::id()));
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    };
    let (mut scratch, mut code) = (Vec::new(), vec![0; rows.dims]);
    let pushing = Instant::now();
    let mut intake =
        Intake::new(codec, shape, setting("LIMIT", usize::MAX), spill).expect("intake");
    let mut row_of = Vec::new();
    for &row in &base {
        let factors = intake
            .codec()
            .encode(rows.get(row), &mut scratch, &mut code);
        let value = CompactRef {
            factors,
            code: &code,
        };
        let hash = rows.get(row).iter().fold(0u64, |hash, x| {
            (hash.rotate_left(5) ^ x.to_bits() as u64).wrapping_mul(0x517c_c1b7_2722_0a95)
        });
        if let Pushed::New(_) = intake.push(value, hash).expect("push") {
            row_of.push(row);
        }
    }
    let memory = intake.memory();
    let mut graph = intake.finish().expect("finish");
    println!(
        "{} rows, {} nodes, {} MB private, pushed in {:.2} s",
        base.len(),
        graph.len(),
        memory >> 20,
        pushing.elapsed().as_secs_f64()
    );
    let (wall, cpu) = link(&graph);
    println!(
        "linked: {:.2} s wall, {cpu:.2} s CPU, {:.1} us CPU a node",
        wall.as_secs_f64(),
        cpu * 1e6 / graph.len() as f64
    );
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let attached = graph
        .attach_unreached(&mut Worker::default(), &stop)
        .expect("attach");
    println!("{attached:?} in {:.2} s", start.elapsed().as_secs_f64());
    report_links(&graph);
    report_order(&graph);

    let exact: Vec<std::sync::Mutex<Vec<f32>>> =
        queries.iter().map(|_| Default::default()).collect();
    threads(|thread| {
        for (i, &query) in queries
            .iter()
            .enumerate()
            .skip(thread)
            .step_by(setting("THREADS", 2))
        {
            let mut all: Vec<f32> = row_of
                .iter()
                .map(|&row| rows.distance(query, row))
                .collect();
            all.select_nth_unstable_by(9, f32::total_cmp);
            *exact[i].lock().expect("no panic") = vec![all[9]];
        }
    });
    let mut worker = Worker::default();
    for follow in [Follow::All, Follow::Chosen] {
        for ef in [20, 40, 80, 120] {
            let mut hits = 0;
            let mut spent = Duration::ZERO;
            for (query, exact) in queries.iter().zip(&exact) {
                let factors = graph
                    .codec()
                    .encode(rows.get(*query), &mut scratch, &mut code);
                let value = CompactRef {
                    factors,
                    code: &code,
                };
                let start = Instant::now();
                let found = graph.nearest(value, ef, follow, &mut worker);
                spent += start.elapsed();
                let tenth = exact.lock().expect("no panic")[0];
                let near = |near: &vectorext::hnsw::blocks::build::Near| {
                    rows.distance(*query, row_of[near.node as usize]) <= tenth
                };
                hits += found.iter().take(20).filter(|n| near(n)).count().min(10);
            }
            print!(
                "{follow:?} ef {ef}: {:.4} ({:.0} us)  ",
                hits as f64 / (10 * QUERIES) as f64,
                spent.as_secs_f64() * 1e6 / QUERIES as f64
            );
        }
        println!();
    }
}

fn report_links(graph: &Graph) {
    let (mut links, mut chosen, mut all) = (Vec::new(), 0, 0);
    let mut into = vec![0u32; graph.len()];
    for node in 0..graph.len() as u32 {
        links.clear();
        graph.links(node, &mut links);
        all += links.len();
        for link in &links {
            into[link.node as usize] += 1;
            chosen += (link.verdict == vectorext::hnsw::blocks::build::Verdict::Chosen) as usize;
        }
    }
    let mut reached = vec![false; graph.len()];
    let mut open: Vec<u32> = graph.entries().to_vec();
    for &entry in &open {
        reached[entry as usize] = true;
    }
    while let Some(node) = open.pop() {
        links.clear();
        graph.links(node, &mut links);
        for link in &links {
            if !std::mem::replace(&mut reached[link.node as usize], true) {
                open.push(link.node);
            }
        }
    }
    println!(
        "links a node: {:.1}, chosen {:.1}; without a link to them {}, not reached {}",
        all as f64 / graph.len() as f64,
        chosen as f64 / graph.len() as f64,
        into.iter().filter(|&&count| count == 0).count(),
        reached.iter().filter(|&&reached| !reached).count(),
    );
}

/// How many pages a node's links lead to, in groups of 8 to a page.
fn report_order(graph: &Graph) {
    let start = Instant::now();
    let order = graph.order(8, &AtomicBool::new(false));
    let spent = start.elapsed().as_secs_f64();
    let mut page = vec![0; graph.len()];
    for (at, &node) in order.iter().enumerate() {
        page[node as usize] = at / 8;
    }
    let (mut links, mut here, mut near, mut all) = (Vec::new(), 0, 0, 0);
    for node in 0..graph.len() {
        links.clear();
        graph.links(node as u32, &mut links);
        for link in &links {
            let apart = page[node].abs_diff(page[link.node as usize]);
            here += (apart == 0) as usize;
            near += (apart <= 16) as usize;
            all += 1;
        }
    }
    let part = |count: usize| count as f64 / all.max(1) as f64;
    println!(
        "order of 8: {spent:.2} s, links within a page {:.3}, within 16 pages {:.3}",
        part(here),
        part(near)
    );
}

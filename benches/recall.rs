//! What each quantizer finds in lists, in memory and without a server: bytes, recall with and without
//! re-ranking, time. Takes files as `quantizers.py` writes them, and prints a line of JSON for each point.
//!
//! `cargo bench --bench recall -- DIRECTORY [NAME=VALUE...]`

use std::collections::HashSet;
use std::path::Path;
use vectorext::cluster::{Crew, Lists, Pair, Rows, Threads, Training, train};
use vectorext::distance::Metric;
use vectorext::quantize::{
    Base, CentreRef, Codebook, Codec, Coding, ListEncoder, Lookup, Lookups, PqShape, Quantizer,
    Query, Rotated,
};

/// Neighbours asked for.
const K: usize = 10;

/// What is asked for on the command line.
struct Asked {
    lists: usize,
    probes: Vec<usize>,
    quantizers: Vec<String>,
    /// rows of a sample for each list
    sample: usize,
    iterations: usize,
    seed: u64,
    is_soar: bool,
    is_spherical: bool,
    /// rows compared exactly in the end
    rerank: Vec<usize>,
    metric: Metric,
}

impl Asked {
    fn read(arguments: &[String]) -> Asked {
        let mut asked = Asked {
            lists: 1024,
            probes: vec![16],
            quantizers: vec!["rabitq1".into()],
            sample: 64,
            iterations: 10,
            seed: 1,
            is_soar: false,
            is_spherical: false,
            rerank: vec![0],
            metric: Metric::Cosine,
        };
        for argument in arguments.iter().filter(|a| !a.starts_with("--")) {
            let (name, value) = argument.split_once('=').expect("NAME=VALUE");
            let number = || value.parse().expect("a number");
            let numbers = || {
                value
                    .split(',')
                    .map(|n| n.parse().expect("numbers"))
                    .collect()
            };
            match name {
                "lists" => asked.lists = number(),
                "probes" => asked.probes = numbers(),
                "quantizers" => asked.quantizers = value.split(',').map(String::from).collect(),
                "sample" => asked.sample = number(),
                "iterations" => asked.iterations = number(),
                "seed" => asked.seed = number() as u64,
                "soar" => asked.is_soar = value == "yes",
                "spherical" => asked.is_spherical = value == "yes",
                "rerank" => asked.rerank = numbers(),
                "metric" => {
                    asked.metric = match value {
                        "cosine" => Metric::Cosine,
                        "ip" => Metric::InnerProduct,
                        _ => Metric::L2,
                    }
                }
                _ => panic!("no setting {name}"),
            }
        }
        asked
    }
}

/// The files of a data set.
struct Data {
    dims: usize,
    base: Vec<f32>,
    queries: Vec<f32>,
    /// the ten nearest rows of each query
    truth: Vec<u32>,
    /// of lists, where they are given
    centroids: Option<Vec<f32>>,
}

impl Data {
    fn read(directory: &Path) -> Data {
        let bytes = |name: &str| std::fs::read(directory.join(name)).ok();
        let floats = |bytes: Vec<u8>| -> Vec<f32> {
            let chunks = bytes.as_chunks::<4>().0.iter();
            chunks.map(|chunk| f32::from_le_bytes(*chunk)).collect()
        };
        let truth = bytes("truth.u32").expect("truth.u32");
        let truth: Vec<u32> = truth
            .as_chunks::<4>()
            .0
            .iter()
            .map(|chunk| u32::from_le_bytes(*chunk))
            .collect();
        let queries = floats(bytes("queries.f32").expect("queries.f32"));
        Data {
            dims: queries.len() / (truth.len() / K),
            base: floats(bytes("base.f32").expect("base.f32")),
            queries,
            truth,
            centroids: bytes("centroids.f32").map(floats),
        }
    }

    fn rows(&self) -> usize {
        self.base.len() / self.dims
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.base[row * self.dims..][..self.dims]
    }
}

/// Rows at even steps.
fn steps(of: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(of);
    (0..count).map(move |i| i * of / count)
}

fn mean(data: &Data, metric: Metric) -> Vec<f32> {
    let mut mean = vec![0.0; data.dims];
    let count = 10_000.min(data.rows());
    for row in steps(data.rows(), count) {
        let x = data.row(row);
        let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt();
        let factor = if metric == Metric::Cosine {
            1.0 / norm
        } else {
            1.0
        };
        for (mean, x) in mean.iter_mut().zip(x) {
            *mean += x * factor / count as f32;
        }
    }
    mean
}

/// What every quantizer shares: centroids, and who is in which list.
struct Shared {
    codec: Codec,
    rotated: Vec<Rotated>,
    centroids: Rows,
    members: Vec<Vec<u32>>,
}

fn share(data: &Data, asked: &Asked, crew: &mut dyn Crew) -> Shared {
    let reach = (0..data.rows())
        .map(|row| data.row(row).iter().map(|x| x * x).sum::<f32>())
        .fold(0.0, f32::max)
        .sqrt();
    let codec = Codec::new(asked.metric, data.dims, 7, &mean(data, asked.metric), reach);
    let mut code = vec![0; data.dims];
    let mut rows = Rows::new(data.dims);
    let rotated: Vec<Rotated> = (0..data.rows())
        .map(|row| {
            let mut rotated = Rotated::default();
            codec.rotate(data.row(row), &mut rotated);
            let factors = codec.encode_rotated(&rotated, &mut code);
            rows.push_scaled(factors.scale, &code);
            rotated
        })
        .collect();
    let clock = process_time();
    let centroids = match &data.centroids {
        Some(given) => {
            let mut centroids = Rows::new(data.dims);
            for point in given.chunks_exact(data.dims) {
                let mut rotated = Rotated::default();
                codec.rotate(point, &mut rotated);
                centroids.push_point(&rotated.values().collect::<Vec<f32>>());
            }
            centroids
        }
        None => {
            let mut sample = Rows::new(data.dims);
            for row in steps(rows.len(), asked.sample * asked.lists) {
                sample.push_scaled(rows.scale(row), rows.code(row));
            }
            let origin = codec.rotated_centroid().to_vec();
            let training = Training {
                lists: asked.lists,
                iterations: asked.iterations,
                seed: asked.seed,
                sphere: asked.is_spherical.then_some(&origin[..]),
            };
            train(&sample, training, crew)
        }
    };
    let training = process_time() - clock;
    let clock = process_time();
    let lists = Lists::of(&centroids);
    let pairs: Vec<Pair> = match asked.is_soar {
        true => lists.nearest_two(&rows, crew),
        false => {
            let nearest = lists.nearest(&rows, crew);
            let both = |list| Pair {
                first: list,
                second: list,
            };
            nearest.iter().map(|near| both(near.list)).collect()
        }
    };
    let assignment = process_time() - clock;
    let mut members = vec![Vec::new(); centroids.len()];
    for (row, pair) in pairs.iter().enumerate() {
        members[pair.first as usize].push(row as u32);
        if pair.second != pair.first {
            members[pair.second as usize].push(row as u32);
        }
    }
    let largest = members.iter().map(Vec::len).max().unwrap_or(0);
    println!(
        "{{\"rows\": {}, \"lists\": {}, \"train_cpu_s\": {:.3}, \"assign_cpu_s\": {:.3}, \"largest\": {largest}}}",
        rows.len(),
        centroids.len(),
        training,
        assignment,
    );
    Shared {
        codec,
        rotated,
        centroids,
        members,
    }
}

/// Rows of a list as they lie on pages.
#[derive(Default)]
struct Coded {
    codes: Vec<u8>,
    adds: Vec<f32>,
    scales: Vec<f32>,
}

fn coding(name: &str, shared: &Shared, asked: &Asked, crew: &mut dyn Crew) -> Coding {
    if name == "binary" {
        return Coding::Binary;
    }
    // pqSEGMENTSxBITS
    if let Some(shape) = name.strip_prefix("pq") {
        let (segments, bits) = shape.split_once('x').expect("pqSEGMENTSxBITS");
        let (segments, bits) = (segments.parse().unwrap(), bits.parse().unwrap());
        let shape = PqShape::new(shared.codec.dims(), segments, bits).unwrap();
        let mut of_row = vec![0; shared.rotated.len()];
        for (list, members) in shared.members.iter().enumerate() {
            members.iter().for_each(|&row| of_row[row as usize] = list);
        }
        let mut residuals = Vec::new();
        for row in steps(of_row.len(), 64 * 256) {
            let list = of_row[row];
            let factors = shared
                .codec
                .centre_of(shared.centroids.scale(list), shared.centroids.code(list));
            let centre = CentreRef {
                factors,
                code: shared.centroids.code(list),
            };
            shared
                .codec
                .residual_in(centre, &shared.rotated[row], &mut residuals);
        }
        return Coding::Pq(Codebook::train(shape, &residuals, asked.seed, crew));
    }
    let named = Quantizer::GRIDS.into_iter().find(|q| q.name() == name);
    Coding::Grid(named.expect("a quantizer"))
}

fn measure(name: &str, data: &Data, shared: &Shared, asked: &Asked, crew: &mut dyn Crew) {
    let codec = &shared.codec;
    let clock = process_time();
    let coding = coding(name, shared, asked, crew);
    let trained = process_time() - clock;
    let len = coding.code_len(data.dims);
    let centres: Vec<_> = (0..shared.centroids.len())
        .map(|list| codec.centre_of(shared.centroids.scale(list), shared.centroids.code(list)))
        .collect();
    let centre = |list: usize| CentreRef {
        factors: centres[list],
        code: shared.centroids.code(list),
    };
    let clock = processor_time();
    let mut encoder = ListEncoder::default();
    let mut encoded = 0;
    let lists: Vec<Coded> = shared
        .members
        .iter()
        .enumerate()
        .map(|(list, members)| {
            let mut coded = Coded::default();
            coded.codes.resize(members.len() * len, 0);
            for (&row, code) in members.iter().zip(coded.codes.chunks_exact_mut(len)) {
                let row = &shared.rotated[row as usize];
                let factors = coding.encode(codec, centre(list), row, &mut encoder, code);
                coded.adds.push(factors.add);
                coded.scales.push(factors.scale);
                encoded += 1;
            }
            coded
        })
        .collect();
    let encoding = (processor_time() - clock) * 1e9 / encoded as f64;
    let (mut query, mut lookup) = (Query::default(), Lookup::default());
    let mut estimates = Vec::new();
    for &probes in &asked.probes {
        let mut found = vec![0; asked.rerank.len()];
        let (mut scanned, mut spent) = (0, 0.0);
        for (x, truth) in data
            .queries
            .chunks_exact(data.dims)
            .zip(data.truth.chunks_exact(K))
        {
            query.reset(codec, x);
            let mut bases: Vec<(Base, u32)> = (0..centres.len())
                .map(|list| (query.base(centre(list)), list as u32))
                .collect();
            bases.sort_unstable_by(|a, b| a.0.distance.total_cmp(&b.0.distance));
            coding.prepare(&query, &mut lookup);
            let probed = &bases[..probes.min(bases.len())];
            let rows: usize = probed
                .iter()
                .map(|&(_, list)| lists[list as usize].adds.len())
                .sum();
            estimates.resize(rows, 0.0);
            let mut left = &mut estimates[..];
            let clock = processor_time();
            for &(base, list) in probed {
                let coded = &lists[list as usize];
                coding.enter(&query, centre(list as usize), &mut lookup);
                let of = Lookups {
                    query: &query,
                    lookup: &lookup,
                    base,
                };
                let (out, rest) = left.split_at_mut(coded.adds.len());
                coding.estimate(of, &coded.codes, &coded.adds, &coded.scales, out);
                left = rest;
            }
            spent += processor_time() - clock;
            scanned += rows;
            let members = probed
                .iter()
                .flat_map(|&(_, list)| shared.members[list as usize].iter().copied());
            let mut all: Vec<(f32, u32)> = estimates.iter().copied().zip(members).collect();
            all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let mut seen = HashSet::new();
            all.retain(|&(_, row)| seen.insert(row));
            for (found, &rerank) in found.iter_mut().zip(&asked.rerank) {
                let mut best: Vec<(f32, u32)> = all.iter().copied().take(rerank.max(K)).collect();
                if rerank > 0 {
                    for (distance, row) in &mut best {
                        *distance = exact(asked.metric, x, data.row(*row as usize));
                    }
                    best.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                }
                let best = best.iter().take(K);
                *found += best.filter(|(_, row)| truth.contains(row)).count();
            }
        }
        let queries = data.truth.len() / K;
        let recalls: Vec<String> = found
            .iter()
            .zip(&asked.rerank)
            .map(|(&found, rerank)| {
                format!("\"{rerank}\": {:.4}", found as f64 / (K * queries) as f64)
            })
            .collect();
        println!(
            "{{\"quantizer\": \"{name}\", \"bytes\": {len}, \"probes\": {probes}, \"recall\": {{{}}}, \"scanned\": {:.5}, \"ns_per_row\": {:.2}, \"encode_ns\": {encoding:.0}, \"train_cpu_s\": {:.2}}}",
            recalls.join(", "),
            scanned as f64 / (queries * data.rows()) as f64,
            spent * 1e9 / scanned as f64,
            trained,
        );
    }
}

/// Seconds that this thread has had of a processor: what else the machine does is not in it.
fn processor_time() -> f64 {
    time_of(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The same of all threads.
fn process_time() -> f64 {
    time_of(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn time_of(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock writes to the structure given.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    match metric {
        Metric::L2 => a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum(),
        Metric::Cosine => -product(a, b) / product(b, b).sqrt(),
        _ => -product(a, b),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments
        .iter()
        .position(|a| !a.starts_with("--") && !a.contains('='));
    let Some(directory) = directory else {
        eprintln!("recall: no directory with data; benches/quantizers.py runs this");
        return;
    };
    let mut rest = arguments.clone();
    let directory = rest.remove(directory);
    let asked = Asked::read(&rest);
    let data = Data::read(Path::new(&directory));
    let mut crew = Threads(std::thread::available_parallelism().map_or(1, usize::from));
    let shared = share(&data, &asked, &mut crew);
    for name in &asked.quantizers {
        measure(name, &data, &shared, &asked, &mut crew);
    }
}

//! What is promised of lists.

use super::*;
use crate::distance::lanes::Isa;
use crate::quantize::nearest_bytes;

/// Vectors around some centres.
fn clustered(dims: usize, count: usize, centres: usize, seed: u64) -> Rows {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut normal = |size: f32| -> Vec<f32> {
        let mut one = || (0..12).map(|_| random.f32()).sum::<f32>() - 6.0;
        (0..dims).map(|_| size * one()).collect()
    };
    let centres: Vec<Vec<f32>> = (0..centres).map(|_| normal(1.0)).collect();
    let mut rows = Rows::new(dims);
    for i in 0..count {
        let noise = normal(0.3);
        let centre = &centres[i % centres.len()];
        let point: Vec<f32> = centre.iter().zip(noise).map(|(c, n)| c + n).collect();
        rows.push_point(&point);
    }
    rows
}

fn point(rows: &Rows, row: usize) -> Vec<f64> {
    let scale = rows.scale(row) as f64;
    rows.code(row).iter().map(|&i| scale * i as f64).collect()
}

fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

fn training(lists: usize) -> Training<'static> {
    Training {
        lists,
        iterations: 8,
        seed: 1,
        sphere: None,
    }
}

#[test]
fn every_row_gets_its_nearest_list_on_every_path() {
    for (dims, lists) in [
        (1, 1),
        (3, 7),
        (64, 64),
        (65, 65),
        (100, 200),
        (384, 130),
        (600, 70),
    ] {
        let rows = clustered(dims, 500, 20, 1);
        let centroids = clustered(dims, lists, 20, 2);
        let expected: Vec<(f64, usize)> = (0..rows.len())
            .map(|row| {
                let row = point(&rows, row);
                let all = (0..lists).map(|list| (squared(&row, &point(&centroids, list)), list));
                all.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
            })
            .collect();
        let first = Lists::with(Isa::Portable, &centroids, usize::MAX).nearest(&rows, &mut Alone);
        for (near, (distance, list)) in first.iter().zip(expected) {
            let slack = 1e-4 * (1.0 + distance);
            assert!((near.distance as f64 - distance).abs() < slack);
            let found = squared(
                &point(
                    &rows,
                    first.iter().position(|n| std::ptr::eq(n, near)).unwrap(),
                ),
                &point(&centroids, near.list as usize),
            );
            assert!(near.list as usize == list || found < distance + slack);
        }
        for isa in Isa::available() {
            let got = Lists::with(isa, &centroids, usize::MAX).nearest(&rows, &mut Threads(3));
            assert_eq!(got, first, "{isa:?} {dims} {lists}");
        }
        for (row, near) in first.iter().enumerate() {
            let alone = nearest_to(&centroids, &rows, row);
            assert!((alone.distance - near.distance).abs() <= 1e-4 * (1.0 + near.distance));
            let found = squared(&point(&rows, row), &point(&centroids, alone.list as usize));
            assert!(alone.list == near.list || (found as f32 - near.distance).abs() < 1e-4);
        }
    }
}

/// 6,000 rows of 40 clusters in 300 lists, whose centroids move once more after half of a training.
#[test]
fn rows_find_their_lists_again_among_those_around() {
    let rows = clustered(64, 6_000, 40, 3);
    let half = Training {
        iterations: 4,
        ..training(300)
    };
    let before = train(&rows, half, &mut Threads(2));
    let nearest = Lists::of(&before).nearest(&rows, &mut Threads(2));
    // what did not move is found for certain
    let lists = Lists::of(&before);
    assert!(lists.are_many());
    assert_eq!(lists.nearest_again(&rows, &nearest, &mut Alone), nearest);
    let mut sums = vec![(vec![0.0; 64], 0); before.len()];
    for (row, near) in nearest.iter().enumerate() {
        let (sum, count) = &mut sums[near.list as usize];
        sum.iter_mut()
            .zip(point(&rows, row))
            .for_each(|(sum, x)| *sum += x);
        *count += 1;
    }
    let mut after = Rows::new(64);
    for (sum, count) in sums {
        let mean: Vec<f32> = sum
            .iter()
            .map(|x| (x / count.max(1) as f64) as f32)
            .collect();
        after.push_point(&mean);
    }
    let expected = Lists::of(&after).nearest(&rows, &mut Threads(2));
    let found = Lists::of(&after).nearest_again(&rows, &nearest, &mut Threads(2));
    let again: Vec<_> = Isa::available()
        .into_iter()
        .map(|isa| Lists::with(isa, &after, usize::MAX).nearest_again(&rows, &nearest, &mut Alone))
        .collect();
    assert!(again.iter().all(|again| *again == found));
    let same = expected.iter().zip(&found).filter(|(a, b)| a == b).count();
    assert!(same >= 5_900, "{same}");
}

#[test]
fn the_second_list_has_the_least_loss_of_soar_on_every_path() {
    for (dims, lists) in [(3, 2), (48, 20), (100, 900)] {
        let rows = clustered(dims, 3000, 20, 1);
        let centroids = train(&rows, training(lists), &mut Threads(2));
        let lists = centroids.len();
        let first =
            Lists::with(Isa::Portable, &centroids, usize::MAX).nearest_two(&rows, &mut Alone);
        let nearest = Lists::of(&centroids).nearest(&rows, &mut Alone);
        let mut best = 0;
        for (row, pair) in first.iter().enumerate() {
            assert_eq!(pair.first, nearest[row].list);
            assert_ne!(pair.first, pair.second);
            let x = point(&rows, row);
            let c = point(&centroids, pair.first as usize);
            let loss = |list: usize| {
                let other = point(&centroids, list);
                let along: f64 = (0..dims).map(|i| (x[i] - c[i]) * (x[i] - other[i])).sum();
                squared(&x, &other) + 2.0 * along * along / squared(&x, &c)
            };
            let least = (0..lists).filter(|&list| list != pair.first as usize);
            let least = least.map(loss).fold(f64::INFINITY, f64::min);
            best += (loss(pair.second as usize) <= least * (1.0 + 1e-4)) as usize;
        }
        // only the nearest lists are looked at, and these are three rows each
        assert!(best >= 2550, "{dims} {lists}: {best}");
        for isa in Isa::available() {
            let got = Lists::with(isa, &centroids, usize::MAX).nearest_two(&rows, &mut Threads(3));
            assert_eq!(got, first, "{isa:?} {dims} {lists}");
        }
        let same = |&(row, pair): &(usize, &Pair)| two_nearest_to(&centroids, &rows, row) == *pair;
        let same = first.iter().enumerate().filter(same).count();
        // roundings may differ
        assert!(same >= 2990, "{dims} {lists}: {same}");
    }
    let (rows, one) = (clustered(8, 10, 2, 1), clustered(8, 1, 1, 2));
    let pairs = Lists::of(&one).nearest_two(&rows, &mut Alone);
    assert_eq!(pairs, vec![Pair::default(); 10]);
}

#[test]
fn k_means_finds_the_centres_whatever_the_number_of_threads() {
    let rows = clustered(32, 3000, 30, 3);
    let centroids = train(&rows, training(60), &mut Alone);
    assert_eq!(centroids.len(), 60);
    assert_eq!(train(&rows, training(60), &mut Threads(3)), centroids);
    let nearest = Lists::of(&centroids).nearest(&rows, &mut Alone);
    let mean = nearest.iter().map(|near| near.distance as f64).sum::<f64>() / 3000.0;
    // the noise has a variance of 0.09 in each of 32 dimensions
    assert!(mean < 1.15 * 0.09 * 32.0, "{mean}");
    let other = Training {
        seed: 2,
        ..training(60)
    };
    assert_ne!(train(&rows, other, &mut Alone), centroids);
}

#[test]
fn each_cluster_gets_centroids_of_its_own_wherever_the_first_ones_were() {
    for seed in 0..40 {
        // of 48 first ones none is in a given cluster of 16 in one case of 20
        let rows = clustered(48, 2400, 16, seed);
        let training = Training {
            seed,
            ..training(48)
        };
        let centroids = train(&rows, training, &mut Alone);
        let nearest = Lists::of(&centroids).nearest(&rows, &mut Alone);
        let farthest = nearest.iter().map(|near| near.distance).fold(0.0, f32::max);
        // centres are 48 * 2 apart, as squares, and rows 48 * 0.09 from their own
        assert!(
            farthest < 20.0,
            "seed {seed}: a row is {farthest} from its list"
        );
    }
}

#[test]
fn k_means_of_fewer_different_rows_than_lists_has_one_list_for_each() {
    let mut rows = Rows::new(5);
    for i in 0..40 {
        rows.push_point(&[1.0, (i % 4) as f32, 0.0, 0.0, 0.0]);
    }
    let centroids = train(&rows, training(16), &mut Alone);
    let nearest = Lists::of(&centroids).nearest(&rows, &mut Alone);
    assert!(nearest.iter().all(|near| near.distance < 1e-3));
    assert!((4..=16).contains(&centroids.len()));
    let mut one = Rows::new(5);
    one.push_point(&[0.0; 5]);
    assert_eq!(train(&one, training(10), &mut Alone).len(), 1);
}

#[test]
fn no_list_stays_empty_while_another_has_many_rows() {
    let rows = clustered(16, 2000, 5, 4);
    let centroids = train(&rows, training(100), &mut Alone);
    let nearest = Lists::of(&centroids).nearest(&rows, &mut Alone);
    let mut sizes = vec![0; centroids.len()];
    nearest
        .iter()
        .for_each(|near| sizes[near.list as usize] += 1);
    assert!(
        sizes.iter().filter(|&&size| size == 0).count() <= 2,
        "{sizes:?}"
    );
    assert!(*sizes.iter().max().unwrap() < 200, "{sizes:?}");
}

#[test]
fn spherical_centroids_have_length_one() {
    let rows = clustered(24, 500, 5, 4);
    let origin: Vec<f32> = (0..24).map(|i| 0.1 * i as f32).collect();
    let asked = Training {
        sphere: Some(&origin),
        ..training(10)
    };
    let centroids = train(&rows, asked, &mut Alone);
    for list in 0..centroids.len() {
        let point = point(&centroids, list);
        let squared: f64 = point
            .iter()
            .zip(&origin)
            .map(|(x, &o)| (x + o as f64).powi(2))
            .sum();
        assert!((squared.sqrt() - 1.0).abs() < 0.02, "{squared}");
    }
}

#[test]
fn halves_are_two_clusters_where_there_are_two() {
    let rows = clustered(40, 300, 2, 5);
    for seed in 0..5 {
        let halves = split(&rows, seed);
        assert!((2..300).all(|row| halves.in_second[row] == halves.in_second[row % 2]));
        assert_ne!(halves.in_second[0], halves.in_second[1]);
        assert_eq!(split(&rows, seed), halves);
    }
}

#[test]
fn no_half_has_less_than_a_quarter() {
    let mut rows = clustered(10, 200, 1, 6);
    rows.push_point(&[100.0; 10]);
    for seed in 0..5 {
        let second = split(&rows, seed).in_second.iter().filter(|&&s| s).count();
        assert!((50..=151).contains(&second), "{second}");
    }
    let mut equal = Rows::new(3);
    (0..9).for_each(|_| equal.push_point(&[1.0, 2.0, 3.0]));
    let second = split(&equal, 1).in_second.iter().filter(|&&s| s).count();
    assert!((2..=7).contains(&second), "{second}");
    let mut two = Rows::new(1);
    two.push_point(&[0.0]);
    two.push_point(&[0.0]);
    assert_eq!(split(&two, 1).in_second.iter().filter(|&&s| s).count(), 1);
}

#[test]
fn bytes_of_a_point_are_near_it() {
    let mut random = fastrand::Rng::with_seed(7);
    for dims in [1, 10, 500] {
        let point: Vec<f32> = (0..dims).map(|_| random.f32() - 0.5).collect();
        let mut code = vec![0; dims];
        let scale = nearest_bytes(&point, &mut code);
        for (x, i) in point.iter().zip(code) {
            assert!((x - scale * i as f32).abs() <= 0.6 * 0.5 / 127.0);
        }
    }
}

/// In groups, nearly all rows find their nearest list, and the others one hardly farther.
#[test]
fn groups_of_lists_lose_little() {
    let rows = clustered(48, 2000, 40, 8);
    let asked = training(300);
    let centroids = train::train_beyond(50, &rows, asked, &mut Alone);
    assert!(
        (285..=300).contains(&centroids.len()),
        "{}",
        centroids.len()
    );
    assert_eq!(
        train::train_beyond(50, &rows, asked, &mut Threads(3)),
        centroids
    );
    let exact = Lists::with(Isa::best(), &centroids, usize::MAX).nearest(&rows, &mut Alone);
    let exact_two = Lists::with(Isa::best(), &centroids, usize::MAX).nearest_two(&rows, &mut Alone);
    let flat = train(&rows, asked, &mut Alone);
    let of_flat = Lists::of(&flat).nearest(&rows, &mut Alone);
    let sum = |all: &[Near]| all.iter().map(|near| near.distance as f64).sum::<f64>();
    assert!(
        sum(&exact) < 1.05 * sum(&of_flat),
        "{} {}",
        sum(&exact),
        sum(&of_flat)
    );
    for isa in Isa::available() {
        let grouped = Lists::with(isa, &centroids, 50);
        let nearest = grouped.nearest(&rows, &mut Threads(2));
        let same = nearest.iter().zip(&exact).filter(|(a, b)| a.list == b.list);
        assert!(same.count() >= 1980);
        assert!(sum(&nearest) < 1.001 * sum(&exact));
        let two = grouped.nearest_two(&rows, &mut Threads(2));
        let same = two.iter().zip(&exact_two).filter(|(a, b)| a == b).count();
        assert!(same >= 1950, "{isa:?} {same}");
    }
}

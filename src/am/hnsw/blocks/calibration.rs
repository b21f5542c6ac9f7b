//! The calibration curve on the metapage: measured by the build, by VACUUM, and by inserts.

use super::index::Blocks;
use crate::am::hnsw::place;
use crate::hnsw::blocks::calibrate::Calibration;
use crate::hnsw::blocks::format::{CurvePoint, MOST_CURVE_POINTS};
use crate::hnsw::format::Meta;
use crate::pg::change::Logging;
use bytemuck::Zeroable;
use std::cell::RefCell;

/// What was measured and is not on the metapage yet.
pub type Measured = Calibration;

/// Indexes whose measurements a backend keeps at hand.
const MOST_INDEXES: usize = 8;

thread_local! {
    /// What inserts of this backend measured, by the seed of the rotation, which no two indexes
    /// share: single-row statements add up.
    static KEPT: RefCell<Vec<(u64, Measured)>> = const { RefCell::new(Vec::new()) };
}

/// Takes out what was kept for an index.
pub fn take(seed: u64) -> Measured {
    KEPT.with_borrow_mut(|kept| {
        let at = kept.iter().position(|(known, _)| *known == seed);
        at.map_or_else(Measured::default, |at| kept.swap_remove(at).1)
    })
}

/// Keeps what was measured until there is more.
pub fn keep(seed: u64, measured: Measured) {
    KEPT.with_borrow_mut(|kept| {
        if kept.len() == MOST_INDEXES {
            kept.remove(0);
        }
        kept.push((seed, measured));
    });
}

/// Puts a measured curve on the metapage. `weight` is its share where there is one already.
pub fn store(blocks: &Blocks, logging: Logging, measured: &Measured, nodes: u64, weight: f32) {
    let curve = measured.curve();
    if curve.is_empty() {
        return;
    }
    place::change_meta(&blocks.hnsw, logging, |meta| {
        set(meta, &curve, nodes, weight)
    });
}

fn set(meta: &mut Meta, curve: &[CurvePoint], nodes: u64, weight: f32) {
    let before = meta.curve();
    let comparable = before.len() == curve.len()
        && before
            .iter()
            .zip(curve)
            .all(|(a, b)| a.multiple == b.multiple);
    let weight = if comparable { weight } else { 1.0 };
    let mut after = [CurvePoint::zeroed(); MOST_CURVE_POINTS];
    for (i, point) in curve.iter().enumerate() {
        after[i] = CurvePoint {
            multiple: point.multiple,
            recall: if weight < 1.0 {
                weight * point.recall + (1.0 - weight) * meta.curve[i].recall
            } else {
                point.recall
            },
        };
    }
    meta.curve = after;
    meta.curve_len = curve.len() as u32;
    meta.calibrated_nodes = nodes.min(u32::MAX as u64) as u32;
}

//! An index that was created empty, and learns from the rows that come.

use super::pages::{Deleted, Pages};
use super::{KINDS, operator_of, recall};
use crate::hnsw::{check_rows, number, server_with};

#[test]
fn an_index_created_empty_is_calibrated_by_inserts_and_finds_its_rows() {
    let (server, mut client) = server_with("");
    for (table, class, dims, options) in KINDS {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector({dims}));
                 CREATE INDEX {table}_v ON {table} USING hnsw (v {class}) {options};
                 INSERT INTO {table} SELECT i, vec(i, {dims}) FROM generate_series(1, 3000) i"
            ))
            .unwrap();
        let points = number(
            &mut client,
            &format!(
                "SELECT coalesce(cardinality(calibration_multiples), 0)::bigint FROM vector_index_stats('{table}_v')"
            ),
        );
        assert!(points > 0, "{table}: no calibration curve");
        let graph = Pages::of(&server, &mut client, &format!("{table}_v")).check(Deleted::Nowhere);
        assert_eq!(graph.nodes, 3000, "{table}");
        assert!(graph.reached >= 2990, "{table}: {graph:?}");
        assert!(graph.entries >= 60, "{table}: {graph:?}");
        check_rows(&mut client, table, operator_of(class));
        let recall = recall(&mut client, table, operator_of(class), *dims);
        // uniform values are the hardest; the curve, measured while the index grew, promises 0.95
        assert!(recall >= 0.87, "{table}: recall {recall}");
    }
}

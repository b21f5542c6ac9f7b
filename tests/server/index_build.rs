//! What a build owes its rows.

use crate::harness::Server;

/// On a line each node has only its neighbours on the line for a way to the rest: one node that
/// a thread places while looking at an unfinished neighbour cuts the line in two.
#[test]
fn rows_on_a_line_stay_reachable_however_threads_interleave() {
    let (_server, mut client) = Server::start_with_extension();
    client
        .batch_execute(
            "CREATE TABLE line (id int, v vector(3));
             INSERT INTO line SELECT i, ARRAY[i * 0.5, 1.5, 0]::vector FROM generate_series(1, 300) i;
             CREATE TABLE queries AS SELECT id, v + '[0.1,0,0]' AS v FROM line
                 WHERE id BETWEEN 2 AND 299;
             SET enable_seqscan = off;
             SET max_parallel_maintenance_workers = 3",
        )
        .unwrap();
    for build in 0..20 {
        client
            .batch_execute("CREATE INDEX line_v ON line USING hnsw (v vector_l2_ops)")
            .unwrap();
        let wrong: i64 = client
            .query_one(
                "SELECT count(*) FROM queries q WHERE ARRAY[id, id + 1, id - 1] <>
                 ARRAY(SELECT id FROM line ORDER BY v <-> q.v LIMIT 3)",
                &[],
            )
            .unwrap()
            .get(0);
        assert_eq!(wrong, 0, "searches with a wrong answer after build {build}");
        client.batch_execute("DROP INDEX line_v").unwrap();
    }
}

//! Statements that applications seldom make and may: cursors that outlive what they read, tables that change
//! under prepared statements, partitions, two-phase commits. Every index gives every row, once, and is sound.

use postgres::Client;

use crate::forms::{COLUMNS, check, rows, run, with_each_form};
use crate::harness::{explain, sqlstate_of};
use crate::hnsw::check::assert_sound;
use crate::hnsw::number;

#[test]
fn cursors_outlive_transactions_updates_and_their_index() {
    with_each_form(|client, _| {
        run(
            client,
            &[
                "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY v <-> vec(3, 16); FETCH 3 FROM held; COMMIT",
            ],
        );
        run(
            client,
            &[
                "DELETE FROM t WHERE id > 1000",
                "VACUUM t",
                "DROP INDEX t_v",
            ],
        );
        assert_eq!(
            client.query("FETCH ALL FROM held", &[]).unwrap().len(),
            1497
        );
        run(client, &["CLOSE held"]);
    });
    with_each_form(|client, form| {
        let ids = |client: &mut Client, query: &str| -> Vec<i64> {
            let rows = client.query(query, &[]).unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        };
        run(
            client,
            &[
                "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM t ORDER BY v <-> vec(3, 16) LIMIT 200",
            ],
        );
        let forward = ids(client, "FETCH 200 FROM c");
        let mut backward = ids(client, "FETCH BACKWARD ALL FROM c");
        backward.reverse();
        assert_eq!(
            (forward.len(), &forward[..199]),
            (200, &backward[..199]),
            "{form}"
        );
        assert_eq!(ids(client, "FETCH ABSOLUTE 50 FROM c"), forward[49..50]);
        run(client, &["COMMIT"]);
        // rows change under the scan that finds them
        run(
            client,
            &["BEGIN; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> vec(3, 16) FOR UPDATE; FETCH 2 FROM c;
               UPDATE t SET v = vec(-id, 16) WHERE CURRENT OF c; FETCH 2 FROM c; DELETE FROM t WHERE CURRENT OF c"],
        );
        assert_eq!(ids(client, "FETCH ALL FROM c").len(), 1496);
        run(client, &["COMMIT"]);
        assert_eq!(
            sqlstate_of(
                client,
                "BEGIN; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> vec(3, 16); FETCH 1 FROM c; DROP INDEX t_v"
            ),
            "55006"
        );
        run(client, &["ROLLBACK"]);
        check(client, "t");
    });
}

#[test]
fn prepared_statements_follow_what_becomes_of_tables_and_indexes() {
    with_each_form(|client, form| {
        run(
            client,
            &["PREPARE nearest(vector) AS SELECT id FROM t ORDER BY v <-> $1 LIMIT 10"],
        );
        let create = format!("CREATE INDEX t_v ON t USING {form}");
        for change in [
            "SET plan_cache_mode = force_generic_plan",
            "REINDEX INDEX t_v",
            "REINDEX INDEX CONCURRENTLY t_v",
            "ALTER INDEX t_v RENAME TO t_w",
            "ALTER INDEX t_w RENAME TO t_v",
            "DROP INDEX t_v",
            &create,
            "VACUUM FULL t",
            "ALTER TABLE t SET UNLOGGED",
            "ALTER TABLE t SET LOGGED",
            "ALTER TABLE t ALTER v TYPE vector(16) USING v + v",
            "ALTER TABLE t ALTER v TYPE vector(8) USING subvector(v, 1, 8)",
            "ALTER TABLE t ALTER v TYPE vector(16) USING v || v",
        ] {
            run(client, &[change]);
            let dims = if change.contains("vector(8)") { 8 } else { 16 };
            let found = client.simple_query(&format!("EXECUTE nearest(vec(1, {dims}))"));
            let found = found.unwrap_or_else(|error| panic!("{change}: {error:?}"));
            let is_row = |message: &&postgres::SimpleQueryMessage| {
                matches!(message, postgres::SimpleQueryMessage::Row(_))
            };
            assert_eq!(found.iter().filter(is_row).count(), 10, "{change}");
        }
        assert_eq!(sqlstate_of(client, "EXECUTE nearest('[1,2]')"), "22000");
        run(client, &["EXECUTE nearest(NULL)"]);
        check(client, "t");
        assert_eq!(sqlstate_of(client, "CLUSTER t USING t_v"), "0A000");
    });
}

#[test]
fn a_column_that_loses_its_dimensions_keeps_its_index() {
    with_each_form(|client, form| {
        run(
            client,
            &["ALTER TABLE t ALTER v TYPE vector", &rows("t", 1501, 1600)],
        );
        check(client, "t");
        // the index goes on with its own
        assert_eq!(
            sqlstate_of(client, "INSERT INTO t VALUES (0, '[1,2]', '')"),
            "22000"
        );
        assert_eq!(
            sqlstate_of(client, "SELECT id FROM t ORDER BY v <-> '[1,2]' LIMIT 1"),
            "22000"
        );
        run(client, &["DELETE FROM t WHERE id % 3 = 0", "VACUUM t"]);
        check(client, "t");
        assert_eq!(sqlstate_of(client, "REINDEX INDEX t_v"), "22023", "{form}");
        run(
            client,
            &["ALTER TABLE t ALTER v TYPE vector(16)", "REINDEX INDEX t_v"],
        );
        check(client, "t");
    });
}

#[test]
fn transactions_that_empty_tables_fail_in_parts_or_commit_in_two_phases() {
    with_each_form(|client, _| {
        let (few, more, others) = (
            rows("t", 1, 300),
            rows("t", 301, 600),
            rows("t", 2001, 2300),
        );
        run(
            client,
            &[&format!(
                "BEGIN; TRUNCATE t; {few}; SELECT id FROM t ORDER BY v <-> vec(3, 16) LIMIT 5; ROLLBACK"
            )],
        );
        check(client, "t");
        run(
            client,
            &[&format!(
                "BEGIN; TRUNCATE t; {few}; SAVEPOINT a; {more}; ROLLBACK TO a; {others}"
            )],
        );
        check(client, "t");
        run(client, &["COMMIT"]);
        check(client, "t");
        assert_eq!(number(client, "SELECT count(*) FROM t"), 600);
        for end in ["ROLLBACK", "COMMIT"] {
            run(
                client,
                &[
                    &format!(
                        "BEGIN; {}; DELETE FROM t WHERE id < 200; PREPARE TRANSACTION 'both'",
                        rows("t", 5001, 5300)
                    ),
                    "VACUUM t",
                ],
            );
            check(client, "t");
            run(client, &[&format!("{end} PREPARED 'both'"), "VACUUM t"]);
            check(client, "t");
        }
        assert_eq!(number(client, "SELECT count(*) FROM t"), 600 + 300 - 199);
        run(
            client,
            &[
                "DO $$ DECLARE r record; n int := 0; BEGIN
                 FOR r IN SELECT id FROM t ORDER BY v <-> vec(5, 16) LOOP
                     n := n + 1;
                     BEGIN
                         INSERT INTO t VALUES (n + 10000, vec(n, 16), '');
                         IF n % 2 = 0 THEN RAISE EXCEPTION 'every other one'; END IF;
                     EXCEPTION WHEN raise_exception THEN NULL;
                     END;
                     EXIT WHEN n = 400;
                 END LOOP;
               END $$",
                "DO $$ DECLARE r record; BEGIN
                 FOR r IN SELECT id FROM t ORDER BY v <-> vec(5, 16) LIMIT 100 LOOP
                     INSERT INTO t VALUES (r.id + 20000, vec(r.id, 16), ''); COMMIT;
                 END LOOP;
               END $$",
            ],
        );
        check(client, "t");
        assert_eq!(number(client, "SELECT count(*) FROM t"), 701 + 200 + 100);
    });
}

#[test]
fn temporary_tables_partitions_and_materialized_views_are_indexed_like_others() {
    with_each_form(|client, form| {
        run(
            client,
            &[
                &format!("CREATE TEMP TABLE fleeting {COLUMNS} ON COMMIT DELETE ROWS"),
                &format!("CREATE INDEX fleeting_v ON fleeting USING {form}"),
                &format!("BEGIN; {}", rows("fleeting", 1, 500)),
            ],
        );
        check(client, "fleeting");
        run(client, &["COMMIT"]);
        check(client, "fleeting");
        run(
            client,
            &[
                "DROP TABLE fleeting",
                &format!("CREATE TABLE parts {COLUMNS} PARTITION BY RANGE (id)"),
                "CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (700)",
                "CREATE TABLE high PARTITION OF parts FOR VALUES FROM (700) TO (10000)",
                &format!("CREATE INDEX parts_v ON parts USING {form}"),
                &rows("parts", 1, 1400),
                &format!(
                    "CREATE TABLE more {COLUMNS}; {}",
                    rows("more", 10001, 10300)
                ),
                "ALTER TABLE parts ATTACH PARTITION more FOR VALUES FROM (10000) TO (20000)",
                "UPDATE parts SET id = id + 800 WHERE id < 100",
            ],
        );
        let all =
            "SELECT count(DISTINCT id) FROM (SELECT id FROM parts ORDER BY v <-> vec(3, 16)) s";
        assert_eq!(number(client, all), 1700 - 99);
        let all = "SELECT count(*) FROM (SELECT id FROM parts ORDER BY v <-> vec(3, 16)) s";
        assert_eq!(number(client, all), 1700);
        let indexes = client
            .query(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_inherits ON c.oid = inhrelid
                 WHERE inhparent = 'parts_v'::regclass",
                &[],
            )
            .unwrap();
        assert_eq!(indexes.len(), 3);
        for index in indexes {
            assert_sound(client, index.get(0));
        }
        for function in [
            "vector_index_check",
            "vector_index_stats",
            "ivf_index_stats",
        ] {
            // a partitioned index has no pages
            assert_eq!(
                sqlstate_of(client, &format!("SELECT {function}('parts_v')")),
                "42809"
            );
        }
        run(
            client,
            &[
                "CREATE MATERIALIZED VIEW view AS SELECT id + row_number() OVER () * 100000 AS id, v, label FROM parts",
                &format!("CREATE INDEX view_v ON view USING {form}"),
                "CREATE UNIQUE INDEX view_id ON view (id)",
            ],
        );
        check(client, "view");
        run(
            client,
            &[
                "DELETE FROM parts WHERE id % 2 = 0",
                "REFRESH MATERIALIZED VIEW view",
            ],
        );
        check(client, "view");
        run(
            client,
            &[
                "DELETE FROM parts WHERE id % 3 = 0",
                "REFRESH MATERIALIZED VIEW CONCURRENTLY view",
            ],
        );
        check(client, "view");
        run(client, &["DROP MATERIALIZED VIEW view", "DROP TABLE parts"]);
    });
}

#[test]
fn values_as_large_as_floats_go_and_limits_of_any_size_are_nothing_special() {
    with_each_form(|client, form| {
        let huge = "INSERT INTO t SELECT 100000 + i, array_fill(i % 2 * 6e38 - 3e38, ARRAY[16])::real[]::vector, '' FROM generate_series(1, 40) i";
        run(client, &[huge]);
        for query in ["3e38", "-3e38", "1e-40", "0"] {
            let nearest = format!(
                "SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> array_fill({query}, ARRAY[16])::vector LIMIT 12) s"
            );
            assert_eq!(number(client, &nearest), 12, "{form}: {query}");
        }
        check(client, "t");
        run(client, &["REINDEX INDEX t_v"]);
        check(client, "t");
        run(client, &["DELETE FROM t WHERE id > 100000", "VACUUM t"]);
        check(client, "t");
        for (limit, wanted) in [
            ("LIMIT 0", 0),
            ("LIMIT NULL", 1500),
            ("LIMIT 9223372036854775807", 1500),
            ("LIMIT 9223372036854775807 OFFSET 9223372036854775807", 0),
            ("LIMIT 50 OFFSET 1490", 10),
            ("FETCH FIRST 10 ROWS WITH TIES", 10),
        ] {
            for memory in ["64kB", "1GB"] {
                run(client, &[&format!("SET work_mem = '{memory}'")]);
                let query = format!(
                    "SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> vec(1, 16) {limit}) s"
                );
                assert_eq!(
                    number(client, &query),
                    wanted,
                    "{form}: {limit} with {memory}"
                );
            }
        }
        assert_eq!(
            sqlstate_of(
                client,
                "SELECT id FROM t ORDER BY v <-> vec(1, 16) LIMIT -1"
            ),
            "2201W"
        );
        // what a statement inserts it does not find
        run(
            client,
            &["INSERT INTO t SELECT id + 5000, v, label FROM t ORDER BY v <-> vec(1, 16)"],
        );
        assert_eq!(number(client, "SELECT count(*) FROM t"), 3000, "{form}");
        run(
            client,
            &[
                "DELETE FROM t USING (SELECT id FROM t ORDER BY v <-> vec(7, 16) LIMIT 30) s WHERE t.id = s.id",
                "UPDATE t SET v = v WHERE id IN (SELECT id FROM t ORDER BY v <-> vec(1, 16) LIMIT 300)",
            ],
        );
        check(client, "t");
        assert_eq!(number(client, "SELECT count(*) FROM t"), 2970);
    });
}

#[test]
fn merge_joins_over_searches_take_rows_that_come_late() {
    let late = std::cell::Cell::new(0);
    with_each_form(|client, form| {
        run(
            client,
            &["SET enable_hashjoin = off; SET enable_nestloop = off"],
        );
        for query in 1..=6 {
            let side = format!("SELECT v <-> vec({query}, 16) AS d FROM t ORDER BY 1");
            let inversions = number(
                client,
                &format!(
                    "SELECT count(*) FROM (SELECT d < lag(d) OVER () AS is_late FROM ({side}) s) s WHERE is_late"
                ),
            );
            late.set(late.get() + inversions);
            // two rows may be as far away, and are joined with each other; `+ 0` is no order of an index
            let pairs = number(
                client,
                &format!(
                    "SELECT sum(n * n)::bigint FROM (SELECT count(*) AS n FROM t GROUP BY (v <-> vec({query}, 16)) + 0) s"
                ),
            );
            for kind in ["JOIN", "FULL JOIN"] {
                let join = format!(
                    "SELECT count(*) FROM ({side}) a {kind} ({side} LIMIT 1500) b USING (d)"
                );
                assert!(explain(client, &join).contains("Merge"), "{form}");
                assert_eq!(number(client, &join), pairs, "{form}: {query}");
            }
        }
    });
    // or there was nothing to be wrong about
    assert!(late.get() > 0);
}

//! Indexes of every form on tables that are alike: what statements do to one is asked of all.

use postgres::Client;

use crate::hnsw::check::assert_sound;
use crate::hnsw::{number, server_with};

/// What comes after USING.
pub const FORMS: [&str; 6] = [
    "hnsw (v vector_l2_ops) WITH (layout = plain)",
    "hnsw (v vector_l2_ops, id, label)",
    "hnsw (v vector_l2_ops) WITH (layout = compact)",
    "ivf (v vector_l2_ops, label) WITH (quantizer = rabitq2, rerank = index)",
    "ivf (v vector_l2_ops) WITH (quantizer = pq)",
    "ivfflat (v vector_l2_ops, id) WITH (lists = 10)",
];

/// Columns of the tables.
pub const COLUMNS: &str = "(id bigint, v vector(16), label text)";

/// Settings with which searches use their index, and find every row when asked for all.
pub const BY_INDEX: &str =
    "SET enable_seqscan = off; SET enable_sort = off; SET ivfflat.probes = 10";

/// SQL that inserts rows.
pub fn rows(table: &str, first: i64, last: i64) -> String {
    format!(
        "INSERT INTO {table} SELECT i, vec(i, 16), 'label ' || i % 3 FROM generate_series({first}, {last}) i"
    )
}

/// Statements one by one, each with its own transaction.
pub fn run(client: &mut Client, statements: &[&str]) {
    for statement in statements {
        client
            .batch_execute(statement)
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

/// All rows of a table come out of its index, each once, for a session with [`BY_INDEX`].
pub fn check(client: &mut Client, table: &str) {
    let found = number(
        client,
        &format!(
            "SELECT count(DISTINCT id) FROM (SELECT id FROM {table} ORDER BY v <-> vec(3, 16)) s"
        ),
    );
    let all = number(
        client,
        &format!("SELECT count(*) FROM {table} WHERE id > -1"),
    );
    assert_eq!(found, all, "{table}");
    assert_sound(client, &format!("{table}_v"));
}

/// For each form of index: a session on a table `t` of 1,500 rows with it.
pub fn with_each_form(test: impl Fn(&mut Client, &str)) {
    let (_server, mut client) = server_with("max_prepared_transactions = 2");
    for form in FORMS {
        client
            .batch_execute(&format!(
                "CREATE TABLE t {COLUMNS}; {}; CREATE INDEX t_v ON t USING {form}; ANALYZE t; {BY_INDEX}",
                rows("t", 1, 1500)
            ))
            .unwrap();
        test(&mut client, form);
        client
            .batch_execute("DEALLOCATE ALL; DROP TABLE t; RESET ALL")
            .unwrap();
    }
}

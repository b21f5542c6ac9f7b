//! Any WHERE clause, no settings: rows that come out of filtered searches against exact results.

/// Tests that an index of every access method has to pass: functions of its name.
macro_rules! of_every_method {
    ($($test:ident,)*) => {
        mod hnsw {
            $(#[test] fn $test() { super::$test("hnsw") })*
        }
        mod ivf {
            $(#[test] fn $test() { super::$test("ivf") })*
        }
    };
}

mod bitmaps;
mod changes;
mod columns;
mod distances;
mod odd_queries;
mod pages;
mod plans;
mod shapes;
mod spheres;
mod tenants;
mod where_clauses;
mod wordnet;

use postgres::Client;

use crate::harness::Server;

/// Tight clusters, far from each other: where a filter and nearness have to do with each other,
/// a search that filters after the fact comes back short.
const CLUSTERS: usize = 40;
/// Rows of the table, as many of each cluster.
const ROWS: usize = 8_000;
/// Queries of a judgement.
const QUERIES: usize = 25;

/// Searches aim at a recall of 0.95 on average; so many queries differ from it by this much.
const LEAST_RECALL: f64 = 0.95 - 0.05;

/// `items` (id, cluster, e, u uniform in [0, 1), metadata) and `queries` (n, cluster, e): values
/// near the centres of clusters, the same in every run.
fn tables() -> String {
    format!(
        "CREATE FUNCTION random_of(a bigint, b bigint) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
         RETURN abs(hashint8extended(a, b) % 1000003) / 1000003.0::float8;
         CREATE TABLE centres AS
         SELECT c, array_agg(random_of(c, 7000 + d) * 2 - 1) AS v
         FROM generate_series(0, {CLUSTERS} - 1) c, generate_series(1, 48) d GROUP BY c;
         CREATE FUNCTION near(i bigint, centre float8[]) RETURNS vector LANGUAGE sql IMMUTABLE
         RETURN (SELECT array_agg(centre[d] + 0.4 * (random_of(i, d) + random_of(i, d + 100) - 1))::vector
                 FROM generate_series(1, 48) d);
         CREATE TABLE items (id int PRIMARY KEY, cluster int NOT NULL, e vector(48), u float8, metadata jsonb);
         INSERT INTO items
         SELECT i, c, near(i, v), random_of(i, 999),
                jsonb_build_object('k', 'v' || i * 7919 % 1000, 'c', c, 'even', i % 2 = 0)
         FROM generate_series(1, {ROWS}) i JOIN centres ON c = i % {CLUSTERS};
         CREATE TABLE queries AS
         SELECT n, c AS cluster, near(-n, v) AS e
         FROM generate_series(1, {QUERIES}) n JOIN centres ON c = n * 7 % {CLUSTERS};"
    )
}

/// A server with the tables and an index on `e`, without statistics.
fn server(index: &str) -> (Server, Client) {
    let (server, mut client) = Server::start_with_extension();
    client.batch_execute(&tables()).unwrap();
    client.batch_execute(index).unwrap();
    (server, client)
}

/// The same with an index of an access method.
fn server_of(method: &str) -> (Server, Client) {
    server(&format!(
        "CREATE INDEX items_e ON items USING {method} (e vector_cosine_ops)"
    ))
}

/// Only an index scan in order, unless it cannot be.
pub const FORCED: &str = "SET enable_indexscan = on; SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off";
/// Only what is exact.
pub const EXACT: &str = "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_seqscan = on; SET enable_sort = on";
/// As a session begins.
const DEFAULTS: &str =
    "RESET enable_seqscan; RESET enable_sort; RESET enable_bitmapscan; RESET enable_indexscan";

/// A search: SQL in which `$1` is the query's vector and `$2` its cluster, which selects
/// `(id int, d float8)`.
struct Search<'a> {
    sql: &'a str,
    /// rows before which fewer than all are wrong
    least_recall: f64,
}

/// What a search found over all queries.
#[derive(Debug)]
struct Verdict {
    recall: f64,
    /// queries with fewer rows than the exact result
    short: usize,
    /// rows nearer than the one before
    disordered: usize,
    /// rows that are not in the exact answer of the same filter, or come twice
    wrong: usize,
}

impl Search<'_> {
    /// The default bar.
    fn of(sql: &str) -> Search<'_> {
        Search {
            sql,
            least_recall: LEAST_RECALL,
        }
    }

    /// Rows of one query.
    fn rows(&self, client: &mut Client, query: &(String, i32)) -> Vec<(i32, f64)> {
        let sql = self.sql.replace("$1", &format!("'{}'::vector", query.0));
        let sql = sql.replace("$2", &query.1.to_string());
        let rows = client
            .query(&sql, &[])
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// Compares with the exact answers, under settings that `settings` makes.
    fn judge(&self, client: &mut Client, settings: &str) -> Verdict {
        let queries = queries(client);
        client.batch_execute(EXACT).unwrap();
        let exact: Vec<_> = queries.iter().map(|q| self.rows(client, q)).collect();
        client.batch_execute(DEFAULTS).unwrap();
        client.batch_execute(settings).unwrap();
        let found: Vec<_> = queries.iter().map(|q| self.rows(client, q)).collect();
        client.batch_execute(DEFAULTS).unwrap();
        judge(&exact, &found)
    }

    /// The recall; what promise is broken, if one is.
    fn check(&self, client: &mut Client, settings: &str) -> Result<f64, String> {
        let verdict = self.judge(client, settings);
        let is_right =
            verdict.recall >= self.least_recall && verdict.short == 0 && verdict.disordered == 0;
        match is_right {
            true => Ok(verdict.recall),
            false => Err(format!("{verdict:?} from {} with {settings}", self.sql)),
        }
    }

    /// Asserts every promise; the recall.
    fn holds(&self, client: &mut Client, settings: &str) -> f64 {
        match self.check(client, settings) {
            Ok(recall) => recall,
            Err(failure) => panic!("{failure}"),
        }
    }
}

/// Asserts that searches have found what they aim at: single ones may be off by chance, all together may not.
fn holds_on_average(recalls: &[f64]) {
    let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
    assert!(mean >= 0.95, "{mean}: {recalls:?}");
}

fn queries(client: &mut Client) -> Vec<(String, i32)> {
    let rows = client
        .query("SELECT e::text, cluster FROM queries ORDER BY n", &[])
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn judge(exact: &[Vec<(i32, f64)>], found: &[Vec<(i32, f64)>]) -> Verdict {
    let mut verdict = Verdict {
        recall: 0.0,
        short: 0,
        disordered: 0,
        wrong: 0,
    };
    let (mut wanted, mut right) = (0, 0);
    for (exact, found) in exact.iter().zip(found) {
        let farthest = exact.last().map_or(f64::NEG_INFINITY, |&(_, d)| d);
        let mut ids: Vec<i32> = found.iter().map(|&(id, _)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        verdict.wrong += found.len() - ids.len();
        verdict.short += (found.len() < exact.len()) as usize;
        verdict.wrong += found.len().saturating_sub(exact.len());
        verdict.disordered += found.windows(2).filter(|two| two[1].1 < two[0].1).count();
        wanted += exact.len();
        right += found.iter().filter(|&&(_, d)| d <= farthest).count();
    }
    verdict.recall = if wanted == 0 {
        1.0
    } else {
        right as f64 / wanted as f64
    };
    assert_eq!(verdict.wrong, 0, "{verdict:?}");
    verdict
}

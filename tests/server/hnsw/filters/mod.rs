//! Filter columns: conditions that an index scan judges itself.

mod changes;
pub mod recall;
pub mod types;

use postgres::Client;

use super::number;
use crate::filters::{EXACT, FORCED};

/// What a filtered search gave, beside what it should have.
#[derive(Debug, Default)]
pub struct Outcome {
    /// rows asked for, of those that there are
    pub wanted: usize,
    /// rows returned
    pub rows: usize,
    /// rows returned that are no farther than the last of the true ones
    pub right: usize,
    /// heap tuples that the scans handed to the executor
    pub handed_out: i64,
    /// most nodes that a scan expanded
    expanded: i64,
}

impl Outcome {
    pub fn recall(&self) -> f64 {
        match self.wanted {
            0 => 1.0,
            wanted => self.right as f64 / wanted as f64,
        }
    }

    pub fn add(&mut self, other: &Outcome) {
        self.wanted += other.wanted;
        self.rows += other.rows;
        self.right += other.right;
        self.handed_out += other.handed_out;
        self.expanded = self.expanded.max(other.expanded);
    }

    /// k rows, at the recall promised less three standard errors of so few rows, and nothing filtered
    /// after the fact.
    pub fn check(&self, what: &str) {
        assert_eq!(self.rows, self.wanted, "rows of {what}: {self:?}");
        let error = (0.95 * 0.05 / self.wanted.max(1) as f64).sqrt();
        assert!(
            self.recall() >= 0.95 - 3.0 * error,
            "recall of {what}: {self:?}"
        );
        assert!(
            self.handed_out <= self.rows as i64 + self.rows as i64 / 50 + 2,
            "the executor threw rows of {what} away: {self:?}"
        );
    }
}

pub fn text(vector: &[f32]) -> String {
    let elements: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", elements.join(","))
}

/// Searches of `table (id, v)` for the nearest that meet a condition.
pub struct Search<'a> {
    pub table: &'a str,
    pub condition: &'a str,
    pub operator: &'a str,
    pub k: usize,
}

impl Search<'_> {
    /// Searches by the index, and compares with a sort. `look` sees the session after each search.
    pub fn judge(
        &self,
        client: &mut Client,
        queries: &[String],
        mut look: impl FnMut(&mut Client, &mut Outcome),
    ) -> Outcome {
        let Search {
            table,
            condition,
            operator,
            k,
        } = self;
        let mut outcome = Outcome::default();
        for query in queries {
            let sql = format!(
                "SELECT v {operator} '{query}' FROM {table} WHERE {condition}
                 ORDER BY v {operator} '{query}' LIMIT {k}"
            );
            client.batch_execute(FORCED).unwrap();
            let found = distances(client, &sql);
            look(client, &mut outcome);
            client.batch_execute(EXACT).unwrap();
            let exact = distances(client, &sql);
            assert!(found.is_sorted(), "{sql}: {found:?}");
            let farthest = exact.last().copied().unwrap_or(f64::NEG_INFINITY);
            outcome.wanted += exact.len();
            outcome.rows += found.len();
            outcome.right += found.iter().filter(|&&d| d <= farthest).count();
        }
        outcome
    }
}

fn distances(client: &mut Client, sql: &str) -> Vec<f64> {
    let rows = client
        .query(sql, &[])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Searches `table (id, v)` by its index, with a condition, and compares with a sort.
fn search(
    client: &mut Client,
    table: &str,
    condition: &str,
    operator: &str,
    queries: &[String],
    k: usize,
) -> Outcome {
    let search = Search {
        table,
        condition,
        operator,
        k,
    };
    search.judge(client, queries, |client, outcome| {
        let scan = client
            .query_one("SELECT returned, expanded FROM hnsw_last_scan()", &[])
            .unwrap();
        outcome.handed_out += scan.get::<_, i64>(0);
        outcome.expanded = outcome.expanded.max(scan.get(1));
    })
}

/// Whether all rows of `table (id, v)` that meet a condition, and no others, come out of its index.
pub fn check_rows(client: &mut Client, table: &str, condition: &str, operator: &str) {
    let ids = |client: &mut Client| -> Vec<i32> {
        let sql = format!(
            "SELECT id FROM {table} WHERE {condition} ORDER BY v {operator} (SELECT v FROM {table} LIMIT 1)"
        );
        let rows = client
            .query(&sql, &[])
            .unwrap_or_else(|error| panic!("{condition}: {error:?}"));
        let mut ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        ids.sort_unstable();
        ids
    };
    client.batch_execute(FORCED).unwrap();
    let found = ids(client);
    client.batch_execute(EXACT).unwrap();
    assert_eq!(found, ids(client), "rows of {table} where {condition}");
}

/// The plan of a search with a condition, as EXPLAIN tells it.
pub fn plan(client: &mut Client, table: &str, condition: &str) -> String {
    client.batch_execute(FORCED).unwrap();
    let sql = format!(
        "EXPLAIN (COSTS OFF) SELECT id FROM {table} WHERE {condition}
         ORDER BY v <-> (SELECT v FROM {table} LIMIT 1) LIMIT 10"
    );
    let rows = client.query(&sql, &[]).unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

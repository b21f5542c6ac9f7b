//! A scan that waits in the middle, while others change what is under it.

use std::collections::BTreeSet;

use postgres::Client;

use crate::harness::Server;

/// A cursor over all rows of `table (id, v)`, nearest first. Its snapshot does not see what was deleted
/// before, so that VACUUM may take that out under it.
pub struct Suspended {
    client: Client,
    table: &'static str,
    got: Vec<i64>,
}

impl Suspended {
    /// A scan around a vector, an SQL expression, that has handed out its first rows.
    pub fn begin(server: &Server, table: &'static str, vector: &str) -> Suspended {
        let mut client = server.client();
        client
            .batch_execute(&format!(
                "SET enable_seqscan = off; BEGIN;
                 DECLARE c CURSOR FOR SELECT id FROM {table} ORDER BY v <-> {vector}"
            ))
            .unwrap();
        let mut scan = Suspended {
            client,
            table,
            got: Vec::new(),
        };
        scan.fetch("50");
        scan
    }

    /// Goes on for some rows, or for `ALL`.
    pub fn fetch(&mut self, rows: &str) {
        let rows = self.client.query(&format!("FETCH {rows} FROM c"), &[]);
        self.got
            .extend(rows.unwrap().iter().map(|row| row.get::<_, i64>(0)));
    }

    /// Goes on to the end. Panics where it has not handed out each of these rows once.
    pub fn finish(mut self, expected: impl Iterator<Item = i64>) {
        self.fetch("ALL");
        let expected: BTreeSet<i64> = expected.collect();
        let table = self.table;
        assert_eq!(self.got.len(), expected.len(), "{table}: each once");
        let got: BTreeSet<i64> = self.got.into_iter().collect();
        assert_eq!(got, expected, "{table}");
        self.client.batch_execute("COMMIT").unwrap();
    }
}

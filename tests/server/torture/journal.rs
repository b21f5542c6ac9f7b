//! What each session knows of the rows it wrote: what must be there after a crash.

use std::collections::HashMap;

use postgres::Client;

use super::{Kind, WRITERS};

/// Which version of a row is there; `None` where it is not there.
pub type State = Option<i64>;

/// The rows of one session, by table and id.
#[derive(Default)]
pub struct Journal {
    /// after the last transaction that is known to have committed
    known: HashMap<(&'static str, i64), State>,
    /// of the transaction whose COMMIT was not answered: it happened as a whole, or not at all
    open: HashMap<(&'static str, i64), State>,
}

impl Journal {
    /// What the session last knew of a row, its own open transaction included.
    pub fn state(&self, table: &'static str, id: i64) -> State {
        let key = (table, id);
        let open = self.open.get(&key).or_else(|| self.known.get(&key));
        open.copied().flatten()
    }

    /// The open transaction changes a row.
    pub fn change(&mut self, table: &'static str, id: i64, state: State) {
        self.open.insert((table, id), state);
    }

    /// The open transaction's changes.
    pub fn changes(&self) -> HashMap<(&'static str, i64), State> {
        self.open.clone()
    }

    /// Takes the open transaction back to what its changes were at a savepoint.
    pub fn back_to(&mut self, changes: HashMap<(&'static str, i64), State>) {
        self.open = changes;
    }

    /// The open transaction has committed.
    pub fn committed(&mut self) {
        self.known.extend(self.open.drain());
    }

    /// The open transaction has not, for sure.
    pub fn rolled_back(&mut self) {
        self.open.clear();
    }
}

/// The session that an id belongs to.
fn writer_of(id: i64) -> usize {
    (id / 1_000_000) as usize
}

/// First id of a session.
pub fn first_id(writer: usize) -> i64 {
    writer as i64 * 1_000_000
}

/// Compares a table with what the sessions know, and tells them what became of transactions that were
/// not answered. Returns the rows compared.
pub fn resolve(client: &mut Client, kind: &Kind, journals: &mut [Journal]) -> u64 {
    let (table, dims) = (kind.table, kind.dims);
    client.batch_execute("SET enable_indexscan = off").unwrap();
    let query = format!(
        "SELECT id, version, v = vec(id * 1000 + version, {dims}) FROM {table} ORDER BY id"
    );
    let rows = client.query(&query, &[]).unwrap();
    client.batch_execute("RESET enable_indexscan").unwrap();
    let mut there: Vec<HashMap<i64, i64>> = vec![HashMap::new(); WRITERS];
    for row in &rows {
        let (id, version, same): (i64, i64, bool) = (row.get(0), row.get(1), row.get(2));
        assert!(
            same,
            "{table}: row {id} has another vector than was written"
        );
        there[writer_of(id)].insert(id, version);
    }
    for (journal, mut there) in journals.iter_mut().zip(there) {
        let ours = |(key, _): &(&(&'static str, i64), &State)| key.0 == table;
        let open: Vec<(i64, State)> = journal
            .open
            .iter()
            .filter(ours)
            .map(|(key, state)| (key.1, *state))
            .collect();
        // a transaction is about one table
        let happened = open
            .iter()
            .filter(|(id, state)| there.get(id).copied() == *state)
            .count();
        let did_not = open
            .iter()
            .filter(|(id, _)| {
                there.get(id) == journal.known.get(&(table, *id)).copied().flatten().as_ref()
            })
            .count();
        assert!(
            happened == open.len() || did_not == open.len(),
            "{table}: half of a transaction: {open:?}"
        );
        if !open.is_empty() {
            match did_not == open.len() {
                true => journal.rolled_back(),
                false => journal.committed(),
            }
        }
        for (key, state) in journal.known.iter().filter(ours) {
            assert_eq!(there.remove(&key.1), *state, "{table}: row {}", key.1);
        }
        assert!(
            there.is_empty(),
            "{table}: rows that nobody committed: {there:?}"
        );
    }
    rows.len() as u64
}

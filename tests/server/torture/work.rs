//! What the sessions do until they are killed.

use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;

use super::journal::{Journal, first_id};
use super::{KINDS, Kind};

/// Whether an error is the crash: the connection is gone, or the server says that another of its
/// processes is, such as a parallel worker, which ends sooner than who waits for it. Panics for any other.
fn is_the_end(error: &postgres::Error, killed: &AtomicBool) -> bool {
    let by_crash = error.as_db_error().is_none_or(|error| {
        ["57P01", "57P02", "57P03"].contains(&error.code().code())
            || error.message() == "lost connection to parallel worker"
    });
    assert!(
        by_crash && killed.load(Ordering::SeqCst),
        "not by the crash: {error:?}"
    );
    true
}

/// Transactions of a few changes to one table, some rolled back, until the end. Returns how many were
/// answered.
pub fn write(
    mut client: Client,
    writer: usize,
    journal: &mut Journal,
    seed: u64,
    killed: &AtomicBool,
) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut done = 0;
    while !killed.load(Ordering::SeqCst) {
        let kind = &KINDS[random.usize(..KINDS.len())];
        match transaction(&mut client, writer, journal, kind, &mut random) {
            Ok(()) => done += 1,
            Err(error) => {
                is_the_end(&error, killed);
                break;
            }
        }
    }
    done
}

fn transaction(
    client: &mut Client,
    writer: usize,
    journal: &mut Journal,
    kind: &Kind,
    random: &mut fastrand::Rng,
) -> Result<(), postgres::Error> {
    let begun = client.batch_execute("BEGIN");
    let commits = random.u8(0..5) > 0;
    let result = begun.and_then(|()| changes(client, writer, journal, kind, random));
    if let Err(error) = result {
        // no COMMIT was sent
        journal.rolled_back();
        return Err(error);
    }
    if !commits {
        journal.rolled_back();
        return client.batch_execute("ROLLBACK");
    }
    // from here on the journal says that nobody knows, until there is an answer
    client.batch_execute("COMMIT")?;
    journal.committed();
    Ok(())
}

fn changes(
    client: &mut Client,
    writer: usize,
    journal: &mut Journal,
    kind: &Kind,
    random: &mut fastrand::Rng,
) -> Result<(), postgres::Error> {
    for _ in 0..random.usize(1..8) {
        let to_savepoint = (random.u8(0..6) == 0).then(|| journal.changes());
        if to_savepoint.is_some() {
            client.batch_execute("SAVEPOINT s")?;
        }
        change(client, writer, journal, kind, random)?;
        if let Some(changes) = to_savepoint {
            client.batch_execute("ROLLBACK TO s")?;
            journal.back_to(changes);
        }
    }
    Ok(())
}

fn change(
    client: &mut Client,
    writer: usize,
    journal: &mut Journal,
    kind: &Kind,
    random: &mut fastrand::Rng,
) -> Result<(), postgres::Error> {
    let (table, dims) = (kind.table, kind.dims);
    let id = first_id(writer) + random.i64(0..kind.ids);
    // some vectors are those of many rows
    let vector = |version: i64| format!("vec({id}::bigint * 1000 + {version}, {dims})");
    match journal.state(table, id) {
        None => {
            let version = random.i64(0..1000);
            let vector = vector(version);
            client.batch_execute(&format!(
                "INSERT INTO {table} VALUES ({id}, {version}, {vector})"
            ))?;
            journal.change(table, id, Some(version));
        }
        Some(version) if random.bool() => {
            let version = (version + 1) % 1000;
            let vector = vector(version);
            client.batch_execute(&format!(
                "UPDATE {table} SET version = {version}, v = {vector} WHERE id = {id}"
            ))?;
            journal.change(table, id, Some(version));
        }
        Some(_) => {
            client.batch_execute(&format!("DELETE FROM {table} WHERE id = {id}"))?;
            journal.change(table, id, None);
        }
    }
    Ok(())
}

/// Runs statements that `next` makes until the end. Returns how many.
fn repeat(
    mut client: Client,
    seed: u64,
    killed: &AtomicBool,
    next: fn(&mut fastrand::Rng) -> Vec<String>,
) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut done = 0;
    while !killed.load(Ordering::SeqCst) {
        for statement in next(&mut random) {
            match client.batch_execute(&statement) {
                Ok(()) => done += 1,
                Err(error) if names_what_was_replaced(&error) => {}
                Err(error) => {
                    is_the_end(&error, killed);
                    return done;
                }
            }
        }
    }
    done
}

/// Whether an index was replaced, by REINDEX CONCURRENTLY, between its name and its use.
fn names_what_was_replaced(error: &postgres::Error) -> bool {
    let message = error.as_db_error().map(|error| error.message());
    message.is_some_and(|m| m.starts_with("relation with OID") && m.ends_with("does not exist"))
}

fn any_table(random: &mut fastrand::Rng) -> &'static Kind {
    &KINDS[random.usize(..KINDS.len())]
}

/// VACUUM, now and then with a CHECKPOINT.
pub fn vacuum(client: Client, seed: u64, killed: &AtomicBool) -> u64 {
    repeat(client, seed, killed, |random| {
        let table = any_table(random).table;
        match random.u8(0..8) {
            0 => vec!["CHECKPOINT".into()],
            1 => vec![format!("VACUUM {table}")],
            _ => vec![format!("VACUUM (INDEX_CLEANUP ON) {table}")],
        }
    })
}

/// Makes indexes, again and anew.
pub fn define(client: Client, seed: u64, killed: &AtomicBool) -> u64 {
    repeat(client, seed, killed, |random| {
        let kind = any_table(random);
        let (table, definition) = (kind.table, kind.definition());
        match random.u8(0..5) {
            0 => vec![format!("REINDEX INDEX {table}_v")],
            1 => vec![format!("REINDEX INDEX CONCURRENTLY {table}_v")],
            2 => vec![
                format!("DROP INDEX IF EXISTS {table}_x"),
                format!("CREATE INDEX {table}_x {definition}"),
            ],
            3 => vec![
                format!("DROP INDEX CONCURRENTLY IF EXISTS {table}_x"),
                format!("CREATE INDEX CONCURRENTLY {table}_x {definition}"),
            ],
            _ => vec![format!("DROP INDEX IF EXISTS {table}_x")],
        }
    })
}

/// Searches and checks.
pub fn read(client: Client, seed: u64, killed: &AtomicBool) -> u64 {
    repeat(client, seed, killed, |random| {
        let kind = any_table(random);
        let (table, dims, operator) = (kind.table, kind.dims, kind.operator());
        let query = random.u32(..);
        vec![
            "SET enable_seqscan = off".into(),
            format!("SELECT id FROM {table} ORDER BY v {operator} vec({query}, {dims}) LIMIT 20"),
            format!(
                "SELECT id FROM {table} WHERE version < 100 ORDER BY v {operator} vec({query}, {dims}) LIMIT 20"
            ),
            format!(
                "SELECT vector_index_check('{table}_v', {}, true)",
                random.bool()
            ),
        ]
    });
    0
}

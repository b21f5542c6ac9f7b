//! Backups, points in time, logical copies and the server's own checks: what comes back is what was
//! there, to the bit, and its indexes are sound.

use postgres::Client;

use crate::harness::{explain, wait_until};
use crate::hnsw::check::assert_sound;
use crate::hnsw::{number, server_with};

/// SQL that inserts rows.
fn insert(first: i64, last: i64) -> String {
    format!(
        "INSERT INTO items
         SELECT i, v, few::halfvec, v::sparsevec, few::bf16vec, quantize_to_bytevec(few, -1, 1), binary_quantize(v)::bit(24)
         FROM (SELECT i, v, subvector(v, 1, 8) AS few FROM
               (SELECT i, vec(i, 24) AS v FROM generate_series({first}, {last}) i OFFSET 0) made) rows"
    )
}

/// A table with columns of all types, and indexes of all methods.
const TABLE: &str = "
    CREATE TABLE items (id bigint PRIMARY KEY, v vector(24), w halfvec(8), s sparsevec(24), f bf16vec(8),
                        y bytevec(8), b bit(24));
    CREATE INDEX items_v ON items USING hnsw (v vector_cosine_ops);
    CREATE INDEX items_w ON items USING hnsw (w halfvec_l2_ops);
    CREATE INDEX items_compact ON items USING hnsw (v vector_l2_ops, id) WITH (layout = compact);
    CREATE INDEX items_s ON items USING hnsw (s sparsevec_l2_ops);
    CREATE INDEX items_y ON items USING hnsw (y bytevec_l2_ops)";
/// Those that take more than an empty table.
const LISTS: &str = "
    CREATE INDEX items_lists ON items USING ivf (v vector_l2_ops, id) WITH (quantizer = rabitq4, rerank = index);
    CREATE INDEX items_f ON items USING ivf (f bf16vec_cosine_ops) WITH (lists = 12, quantizer = pq);
    CREATE INDEX items_b ON items USING ivf (b bit_hamming_ops);
    CREATE INDEX items_flat ON items USING ivfflat (w halfvec_l2_ops) WITH (lists = 5)";
/// Rows of the table at first.
const ROWS: i64 = 1000;
const INDEXES: [&str; 9] = [
    "items_v",
    "items_w",
    "items_compact",
    "items_s",
    "items_y",
    "items_lists",
    "items_f",
    "items_b",
    "items_flat",
];

fn create(client: &mut Client) {
    for sql in [TABLE, &insert(1, ROWS), LISTS] {
        client.batch_execute(sql).unwrap();
    }
}

/// Bytes of all rows, as one number.
fn contents(client: &mut Client) -> String {
    let query = "SELECT md5(string_agg(concat_ws('|', id, vector_send(v), halfvec_send(w), sparsevec_send(s),
        bf16vec_send(f), bytevec_send(y), b), ';' ORDER BY id)) FROM items";
    client.query_one(query, &[]).unwrap().get(0)
}

fn assert_indexes_sound(client: &mut Client) {
    for index in INDEXES {
        assert_sound(client, index);
    }
}

fn change(client: &mut Client, round: i64) {
    let more = insert(round * 10_000, round * 10_000 + 300);
    client
        .batch_execute(&format!(
            "{more};
             UPDATE items SET v = vec(id + {round}, 24) WHERE id % 13 = {round};
             DELETE FROM items WHERE id % 7 = {round}"
        ))
        .unwrap();
    client
        .batch_execute("VACUUM (INDEX_CLEANUP ON) items")
        .unwrap();
}

#[test]
fn a_backup_comes_back_at_the_point_in_time_that_is_asked_for() {
    let archive = std::env::temp_dir().join(format!("vectorext-archive-{}", std::process::id()));
    std::fs::create_dir(&archive).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&archive, open).unwrap();
    let place = archive.display();
    let (server, mut client) = server_with(&format!(
        "archive_mode = on\narchive_command = 'cp %p {place}/%f'\nwal_consistency_checking = 'generic'"
    ));
    create(&mut client);
    let backup = server.backup();
    change(&mut client, 1);
    let wanted = contents(&mut client);
    client
        .batch_execute("SELECT pg_create_restore_point('before')")
        .unwrap();
    change(&mut client, 2);
    client
        .batch_execute("DROP INDEX items_v; TRUNCATE items")
        .unwrap();
    let last: String = client
        .query_one("SELECT pg_walfile_name(pg_switch_wal())", &[])
        .unwrap()
        .get(0);
    wait_until("the log is archived", || archive.join(&last).exists());

    backup.configure(&format!(
        "archive_mode = off\nrestore_command = 'cp {place}/%f %p'\nrecovery_target_name = 'before'\nrecovery_target_action = 'promote'"
    ));
    backup.start_recovery();
    let mut restored = backup.client();
    wait_until("recovery has ended", || {
        number(&mut restored, "SELECT pg_is_in_recovery()::int::bigint") == 0
    });
    assert_eq!(contents(&mut restored), wanted);
    assert_indexes_sound(&mut restored);
    change(&mut restored, 3);
    assert_indexes_sound(&mut restored);
    assert!(!backup.log().contains("inconsistent"), "{}", backup.log());
    std::fs::remove_dir_all(&archive).unwrap();
}

#[test]
fn page_checksums_and_the_server_s_own_checks_have_no_complaints() {
    let (server, mut client) = server_with("");
    drop(client);
    server.change_while_stopped(|| {
        let data = server.data();
        server.program(
            "pg_checksums",
            ["--enable", "--no-sync", "-D", data.to_str().unwrap()],
        );
    });
    client = server.client();
    create(&mut client);
    for round in 1..4 {
        change(&mut client, round);
    }
    assert_indexes_sound(&mut client);
    client.batch_execute("CREATE EXTENSION amcheck").unwrap();
    server.program("pg_amcheck", ["--heapallindexed", "--database", "postgres"]);
    drop(client);
    server.crash_and_restart();
    assert_indexes_sound(&mut server.client());
    server.change_while_stopped(|| {
        let data = server.data();
        server.program("pg_checksums", ["--check", "-D", data.to_str().unwrap()]);
    });
}

#[test]
fn parallel_and_plain_dumps_come_back_to_the_bit() {
    let (server, mut client) = server_with("");
    create(&mut client);
    change(&mut client, 1);
    let wanted = contents(&mut client);
    let place = |name: &str| format!("{}/{name}", server.directory().display());
    let (directory, plain) = (place("parallel"), place("plain.sql"));
    server.program(
        "pg_dump",
        [
            "--format=directory",
            "--jobs=3",
            "--file",
            &directory,
            "postgres",
        ],
    );
    server.program("pg_dump", ["--file", &plain, "postgres"]);
    client.batch_execute("CREATE DATABASE parallel").unwrap();
    client.batch_execute("CREATE DATABASE plain").unwrap();
    server.program(
        "pg_restore",
        [
            "--exit-on-error",
            "--jobs=3",
            "--dbname=parallel",
            &directory,
        ],
    );
    server.program(
        "psql",
        ["-q", "-v", "ON_ERROR_STOP=1", "-d", "plain", "-f", &plain],
    );
    for database in ["parallel", "plain"] {
        let mut copy = server.client_of(database, crate::harness::SUPERUSER);
        assert_eq!(contents(&mut copy), wanted, "{database}");
        assert_indexes_sound(&mut copy);
    }
}

#[test]
fn logical_replication_carries_vectors_as_text_and_binary() {
    let (source, mut client) = server_with("wal_level = logical");
    create(&mut client);
    client
        .batch_execute("CREATE PUBLICATION all_items FOR TABLE items")
        .unwrap();
    for binary in ["false", "true"] {
        let (target, mut copy) = server_with("");
        copy.batch_execute(TABLE).unwrap();
        copy.batch_execute(LISTS).unwrap();
        copy.batch_execute(&format!(
            "CREATE SUBSCRIPTION from_source CONNECTION 'host={} user={} dbname=postgres' PUBLICATION all_items
             WITH (binary = {binary}, slot_name = s_{binary})",
            source.directory().display(),
            crate::harness::SUPERUSER
        ))
        .unwrap();
        wait_until("the first copy is made", || {
            number(
                &mut copy,
                "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'",
            ) == 0
        });
        change(&mut client, if binary == "true" { 4 } else { 3 });
        let wanted = contents(&mut client);
        wait_until("changes have arrived", || contents(&mut copy) == wanted);
        assert_indexes_sound(&mut copy);
        let nearest = "SELECT id FROM items ORDER BY v <=> vec(5, 24) LIMIT 5";
        copy.batch_execute("SET enable_seqscan = off").unwrap();
        assert!(explain(&mut copy, nearest).contains("items_v"));
        assert_eq!(copy.query(nearest, &[]).unwrap().len(), 5);
        copy.batch_execute("DROP SUBSCRIPTION from_source").unwrap();
        drop(copy);
        drop(target);
    }
}

/// Opens a cursor on a standby, lets the primary delete and VACUUM what it still has to hand out, and
/// fetches the rest.
fn fetch_across_vacuum(feedback: &str) -> Result<usize, String> {
    let (primary, mut client) = server_with("");
    create(&mut client);
    let standby = primary.standby();
    standby.configure(&format!(
        "hot_standby_feedback = {feedback}\nmax_standby_streaming_delay = 0\nwal_receiver_status_interval = '1s'"
    ));
    standby.restart();
    standby.catch_up_with(&primary);
    let mut reader = standby.client();
    reader
        .batch_execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL enable_seqscan = off;
             DECLARE c CURSOR FOR SELECT id FROM items ORDER BY v <=> vec(1, 24)",
        )
        .unwrap();
    assert_eq!(reader.query("FETCH 20 FROM c", &[]).unwrap().len(), 20);
    if feedback == "on" {
        wait_until("the primary knows", || {
            let query = "SELECT count(*) FROM pg_stat_replication WHERE backend_xmin IS NOT NULL";
            number(&mut client, query) == 1
        });
    }
    client
        .batch_execute("DELETE FROM items WHERE id % 2 = 0")
        .unwrap();
    client
        .batch_execute("VACUUM (INDEX_CLEANUP ON) items")
        .unwrap();
    client.batch_execute(&insert(-500, -1)).unwrap();
    standby.catch_up_with(&primary);
    let rest = reader.query("FETCH ALL FROM c", &[]);
    let outcome = match rest {
        Ok(rows) => Ok(20 + rows.len()),
        Err(error) => Err(error
            .code()
            .map_or("connection lost".into(), |code| code.code().to_owned())),
    };
    // whatever became of it, the standby goes on and is sound
    assert_indexes_sound(&mut standby.client());
    assert!(!standby.log().contains("PANIC"), "{}", standby.log());
    outcome
}

#[test]
fn a_cursor_on_a_standby_has_its_rows_or_the_server_says_that_they_are_gone() {
    assert_eq!(fetch_across_vacuum("on"), Ok(ROWS as usize));
    // 40001: canceling statement due to conflict with recovery; the server may end the session
    let without = fetch_across_vacuum("off");
    assert!(
        without == Ok(ROWS as usize)
            || matches!(
                without.as_ref().map_err(String::as_str),
                Err("40001" | "57P01" | "connection lost")
            ),
        "{without:?}"
    );
}

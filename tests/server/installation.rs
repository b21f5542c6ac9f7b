//! How the extension comes into a database, and who may bring it.

use crate::harness::{Server, explain, major_version, sqlstate_of};

const THREE_POINTS: &str = "
    CREATE TABLE points (id int, v vector(2));
    INSERT INTO points VALUES (1, '[0,0]'), (2, '[3,4]'), (3, '[6,8]')";

#[test]
fn in_another_schema_operators_are_found_by_path_and_by_name() {
    let server = Server::start();
    let mut client = server.client();
    client
        .batch_execute("CREATE SCHEMA extensions; CREATE EXTENSION vectorext SCHEMA extensions")
        .unwrap();

    // off the path: every name qualified
    client
        .batch_execute(
            "CREATE TABLE far (id int, v extensions.vector(2));
             INSERT INTO far VALUES (1, '[0,0]'), (2, '[3,4]');
             CREATE INDEX ON far USING hnsw (v extensions.vector_l2_ops)",
        )
        .unwrap();
    assert_eq!(
        sqlstate_of(&mut client, "SELECT '[1,2]'::vector"),
        "42704",
        "the type is not visible off the path"
    );
    let nearest = "SELECT id FROM far ORDER BY v OPERATOR(extensions.<->) '[3,3]' LIMIT 1";
    let id: i32 = client.query_one(nearest, &[]).unwrap().get(0);
    assert_eq!(id, 2);
    client.batch_execute("SET enable_seqscan = off").unwrap();
    let plan = explain(&mut client, nearest);
    assert!(plan.contains("Index Scan using far_v_idx"), "{plan}");

    // on the path: plain names
    client
        .batch_execute("SET search_path = public, extensions")
        .unwrap();
    client.batch_execute(THREE_POINTS).unwrap();
    let ids: Vec<i32> = client
        .query("SELECT id FROM points ORDER BY v <-> '[6,6]', id", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(ids, [3, 2, 1]);
}

#[test]
fn the_extension_moves_to_another_schema_with_its_tables_and_indexes_in_use() {
    let (_server, mut client) = Server::start_with_extension();
    client.batch_execute(THREE_POINTS).unwrap();
    client
        .batch_execute(
            "CREATE INDEX ON points USING hnsw (v vector_l2_ops);
             CREATE SCHEMA elsewhere;
             ALTER EXTENSION vectorext SET SCHEMA elsewhere;
             INSERT INTO points VALUES (4, '[9,12]');
             SET enable_seqscan = off",
        )
        .unwrap();
    let id: i32 = client
        .query_one(
            "SELECT id FROM points ORDER BY v OPERATOR(elsewhere.<->) '[9,9]' LIMIT 1",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(id, 4);
}

#[test]
fn a_database_owner_who_is_no_superuser_creates_and_drops_it() {
    let server = Server::start();
    server
        .client()
        .batch_execute("CREATE ROLE owner LOGIN; CREATE ROLE guest LOGIN")
        .unwrap();
    server
        .client()
        .batch_execute("CREATE DATABASE owned OWNER owner")
        .unwrap();

    let mut guest = server.client_of("owned", "guest");
    assert_eq!(
        sqlstate_of(&mut guest, "CREATE EXTENSION vectorext"),
        "42501"
    );

    let mut owner = server.client_of("owned", "owner");
    owner.batch_execute("CREATE EXTENSION vectorext").unwrap();
    owner.batch_execute(THREE_POINTS).unwrap();
    owner
        .batch_execute(
            "CREATE INDEX ON points USING hnsw (v vector_l2_ops);
             GRANT SELECT ON points TO guest",
        )
        .unwrap();
    let id: i32 = guest
        .query_one("SELECT id FROM points ORDER BY v <-> '[3,3]' LIMIT 1", &[])
        .unwrap()
        .get(0);
    assert_eq!(id, 2);

    owner
        .batch_execute("DROP EXTENSION vectorext CASCADE; CREATE EXTENSION vectorext")
        .unwrap();
}

#[test]
fn settings_given_before_the_library_is_loaded_count_and_bad_ones_are_refused() {
    let (server, mut client) = Server::start_with_extension();
    client.batch_execute(THREE_POINTS).unwrap();

    let mut lazy = server.client();
    lazy.batch_execute("SET hnsw.ef_search = 77; SELECT '[1,2]'::vector")
        .unwrap();
    let kept: String = lazy.query_one("SHOW hnsw.ef_search", &[]).unwrap().get(0);
    assert_eq!(kept, "77");
    assert_eq!(sqlstate_of(&mut lazy, "SET hnsw.ef_search = 0"), "22023");
    // an extension cannot reserve a prefix in PostgreSQL 14
    if major_version(&mut lazy) > 14 {
        assert_eq!(sqlstate_of(&mut lazy, "SET hnsw.no_such = 1"), "42602");
    }

    // a fresh backend, first use through the index: nothing has loaded the library before
    client
        .batch_execute("CREATE INDEX ON points USING hnsw (v vector_l2_ops)")
        .unwrap();
    let mut fresh = server.client();
    fresh.batch_execute("SET enable_seqscan = off").unwrap();
    let id: i32 = fresh
        .query_one("SELECT id FROM points ORDER BY v <-> '[6,6]' LIMIT 1", &[])
        .unwrap()
        .get(0);
    assert_eq!(id, 3);
}

#[test]
fn preloaded_into_every_session_it_works_the_same() {
    let server = Server::start_with("shared_preload_libraries = 'vectorext'\nhnsw.ef_search = 55");
    let mut client = server.client();
    let set: String = client.query_one("SHOW hnsw.ef_search", &[]).unwrap().get(0);
    assert_eq!(set, "55");

    client
        .batch_execute("CREATE EXTENSION vectorext; SET enable_seqscan = off")
        .unwrap();
    client.batch_execute(THREE_POINTS).unwrap();
    client
        .batch_execute("CREATE INDEX ON points USING hnsw (v vector_l2_ops)")
        .unwrap();
    let nearest = "SELECT id FROM points ORDER BY v <-> '[6,6]' LIMIT 1";
    let plan = explain(&mut client, nearest);
    assert!(plan.contains("Index Scan"), "{plan}");
    let id: i32 = client.query_one(nearest, &[]).unwrap().get(0);
    assert_eq!(id, 3);

    server.crash_and_restart();
    let id: i32 = server.client().query_one(nearest, &[]).unwrap().get(0);
    assert_eq!(id, 3);
}

//! Who may learn what, and whose code runs: functions that tell of tables ask for the right to read these;
//! objects that somebody puts in the way, named like ours or like PostgreSQL's own, are never used instead.

use postgres::Client;

use crate::harness::{Server, explain, sqlstate_of};
use crate::hnsw::check::assert_sound;
use crate::hnsw::{number, server_with};

/// Indexes of every access method: name and definition.
const INDEXES: &[(&str, &str)] = &[
    ("graph_v", "USING hnsw (v vector_l2_ops, label)"),
    (
        "plain_v",
        "USING hnsw (v vector_cosine_ops) WITH (layout = plain)",
    ),
    (
        "lists_v",
        "USING ivf (v vector_l2_ops) WITH (rerank = index)",
    ),
    ("flat_v", "USING ivfflat (v vector_l2_ops) WITH (lists = 3)"),
];

/// What functions tell of an index.
fn questions(index: &str) -> Vec<String> {
    let stats = match index {
        "graph_v" | "plain_v" => "vector_index_stats",
        _ => "ivf_index_stats",
    };
    vec![
        format!("SELECT {stats}('{index}')"),
        format!("SELECT vector_index_check('{index}')"),
        format!("SELECT vector_index_check('{index}', true)"),
    ]
}

fn create(client: &mut Client) {
    client
        .batch_execute(
            "CREATE TABLE secrets (id bigint, v vector(24), label int);
             INSERT INTO secrets SELECT i, vec(i, 24), i % 5 FROM generate_series(1, 400) i",
        )
        .unwrap();
    for (name, definition) in INDEXES {
        client
            .batch_execute(&format!("CREATE INDEX {name} ON secrets {definition}"))
            .unwrap();
    }
}

#[test]
fn whoever_may_not_select_all_rows_learns_nothing_of_an_index() {
    let (server, mut client) = server_with("");
    create(&mut client);
    client
        .batch_execute(
            "CREATE ROLE stranger LOGIN; CREATE ROLE columns LOGIN; CREATE ROLE some_rows LOGIN;
             CREATE ROLE writer LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE owner LOGIN BYPASSRLS;
             GRANT SELECT (id) ON secrets TO columns; GRANT SELECT ON secrets TO some_rows, reader, owner;
             GRANT INSERT, UPDATE, DELETE ON secrets TO writer",
        )
        .unwrap();
    let may = |role: &str| {
        let mut client = server.client_of("postgres", role);
        let mut answers = Vec::new();
        for (index, _) in INDEXES {
            for question in questions(index) {
                let outcome = client.batch_execute(&question);
                answers.push(
                    outcome
                        .err()
                        .map(|error| error.code().unwrap().code().to_owned()),
                );
            }
        }
        answers
    };
    let refused =
        |answers: Vec<Option<String>>| answers.iter().all(|code| code.as_deref() == Some("42501"));
    for role in ["stranger", "columns", "writer"] {
        assert!(refused(may(role)), "{role}");
    }
    assert!(may("reader").iter().all(Option::is_none));
    client
        .batch_execute(
            "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
             CREATE POLICY few ON secrets TO some_rows USING (id < 10)",
        )
        .unwrap();
    assert!(refused(may("some_rows")), "row security");
    assert!(may("owner").iter().all(Option::is_none));

    // what a scan did is told to its own session alone, and row security holds in scans
    let mut some = server.client_of("postgres", "some_rows");
    some.batch_execute("SET enable_seqscan = off; SET ivfflat.iterative_scan = relaxed_order")
        .unwrap();
    let found =
        "SELECT count(*) FROM (SELECT id FROM secrets ORDER BY v <-> vec(1, 24) LIMIT 300) s";
    assert_eq!(number(&mut some, found), 9);
    let knows = |client: &mut Client, of: &str| -> bool {
        let told = format!("SELECT NOT ({of}_last_scan() IS NULL)");
        client.query_one(&told, &[]).unwrap().get(0)
    };
    // it looked at rows that the policy hides
    assert!(!knows(&mut some, "hnsw") && !knows(&mut some, "ivf"));
    // who may read all of them may know, and whoever takes that role in the same session, but no other
    client.batch_execute("SET enable_seqscan = off").unwrap();
    assert!(number(&mut client, found) > 9);
    assert!(knows(&mut client, "hnsw") || knows(&mut client, "ivf"));
    client.batch_execute("SET ROLE stranger").unwrap();
    assert!(!knows(&mut client, "hnsw") && !knows(&mut client, "ivf"));
    client.batch_execute("RESET ROLE").unwrap();
    let mut fresh = server.client_of("postgres", "stranger");
    // nothing was scanned in that session
    assert!(!knows(&mut fresh, "hnsw") && !knows(&mut fresh, "ivf"));
}

#[test]
fn a_table_of_centroids_is_read_with_the_rights_of_who_owns_the_indexed_table() {
    let (server, mut client) = server_with("");
    client
        .batch_execute(
            "CREATE TABLE secrets AS SELECT vec(i, 8)::vector(8) AS v FROM generate_series(1, 9) i;
             CREATE ROLE owner LOGIN; CREATE SCHEMA own AUTHORIZATION owner",
        )
        .unwrap();
    let mut owner = server.client_of("postgres", "owner");
    owner
        .batch_execute(
            "CREATE TABLE own.items AS SELECT vec(i, 8)::vector(8) AS v FROM generate_series(1, 300) i",
        )
        .unwrap();
    let create = "CREATE INDEX items_v ON own.items USING ivf (v vector_l2_ops)";
    let with_secrets = format!("{create} WITH (centroids = 'public.secrets')");
    assert_eq!(sqlstate_of(&mut owner, &with_secrets), "42501");
    owner
        .batch_execute(&format!(
            "{create}; ALTER INDEX own.items_v SET (centroids = 'public.secrets')"
        ))
        .unwrap();
    // also where a superuser does it
    for client in [&mut owner, &mut client] {
        assert_eq!(sqlstate_of(client, "REINDEX INDEX own.items_v"), "42501");
    }
    // row security hides what it hides elsewhere
    client
        .batch_execute(
            "GRANT SELECT ON secrets TO owner; ALTER TABLE secrets ENABLE ROW LEVEL SECURITY",
        )
        .unwrap();
    assert_eq!(
        sqlstate_of(&mut client, "REINDEX INDEX own.items_v"),
        "22023"
    );
    client
        .batch_execute("ALTER TABLE secrets DISABLE ROW LEVEL SECURITY; REINDEX INDEX own.items_v")
        .unwrap();
    let lists = "SELECT lists::bigint FROM ivf_index_stats('own.items_v')";
    assert_eq!(number(&mut client, lists), 9);
}

/// A schema whose functions and operators fall on whoever comes by, and say so.
const TRAPS: &str = "
    CREATE SCHEMA traps;
    CREATE FUNCTION traps.trap() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE 'caught by a trap'; END$$;
    CREATE FUNCTION traps.of(x anyelement, y anyelement) RETURNS boolean LANGUAGE sql AS 'SELECT traps.trap() = 1';
    CREATE FUNCTION traps.distance(x anyelement, y anyelement) RETURNS float8 LANGUAGE sql AS 'SELECT traps.trap()::float8';
    CREATE OPERATOR traps.= (LEFTARG = anyelement, RIGHTARG = anyelement, FUNCTION = traps.of);
    CREATE FUNCTION traps.same(x pg_catalog.oid, y pg_catalog.regclass) RETURNS boolean LANGUAGE sql AS 'SELECT traps.trap() = 1';
    CREATE OPERATOR traps.= (LEFTARG = pg_catalog.oid, RIGHTARG = pg_catalog.regclass, FUNCTION = traps.same);
    CREATE OPERATOR traps.< (LEFTARG = anyelement, RIGHTARG = anyelement, FUNCTION = traps.of);
    CREATE OPERATOR traps.<-> (LEFTARG = anyelement, RIGHTARG = anyelement, FUNCTION = traps.distance);
    CREATE FUNCTION traps.l2_distance(x anyelement, y anyelement) RETURNS float8 LANGUAGE sql AS 'SELECT traps.trap()::float8';
    CREATE FUNCTION traps.int4eq(x int, y int) RETURNS boolean LANGUAGE sql AS 'SELECT traps.trap() = 1';
    CREATE FUNCTION traps.hashint4extended(x int, y bigint) RETURNS bigint LANGUAGE sql AS 'SELECT traps.trap()::bigint';
    CREATE FUNCTION traps.vector_in(x text, y oid, z int) RETURNS int LANGUAGE sql AS 'SELECT traps.trap()';
    CREATE TABLE traps.pg_class (oid oid); CREATE TABLE traps.pg_am (oid oid); CREATE TABLE traps.pg_index (oid oid);
    CREATE TYPE traps.text AS (x int); CREATE DOMAIN traps.int4 AS pg_catalog.int8;
    CREATE DOMAIN traps.regclass AS pg_catalog.int8;";

#[test]
fn objects_in_the_way_are_not_used_by_the_script_nor_by_anything_it_makes() {
    let server = Server::start();
    let mut client = server.client();
    client.batch_execute(TRAPS).unwrap();
    // whatever the path is, the script means what it says
    client
        .batch_execute(
            "CREATE SCHEMA ours;
             SET search_path = traps, pg_catalog, pg_temp;
             CREATE EXTENSION vectorext SCHEMA ours",
        )
        .unwrap();
    let strangers = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON d.refobjid OPERATOR(pg_catalog.=) e.oid
        JOIN pg_catalog.pg_proc p ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
             AND d.objid OPERATOR(pg_catalog.=) p.oid
        WHERE e.extname OPERATOR(pg_catalog.=) 'vectorext'
          AND p.pronamespace OPERATOR(pg_catalog.<>) 'ours'::pg_catalog.regnamespace";
    assert_eq!(number(&mut client, strangers), 0);
    let in_traps = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON d.objid OPERATOR(pg_catalog.=) e.oid
        WHERE d.refobjid OPERATOR(pg_catalog.=) 'traps'::pg_catalog.regnamespace";
    assert_eq!(number(&mut client, in_traps), 0);

    client
        .batch_execute(
            "SET search_path = pg_catalog, ours;
             CREATE TABLE ours.items (id int4, v vector(16), label int4, tag pg_catalog.text);
             INSERT INTO ours.items SELECT i, (SELECT array_agg(sin(i * n)) FROM generate_series(1, 16) n)::vector, i % 7, 't' || i % 3
                 FROM generate_series(1, 1200) i;
             CREATE TABLE ours.centres AS SELECT v FROM ours.items WHERE id < 9;
             SET search_path = traps, pg_catalog, ours",
        )
        .unwrap();
    // in the traps' sight: build, search, change, VACUUM, check, count
    for (name, definition) in [
        ("graph_v", "hnsw (v vector_l2_ops, label, tag)"),
        (
            "plain_v",
            "hnsw (v vector_cosine_ops) WITH (layout = plain)",
        ),
        ("lists_v", "ivf (v vector_l2_ops)"),
        ("flat_v", "ivfflat (v vector_l2_ops) WITH (lists = 3)"),
        (
            "central_v",
            "ivf (v vector_l2_ops) WITH (centroids = 'centres')",
        ),
    ] {
        client
            .batch_execute(&format!(
                "CREATE INDEX {name} ON ours.items USING {definition};
                 INSERT INTO ours.items SELECT id OPERATOR(pg_catalog.+) 5000, v, label, tag FROM ours.items WHERE id OPERATOR(pg_catalog.<) 100;
                 DELETE FROM ours.items WHERE id OPERATOR(pg_catalog.>) 5000;
                 SET enable_seqscan = off;
                 SELECT id FROM ours.items ORDER BY v OPERATOR(ours.<->) (SELECT v FROM ours.items LIMIT 1) LIMIT 5;
                 SELECT id FROM ours.items WHERE label OPERATOR(pg_catalog.=) 3 AND tag OPERATOR(pg_catalog.=) 't1'
                     ORDER BY v OPERATOR(ours.<->) (SELECT v FROM ours.items LIMIT 1) LIMIT 5;
                 SELECT ours.avg(v), ours.sum(v) FROM ours.items"
            ))
            .unwrap();
        client
            .batch_execute("VACUUM (INDEX_CLEANUP ON) ours.items")
            .unwrap();
        client
            .batch_execute(&format!(
                "SELECT ours.vector_index_check('ours.{name}'::pg_catalog.regclass, true, true);
                 DROP INDEX ours.{name}"
            ))
            .unwrap();
    }
    // a trap that is asked for by its name is one: another operator than the index's, without the index
    client
        .batch_execute("CREATE INDEX graph_v ON ours.items USING hnsw (v vector_l2_ops)")
        .unwrap();
    let by_trap = "SELECT id FROM ours.items ORDER BY v OPERATOR(traps.<->) v LIMIT 1";
    assert!(!explain(&mut client, by_trap).contains("graph_v"));
    assert_eq!(sqlstate_of(&mut client, by_trap), "P0001");
}

#[test]
fn objects_that_are_there_before_are_neither_replaced_nor_taken_over() {
    let server = Server::start();
    let mut client = server.client();
    client
        .batch_execute(
            "CREATE ROLE planter LOGIN; GRANT CREATE ON SCHEMA public TO planter; SET ROLE planter;
             CREATE FUNCTION array_to_vector(real[], integer, boolean) RETURNS int LANGUAGE sql AS 'SELECT 1';
             RESET ROLE",
        )
        .unwrap();
    // another function of that name and other arguments is left alone
    client
        .batch_execute("CREATE EXTENSION vectorext")
        .unwrap_err();
    client
        .batch_execute("DROP FUNCTION array_to_vector(real[], integer, boolean)")
        .unwrap();
    client
        .batch_execute("SET ROLE planter; CREATE TYPE vector AS (x int); RESET ROLE;")
        .unwrap();
    assert_eq!(
        sqlstate_of(&mut client, "CREATE EXTENSION vectorext"),
        "42710"
    );
    client.batch_execute("DROP TYPE vector").unwrap();
    client.batch_execute("CREATE EXTENSION vectorext").unwrap();
    // nothing of it belongs to anybody else
    let others = "SELECT count(*) FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid
        JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
        WHERE e.extname = 'vectorext' AND p.proowner <> 10";
    assert_eq!(number(&mut client, others), 0);
}

#[test]
fn an_update_from_an_earlier_script_keeps_indexes_and_their_answers() {
    // there is no earlier release: the same objects under the name of one, as an update finds them
    let (_server, mut client) = server_with("");
    create(&mut client);
    client
        .batch_execute("UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'vectorext'")
        .unwrap();
    // without a script that leads from there, an update says so and changes nothing
    assert_eq!(
        sqlstate_of(&mut client, "ALTER EXTENSION vectorext UPDATE"),
        "22023"
    );
    client
        .batch_execute("UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'vectorext'")
        .unwrap();
    client
        .batch_execute("ALTER EXTENSION vectorext UPDATE")
        .unwrap();
    for (index, _) in INDEXES {
        assert_sound(&mut client, index);
    }
}

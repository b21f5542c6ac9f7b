//! `ALTER EXTENSION vectorext UPDATE`, from every version that is installed, to one that is made up here.

use std::fs;

use postgres::Client;

use super::programs::Programs;
use super::{answers, contents, create, go_on, texts};
use crate::harness::{SUPERUSER, Server, directory_of, sqlstate_of};
use crate::hnsw::VEC;

/// A version that will never be.
const NEXT: &str = "99.0";

/// What it brings.
const NEWS: &str = r#"
CREATE FUNCTION distance_of_next(vector, vector) RETURNS float8
    AS 'MODULE_PATHNAME', 'l2_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE OPERATOR <~~~> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = distance_of_next, COMMUTATOR = <~~~>);
CREATE OR REPLACE FUNCTION cosine_distance(vector, vector) RETURNS float8
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 3;
COMMENT ON FUNCTION cosine_distance(vector, vector) IS 'as it is explained next';
"#;

/// Every object of the extension, with what an update could leave as it was.
const OBJECTS: &str = "
    SELECT concat_ws(' | ', pg_describe_object(classid, objid, 0), obj_description(objid, classid::regclass::name),
           (SELECT concat_ws(',', provolatile, proisstrict, proparallel, procost, prosrc, prosecdef, pronargdefaults)
            FROM pg_proc WHERE oid = objid AND classid = 'pg_proc'::regclass),
           (SELECT concat_ws(',', oprcom::regoperator, oprnegate::regoperator, oprrest, oprjoin, oprcode, oprcanmerge)
            FROM pg_operator WHERE oid = objid AND classid = 'pg_operator'::regclass),
           (SELECT concat_ws(',', castcontext, castmethod)
            FROM pg_cast WHERE oid = objid AND classid = 'pg_cast'::regclass),
           (SELECT concat_ws(',', typstorage, typalign, typlen, typinput, typmodin, typcategory)
            FROM pg_type WHERE oid = objid AND classid = 'pg_type'::regclass),
           (SELECT concat_ws(',', opcdefault, opckeytype::regtype)
            FROM pg_opclass WHERE oid = objid AND classid = 'pg_opclass'::regclass),
           (SELECT string_agg(concat_ws(',', amopstrategy, amopopr::regoperator), ';' ORDER BY amopstrategy, amopopr::regoperator::text)
            FROM pg_amop WHERE amopfamily = objid AND classid = 'pg_opfamily'::regclass),
           (SELECT string_agg(concat_ws(',', amprocnum, amproc::regprocedure), ';' ORDER BY amprocnum, amproc::regprocedure::text)
            FROM pg_amproc WHERE amprocfamily = objid AND classid = 'pg_opfamily'::regclass))
    FROM pg_depend WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vectorext') AND deptype = 'e'
    ORDER BY 1";

/// A server that has the made-up version, too.
fn server() -> (Programs, Server) {
    let extensions = directory_of("--sharedir").join("extension");
    let read = |name: &str| fs::read_to_string(extensions.join(name)).unwrap();
    let control = read("vectorext.control");
    let line = |line: &&str| line.starts_with("default_version");
    let version = control.lines().find(line).unwrap();
    let version = version.split('\'').nth(1).unwrap();
    let script = read(&format!("vectorext--{version}.sql")) + NEWS;
    let programs = Programs::with_extension_files(&[
        ("vectorext.control", &control.replace(version, NEXT)),
        (&format!("vectorext--{NEXT}.sql"), &script),
        (&format!("vectorext--{version}--{NEXT}.sql"), NEWS),
    ]);
    let server = Server::start_of(&programs.directory(), "");
    (programs, server)
}

fn version(client: &mut Client) -> String {
    let query = "SELECT extversion FROM pg_extension WHERE extname = 'vectorext'";
    texts(client, query).remove(0)
}

#[test]
fn an_update_keeps_indexes_in_use_and_makes_what_a_fresh_install_has() {
    let (_programs, server) = server();
    let mut client = server.client();
    client.batch_execute("CREATE EXTENSION vectorext").unwrap();
    assert_eq!(version(&mut client), NEXT);
    let fresh = texts(&mut client, OBJECTS);
    let earlier = texts(
        &mut client,
        &format!(
            "SELECT version FROM pg_available_extension_versions
             WHERE name = 'vectorext' AND version <> '{NEXT}' ORDER BY version"
        ),
    );
    assert!(earlier.iter().any(|version| version == "0.1.0"));
    client.batch_execute("CREATE ROLE owner LOGIN").unwrap();
    for from in earlier {
        let database = format!("from {from}");
        client
            .batch_execute(&format!("CREATE DATABASE \"{database}\" OWNER owner"))
            .unwrap();
        let mut owner = server.client_of(&database, "owner");
        owner
            .batch_execute(&format!("CREATE EXTENSION vectorext VERSION '{from}'"))
            .unwrap();
        owner.batch_execute(VEC).unwrap();
        create(&mut owner);
        let wanted = (contents(&mut owner), answers(&mut owner));
        // sessions in the middle of something
        let mut prepared = server.client_of(&database, "owner");
        let nearest =
            "SELECT id FROM items ORDER BY v <=> (SELECT v FROM items WHERE id = $1) LIMIT 5";
        let nearest = prepared.prepare(nearest).unwrap();
        let mut before = prepared.query(&nearest, &[&5_i64]).unwrap();
        assert_eq!(before.remove(0).get::<_, i64>(0), 5);
        let mut reader = server.client_of(&database, "owner");
        reader
            .batch_execute(
                "SET enable_seqscan = off; BEGIN; DECLARE c CURSOR FOR SELECT id FROM items ORDER BY v <-> vec(6, 24)",
            )
            .unwrap();
        assert_eq!(reader.query("FETCH 20 FROM c", &[]).unwrap().len(), 20);

        // one that is taken back leaves everything as it was
        owner
            .batch_execute("BEGIN; ALTER EXTENSION vectorext UPDATE; ROLLBACK")
            .unwrap();
        assert_eq!(version(&mut owner), from);
        owner
            .batch_execute("ALTER EXTENSION vectorext UPDATE")
            .unwrap();
        assert_eq!(version(&mut owner), NEXT);

        assert_eq!(texts(&mut owner, OBJECTS), fresh, "updated from {from}");
        let found = (contents(&mut owner), answers(&mut owner));
        assert!(found == wanted, "after the update from {from}");
        let mut after = prepared.query(&nearest, &[&5_i64]).unwrap();
        assert_eq!(after.remove(0).get::<_, i64>(0), 5);
        let rest = reader.query("FETCH ALL FROM c", &[]).unwrap().len();
        assert!(rest > 800, "{rest} rows after the update");
        reader.batch_execute("COMMIT").unwrap();
        go_on(&mut owner);
        owner
            .batch_execute("SELECT '[1]'::vector <~~~> '[2]'; DROP EXTENSION vectorext CASCADE")
            .unwrap();
    }
}

#[test]
fn a_version_that_there_is_no_way_to_is_refused() {
    let (server, mut client) = Server::start_with_extension();
    client
        .batch_execute("CREATE TABLE items (v vector(3)); INSERT INTO items VALUES ('[1,2,3]')")
        .unwrap();
    for version in ["0.0.1", "99.1", ""] {
        let update = format!("ALTER EXTENSION vectorext UPDATE TO '{version}'");
        assert_eq!(sqlstate_of(&mut client, &update), "22023", "{version}");
    }
    // to the one that it is: a NOTICE
    client
        .batch_execute("ALTER EXTENSION vectorext UPDATE; SELECT v <-> v FROM items")
        .unwrap();
    drop(server.client_of("postgres", SUPERUSER));
}

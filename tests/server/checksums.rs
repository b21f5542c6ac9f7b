//! Checksums of index pages: what nothing else can tell is told, and no change gives a damaged page a new one.

use crate::harness::sqlstate_of;
use crate::hnsw::blocks::pages::path_of;
use crate::hnsw::check::findings;
use crate::hnsw::damage::{CHECKSUMS_IGNORED, PAGE};
use crate::hnsw::server_with;

const FORMS: [(&str, &str); 4] = [
    ("plain", "hnsw (v vector_l2_ops) WITH (layout = plain)"),
    ("blocks", "hnsw (v vector_l2_ops, id)"),
    ("lists", "ivf (v vector_l2_ops, id)"),
    ("flat", "ivfflat (v vector_l2_ops) WITH (lists = 5)"),
];

/// A hint of the page header (PD_HAS_FREE_LINES): either value is plausible on any page.
const FLAGS: usize = 10;

#[test]
fn a_bit_that_only_the_checksum_tells_is_told_on_each_page_and_stops_changes_to_it() {
    let (server, mut client) = server_with(CHECKSUMS_IGNORED);
    for (table, index) in FORMS {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector(24));
                 INSERT INTO {table} SELECT i, vec(i, 24) FROM generate_series(1, 500) i;
                 CREATE INDEX {table}_v ON {table} USING {index};
                 INSERT INTO {table} SELECT i, vec(i, 24) FROM generate_series(501, 600) i;
                 DELETE FROM {table} WHERE id % 5 = 0"
            ))
            .unwrap();
        let vacuum = format!("VACUUM (INDEX_CLEANUP ON) {table}");
        client.batch_execute(&vacuum).unwrap();
    }
    let paths = FORMS.map(|(table, _)| path_of(&server, &mut client, &format!("{table}_v")));
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    let mut pages = Vec::new();
    server.change_while_stopped(|| {
        for path in &paths {
            let mut bytes = std::fs::read(path).unwrap();
            for page in bytes.chunks_exact_mut(PAGE) {
                page[FLAGS] ^= 1;
            }
            pages.push(bytes.len() / PAGE);
            std::fs::write(path, bytes).unwrap();
        }
    });
    let mut client = server.client();
    client
        .batch_execute("SET enable_seqscan = off; SET ivfflat.probes = 5")
        .unwrap();
    for ((table, _), pages) in FORMS.iter().zip(pages) {
        let index = format!("{table}_v");
        let found = findings(&mut client, &index).unwrap();
        let told = found.iter().filter(|line| line.contains("checksum"));
        assert_eq!(told.count(), pages, "{table}: {found:#?}");
        assert_eq!(found.len(), pages, "{table}: {found:#?}");
        // nothing that a search reads is another
        let search = format!("SELECT id FROM {table} ORDER BY v <-> vec(1, 24) LIMIT 5");
        assert_eq!(client.query(&search, &[]).unwrap().len(), 5);
        let insert = format!("INSERT INTO {table} VALUES (0, vec(0, 24))");
        let error = client.batch_execute(&insert).unwrap_err();
        let error = error.as_db_error().expect("the session goes on");
        assert_eq!(error.code().code(), "XX002", "{error:?}");
        assert!(error.message().contains(&index), "{error:?}");
        assert!(error.message().contains("checksum of block"), "{error:?}");
        assert_eq!(error.hint(), Some("REINDEX the index."));
        client
            .batch_execute(&format!("DELETE FROM {table} WHERE id % 5 = 1"))
            .unwrap();
        let vacuum = format!("VACUUM (INDEX_CLEANUP ON) {table}");
        assert_eq!(sqlstate_of(&mut client, &vacuum), "XX002", "{table}");
        // still told: no page was sealed anew
        assert_eq!(findings(&mut client, &index).unwrap().len(), pages);
        client
            .batch_execute(&format!("REINDEX INDEX {index}; {insert}"))
            .unwrap();
        client.batch_execute(&vacuum).unwrap();
        assert!(findings(&mut client, &index).unwrap().is_empty());
    }
}

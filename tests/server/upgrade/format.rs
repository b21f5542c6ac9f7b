//! Indexes that another version of the extension made: told as that, with the way out, which works.

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

/// Where a page's special area begins, as its header says.
fn special(page: &[u8]) -> usize {
    u16::from_ne_bytes([page[16], page[17]]) as usize
}

/// What pages say of the format's version.
fn version(page: &[u8]) -> u16 {
    let at = special(page) + 4;
    u16::from_ne_bytes([page[at], page[at + 1]])
}

#[test]
fn an_index_of_another_format_version_is_told_as_that_and_mended_by_reindex() {
    for later in [false, true] {
        let (server, mut client) = server_with(CHECKSUMS_IGNORED);
        for (table, index) in FORMS {
            client
                .batch_execute(&format!(
                    "CREATE TABLE {table} (id bigint, v vector(24));
                     INSERT INTO {table} SELECT i, vec(i, 24) FROM generate_series(1, 300) i;
                     CREATE INDEX {table}_v ON {table} USING {index}"
                ))
                .unwrap();
        }
        let paths = FORMS.map(|(table, _)| path_of(&server, &mut client, &format!("{table}_v")));
        client.batch_execute("CHECKPOINT").unwrap();
        drop(client);
        let mut versions = Vec::new();
        server.change_while_stopped(|| {
            for path in &paths {
                let mut bytes = std::fs::read(path).unwrap();
                let here = version(&bytes[..PAGE]);
                let other = if later { here + 7 } else { here - 1 };
                versions.push((here, other));
                for page in bytes.chunks_mut(PAGE) {
                    let at = special(page) + 4;
                    page[at..at + 2].copy_from_slice(&other.to_ne_bytes());
                }
                // on the metapage once more
                bytes[28..32].copy_from_slice(&(other as u32).to_ne_bytes());
                std::fs::write(path, bytes).unwrap();
            }
        });
        let mut client = server.client();
        client
            .batch_execute("SET enable_seqscan = off; SET ivfflat.probes = 5")
            .unwrap();
        for ((table, _), (here, other)) in FORMS.iter().zip(versions) {
            let told = format!("format version {other}, this vectorext reads version {here}");
            let stats = match *table {
                "lists" | "flat" => "ivf_index_stats",
                _ => "vector_index_stats",
            };
            for statement in [
                format!("SELECT id FROM {table} ORDER BY v <-> vec(1, 24) LIMIT 5"),
                format!("INSERT INTO {table} VALUES (0, vec(0, 24))"),
                format!("DELETE FROM {table} WHERE id < 20; VACUUM (INDEX_CLEANUP ON) {table}"),
                format!("SELECT {stats}('{table}_v')"),
                format!("SELECT vector_index_check('{table}_v', false, true)"),
            ] {
                let done = statement
                    .split("; ")
                    .try_for_each(|one| client.batch_execute(one));
                let error = done.expect_err(&statement);
                let error = error.as_db_error().expect("the session goes on");
                assert_eq!(error.code().code(), "XX002", "{statement}");
                assert!(
                    error.message().contains(&told),
                    "{statement}: {}",
                    error.message()
                );
                assert!(error.message().contains(&format!("\"{table}_v\"")));
                let hint = error.hint().unwrap_or_default();
                assert!(hint.contains("REINDEX the index"), "{statement}: {hint}");
                // the check names what it found, of whatever kind, and one way out
                let names_both = hint.contains("install the later version");
                assert_eq!(names_both, later && !statement.contains("check"), "{hint}");
            }
            let found = findings(&mut client, &format!("{table}_v")).unwrap();
            assert!(found.len() == 1 && found[0].contains(&told), "{found:?}");
            // what does not need the index goes on
            client
                .batch_execute(&format!("SELECT count(*) FROM {table} WHERE id > 5"))
                .unwrap();
            client
                .batch_execute(&format!("REINDEX INDEX {table}_v"))
                .unwrap();
            crate::hnsw::check::assert_sound(&mut client, &format!("{table}_v"));
            crate::hnsw::check_index(&mut client, table);
        }
    }
}

//! Pages in no use: the free space map offers them, a check tells those that it does not, and VACUUM enters them.

use crate::hnsw::blocks::pages::path_of;
use crate::hnsw::check::findings;
use crate::hnsw::server_with;

const FORMS: [(&str, &str); 4] = [
    ("plain", "hnsw (v vector_l2_ops) WITH (layout = plain)"),
    ("blocks", "hnsw (v vector_l2_ops, id)"),
    ("lists", "ivf (v vector_l2_ops, id) WITH (rerank = index)"),
    ("flat", "ivfflat (v vector_l2_ops) WITH (lists = 5)"),
];

#[test]
fn pages_in_no_use_that_the_free_space_map_lost_are_told_and_entered_by_vacuum() {
    let (server, mut client) = server_with("");
    let none: [String; 0] = [];
    for (table, index) in FORMS {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector(24));
                 INSERT INTO {table} SELECT i, vec(i, 24) FROM generate_series(1, 3000) i;
                 CREATE INDEX {table}_v ON {table} USING {index};
                 DELETE FROM {table} WHERE id > 20"
            ))
            .unwrap();
        let vacuum = format!("VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) {table}");
        client.batch_execute(&vacuum).unwrap();
        let found = findings(&mut client, &format!("{table}_v")).unwrap();
        assert_eq!(found, none, "{table}");
    }
    let paths = FORMS.map(|(table, _)| path_of(&server, &mut client, &format!("{table}_v")));
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    server.change_while_stopped(|| {
        for path in &paths {
            let mut map = path.clone().into_os_string();
            map.push("_fsm");
            std::fs::remove_file(&map).unwrap_or_else(|error| panic!("{map:?}: {error}"));
        }
    });
    let mut client = server.client();
    for (table, _) in FORMS {
        let index = format!("{table}_v");
        let found = findings(&mut client, &index).unwrap();
        let is_told = |line: &String| {
            line.starts_with("warning") && line.contains("free space map does not offer")
        };
        assert!(!found.is_empty(), "{table}: {found:#?}");
        assert!(found.iter().all(is_told), "{table}: {found:#?}");
        client
            .batch_execute(&format!("DELETE FROM {table} WHERE id = 20"))
            .unwrap();
        client
            .batch_execute(&format!("VACUUM (INDEX_CLEANUP ON) {table}"))
            .unwrap();
        assert_eq!(findings(&mut client, &index).unwrap(), none, "{table}");
    }
}

//! Damaged files: an ERROR that names the index and says REINDEX, never a crash.

use std::ops::Range;
use std::path::{Path, PathBuf};

use postgres::Client;

use super::blocks::pages::path_of;
use super::{number, server_with};
use crate::harness::{Server, sqlstate_of};
use crate::planted;

pub const PAGE: usize = 8192;

/// From PostgreSQL 18 on pages have checksums unless initdb is told otherwise, and the server would
/// find the damage before the extension sees it.
pub const CHECKSUMS_IGNORED: &str = "ignore_checksum_failure = on";

/// Columns of a table whose indexes are to be damaged, beside `id` and `v`, which they follow from: those
/// that an index may filter by.
pub const COLUMNS: &str = "number int GENERATED ALWAYS AS (nullif(id % 5, 4)) STORED,
                           label text GENERATED ALWAYS AS ('label ' || (id % 3)::text) STORED";
/// What makes them filter columns of an index.
pub const FILTERS: &str = ", number, label";

/// An index whose file is to be damaged.
pub struct Damaged {
    pub table: String,
    pub path: PathBuf,
}

impl Damaged {
    /// `table (id, v vector(dims))` with rows and an index with options.
    pub fn create(
        server: &Server,
        client: &mut Client,
        table: &str,
        dims: i32,
        options: &str,
    ) -> Damaged {
        let rows = if dims > 1000 { 30 } else { 400 };
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint, v vector({dims}));
                 INSERT INTO {table} SELECT i, vec(i, {dims}) FROM generate_series(1, {rows}) i;
                 INSERT INTO {table} SELECT i, vec(1, {dims}) FROM generate_series(1, 50) i;
                 CREATE INDEX {table}_v ON {table} USING hnsw (v vector_l2_ops) {options}"
            ))
            .unwrap();
        Damaged {
            path: path_of(server, client, &format!("{table}_v")),
            table: table.to_owned(),
        }
    }
}

/// Damages a file, and seals it: the checksums are not to tell what is to be found without.
pub fn change(path: &Path, damage: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    damage(&mut bytes);
    planted::seal(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

pub fn page(block: usize) -> Range<usize> {
    block * PAGE..(block + 1) * PAGE
}

/// Where the first item of a page begins.
pub fn first_item(bytes: &[u8], block: usize) -> usize {
    let at = block * PAGE + 24;
    let pointer = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    block * PAGE + (pointer & 0x7fff) as usize
}

/// The kind that a page's special area names: 2 nodes, 3 chunk, 4 TID lists,
/// 6 centroid, 7 entry table.
pub fn kind(bytes: &[u8], block: usize) -> u16 {
    let at = (block + 1) * PAGE - 10;
    u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub fn first_of_kind(bytes: &[u8], wanted: u16) -> usize {
    (1..bytes.len() / PAGE)
        .find(|&block| kind(bytes, block) == wanted)
        .unwrap_or_else(|| panic!("no page of kind {wanted}"))
}

type Damage = fn(&mut Vec<u8>);

/// Name, dimensions, and what happens to the file of an index of the plain layout.
const DAMAGES: &[(&str, i32, Damage)] = &[
    ("zeroed_nodes", 32, |bytes| {
        let block = first_of_kind(bytes, 2);
        bytes[page(block)].fill(0);
    }),
    ("zeroed_metapage", 32, |bytes| bytes[page(0)].fill(0)),
    ("metapage_parameters", 32, |bytes| {
        bytes[24 + 16..24 + 18].fill(0xff)
    }),
    ("entry_point_beyond_end", 32, |bytes| {
        bytes[24 + 20..24 + 24].fill(0x7f)
    }),
    ("foreign_special_area", 32, |bytes| {
        let block = first_of_kind(bytes, 2);
        bytes[(block + 1) * PAGE - 16] ^= 1;
    }),
    ("later_format", 32, |bytes| {
        let block = first_of_kind(bytes, 2);
        bytes[(block + 1) * PAGE - 12] = 9;
    }),
    ("kind_of_page", 32, |bytes| {
        let block = first_of_kind(bytes, 2);
        bytes[(block + 1) * PAGE - 10] = 77;
    }),
    ("item_pointer", 32, |bytes| {
        let at = first_of_kind(bytes, 2) * PAGE + 24;
        bytes[at..at + 4].copy_from_slice(&(8190_u32 | 1 << 15 | 3000 << 17).to_ne_bytes());
    }),
    ("kind_of_item", 32, |bytes| {
        let at = first_item(bytes, first_of_kind(bytes, 2));
        bytes[at] = 9;
    }),
    ("level", 32, |bytes| {
        let at = first_item(bytes, first_of_kind(bytes, 2));
        bytes[at + 1] = 200;
    }),
    ("length_of_value", 32, |bytes| {
        let at = first_item(bytes, first_of_kind(bytes, 2));
        bytes[at + 8..at + 12].fill(0xff);
    }),
    ("too_many_tuples", 32, |bytes| {
        let at = first_item(bytes, first_of_kind(bytes, 2));
        bytes[at + 16] = 200;
    }),
    ("links_beyond_end", 32, |bytes| {
        let at = first_item(bytes, first_of_kind(bytes, 2)) + 64 + 32 * 4;
        bytes[at..at + 4].fill(0x55);
    }),
    ("chunk_of_another_node", 3000, |bytes| {
        let at = first_item(bytes, first_of_kind(bytes, 3));
        bytes[at + 4] ^= 1;
    }),
    ("zeroed_chunk", 3000, |bytes| {
        let block = first_of_kind(bytes, 3);
        bytes[page(block)].fill(0);
    }),
    ("length_of_chunk", 3000, |bytes| {
        let at = first_item(bytes, first_of_kind(bytes, 3));
        bytes[at + 14..at + 16].fill(0xff);
    }),
    ("zeroed_tuple_list", 32, |bytes| {
        let block = first_of_kind(bytes, 4);
        bytes[page(block)].fill(0);
    }),
    ("count_of_tuple_list", 32, |bytes| {
        let at = first_item(bytes, first_of_kind(bytes, 4));
        bytes[at + 2..at + 4].fill(0xff);
    }),
    ("tuple_list_that_leads_to_itself", 32, |bytes| {
        let block = first_of_kind(bytes, 4);
        let at = first_item(bytes, block);
        let mut address = [0; 6];
        address[2..4].copy_from_slice(&(block as u16).to_ne_bytes());
        address[4..6].copy_from_slice(&1_u16.to_ne_bytes());
        bytes[at + 6..at + 12].copy_from_slice(&address);
    }),
    ("cut_short", 32, |bytes| bytes.truncate(2 * PAGE)),
    ("empty_file", 32, |bytes| bytes.clear()),
];

#[test]
fn each_damage_is_reported_with_its_remedy_and_the_server_goes_on() {
    let (server, mut client) = server_with(CHECKSUMS_IGNORED);
    let indexes: Vec<Damaged> = DAMAGES
        .iter()
        .map(|(name, dims, _)| {
            Damaged::create(&server, &mut client, name, *dims, "WITH (layout = plain)")
        })
        .collect();
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    server.change_while_stopped(|| {
        for (index, (_, _, damage)) in indexes.iter().zip(DAMAGES) {
            change(&index.path, damage);
        }
    });

    let mut client = server.client();
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    client
        .batch_execute("SET enable_seqscan = off; SET statement_timeout = '20s'")
        .unwrap();
    let mut wrong = Vec::new();
    for (name, dims, _) in DAMAGES {
        // all rows, so that no damage is passed by
        let search = format!("SELECT id FROM {name} ORDER BY v <-> vec(1, {dims})");
        match client.batch_execute(&search) {
            Ok(()) => wrong.push(format!("{name}: no error")),
            Err(error) => {
                let error = error
                    .as_db_error()
                    .unwrap_or_else(|| panic!("{name} took the server down: {}", server.log()));
                let hint = error.hint().unwrap_or_default();
                let named = error.message().contains(&format!("{name}_v"));
                if error.code().code() != "XX002" || !hint.contains("REINDEX") || !named {
                    wrong.push(format!(
                        "{name}: {} {} {hint}",
                        error.code().code(),
                        error.message()
                    ));
                }
            }
        }
        // these may or may not come by the damage
        for statement in [
            format!("INSERT INTO {name} VALUES (0, vec(1, {dims}))"),
            format!("DELETE FROM {name} WHERE id % 2 = 0"),
            format!("VACUUM (INDEX_CLEANUP ON) {name}"),
        ] {
            if let Err(error) = client.batch_execute(&statement) {
                let code = error
                    .code()
                    .unwrap_or_else(|| panic!("{statement}: {}", server.log()));
                if code.code() != "XX002" {
                    wrong.push(format!("{statement}: {error:?}"));
                }
            }
        }
        client
            .batch_execute(&format!("REINDEX INDEX {name}_v"))
            .unwrap();
        client.batch_execute(&search).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        number(&mut client, "SELECT pg_backend_pid()::bigint"),
        backend
    );
}

#[test]
fn random_bytes_in_an_index_never_take_the_server_down() {
    let (server, mut client) = server_with(CHECKSUMS_IGNORED);
    let indexes: Vec<(Damaged, i32)> = (0..60)
        .map(|n| {
            let (dims, options) = match n % 5 {
                0 => (2500, "WITH (layout = plain)"),
                1 => (16, "WITH (layout = plain)"),
                2 => (2500, ""),
                3 => (16, "WITH (layout = compact)"),
                _ => (16, ""),
            };
            let table = format!("damaged{n}");
            let index = Damaged::create(&server, &mut client, &table, dims, options);
            (index, dims)
        })
        .collect();
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    let mut random = fastrand::Rng::with_seed(11);
    server.change_while_stopped(|| {
        for (index, _) in &indexes {
            change(&index.path, |bytes| {
                for _ in 0..random.usize(1..60) {
                    let block = random.usize(0..bytes.len() / PAGE);
                    // the header and item pointers, item headers, anything
                    let at = match random.u8(0..3) {
                        0 => block * PAGE + random.usize(0..120),
                        1 => first_item(bytes, block).min(bytes.len() - 200) + random.usize(0..200),
                        _ => block * PAGE + random.usize(0..PAGE),
                    };
                    bytes[at] = random.u8(..);
                }
            });
        }
    });

    let mut client = server.client();
    client
        .batch_execute("SET enable_seqscan = off; SET statement_timeout = '20s'")
        .unwrap();
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    for (index, dims) in &indexes {
        let table = &index.table;
        for statement in [
            format!("SELECT id FROM {table} ORDER BY v <-> vec(3, {dims}) LIMIT 10"),
            format!("SELECT id FROM {table} ORDER BY v <-> vec(1, {dims})"),
            format!(
                "INSERT INTO {table} SELECT i, vec(i, {dims}) FROM generate_series(500, 520) i"
            ),
            format!("DELETE FROM {table} WHERE id % 2 = 0"),
            format!("VACUUM (INDEX_CLEANUP ON) {table}"),
        ] {
            if let Err(error) = client.batch_execute(&statement) {
                let code = error
                    .code()
                    .unwrap_or_else(|| panic!("{statement}: {}", server.log()));
                // the server's own checks of page headers and heap tuples speak, too
                assert!(
                    ["XX001", "XX002", "XX000"].contains(&code.code()),
                    "{statement}: {error:?}"
                );
            }
        }
    }
    assert_eq!(
        number(&mut client, "SELECT pg_backend_pid()::bigint"),
        backend
    );
    assert!(sqlstate_of(&mut client, "SELECT 1 / 0") == "22012");
}

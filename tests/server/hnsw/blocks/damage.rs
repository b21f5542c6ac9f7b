//! Damaged files of indexes of blocks: an ERROR that names the index and says REINDEX, or rows; never
//! a crash, and never a search without end.

use crate::harness::sqlstate_of;
use crate::hnsw::damage::{
    CHECKSUMS_IGNORED, Damaged, PAGE, change, first_item, first_of_kind, kind, page,
};
use crate::hnsw::{number, server_with};

const DIMS: i32 = 32;
/// In the item of a block: where its factors begin, its code, its links, and what is beside them.
const FACTORS: usize = 64;
const CODE: usize = FACTORS + 24;
const LINKS: usize = CODE + DIMS as usize;
const SLOTS: usize = 31;
const SPANS: usize = (LINKS + SLOTS * 6).next_multiple_of(8);
const ADDS: usize = SPANS + (SLOTS * 2).next_multiple_of(8);

const NODES: u16 = 2;
const CENTROID: u16 = 6;
const ENTRIES: u16 = 7;

/// What the damage must lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// it is found whenever all rows are read
    Error,
    /// an answer, perhaps a poor one, or an ERROR
    Any,
}
use Outcome::{Any, Error};

type Damage = fn(&mut Vec<u8>);

fn meta(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[24 + at..24 + at + value.len()].copy_from_slice(value);
}

/// Overwrites the same part of every block.
fn every_block(bytes: &mut [u8], at: usize, value: &[u8]) {
    for block in 1..bytes.len() / PAGE {
        if kind(bytes, block) != NODES {
            continue;
        }
        let lower = u16::from_ne_bytes(
            bytes[block * PAGE + 12..block * PAGE + 14]
                .try_into()
                .unwrap(),
        );
        for pointer in 0..(lower as usize - 24) / 4 {
            let place = block * PAGE + 24 + 4 * pointer;
            let pointer = u32::from_ne_bytes(bytes[place..place + 4].try_into().unwrap());
            let item = block * PAGE + (pointer & 0x7fff) as usize;
            bytes[item + at..item + at + value.len()].copy_from_slice(value);
        }
    }
}

/// An address of an item on a page.
fn address(block: usize, offset: u16) -> [u8; 6] {
    let mut address = [0; 6];
    address[..2].copy_from_slice(&((block >> 16) as u16).to_ne_bytes());
    address[2..4].copy_from_slice(&(block as u16).to_ne_bytes());
    address[4..].copy_from_slice(&offset.to_ne_bytes());
    address
}

/// Lets every link lead there.
fn links_to(bytes: &mut [u8], block: usize, offset: u16) {
    every_block(bytes, LINKS, &address(block, offset).repeat(SLOTS));
}

/// Lets every entry lead there.
fn entries_to(bytes: &mut [u8], block: usize, offset: u16) {
    let at = first_of_kind(bytes, ENTRIES) * PAGE + 24;
    let count = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let addresses = address(block, offset).repeat(count);
    bytes[at + 8..at + 8 + addresses.len()].copy_from_slice(&addresses);
}

/// Lets a page's chain go on at that block.
fn chain_to(bytes: &mut [u8], kind: u16, next: u32) {
    let at = (first_of_kind(bytes, kind) + 1) * PAGE - 4;
    bytes[at..at + 4].copy_from_slice(&next.to_ne_bytes());
}

/// Name, what happens to the file, what must follow. Blocks of 32 dimensions with sq8 codes.
const DAMAGES: &[(&str, Damage, Outcome)] = &[
    ("meta_zeroed", |b| b[page(0)].fill(0), Error),
    ("meta_space", |b| meta(b, 8, &[0xff]), Error),
    ("meta_dims", |b| meta(b, 12, &31_u32.to_ne_bytes()), Error),
    ("meta_many_dims", |b| meta(b, 12, &[0xff; 4]), Error),
    ("meta_m", |b| meta(b, 16, &[0xff; 2]), Error),
    ("meta_entry", |b| meta(b, 20, &address(70_000, 1)), Any),
    ("meta_entry_on_meta", |b| meta(b, 20, &address(0, 1)), Any),
    ("meta_no_slots", |b| meta(b, 36, &[0, 0]), Error),
    (
        "meta_few_slots",
        |b| meta(b, 36, &30_u16.to_ne_bytes()),
        Error,
    ),
    ("meta_many_slots", |b| meta(b, 36, &[200, 0]), Error),
    ("meta_plain", |b| meta(b, 38, &[0]), Error),
    ("meta_layout", |b| meta(b, 38, &[9]), Error),
    ("meta_compact", |b| meta(b, 39, &[0]), Error),
    ("meta_other_quantizer", |b| meta(b, 39, &[1]), Error),
    ("meta_quantizer", |b| meta(b, 39, &[99]), Error),
    ("meta_no_code_dims", |b| meta(b, 40, &[0; 4]), Error),
    ("meta_few_code_dims", |b| meta(b, 40, &[8]), Error),
    ("meta_many_code_dims", |b| meta(b, 40, &[0xff; 4]), Error),
    ("meta_reach", |b| meta(b, 44, &[0xff; 4]), Any),
    ("meta_seed", |b| meta(b, 48, &[0xaa; 8]), Any),
    ("meta_centroid_beyond", |b| meta(b, 56, &[0x7f; 4]), Error),
    ("meta_centroid_itself", |b| meta(b, 56, &[0, 0, 0, 0]), Any),
    (
        "meta_centroid_nodes",
        |b| {
            let block = first_of_kind(b, NODES) as u32;
            meta(b, 56, &block.to_ne_bytes());
        },
        Error,
    ),
    ("meta_entries_beyond", |b| meta(b, 60, &[0x7f; 4]), Error),
    (
        "meta_entries_nodes",
        |b| {
            let block = first_of_kind(b, NODES) as u32;
            meta(b, 60, &block.to_ne_bytes());
        },
        Error,
    ),
    ("meta_no_entries", |b| meta(b, 60, &[0; 4]), Any),
    ("meta_curve_len", |b| meta(b, 64, &[99]), Error),
    (
        "meta_curve",
        |b| {
            meta(b, 64, &[16]);
            meta(b, 72, &[0xff; 128]);
        },
        Any,
    ),
    (
        "meta_curve_endless",
        |b| {
            meta(b, 64, &[16]);
            meta(b, 72, &f32::INFINITY.to_ne_bytes().repeat(32));
        },
        Any,
    ),
    (
        "centroid_zeroed",
        |b| {
            let block = first_of_kind(b, CENTROID);
            b[page(block)].fill(0);
        },
        Error,
    ),
    (
        "centroid_nan",
        |b| {
            let at = first_of_kind(b, CENTROID) * PAGE + 24;
            b[at..at + 8].fill(0xff);
        },
        Error,
    ),
    (
        "centroid_huge",
        |b| {
            let at = first_of_kind(b, CENTROID) * PAGE + 24;
            b[at..at + 128].copy_from_slice(&f32::MAX.to_ne_bytes().repeat(32));
        },
        Any,
    ),
    (
        "centroid_short",
        |b| {
            let at = first_of_kind(b, CENTROID) * PAGE + 12;
            b[at..at + 2].copy_from_slice(&40_u16.to_ne_bytes());
        },
        Error,
    ),
    (
        "centroid_chain",
        |b| {
            let block = first_of_kind(b, CENTROID) as u32;
            chain_to(b, CENTROID, block);
        },
        Error,
    ),
    (
        "entries_zeroed",
        |b| {
            let block = first_of_kind(b, ENTRIES);
            b[page(block)].fill(0);
        },
        Error,
    ),
    (
        "entries_count",
        |b| {
            let at = first_of_kind(b, ENTRIES) * PAGE + 24;
            b[at..at + 4].fill(0xff);
        },
        Error,
    ),
    (
        "entries_chain",
        |b| {
            let block = first_of_kind(b, ENTRIES) as u32;
            chain_to(b, ENTRIES, block);
        },
        Error,
    ),
    (
        "entries_beyond",
        |b| chain_to(b, ENTRIES, 0x7f7f_7f7f),
        Error,
    ),
    (
        "entries_to_centroid",
        |b| {
            let block = first_of_kind(b, CENTROID);
            entries_to(b, block, 1);
        },
        Any,
    ),
    (
        "entries_to_entries",
        |b| {
            let block = first_of_kind(b, ENTRIES);
            entries_to(b, block, 1);
        },
        Any,
    ),
    (
        "entries_to_one_node",
        |b| {
            let block = first_of_kind(b, NODES);
            entries_to(b, block, 1);
        },
        Any,
    ),
    ("entries_nowhere", |b| entries_to(b, 0, 0), Any),
    ("entries_past_the_end", |b| entries_to(b, 70_000, 1), Any),
    (
        "nodes_zeroed",
        |b| {
            let block = first_of_kind(b, NODES);
            b[page(block)].fill(0);
        },
        Error,
    ),
    ("node_kind", |b| every_block(b, 0, &[9]), Error),
    ("node_level", |b| every_block(b, 1, &[1]), Error),
    ("node_length", |b| every_block(b, 8, &[0xff; 4]), Error),
    ("node_tuples", |b| every_block(b, 16, &[200]), Error),
    ("node_chunks", |b| every_block(b, 18, &[1]), Error),
    (
        "node_list",
        |b| every_block(b, 56, &address(70_000, 1)),
        Error,
    ),
    ("node_deleted", |b| every_block(b, 2, &[1]), Any),
    ("factors", |b| every_block(b, FACTORS, &[0xff; 16]), Any),
    (
        "factors_endless",
        |b| every_block(b, FACTORS, &f32::INFINITY.to_ne_bytes().repeat(4)),
        Any,
    ),
    ("hash", |b| every_block(b, FACTORS + 16, &[7; 8]), Any),
    ("code", |b| every_block(b, CODE, &[0x80; 32]), Any),
    ("spans", |b| every_block(b, SPANS, &[0xff; 64]), Any),
    (
        "adds_and_scales",
        |b| every_block(b, ADDS, &[0xff; 256]),
        Any,
    ),
    (
        "adds_near",
        |b| every_block(b, ADDS, &(-f32::MAX).to_ne_bytes().repeat(64)),
        Any,
    ),
    ("links_beyond", |b| links_to(b, 70_000, 1), Error),
    ("links_to_meta", |b| links_to(b, 0, 1), Error),
    (
        "links_to_centroid",
        |b| {
            let block = first_of_kind(b, CENTROID);
            links_to(b, block, 1);
        },
        Error,
    ),
    (
        "links_to_entries",
        |b| {
            let block = first_of_kind(b, ENTRIES);
            links_to(b, block, 1);
        },
        Any,
    ),
    (
        "links_to_one",
        |b| {
            let block = first_of_kind(b, NODES);
            links_to(b, block, 1);
        },
        Any,
    ),
    (
        "links_to_no_item",
        |b| {
            let block = first_of_kind(b, NODES);
            links_to(b, block, 300);
        },
        Any,
    ),
    ("links_none", |b| links_to(b, 0, 0), Any),
    (
        "one_link_beyond",
        |b| {
            let at = first_item(b, first_of_kind(b, NODES)) + LINKS;
            b[at..at + 6].copy_from_slice(&address(70_000, 1));
        },
        Any,
    ),
    ("cut_short", |b| b.truncate(2 * PAGE), Error),
    ("empty_file", |b| b.clear(), Error),
];

#[test]
fn each_damage_of_blocks_is_reported_with_its_remedy_or_does_no_harm() {
    let (server, mut client) = server_with(CHECKSUMS_IGNORED);
    let indexes: Vec<Damaged> = DAMAGES
        .iter()
        .map(|(name, _, _)| Damaged::create(&server, &mut client, name, DIMS, ""))
        .collect();
    let slots = number(
        &mut client,
        "SELECT links_per_node::bigint FROM vector_index_stats('meta_m_v')",
    );
    assert_eq!(slots, SLOTS as i64);
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    server.change_while_stopped(|| {
        for (index, (_, damage, _)) in indexes.iter().zip(DAMAGES) {
            change(&index.path, damage);
        }
    });

    let mut wrong = Vec::new();
    for (name, _, outcome) in DAMAGES {
        // a session keeps what it knows of an index
        let mut client = server.client();
        client
            .batch_execute("SET enable_seqscan = off; SET statement_timeout = '10s'")
            .unwrap();
        let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
        let all = format!("SELECT id FROM {name} ORDER BY v <-> vec(1, {DIMS})");
        let mut is_reported = false;
        for statement in [
            format!("{all} LIMIT 10"),
            format!("SET hnsw.iterative_scan = strict_order; {all} LIMIT 100"),
            format!("SET hnsw.iterative_scan = auto; {all}"),
            format!("SELECT vector_index_stats('{name}_v')"),
            format!("INSERT INTO {name} SELECT i, vec(i, {DIMS}) FROM generate_series(1, 60) i"),
            format!("DELETE FROM {name} WHERE id % 2 = 0"),
            format!("VACUUM (INDEX_CLEANUP ON) {name}"),
            format!("{all} LIMIT 20"),
        ] {
            let Err(error) = client.batch_execute(&statement) else {
                continue;
            };
            let error = error
                .as_db_error()
                .unwrap_or_else(|| panic!("{statement} took the server down: {}", server.log()));
            let hint = error.hint().unwrap_or_default();
            let named = error.message().contains(&format!("{name}_v"));
            if error.code().code() != "XX002" || !hint.contains("REINDEX") || !named {
                let (code, message) = (error.code().code(), error.message());
                wrong.push(format!("{statement}: {code} {message} {hint}"));
            }
            is_reported |= statement.contains(&all);
        }
        if *outcome == Error && !is_reported {
            wrong.push(format!("{name}: no search reports it"));
        }
        let alive = number(&mut client, "SELECT pg_backend_pid()::bigint");
        assert_eq!(alive, backend);
        client
            .batch_execute(&format!("REINDEX INDEX {name}_v; {all}"))
            .unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(sqlstate_of(&mut server.client(), "SELECT 1 / 0"), "22012");
}

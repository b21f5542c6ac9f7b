//! `vector_index_check`: silent about sound indexes whatever was done to them, also while it is done;
//! tells planted damage, and nothing that an index says makes the server crash, hang or fail
//! otherwise than with XX002.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;

use super::blocks::pages::path_of;
use super::damage::{CHECKSUMS_IGNORED, COLUMNS, FILTERS, PAGE, first_item, first_of_kind, kind};
use super::{number, server_with};
use crate::harness::{Server, sqlstate_of};
use crate::planted::{self, Plant, Told, use_alone, wrong_end};

/// Name, dimensions, operator class, options and filter columns of an index.
type Kind = (&'static str, i32, &'static str, &'static str, &'static str);

/// Indexes of every layout.
const KINDS: &[Kind] = &[
    ("plain", 12, "vector_l2_ops", "WITH (layout = plain)", ""),
    (
        "plain_cosine",
        40,
        "vector_cosine_ops",
        "WITH (layout = plain, m = 5)",
        "",
    ),
    ("pieces", 2500, "vector_ip_ops", "WITH (layout = plain)", ""),
    ("sq8", 24, "vector_l2_ops", "", ""),
    ("rabitq4", 70, "vector_ip_ops", "", ""),
    ("rabitq1", 400, "vector_cosine_ops", "", ""),
    (
        "compact",
        32,
        "vector_l2_ops",
        "WITH (layout = compact)",
        "",
    ),
    (
        "books",
        64,
        "vector_l2_ops",
        "WITH (quantizer = pq, pq_segments = 32)",
        "",
    ),
    (
        "signs",
        96,
        "vector_cosine_ops",
        "WITH (quantizer = binary)",
        "",
    ),
    ("keyed", 24, "vector_l2_ops", "", FILTERS),
    (
        "keyed_compact",
        100,
        "vector_cosine_ops",
        "WITH (layout = compact)",
        FILTERS,
    ),
];

/// What the check says, one line for each finding.
pub fn findings(client: &mut Client, index: &str) -> Result<Vec<String>, postgres::Error> {
    let query = format!("SELECT * FROM vector_index_check('{index}', true)");
    let rows = client.query(&query, &[])?;
    let line = |row: &postgres::Row| -> String {
        let (severity, block): (&str, i64) = (row.get(0), row.get(1));
        let (offset, message): (Option<i32>, &str) = (row.get(2), row.get(3));
        format!("{severity} at ({block},{}): {message}", offset.unwrap_or(0))
    };
    Ok(rows.iter().map(line).collect())
}

/// Panics where the check finds damage, or more than what a crash may leave.
pub fn assert_sound(client: &mut Client, index: &str) {
    let found = findings(client, index).unwrap_or_else(|error| panic!("{index}: {error:?}"));
    let errors: Vec<&String> = found
        .iter()
        .filter(|line| line.starts_with("error"))
        .collect();
    assert!(errors.is_empty(), "{index}: {errors:#?}");
}

/// A table with rows, some equal, some NULL, and its index.
fn create(client: &mut Client, kind: &Kind, rows: i64) {
    let (name, dims, class, options, filters) = kind;
    let rows = if *dims > 1000 { rows / 10 } else { rows };
    client
        .batch_execute(&format!(
            "CREATE TABLE {name} (id bigint, v vector({dims}), {COLUMNS});
             INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(1, {rows}) i;
             INSERT INTO {name} SELECT i, vec(1, {dims}) FROM generate_series(1, 60) i;
             INSERT INTO {name} VALUES (0, NULL);
             CREATE INDEX {name}_v ON {name} USING hnsw (v {class}{filters}) {options}"
        ))
        .unwrap();
}

#[test]
fn sound_indexes_have_no_findings_whatever_was_done_to_them() {
    let (_server, mut client) = server_with("");
    // several passes over claims and codes
    client
        .batch_execute("SET maintenance_work_mem = '1MB'")
        .unwrap();
    for kind in KINDS {
        let (name, dims, ..) = kind;
        create(&mut client, kind, 800);
        let index = format!("{name}_v");
        let none: [String; 0] = [];
        for change in [
            "SELECT 1".to_owned(),
            format!("INSERT INTO {name} SELECT i, vec(-i, {dims}) FROM generate_series(1, 60) i"),
            format!("UPDATE {name} SET id = id + 1 WHERE id % 7 = 0"),
            format!("UPDATE {name} SET v = vec(id + 100000, {dims}) WHERE id % 11 = 0"),
            format!("DELETE FROM {name} WHERE id % 3 = 0"),
            format!("VACUUM (INDEX_CLEANUP ON) {name}"),
            format!(
                "BEGIN; INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(5000, 5030) i; ROLLBACK"
            ),
            format!("INSERT INTO {name} SELECT i, vec(7, {dims}) FROM generate_series(1, 300) i"),
            format!("DELETE FROM {name} WHERE id > 100 OR id % 2 = 0"),
            format!("VACUUM (INDEX_CLEANUP ON) {name}"),
            format!("REINDEX INDEX CONCURRENTLY {index}"),
            format!("DELETE FROM {name}"),
            format!("VACUUM (INDEX_CLEANUP ON) {name}"),
            format!("INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(1, 60) i"),
        ] {
            client.batch_execute(&change).unwrap();
            let found = findings(&mut client, &index).unwrap();
            assert_eq!(found, none, "{name} after {change}");
            client
                .batch_execute(&format!("SELECT vector_index_check('{index}', true, true)"))
                .unwrap();
        }
    }
}

#[test]
fn other_types_partial_and_expression_indexes_are_checked_against_their_rows() {
    let (_server, mut client) = server_with("");
    client
        .batch_execute(
            "CREATE TABLE t (id bigint, v vector(20), h halfvec(20), b bit(70), s sparsevec(50));
             INSERT INTO t SELECT i, vec(i, 20), vec(i, 20)::halfvec, (hashint8(i)::bit(32) || hashint8(-i)::bit(32) || B'101010')::bit(70),
                    format('{%s:1.5,%s:2}/50', i % 20 + 1, i % 29 + 21)::sparsevec FROM generate_series(1, 500) i;
             CREATE INDEX h ON t USING hnsw (h halfvec_cosine_ops);
             CREATE INDEX h_plain ON t USING hnsw (h halfvec_l1_ops);
             CREATE INDEX b ON t USING hnsw (b bit_hamming_ops);
             CREATE INDEX s ON t USING hnsw (s sparsevec_l2_ops);
             CREATE INDEX p ON t USING hnsw (v vector_l2_ops) WHERE id % 2 = 0;
             CREATE INDEX e ON t USING hnsw (((v * v)::halfvec(20)) halfvec_l2_ops);
             INSERT INTO t SELECT id + 1000, v, h, b, s FROM t WHERE id % 5 = 0;
             DELETE FROM t WHERE id % 3 = 0",
        )
        .unwrap();
    client.batch_execute("VACUUM t").unwrap();
    for index in ["h", "h_plain", "b", "s", "p", "e"] {
        let none: [String; 0] = [];
        assert_eq!(findings(&mut client, index).unwrap(), none, "{index}");
    }
}

#[test]
fn nothing_is_found_in_indexes_that_are_being_changed() {
    let (server, mut client) = server_with("");
    let kinds = [KINDS[0], KINDS[2], KINDS[3], KINDS[6], KINDS[7], KINDS[9]];
    for kind in &kinds {
        create(&mut client, kind, 500);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (mut client, done) = (server.client(), &done);
            scope.spawn(move || {
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    for (name, dims, ..) in &kinds {
                        let from = 1000 * (writer + 1) + round % 50 * 10;
                        let sql = match writer {
                            2 => format!("VACUUM (INDEX_CLEANUP ON) {name}"),
                            _ => format!(
                                "DELETE FROM {name} WHERE id BETWEEN {from} AND {from} + 20;
                                 INSERT INTO {name} SELECT i, vec(i / 3, {dims}) FROM generate_series({from}, {from} + 9) i"
                            ),
                        };
                        client.batch_execute(&sql).unwrap();
                    }
                }
            });
        }
        let _ends = crate::harness::Ends(&done);
        let mut checks = 0;
        let start = std::time::Instant::now();
        while start.elapsed().as_secs() < 6 {
            for (name, ..) in &kinds {
                assert_sound(&mut client, &format!("{name}_v"));
                checks += 1;
            }
        }
        assert!(checks > 4, "{checks} checks");
    });
}

#[test]
fn a_row_that_is_missing_or_another_is_told() {
    let (server, mut client) = server_with(CHECKSUMS_IGNORED);
    create(&mut client, &KINDS[3], 300);
    client
        .batch_execute("CREATE TABLE before AS SELECT * FROM sq8; CHECKPOINT")
        .unwrap();
    let index = path_of(&server, &mut client, "sq8_v");
    drop(client);
    let mut sound = Vec::new();
    server.change_while_stopped(|| sound = std::fs::read(&index).unwrap());
    let mut client = server.client();
    client
        .batch_execute(
            "INSERT INTO sq8 VALUES (77, vec(77777, 24)), (78, vec(77778, 24)); CHECKPOINT",
        )
        .unwrap();
    drop(client);
    // an index of before rows came: what a lost write leaves
    server.change_while_stopped(|| std::fs::write(&index, &sound).unwrap());
    let mut client = server.client();
    let found = findings(&mut client, "sq8_v").unwrap();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found
            .iter()
            .all(|line| line.contains("is not in the index")),
        "{found:#?}"
    );
    assert_eq!(
        sqlstate_of(
            &mut client,
            "SELECT vector_index_check('sq8_v', true, true)"
        ),
        "XX002"
    );
    // without a look at the table nothing is wrong
    assert_eq!(
        number(
            &mut client,
            "SELECT count(*) FROM vector_index_check('sq8_v')"
        ),
        0
    );
    // another table's rows under an index: as many, but not the same
    client
        .batch_execute(
            "TRUNCATE sq8; INSERT INTO sq8 SELECT id, v FROM before ORDER BY id DESC; CHECKPOINT",
        )
        .unwrap();
    let index = path_of(&server, &mut client, "sq8_v");
    drop(client);
    server.change_while_stopped(|| std::fs::write(&index, &sound).unwrap());
    let found = findings(&mut server.client(), "sq8_v").unwrap();
    let wrong = found
        .iter()
        .filter(|line| line.contains("is not that of its row"));
    assert!(wrong.count() > 200, "{found:#?}");
}

/// A damage: what it is called, and the bytes it changes.
struct Planted {
    kind: usize,
    what: String,
    index: String,
    path: PathBuf,
}

/// How many bits are flipped in indexes of each kind, every other one with the checksum that its page then has.
fn flips() -> usize {
    let asked = std::env::var("VECTOREXT_FLIPS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(25)
}

/// Where in a page a bit is flipped, all structures about as often.
fn any_bit(bytes: &[u8], random: &mut fastrand::Rng) -> (usize, u8) {
    let blocks = 0..bytes.len() / PAGE;
    let block = match random.bool() {
        true => random.usize(blocks),
        false => {
            let kinds: BTreeSet<u16> = blocks.clone().map(|block| kind(bytes, block)).collect();
            let kinds: Vec<u16> = kinds.into_iter().collect();
            let wanted = kinds[random.usize(..kinds.len())];
            let mut all = blocks.filter(|&block| kind(bytes, block) == wanted);
            let count = all.clone().count();
            all.nth(random.usize(..count)).unwrap()
        }
    };
    // where there is none it is what follows the page's header
    let item = first_item(bytes, block).clamp(block * PAGE + 24, (block + 1) * PAGE - 100);
    let at = match random.u8(0..5) {
        0 => block * PAGE + 10 + random.usize(0..30),
        1 => item + random.usize(0..64),
        2 => (block + 1) * PAGE - 16 + random.usize(0..16),
        3 if kind(bytes, block) == 1 => block * PAGE + 24 + random.usize(0..208),
        _ => block * PAGE + random.usize(10..PAGE),
    };
    (at, 1 << random.u8(0..8))
}

/// What no check can tell from what is right where the page's checksum agrees: where on the page, and why.
fn is_beyond_checks(bytes: &[u8], at: usize, bit: u8, kind_of: &Kind) -> Option<&'static str> {
    let (_, dims, class, options, _) = *kind_of;
    let is_plain = options.contains("plain");
    let (block, on_page) = (at / PAGE, at % PAGE);
    let page = &bytes[block * PAGE..][..PAGE];
    let lower = u16::from_ne_bytes([page[12], page[13]]) as usize;
    let special = PAGE - 16;
    match on_page {
        0..10 => return Some("position in the log and checksum, which are the server's"),
        20..24 => return Some("checksum, sealed again"),
        10 if bit < 8 => return Some("hints of the page header"),
        12 | 13 => return Some("line pointers that are empty"),
        _ => {}
    }
    if (special + 8..special + 12).contains(&on_page) {
        return Some("generation of a page");
    }
    match kind(bytes, block) {
        1 => match on_page.wrapping_sub(24) {
            16..20 => Some("m and ef_construction"),
            28..36 => Some("placement hints"),
            44..48 => Some("reach"),
            48..56 if is_plain => Some("seed of no rotation"),
            64..72 => Some("length of the curve"),
            72..200 => Some("calibration curve"),
            _ => None,
        },
        2 => {
            let item = item_of(page, on_page);
            match item.map(|(start, _)| on_page - start) {
                Some(4..8) => Some("generation of a node"),
                _ if on_page < lower => Some("padding after an item"),
                Some(64..) if is_plain => Some("link to another node, of which nothing is kept"),
                Some(64..) if bit == 1 => Some("verdict on a link"),
                Some(in_item)
                    if class == "vector_ip_ops"
                        && spans(bytes, dims).contains(&in_item)
                        && page[on_page] & bit != 0 =>
                {
                    Some("length of a link, shorter, as from before the reach grew")
                }
                _ => None,
            }
        }
        3 | 4 if on_page < lower => Some("padding after an item"),
        // the zone of a page, after its block; a wider one costs time alone
        9 if (24 + 8..special).contains(&on_page) && (on_page - 32) % 40 >= 8 => {
            Some("zone of a page of the code map, perhaps a wider one")
        }
        8 if on_page >= special + 12 => Some("hint where the code map has room"),
        5 => Some("kind of a page in no use"),
        10 if on_page < lower => Some("entry of a codebook that no row may have"),
        _ => None,
    }
}

/// Where lengths of links are in the items of an index of blocks.
fn spans(bytes: &[u8], dims: i32) -> std::ops::Range<usize> {
    // on the metapage
    let slots = u16::from_ne_bytes([bytes[24 + 36], bytes[24 + 37]]) as usize;
    let links = 64 + (24 + dims as usize).next_multiple_of(8);
    let start = (links + 6 * slots).next_multiple_of(8);
    start..start + 2 * slots
}

/// Start and length of the item on a page that a byte is in.
fn item_of(page: &[u8], at: usize) -> Option<(usize, usize)> {
    let lower = u16::from_ne_bytes([page[12], page[13]]) as usize;
    page[24..lower.clamp(24, PAGE)]
        .chunks_exact(4)
        .map(|raw| u32::from_ne_bytes(raw.try_into().unwrap()))
        .map(|raw| ((raw & 0x7fff) as usize, (raw >> 17) as usize))
        .find(|(start, len)| (*start..start + len).contains(&at))
}

#[test]
fn flipped_bits_and_worse_are_told_and_never_take_the_server_down() {
    let (server, mut client) = server_with(CHECKSUMS_IGNORED);
    let seed = std::env::var("VECTOREXT_SEED").ok();
    let seed = seed.map_or(7, |seed| seed.parse().unwrap());
    println!("damage of hnsw: seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut planted = Vec::new();
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    let worse: &[(&str, Plant)] = &[
        ("file cut short", |b, r| {
            b.truncate(r.usize(0..b.len() / PAGE) * PAGE)
        }),
        ("page zeroed", |b, r| {
            let block = any_page(b, r);
            b[block * PAGE..(block + 1) * PAGE].fill(0);
        }),
        ("pages swapped", |b, r| {
            let (one, other) = (any_page(b, r), any_page(b, r));
            let other = if one == other { 0 } else { other };
            let copy = b[one * PAGE..(one + 1) * PAGE].to_vec();
            b.copy_within(other * PAGE..(other + 1) * PAGE, one * PAGE);
            b[other * PAGE..(other + 1) * PAGE].copy_from_slice(&copy);
        }),
        ("page of noise", |b, r| {
            let block = any_page(b, r);
            b[block * PAGE + 24..(block + 1) * PAGE].fill_with(|| r.u8(..));
        }),
        ("page written twice", |b, r| {
            let (from, to) = (any_page(b, r), any_page(b, r));
            let to = if from == to { 0 } else { to };
            b.copy_within(from * PAGE..(from + 1) * PAGE, to * PAGE);
        }),
        ("chain that leads to itself", |b, r| {
            let block = any_of_chains(b, r);
            put_next(b, block, block as u32);
        }),
        ("chain that leads elsewhere", |b, r| {
            let block = any_of_chains(b, r);
            let elsewhere = if r.bool() { 0 } else { u32::MAX - 1 };
            // no page follows the last one
            let next = if next(b, block) == 0 {
                1_000_000
            } else {
                elsewhere
            };
            put_next(b, block, next);
        }),
        ("directory that leads elsewhere", |b, r| {
            let directories = (1..b.len() / PAGE).find(|&block| kind(b, block) == DIRECTORY);
            match directories {
                Some(block) => {
                    let at = block * PAGE + 24 + 8;
                    let elsewhere = [0, block as u32, first_of_kind(b, NODES) as u32, u32::MAX];
                    b[at..at + 4].copy_from_slice(&elsewhere[r.usize(..4)].to_ne_bytes());
                }
                None => b.truncate(PAGE),
            }
        }),
        (
            "page of the code map without rows, or with more",
            |b, r| match (1..b.len() / PAGE).find(|&block| kind(b, block) == MAP) {
                Some(block) => {
                    let at = block * PAGE + 24;
                    let count = u32::from_ne_bytes(b[at..at + 4].try_into().unwrap());
                    let count = [0, count - 1, count + 1, u32::MAX][r.usize(..4)];
                    b[at..at + 4].copy_from_slice(&count.to_ne_bytes());
                }
                None => b.truncate(PAGE),
            },
        ),
    ];
    let per_kind = flips() + 2 * worse.len();
    for (number, kind) in KINDS.iter().enumerate() {
        let (name, dims, class, options, filters) = kind;
        create(&mut client, kind, 400);
        let delete = format!("DELETE FROM {name} WHERE id % 5 = 0");
        client.batch_execute(&delete).unwrap();
        let vacuum = format!("VACUUM (INDEX_CLEANUP ON) {name}");
        client.batch_execute(&vacuum).unwrap();
        client
            .batch_execute(&format!(
                "INSERT INTO {name} SELECT i, vec(-i, {dims}) FROM generate_series(1, 30) i;
                 CREATE TABLE {name}_copy (LIKE {name} INCLUDING GENERATED)"
            ))
            .unwrap();
        let sound = path_of(&server, &mut client, &format!("{name}_v"));
        for n in 0..per_kind {
            let index = format!("{name}_{n}");
            client
                .batch_execute(&format!(
                    "CREATE INDEX {index} ON {name}_copy USING hnsw (v {class}{filters}) {options}"
                ))
                .unwrap();
            planted.push(Planted {
                kind: number,
                what: String::new(),
                path: path_of(&server, &mut client, &index),
                index,
            });
        }
        let table = path_of(&server, &mut client, name);
        files.push((
            table,
            path_of(&server, &mut client, &format!("{name}_copy")),
        ));
        // values out of line stay in the original's toast table, to which rows lead wherever they are
        for damage in planted.iter_mut().filter(|damage| damage.kind == number) {
            damage.what = sound.to_str().unwrap().to_owned();
        }
    }
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    let mut beyond = Vec::new();
    server.change_while_stopped(|| {
        for (from, to) in &files {
            copy(from, to);
        }
        for (n, damage) in planted.iter_mut().enumerate() {
            let mut bytes = std::fs::read(&damage.what).unwrap();
            let n = n % per_kind;
            let mut excuse = None;
            let is_sealed;
            if n < flips() {
                let (at, bit) = any_bit(&bytes, &mut random);
                is_sealed = n % 2 == 1;
                if is_sealed {
                    excuse = is_beyond_checks(&bytes, at, bit, &KINDS[damage.kind]);
                }
                let (block, on_page) = (at / PAGE, at % PAGE);
                let kind = kind(&bytes, block);
                bytes[at] ^= bit;
                let place = match kind {
                    NODES => item_of(&bytes[block * PAGE..][..PAGE], on_page),
                    _ => None,
                };
                damage.what = format!(
                    "bit {bit} of byte {on_page} of block {block} of kind {kind}, item {place:?}"
                );
            } else {
                let (what, plant) = worse[(n - flips()) % worse.len()];
                is_sealed = n - flips() >= worse.len();
                planted::plant(plant, &mut bytes, &mut random);
                damage.what = what.to_owned();
            }
            if is_sealed {
                planted::seal(&mut bytes);
                damage.what += ", sealed";
            }
            beyond.push(excuse);
            std::fs::write(&damage.path, bytes).unwrap();
        }
    });
    let mut client = server.client();
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    let mut check = Told::default();
    for (damage, excuse) in planted.iter().zip(&beyond) {
        check.check(&mut client, &damage.index, &damage.what, *excuse);
    }
    let Told {
        told,
        excused,
        missed,
    } = check;
    println!(
        "planted {} damages: {told} told, {excused} in what nothing can tell, {} missed",
        planted.len(),
        missed.len()
    );
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    let tried = use_all(&server, &planted);
    println!("{tried} statements over damaged indexes");
    assert_eq!(
        number(&mut client, "SELECT pg_backend_pid()::bigint"),
        backend
    );
}

const NODES: u16 = 2;
const MAP: u16 = 8;
const DIRECTORY: u16 = 9;
/// Kinds of pages that form chains: pieces of the centroid, the entry table, the code map's directory, the codebook.
const CHAINS: [u16; 4] = [6, 7, DIRECTORY, 10];

/// A page of a chain; of an index that has none, any.
fn any_of_chains(bytes: &[u8], random: &mut fastrand::Rng) -> usize {
    let blocks = 1..bytes.len() / PAGE;
    let all: Vec<usize> = blocks
        .filter(|&block| CHAINS.contains(&kind(bytes, block)))
        .collect();
    match all.is_empty() {
        true => any_page(bytes, random),
        false => all[random.usize(..all.len())],
    }
}

fn next(bytes: &[u8], block: usize) -> u32 {
    let at = (block + 1) * PAGE - 4;
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn put_next(bytes: &mut [u8], block: usize, next: u32) {
    let at = (block + 1) * PAGE - 4;
    bytes[at..at + 4].copy_from_slice(&next.to_ne_bytes());
}

fn any_page(bytes: &[u8], random: &mut fastrand::Rng) -> usize {
    random.usize(1..bytes.len() / PAGE)
}

fn copy(from: &Path, to: &Path) {
    std::fs::write(to, std::fs::read(from).unwrap()).unwrap();
}

/// Scans, inserts, deletes and vacuums with every damaged index: an answer, or XX002 that says
/// REINDEX, or what the server itself says of damaged pages. How many statements that were.
fn use_all(server: &Server, planted: &[Planted]) -> usize {
    let mut client = server.client();
    client
        .batch_execute("SET enable_seqscan = off; SET statement_timeout = '10s'")
        .unwrap();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for damage in planted {
        let (name, dims, class, ..) = KINDS[damage.kind];
        let operator = super::blocks::operator_of(class);
        let index = &damage.index;
        let query = format!("SELECT id FROM {name}_copy ORDER BY v {operator} vec(3, {dims})");
        client.batch_execute(&use_alone(index)).unwrap();
        for statement in [
            format!("{query} LIMIT 10"),
            query.clone(),
            format!(
                "SELECT id FROM {name}_copy WHERE number = 3 AND NOT label = 'label 2'
                 ORDER BY v {operator} vec(3, {dims}) LIMIT 10"
            ),
            format!(
                "SELECT id FROM {name}_copy WHERE number >= 2 ORDER BY v {operator} vec(4, {dims})"
            ),
            format!(
                "INSERT INTO {name}_copy SELECT i, vec(i, {dims}) FROM generate_series(500, 510) i"
            ),
            format!(
                "DELETE FROM {name}_copy WHERE id IN (SELECT id FROM {name}_copy ORDER BY random() LIMIT 15)"
            ),
            format!("VACUUM (INDEX_CLEANUP ON) {name}_copy"),
            format!("{query} LIMIT 20"),
            format!("SELECT vector_index_check('{index}', true)"),
            format!("SELECT vector_index_stats('{index}')"),
        ] {
            tried += 1;
            let what = format!("{index}, {}", damage.what);
            wrong.extend(wrong_end(server, &mut client, &what, &statement));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    tried
}

#[test]
fn only_who_may_read_the_table_may_check_its_index() {
    let (server, mut client) = server_with("");
    create(&mut client, &KINDS[3], 100);
    client
        .batch_execute(
            "CREATE ROLE anybody LOGIN; CREATE ROLE reader LOGIN; GRANT SELECT ON sq8 TO reader;
             CREATE VIEW nothing AS SELECT 1; CREATE INDEX sq8_id ON sq8 (id)",
        )
        .unwrap();
    let mut anybody = server.client_of("postgres", "anybody");
    assert_eq!(
        sqlstate_of(&mut anybody, "SELECT vector_index_check('sq8_v')"),
        "42501"
    );
    assert_eq!(
        sqlstate_of(&mut client, "SELECT vector_index_check('nothing')"),
        "42809"
    );
    assert_eq!(
        sqlstate_of(&mut client, "SELECT vector_index_check('sq8_id')"),
        "42809"
    );
    assert_eq!(
        sqlstate_of(&mut client, "SELECT vector_index_check(1)"),
        "42P01"
    );
    let mut reader = server.client_of("postgres", "reader");
    assert_sound(&mut reader, "sq8_v");
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM vector_index_check(NULL)"),
        0
    );

    // an index expression runs as its table's owner, not as who checks
    client
        .batch_execute(
            "CREATE ROLE owner LOGIN; GRANT CREATE ON SCHEMA public TO owner; SET ROLE owner;
             CREATE TABLE whose (id bigint, v vector(3));
             CREATE FUNCTION trap(v vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS
             $$BEGIN IF current_user <> 'owner' THEN RAISE 'run as %', current_user; END IF; RETURN v; END$$;
             INSERT INTO whose SELECT i, ARRAY[i, 1, 1]::vector FROM generate_series(1, 50) i;
             CREATE INDEX whose_v ON whose USING hnsw ((trap(v)::vector(3)) vector_l2_ops);
             RESET ROLE",
        )
        .unwrap();
    assert_sound(&mut client, "whose_v");
}

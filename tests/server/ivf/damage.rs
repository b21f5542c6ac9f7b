//! Damage of `ivf` and `ivfflat` indexes, planted in every structure: `vector_index_check` tells it, and no
//! scan, insert, VACUUM or check of a damaged index crashes, hangs or fails otherwise than with XX002 and
//! HINT: REINDEX.
//!
//! `VECTOREXT_FLIPS` says how many bits are flipped in indexes of each kind, every other one with the checksum that
//! its page then has.

use std::path::PathBuf;

use postgres::Client;

use crate::harness::Server;
use crate::hnsw::blocks::{operator_of, pages::path_of};
use crate::hnsw::damage::{CHECKSUMS_IGNORED, COLUMNS, FILTERS, PAGE};
use crate::hnsw::{number, server_with};
use crate::planted::{self, Plant, Told, use_alone, wrong_end};

/// An index.
struct Form {
    name: &'static str,
    method: &'static str,
    dims: i32,
    class: &'static str,
    /// filter columns
    filters: &'static str,
    options: &'static str,
}

const fn form(
    name: &'static str,
    method: &'static str,
    dims: i32,
    class: &'static str,
    options: &'static str,
) -> Form {
    Form {
        name,
        method,
        dims,
        class,
        filters: "",
        options,
    }
}

/// Indexes of every form.
const FORMS: &[Form] = &[
    form("codes", "ivf", 24, "vector_l2_ops", "WITH (lists = 12)"),
    form(
        "cosine",
        "ivf",
        100,
        "vector_cosine_ops",
        "WITH (lists = 9)",
    ),
    form(
        "compact",
        "ivf",
        40,
        "vector_ip_ops",
        "WITH (quantizer = rabitq2, rerank = index, lists = 10)",
    ),
    form(
        "books",
        "ivf",
        32,
        "vector_l2_ops",
        "WITH (quantizer = pq, lists = 10)",
    ),
    form(
        "signs",
        "ivf",
        64,
        "vector_cosine_ops",
        "WITH (quantizer = binary, rerank = index, lists = 8)",
    ),
    form("values", "ivfflat", 24, "vector_l2_ops", "WITH (lists = 8)"),
    form(
        "norms",
        "ivfflat",
        40,
        "vector_cosine_ops",
        "WITH (lists = 5)",
    ),
    Form {
        filters: FILTERS,
        ..form(
            "keyed",
            "ivf",
            24,
            "vector_l2_ops",
            "WITH (rerank = index, lists = 10)",
        )
    },
    Form {
        filters: FILTERS,
        ..form(
            "keyed_values",
            "ivfflat",
            24,
            "vector_ip_ops",
            "WITH (lists = 8)",
        )
    },
];

/// Bytes of a page's header.
const PAGE_HEADER: usize = 24;
/// Where the metapage has the quantizer's number, from the header on.
const QUANTIZER: usize = 17;
/// Bytes of a page's special area.
const SPECIAL: usize = 24;
const META: u16 = 1;
const CENTROID: u16 = 2;
const CODEBOOK: u16 = 3;
const DIRECTORY: u16 = 4;
const LIST: u16 = 5;
const VECTORS: u16 = 6;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Where a page's special area begins.
fn special(block: usize) -> usize {
    (block + 1) * PAGE - SPECIAL
}

fn kind(bytes: &[u8], block: usize) -> u16 {
    u16_at(bytes, special(block) + 6)
}

fn any_of_kind(bytes: &[u8], wanted: u16, random: &mut fastrand::Rng) -> Option<usize> {
    let blocks = 0..bytes.len() / PAGE;
    let all: Vec<usize> = blocks
        .filter(|&block| kind(bytes, block) == wanted)
        .collect();
    (!all.is_empty()).then(|| all[random.usize(..all.len())])
}

/// A bit of an index: every kind of page about as often, and of it header, special area, what is used and
/// what is not.
fn any_bit(bytes: &[u8], random: &mut fastrand::Rng) -> (usize, u8) {
    let block = loop {
        let wanted = [META, CENTROID, CODEBOOK, DIRECTORY, LIST, LIST, VECTORS][random.usize(..7)];
        if let Some(block) = any_of_kind(bytes, wanted, random) {
            break block;
        }
    };
    let page = block * PAGE;
    let lower = u16_at(bytes, page + 12) as usize;
    let used: Vec<usize> = (page + 24..page + lower)
        .filter(|&at| bytes[at] != 0)
        .collect();
    let at = match random.u8(..8) {
        0 => page + random.usize(10..24),
        1 => special(block) + random.usize(..SPECIAL),
        2 => page + random.usize(24..PAGE),
        3 => page + random.usize(24..64),
        _ if used.is_empty() => page + random.usize(24..lower.max(25)),
        _ => used[random.usize(..used.len())],
    };
    (at, 1 << random.u8(0..8))
}

/// What no check can tell from what is right where the page's checksum agrees, and why.
fn is_beyond_checks(bytes: &[u8], at: usize, bit: u8, form: &Form) -> Option<&'static str> {
    let (block, on_page) = (at / PAGE, at % PAGE);
    let keeps_values = form.method == "ivfflat";
    match on_page {
        0..10 => return Some("position in the log and checksum, which are the server's"),
        20..24 => return Some("checksum, sealed again"),
        10 if bit < 8 => return Some("hints of the page header"),
        _ => {}
    }
    let contents = on_page.wrapping_sub(24);
    match kind(bytes, block) {
        META => match contents {
            // lists are placed by it, and nothing of it is kept with values
            24..32 if keeps_values => Some("seed of an index of values"),
            32..36 => Some("reach"),
            56..60 => Some("number of the next list"),
            60..64 => Some("generation of the directory"),
            64..88 => Some("rows when counted, and length of the curve"),
            88..92 => Some("placement hint"),
            92 => Some("where the number of lists comes from"),
            18 => Some("how candidates get into exact order"),
            19 => Some("lists of a row"),
            93..96 if form.name != "books" => Some("of a codebook that there is not"),
            96..224 => Some("calibration curve"),
            _ => None,
        },
        CENTROID if keeps_values => Some("centroid of an index of values"),
        // numbers of which a digit more or less changes no code
        CENTROID if on_page % 4 < 2 => Some("last digits of the centroid"),
        CODEBOOK => Some("entry of a codebook that no row may have"),
        DIRECTORY => {
            let len = 48 + (form.dims as usize).next_multiple_of(8);
            match contents.wrapping_sub(8) % len {
                _ if contents < 4 => Some("slots in use, of which some may be free"),
                _ if contents < 8 => None,
                12..16 => Some("rows of a list that could not be divided"),
                20..24 => Some("rows of a list, when counted"),
                _ => None,
            }
        }
        LIST if !keeps_values && bit == 128 => Some("mark of a row's second copy, perhaps"),
        _ => None,
    }
}

fn any_page(bytes: &[u8], random: &mut fastrand::Rng) -> usize {
    random.usize(1..bytes.len() / PAGE)
}

/// Sets four bytes at an offset from a page's beginning.
fn put(bytes: &mut [u8], block: usize, offset: usize, value: u32) {
    bytes[block * PAGE + offset..][..4].copy_from_slice(&value.to_ne_bytes());
}

/// Where a directory page has the entry of a list that is there, from the page's beginning.
fn any_entry(bytes: &[u8], block: usize, random: &mut fastrand::Rng) -> usize {
    let page = block * PAGE;
    let count = u32_at(bytes, page + 24) as usize;
    let lower = u16_at(bytes, page + 12) as usize;
    // as many bytes as between the names of the first two lists, which are 1 and 2 after a build
    let len = (48..lower)
        .step_by(8)
        .find(|len| u32_at(bytes, page + 32 + len) == 2)
        .expect("a build makes several lists");
    32 + len * random.usize(..count)
}

fn any_list(bytes: &[u8], random: &mut fastrand::Rng) -> usize {
    any_of_kind(bytes, LIST, random).unwrap()
}

/// Greater damage: pages and pointers.
const WORSE: &[(&str, Plant)] = &[
    ("file cut short", |b, r| {
        b.truncate(r.usize(0..b.len() / PAGE) * PAGE)
    }),
    ("page of noise", |b, r| {
        let block = any_page(b, r);
        b[block * PAGE + 24..(block + 1) * PAGE].fill_with(|| r.u8(..));
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
    ("page written twice", |b, r| {
        let (from, to) = (any_page(b, r), any_page(b, r));
        let to = if from == to { 0 } else { to };
        b.copy_within(from * PAGE..(from + 1) * PAGE, to * PAGE);
    }),
    ("list that leads to itself", |b, r| {
        let block = any_list(b, r);
        put(b, block, PAGE - SPECIAL + 12, block as u32);
    }),
    ("list that leads to another's page", |b, r| {
        let block = any_list(b, r);
        let list = u32_at(b, special(block) + 8);
        let other = loop {
            let other = any_list(b, r);
            if u32_at(b, special(other) + 8) != list {
                break other;
            }
        };
        put(b, block, PAGE - SPECIAL + 12, other as u32);
    }),
    ("list that leads past the end", |b, r| {
        let block = any_list(b, r);
        put(b, block, PAGE - SPECIAL + 12, u32::MAX - 1);
    }),
    ("entry that leads to another list", |b, r| {
        let block = any_of_kind(b, DIRECTORY, r).unwrap();
        let entry = any_entry(b, block, r);
        let first = u32_at(b, block * PAGE + entry + 4);
        let other = (0..).map(|_| any_list(b, r) as u32).find(|&at| at != first);
        put(b, block, entry + 4 * r.usize(1..3), other.unwrap());
    }),
    ("entry that leads past the end", |b, r| {
        let block = any_of_kind(b, DIRECTORY, r).unwrap();
        let entry = any_entry(b, block, r);
        put(b, block, entry + 4 * r.usize(1..3), 1_000_000);
    }),
    ("entry that leads to the metapage's neighbour", |b, r| {
        let block = any_of_kind(b, DIRECTORY, r).unwrap();
        let entry = any_entry(b, block, r);
        put(b, block, entry + 4 * r.usize(1..3), block as u32);
    }),
    ("entry whose centroid is on the other side", |b, r| {
        let block = any_of_kind(b, DIRECTORY, r).unwrap();
        let entry = any_entry(b, block, r);
        let scale = u32_at(b, block * PAGE + entry + 36);
        put(b, block, entry + 36, scale ^ 1 << 31);
    }),
    ("directory that leads to itself", |b, r| {
        let block = any_of_kind(b, DIRECTORY, r).unwrap();
        put(b, block, PAGE - SPECIAL + 12, block as u32);
    }),
    ("directory that leads to a list", |b, r| {
        let block = any_of_kind(b, DIRECTORY, r).unwrap();
        let list = any_list(b, r) as u32;
        put(b, block, PAGE - SPECIAL + 12, list);
    }),
    ("metapage that leads to a list", |b, r| {
        let list = any_list(b, r) as u32;
        put(b, 0, 24 + [36, 48][r.usize(..2)], list);
    }),
    ("list page with a list's name that there is not", |b, r| {
        let block = any_list(b, r);
        put(b, block, PAGE - SPECIAL + 8, 77_777);
    }),
    ("list page with more rows than it has", |b, r| {
        let block = any_list(b, r);
        let count = u32_at(b, block * PAGE + 24);
        put(b, block, 24, count + 1 + r.u32(..3));
    }),
    ("list page with fewer rows than it has", |b, r| {
        let block = loop {
            let block = any_list(b, r);
            if u32_at(b, block * PAGE + 24) > 0 {
                break block;
            }
        };
        let count = u32_at(b, block * PAGE + 24);
        put(b, block, 24, count - 1);
    }),
];

struct Planted {
    form: &'static Form,
    what: String,
    /// what no check can tell
    excuse: Option<&'static str>,
    index: String,
    path: PathBuf,
}

fn flips() -> usize {
    let asked = std::env::var("VECTOREXT_FLIPS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(30)
}

/// A table with rows of each form, and indexes of it to be damaged.
fn create(server: &Server, client: &mut Client, form: &'static Form) -> Vec<Planted> {
    let Form {
        name,
        method,
        dims,
        class,
        filters,
        options,
    } = form;
    client
        .batch_execute(&format!(
            "CREATE TABLE {name} (id bigint, v vector({dims}), {COLUMNS});
             INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(1, 800) i;
             INSERT INTO {name} SELECT i, vec(1, {dims}) FROM generate_series(1, 60) i;
             INSERT INTO {name} VALUES (0, NULL)"
        ))
        .unwrap();
    let all = 0..flips() + 2 * WORSE.len();
    all.map(|n| {
        let index = format!("{name}_{n}");
        client
            .batch_execute(&format!(
                "CREATE INDEX {index} ON {name} USING {method} (v {class}{filters}) {options}"
            ))
            .unwrap();
        Planted {
            form,
            what: String::new(),
            excuse: None,
            path: path_of(server, client, &index),
            index,
        }
    })
    .collect()
}

fn plant(damage: &mut Planted, n: usize, random: &mut fastrand::Rng) {
    let mut bytes = std::fs::read(&damage.path).unwrap();
    let is_sealed;
    if n < flips() {
        // of what rows are written by: each bit of the quantizer's number first
        let (at, bit) = match n < 8 {
            true => (PAGE_HEADER + QUANTIZER, 1 << n),
            false => any_bit(&bytes, random),
        };
        is_sealed = n < 8 || n % 2 == 1;
        if is_sealed {
            damage.excuse = is_beyond_checks(&bytes, at, bit, damage.form);
        }
        let (block, on_page) = (at / PAGE, at % PAGE);
        let kind = kind(&bytes, block);
        damage.what = format!("bit {bit} of byte {on_page} of block {block} of kind {kind}");
        bytes[at] ^= bit;
    } else {
        let (what, plant) = WORSE[(n - flips()) % WORSE.len()];
        is_sealed = n - flips() >= WORSE.len();
        planted::plant(plant, &mut bytes, random);
        damage.what = what.to_owned();
    }
    if is_sealed {
        planted::seal(&mut bytes);
        damage.what += ", sealed";
    }
    std::fs::write(&damage.path, bytes).unwrap();
}

#[test]
fn damage_of_every_structure_of_lists_is_told_and_harms_nobody() {
    let seed = std::env::var("VECTOREXT_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("damage of lists: seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (server, mut client) = server_with(CHECKSUMS_IGNORED);
    let mut planted: Vec<Planted> = Vec::new();
    for form in FORMS {
        planted.extend(create(&server, &mut client, form));
    }
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    let per_form = planted.len() / FORMS.len();
    server.change_while_stopped(|| {
        for (n, damage) in planted.iter_mut().enumerate() {
            plant(damage, n % per_form, &mut random);
        }
    });
    let mut client = server.client();
    let backend = number(&mut client, "SELECT pg_backend_pid()::bigint");
    let mut check = Told::default();
    for damage in &planted {
        check.check(&mut client, &damage.index, &damage.what, damage.excuse);
    }
    let Told {
        told,
        excused,
        missed,
    } = check;
    println!(
        "planted {} damages in lists, {} of them flipped bits: {told} told, {excused} in what nothing can tell, {} missed",
        planted.len(),
        flips() * FORMS.len(),
        missed.len()
    );
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    let tried = use_all(&server, &planted);
    println!("{tried} statements over damaged lists");
    assert_eq!(
        number(&mut client, "SELECT pg_backend_pid()::bigint"),
        backend
    );
}

#[test]
fn a_pointer_of_the_metapage_that_leads_elsewhere_is_told() {
    // of the centroid, the codebook and the directory; bits further up lead past the end of any file
    let places = [36, 40, 48].map(|field| PAGE_HEADER + field);
    let flips: Vec<(usize, u8)> = places
        .into_iter()
        .flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)))
        .collect();
    let (server, mut client) = server_with(CHECKSUMS_IGNORED);
    let mut planted = Vec::new();
    for form in FORMS.iter().filter(|form| form.filters.is_empty()) {
        let Form {
            name,
            method,
            dims,
            class,
            options,
            ..
        } = form;
        client
            .batch_execute(&format!(
                "CREATE TABLE {name} (id bigint, v vector({dims}));
                 INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(1, 300) i"
            ))
            .unwrap();
        for (n, flip) in flips.iter().enumerate() {
            let index = format!("{name}_{n}");
            client
                .batch_execute(&format!(
                    "CREATE INDEX {index} ON {name} USING {method} (v {class}) {options}"
                ))
                .unwrap();
            planted.push((path_of(&server, &mut client, &index), index, *flip));
        }
    }
    client.batch_execute("CHECKPOINT").unwrap();
    drop(client);
    server.change_while_stopped(|| {
        for (path, _, (at, bit)) in &planted {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[*at] ^= bit;
            planted::seal(&mut bytes);
            std::fs::write(path, bytes).unwrap();
        }
    });
    let mut client = server.client();
    let mut missed = Vec::new();
    for (_, index, (at, bit)) in &planted {
        let strict = format!("SELECT vector_index_check('{index}', false, true)");
        match client.batch_execute(&strict) {
            Ok(()) => missed.push(format!("{index}: bit {bit} of byte {at}")),
            Err(error) => assert_eq!(error.code().unwrap().code(), "XX002", "{error:?}"),
        }
    }
    println!("planted {} pointers of metapages", planted.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Scans, inserts, deletes and vacuums with every damaged index: an answer, or XX002 that says REINDEX, or
/// what the server itself says of damaged pages. How many statements that were.
fn use_all(server: &Server, planted: &[Planted]) -> usize {
    let mut client = server.client();
    client
        .batch_execute(
            "SET enable_seqscan = off; SET statement_timeout = '10s';
             SET ivfflat.iterative_scan = relaxed_order",
        )
        .unwrap();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for damage in planted {
        let Form {
            name, dims, class, ..
        } = damage.form;
        let index = &damage.index;
        let query = format!(
            "SELECT id FROM {name} ORDER BY v {} vec(3, {dims})",
            operator_of(class)
        );
        client.batch_execute(&use_alone(index)).unwrap();
        for statement in [
            format!("{query} LIMIT 10"),
            query.clone(),
            format!(
                "SELECT id FROM {name} ORDER BY v {} NULL LIMIT 2000",
                operator_of(class)
            ),
            format!(
                "SELECT id FROM {name} WHERE number = 3 AND NOT label = 'label 2' ORDER BY v {} vec(3, {dims}) LIMIT 10",
                operator_of(class)
            ),
            format!(
                "SELECT id FROM {name} WHERE number >= 2 ORDER BY v {} vec(4, {dims})",
                operator_of(class)
            ),
            format!("INSERT INTO {name} SELECT i, vec(i, {dims}) FROM generate_series(500, 512) i"),
            format!(
                "DELETE FROM {name} WHERE id IN (SELECT id FROM {name} ORDER BY random() LIMIT 13)"
            ),
            format!("VACUUM (INDEX_CLEANUP ON) {name}"),
            format!("{query} LIMIT 20"),
            format!("SELECT vector_index_check('{index}', true)"),
            format!("SELECT ivf_index_stats('{index}')"),
        ] {
            tried += 1;
            let what = format!("{index}, {}", damage.what);
            wrong.extend(wrong_end(server, &mut client, &what, &statement));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    tried
}

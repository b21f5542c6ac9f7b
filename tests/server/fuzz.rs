//! Hostile arguments: whatever SQL hands to a function, type or option of the extension, the answer is a
//! result or an ERROR with a SQLSTATE of its own, never an internal one (XX...), and never a lost server.
//! Each run takes new random inputs and prints its seed; `VECTOREXT_FUZZ_SEED` repeats one,
//! `VECTOREXT_FUZZ` says how many inputs of each kind.

use std::collections::BTreeMap;
use std::io::Write;

use postgres::Client;

use crate::harness::Server;

/// SQL expressions of every argument type, extremes and wrong shapes among them.
const VALUES: &[(&str, &[&str])] = &[
    (
        "vector",
        &[
            "NULL::vector",
            "'[1]'::vector",
            "'[1,2,3]'::vector",
            "'[0,0,0]'::vector",
            "'[-0,1e-45,-1e-45]'::vector",
            "'[3.4028235e38,-3.4028235e38,3e38]'::vector",
            "array_fill(1, ARRAY[16000])::vector",
            "array_fill(-3e38::real, ARRAY[16000])::vector",
        ],
    ),
    (
        "halfvec",
        &[
            "NULL::halfvec",
            "'[1]'::halfvec",
            "'[1,2,3]'::halfvec",
            "'[0,0,0]'::halfvec",
            "'[65504,-65504,6e-8]'::halfvec",
            "array_fill(65504, ARRAY[16000])::halfvec",
        ],
    ),
    (
        "sparsevec",
        &[
            "NULL::sparsevec",
            "'{}/1'::sparsevec",
            "'{}/3'::sparsevec",
            "'{1:1,3:-2}/3'::sparsevec",
            "'{}/1000000000'::sparsevec",
            "'{1000000000:3e38}/1000000000'::sparsevec",
            "'{1:-3.4028235e38,2:1e-45}/3'::sparsevec",
            "array_fill(1, ARRAY[16000])::vector::sparsevec",
        ],
    ),
    (
        "bytevec",
        &[
            "NULL::bytevec",
            "'[1]'::bytevec",
            "'[1,2,3]'::bytevec",
            "'[-128,127,0]'::bytevec",
        ],
    ),
    (
        "bf16vec",
        &[
            "NULL::bf16vec",
            "'[1]'::bf16vec",
            "'[1,2,3]'::bf16vec",
            "'[3e38,-3e38,0]'::bf16vec",
        ],
    ),
    (
        "bit",
        &[
            "NULL::bit",
            "B''",
            "B'1'",
            "B'101'",
            "B'10110011'",
            "repeat('1', 64000)::bit(64000)",
            "B'0'::bit(83886080)",
        ],
    ),
    (
        "integer",
        &[
            "NULL::int",
            "0",
            "1",
            "-1",
            "3",
            "16000",
            "16001",
            "2147483647",
            "(-2147483648)::int",
        ],
    ),
    (
        "bigint",
        &[
            "NULL::bigint",
            "0::bigint",
            "-1::bigint",
            "9223372036854775807",
            "(-9223372036854775808)::bigint",
        ],
    ),
    ("boolean", &["NULL::boolean", "true", "false"]),
    (
        "real",
        &[
            "NULL::real",
            "0::real",
            "'NaN'::real",
            "'-Infinity'::real",
            "3e38::real",
        ],
    ),
    (
        "double precision",
        &[
            "NULL::float8",
            "0::float8",
            "'NaN'::float8",
            "'Infinity'::float8",
            "-1e308::float8",
        ],
    ),
    ("text", &["NULL::text", "''", "'x'", "repeat('[', 100000)"]),
    ("oid", &["NULL::oid", "0::oid", "1::oid", "4294967295::oid"]),
    (
        "regclass",
        &[
            "NULL::regclass",
            "0::regclass",
            "'pg_class'::regclass",
            "'pg_class_oid_index'::regclass",
            "4294967295::regclass",
            "'items'::regclass",
            "'items_v'::regclass",
            "'items_plain'::regclass",
            "'empty_v'::regclass",
        ],
    ),
    (
        "cstring",
        &[
            "NULL::cstring",
            "''::cstring",
            "'['::cstring",
            "'[1,2,3]'::cstring",
            "'{1:1}/3'::cstring",
            "'101'::cstring",
        ],
    ),
    (
        "cstring[]",
        &[
            "NULL::cstring[]",
            "'{}'::cstring[]",
            "'{3}'::cstring[]",
            "'{-1}'::cstring[]",
            "'{3,4}'::cstring[]",
            "'{x}'::cstring[]",
            "'{99999999999}'::cstring[]",
            "'{{1,2}}'::cstring[]",
            "'{NULL}'::cstring[]",
        ],
    ),
    (
        "smallint[]",
        &[
            "NULL::smallint[]",
            "'{}'::smallint[]",
            "'{1,2,3}'::smallint[]",
            "'{1,NULL}'::smallint[]",
            "'{{1,2},{3,4}}'::smallint[]",
        ],
    ),
    (
        "integer[]",
        &[
            "NULL::int[]",
            "'{}'::int[]",
            "'{1,2,3}'::int[]",
            "'{2147483647,NULL}'::int[]",
            "'{{1,2},{3,4}}'::int[]",
            "'[5:7]={1,2,3}'::int[]",
            "array_fill(1, ARRAY[16001])",
        ],
    ),
    (
        "real[]",
        &[
            "NULL::real[]",
            "'{}'::real[]",
            "'{1,2,3}'::real[]",
            "'{NaN}'::real[]",
            "'{Infinity,1}'::real[]",
            "'{{1},{2}}'::real[]",
            "'[-3:-1]={1,2,3}'::real[]",
        ],
    ),
    (
        "double precision[]",
        &[
            "NULL::float8[]",
            "'{}'::float8[]",
            "'{0}'::float8[]",
            "'{1,2,3,4}'::float8[]",
            "'{3,1,1,1}'::float8[]",
            "'{-1,1}'::float8[]",
            "'{NaN,1,1,1}'::float8[]",
            "'{1e308,1e308,-1e308,1}'::float8[]",
            "'{NULL,1}'::float8[]",
            "'{{1,2},{3,4}}'::float8[]",
            "'{Infinity,-Infinity,1,1}'::float8[]",
            "array_fill(1::float8, ARRAY[16002])",
        ],
    ),
    (
        "numeric[]",
        &[
            "NULL::numeric[]",
            "'{}'::numeric[]",
            "'{1,2.5,3}'::numeric[]",
            "'{NaN}'::numeric[]",
            "'{1e1000}'::numeric[]",
            "'{1e-1000,NULL}'::numeric[]",
        ],
    ),
    (
        "sphere_vector",
        &[
            "NULL::sphere_vector",
            "ROW(NULL, 1)::sphere_vector",
            "ROW('[1,2,3]', NULL)::sphere_vector",
            "ROW('[1,2,3]', 1)::sphere_vector",
            "ROW('[1,2,3]', -1)::sphere_vector",
            "ROW('[3.4028235e38,-3.4028235e38,3e38]', 'Infinity')::sphere_vector",
            "ROW('[0,0,0]', 'NaN')::sphere_vector",
        ],
    ),
    (
        "sphere_halfvec",
        &[
            "NULL::sphere_halfvec",
            "ROW(NULL, 1)::sphere_halfvec",
            "ROW('[1,2,3]', NULL)::sphere_halfvec",
            "ROW('[1,2,3]', 1)::sphere_halfvec",
            "ROW('[1,2,3]', -1)::sphere_halfvec",
            "ROW('[65504,-65504,6e-8]', 'Infinity')::sphere_halfvec",
            "ROW('[65504,-65504,6e-8]', 'NaN')::sphere_halfvec",
        ],
    ),
    (
        "sphere_bf16vec",
        &[
            "NULL::sphere_bf16vec",
            "ROW(NULL, 1)::sphere_bf16vec",
            "ROW('[1,2,3]', NULL)::sphere_bf16vec",
            "ROW('[1,2,3]', 1)::sphere_bf16vec",
            "ROW('[1,2,3]', -1)::sphere_bf16vec",
            "ROW('[3e38,-3e38,0]', 'Infinity')::sphere_bf16vec",
            "ROW('[3e38,-3e38,0]', 'NaN')::sphere_bf16vec",
        ],
    ),
    (
        "sphere_bytevec",
        &[
            "NULL::sphere_bytevec",
            "ROW(NULL, 1)::sphere_bytevec",
            "ROW('[1,2,3]', NULL)::sphere_bytevec",
            "ROW('[1,2,3]', 1)::sphere_bytevec",
            "ROW('[1,2,3]', -1)::sphere_bytevec",
            "ROW('[-128,127,0]', 'Infinity')::sphere_bytevec",
            "ROW('[-128,127,0]', 'NaN')::sphere_bytevec",
        ],
    ),
    (
        "sphere_sparsevec",
        &[
            "NULL::sphere_sparsevec",
            "ROW(NULL, 1)::sphere_sparsevec",
            "ROW('{1:1,3:-2}/3', NULL)::sphere_sparsevec",
            "ROW('{1:1,3:-2}/3', 1)::sphere_sparsevec",
            "ROW('{1:1,3:-2}/3', -1)::sphere_sparsevec",
            "ROW('{}/1000000000', 'Infinity')::sphere_sparsevec",
            "ROW('{}/1000000000', 'NaN')::sphere_sparsevec",
        ],
    ),
    (
        "sphere_bit",
        &[
            "NULL::sphere_bit",
            "ROW(NULL, 1)::sphere_bit",
            "ROW(B'101', NULL)::sphere_bit",
            "ROW(B'101', 1)::sphere_bit",
            "ROW(B'101', -1)::sphere_bit",
            "ROW(B'', 'Infinity')::sphere_bit",
            "ROW(B'', 'NaN')::sphere_bit",
        ],
    ),
    ("internal", &["NULL"]),
];

const TABLES: &str = "
    CREATE TABLE items (v vector(3), h halfvec(20));
    INSERT INTO items SELECT ARRAY[i, 1, 1]::vector, array_fill(i, ARRAY[20])::halfvec FROM generate_series(1, 100) i;
    CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops) WITH (layout = inline);
    CREATE INDEX items_plain ON items USING hnsw (h halfvec_cosine_ops) WITH (layout = plain);
    CREATE TABLE empty (v vector(3));
    CREATE INDEX empty_v ON empty USING hnsw (v vector_l2_ops);
    SET statement_timeout = '60s'";

fn inputs() -> usize {
    let asked = std::env::var("VECTOREXT_FUZZ").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(60)
}

fn random() -> fastrand::Rng {
    let asked = std::env::var("VECTOREXT_FUZZ_SEED").ok();
    let seed = asked.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("fuzz: seed {seed}");
    fastrand::Rng::with_seed(seed)
}

/// What became of inputs.
#[derive(Default)]
struct Outcomes {
    tried: usize,
    by_state: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Outcomes {
    fn add<T>(&mut self, server: &Server, what: &str, result: Result<T, postgres::Error>) {
        self.tried += 1;
        let state = match result {
            Ok(_) => "00000".to_owned(),
            Err(error) => match error.code() {
                Some(code) => code.code().to_owned(),
                None => panic!("{what}: connection lost: {error}\n{}", server.log()),
            },
        };
        if state.starts_with("XX") || state == "57014" {
            self.wrong
                .push(format!("{state} from {}", &what[..what.len().min(400)]));
        }
        *self.by_state.entry(state).or_default() += 1;
    }

    fn end(self, what: &str) {
        println!("fuzz: {} {what}: {:?}", self.tried, self.by_state);
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

/// A function of the extension.
struct Function {
    name: String,
    arguments: Vec<String>,
    is_aggregate: bool,
}

fn functions(client: &mut Client) -> Vec<Function> {
    let query = "
        SELECT p.oid::regproc::text, prokind = 'a',
               ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes::oid[]) WITH ORDINALITY u(t, n) ORDER BY n)
        FROM pg_proc p
        JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND extname = 'vectorext'
        ORDER BY 1, 3";
    let rows = client.query(query, &[]).unwrap();
    let function = |row: &postgres::Row| Function {
        name: row.get::<_, String>(0),
        is_aggregate: row.get(1),
        arguments: row.get(2),
    };
    rows.iter().map(function).collect()
}

#[test]
fn every_function_takes_any_arguments() {
    let (server, mut client) = Server::start_with_extension();
    client.batch_execute(TABLES).unwrap();
    let mut random = random();
    let mut outcomes = Outcomes::default();
    let functions = functions(&mut client);
    assert!(functions.len() > 100);
    for function in &functions {
        let name = function.name.trim_start_matches("public.");
        let pools: Vec<&[&str]> = function
            .arguments
            .iter()
            .map(|wanted| {
                let known = VALUES.iter().find(|(name, _)| name == wanted);
                known
                    .unwrap_or_else(|| panic!("{name} takes {wanted}: add values of it"))
                    .1
            })
            .collect();
        let all: usize = pools.iter().map(|pool| pool.len()).product();
        for n in 0..all.min(inputs()) {
            // every combination where there are few
            let mut rest = n;
            let chosen: Vec<&str> = pools
                .iter()
                .map(|pool| {
                    let at = if all <= inputs() {
                        rest % pool.len()
                    } else {
                        random.usize(..pool.len())
                    };
                    rest /= pool.len();
                    pool[at]
                })
                .collect();
            let statement = match function.is_aggregate {
                true => {
                    let other = pools[0][random.usize(..pools[0].len())];
                    format!(
                        "SELECT {name}(x) IS NULL FROM (VALUES ({}), ({other}), ({})) t(x)",
                        chosen[0], chosen[0]
                    )
                }
                false => format!("SELECT ({name}({})) IS NULL", chosen.join(", ")),
            };
            let result = client.batch_execute(&statement);
            outcomes.add(&server, &statement, result);
        }
    }
    outcomes.end(&format!("calls of {} functions", functions.len()));
}

/// Changes bytes: some replaced, cut off, doubled, or taken from elsewhere.
fn mutate(bytes: &mut Vec<u8>, interesting: &[u8], random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..5) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(..)),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            3 if at < bytes.len() => bytes[at] = [0, 0xff, 0x7f, 0x80][random.usize(0..4)],
            4 => bytes.insert(at, interesting[random.usize(..interesting.len())]),
            _ => {
                let end = random.usize(at..=bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.extend(copy);
            }
        }
    }
}

/// The types, with values to begin from.
const TYPES: &[(&str, &[&str])] = &[
    (
        "vector",
        &["[1,2,3]", "[-1.5e-3,1e38,0]", "[1]", " [ 1 , 2 ] "],
    ),
    ("halfvec", &["[1,2,3]", "[65504,-6e-8,0]", "[1]"]),
    (
        "sparsevec",
        &["{1:1,3:2}/3", "{}/5", "{1:1e-3,1000000000:-2}/1000000000"],
    ),
    (
        "bytevec",
        &["[1,2,3]", "[-128,127,0]", "[1]", " [ 1 , 2 ] "],
    ),
    ("bf16vec", &["[1,2,3]", "[3e38,-1e-40,0]", "[1]"]),
];

#[test]
fn any_text_is_a_value_or_refused() {
    let (server, mut client) = Server::start_with_extension();
    let mut random = random();
    let mut outcomes = Outcomes::default();
    for (name, values) in TYPES {
        // what is taken comes out as it went in
        let sql = format!("SELECT ($1::text)::{name}::text::{name} = ($1::text)::{name}");
        let statement = client.prepare(&sql).unwrap();
        for _ in 0..20 * inputs() {
            let mut text = values[random.usize(..values.len())].as_bytes().to_vec();
            mutate(&mut text, b"[]{}:/,.+-eE0123456789 infa\t", &mut random);
            let text = String::from_utf8_lossy(&text).replace('\0', "");
            let result = client.query_one(&statement, &[&text]);
            if let Ok(row) = &result {
                assert!(row.get::<_, bool>(0), "{name}: {text}");
            }
            outcomes.add(&server, &format!("{name}: {text:?}"), result);
        }
    }
    outcomes.end("texts");
}

#[test]
fn any_bytes_are_a_value_or_refused() {
    let (server, mut client) = Server::start_with_extension();
    let mut random = random();
    let mut outcomes = Outcomes::default();
    for (name, values) in TYPES {
        client
            .batch_execute(&format!("CREATE TABLE {name}s (v {name})"))
            .unwrap();
        for _ in 0..5 * inputs() {
            let value = values[random.usize(..values.len())];
            let sql = format!("SELECT {name}_send('{value}')");
            let mut bytes: Vec<u8> = client.query_one(&sql, &[]).unwrap().get(0);
            mutate(&mut bytes, &[0, 1, 2, 3, 0x7f, 0x80, 0xff], &mut random);
            let result = receive(&mut client, name, &bytes);
            outcomes.add(&server, &format!("{name}: {bytes:02x?}"), result);
        }
        // what was taken is whole: it goes out and in again, and can be measured
        let sql = format!(
            "SELECT count(*) FROM {name}s WHERE v::text::{name} IS DISTINCT FROM v OR NOT (v <-> v) >= 0"
        );
        let bad: i64 = client.query_one(&sql, &[]).unwrap().get(0);
        assert_eq!(bad, 0, "{name}");
    }
    outcomes.end("binary values");
}

/// Sends bytes to a type's receive function.
fn receive(client: &mut Client, name: &str, value: &[u8]) -> Result<u64, postgres::Error> {
    let mut stream = b"PGCOPY\n\xff\r\n\0".to_vec();
    stream.extend([0; 8]);
    stream.extend(1_i16.to_be_bytes());
    stream.extend((value.len() as i32).to_be_bytes());
    stream.extend(value);
    stream.extend((-1_i16).to_be_bytes());
    let mut writer = client.copy_in(&format!("COPY {name}s FROM STDIN (FORMAT binary)"))?;
    writer.write_all(&stream).unwrap();
    writer.finish()
}

#[test]
fn any_modifier_option_and_setting_is_taken_or_refused() {
    let (server, mut client) = Server::start_with_extension();
    client.batch_execute(TABLES).unwrap();
    let mut random = random();
    let mut outcomes = Outcomes::default();
    let numbers = [
        "0",
        "1",
        "-1",
        "3",
        "16000",
        "16001",
        "2147483647",
        "-2147483648",
        "99999999999",
        "1.5",
        "NaN",
        "''",
        "x",
        "on",
        "auto",
        "1,2",
        "NULL",
    ];
    let settings: Vec<String> = client
        .query(
            "SELECT name FROM pg_settings WHERE name ~ '^(hnsw|ivf|ivfflat)\\.'",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(settings.len() > 3);
    let options = [
        "m",
        "ef_construction",
        "layout",
        "quantizer",
        "pq_segments",
        "pq_bits",
        "lists",
        "assign",
        "centroids",
        "fillfactor",
        "M",
        "\"\"",
        "rerank",
    ];
    let words = [
        "plain", "inline", "compact", "auto", "rabitq1", "rabitq2", "rabitq4", "sq8", "none", "pq",
        "binary", "heap", "index", "items",
    ];
    // of one access method or another
    let sensible = [
        "m = 2",
        "m = 100",
        "ef_construction = 4",
        "ef_construction = 1000",
        "layout = plain",
        "layout = compact",
        "quantizer = pq",
        "quantizer = binary",
        "quantizer = none",
        "quantizer = rabitq1",
        "quantizer = rabitq8",
        "pq_bits = 4",
        "pq_segments = 1",
        "lists = 1",
        "lists = 32768",
        "rerank = index",
        "rerank = none",
        "copies = 2",
        "centroids = items",
    ];
    let indexes = [
        "items_v",
        "items_plain",
        "empty_v",
        "items_lists",
        "items_flat",
    ];
    client
        .batch_execute(
            "CREATE INDEX items_lists ON items USING ivf (h halfvec_l2_ops);
             CREATE INDEX items_flat ON items USING ivfflat (v vector_l2_ops) WITH (lists = 3)",
        )
        .unwrap();
    for _ in 0..10 * inputs() {
        let any = |random: &mut fastrand::Rng| match random.bool() {
            true => numbers[random.usize(..numbers.len())],
            false => words[random.usize(..words.len())],
        };
        let pair = |random: &mut fastrand::Rng| match random.bool() {
            true => sensible[random.usize(..sensible.len())].to_owned(),
            false => format!(
                "{} = {}",
                options[random.usize(..options.len())],
                any(random)
            ),
        };
        let statement = match random.u8(0..4) {
            0 => {
                let name = TYPES[random.usize(..TYPES.len())].0;
                format!("SELECT NULL::{name}({})", any(&mut random))
            }
            1 => {
                let method = ["hnsw", "ivf", "ivfflat"][random.usize(..3)];
                let (one, other) = (pair(&mut random), pair(&mut random));
                format!(
                    "CREATE INDEX i ON items USING {method} (h halfvec_l2_ops) WITH ({one}, {other}); DROP INDEX i"
                )
            }
            2 => {
                // options of an index that is there, which goes on with its own until it is made anew
                let index = indexes[random.usize(..indexes.len())];
                let reindex = if random.bool() {
                    format!("REINDEX INDEX {index};")
                } else {
                    String::new()
                };
                format!(
                    "ALTER INDEX {index} SET ({}); {reindex}
                     INSERT INTO items VALUES ('[1,2,3]', array_fill(1, ARRAY[20])::halfvec);
                     INSERT INTO empty VALUES ('[1,2,3]');
                     SET enable_seqscan = off; SELECT v FROM items ORDER BY v <-> '[1,2,3]' LIMIT 7;
                     SELECT vector_index_check('{index}', true, true)",
                    pair(&mut random)
                )
            }
            _ => {
                let name = &settings[random.usize(..settings.len())];
                let value = any(&mut random).trim_matches('\'');
                format!(
                    "SET {name} = '{value}'; SET enable_seqscan = off; SELECT v FROM items ORDER BY v <-> '[1,2,3]' LIMIT 7"
                )
            }
        };
        let result = client.batch_execute(&statement);
        outcomes.add(&server, &statement, result);
    }
    outcomes.end("type modifiers, options of indexes and settings");
}

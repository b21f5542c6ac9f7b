//! `COPY ... (FORMAT binary)`: round trips are bit exact, hostile bytes are refused.

use std::io::{Read, Write};

use postgres::Client;

use crate::harness::Server;

/// A binary COPY stream of one row with one column.
fn one_value(value: &[u8]) -> Vec<u8> {
    let mut stream = b"PGCOPY\n\xff\r\n\0".to_vec();
    stream.extend([0; 8]); // flags, length of the header's extension
    stream.extend(1_i16.to_be_bytes()); // columns
    stream.extend((value.len() as i32).to_be_bytes());
    stream.extend(value);
    stream.extend((-1_i16).to_be_bytes()); // end
    stream
}

/// Bytes of a `vector` as its receive function reads them.
fn vector(dims: i16, unused: i16, elements: &[f32]) -> Vec<u8> {
    let mut bytes = [dims.to_be_bytes(), unused.to_be_bytes()].concat();
    bytes.extend(elements.iter().flat_map(|x| x.to_be_bytes()));
    bytes
}

/// Bytes of a `halfvec`; elements are given by their bits.
fn halfvec(dims: i16, unused: i16, elements: &[u16]) -> Vec<u8> {
    let mut bytes = [dims.to_be_bytes(), unused.to_be_bytes()].concat();
    bytes.extend(elements.iter().flat_map(|x| x.to_be_bytes()));
    bytes
}

/// Bytes of a `bytevec`.
fn bytevec(dims: i16, unused: i16, elements: &[i8]) -> Vec<u8> {
    let mut bytes = [dims.to_be_bytes(), unused.to_be_bytes()].concat();
    bytes.extend(elements.iter().map(|&x| x as u8));
    bytes
}

/// Bytes of a `bf16vec`, which differ from those of a `halfvec` in what the bits mean.
fn bf16vec(dims: i16, unused: i16, elements: &[u16]) -> Vec<u8> {
    halfvec(dims, unused, elements)
}

/// Bytes of a `sparsevec`.
fn sparsevec(dims: i32, nnz: i32, unused: i32, indices: &[i32], values: &[f32]) -> Vec<u8> {
    let mut bytes = [dims.to_be_bytes(), nnz.to_be_bytes(), unused.to_be_bytes()].concat();
    bytes.extend(indices.iter().flat_map(|x| x.to_be_bytes()));
    bytes.extend(values.iter().flat_map(|x| x.to_be_bytes()));
    bytes
}

/// Sends one value to `table` by binary COPY.
fn copy_in(client: &mut Client, table: &str, value: &[u8]) -> Result<u64, postgres::Error> {
    let mut writer = client.copy_in(&format!("COPY {table} FROM STDIN (FORMAT binary)"))?;
    writer.write_all(&one_value(value)).unwrap();
    writer.finish()
}

const TABLES: &str = "
    CREATE TABLE vectors (v vector);
    CREATE TABLE vectors3 (v vector(3));
    CREATE TABLE halfvecs (v halfvec);
    CREATE TABLE halfvecs3 (v halfvec(3));
    CREATE TABLE bytevecs (v bytevec);
    CREATE TABLE bytevecs3 (v bytevec(3));
    CREATE TABLE bf16vecs (v bf16vec);
    CREATE TABLE bf16vecs3 (v bf16vec(3));
    CREATE TABLE sparsevecs (v sparsevec);
    CREATE TABLE sparsevecs3 (v sparsevec(3))";

#[test]
fn a_copy_out_and_in_again_is_bit_exact() {
    let (_server, mut client) = Server::start_with_extension();
    client
        .batch_execute(
            "CREATE TABLE items (id int, v vector(4), h halfvec(4), s sparsevec(4), b bytevec(4), f bf16vec(4));
             INSERT INTO items
                 SELECT i, a::vector, a::vector::halfvec, a::vector::sparsevec,
                        quantize_to_bytevec(a::vector), a::vector::bf16vec
                 FROM generate_series(1, 300) i,
                      LATERAL (SELECT ARRAY[sin(i), i / 7.0, 0, -exp(-i / 20.0)]::real[]) t(a);
             INSERT INTO items VALUES (0, NULL, NULL, NULL, NULL, NULL);
             CREATE TABLE again (LIKE items)",
        )
        .unwrap();
    let mut bytes = Vec::new();
    client
        .copy_out("COPY items TO STDOUT (FORMAT binary)")
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    let mut writer = client
        .copy_in("COPY again FROM STDIN (FORMAT binary)")
        .unwrap();
    writer.write_all(&bytes).unwrap();
    assert_eq!(writer.finish().unwrap(), 301);

    let mut bytes_again = Vec::new();
    client
        .copy_out("COPY again TO STDOUT (FORMAT binary)")
        .unwrap()
        .read_to_end(&mut bytes_again)
        .unwrap();
    assert_eq!(bytes_again, bytes);
}

#[test]
fn the_documented_layouts_are_read() {
    let (_server, mut client) = Server::start_with_extension();
    client.batch_execute(TABLES).unwrap();
    for (table, value, text) in [
        ("vectors3", vector(3, 0, &[1.0, -2.5, 0.0]), "[1,-2.5,0]"),
        (
            "halfvecs3",
            halfvec(3, 0, &[0x3c00, 0xc100, 0]),
            "[1,-2.5,0]",
        ),
        (
            "sparsevecs3",
            sparsevec(3, 2, 0, &[0, 2], &[1.5, -2.0]),
            "{1:1.5,3:-2}/3",
        ),
        ("bytevecs3", bytevec(3, 0, &[1, -128, 127]), "[1,-128,127]"),
        (
            "bf16vecs3",
            bf16vec(3, 0, &[0x3f80, 0xc020, 0]),
            "[1,-2.5,0]",
        ),
        ("bytevecs", bytevec(16_000, 0, &vec![-1; 16_000]), ""),
        ("bf16vecs", bf16vec(16_000, 0, &vec![0x3f00; 16_000]), ""),
        ("vectors", vector(16_000, 0, &vec![0.5; 16_000]), ""),
        ("halfvecs", halfvec(16_000, 0, &vec![0x3800; 16_000]), ""),
        (
            "sparsevecs",
            sparsevec(1_000_000_000, 0, 0, &[], &[]),
            "{}/1000000000",
        ),
    ] {
        assert_eq!(copy_in(&mut client, table, &value).unwrap(), 1, "{table}");
        let query = format!("SELECT v::text FROM {table}");
        let read: String = client.query_one(&query, &[]).unwrap().get(0);
        assert!(text.is_empty() || read == text, "{table}: {read}");
    }
}

#[test]
fn hostile_bytes_are_refused_and_the_session_goes_on() {
    let (server, mut client) = Server::start_with_extension();
    client.batch_execute(TABLES).unwrap();
    let nan = f32::NAN;
    let infinity = f32::INFINITY;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        // cut short, with bytes left over
        ("vectors", vec![], "08P01"),
        ("vectors", vec![0], "08P01"),
        ("vectors", vec![0, 3, 0], "08P01"),
        ("vectors", vector(3, 0, &[1.0, 2.0]), "08P01"),
        ("vectors", vector(1, 0, &[1.0, 2.0]), "22P03"),
        // dimensions that lie (read as unsigned: a negative count is too large)
        ("vectors", vector(0, 0, &[]), "22000"),
        ("vectors", vector(-1, 0, &[1.0]), "54000"),
        ("vectors", vector(i16::MIN, 0, &[1.0]), "54000"),
        ("vectors", vector(16_001, 0, &vec![0.0; 16_001]), "54000"),
        ("vectors", vector(i16::MAX, 0, &[1.0]), "54000"),
        ("vectors3", vector(2, 0, &[1.0, 2.0]), "22000"),
        // what no vector holds
        ("vectors", vector(1, 1, &[1.0]), "22000"),
        ("vectors", vector(2, 0, &[1.0, nan]), "22000"),
        ("vectors", vector(2, 0, &[infinity, 1.0]), "22000"),
        ("vectors", vector(2, 0, &[-infinity, 1.0]), "22000"),
        ("halfvecs", vec![], "08P01"),
        ("halfvecs", halfvec(3, 0, &[0, 0]), "08P01"),
        ("halfvecs", halfvec(1, 0, &[0, 0]), "22P03"),
        ("halfvecs", halfvec(0, 0, &[]), "22000"),
        ("halfvecs", halfvec(-5, 0, &[0]), "54000"),
        ("halfvecs", halfvec(16_001, 0, &vec![0; 16_001]), "54000"),
        ("halfvecs3", halfvec(2, 0, &[0, 0]), "22000"),
        ("halfvecs", halfvec(1, 7, &[0]), "22000"),
        ("halfvecs", halfvec(1, 0, &[0x7e00]), "22000"),
        ("halfvecs", halfvec(1, 0, &[0x7c00]), "22000"),
        ("halfvecs", halfvec(1, 0, &[0xfc00]), "22000"),
        ("bytevecs", vec![], "08P01"),
        ("bytevecs", bytevec(3, 0, &[0, 0]), "08P01"),
        ("bytevecs", bytevec(1, 0, &[0, 0]), "22P03"),
        ("bytevecs", bytevec(0, 0, &[]), "22000"),
        ("bytevecs", bytevec(-5, 0, &[0]), "54000"),
        ("bytevecs", bytevec(16_001, 0, &vec![0; 16_001]), "54000"),
        ("bytevecs3", bytevec(2, 0, &[0, 0]), "22000"),
        ("bytevecs", bytevec(1, 7, &[0]), "22000"),
        ("bf16vecs", bf16vec(3, 0, &[0, 0]), "08P01"),
        ("bf16vecs", bf16vec(1, 0, &[0, 0]), "22P03"),
        ("bf16vecs", bf16vec(0, 0, &[]), "22000"),
        ("bf16vecs", bf16vec(16_001, 0, &vec![0; 16_001]), "54000"),
        ("bf16vecs3", bf16vec(2, 0, &[0, 0]), "22000"),
        ("bf16vecs", bf16vec(1, 7, &[0]), "22000"),
        ("bf16vecs", bf16vec(1, 0, &[0x7fc0]), "22000"),
        ("bf16vecs", bf16vec(1, 0, &[0x7f80]), "22000"),
        ("bf16vecs", bf16vec(1, 0, &[0xff80]), "22000"),
        ("sparsevecs", vec![0, 0, 0, 3], "08P01"),
        ("sparsevecs", sparsevec(3, 2, 0, &[0, 1], &[1.0]), "08P01"),
        ("sparsevecs", sparsevec(3, 1, 0, &[0], &[1.0, 2.0]), "22P03"),
        ("sparsevecs", sparsevec(0, 0, 0, &[], &[]), "22000"),
        ("sparsevecs", sparsevec(-1, 0, 0, &[], &[]), "22000"),
        (
            "sparsevecs",
            sparsevec(1_000_000_001, 0, 0, &[], &[]),
            "54000",
        ),
        ("sparsevecs", sparsevec(3, -1, 0, &[], &[]), "22000"),
        ("sparsevecs", sparsevec(3, i32::MIN, 0, &[], &[]), "22000"),
        (
            "sparsevecs",
            sparsevec(3, 4, 0, &[0, 1, 2, 3], &[1.0; 4]),
            "54000",
        ),
        (
            "sparsevecs",
            sparsevec(20_000, 16_001, 0, &[0], &[1.0]),
            "54000",
        ),
        (
            "sparsevecs",
            sparsevec(3, i32::MAX, 0, &[0], &[1.0]),
            "54000",
        ),
        ("sparsevecs", sparsevec(3, 1, 1, &[0], &[1.0]), "22000"),
        ("sparsevecs", sparsevec(3, 1, 0, &[3], &[1.0]), "22000"),
        ("sparsevecs", sparsevec(3, 1, 0, &[-1], &[1.0]), "22000"),
        (
            "sparsevecs",
            sparsevec(3, 2, 0, &[1, 1], &[1.0, 2.0]),
            "22000",
        ),
        (
            "sparsevecs",
            sparsevec(3, 2, 0, &[2, 0], &[1.0, 2.0]),
            "22000",
        ),
        ("sparsevecs", sparsevec(3, 1, 0, &[0], &[0.0]), "22000"),
        ("sparsevecs", sparsevec(3, 1, 0, &[0], &[nan]), "22000"),
        ("sparsevecs", sparsevec(3, 1, 0, &[0], &[infinity]), "22000"),
        ("sparsevecs3", sparsevec(2, 1, 0, &[0], &[1.0]), "22000"),
    ];
    let pid = "SELECT pg_backend_pid()";
    let backend: i32 = client.query_one(pid, &[]).unwrap().get(0);
    let mut wrong = Vec::new();
    for (table, value, expected) in &cases {
        let shown = &value[..value.len().min(24)];
        match copy_in(&mut client, table, value) {
            Ok(_) => wrong.push(format!("{table} took {shown:x?}, expected {expected}")),
            Err(error) => match error.code() {
                None => panic!("{table} {shown:x?} lost the server: {}", server.log()),
                Some(code) if code.code() == *expected => {}
                Some(code) => wrong.push(format!(
                    "{table} {shown:x?}: {}, expected {expected}",
                    code.code()
                )),
            },
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let after: i32 = client.query_one(pid, &[]).unwrap().get(0);
    assert_eq!(after, backend);
}

#[test]
fn random_bytes_never_take_the_server_down() {
    let (server, mut client) = Server::start_with_extension();
    client.batch_execute(TABLES).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    const TAKERS: [&str; 5] = ["vectors", "halfvecs", "sparsevecs", "bytevecs", "bf16vecs"];
    for round in 0..2_500 {
        let table = TAKERS[round % TAKERS.len()];
        // small numbers where the header is, so that lengths are near the truth
        let value: Vec<u8> = (0..random.usize(0..40))
            .map(|at| {
                if at < 12 {
                    random.u8(0..4) * random.u8(0..2)
                } else {
                    random.u8(..)
                }
            })
            .collect();
        if let Err(error) = copy_in(&mut client, table, &value) {
            assert!(
                error.code().is_some(),
                "{table} {value:x?}: {}",
                server.log()
            );
        }
    }
    // what was taken can be read, compared and sent again
    for table in TAKERS {
        client
            .batch_execute(&format!(
                "SELECT v::text::{0}, v = v, {0}_send(v) FROM {0}s",
                &table[..table.len() - 1]
            ))
            .unwrap();
    }
}

//! Filtered searches over real embeddings: WordNet's glosses by part of speech and category, whose
//! sizes are skewed and go with the meaning. The data set is not shipped; without it there is
//! nothing to test.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use postgres::Client;

use super::{DEFAULTS, FORCED, QUERIES, Search};
use crate::harness::Server;

of_every_method! {
    real_embeddings_are_found_by_filter_columns,
    real_embeddings_are_found_by_other_conditions_without_statistics_and_with_them,
}

const DIMS: usize = 384;
/// One of so many rows is taken.
const STEP: usize = 10;

/// A server with `items` (id, cluster: the category, pos, e, gloss, metadata) and `queries` (n, cluster, e), which
/// are not among them; `None` where the data set is not there.
fn server() -> Option<(Server, Client)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !directory.join("wordnet.tsv.gz").exists() {
        eprintln!("skipped: no ../shared/data/wordnet.tsv.gz beside the repository");
        return None;
    }
    let lines = Command::new("zcat")
        .arg(directory.join("wordnet.tsv.gz"))
        .output()
        .unwrap();
    let lines = String::from_utf8(lines.stdout).unwrap();
    let embeddings = std::fs::read(directory.join("wordnet-minilm-384.f16")).unwrap();
    let embedding = |row: usize| -> String {
        let bytes = &embeddings[row * 2 * DIMS..][..2 * DIMS];
        let halves = bytes.chunks_exact(2);
        let elements: Vec<f32> = halves
            .map(|half| half::f16::from_le_bytes([half[0], half[1]]).to_f32())
            .collect();
        crate::hnsw::filters::text(&elements)
    };
    let (server, mut client) = Server::start_with_extension();
    client
        .batch_execute(
            "CREATE TABLE items (id int, e vector(384), pos text, cluster smallint, gloss text, metadata jsonb);
             CREATE TABLE queries (n int, e vector(384), cluster int)",
        )
        .unwrap();
    let mut writer = client
        .copy_in("COPY items (id, e, pos, cluster, gloss) FROM STDIN")
        .unwrap();
    let rows: Vec<Vec<&str>> = lines
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    for (row, fields) in rows.iter().enumerate().step_by(STEP) {
        let gloss = fields[3].replace('\\', "\\\\");
        let line = format!(
            "{row}\t{}\t{}\t{}\t{gloss}\n",
            embedding(row),
            fields[1],
            fields[2]
        );
        writer.write_all(line.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    let mut writer = client.copy_in("COPY queries FROM STDIN").unwrap();
    for n in 0..QUERIES {
        let row = (n * rows.len() / QUERIES) / STEP * STEP + STEP / 2;
        let line = format!("{n}\t{}\t{}\n", embedding(row), rows[row][2]);
        writer.write_all(line.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    client
        .batch_execute("UPDATE items SET metadata = jsonb_build_object('pos', pos, 'category', cluster, 'long', length(gloss) > 120)")
        .unwrap();
    Some((server, client))
}

/// Ten rows that meet each condition, near each query; `settings` before the searches.
fn holds(client: &mut Client, conditions: &[String], settings: &[&str]) {
    let (mut recalls, mut failures) = (Vec::new(), Vec::new());
    for condition in conditions {
        let sql =
            format!("SELECT id, e <=> $1 FROM items WHERE {condition} ORDER BY e <=> $1 LIMIT 10");
        for settings in settings {
            match Search::of(&sql).check(client, settings) {
                Ok(recall) => recalls.push(recall),
                Err(failure) => failures.push(failure),
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
    assert!(mean >= 0.95, "{mean}: {recalls:?}");
}

fn real_embeddings_are_found_by_filter_columns(method: &str) {
    let Some((_server, mut client)) = server() else {
        return;
    };
    client
        .batch_execute(&format!(
            "CREATE INDEX items_e ON items USING {method} (e vector_cosine_ops, cluster, pos); ANALYZE items"
        ))
        .unwrap();
    let mut conditions: Vec<String> = (0..45).map(|n| format!("cluster = {n}")).collect();
    conditions.extend(["n", "v", "a", "r"].map(|pos| format!("pos = '{pos}'")));
    conditions.push("cluster = $2".into());
    conditions.push("cluster = ($2 + 7) % 45".into());
    // nouns that are no artifacts, plants or animals; verbs among categories of nouns: nothing
    conditions.push("pos = 'n' AND cluster < 8 AND cluster <> 6".into());
    conditions.push("pos = 'v' AND cluster BETWEEN 3 AND 20".into());
    holds(&mut client, &conditions, &[FORCED]);
}

fn real_embeddings_are_found_by_other_conditions_without_statistics_and_with_them(method: &str) {
    let Some((_server, mut client)) = server() else {
        return;
    };
    client
        .batch_execute(&format!(
            "CREATE INDEX items_e ON items USING {method} (e vector_cosine_ops);
             CREATE INDEX ON items USING gin (metadata); CREATE INDEX ON items (length(gloss))"
        ))
        .unwrap();
    let conditions: Vec<String> = [
        "true",
        "cluster = $2",
        "cluster = ($2 + 7) % 45",
        "cluster = 29",
        "pos <> 'n'",
        "pos = 'v' AND cluster <> $2",
        "gloss LIKE '%water%'",
        "gloss ~ '^[a-c]' AND length(gloss) < 60",
        "length(gloss) > 250",
        "length(gloss) BETWEEN 60 AND 120",
        "metadata->>'pos' = 'r'",
        "metadata @> '{\"pos\": \"a\", \"long\": false}'",
        "metadata @> jsonb_build_object('category', ($2 + 20) % 45)",
        "id % 1000 = 40",
    ]
    .map(String::from)
    .into();
    for statistics in ["", "ANALYZE items"] {
        client.batch_execute(statistics).unwrap();
        holds(&mut client, &conditions, &[DEFAULTS, FORCED]);
    }
}

//! Filtered searches over real embeddings: WordNet's glosses by part of speech and category, whose
//! sizes are skewed and go with the meaning. The data set is not shipped; without it there is
//! nothing to test.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::{search, text};
use crate::hnsw::server_with;

const DIMS: usize = 384;
/// One of so many rows is taken.
const STEP: usize = 10;

#[test]
fn categories_of_real_data_are_searched_at_the_recall_promised() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !directory.join("wordnet.tsv.gz").exists() {
        eprintln!("skipped: no ../shared/data/wordnet.tsv.gz beside the repository");
        return;
    }
    let lines = Command::new("zcat")
        .arg(directory.join("wordnet.tsv.gz"))
        .output()
        .unwrap();
    let lines = String::from_utf8(lines.stdout).unwrap();
    let embeddings = std::fs::read(directory.join("wordnet-minilm-384.f16")).unwrap();
    let embedding = |row: usize| -> Vec<f32> {
        let bytes = &embeddings[row * 2 * DIMS..][..2 * DIMS];
        let halves = bytes.chunks_exact(2);
        halves
            .map(|half| half::f16::from_le_bytes([half[0], half[1]]).to_f32())
            .collect()
    };
    let (_server, mut client) = server_with("");
    client
        .batch_execute("CREATE TABLE glosses (id int, v vector(384), pos text, category smallint)")
        .unwrap();
    let mut writer = client.copy_in("COPY glosses FROM STDIN").unwrap();
    let mut queries = Vec::new();
    for (row, line) in lines.lines().enumerate().step_by(STEP) {
        if row % (STEP * 500) == 0 {
            queries.push(text(&embedding(row)));
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        let line = format!(
            "{row}\t{}\t{}\t{}\n",
            text(&embedding(row)),
            fields[1],
            fields[2]
        );
        writer.write_all(line.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    client
        .batch_execute(
            "CREATE INDEX ON glosses USING hnsw (v vector_cosine_ops, category, pos); ANALYZE glosses",
        )
        .unwrap();
    let mut categories: Vec<String> = (0..45).map(|n| format!("category = {n}")).collect();
    categories.extend(["n", "v", "a", "r"].map(|pos| format!("pos = '{pos}'")));
    // nouns that are no artifacts, plants or animals; verbs among categories of nouns: nothing
    categories.push("pos = 'n' AND category < 8 AND category <> 6".into());
    categories.push("pos = 'v' AND category BETWEEN 3 AND 20".into());
    let mut all = super::Outcome::default();
    for condition in categories {
        let one = search(&mut client, "glosses", &condition, "<=>", &queries, 10);
        assert_eq!(one.rows, one.wanted, "{condition}: {one:?}");
        // of 24 queries' rows a few may be missed in one category, not in all
        assert!(one.recall() >= 0.9, "{condition}: {one:?}");
        all.wanted += one.wanted;
        all.rows += one.rows;
        all.right += one.right;
    }
    assert!(all.recall() >= 0.95, "{all:?}");
}

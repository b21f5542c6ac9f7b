//! Pages: what comes after OFFSET is what comes there in the exact order. A row that is missed among those
//! skipped moves one of the next page into this one, so a page shows what a recall of .95 leaves out.

use super::{FORCED, Search, holds_on_average, server};

of_every_method! {
    pages_beyond_offset_have_the_recall_of_the_first,
}

/// Rows skipped before ten.
const SKIPPED: [usize; 5] = [10, 40, 100, 250, 600];

fn pages_beyond_offset_have_the_recall_of_the_first(method: &str) {
    for (class, operator) in [("vector_cosine_ops", "<=>"), ("vector_l1_ops", "<+>")] {
        let (_server, mut client) = server(&format!(
            "CREATE INDEX ON items USING {method} (e {class}); ANALYZE items"
        ));
        for condition in ["true", "u < 0.3", "cluster <> $2"] {
            let mut recalls = Vec::new();
            for skipped in SKIPPED {
                let sql = format!(
                    "SELECT id, e {operator} $1 FROM items WHERE {condition} ORDER BY e {operator} $1 LIMIT 10 OFFSET {skipped}"
                );
                let recall = Search::of(&sql).holds(&mut client, FORCED);
                println!("{method} {class} {condition} OFFSET {skipped}: {recall}");
                recalls.push(recall);
            }
            holds_on_average(&recalls);
        }
    }
}

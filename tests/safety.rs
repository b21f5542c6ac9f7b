//! Where the code may be unsafe, and what SQL the extension runs: promises of `docs/reliability.md` that
//! are about the source itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
}

/// The part of a line that is code.
fn code(line: &str) -> &str {
    let line = line.trim_start();
    match line.find("//") {
        Some(at) => &line[..at],
        None => line,
    }
}

/// Files of the half without PostgreSQL that hold kernels: instructions of processors, memory that files back or
/// threads share. Everything else there is safe Rust.
const UNSAFE_IN_THE_CORE: &[&str] = &[
    "src/cluster/tile.rs",
    "src/distance/bit.rs",
    "src/distance/dense.rs",
    "src/distance/i8.rs",
    "src/distance/lanes.rs",
    "src/distance/mod.rs",
    "src/distance/sparse.rs",
    "src/quantize/kernels.rs",
    "src/quantize/kernels/x86.rs",
    "src/quantize/rotation.rs",
    "src/hnsw/blocks/build.rs",
    "src/hnsw/blocks/memory.rs",
];
const SERVER_FOLDERS: &[&str] = &["src/pg/", "src/am/", "src/sql/", "src/planner/"];

#[test]
fn unsafe_code_is_where_it_is_allowed_and_says_why_it_is_sound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    files(&root.join("src"), ".rs", &mut all);
    let mut inventory = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in all {
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        // a file of kernels gives the reason once for all
        let has_one_reason = text.contains("SAFETY (all");
        for (n, line) in lines.iter().enumerate() {
            let code = code(line);
            let is_block = code.contains("unsafe {") || code.contains("unsafe impl");
            if !is_block && !code.contains("unsafe ") {
                continue;
            }
            inventory.insert(name.clone());
            // the line, or those above up to the statement's beginning
            let reasons = lines[n.saturating_sub(12)..=n].iter();
            let says_why = reasons.clone().any(|line| line.contains("SAFETY:"));
            if is_block && !says_why && !has_one_reason {
                wrong.push(format!("{name}:{}: unsafe without a SAFETY comment", n + 1));
            }
        }
    }
    let allowed = |name: &&String| {
        let mut folders = UNSAFE_IN_THE_CORE.iter().chain(SERVER_FOLDERS);
        !folders.any(|folder| name.starts_with(folder))
    };
    let elsewhere: Vec<&String> = inventory.iter().filter(allowed).collect();
    println!("unsafe code in {} files:", inventory.len());
    for name in &inventory {
        println!("  {name}");
    }
    assert!(elsewhere.is_empty(), "unsafe code in {elsewhere:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_sql_script_gives_nobody_rights_and_names_what_it_means() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scripts = Vec::new();
    files(&root.join("sql"), ".sql", &mut scripts);
    assert!(!scripts.is_empty());
    for script in scripts {
        let text = std::fs::read_to_string(&script).unwrap();
        let statements = text.to_uppercase();
        for forbidden in [
            "SECURITY DEFINER",
            "CREATE OR REPLACE",
            "IF NOT EXISTS",
            "EXECUTE FORMAT",
            "LANGUAGE PLPGSQL",
            "ALTER DEFAULT",
            "GRANT ",
        ] {
            assert!(
                !statements.contains(forbidden),
                "{script:?} has {forbidden}"
            );
        }
    }
}

/// Called by functions that are guarded themselves, from the server's walk of a tree.
const INSIDE_OF_A_GUARD: &[(&str, &str)] = &[("src/planner/running.rs", "walk")];

#[test]
fn whatever_the_server_calls_turns_panics_into_errors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for folder in SERVER_FOLDERS {
        files(&root.join(folder), ".rs", &mut all);
    }
    let mut guarded = 0;
    let mut open = Vec::new();
    for path in all {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let Some((_, called)) = code(line).split_once("extern \"C-unwind\" fn ") else {
                continue;
            };
            let called = called.split('(').next().unwrap_or_default();
            let above = &lines[n.saturating_sub(3)..n];
            let below = &lines[n..lines.len().min(n + 12)];
            if above.iter().any(|line| line.contains("#[pgrx::pg_guard]"))
                || below
                    .iter()
                    .any(|line| line.contains("pgrx_extern_c_guard("))
            {
                guarded += 1;
            } else if !INSIDE_OF_A_GUARD.contains(&(name, called)) {
                open.push(format!("{name}:{}: {called}", n + 1));
            }
        }
    }
    println!("{guarded} functions that the server calls, all guarded");
    assert!(guarded > 30, "{guarded}");
    assert!(open.is_empty(), "without a guard:\n{}", open.join("\n"));
}

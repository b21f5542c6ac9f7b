//! Damage planted in index files: whether a check tells it, and how statements end that come by it.
//!
//! Damage is raw, or sealed: with the checksum of the damaged page, so that only what the page says can tell it.

use postgres::Client;

use crate::harness::Server;
use crate::hnsw::check::findings;
use crate::hnsw::damage::PAGE;

/// Damage to the bytes of an index.
pub type Plant = fn(&mut Vec<u8>, &mut fastrand::Rng);

/// Plants damage. What happens to leave every byte as it was is none, and is planted again.
pub fn plant(damage: Plant, bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let sound = bytes.clone();
    for _ in 0..100 {
        damage(bytes, random);
        if *bytes != sound {
            return;
        }
    }
    panic!("damage that changes nothing");
}

/// Gives every page the checksum of what it holds now; pages of zeros have none.
pub fn seal(bytes: &mut [u8]) {
    for (block, page) in bytes.chunks_exact_mut(PAGE).enumerate() {
        if page.iter().any(|&byte| byte != 0) {
            vectorext::page::seal(page, block as u32);
        }
    }
}

/// What checks said of damaged indexes.
#[derive(Default)]
pub struct Told {
    pub told: usize,
    /// not told, and no check can tell it
    pub excused: usize,
    /// not told, and nothing excuses that
    pub missed: Vec<String>,
}

impl Told {
    /// Checks an index that was damaged so.
    pub fn check(&mut self, client: &mut Client, index: &str, what: &str, excuse: Option<&str>) {
        let is_told = match findings(client, index) {
            // a page in no use that is all zeros is a warning: nothing was on it
            Ok(lines) => lines
                .iter()
                .any(|line| line.starts_with("error") || line.contains("or the page was lost")),
            Err(error) => error
                .code()
                .is_some_and(|code| ["XX001", "XX002"].contains(&code.code())),
        };
        match (is_told, excuse) {
            (true, _) => self.told += 1,
            (false, Some(_)) => self.excused += 1,
            (false, None) => self.missed.push(format!("{index}: {what}")),
        }
    }
}

/// SQL after which an index is the only one of its table that is used.
pub fn use_alone(index: &str) -> String {
    format!(
        "UPDATE pg_index SET indisvalid = indexrelid = '{index}'::regclass,
                indisready = indexrelid = '{index}'::regclass
         WHERE indrelid = (SELECT indrelid FROM pg_index WHERE indexrelid = '{index}'::regclass)"
    )
}

/// Runs a statement over an index that was damaged so. What is wrong with its end: right are an answer, XX002 that says
/// REINDEX, and what the server itself says of damaged pages. Panics where it took the server down.
pub fn wrong_end(
    server: &Server,
    client: &mut Client,
    what: &str,
    statement: &str,
) -> Option<String> {
    let error = client.batch_execute(statement).err()?;
    let Some(error) = error.as_db_error() else {
        panic!("{what}: {statement} took the server down: {}", server.log());
    };
    let hint = error.hint().unwrap_or_default();
    let is_right = match error.code().code() {
        "XX002" => hint.contains("REINDEX"),
        "XX001" => true,
        _ => false,
    };
    let (code, message) = (error.code().code(), error.message());
    (!is_right).then(|| format!("{what}: {statement}: {code} {message} {hint}"))
}

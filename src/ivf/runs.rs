//! Records on their way into lists: an external sort by list. What does not fit into memory goes to a
//! file in runs, each ordered by list; in the end a list's records are read from all runs, each of which
//! is read from its beginning to its end.

use crate::hnsw::blocks::memory::{Backing, Region};
use std::io;

/// Records of one size, each for one list.
pub struct Runs<S> {
    lists: usize,
    record_len: usize,
    /// bytes that may be held in memory
    limit: usize,
    current: Vec<u8>,
    of_list: Vec<u32>,
    spilled: Vec<Run>,
    spill: S,
}

/// Records ordered by list.
struct Run {
    records: Records,
    /// where each list begins, and the end
    starts: Vec<u32>,
}

enum Records {
    /// in their order
    Spilled(Region<u8>),
    /// anywhere; which one is where
    InMemory { bytes: Vec<u8>, order: Vec<u32> },
}

impl<S: FnMut() -> io::Result<Backing>> Runs<S> {
    /// No records yet, of `record_len` bytes for `lists` lists. At about `limit` bytes they go to a file
    /// that `spill` gives.
    pub fn new(lists: usize, record_len: usize, limit: usize, spill: S) -> Self {
        Runs {
            lists,
            record_len: record_len.max(1),
            limit,
            current: Vec::new(),
            of_list: Vec::new(),
            spilled: Vec::new(),
            spill,
        }
    }

    /// Adds a record for a list.
    pub fn push(&mut self, list: u32, record: &[u8]) -> io::Result<()> {
        assert_eq!(record.len(), self.record_len, "bytes of a record");
        assert!((list as usize) < self.lists, "number of a list");
        let memory = self.current.len() + 8 * self.of_list.len();
        let is_full = memory + record.len() > self.limit || self.of_list.len() == u32::MAX as usize;
        if is_full && !self.of_list.is_empty() {
            self.spill()?;
        }
        self.of_list.push(list);
        self.current.extend_from_slice(record);
        Ok(())
    }

    /// Records by list, in the order in which they came.
    fn order(&self) -> (Vec<u32>, Vec<u32>) {
        let mut starts = vec![0u32; self.lists + 2];
        for &list in &self.of_list {
            starts[list as usize + 2] += 1;
        }
        for at in 2..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut order = vec![0u32; self.of_list.len()];
        for (record, &list) in self.of_list.iter().enumerate() {
            let next = &mut starts[list as usize + 1];
            order[*next as usize] = record as u32;
            *next += 1;
        }
        starts.pop();
        (starts, order)
    }

    fn spill(&mut self) -> io::Result<()> {
        let (starts, order) = self.order();
        let mut records = Region::in_file((self.spill)()?)?;
        records.grow_to(self.current.len())?;
        let len = self.record_len;
        for (to, &record) in records.chunks_exact_mut(len).zip(&order) {
            to.copy_from_slice(&self.current[record as usize * len..][..len]);
        }
        self.spilled.push(Run {
            records: Records::Spilled(records),
            starts,
        });
        self.current.clear();
        self.of_list.clear();
        Ok(())
    }

    /// Whether records went to a file.
    pub fn is_spilled(&self) -> bool {
        !self.spilled.is_empty()
    }

    /// All records by list.
    pub fn finish(mut self) -> Sorted {
        let (starts, order) = self.order();
        let mut runs = std::mem::take(&mut self.spilled);
        runs.push(Run {
            records: Records::InMemory {
                bytes: self.current,
                order,
            },
            starts,
        });
        Sorted {
            record_len: self.record_len,
            runs,
        }
    }
}

/// Records by list.
pub struct Sorted {
    record_len: usize,
    runs: Vec<Run>,
}

impl Sorted {
    /// How many records a list has.
    pub fn count(&self, list: usize) -> usize {
        let of_run = |run: &Run| (run.starts[list + 1] - run.starts[list]) as usize;
        self.runs.iter().map(of_run).sum()
    }

    /// The records of a list, in the order in which they came.
    pub fn list(&self, list: usize) -> impl Iterator<Item = &[u8]> {
        let len = self.record_len;
        self.runs.iter().flat_map(move |run| {
            let range = run.starts[list] as usize..run.starts[list + 1] as usize;
            range.map(move |at| match &run.records {
                Records::Spilled(bytes) => &bytes[at * len..][..len],
                Records::InMemory { bytes, order } => &bytes[order[at] as usize * len..][..len],
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(limit: usize) -> (Sorted, bool) {
        let spill = || tempfile().map(Backing::from);
        let mut runs = Runs::new(7, 8, limit, spill);
        for n in 0..10_000u64 {
            let list = (n * n % 6) as u32;
            runs.push(list, &n.to_ne_bytes()).expect("room in a file");
        }
        let is_spilled = runs.is_spilled();
        (runs.finish(), is_spilled)
    }

    fn tempfile() -> io::Result<std::fs::File> {
        let name = format!(
            "vectorext-runs-{}-{}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    }

    #[test]
    fn a_list_has_its_records_in_their_order_whatever_the_memory() {
        let (in_memory, none_spilled) = sorted(usize::MAX);
        let (in_files, spilled) = sorted(20_000);
        assert!(!none_spilled && spilled);
        for list in 0..7 {
            let expected: Vec<u64> = (0..10_000).filter(|n| n * n % 6 == list as u64).collect();
            for sorted in [&in_memory, &in_files] {
                let found: Vec<u64> = sorted
                    .list(list)
                    .map(|record| u64::from_ne_bytes(record.try_into().expect("8 bytes")))
                    .collect();
                assert_eq!(found, expected);
                assert_eq!(sorted.count(list), expected.len());
            }
        }
    }
}

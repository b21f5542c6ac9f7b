//! A batch that counts only rows which pass: those that the index's keys, an allow-list, a radius and the
//! plan node's own conditions leave, and that the snapshot sees.
//!
//! Lists are read in steps ([`crate::ivf::reach`]). Keys, allow-list and radius are looked at on the page,
//! before any distance. What is left of a step is put to everything else nearest first, by the table's row
//! where need be, until the next one is farther than the last of the rows wanted. So rows that fail cost one
//! look each, and none where enough nearer ones pass.

use super::looks::{Sieve, Sifted, key};
use super::probe::{FoundRow, Intake, Reading};
use super::search::Search;
use crate::allow_list::AllowList;
use crate::am::filter::Filter;
use crate::hnsw::format::RawTid;
use crate::ivf::order::Candidate;
use crate::ivf::reach::{Met, borne_out};
use crate::pg::conditions::Conditions;
use rustc_hash::FxHashSet;
use std::ops::Range;

/// Recall aimed at where the settings do not say.
pub(super) const USUAL_RECALL: f32 = 0.95;
/// Part of the rows that may be missed which lists not read may hold, as far as one can tell.
pub(super) const TOLERATED: f64 = 0.8;
/// Bytes of a row that waits for a closer look.
const BYTES_PER_ROW: usize = size_of::<Candidate<FoundRow>>();
/// Bytes of a row that was looked at.
const BYTES_PER_SEEN: usize = 16;
/// Rows whose heap pages are asked for together.
const PREFETCHED: usize = 32;
/// Rows of lists that are met in the time that one of an allow-list takes to be read from the table.
const MET_PER_LISTED: f64 = 6.0;
/// How many times the lists that the curve has for the rank of the last row wanted are read among few that match. Measured
/// on sentence embeddings: 1.4 at 50 %, 1.9 at 5 %, 3.5 at 1 %.
const FARTHER: f64 = 2.5;

/// Takes in the rows of a step that may be near enough.
struct Step<'a> {
    rows: &'a mut Vec<Candidate<FoundRow>>,
    handed_out: &'a FxHashSet<u64>,
    bound: f32,
    /// the least lower bound of the rows left out that are within the radius
    left_out: f32,
    within: f32,
}

impl Intake for Step<'_> {
    #[inline(always)]
    fn bound(&self) -> f32 {
        self.bound
    }

    #[inline(always)]
    fn leave_out(&mut self, low: f32) {
        if low <= self.within {
            self.left_out = self.left_out.min(low);
        }
    }

    #[inline]
    fn take(&mut self, low: f32, high: f32, row: FoundRow) {
        if self.handed_out.is_empty() || !self.handed_out.contains(&key(row.tid)) {
            self.rows.push(Candidate { low, high, row });
        }
    }
}

/// What a batch has come to.
#[derive(Default)]
struct Tally {
    /// rows put to the sieve, and those that passed
    sifted: u64,
    passed: u64,
}

impl Tally {
    fn share(&self) -> f64 {
        share(self.passed, self.sifted)
    }
}

fn share(part: u64, of: u64) -> f64 {
    match of {
        0 => 1.0,
        of => part as f64 / of as f64,
    }
}

impl Search {
    /// Looks for so many rows that pass.
    pub(super) fn sift(&mut self, rows: usize, conditions: Conditions) {
        let filter = self.filter.clone();
        let sieve = Sieve {
            filter: filter.as_deref(),
            conditions,
            within: self.within,
        };
        while !self.sift_lists(rows, sieve) {
            // a list that is gone: its rows are in others now
            self.read_directory();
        }
    }

    /// False where a list is gone by now.
    fn sift_lists(&mut self, rows: usize, sieve: Sieve<'_>) -> bool {
        self.candidates.begin(rows);
        self.looks.seen.clear();
        self.probe.begin_batch();
        self.has_all_within = false;
        let mut tally = Tally::default();
        let most = self.most_probes();
        let rank = self.returned + rows;
        let (mut read, mut is_sampled) = (0, false);
        let mut next = self.probes_for(rank).clamp(1, most);
        if self.is_listed_cheaper(sieve.filter, rows, 0) {
            self.sift_listed(sieve);
            return true;
        }
        loop {
            if !self.step(read..next, sieve, &mut tally) {
                return false;
            }
            read = next;
            self.probes = read;
            if self.is_listed_cheaper(sieve.filter, rows, self.probe.met) {
                self.sift_listed(sieve);
                return true;
            }
            let mut met = self.met(read, rows, &tally);
            let lists_for = |search: &Search, met: &Met| {
                met.next(most, |of_rank| search.probes_for(of_rank.max(rank)))
            };
            let mut more = lists_for(self, &met);
            if more.is_none() && read < most && met.passed >= rows && !is_sampled {
                // the lists read are the nearest, and may be like no other
                is_sampled = true;
                if !self.probe.sample_unread(read, &self.target, sieve.filter) {
                    return false;
                }
                met = self.met(read, rows, &tally);
                more = lists_for(self, &met);
            }
            match more {
                Some(lists) => next = lists,
                None => {
                    self.has_all_within = met.within.is_some() && met.passed < rows;
                    return true;
                }
            }
        }
    }

    /// Where the search stands.
    fn met(&mut self, lists: usize, wanted: usize, tally: &Tally) -> Met {
        let bound = self.candidates.bound();
        let share = share(self.probe.matched, self.probe.met) * tally.share();
        let missed = 1.0 - self.settings.target_recall.unwrap_or(USUAL_RECALL) as f64;
        let farthest = bound.min(self.within);
        let likely = match farthest < f32::INFINITY {
            true => {
                let farthest = self.probe.internal_of(&self.target, farthest);
                let tolerated = TOLERATED * missed * wanted as f64;
                let late = lists / 2..lists;
                let found = self.candidates.kept().filter(|row| row.low <= bound);
                let found = found.filter(|row| late.contains(&(row.row.place as usize)));
                let found = found.count();
                let foretold = self.probe.foretold(late, farthest, share);
                let part = foretold.map_or(1.0, |foretold| borne_out(found, foretold));
                let share = self.probe.matching() * tally.share();
                let is_page = self.missed_of_page.is_some();
                let unread = lists..self.probe.directory.lists().len();
                self.probe.likely(
                    &self.target,
                    unread,
                    farthest,
                    share,
                    tolerated / part,
                    is_page,
                )
            }
            false => lists,
        };
        let nearest = self.candidates.kept().filter(|row| row.low <= bound);
        let last = nearest.map(|row| row.row.place as usize + 1).max();
        Met {
            lists,
            passed: (tally.passed as usize).min(wanted),
            wanted,
            share,
            last: last.unwrap_or(0),
            within: (self.within < f32::INFINITY).then_some(self.probe.last_within),
            likely,
        }
    }

    /// Reads some lists, and puts their rows to the sieve; false where a list is gone by now.
    fn step(&mut self, lists: Range<usize>, sieve: Sieve<'_>, tally: &mut Tally) -> bool {
        self.probe.sort(lists.end, &self.target);
        let is_all = lists.start == 0 && lists.end == self.probe.directory.lists().len();
        let reading = Reading {
            filter: sieve.filter,
            deviations: self.deviations(is_all),
            within: sieve.within,
            is_measured: true,
        };
        self.probe.begin_step();
        // SAFETY: reads a setting.
        let memory = unsafe { pgrx::pg_sys::work_mem } as usize * 1024;
        let most_waiting = (memory / 2 / BYTES_PER_ROW).max(self.most_rows);
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut rest = lists;
        while !rest.is_empty() {
            let part = rest.start..self.probe.end_of(rest.clone(), most_waiting);
            rest.start = part.end;
            let mut into = Step {
                rows: &mut waiting,
                handed_out: &self.handed_out,
                bound: self.candidates.bound().min(sieve.within),
                left_out: f32::INFINITY,
                within: sieve.within,
            };
            let is_there = self.probe.read(part, &self.target, reading, &mut into);
            let left_out = into.left_out;
            self.candidates.leave_out(left_out);
            if !is_there {
                return false;
            }
            self.put_to(&mut waiting, sieve, memory, tally);
        }
        self.waiting = waiting;
        true
    }

    /// Puts rows to the sieve, nearest first, until they are too far to matter. Where all of them are to
    /// be looked at, because hardly any passes, they come in the order of the table.
    fn put_to(
        &mut self,
        waiting: &mut Vec<Candidate<FoundRow>>,
        sieve: Sieve<'_>,
        memory: usize,
        tally: &mut Tally,
    ) {
        let expected = tally.share() * waiting.len() as f64;
        let missing = self.candidates.missing() as f64;
        let by_place = tally.sifted > 0 && expected * 2.0 < missing;
        match by_place {
            true => waiting.sort_unstable_by_key(|candidate| key(candidate.row.tid)),
            false => waiting.sort_unstable_by(|a, b| a.low.total_cmp(&b.low)),
        }
        let mut tids: Vec<RawTid> = Vec::with_capacity(PREFETCHED);
        for n in 0..waiting.len() {
            let Candidate { low, mut row, .. } = waiting[n];
            let bound = self.candidates.bound();
            if low > bound {
                self.candidates.leave_out(low);
                match by_place {
                    true => continue,
                    // so are all others
                    false => break,
                }
            }
            if n.is_multiple_of(PREFETCHED) {
                pgrx::check_for_interrupts!();
                tids.clear();
                let soon = waiting[n..].iter().take(PREFETCHED);
                tids.extend(soon.map(|candidate| candidate.row.tid));
                self.looks.reader.prefetch(&tids);
            }
            if self.looks.seen.len() * BYTES_PER_SEEN > memory {
                self.forget_failed();
            }
            tally.sifted += 1;
            match self.looks.sift(&self.target, &mut row, sieve, bound) {
                Sifted::Out => {}
                Sifted::Beyond(low) => self.candidates.leave_out(low),
                Sifted::Kept(distance) => {
                    tally.passed += 1;
                    self.candidates.keep(distance, distance, row);
                }
            }
        }
        waiting.clear();
    }

    /// Forgets which rows did not pass: one that is in two lists may be looked at twice.
    fn forget_failed(&mut self) {
        self.looks.seen.clear();
        let kept = self.candidates.kept().map(|row| key(row.row.tid));
        self.looks.seen.extend(kept);
    }

    /// Whether reading the rows of an allow-list from the table is cheaper than going on to read lists, or
    /// than what was read of them already.
    fn is_listed_cheaper(&self, filter: Option<&Filter>, wanted: usize, met: u64) -> bool {
        let Some(listed) = filter.and_then(|filter| filter.allowed()?.count()) else {
            return false;
        };
        let reading = MET_PER_LISTED * listed as f64;
        let copies = self.probe.copies() as f64;
        // a row wanted for each of so many, and beyond them what makes sure of them
        let each = wanted as f64 * copies / (listed as f64).max(1.0);
        let rank = each / self.meta.copies as f64;
        let lists = self.probe.directory.lists().len() as f64;
        let share = self.probes_for(rank as usize) as f64 / lists.max(1.0);
        let expected = each.max(FARTHER * share * copies).min(copies);
        reading <= expected.max(met as f64)
    }

    /// Reads all rows of the allow-list from the table.
    fn sift_listed(&mut self, sieve: Sieve<'_>) {
        let Some(list) = sieve.filter.and_then(Filter::allowed) else {
            return;
        };
        self.sift_rows_of(list, sieve);
        self.probes = self.probe.directory.lists().len();
    }

    fn sift_rows_of(&mut self, list: &AllowList, sieve: Sieve<'_>) {
        let tids = list.tids();
        for (n, &tid) in tids.iter().enumerate() {
            if n.is_multiple_of(PREFETCHED) {
                pgrx::check_for_interrupts!();
                let next = &tids[n..tids.len().min(n + PREFETCHED)];
                self.looks.reader.prefetch(next);
            }
            if self.handed_out.contains(&key(tid)) {
                continue;
            }
            if let Some((distance, row)) = self.looks.sift_listed(&self.target, tid, sieve) {
                match distance > self.candidates.bound() {
                    true => self.candidates.leave_out(distance),
                    false => self.candidates.keep(distance, distance, row),
                }
            }
        }
    }
}

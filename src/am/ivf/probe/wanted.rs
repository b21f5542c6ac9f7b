//! Which rows of a list page pass a filter.

use crate::am::filter::Filter;
use crate::ivf::format::ListPage;
use crate::keys::Verdict;

/// Rows of a page that a filter leaves.
#[derive(Default)]
pub struct Wanted {
    pub verdicts: Vec<Verdict>,
    pub slots: Vec<u16>,
    pub codes: Vec<u8>,
    pub adds: Vec<f32>,
    pub scales: Vec<f32>,
}

impl Wanted {
    /// Finds the rows of a page that a filter leaves; false where there is none.
    pub fn find(&mut self, page: &ListPage<'_>, filter: &Filter) -> bool {
        self.verdicts.clear();
        self.verdicts.resize(page.count(), Verdict::Yes);
        filter
            .conditions
            .narrow(|column| page.keys(column), &mut self.verdicts);
        self.slots.clear();
        let allowed = filter.allowed();
        let tids = page.tids();
        for (slot, verdict) in self.verdicts.iter_mut().enumerate() {
            if *verdict == Verdict::No {
                continue;
            }
            match allowed {
                Some(allowed) if !allowed.contains(tids[slot]) => *verdict = Verdict::No,
                _ => self.slots.push(slot as u16),
            }
        }
        !self.slots.is_empty()
    }

    pub fn is_open(&self, slot: usize) -> bool {
        self.verdicts[slot] == Verdict::Open
    }

    /// Puts the codes of the rows wanted one after another.
    pub fn gather(&mut self, page: &ListPage<'_>) {
        self.codes.clear();
        self.adds.clear();
        self.scales.clear();
        for &slot in &self.slots {
            let slot = slot as usize;
            page.code(slot).append_to(&mut self.codes);
            self.adds.push(page.adds()[slot]);
            self.scales.push(page.scales()[slot]);
        }
    }
}

//! A list without the holes that VACUUM left in it: its rows keep their codes, and its neighbours stay as they are.

use super::{Alone, free_chain};
use crate::am::ivf::directory::Listed;
use crate::am::ivf::index::{Ivf, change_meta};
use crate::am::ivf::storage::{ListLock, Steps, Visit};
use crate::ivf::format::{ListId, ListPageMut, ListRow, Opaque};
use crate::pg::buffer::{Access, Exclusive, Shared};
use crate::pg::change::{Change, Logging};

impl Alone<'_> {
    /// Writes a list to as few pages as it takes, under a new number that replaces the old one in the directory.
    /// Nothing happens where it is gone.
    pub fn compact(&self, listed: &Listed) {
        let ivf = self.ivf;
        let _lock = ListLock::alone(ivf, listed.id);
        let Some(entry) = ivf.entry(listed.id, listed.place) else {
            return;
        };
        let mut id = ListId(0);
        change_meta(ivf.index, Logging::EachChange, |meta| {
            id = ListId(meta.next_list);
            meta.next_list += 1;
        });
        let mut pages = Pages::new(ivf, id);
        let mut block = entry.first;
        let mut steps = Steps::new();
        while block != 0 {
            pgrx::check_for_interrupts!();
            steps.step(ivf, block);
            let locked = Shared::read(ivf.index, block, Access::Random);
            let Visit::Page(page) = ivf.list_page(block, locked.page(), listed.id) else {
                drop(locked);
                return ivf.check_gone(listed.id, block);
            };
            for n in 0..page.count() {
                pages.push(&page.row(n));
            }
            block = page.next;
            drop(locked);
            pages.write_all_but(1);
        }
        pages.write_all_but(0);
        self.change_entries(listed.place.block, Some(0), |entries| {
            let entry = entries.entry(listed.place.slot);
            entry.list = id.0;
            (entry.first, entry.last) = (pages.first, pages.last);
            (entry.pages, entry.rows) = (pages.count, pages.rows);
            entry.undivided = 0;
        });
        free_chain(ivf, listed.id, entry.first);
    }
}

/// Pages of a list that no entry leads to yet, written one after another.
struct Pages<'a> {
    ivf: &'a Ivf,
    id: ListId,
    /// contents of pages to be written
    waiting: Vec<Vec<u8>>,
    first: u32,
    last: u32,
    count: u32,
    rows: u32,
}

impl<'a> Pages<'a> {
    fn new(ivf: &'a Ivf, id: ListId) -> Self {
        Pages {
            ivf,
            id,
            waiting: vec![vec![0; ivf.lists.contents_len()]],
            first: 0,
            last: 0,
            count: 0,
            rows: 0,
        }
    }

    fn push(&mut self, row: &ListRow<'_>) {
        self.rows += 1;
        let lists = &self.ivf.lists;
        if let Some(page) = self.waiting.last_mut()
            && ListPageMut::new(page, lists).push(row)
        {
            return;
        }
        let mut page = vec![0; lists.contents_len()];
        let has_room = ListPageMut::new(&mut page, lists).push(row);
        assert!(has_room, "a page takes a row");
        self.waiting.push(page);
    }

    /// Writes pages but for the last ones, which may have room.
    fn write_all_but(&mut self, left: usize) {
        let ivf = self.ivf;
        let ready = self.waiting.len().saturating_sub(left);
        for contents in self.waiting.drain(..ready) {
            let mut before =
                (self.count > 0).then(|| Exclusive::lock(ivf.index, self.last, Access::Random));
            let mut page = ivf.take_page();
            self.last = page.block();
            let mut change = Change::begin(ivf.index, Logging::EachChange);
            match &mut before {
                Some(before) => change.page(before).special_mut::<Opaque>().next = self.last,
                None => self.first = self.last,
            }
            let mut target = change.new_page(&mut page, &Opaque::of_list(self.id));
            target
                .contents_bytes_mut(contents.len())
                .copy_from_slice(&contents);
            change.commit();
            self.count += 1;
        }
    }
}

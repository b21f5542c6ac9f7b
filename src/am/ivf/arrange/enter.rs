//! Lists on their way into the directory and out of it, and what it notes of them.

use super::{Alone, Member};
use crate::am::ivf::build::Centroid;
use crate::am::ivf::directory::EntryPlace;
use crate::am::ivf::index::{META_BLOCK, read_meta};
use crate::ivf::format::{Entries, EntriesMut, Entry, Meta, Opaque, PageKind};
use crate::pg::buffer::{Access, Exclusive};
use crate::pg::change::{Change, Logging};

impl Alone<'_> {
    /// Changes a page of the directory, and with `lists` the metapage: the number of lists changes by so
    /// many, and the directory has a new generation.
    pub fn change_entries(
        &self,
        block: u32,
        lists: Option<i32>,
        change: impl FnOnce(&mut EntriesMut<'_>),
    ) {
        let ivf = self.ivf;
        let mut page = Exclusive::lock(ivf.index, block, Access::Random);
        ivf.check(block, || Entries::of(page.page(), ivf.entries).map(drop));
        let mut meta = lists.map(|_| Exclusive::lock(ivf.index, META_BLOCK, Access::Random));
        let mut log = Change::begin(ivf.index, Logging::EachChange);
        let mut target = log.page(&mut page);
        let bytes = target.contents_bytes_mut(ivf.entries.contents_len());
        change(&mut EntriesMut::new(bytes, ivf.entries));
        if let (Some(meta), Some(lists)) = (&mut meta, lists) {
            ivf.check(META_BLOCK, || Meta::of(meta.page()).map(drop));
            let mut target = log.page(meta);
            let contents = target.contents_mut::<Meta>();
            contents.generation = contents.generation.wrapping_add(1);
            contents.lists = contents.lists.saturating_add_signed(lists);
        }
        log.commit();
    }

    /// Enters lists in the directory: in free slots of its pages, and of new ones.
    pub fn enter(&self, lists: &[(Entry, &Centroid)], copies: usize) {
        let ivf = self.ivf;
        let mut rest = lists;
        let mut block = read_meta(ivf.index).directory;
        while !rest.is_empty() {
            let mut page = Exclusive::lock(ivf.index, block, Access::Random);
            let (room, next) = ivf.check(block, || {
                let entries = Entries::of(page.page(), ivf.entries)?;
                Ok((
                    ivf.entries.capacity() - entries.iter().count(),
                    entries.next,
                ))
            });
            if room == 0 && next != 0 {
                block = next;
                continue;
            }
            let mut new = (room == 0).then(|| ivf.take_page());
            let mut meta = Exclusive::lock(ivf.index, META_BLOCK, Access::Random);
            ivf.check(META_BLOCK, || Meta::of(meta.page()).map(drop));
            let mut log = Change::begin(ivf.index, Logging::EachChange);
            let mut target = log.page(&mut page);
            if let Some(new) = &mut new {
                block = new.block();
                target.special_mut::<Opaque>().next = block;
                target = log.new_page(new, &Opaque::new(PageKind::Directory));
            }
            let bytes = target.contents_bytes_mut(ivf.entries.contents_len());
            let mut entries = EntriesMut::new(bytes, ivf.entries);
            let before = rest.len();
            while let Some(((entry, centroid), others)) = rest.split_first()
                && entries.add(entry, &centroid.bytes).is_some()
            {
                rest = others;
            }
            let mut target = log.page(&mut meta);
            let contents = target.contents_mut::<Meta>();
            contents.generation = contents.generation.wrapping_add(1);
            contents.lists += (before - rest.len()) as u32;
            contents.copies = contents.copies.max(copies as u8);
            log.commit();
            if new.is_none() {
                block = next;
                if next == 0 && !rest.is_empty() {
                    block = page.block();
                }
            }
        }
    }

    /// Notes the size of a list that cannot be divided, so that it is not looked at again too soon.
    pub(super) fn note_undivided(&self, member: &Member, rows: usize) {
        self.change_entries(member.place.block, None, |entries| {
            let entry = entries.entry(member.place.slot);
            (entry.rows, entry.undivided) = (rows as u32, rows as u32);
        });
    }

    /// Notes how many copies a list has.
    pub fn note_rows(&self, place: EntryPlace, rows: usize) {
        self.change_entries(place.block, None, |entries| {
            let entry = entries.entry(place.slot);
            (entry.rows, entry.undivided) = (rows as u32, 0);
        });
    }
}

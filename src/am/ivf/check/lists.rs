//! Whether pages lead where they should: the chains that never change, the directory, the pages of each list.

use super::{Check, LOOKS};
use crate::am::ivf::index::{self, META_BLOCK};
use crate::check::Findings;
use crate::hnsw::format::RawTid;
use crate::ivf::format::{Entries, Entry, ListId, ListPage, Opaque, PageKind};
use crate::pg::buffer::Access;
use rustc_hash::FxHashSet;

/// A list as a directory page has it.
#[derive(Clone, Copy)]
struct Place {
    block: u32,
    slot: usize,
    entry: Entry,
}

impl Check {
    /// A chain of pages that never changes, with so many bytes on them.
    pub fn chain(&mut self, first: u32, kind: PageKind, len: usize, found: &mut Findings<'_>) {
        let mut block = first;
        let mut bytes = 0;
        while block != 0 {
            if self.pages.remove(&block) != Some(kind) {
                let message = format!("a chain of pages of kind {kind:?} goes on where none is");
                return found.error(block, None, message);
            }
            block = match self.page.read(self.index, block, Access::Random) {
                Ok(()) => {
                    let page = self.page.page();
                    bytes += page.contents().map_or(0, <[u8]>::len);
                    Opaque::of(page).map_or(0, |(_, opaque)| opaque.next)
                }
                Err(_) => 0,
            };
        }
        if bytes != len {
            let message = format!("{bytes} bytes on pages of kind {kind:?}, and not {len}");
            found.error(first, None, message);
        }
    }

    /// The directory, and the pages of every list in it.
    pub fn directory(&mut self, found: &mut Findings<'_>) {
        let meta = index::read_meta(self.index);
        let (mut block, mut seen) = (meta.directory, FxHashSet::default());
        let mut ids = FxHashSet::default();
        if block == 0 {
            found.error(META_BLOCK, None, "no directory");
        }
        while block != 0 {
            pgrx::check_for_interrupts!();
            self.pages.remove(&block);
            if !seen.insert(block) {
                return found.error(block, None, "the directory leads back to itself");
            }
            let (places, next) = match self.places_on(block) {
                Ok(read) => read,
                Err(message) => return found.error(block, None, message),
            };
            for place in places {
                if !ids.insert(place.entry.list) {
                    let message = format!("list {} is there twice", place.entry.list);
                    found.error(block, None, message);
                }
                self.list(place, found);
                self.centroid(place, found);
            }
            block = next;
        }
        // lists may have come and gone since
        let now = index::read_meta(self.index);
        if now.generation == meta.generation {
            if ids.len() != now.lists as usize {
                let message = format!("{} lists, and the metapage says {}", ids.len(), now.lists);
                found.error(META_BLOCK, None, message);
            }
            if ids.iter().any(|&id| id >= now.next_list) {
                let message = "a list's number is to be given out again";
                found.error(META_BLOCK, None, message);
            }
        }
    }

    fn places_on(&mut self, block: u32) -> Result<(Vec<Place>, u32), String> {
        if block >= self.index.blocks() {
            return Err("the directory goes on past the end of the index".into());
        }
        self.page.read(self.index, block, Access::Random)?;
        if self.page.page().is_new() {
            return Err("the directory goes on where no page is".into());
        }
        let entries =
            Entries::of(self.page.page(), self.expected.entries).map_err(|damage| damage.0)?;
        let places = entries.iter().map(|(slot, entry, _)| Place {
            block,
            slot,
            entry: *entry,
        });
        Ok((places.collect(), entries.next))
    }

    /// A list as its entry is now; `None` where that is of another list.
    fn now(&mut self, place: Place) -> Option<Place> {
        let (places, _) = self.places_on(place.block).ok()?;
        places
            .into_iter()
            .find(|other| other.slot == place.slot && other.entry.list == place.entry.list)
    }

    fn list(&mut self, place: Place, found: &mut Findings<'_>) {
        let mut place = place;
        for look in 0..=LOOKS {
            let Err((block, message)) = self.list_pages(place.entry) else {
                return;
            };
            if look == LOOKS {
                let message = format!("list {}: {message}", place.entry.list);
                return found.error(block, None, message);
            }
            match self.now(place) {
                Some(now) => place = now,
                None => return,
            }
        }
    }

    /// The centroid of a list has the factors that its bytes have.
    fn centroid(&self, place: Place, found: &mut Findings<'_>) {
        let (Some(directory), Some(codec)) = (&self.directory, &self.ivf.codec) else {
            return;
        };
        let at = directory.position(ListId(place.entry.list));
        let Some(centre) = at.and_then(|at| directory.centre(at)) else {
            return;
        };
        let expected = codec.centre_of(centre.factors.scale, centre.code);
        if bytemuck::bytes_of(&expected) != bytemuck::bytes_of(&centre.factors) {
            let message = format!(
                "centroid of list {} contradicts its factors",
                place.entry.list
            );
            found.error(place.block, None, message);
        }
    }

    /// From a list's first page to its last.
    fn list_pages(&mut self, entry: Entry) -> Result<(), (u32, String)> {
        let mut block = entry.first;
        let mut pages = 0;
        let mut last = 0;
        let mut seen = FxHashSet::default();
        let mut rows: FxHashSet<RawTid> = FxHashSet::default();
        while block != 0 {
            pgrx::check_for_interrupts!();
            let wrong = |message: &str| (block, message.to_owned());
            if block >= self.index.blocks() {
                return Err(wrong("goes on past the end of the index"));
            }
            if !seen.insert(block) {
                return Err(wrong("leads back to itself"));
            }
            self.page
                .read(self.index, block, Access::Random)
                .map_err(|message| (block, message))?;
            if self.page.page().is_new() {
                return Err(wrong("goes on where no page is"));
            }
            let opaque = Opaque::expect(self.page.page(), PageKind::List)
                .map_err(|damage| wrong(damage.0))?;
            if opaque.list != entry.list {
                return Err(wrong("goes on with another list's page"));
            }
            // what cannot be read was told page by page
            if let Ok(page) = ListPage::of(self.page.page(), &self.expected.lists)
                && !page.tids().iter().all(|&tid| rows.insert(tid))
            {
                return Err(wrong("has a row twice"));
            }
            pages += 1;
            last = block;
            block = opaque.next;
        }
        if last != entry.last || pages != entry.pages {
            let message = format!(
                "{pages} pages, the last of them {last}, and the directory says {} and {}",
                entry.pages, entry.last
            );
            return Err((last, message));
        }
        for block in seen {
            self.pages.remove(&block);
            self.list_of.insert(block, ListId(entry.list));
        }
        Ok(())
    }
}

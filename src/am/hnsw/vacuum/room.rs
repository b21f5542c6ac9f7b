//! Room that VACUUM makes on pages, and tells inserts of.

use crate::am::hnsw::storage::Hnsw;
use crate::hnsw::format::{Opaque, PageKind};
use crate::pg::buffer::{self, Exclusive, free_space_map};
use crate::pg::change::{Change, PageMut};

/// Removes items from a page and raises its generation; a page without items becomes free.
pub fn remove_item<'g>(
    hnsw: &Hnsw,
    change: &mut Change<'g>,
    page: &'g mut Exclusive,
    offsets: &[u16],
) -> PageMut<'g> {
    let block = page.block();
    let generation = hnsw
        .check(block, || Opaque::of(page.page()))
        .1
        .generation
        .wrapping_add(1);
    let view = page.page();
    let is_last =
        (1..=view.item_count()).all(|n| offsets.contains(&n) || matches!(view.item(n), Ok(None)));
    if is_last {
        return change.new_page(page, &Opaque::new(PageKind::Free, generation));
    }
    let mut target = change.page(page);
    for &offset in offsets {
        target.remove_item(offset);
    }
    target.special_mut::<Opaque>().generation = generation;
    target
}

/// Records what a page of nodes, or an empty one, has free.
pub fn record_free(hnsw: &Hnsw, page: &Exclusive) {
    let free = match hnsw.check(page.block(), || Opaque::of(page.page())).0 {
        PageKind::Free => free_space_map::EMPTY_PAGE,
        _ => buffer::room(page.page()),
    };
    free_space_map::record(hnsw.index, page.block(), free);
}

/// Records a page that has become empty. TID pages with lists left are found by the hint only.
pub fn record_if_free(hnsw: &Hnsw, page: &Exclusive) {
    if hnsw.check(page.block(), || Opaque::of(page.page())).0 == PageKind::Free {
        free_space_map::record(hnsw.index, page.block(), free_space_map::EMPTY_PAGE);
    }
}

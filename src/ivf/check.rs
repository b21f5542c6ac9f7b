//! What must hold of a page of an index of lists by itself. What holds between pages is checked where
//! pages can be read (`am/ivf/check/`).

use super::format::{
    CONTENTS, Entries, EntryLayout, ListLayout, ListPage, Meta, Opaque, PageKind, RowForm, Shape,
    VectorLayout, VectorPage,
};
use crate::check::{self, Findings};
use crate::page::PageView;
use rustc_hash::FxHashSet;

/// What the metapage says of every other page.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// what pages look like
    pub shape: Shape,
    /// of list pages
    pub lists: ListLayout,
    /// of directory pages
    pub entries: EntryLayout,
    /// of vector pages
    pub vectors: VectorLayout,
}

impl Expected {
    /// What an index of a shape must look like.
    pub fn new(shape: Shape) -> Self {
        Expected {
            shape,
            lists: ListLayout::of(&shape),
            entries: EntryLayout::of(&shape),
            vectors: VectorLayout::of(&shape),
        }
    }
}

/// Checks a page. Its kind, where it has one and can be read.
pub fn page(
    expected: &Expected,
    page: PageView<'_>,
    block: u32,
    found: &mut Findings<'_>,
) -> Option<PageKind> {
    let (kind, opaque) = check::page(page, block, size_of::<Opaque>(), Opaque::of, found)?;
    let in_chain = matches!(
        kind,
        PageKind::Centroid | PageKind::Codebook | PageKind::Directory | PageKind::List
    );
    if opaque.reserved != 0
        || (opaque.next != 0 && !in_chain)
        || (opaque.list != 0) != (kind == PageKind::List)
    {
        found.error(block, None, "special area that its page's kind has not");
    }
    if (kind == PageKind::Meta) != (block == 0) {
        found.error(block, None, "block 0 and only it is the metapage");
    }
    check::whole(page, block, found);
    let len = match kind {
        PageKind::Directory => Some(expected.entries.contents_len()),
        PageKind::List => Some(expected.lists.contents_len()),
        PageKind::Vectors => Some(expected.vectors.contents_len()),
        PageKind::Meta => Some(size_of::<Meta>()),
        _ => None,
    };
    let is_of_length = |len| page.contents().is_ok_and(|contents| contents.len() == len);
    if !len.is_none_or(is_of_length) {
        found.error(block, None, "contents of another length");
    }
    let outcome = match kind {
        PageKind::Meta => meta(page),
        PageKind::Centroid => centroid(page),
        PageKind::Codebook => Ok(()),
        PageKind::Directory => directory(expected, page),
        PageKind::List => list(expected, page),
        PageKind::Vectors => vectors(expected, page),
        PageKind::Free => match page.contents() {
            Ok([]) => Ok(()),
            _ => Err("something on a free page"),
        },
    };
    if let Err(message) = outcome {
        found.error(block, None, message);
    }
    Some(kind)
}

fn meta(page: PageView<'_>) -> Result<(), &'static str> {
    let meta = Meta::of(page).map_err(|damage| damage.0)?;
    let curve = meta.curve();
    let unused: &[u8] = bytemuck::cast_slice(&meta.curve[curve.len()..]);
    if unused.iter().any(|&byte| byte != 0) {
        return Err("bytes behind the calibration curve");
    }
    let sensible = |x: f32| (0.0..=1.0).contains(&x);
    if !curve
        .iter()
        .all(|point| sensible(point.share) && sensible(point.recall))
    {
        return Err("calibration curve of impossible values");
    }
    if meta.reserved != [0; 7] {
        return Err("bytes behind the metapage's fields");
    }
    if meta.lists_are_given > 1 {
        return Err("metapage flag out of range");
    }
    Ok(())
}

fn centroid(page: PageView<'_>) -> Result<(), &'static str> {
    let bytes = page.contents().map_err(|damage| damage.0)?;
    let floats: Option<&[f32]> = bytemuck::try_cast_slice(bytes).ok();
    match floats {
        Some(floats) if !floats.is_empty() && bytes.len() <= CONTENTS => {
            match floats.iter().all(|x| x.is_finite()) {
                true => Ok(()),
                false => Err("centroid that is not finite"),
            }
        }
        _ => Err("part of a centroid of no length"),
    }
}

fn directory(expected: &Expected, page: PageView<'_>) -> Result<(), &'static str> {
    let entries = Entries::of(page, expected.entries).map_err(|damage| damage.0)?;
    for (_, entry, _) in entries.iter() {
        if entry.first == 0 || entry.last == 0 || entry.reserved != 0 {
            return Err("entry of a list without pages");
        }
        let centre = entry.centre;
        if ![centre.add, centre.scale, centre.norm]
            .iter()
            .all(|x| x.is_finite())
        {
            return Err("centroid with factors that are not finite");
        }
    }
    if !entries.unused_is_zero() {
        return Err("something where no entry is");
    }
    Ok(())
}

fn list(expected: &Expected, page: PageView<'_>) -> Result<(), &'static str> {
    let rows = ListPage::of(page, &expected.lists).map_err(|damage| damage.0)?;
    let mut seen = FxHashSet::default();
    if rows.tids().iter().any(|tid| tid.offset == 0) {
        return Err("heap TID that leads nowhere");
    }
    if !rows.tids().iter().all(|tid| seen.insert(*tid)) {
        return Err("the same row twice");
    }
    if !rows.unused_is_zero() {
        return Err("something where no row is");
    }
    let finite = |factors: &[f32]| factors.iter().all(|x| x.is_finite());
    if !finite(rows.adds()) || !finite(rows.scales()) || !finite(rows.norms()) {
        return Err("factors that are not finite");
    }
    if expected.shape.form == RowForm::Values {
        let len = expected.shape.row_len as usize;
        for row in 0..rows.count() {
            if rows.value(row)[len..].iter().any(|&byte| byte != 0) {
                return Err("something behind a value");
            }
        }
    }
    Ok(())
}

fn vectors(expected: &Expected, page: PageView<'_>) -> Result<(), &'static str> {
    let slots = VectorPage::of(page, expected.vectors).map_err(|damage| damage.0)?;
    for slot in 0..expected.vectors.capacity() {
        let Some((_, compact)) = slots.get(slot) else {
            continue;
        };
        let sum: i32 = compact.code.iter().map(|&i| i as i32).sum();
        let factors = compact.factors;
        let finite = [factors.add, factors.scale, factors.error];
        if sum != factors.sum || !finite.iter().all(|x| x.is_finite()) {
            return Err("compact code that contradicts its factors");
        }
    }
    if !slots.unused_is_zero() {
        return Err("something where no compact code is");
    }
    Ok(())
}

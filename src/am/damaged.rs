//! What is said of an index that is not what it must be, whatever its access method.

use super::version::OtherVersion;
use crate::page::{Damage, PageView};
use crate::pg::buffer::{Access, Shared};
use crate::pg::error::raise_index;
use crate::pg::relation::Index;
use pgrx::PgSqlErrorCode as Code;

/// Raises XX002 for a damaged block.
#[cold]
#[inline(never)]
pub fn raise_damaged(index: Index, block: u32, damage: Damage) -> ! {
    raise_index(
        Code::ERRCODE_INDEX_CORRUPTED,
        format!(
            "index \"{}\" is damaged at block {block}: {damage}",
            index.name()
        ),
        Some("REINDEX the index.".into()),
    )
}

/// The metapage, in block `block`, as it is now. Raises XX002 where `of` cannot read it: for damage, or
/// because `other_version` knows it as of another version.
pub fn read_meta<M: Copy>(
    index: Index,
    block: u32,
    of: impl for<'a> FnOnce(PageView<'a>) -> Result<&'a M, Damage>,
    other_version: impl FnOnce(PageView<'_>) -> Option<OtherVersion>,
) -> M {
    let page = Shared::read(index, block, Access::Random);
    match of(page.page()) {
        Ok(meta) => *meta,
        Err(damage) => match other_version(page.page()) {
            Some(version) => version.raise(index),
            None => raise_damaged(index, block, damage),
        },
    }
}

//! `vector_index_check(regclass, heapallindexed, strict)`: everything that must hold of an index, page
//! by page, link by link, and against its table.
//!
//! The lock is that of a query, so rows come and go meanwhile. Pages are judged by copies, and what
//! looks wrong between two of them is looked at again before it is told.

pub mod claims;
pub mod free;

use crate::check::{Finding, Findings, Severity};
use crate::pg::error::raise_index;
use crate::pg::fmgr::{int4, int8};
use crate::pg::readable::Readable;
use crate::pg::relation::Index;
use crate::pg::result_set::ResultSet;
use crate::pg::table::Table;
use crate::pg::varlena::text;
use crate::pg_fn;
use pgrx::PgSqlErrorCode as Code;

pg_fn! {
    /// `vector_index_check(regclass, boolean, boolean)`; raises what [`Readable::open`] does, and in
    /// strict mode XX002 for the first finding of severity error.
    fn vector_index_check(call) {
        let oid = (call.arg(0).value() as u32).into();
        let (heapallindexed, strict) = (call.arg_bool(1), call.arg_bool(2));
        let mut of_lists = false;
        let readable = Readable::open(oid, "hnsw, ivf or ivfflat", |method| {
            of_lists = super::ivf::is_ours(method);
            of_lists || super::hnsw::is_ours(method)
        });
        let index = readable.index();
        // before any page is read: see `Table`
        let table = heapallindexed.then(|| Table::of(&readable));
        let mut rows = ResultSet::begin(call);
        let mut take = |finding: Finding| {
            if strict && finding.severity == Severity::Error {
                raise_found(index, &finding);
            }
            rows.put(&[
                Some(text(finding.severity.name())),
                Some(int8(finding.block as u64)),
                finding.offset.map(|offset| int4(offset as i32)),
                Some(text(&finding.message)),
            ]);
        };
        let mut found = Findings::new(&mut take);
        match of_lists {
            true => super::ivf::check::check(index, table.as_ref(), &mut found),
            false => super::hnsw::check::check(index, table.as_ref(), &mut found),
        }
        rows.end(call)
    }
}

#[cold]
fn raise_found(index: Index, finding: &Finding) -> ! {
    let item = finding
        .offset
        .map_or(String::new(), |offset| format!(", item {offset}"));
    raise_index(
        Code::ERRCODE_INDEX_CORRUPTED,
        format!(
            "index \"{}\" is damaged at block {}{item}: {}",
            index.name(),
            finding.block,
            finding.message
        ),
        Some("REINDEX the index.".into()),
    )
}

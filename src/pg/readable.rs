//! Indexes that a function is given by name: opened where the caller may read their table.

use super::error::raise_index;
use super::relation::{Index, is_in_recovery};
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// An index of ours that the current role may read, open and locked against changes of its
/// definition until drop.
pub struct Readable {
    table: pg_sys::Relation,
    index: pg_sys::Relation,
}

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

impl Readable {
    /// Opens the index with that oid. `is_ours` knows the access method by its callbacks;
    /// `method` names it.
    ///
    /// Raises 42P01 where there is no such relation, 42809 where it is no index of that method,
    /// 42501 where the role may not SELECT all rows of its table, 0A000 for another session's
    /// temporary index, 55000 where the index is not built.
    pub fn open(
        oid: pg_sys::Oid,
        method: &str,
        is_ours: impl FnOnce(&pg_sys::IndexAmRoutine) -> bool,
    ) -> Readable {
        let name = relation_name(oid).unwrap_or_else(|| raise_missing(oid));
        // SAFETY: reads the catalog.
        let kind = unsafe { pg_sys::get_rel_relkind(oid) } as u8;
        if kind != pg_sys::RELKIND_INDEX {
            let is_partitioned = kind == pg_sys::RELKIND_PARTITIONED_INDEX;
            raise_kind(&name, method, is_partitioned);
        }
        // SAFETY: reads the catalog.
        let table = unsafe { pg_sys::IndexGetRelation(oid, true) };
        // before any lock: whoever may not read the table cannot stand in its way either
        check_may_read(table);
        let opened = Readable::lock(table, oid).unwrap_or_else(|| raise_missing(oid));
        // SAFETY: an open index has its access method's callbacks, a pg_index row and a pg_class row.
        let (ours, is_built, persistence) = unsafe {
            let index = &*opened.index;
            (
                is_ours(&*index.rd_indam),
                (*index.rd_index).indisready,
                (*index.rd_rel).relpersistence as u8,
            )
        };
        if !ours {
            raise_kind(&name, method, false);
        }
        if !is_built {
            raise_index(
                Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("index \"{name}\" is not built"),
                Some("Wait for CREATE INDEX CONCURRENTLY, or REINDEX the index.".into()),
            );
        }
        opened.check_reachable(&name, persistence);
        opened
    }

    /// Locks table, then index, as everybody does.
    fn lock(table: pg_sys::Oid, index: pg_sys::Oid) -> Option<Readable> {
        // SAFETY: opens what is there; null where it was dropped meanwhile.
        unsafe {
            let table = pg_sys::try_relation_open(table, LOCK);
            if table.is_null() {
                return None;
            }
            let opened = Readable {
                table,
                index: pg_sys::try_relation_open(index, LOCK),
            };
            (!opened.index.is_null()).then_some(opened)
        }
    }

    /// Raises 0A000 for pages that this backend cannot read.
    fn check_reachable(&self, name: &str, persistence: u8) {
        // SAFETY: an open relation.
        let is_local = unsafe { (*self.index).rd_islocaltemp };
        if persistence == pg_sys::RELPERSISTENCE_TEMP && !is_local {
            raise_index(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot access temporary index \"{name}\" of another session"),
                None,
            );
        }
        if persistence != pg_sys::RELPERSISTENCE_PERMANENT && is_in_recovery() {
            raise_index(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot access temporary or unlogged relations during recovery".into(),
                None,
            );
        }
    }

    /// The index's table, open as long as `self`.
    pub fn table(&self) -> pg_sys::Relation {
        self.table
    }

    /// The index, open as long as `self`.
    pub fn index(&self) -> Index {
        // SAFETY: open until drop.
        unsafe { Index::new(self.index) }
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        // While an error unwinds, the transaction's abort closes and unlocks.
        if !std::thread::panicking() {
            // SAFETY: opened in `lock`.
            unsafe {
                if !self.index.is_null() {
                    pg_sys::relation_close(self.index, LOCK);
                }
                pg_sys::relation_close(self.table, LOCK);
            }
        }
    }
}

fn relation_name(oid: pg_sys::Oid) -> Option<String> {
    // SAFETY: a palloc'd name, or null where there is no such relation.
    unsafe {
        let name: *const c_char = pg_sys::get_rel_name(oid);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// Whether the current role may SELECT every row of a table; no where there is no such table.
pub fn may_read(table: pg_sys::Oid) -> bool {
    relation_name(table).is_some() && rights(table) == Rights::All
}

/// What the current role may see of a table.
#[derive(PartialEq, Eq)]
enum Rights {
    /// every row
    All,
    /// those that a policy lets through
    SomeRows,
    /// it lacks SELECT
    Nothing,
}

fn rights(table: pg_sys::Oid) -> Rights {
    // SAFETY: reads the catalog.
    unsafe {
        let role = pg_sys::GetUserId();
        let answer = pg_sys::pg_class_aclcheck(table, role, pg_sys::ACL_SELECT as pg_sys::AclMode);
        if answer != pg_sys::AclResult::ACLCHECK_OK {
            return Rights::Nothing;
        }
        let row_security = pg_sys::check_enable_rls(table, pg_sys::InvalidOid, true);
        match row_security as u32 == pg_sys::CheckEnableRlsResult::RLS_ENABLED {
            true => Rights::SomeRows,
            false => Rights::All,
        }
    }
}

/// Raises 42501 unless the current role may SELECT every row of a table.
fn check_may_read(table: pg_sys::Oid) {
    let name = relation_name(table).unwrap_or_else(|| raise_missing(table));
    let hint = match rights(table) {
        Rights::All => return,
        Rights::SomeRows => {
            Some("Row-level security hides rows of it that its indexes tell of.".into())
        }
        Rights::Nothing => None,
    };
    raise_index(
        Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied for table {name}"),
        hint,
    );
}

#[cold]
fn raise_missing(oid: pg_sys::Oid) -> ! {
    raise_index(
        Code::ERRCODE_UNDEFINED_TABLE,
        format!("relation with OID {} does not exist", u32::from(oid)),
        None,
    )
}

#[cold]
fn raise_kind(name: &str, method: &str, is_partitioned: bool) -> ! {
    let (message, hint) = if is_partitioned {
        (
            format!("\"{name}\" is a partitioned index, which has no pages"),
            "Name the index of a partition: pg_partition_tree() lists them.".into(),
        )
    } else {
        (
            format!("\"{name}\" is not an index of access method {method}"),
            format!("Name an index made with CREATE INDEX ... USING {method}."),
        )
    };
    raise_index(Code::ERRCODE_WRONG_OBJECT_TYPE, message, Some(hint))
}

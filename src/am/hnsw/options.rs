//! Index options (`WITH (...)`) and settings (`SET hnsw....`).

use crate::hnsw::Params;
use crate::pg::relation::Index;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::pg_sys::{self, Datum};
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a scan goes on when its first batch did not suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum IterativeScan {
    /// not at all: at most `ef_search` rows
    #[name = c"off"]
    Off,
    /// up to `max_scan_tuples`, later batches may hold nearer rows than earlier ones
    #[name = c"relaxed_order"]
    RelaxedOrder,
    /// in exact order up to `max_scan_tuples`; nearer rows found later are dropped
    #[name = c"strict_order"]
    StrictOrder,
    /// until the rows asked for are found, in exact order, with no bound on the work
    #[name = c"auto"]
    Auto,
}

/// `hnsw.ef_search`
pub static EF_SEARCH: GucSetting<i32> = GucSetting::<i32>::new(40);
/// `hnsw.iterative_scan`
pub static ITERATIVE_SCAN: GucSetting<IterativeScan> =
    GucSetting::<IterativeScan>::new(IterativeScan::Auto);
/// `hnsw.max_scan_tuples`
pub static MAX_SCAN_TUPLES: GucSetting<i32> = GucSetting::<i32>::new(20_000);
/// `hnsw.scan_mem_multiplier`
pub static SCAN_MEM_MULTIPLIER: GucSetting<f64> = GucSetting::<f64>::new(1.0);

/// Defines the settings and index options. Called once, when the library is loaded.
pub fn init() {
    GucRegistry::define_int_guc(
        c"hnsw.ef_search",
        c"Sets the size of the candidate list of an hnsw index search.",
        c"Larger values give higher recall and take longer.",
        &EF_SEARCH,
        1,
        1000,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_enum_guc(
        c"hnsw.iterative_scan",
        c"Sets how an hnsw index search goes on when more rows are asked for.",
        c"auto goes on until the rows asked for are found; off stops after ef_search rows; strict_order and relaxed_order stop at max_scan_tuples.",
        &ITERATIVE_SCAN,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_int_guc(
        c"hnsw.max_scan_tuples",
        c"Sets how many tuples an iterative hnsw search visits at most.",
        c"Used by iterative_scan = strict_order and relaxed_order; the first batch is not bound by it.",
        &MAX_SCAN_TUPLES,
        1,
        i32::MAX,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_float_guc(
        c"hnsw.scan_mem_multiplier",
        c"Sets the multiple of work_mem that an hnsw search uses at most.",
        c"",
        &SCAN_MEM_MULTIPLIER,
        1.0,
        1000.0,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    // SAFETY: called from _PG_init; the names are static.
    unsafe {
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(c"hnsw".as_ptr());
        #[cfg(feature = "pg14")]
        pg_sys::EmitWarningsOnPlaceholders(c"hnsw".as_ptr());
        let kind = pg_sys::add_reloption_kind();
        let lock = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
        pg_sys::add_int_reloption(
            kind,
            c"m".as_ptr(),
            c"Links of a node per layer (twice as many on the ground layer)".as_ptr(),
            DEFAULTS.m as i32,
            2,
            100,
            lock,
        );
        pg_sys::add_int_reloption(
            kind,
            c"ef_construction".as_ptr(),
            c"Size of the candidate list while building".as_ptr(),
            DEFAULTS.ef_construction as i32,
            4,
            1000,
            lock,
        );
        RELOPT_KIND.store(kind, Ordering::Relaxed);
    }
}

static RELOPT_KIND: AtomicU32 = AtomicU32::new(0);

/// Parameters of an index that names none, as pgvector's.
pub const DEFAULTS: Params = Params {
    m: 16,
    ef_construction: 64,
};

/// The parsed options of an index, as the relation cache keeps them.
#[repr(C)]
struct Options {
    varlena_header: i32,
    m: i32,
    ef_construction: i32,
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amoptions(reloptions: Datum, validate: bool) -> *mut pg_sys::bytea {
    let int = |name: &'static std::ffi::CStr, offset: usize| pg_sys::relopt_parse_elt {
        optname: name.as_ptr(),
        opttype: pg_sys::relopt_type::RELOPT_TYPE_INT,
        offset: offset as i32,
        #[cfg(feature = "pg18")]
        isset_offset: 0,
    };
    let table = [
        int(c"m", offset_of!(Options, m)),
        int(c"ef_construction", offset_of!(Options, ef_construction)),
    ];
    // SAFETY: the table describes `Options`, whose first word is the varlena header.
    unsafe {
        pg_sys::build_reloptions(
            reloptions,
            validate,
            RELOPT_KIND.load(Ordering::Relaxed) as pg_sys::relopt_kind::Type,
            size_of::<Options>(),
            table.as_ptr(),
            table.len() as i32,
        )
        .cast()
    }
}

/// The parameters an index is created with. An `ef_construction` below the links of a node cannot
/// fill its list: it is raised ([`tell_raised`]).
pub fn declared_params(index: Index) -> Params {
    // SAFETY: an open relation; its options, if any, are ours.
    let mut params = unsafe {
        let options = (*index.raw()).rd_options.cast::<Options>();
        match options.as_ref() {
            None => DEFAULTS,
            Some(options) => Params {
                m: options.m as u16,
                ef_construction: options.ef_construction as u16,
            },
        }
    };
    params.ef_construction = params.ef_construction.max(2 * params.m);
    params
}

/// Says in a NOTICE where [`declared_params`] raised an option.
pub fn tell_raised(index: Index, params: Params) {
    // SAFETY: as in `declared_params`.
    let options = unsafe { (*index.raw()).rd_options.cast::<Options>().as_ref() };
    let declared = options.map_or(DEFAULTS.ef_construction as i32, |o| o.ef_construction);
    if declared < params.ef_construction as i32 {
        pgrx::ereport!(
            NOTICE,
            pgrx::PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!(
                "ef_construction of index \"{}\" raised from {declared} to {}, twice its m",
                index.name(),
                params.ef_construction
            )
        );
    }
}

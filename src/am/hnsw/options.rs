//! Index options (`WITH (...)`) and settings (`SET hnsw....`).

use crate::hnsw::Params;
use crate::pg::error::raise_index;
use crate::pg::options::{END, Members, check_whether_set, member, note_whether_set};
use crate::pg::relation::Index;
use crate::quantize;
use pgrx::PgSqlErrorCode as Code;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::pg_sys::{self, Datum};
use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

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

/// What stands in the codes of a node's neighbours: `WITH (quantizer = ...)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantizer {
    /// whatever suits the metric and the dimensions
    Auto,
    /// no codes: values in full
    None,
    /// this one
    Code(quantize::Quantizer),
    /// product quantization, with so many segments or one for every four dimensions, of so many bits or 8
    Pq {
        /// `pq_segments`
        segments: Option<u16>,
        /// `pq_bits`
        bits: Option<u8>,
    },
}

/// How nodes lie on pages: `WITH (layout = ...)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// whatever suits the metric and the dimensions
    Auto,
    /// the codes of a node's neighbours beside its own: one page visit for all of them
    Inline,
    /// one code a node, none of its neighbours: a small index
    Compact,
    /// values in full
    Plain,
}

static EF_SEARCH: GucSetting<i32> = GucSetting::<i32>::new(40);
static EF_SEARCH_IS_SET: AtomicBool = AtomicBool::new(false);

/// `hnsw.ef_search`
#[inline]
pub fn ef_search() -> i32 {
    EF_SEARCH.get()
}

/// Whether anybody set `hnsw.ef_search`: a statement, a function, a role, a database, a connection
/// or the configuration. Then it is a floor, also where it equals the default.
#[inline]
pub fn ef_search_is_set() -> bool {
    EF_SEARCH_IS_SET.load(Ordering::Relaxed)
}

/// `hnsw.target_recall`; 0 is off
pub static TARGET_RECALL: GucSetting<f64> = GucSetting::<f64>::new(0.95);
/// `hnsw.iterative_scan`
pub static ITERATIVE_SCAN: GucSetting<IterativeScan> =
    GucSetting::<IterativeScan>::new(IterativeScan::Auto);
/// `hnsw.max_scan_tuples`
pub static MAX_SCAN_TUPLES: GucSetting<i32> = GucSetting::<i32>::new(20_000);
/// `hnsw.scan_mem_multiplier`
static SCAN_MEM_MULTIPLIER: GucSetting<f64> = GucSetting::<f64>::new(1.0);

/// Bytes that a scan may hold: `work_mem`, times `hnsw.scan_mem_multiplier`.
pub fn scan_memory() -> usize {
    // SAFETY: reads a setting.
    let kilobytes = unsafe { pg_sys::work_mem } as f64;
    (kilobytes * 1024.0 * SCAN_MEM_MULTIPLIER.get()) as usize
}

/// Defines the settings and index options. Called once, when the library is loaded.
pub fn init() {
    define_ef_search();
    GucRegistry::define_float_guc(
        c"hnsw.target_recall",
        c"Sets the share of the true nearest rows that an hnsw index search aims for.",
        c"A search ends where the index's own measurements say that it has found so many; 0 turns this off and leaves it to ef_search.",
        &TARGET_RECALL,
        0.0,
        0.9999,
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
            *M.start(),
            *M.end(),
            lock,
        );
        pg_sys::add_int_reloption(
            kind,
            c"ef_construction".as_ptr(),
            c"Size of the candidate list while building".as_ptr(),
            DEFAULTS.ef_construction as i32,
            *EF_CONSTRUCTION.start(),
            *EF_CONSTRUCTION.end(),
            lock,
        );
        pg_sys::add_enum_reloption(
            kind,
            c"quantizer".as_ptr(),
            c"What stands in the codes of a node's neighbours".as_ptr(),
            QUANTIZERS.as_ptr(),
            AUTO,
            c"Valid values are \"auto\", \"none\", \"binary\", \"pq\", \"rabitq1\" to \"rabitq8\", \"sq4\", and \"sq8\"."
                .as_ptr(),
            lock,
        );
        pg_sys::add_int_reloption(
            kind,
            c"pq_segments".as_ptr(),
            c"Segments of a code of product quantization; 0 takes one for every four dimensions"
                .as_ptr(),
            0,
            0,
            MOST_SEGMENTS,
            lock,
        );
        pg_sys::add_int_reloption(
            kind,
            c"pq_bits".as_ptr(),
            c"Bits of a segment of product quantization: 4 or 8".as_ptr(),
            0,
            0,
            8,
            lock,
        );
        pg_sys::add_enum_reloption(
            kind,
            c"layout".as_ptr(),
            c"How nodes lie on pages".as_ptr(),
            LAYOUTS.as_ptr(),
            Layout::Auto as i32,
            c"Valid values are \"auto\", \"inline\", \"compact\", and \"plain\".".as_ptr(),
            lock,
        );
        RELOPT_KIND.store(kind, Ordering::Relaxed);
    }
}

/// Defines `hnsw.ef_search` so that it is known whether it was set.
fn define_ef_search() {
    // SAFETY: called from _PG_init; names and storage are static, the hooks as the server wants.
    unsafe {
        pg_sys::DefineCustomIntVariable(
            c"hnsw.ef_search".as_ptr(),
            c"Sets the size of the candidate list of an hnsw index search.".as_ptr(),
            c"Larger values give higher recall and take longer.".as_ptr(),
            EF_SEARCH.as_ptr(),
            EF_SEARCH.get(),
            1,
            1000,
            pg_sys::GucContext::PGC_USERSET,
            GucFlags::EXPLAIN.bits(),
            Some(check_whether_set),
            Some(assign_ef_search),
            None,
        );
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn assign_ef_search(_value: c_int, extra: *mut c_void) {
    note_whether_set(&EF_SEARCH_IS_SET, extra);
}

static QUANTIZERS: Members<15> = Members([
    member(c"auto", AUTO),
    member(c"none", NONE),
    member(c"binary", code(quantize::Quantizer::Binary)),
    member(c"pq", PQ),
    member(c"rabitq1", code(quantize::Quantizer::Rabitq1)),
    member(c"rabitq2", code(quantize::Quantizer::Rabitq2)),
    member(c"rabitq3", code(quantize::Quantizer::Rabitq3)),
    member(c"rabitq4", code(quantize::Quantizer::Rabitq4)),
    member(c"rabitq5", code(quantize::Quantizer::Rabitq5)),
    member(c"rabitq6", code(quantize::Quantizer::Rabitq6)),
    member(c"rabitq7", code(quantize::Quantizer::Rabitq7)),
    member(c"rabitq8", code(quantize::Quantizer::Rabitq8)),
    member(c"sq4", code(quantize::Quantizer::Sq4)),
    member(c"sq8", code(quantize::Quantizer::Sq8)),
    END,
]);

/// Numbers of `quantizer` in the relation cache: these, and after them those of the codes.
const AUTO: i32 = 0;
const NONE: i32 = -1;
const PQ: i32 = -2;

/// Most segments of product quantization.
const MOST_SEGMENTS: i32 = 8_000;

const fn code(quantizer: quantize::Quantizer) -> i32 {
    quantizer as i32
}

static LAYOUTS: Members<5> = Members([
    member(c"auto", Layout::Auto as i32),
    member(c"inline", Layout::Inline as i32),
    member(c"compact", Layout::Compact as i32),
    member(c"plain", Layout::Plain as i32),
    END,
]);

static RELOPT_KIND: AtomicU32 = AtomicU32::new(0);

/// Parameters of an index that names none, as pgvector's.
pub const DEFAULTS: Params = Params {
    m: 16,
    ef_construction: 64,
};

/// What `m` may be.
const M: RangeInclusive<i32> = 2..=100;
/// What `ef_construction` may be.
const EF_CONSTRUCTION: RangeInclusive<i32> = 4..=1000;

/// The parsed options of an index, as the relation cache keeps them. Nobody has checked those that are in the
/// catalog.
#[repr(C)]
struct Options {
    varlena_header: i32,
    m: i32,
    ef_construction: i32,
    quantizer: i32,
    layout: i32,
    pq_segments: i32,
    pq_bits: i32,
}

impl Options {
    fn quantizer(&self) -> Quantizer {
        let code = u8::try_from(self.quantizer).unwrap_or(0);
        match quantize::Quantizer::from_code(code) {
            Some(quantizer) => Quantizer::Code(quantizer),
            None if self.quantizer == NONE => Quantizer::None,
            None if self.quantizer == PQ => Quantizer::Pq {
                segments: given(self.pq_segments),
                bits: given(self.pq_bits),
            },
            None => Quantizer::Auto,
        }
    }

    fn has_pq_options(&self) -> bool {
        self.pq_segments != 0 || self.pq_bits != 0
    }

    fn layout(&self) -> Layout {
        use Layout::*;
        [Auto, Inline, Compact, Plain][self.layout as usize]
    }
}

/// A number that is 0 where nobody gave one.
fn given<T: TryFrom<i32>>(number: i32) -> Option<T> {
    T::try_from(number).ok().filter(|_| number != 0)
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amoptions(reloptions: Datum, validate: bool) -> *mut pg_sys::bytea {
    use pg_sys::relopt_type::{RELOPT_TYPE_ENUM, RELOPT_TYPE_INT};
    let element = |name: &'static CStr, kind, offset: usize| pg_sys::relopt_parse_elt {
        optname: name.as_ptr(),
        opttype: kind,
        offset: offset as i32,
        #[cfg(feature = "pg18")]
        isset_offset: 0,
    };
    let table = [
        element(c"m", RELOPT_TYPE_INT, offset_of!(Options, m)),
        element(
            c"ef_construction",
            RELOPT_TYPE_INT,
            offset_of!(Options, ef_construction),
        ),
        element(
            c"quantizer",
            RELOPT_TYPE_ENUM,
            offset_of!(Options, quantizer),
        ),
        element(c"layout", RELOPT_TYPE_ENUM, offset_of!(Options, layout)),
        element(
            c"pq_segments",
            RELOPT_TYPE_INT,
            offset_of!(Options, pq_segments),
        ),
        element(c"pq_bits", RELOPT_TYPE_INT, offset_of!(Options, pq_bits)),
    ];
    // SAFETY: the table describes `Options`, whose first word is the varlena header.
    unsafe {
        let parsed = pg_sys::build_reloptions(
            reloptions,
            validate,
            RELOPT_KIND.load(Ordering::Relaxed) as pg_sys::relopt_kind::Type,
            size_of::<Options>(),
            table.as_ptr(),
            table.len() as i32,
        );
        if validate && let Some(options) = parsed.cast::<Options>().as_ref() {
            let (_, quantizer) = storage(options.layout(), options.quantizer());
            if options.has_pq_options() && !matches!(quantizer, Quantizer::Pq { .. }) {
                raise_contradiction(
                    "pq_segments and pq_bits are options of quantizer \"pq\"",
                    "Leave them out, or use quantizer = pq.",
                );
            }
        }
        parsed.cast()
    }
}

/// Layout and quantizer of two options together. Raises 22023 where one contradicts the other.
fn storage(layout: Layout, quantizer: Quantizer) -> (Layout, Quantizer) {
    match (layout, quantizer) {
        (Layout::Auto | Layout::Plain, Quantizer::None) | (Layout::Plain, Quantizer::Auto) => {
            (Layout::Plain, Quantizer::None)
        }
        (Layout::Inline, Quantizer::None) => raise_contradiction(
            "layout \"inline\" needs a quantizer",
            "Leave out quantizer, or choose layout \"plain\".",
        ),
        (Layout::Compact, Quantizer::None) => raise_contradiction(
            "layout \"compact\" needs a quantizer",
            "Leave out quantizer, or choose layout \"plain\".",
        ),
        (Layout::Plain, _) => raise_contradiction(
            "layout \"plain\" keeps values in full and has no quantizer",
            "Leave out quantizer, or choose layout \"inline\".",
        ),
        both => both,
    }
}

#[cold]
fn raise_contradiction(message: &str, hint: &str) -> ! {
    raise_index(
        Code::ERRCODE_INVALID_PARAMETER_VALUE,
        message.into(),
        Some(hint.into()),
    )
}

/// Layout and quantizer an index was declared with, and what one says of the other: `Plain` and
/// `None` come together, either is `Auto` where the index leaves it open.
pub fn declared_storage(index: Index) -> (Layout, Quantizer) {
    storage(declared_layout(index), declared_quantizer(index))
}

/// The `quantizer` option of an index.
pub fn declared_quantizer(index: Index) -> Quantizer {
    declared(index, Quantizer::Auto, Options::quantizer)
}

/// The `layout` option of an index.
pub fn declared_layout(index: Index) -> Layout {
    declared(index, Layout::Auto, Options::layout)
}

/// What the options of an index say; `default` where it has none.
fn declared<T>(index: Index, default: T, read: impl FnOnce(&Options) -> T) -> T {
    // SAFETY: an open relation; its options, if any, are ours.
    let options = unsafe { (*index.raw()).rd_options.cast::<Options>().as_ref() };
    options.map_or(default, read)
}

/// The parameters an index is created with. An `ef_construction` below the links of a node cannot
/// fill its list: it is raised ([`tell_raised`]).
pub fn declared_params(index: Index) -> Params {
    let mut params = declared(index, DEFAULTS, |options| Params {
        m: options.m.clamp(*M.start(), *M.end()) as u16,
        ef_construction: options
            .ef_construction
            .clamp(*EF_CONSTRUCTION.start(), *EF_CONSTRUCTION.end())
            as u16,
    });
    params.ef_construction = params.ef_construction.max(2 * params.m);
    params
}

/// Says in a NOTICE where [`declared_params`] raised an option.
pub fn tell_raised(index: Index, params: Params) {
    let default = DEFAULTS.ef_construction as i32;
    let declared = declared(index, default, |options| options.ef_construction);
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

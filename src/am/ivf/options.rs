//! Index options (`WITH (...)`) and settings (`SET ivf...`, `SET ivfflat...`).

use crate::ivf::calibrate;
use crate::ivf::format::{CurvePoint, Method};
use crate::pg::options::{END, Members, check_whether_set, member, note_whether_set};
use crate::pg::relation::Index;
use crate::quantize::Quantizer as Grid;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::pg_sys::{self, Datum};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How a scan goes on when the lists it aimed at did not suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum IterativeScan {
    /// not at all
    #[name = c"off"]
    Off,
    /// up to `max_probes` lists, later ones may hold nearer rows than earlier ones
    #[name = c"relaxed_order"]
    RelaxedOrder,
    /// in exact order up to `max_probes` lists; nearer rows found later are dropped
    #[name = c"strict_order"]
    StrictOrder,
    /// until the rows asked for are found, in exact order, in all lists if need be
    #[name = c"auto"]
    Auto,
}

/// The same for `ivfflat`, as in pgvector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum FlatIterativeScan {
    /// not at all
    #[name = c"off"]
    Off,
    /// up to `max_probes` lists, later ones may hold nearer rows than earlier ones
    #[name = c"relaxed_order"]
    RelaxedOrder,
}

/// What lists keep of rows: `WITH (quantizer = ...)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantizer {
    /// whatever suits the metric and the dimensions
    Auto,
    /// values in full
    None,
    /// numbers of a few bits for each dimension
    Grid(crate::quantize::Quantizer),
    /// signs
    Binary,
    /// product quantization
    Pq,
}

/// How the nearest rows by code get into exact order: `WITH (rerank = ...)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rerank {
    /// whatever suits the size of values
    Auto,
    /// by compact codes in the index first
    Index,
    /// by the table's values
    Heap,
    /// not at all
    None,
}

/// Most lists of `ivf`.
pub const MOST_LISTS: i32 = 65_536;
/// Most lists of `ivfflat`, and default, as pgvector's.
const MOST_FLAT_LISTS: i32 = 32_768;
/// Lists of an `ivfflat` index that names none.
const DEFAULT_FLAT_LISTS: i32 = 100;

static PROBES: GucSetting<i32> = GucSetting::<i32>::new(1);
static PROBES_ARE_SET: AtomicBool = AtomicBool::new(false);
static TARGET_RECALL: GucSetting<f64> = GucSetting::<f64>::new(0.95);
/// `ivf.iterative_scan`
pub static ITERATIVE_SCAN: GucSetting<IterativeScan> =
    GucSetting::<IterativeScan>::new(IterativeScan::Auto);
static MAX_PROBES: GucSetting<i32> = GucSetting::<i32>::new(MOST_LISTS);

static FLAT_PROBES: GucSetting<i32> = GucSetting::<i32>::new(1);
static FLAT_ITERATIVE_SCAN: GucSetting<FlatIterativeScan> =
    GucSetting::<FlatIterativeScan>::new(FlatIterativeScan::Off);
static FLAT_MAX_PROBES: GucSetting<i32> = GucSetting::<i32>::new(MOST_FLAT_LISTS);

/// The settings that a scan goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// lists to search at least; `None` where nobody said
    pub probes: Option<usize>,
    /// share of the nearest rows to aim for; `None` where probes alone decide
    pub target_recall: Option<f32>,
    /// how a scan goes on
    pub iterative_scan: IterativeScan,
    /// lists to search at most, where the scan's mode is bound by it
    pub max_probes: usize,
}

impl Settings {
    /// Lists to search of `lists` for so many rows, by a calibration curve.
    pub fn probes_for(&self, curve: &[CurvePoint], lists: usize, rank: usize) -> usize {
        let calibrated = self.target_recall.map_or(0, |target| {
            calibrate::probes_for(curve, lists, target, rank)
        });
        calibrated
            .max(self.probes.unwrap_or(0))
            .clamp(1, lists.max(1))
    }

    /// The same where an index has grown to more lists than it was declared with: numbers of lists stand
    /// for as large a part of it, so that as many probes as lists were declared find every row.
    pub fn grown(self, lists: usize, declared: Option<usize>) -> Settings {
        let Some(declared) = declared.filter(|&declared| declared < lists) else {
            return self;
        };
        let grown = |probes: usize| probes.saturating_mul(lists).div_ceil(declared.max(1));
        Settings {
            probes: self.probes.map(grown),
            max_probes: grown(self.max_probes),
            ..self
        }
    }

    /// The settings of an access method as they are now.
    pub fn of(method: Method) -> Settings {
        match method {
            Method::Ivf => {
                let target = TARGET_RECALL.get() as f32;
                let target_recall = (target > 0.0).then_some(target);
                let is_set = PROBES_ARE_SET.load(Ordering::Relaxed) || target_recall.is_none();
                Settings {
                    probes: is_set.then(|| PROBES.get() as usize),
                    target_recall,
                    iterative_scan: ITERATIVE_SCAN.get(),
                    max_probes: MAX_PROBES.get() as usize,
                }
            }
            Method::Ivfflat => Settings {
                probes: Some(FLAT_PROBES.get() as usize),
                target_recall: None,
                iterative_scan: match FLAT_ITERATIVE_SCAN.get() {
                    FlatIterativeScan::Off => IterativeScan::Off,
                    FlatIterativeScan::RelaxedOrder => IterativeScan::RelaxedOrder,
                },
                max_probes: FLAT_MAX_PROBES.get() as usize,
            },
        }
    }
}

/// Defines the settings and index options. Called once, when the library is loaded.
pub fn init() {
    define_probes();
    GucRegistry::define_float_guc(
        c"ivf.target_recall",
        c"Sets the share of the true nearest rows that an ivf index search aims for.",
        c"As many lists are searched as the index's own measurements say that it takes; 0 turns this off and leaves it to probes.",
        &TARGET_RECALL,
        0.0,
        0.9999,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_enum_guc(
        c"ivf.iterative_scan",
        c"Sets how an ivf index search goes on when more rows are asked for.",
        c"auto goes on until the rows asked for are found; off stops after the lists aimed at; strict_order and relaxed_order stop at max_probes.",
        &ITERATIVE_SCAN,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    let count = |name, short, long, setting, most| {
        GucRegistry::define_int_guc(
            name,
            short,
            long,
            setting,
            1,
            most,
            GucContext::Userset,
            GucFlags::EXPLAIN,
        );
    };
    count(
        c"ivf.max_probes",
        c"Sets how many lists an iterative ivf search visits at most.",
        c"Used by iterative_scan = strict_order and relaxed_order; where it is less than the lists aimed at, these are searched.",
        &MAX_PROBES,
        MOST_LISTS,
    );
    count(
        c"ivfflat.probes",
        c"Sets the number of probes.",
        c"Valid range is 1..lists.",
        &FLAT_PROBES,
        MOST_FLAT_LISTS,
    );
    count(
        c"ivfflat.max_probes",
        c"Sets the max number of probes for iterative scans.",
        c"",
        &FLAT_MAX_PROBES,
        MOST_FLAT_LISTS,
    );
    GucRegistry::define_enum_guc(
        c"ivfflat.iterative_scan",
        c"Sets the mode for iterative scans.",
        c"",
        &FLAT_ITERATIVE_SCAN,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    // SAFETY: called from _PG_init; the names are static.
    unsafe {
        for prefix in [c"ivf", c"ivfflat"] {
            #[cfg(not(feature = "pg14"))]
            pg_sys::MarkGUCPrefixReserved(prefix.as_ptr());
            #[cfg(feature = "pg14")]
            pg_sys::EmitWarningsOnPlaceholders(prefix.as_ptr());
        }
        let lock = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
        let kind = pg_sys::add_reloption_kind();
        pg_sys::add_int_reloption(
            kind,
            c"lists".as_ptr(),
            c"Number of lists; 0 chooses by the number of rows".as_ptr(),
            0,
            0,
            MOST_LISTS,
            lock,
        );
        pg_sys::add_enum_reloption(
            kind,
            c"quantizer".as_ptr(),
            c"What lists keep of rows".as_ptr(),
            QUANTIZERS.as_ptr(),
            0,
            c"Valid values are \"auto\", \"none\", \"binary\", \"pq\", \"rabitq1\" to \"rabitq8\", \"sq4\", and \"sq8\"."
                .as_ptr(),
            lock,
        );
        pg_sys::add_enum_reloption(
            kind,
            c"rerank".as_ptr(),
            c"How the nearest rows by code get into exact order".as_ptr(),
            RERANKS.as_ptr(),
            0,
            c"Valid values are \"auto\", \"index\", \"heap\", and \"none\".".as_ptr(),
            lock,
        );
        pg_sys::add_int_reloption(
            kind,
            c"pq_segments".as_ptr(),
            c"Segments of a code of product quantization; 0 takes one for every four dimensions"
                .as_ptr(),
            0,
            0,
            8000,
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
        pg_sys::add_int_reloption(
            kind,
            c"copies".as_ptr(),
            c"Lists that a row is put into, 1 or 2; 0 takes 2 where lists keep codes".as_ptr(),
            0,
            0,
            2,
            lock,
        );
        pg_sys::add_int_reloption(
            kind,
            c"seed".as_ptr(),
            c"Decides all that is random in a build, so that builds of the same rows are the same; 0 takes another each time"
                .as_ptr(),
            0,
            0,
            i32::MAX,
            lock,
        );
        pg_sys::add_string_reloption(
            kind,
            c"centroids".as_ptr(),
            c"Table with a centroid for each list in its first column of the indexed type".as_ptr(),
            std::ptr::null(),
            None,
            lock,
        );
        KIND.store(kind, Ordering::Relaxed);
        let kind = pg_sys::add_reloption_kind();
        pg_sys::add_int_reloption(
            kind,
            c"lists".as_ptr(),
            c"Number of inverted lists".as_ptr(),
            DEFAULT_FLAT_LISTS,
            1,
            MOST_FLAT_LISTS,
            lock,
        );
        FLAT_KIND.store(kind, Ordering::Relaxed);
    }
}

/// Defines `ivf.probes` so that it is known whether it was set.
fn define_probes() {
    // SAFETY: called from _PG_init; names and storage are static, the hooks as the server wants.
    unsafe {
        pg_sys::DefineCustomIntVariable(
            c"ivf.probes".as_ptr(),
            c"Sets how many lists an ivf index search visits at least.".as_ptr(),
            c"Where it is not set, target_recall alone decides.".as_ptr(),
            PROBES.as_ptr(),
            PROBES.get(),
            1,
            MOST_LISTS,
            pg_sys::GucContext::PGC_USERSET,
            GucFlags::EXPLAIN.bits(),
            Some(check_whether_set),
            Some(assign_probes),
            None,
        );
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn assign_probes(_value: c_int, extra: *mut c_void) {
    note_whether_set(&PROBES_ARE_SET, extra);
}

/// Number of `quantizer = none`; codes have their own numbers, 1 and up.
const NO_QUANTIZER: i32 = -1;

/// Number of `quantizer = binary`.
const BINARY: i32 = -2;
/// Number of `quantizer = pq`.
const PQ: i32 = -3;

const fn grid(name: &'static CStr, quantizer: Grid) -> pg_sys::relopt_enum_elt_def {
    member(name, quantizer as i32)
}

static QUANTIZERS: Members<15> = Members([
    member(c"auto", 0),
    member(c"none", NO_QUANTIZER),
    member(c"binary", BINARY),
    member(c"pq", PQ),
    grid(c"rabitq1", Grid::Rabitq1),
    grid(c"rabitq2", Grid::Rabitq2),
    grid(c"rabitq3", Grid::Rabitq3),
    grid(c"rabitq4", Grid::Rabitq4),
    grid(c"rabitq5", Grid::Rabitq5),
    grid(c"rabitq6", Grid::Rabitq6),
    grid(c"rabitq7", Grid::Rabitq7),
    grid(c"rabitq8", Grid::Rabitq8),
    grid(c"sq4", Grid::Sq4),
    grid(c"sq8", Grid::Sq8),
    END,
]);

static RERANKS: Members<5> = Members([
    member(c"auto", Rerank::Auto as i32),
    member(c"index", Rerank::Index as i32),
    member(c"heap", Rerank::Heap as i32),
    member(c"none", Rerank::None as i32),
    END,
]);

static KIND: AtomicU32 = AtomicU32::new(0);
static FLAT_KIND: AtomicU32 = AtomicU32::new(0);

/// The parsed options of an index, as the relation cache keeps them. `ivfflat` has the first one.
#[repr(C)]
struct Parsed {
    varlena_header: i32,
    lists: i32,
    quantizer: i32,
    rerank: i32,
    pq_segments: i32,
    pq_bits: i32,
    copies: i32,
    seed: i32,
    /// where the string begins, from the start of the struct; 0 for none
    centroids: i32,
}

/// What an index was declared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// number of lists; `None` to choose one
    pub lists: Option<usize>,
    /// what lists keep
    pub quantizer: Quantizer,
    /// how rows get into exact order
    pub rerank: Rerank,
    /// segments of a code of product quantization; `None` to choose
    pub pq_segments: Option<usize>,
    /// bits of a segment; `None` for 8
    pub pq_bits: Option<usize>,
    /// lists of a row; `None` to choose
    pub copies: Option<usize>,
    /// what decides all that is random in a build; `None` for another each time
    pub seed: Option<u64>,
    /// table with the lists' centroids
    pub centroids: Option<String>,
}

impl Declared {
    /// The options of an index.
    pub fn of(index: Index, method: Method) -> Declared {
        // SAFETY: an open relation; its options, if any, are what `amoptions` of its method made.
        let parsed = unsafe { (*index.raw()).rd_options.cast::<Parsed>() };
        if method == Method::Ivfflat {
            // SAFETY: as above; of `ivfflat` only the first option is there.
            let lists = match parsed.is_null() {
                true => DEFAULT_FLAT_LISTS,
                false => unsafe { (*parsed).lists },
            };
            return Declared {
                // nobody has checked what is in the catalog
                lists: Some(lists.clamp(1, MOST_FLAT_LISTS) as usize),
                quantizer: Quantizer::None,
                rerank: Rerank::Auto,
                pq_segments: None,
                pq_bits: None,
                copies: None,
                seed: None,
                centroids: None,
            };
        }
        // SAFETY: as above.
        let Some(options) = (unsafe { parsed.as_ref() }) else {
            return Declared {
                lists: None,
                quantizer: Quantizer::Auto,
                rerank: Rerank::Auto,
                pq_segments: None,
                pq_bits: None,
                copies: None,
                seed: None,
                centroids: None,
            };
        };
        Declared {
            lists: (options.lists > 0).then_some(options.lists.min(MOST_LISTS) as usize),
            quantizer: match options.quantizer {
                0 => Quantizer::Auto,
                BINARY => Quantizer::Binary,
                PQ => Quantizer::Pq,
                code => u8::try_from(code)
                    .ok()
                    .and_then(Grid::grid_from_code)
                    .map_or(Quantizer::None, Quantizer::Grid),
            },
            rerank: [Rerank::Auto, Rerank::Index, Rerank::Heap, Rerank::None]
                [options.rerank as usize],
            pq_segments: (options.pq_segments > 0).then_some(options.pq_segments as usize),
            pq_bits: (options.pq_bits > 0).then_some(options.pq_bits as usize),
            copies: (options.copies > 0).then_some(options.copies.min(2) as usize),
            seed: (options.seed > 0).then_some(options.seed as u64),
            centroids: (options.centroids != 0).then(|| {
                // SAFETY: a NUL-terminated string that many bytes into the options.
                unsafe {
                    let start = parsed.cast::<c_char>().add(options.centroids as usize);
                    CStr::from_ptr(start).to_string_lossy().into_owned()
                }
            }),
        }
    }
}

fn parse(
    reloptions: Datum,
    validate: bool,
    kind: &AtomicU32,
    size: usize,
    table: &[pg_sys::relopt_parse_elt],
) -> *mut pg_sys::bytea {
    // SAFETY: the table describes the first `size` bytes of `Parsed`.
    unsafe {
        pg_sys::build_reloptions(
            reloptions,
            validate,
            kind.load(Ordering::Relaxed) as pg_sys::relopt_kind::Type,
            size,
            table.as_ptr(),
            table.len() as i32,
        )
        .cast()
    }
}

fn element(name: &'static CStr, kind: u32, offset: usize) -> pg_sys::relopt_parse_elt {
    pg_sys::relopt_parse_elt {
        optname: name.as_ptr(),
        opttype: kind,
        offset: offset as i32,
        #[cfg(feature = "pg18")]
        isset_offset: 0,
    }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amoptions(reloptions: Datum, validate: bool) -> *mut pg_sys::bytea {
    use pg_sys::relopt_type::{RELOPT_TYPE_ENUM, RELOPT_TYPE_INT, RELOPT_TYPE_STRING};
    let table = [
        element(c"lists", RELOPT_TYPE_INT, offset_of!(Parsed, lists)),
        element(
            c"quantizer",
            RELOPT_TYPE_ENUM,
            offset_of!(Parsed, quantizer),
        ),
        element(c"rerank", RELOPT_TYPE_ENUM, offset_of!(Parsed, rerank)),
        element(
            c"pq_segments",
            RELOPT_TYPE_INT,
            offset_of!(Parsed, pq_segments),
        ),
        element(c"pq_bits", RELOPT_TYPE_INT, offset_of!(Parsed, pq_bits)),
        element(c"copies", RELOPT_TYPE_INT, offset_of!(Parsed, copies)),
        element(c"seed", RELOPT_TYPE_INT, offset_of!(Parsed, seed)),
        element(
            c"centroids",
            RELOPT_TYPE_STRING,
            offset_of!(Parsed, centroids),
        ),
    ];
    parse(reloptions, validate, &KIND, size_of::<Parsed>(), &table)
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amoptions_flat(
    reloptions: Datum,
    validate: bool,
) -> *mut pg_sys::bytea {
    let kind = pg_sys::relopt_type::RELOPT_TYPE_INT;
    let table = [element(c"lists", kind, offset_of!(Parsed, lists))];
    let size = offset_of!(Parsed, quantizer);
    parse(reloptions, validate, &FLAT_KIND, size, &table)
}

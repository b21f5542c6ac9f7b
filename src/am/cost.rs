//! What the planner is told of a scan by any of our access methods: which part of the rows its conditions
//! leave, and where there is nothing to search for. What searching takes inside of an index is for its own
//! `cost.rs` to say.

use crate::pg::conditions::radius_in;
use crate::pg::list;
use crate::pg::relation::Index;
use crate::planner::limit::recall_up_to_page;
use pgrx::pg_sys;

/// Share of the rows assumed within a radius that a query gives. Little is known of it, and a scan
/// that finds more than was thought costs a little more than sorting, one that was not tried where
/// there are few costs a hundred times as much.
const WITHIN_RADIUS: f64 = 0.005;

/// Rows that a search is taken to be for where no LIMIT says so.
const USUAL_ROWS: f64 = 10.0;

/// A scan that the planner considers.
pub struct Considered<'a> {
    /// its index, open
    pub index: Index,
    /// what the planner knows of that
    pub info: &'a pg_sys::IndexOptInfo,
    /// share of the rows that meet the conditions on filter columns
    pub matching: f64,
    /// share of these that pass all other conditions on the table, too, which are put to each row
    pub passing: f64,
    /// rows that a LIMIT asks for, as far as is known: ten where it is not
    pub wanted: f64,
    /// part of these that comes after OFFSET, as far as is known: 1 where it is not
    pub page: f64,
    /// times that it is run
    pub loop_count: f64,
}

/// What a scan costs.
pub struct Estimate {
    /// up to its first row
    pub startup: f64,
    /// up to its last row
    pub total: f64,
}

/// Where the server wants its answers.
pub struct Answers {
    /// cost up to the first row
    pub startup: *mut pg_sys::Cost,
    /// cost of all
    pub total: *mut pg_sys::Cost,
    /// share of the table's rows that the scan returns
    pub selectivity: *mut pg_sys::Selectivity,
    /// of the index's order and the table's
    pub correlation: *mut f64,
    /// pages of the index
    pub pages: *mut f64,
}

impl Considered<'_> {
    /// Rows of the index.
    pub fn rows(&self) -> f64 {
        self.info.tuples.max(0.0)
    }

    /// What to find of the rows up to the last one wanted; see [`crate::planner::limit::Limit::recall_up_to_page`].
    pub fn recall_up_to_page(&self, target: f64) -> f64 {
        match target > 0.0 {
            true => recall_up_to_page(target, self.page),
            false => target,
        }
    }

    /// Share of page accesses that do not find the page in memory, where such a scan reads some of `pages`:
    /// the part of them that effective_cache_size has no room for, and hardly any when it is repeated.
    pub fn missed(&self, pages: f64) -> f64 {
        // SAFETY: reads a setting.
        let cache = unsafe { pg_sys::effective_cache_size } as f64;
        let once = match pages > 0.0 {
            true => (cache / pages).min(1.0),
            false => 1.0,
        };
        (1.0 - once) / self.loop_count.max(1.0)
    }

    /// Cost of a page read anywhere, and of the one after it.
    pub fn page_costs(&self) -> (f64, f64) {
        let (mut anywhere, mut next) = (0.0, 0.0);
        // SAFETY: reads the catalog.
        unsafe {
            pg_sys::get_tablespace_page_costs(self.info.reltablespace, &mut anywhere, &mut next);
        }
        (anywhere, next)
    }
}

/// Tells the planner what a path costs, which `estimate` says of all rows that its conditions on filter
/// columns leave.
///
/// # Safety
/// The arguments are what the server passes to `amcostestimate`: a path over an index that is locked, and
/// places for the answers.
pub unsafe fn answer(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    loop_count: f64,
    answers: Answers,
    estimate: impl FnOnce(&Considered<'_>) -> Estimate,
) {
    // SAFETY: as promised by the caller.
    unsafe {
        let info = &*(*path).indexinfo;
        let matching = matching(root, path);
        let in_sphere = is_in_sphere(path);
        let has_target = in_sphere || !(*path).indexorderbys.is_null();
        let estimate = if !has_target || asks_for_null_vectors(path) {
            // there is nothing to search for
            #[cfg(feature = "pg18")]
            {
                (*path).path.disabled_nodes = 2;
            }
            Estimate {
                startup: f64::INFINITY,
                total: f64::INFINITY,
            }
        } else {
            let relation = pg_sys::index_open(info.indexoid, pg_sys::NoLock as i32);
            let estimate = estimate(&Considered {
                index: Index::new(relation),
                info,
                matching,
                passing: match in_sphere || has_radius(&*path) {
                    // the scan itself ends there
                    true => 1.0,
                    false => passing(info, matching),
                },
                wanted: match (*root).limit_tuples {
                    rows if rows > 0.0 => rows,
                    _ => USUAL_ROWS,
                },
                page: page(&*root),
                loop_count,
            });
            pg_sys::index_close(relation, pg_sys::NoLock as i32);
            estimate
        };
        let share = match in_sphere || has_radius(&*path) {
            true => WITHIN_RADIUS,
            false => 1.0,
        };
        *answers.startup = estimate.startup;
        *answers.total = match estimate.startup.is_finite() {
            true => estimate.startup + (estimate.total - estimate.startup) * share,
            false => f64::INFINITY,
        };
        *answers.selectivity = matching * share;
        *answers.correlation = 0.0;
        *answers.pages = info.pages as f64;
    }
}

/// Share of the rows that meet conditions on filter columns which pass the others.
fn passing(info: &pg_sys::IndexOptInfo, matching: f64) -> f64 {
    // SAFETY: an index of a table that is being planned.
    let rows = unsafe { (*info.rel).rows };
    (rows / (info.tuples * matching).max(1.0)).clamp(1e-9, 1.0)
}

/// Part of the rows up to the last of a LIMIT that comes after its OFFSET.
fn page(root: &pg_sys::PlannerInfo) -> f64 {
    // SAFETY: a query that is being planned, whose LIMIT is an expression or none; that of a Const of bigint is by value.
    unsafe {
        let count = (*root.parse).limitCount.cast::<pg_sys::Const>();
        if root.limit_tuples <= 0.0
            || count.is_null()
            || (*count).xpr.type_ != pg_sys::NodeTag::T_Const
            || (*count).constisnull
        {
            return 1.0;
        }
        let count = (*count).constvalue.value() as i64;
        (count.max(1) as f64 / root.limit_tuples).min(1.0)
    }
}

/// Whether an index that the planner considers is of the access method with that callback.
pub fn is_estimated_by(
    index: &pg_sys::IndexOptInfo,
    callback: pg_sys::amcostestimate_function,
) -> bool {
    // versions of the server declare the two differently
    let of_index = index.amcostestimate.map(|of_index| of_index as usize);
    of_index == callback.map(|callback| callback as usize)
}

/// Share of the rows that meet a path's conditions on other columns than the vector.
///
/// # Safety
/// `path` is a valid path of an index, in the planning of `root`.
unsafe fn matching(root: *mut pg_sys::PlannerInfo, path: *const pg_sys::IndexPath) -> f64 {
    // SAFETY: as promised by the caller; clauses of an index path are IndexClauses.
    unsafe {
        let on_filters = list::of::<pg_sys::IndexClause>((*path).indexclauses)
            .filter(|&clause| (*clause).indexcol > 0)
            .fold(std::ptr::null_mut(), |list, clause| {
                pg_sys::lappend(list, clause.cast())
            });
        if on_filters.is_null() {
            return 1.0;
        }
        pg_sys::clauselist_selectivity(
            root,
            pg_sys::get_quals_from_indexclauses(on_filters),
            (*(*(*path).indexinfo).rel).relid as i32,
            pg_sys::JoinType::JOIN_INNER,
            std::ptr::null_mut(),
        )
    }
}

/// Whether the conditions have a bound on the distance that the path is ordered by: the scan ends there.
///
/// # Safety
/// A path of a relation that is being planned.
unsafe fn has_radius(path: &pg_sys::IndexPath) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        let Some(order) = list::of::<pg_sys::Node>(path.indexorderbys).next() else {
            return false;
        };
        let rel = (*path.indexinfo).rel;
        list::of::<pg_sys::RestrictInfo>((*rel).baserestrictinfo)
            .any(|condition| radius_in((*condition).clause.cast(), order).is_some())
    }
}

/// Whether a condition is that the vector is in a sphere: no other operator on it is one.
///
/// # Safety
/// `path` is a valid path of an index.
unsafe fn is_in_sphere(path: *const pg_sys::IndexPath) -> bool {
    // SAFETY: as promised by the caller; clauses of an index path are IndexClauses.
    unsafe {
        list::of::<pg_sys::IndexClause>((*path).indexclauses).any(|clause| {
            let expression = (*(*clause).rinfo).clause;
            (*clause).indexcol == 0 && (*expression).type_ == pg_sys::NodeTag::T_OpExpr
        })
    }
}

/// Whether a condition is that the vector is NULL: such rows are in no index of ours.
///
/// # Safety
/// `path` is a valid path of an index.
unsafe fn asks_for_null_vectors(path: *const pg_sys::IndexPath) -> bool {
    // SAFETY: as promised by the caller; clauses of an index path are IndexClauses.
    unsafe {
        list::of::<pg_sys::IndexClause>((*path).indexclauses).any(|clause| {
            let expression = (*(*clause).rinfo).clause.cast::<pg_sys::NullTest>();
            (*clause).indexcol == 0
                && (*expression).xpr.type_ == pg_sys::NodeTag::T_NullTest
                && (*expression).nulltesttype == pg_sys::NullTestType::IS_NULL
        })
    }
}

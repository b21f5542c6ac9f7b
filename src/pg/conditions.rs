//! The conditions of a plan node on the rows of its table, evaluated where a scan asks.

use super::list;
use pgrx::pg_sys::{self, Datum, NodeTag, Oid};

/// What an index scan's plan node filters rows by.
#[derive(Clone, Copy, Default)]
pub struct Conditions {
    evaluated: Option<Evaluated>,
}

#[derive(Clone, Copy)]
struct Evaluated {
    state: *mut pg_sys::ExprState,
    context: *mut pg_sys::ExprContext,
}

impl Conditions {
    /// The conditions of an index scan. None of them are evaluated where doing so once more could be
    /// seen (volatile functions) or costs as much as the scan (subqueries).
    ///
    /// # Safety
    /// `scan` is of a running query, which outlives the conditions.
    pub unsafe fn of(scan: *mut pg_sys::IndexScanState) -> Conditions {
        // SAFETY: a plan state has its plan; what is made here lives in the query's memory.
        unsafe {
            let node = &raw mut (*scan).ss.ps;
            let order = order_of(scan);
            let mut conditions = std::ptr::null_mut();
            for condition in list::of::<pg_sys::Node>((*(*node).plan).qual) {
                // the scan itself ends where distances are too far
                if radius_in(condition, order).is_none() {
                    conditions = pg_sys::lappend(conditions, condition.cast());
                }
            }
            if conditions.is_null()
                || pg_sys::contain_volatile_functions(conditions.cast())
                || pg_sys::contain_subplans(conditions.cast())
            {
                return Conditions::default();
            }
            let query = (*(*node).state).es_query_cxt;
            let caller = pg_sys::MemoryContextSwitchTo(query);
            let state = pg_sys::ExecInitQual(conditions, node);
            let context = pg_sys::CreateExprContext((*node).state);
            pg_sys::MemoryContextSwitchTo(caller);
            Conditions {
                evaluated: Some(Evaluated { state, context }),
            }
        }
    }

    /// Whether every row passes.
    pub fn is_empty(&self) -> bool {
        self.evaluated.is_none()
    }

    /// Whether a row passes them all.
    ///
    /// # Safety
    /// Called inside an error guard, in the query that the conditions are of, with a row of its table.
    pub unsafe fn hold_for(&self, row: *mut pg_sys::TupleTableSlot) -> bool {
        let Some(Evaluated { state, context }) = self.evaluated else {
            return true;
        };
        // SAFETY: as promised by the caller.
        unsafe {
            let context = &mut *context;
            context.ecxt_scantuple = row;
            let before = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = context.ecxt_per_tuple_memory;
            let evaluate = (*state).evalfunc.expect("an initialised expression");
            let mut is_null = false;
            let result: Datum = evaluate(state, context, &raw mut is_null);
            pg_sys::CurrentMemoryContext = before;
            unguarded::MemoryContextReset(context.ecxt_per_tuple_memory);
            // a conjunction is never NULL here: NULL is false
            result.value() != 0
        }
    }
}

/// The right side of a condition `distance < radius` on the distance that a scan is ordered by.
#[derive(Clone, Copy)]
pub struct Radius(Evaluated);

impl Radius {
    /// The one among the conditions of an ordered index scan, if there is one.
    ///
    /// # Safety
    /// As [`Conditions::of`].
    pub unsafe fn of(scan: *mut pg_sys::IndexScanState) -> Option<Radius> {
        // SAFETY: a plan state has its plan; what is made here lives in the query's memory.
        unsafe {
            let node = &raw mut (*scan).ss.ps;
            let order = order_of(scan);
            let mut conditions = list::of::<pg_sys::Node>((*(*node).plan).qual);
            let radius = conditions.find_map(|condition| radius_in(condition, order))?;
            let caller = pg_sys::MemoryContextSwitchTo((*(*node).state).es_query_cxt);
            let state = pg_sys::ExecInitExpr(radius.cast(), node);
            let context = pg_sys::CreateExprContext((*node).state);
            pg_sys::MemoryContextSwitchTo(caller);
            Some(Radius(Evaluated { state, context }))
        }
    }

    /// What it is now: parameters change from scan to scan. `None` where it bounds nothing.
    pub fn value(&self) -> Option<f64> {
        let Evaluated { state, context } = self.0;
        // SAFETY: made by `of`, in a query that is running. Nothing between the guard and the server
        // has a destructor.
        unsafe {
            let context = &mut *context;
            let before = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = context.ecxt_per_tuple_memory;
            let evaluate = (*state).evalfunc.expect("an initialised expression");
            let mut is_null = false;
            let value =
                pg_sys::ffi::pg_guard_ffi_boundary(|| evaluate(state, context, &raw mut is_null));
            pg_sys::CurrentMemoryContext = before;
            let of_type = pg_sys::exprType((*state).expr.cast());
            let radius = match of_type == pg_sys::FLOAT4OID {
                true => f32::from_bits(value.value() as u32) as f64,
                false => f64::from_bits(value.value() as u64),
            };
            // every distance is less than NaN
            (!is_null && !radius.is_nan()).then_some(radius)
        }
    }
}

/// What an ordered index scan is ordered by, in terms of its table.
unsafe fn order_of(scan: *mut pg_sys::IndexScanState) -> *mut pg_sys::Node {
    // SAFETY: an index scan's state has an index scan's plan.
    unsafe {
        let plan = (*scan).ss.ps.plan.cast::<pg_sys::IndexScan>();
        list::of((*plan).indexorderbyorig)
            .next()
            .unwrap_or(std::ptr::null_mut())
    }
}

/// The place in a query's text of an order that is not the query's own, but was made for a condition
/// `distance < radius`. Nothing but messages reads it otherwise, and it stays with an expression wherever the
/// planner copies it to.
pub const FOR_A_BOUND: i32 = -2;

/// Whether a scan is ordered for a bound on the distance alone.
///
/// # Safety
/// `scan` is of a running query.
pub unsafe fn is_ordered_for_a_bound(scan: *mut pg_sys::IndexScanState) -> bool {
    // SAFETY: as promised by the caller; an expression's tag names its struct.
    unsafe {
        let order = order_of(scan);
        !order.is_null()
            && (*order).type_ == NodeTag::T_OpExpr
            && (*order.cast::<pg_sys::OpExpr>()).location == FOR_A_BOUND
    }
}

/// The btree operator family of floating-point numbers.
pub const FLOAT_OPS: Oid = Oid::from_u32(1970);

/// The two sides of a condition `distance < radius`, or `<=`, or the other way round, where the radius
/// is an expression that is the same for all rows. `None` for other conditions.
///
/// # Safety
/// `condition` is a valid expression, or NULL.
pub unsafe fn bound_of(
    condition: *mut pg_sys::Node,
) -> Option<(*mut pg_sys::Node, *mut pg_sys::Node)> {
    // SAFETY: an expression's tag names its struct.
    unsafe {
        if condition.is_null() || (*condition).type_ != NodeTag::T_OpExpr {
            return None;
        }
        let operator = condition.cast::<pg_sys::OpExpr>();
        let mut sides = list::of::<pg_sys::Node>((*operator).args);
        let (left, right) = (sides.next()?, sides.next()?);
        let (distance, radius) = match pg_sys::get_op_opfamily_strategy((*operator).opno, FLOAT_OPS)
        {
            1 | 2 => (left, right),
            4 | 5 => (right, left),
            _ => return None,
        };
        let of_type = pg_sys::exprType(radius);
        let is_radius = (of_type == pg_sys::FLOAT8OID || of_type == pg_sys::FLOAT4OID)
            && !pg_sys::contain_var_clause(radius)
            && !pg_sys::contain_volatile_functions(radius)
            && !pg_sys::contain_subplans(radius);
        is_radius.then_some((distance, radius))
    }
}

/// The radius of a condition `order < radius`, as [`bound_of`] finds it; `None` for bounds on anything
/// else than `order`, whichever of its two sides comes first.
///
/// # Safety
/// Both are valid expressions, or NULL.
pub unsafe fn radius_in(
    condition: *mut pg_sys::Node,
    order: *mut pg_sys::Node,
) -> Option<*mut pg_sys::Node> {
    // SAFETY: as promised by the caller.
    unsafe {
        if order.is_null() {
            return None;
        }
        let (distance, radius) = bound_of(condition)?;
        is_same_distance(distance, order).then_some(radius)
    }
}

unsafe fn is_same_distance(a: *mut pg_sys::Node, b: *mut pg_sys::Node) -> bool {
    // SAFETY: valid expressions; the tag names the struct.
    unsafe {
        if pg_sys::equal(a.cast(), b.cast()) {
            return true;
        }
        if (*a).type_ != NodeTag::T_OpExpr || (*b).type_ != NodeTag::T_OpExpr {
            return false;
        }
        let (a, b) = (a.cast::<pg_sys::OpExpr>(), b.cast::<pg_sys::OpExpr>());
        let sides = |of: *mut pg_sys::OpExpr| {
            let mut sides = list::of::<std::ffi::c_void>((*of).args);
            Some((sides.next()?, sides.next()?))
        };
        let (Some((a_left, a_right)), Some((b_left, b_right))) = (sides(a), sides(b)) else {
            return false;
        };
        pg_sys::get_commutator((*a).opno) == (*b).opno
            && pg_sys::equal(a_left, b_right)
            && pg_sys::equal(a_right, b_left)
    }
}

/// Called inside an error guard of the caller's.
mod unguarded {
    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        pub fn MemoryContextReset(context: pg_sys::MemoryContext);
    }
}

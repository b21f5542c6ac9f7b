//! Centroids from outside: `WITH (centroids = 'schema.table')`, computed on another machine.

use super::index::Ivf;
use super::options::MOST_LISTS;
use crate::cluster;
use crate::pg::error::raise_index;
use crate::quantize::Rotated;
use pgrx::PgSqlErrorCode as Code;
use pgrx::spi::{self, Spi};

/// Reads centroids from the first column of the index's type in a table. Raises what the server raises where
/// there is no such table or the role may not read it, 42703 where it has no such column, 22023 where it
/// has no rows or too many, 22000 for vectors of other dimensions.
pub fn read(ivf: &Ivf, table: &str) -> cluster::Rows {
    let Some(codec) = &ivf.codec else {
        raise_index(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "an index of bit strings finds its own centroids".into(),
            Some("Leave out centroids.".into()),
        );
    };
    let (mut rows, mut rotated, mut point) = (
        cluster::Rows::new(codec.dims()),
        Rotated::default(),
        Vec::new(),
    );
    let query = query_of(ivf, table);
    let result: spi::Result<()> = Spi::connect(|client| {
        for row in client.select(&query, Some(MOST_LISTS as i64 + 1), &[])? {
            pgrx::check_for_interrupts!();
            let Some(values) = row.get::<Vec<f32>>(1)? else {
                continue;
            };
            if values.len() != codec.dims() {
                raise_index(
                    Code::ERRCODE_DATA_EXCEPTION,
                    format!(
                        "expected {} dimensions, not {}, of a centroid in table {table}",
                        codec.dims(),
                        values.len()
                    ),
                    None,
                );
            }
            codec.rotate(&values, &mut rotated);
            point.clear();
            point.extend(rotated.values());
            rows.push_point(&point);
        }
        Ok(())
    });
    if let Err(error) = result {
        raise_index(
            Code::ERRCODE_INTERNAL_ERROR,
            format!("could not read centroids from table {table}: {error}"),
            None,
        );
    }
    if rows.is_empty() || rows.len() > MOST_LISTS as usize {
        raise_index(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("table {table} must have between 1 and {MOST_LISTS} centroids"),
            None,
        );
    }
    rows
}

/// The query for the centroids in a table.
fn query_of(ivf: &Ivf, table: &str) -> String {
    let (type_id, _) = ivf.index.attribute(0);
    let relation = match beside(ivf, table) {
        Some(oid) => format!("'{oid}'"),
        // says what is wrong with the name
        None => spi::quote_literal(table),
    };
    let find = format!(
        "SELECT pg_catalog.format('SELECT %I::pg_catalog.float4[] FROM %s', attname, attrelid::pg_catalog.regclass)
         FROM pg_catalog.pg_attribute
         WHERE attrelid OPERATOR(pg_catalog.=) {}::pg_catalog.regclass
           AND atttypid OPERATOR(pg_catalog.=) {}::pg_catalog.oid
           AND attnum OPERATOR(pg_catalog.>) 0 AND NOT attisdropped
         ORDER BY attnum USING OPERATOR(pg_catalog.<) LIMIT 1",
        relation,
        u32::from(type_id)
    );
    let found = Spi::get_one::<String>(&find);
    found.ok().flatten().unwrap_or_else(|| {
        raise_index(
            Code::ERRCODE_UNDEFINED_COLUMN,
            format!("table {table} has no column of the indexed type"),
            Some("Give it one, in which each row has a list's centroid.".into()),
        )
    })
}

/// The table of a name: the one that `search_path` leads to, or else the one in the schema of the indexed table.
/// A dump is restored with no path at all, and from PostgreSQL 17 on indexes are made without the session's.
fn beside(ivf: &Ivf, table: &str) -> Option<u32> {
    let in_path = format!("pg_catalog.to_regclass({})", spi::quote_literal(table));
    let found = match table.contains('.') {
        true => in_path,
        false => format!(
            "coalesce({in_path}, pg_catalog.to_regclass(pg_catalog.concat(
                 (SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_namespace
                  JOIN pg_catalog.pg_class ON pg_class.relnamespace OPERATOR(pg_catalog.=) pg_namespace.oid
                  WHERE pg_class.oid OPERATOR(pg_catalog.=) {}::pg_catalog.oid), '.', {})))",
            u32::from(ivf.index.table()),
            spi::quote_literal(table)
        ),
    };
    let found = Spi::get_one::<pgrx::pg_sys::Oid>(&format!("SELECT {found}::pg_catalog.oid"));
    found.ok().flatten().map(u32::from)
}

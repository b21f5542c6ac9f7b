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
    let find = format!(
        "SELECT pg_catalog.format('SELECT %I::pg_catalog.float4[] FROM %s', attname, attrelid::pg_catalog.regclass)
         FROM pg_catalog.pg_attribute
         WHERE attrelid = {}::pg_catalog.regclass AND atttypid = {}
           AND attnum > 0 AND NOT attisdropped
         ORDER BY attnum LIMIT 1",
        spi::quote_literal(table),
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

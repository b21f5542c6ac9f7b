//! A row on its way to its list: what a run has of it.

use crate::hnsw::format::RawTid;
use crate::ivf::format::{Keys, ListRow, RowBytes, VectorAddress};
use crate::quantize::ListFactors;
use bytemuck::{Pod, Zeroable};

/// What stands before the keys and the code of a row in a run, 32 bytes.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    pub tid: RawTid,
    pub address: VectorAddress,
    pub norm_squared: f32,
    pub add: f32,
    pub scale: f32,
    pub error: f32,
    pub is_second: u32,
}

const _: () = assert!(size_of::<Header>() == 32);

/// A record of a run as a row of a list of an index with so many filter columns.
pub fn row_of(record: &[u8], filters: usize) -> ListRow<'_> {
    let (header, rest) = record.split_at(size_of::<Header>());
    let (keys, code) = rest.split_at(filters * size_of::<u64>());
    let header: Header = bytemuck::pod_read_unaligned(header);
    ListRow {
        tid: header.tid,
        is_second: header.is_second != 0,
        factors: ListFactors {
            add: header.add,
            scale: header.scale,
            error: header.error,
        },
        address: header.address,
        norm_squared: header.norm_squared,
        keys: Keys::of(keys),
        code: RowBytes::of(code),
    }
}

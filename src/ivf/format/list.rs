//! List pages: rows of one list, as arrays that a kernel takes at once.
//!
//! | bytes of the contents | what |
//! |---|---|
//! | 0..4 | rows |
//! | 4..8 | 0 |
//! | then | heap TIDs, 6 bytes each |
//! | then | codes: `add` of each row, 4 bytes |
//! | then | codes: `scale` of each row, 4 bytes |
//! | then | codes: `error` of each row, a [`Bf16`]; its sign says that the row's nearest list is another one |
//! | then | `rerank = index`: address of the compact code, 6 bytes ([`VectorAddress`]) |
//! | then | values under cosine: squared norm, 4 bytes |
//! | then | for each filter column, one after another: the key of each row's value, 8 bytes ([`crate::keys`]) |
//! | then | codes, or values padded to 8 |
//!
//! Codes of one bit for each dimension (`rabitq1`) stand in groups: of the first sixteen rows, of the next sixteen and so
//! on byte by byte ([`fast_scan`]), of the rows left, fewer than sixteen, row by row. The sixteenth makes a group of them; so
//! an insert writes few bytes.
//!
//! Every array has room for as many rows as fit on a page, begins at a multiple of 8, and has its rows
//! first; what lies behind them is zero. The order of rows means nothing: a row that is taken out leaves
//! its place to the last one.

use super::vectors::VectorAddress;
use super::{CONTENTS, Code, ListId, Opaque, PageKind, RowForm, Shape, contents};
use crate::hnsw::format::RawTid;
use crate::page::{Damage, HEADER, PageView};
use crate::quantize::ListFactors;
use crate::quantize::fast_scan::{self, GROUP};
use bytemuck::{Pod, Zeroable};

/// Bytes before the arrays.
const HEAD: usize = 8;
/// Bytes of a key.
const KEY: usize = size_of::<u64>();

/// The keys of a row, one for each filter column: anywhere in memory, at equal distances.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keys<'a> {
    bytes: &'a [u8],
    count: usize,
    stride: usize,
}

impl<'a> Keys<'a> {
    /// Keys one after another, in bytes.
    pub fn of(bytes: &'a [u8]) -> Keys<'a> {
        Keys {
            bytes,
            count: bytes.len() / KEY,
            stride: KEY,
        }
    }

    /// The keys, column by column.
    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        let at = (0..self.count).map(move |column| column * self.stride);
        at.map(move |at| bytemuck::pod_read_unaligned(&self.bytes[at..at + KEY]))
    }
}

impl PartialEq for Keys<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// The bytes of a row's code or value, at equal distances.
#[derive(Debug, Clone, Copy)]
pub struct RowBytes<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl<'a> RowBytes<'a> {
    /// Bytes one after another.
    pub fn of(bytes: &'a [u8]) -> RowBytes<'a> {
        RowBytes { bytes, stride: 1 }
    }

    /// The bytes.
    #[inline(always)]
    pub fn iter(self) -> impl Iterator<Item = u8> + 'a {
        self.bytes.iter().step_by(self.stride).copied()
    }

    /// The first bytes of a value, which are one after another.
    #[inline]
    pub fn value(self, len: usize) -> &'a [u8] {
        assert_eq!(self.stride, 1, "a value");
        &self.bytes[..len]
    }

    /// Copies the bytes, and zeros behind them.
    #[inline]
    fn copy_to(self, out: &mut [u8]) {
        let (own, padding) = out.split_at_mut(self.bytes.len().div_ceil(self.stride));
        match self.stride {
            1 => own.copy_from_slice(self.bytes),
            _ => own
                .iter_mut()
                .zip(self.iter())
                .for_each(|(to, byte)| *to = byte),
        }
        padding.fill(0);
    }

    /// Appends the bytes.
    #[inline]
    pub fn append_to(self, out: &mut Vec<u8>) {
        match self.stride {
            1 => out.extend_from_slice(self.bytes),
            _ => out.extend(self.iter()),
        }
    }
}

impl PartialEq for RowBytes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// A positive number to two digits, rounded up: a bfloat16. Its sign is a mark that means nothing to the
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// A number that is no less than `x`, as long as bfloat16 has one that is finite.
    #[inline]
    pub fn at_least(x: f32) -> Bf16 {
        // max() makes 0 of what is no number
        let bits = x.max(0.0).to_bits();
        Bf16((bits.saturating_add(0xffff) >> 16).min(0x7f7f) as u16)
    }

    /// The number.
    #[inline(always)]
    pub fn get(self) -> f32 {
        f32::from_bits((self.0 as u32 & 0x7fff) << 16)
    }

    /// The same number with the mark set or not.
    #[inline]
    pub fn marked(self, mark: bool) -> Bf16 {
        Bf16(self.0 & 0x7fff | (mark as u16) << 15)
    }

    /// Whether the mark is set.
    #[inline]
    pub fn is_marked(self) -> bool {
        self.0 >> 15 == 1
    }
}

/// Where the arrays of a page lie: computed once for an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLayout {
    capacity: usize,
    /// the first array of factors; the others follow
    adds_at: usize,
    scales_at: usize,
    errors_at: usize,
    addresses_at: usize,
    norms_at: usize,
    keys_at: usize,
    codes_at: usize,
    code_len: usize,
    filters: usize,
    has_factors: bool,
    has_addresses: bool,
    has_norms: bool,
    has_groups: bool,
}

impl ListLayout {
    /// The layout of an index's list pages.
    pub fn of(shape: &Shape) -> ListLayout {
        let code_len = match shape.form {
            RowForm::Codes(_) => shape.row_len as usize,
            RowForm::Values => (shape.row_len as usize).next_multiple_of(8),
        };
        let beside = size_of::<RawTid>() + 10 + 6 + 4 + KEY * shape.filters as usize;
        let most = CONTENTS / (size_of::<RawTid>() + code_len.max(1));
        let least = CONTENTS / (beside + code_len.max(1));
        let layouts = (least.saturating_sub(8)..=most).rev();
        layouts
            .map(|capacity| ListLayout::with_capacity(shape, code_len, capacity))
            .find(|layout| layout.contents_len() <= CONTENTS)
            .unwrap_or_else(|| ListLayout::with_capacity(shape, code_len, 0))
    }

    fn with_capacity(shape: &Shape, code_len: usize, capacity: usize) -> ListLayout {
        let has_factors = matches!(shape.form, RowForm::Codes(_));
        let (has_addresses, has_norms) = (shape.has_addresses(), shape.has_norms());
        let array = |has: bool, size: usize| match has {
            true => (capacity * size).next_multiple_of(8),
            false => 0,
        };
        let adds_at = HEAD + array(true, size_of::<RawTid>());
        let scales_at = adds_at + array(has_factors, 4);
        let errors_at = scales_at + array(has_factors, 4);
        let addresses_at = errors_at + array(has_factors, 2);
        let norms_at = addresses_at + array(has_addresses, size_of::<VectorAddress>());
        let keys_at = norms_at + array(has_norms, 4);
        let filters = shape.filters as usize;
        let codes_at = keys_at + filters * array(true, KEY);
        ListLayout {
            capacity,
            adds_at,
            scales_at,
            errors_at,
            addresses_at,
            norms_at,
            keys_at,
            codes_at,
            code_len,
            filters,
            has_factors,
            has_addresses,
            has_norms,
            has_groups: matches!(shape.form, RowForm::Codes(Code::Grid(q)) if q.is_grouped()),
        }
    }

    /// Whether codes stand in groups.
    #[inline]
    pub fn has_groups(&self) -> bool {
        self.has_groups
    }

    /// Where the codes of a group are.
    fn group_at(&self, first: usize) -> std::ops::Range<usize> {
        let at = self.codes_at + first * self.code_len;
        at..at + GROUP * self.code_len
    }

    /// Where the code of a row is, of so many: its first byte, and how far it is from one to the next.
    #[inline(always)]
    fn code_of(&self, row: usize, count: usize) -> (usize, usize) {
        let first = row / GROUP * GROUP;
        match self.has_groups && first + GROUP <= count {
            true => (self.group_at(first).start + row - first, GROUP),
            false => (self.codes_at + row * self.code_len, 1),
        }
    }

    /// Rows on a page.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Filter columns, each of whose values has a key.
    #[inline]
    pub fn filters(&self) -> usize {
        self.filters
    }

    /// Where the keys of a filter column begin.
    #[inline]
    fn keys_of(&self, column: usize) -> usize {
        self.keys_at + column * self.capacity * KEY
    }

    /// Whether rows have marks, so that they can be in two lists.
    #[inline]
    pub fn has_marks(&self) -> bool {
        self.has_factors
    }

    /// Bytes of a page's contents.
    #[inline]
    pub fn contents_len(&self) -> usize {
        self.codes_at + self.capacity * self.code_len
    }

    /// Where on a page the arrays are that every search reads, of so many rows: where each part begins, and its bytes.
    pub fn read_by_all(&self, rows: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let rows = rows.min(self.capacity);
        let parts = [
            (self.has_factors, self.adds_at, 4),
            (self.has_factors, self.scales_at, 4),
            (self.has_factors, self.errors_at, 2),
            (self.has_norms, self.norms_at, 4),
            (true, self.codes_at, self.code_len),
        ];
        let parts = parts.into_iter().filter(|&(is_there, ..)| is_there);
        parts.map(move |(_, at, size)| (HEADER + at, rows * size))
    }

    /// The arrays: where each begins, and bytes of an element.
    fn arrays(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let layout = *self;
        let keys = (0..layout.filters).map(move |column| (layout.keys_of(column), KEY));
        [
            (true, HEAD, size_of::<RawTid>()),
            (self.has_factors, self.adds_at, 4),
            (self.has_factors, self.scales_at, 4),
            (self.has_factors, self.errors_at, 2),
            (
                self.has_addresses,
                self.addresses_at,
                size_of::<VectorAddress>(),
            ),
            (self.has_norms, self.norms_at, 4),
            (true, self.codes_at, self.code_len),
        ]
        .into_iter()
        .filter(|&(is_there, ..)| is_there)
        .map(|(_, at, size)| (at, size))
        .chain(keys)
    }
}

/// A row as a list keeps it.
#[derive(Debug, Clone, Copy)]
pub struct ListRow<'a> {
    /// where the row is in the table
    pub tid: RawTid,
    /// it is the copy that SOAR adds, and the row's first copy is in a nearer list; rows kept as values
    /// have one copy
    pub is_second: bool,
    /// of its code; zero for values
    pub factors: ListFactors,
    /// of its compact code; none where the index has no such codes
    pub address: VectorAddress,
    /// of its value under cosine, else 0
    pub norm_squared: f32,
    /// of its values in filter columns
    pub keys: Keys<'a>,
    /// its code or value
    pub code: RowBytes<'a>,
}

/// A page of a list for reading.
#[derive(Clone, Copy)]
pub struct ListPage<'a> {
    bytes: &'a [u8],
    layout: &'a ListLayout,
    count: usize,
    /// the list
    pub list: ListId,
    /// next page of the list, or 0
    pub next: u32,
}

impl<'a> ListPage<'a> {
    /// Reads and checks a page.
    #[inline]
    pub fn of(page: PageView<'a>, layout: &'a ListLayout) -> Result<ListPage<'a>, Damage> {
        let opaque = Opaque::expect(page, PageKind::List)?;
        let bytes = contents(page, layout.contents_len())?;
        let count = bytemuck::pod_read_unaligned::<u32>(&bytes[..4]) as usize;
        if count > layout.capacity {
            return Err(Damage("list page with more rows than fit"));
        }
        Ok(ListPage {
            bytes,
            layout,
            count,
            list: ListId(opaque.list),
            next: opaque.next,
        })
    }

    /// Rows on the page.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    #[inline]
    fn array<T: Pod>(&self, at: usize, is_there: bool) -> &'a [T] {
        let count = if is_there { self.count } else { 0 };
        bytemuck::cast_slice(&self.bytes[at..at + count * size_of::<T>()])
    }

    /// Where the rows are in the table.
    #[inline]
    pub fn tids(&self) -> &'a [RawTid] {
        self.array(HEAD, true)
    }

    /// `add` of each row's code; empty for values.
    #[inline]
    pub fn adds(&self) -> &'a [f32] {
        self.array(self.layout.adds_at, self.layout.has_factors)
    }

    /// `scale` of each row's code; empty for values.
    #[inline]
    pub fn scales(&self) -> &'a [f32] {
        self.array(self.layout.scales_at, self.layout.has_factors)
    }

    /// `error` of each row's code; empty for values.
    #[inline]
    pub fn errors(&self) -> &'a [Bf16] {
        self.array(self.layout.errors_at, self.layout.has_factors)
    }

    /// How many rows of codes are in the list nearest to them.
    pub fn firsts(&self) -> usize {
        self.errors().iter().filter(|e| !e.is_marked()).count()
    }

    /// Addresses of compact codes; empty where the index has none.
    #[inline]
    pub fn addresses(&self) -> &'a [VectorAddress] {
        self.array(self.layout.addresses_at, self.layout.has_addresses)
    }

    /// Squared norms of values under cosine; else empty.
    #[inline]
    pub fn norms(&self) -> &'a [f32] {
        self.array(self.layout.norms_at, self.layout.has_norms)
    }

    /// The keys of all rows in a filter column.
    #[inline]
    pub fn keys(&self, column: usize) -> &'a [u64] {
        self.array(self.layout.keys_of(column), column < self.layout.filters)
    }

    /// All codes, in groups where there are such.
    #[inline]
    pub fn codes(&self) -> &'a [u8] {
        &self.bytes[self.layout.codes_at..][..self.count * self.layout.code_len]
    }

    /// Whether all is zero where no row is.
    pub fn unused_is_zero(&self) -> bool {
        let is_zero = |from: usize, to: usize| self.bytes[from..to].iter().all(|&byte| byte == 0);
        let mut arrays: Vec<(usize, usize)> = self.layout.arrays().collect();
        arrays.sort_unstable();
        // behind the number of rows
        let mut end = 4;
        for (at, size) in arrays {
            if !is_zero(end, at) {
                return false;
            }
            end = at + self.count * size;
        }
        is_zero(end, self.bytes.len())
    }

    /// The code of a row, or its value with its padding.
    #[inline]
    pub fn code(&self, row: usize) -> RowBytes<'a> {
        assert!(row < self.count, "row of a list page");
        let (at, stride) = self.layout.code_of(row, self.count);
        let end = at + (self.layout.code_len * stride).saturating_sub(stride - 1);
        RowBytes {
            bytes: &self.bytes[at..end],
            stride,
        }
    }

    /// The value of a row with its padding, where rows are values.
    #[inline]
    pub fn value(&self, row: usize) -> &'a [u8] {
        &self.codes()[row * self.layout.code_len..][..self.layout.code_len]
    }

    /// Everything of a row.
    pub fn row(&self, row: usize) -> ListRow<'a> {
        let factors = match self.layout.has_factors {
            true => ListFactors {
                add: self.adds()[row],
                scale: self.scales()[row],
                error: self.errors()[row].get(),
            },
            false => ListFactors::default(),
        };
        ListRow {
            tid: self.tids()[row],
            is_second: self.errors().get(row).is_some_and(|e| e.is_marked()),
            factors,
            address: self.addresses().get(row).copied().unwrap_or_default(),
            norm_squared: self.norms().get(row).copied().unwrap_or_default(),
            keys: match self.layout.filters {
                0 => Keys::default(),
                count => Keys {
                    bytes: &self.bytes[self.layout.keys_at + row * KEY..self.layout.codes_at],
                    count,
                    stride: self.layout.capacity * KEY,
                },
            },
            code: self.code(row),
        }
    }
}

/// A page of a list for writing.
pub struct ListPageMut<'a> {
    bytes: &'a mut [u8],
    layout: &'a ListLayout,
}

impl<'a> ListPageMut<'a> {
    /// The contents of a page that was checked, or of a new one: [`ListLayout::contents_len`] bytes.
    pub fn new(bytes: &'a mut [u8], layout: &'a ListLayout) -> ListPageMut<'a> {
        assert_eq!(bytes.len(), layout.contents_len());
        ListPageMut { bytes, layout }
    }

    /// Rows on the page.
    pub fn count(&self) -> usize {
        bytemuck::pod_read_unaligned::<u32>(&self.bytes[..4]) as usize
    }

    fn set_count(&mut self, count: usize) {
        self.bytes[..4].copy_from_slice(&(count as u32).to_ne_bytes());
    }

    fn put<T: Pod>(&mut self, at: usize, row: usize, value: T) {
        let at = at + row * size_of::<T>();
        self.bytes[at..at + size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
    }

    /// Adds a row; false where the page is full. A code that is shorter than the page's, as a value
    /// without its padding is, is filled up with zeros.
    pub fn push(&mut self, row: &ListRow<'_>) -> bool {
        let at = self.count();
        let layout = *self.layout;
        if at >= layout.capacity {
            return false;
        }
        self.put(HEAD, at, row.tid);
        if layout.has_factors {
            self.put(layout.adds_at, at, row.factors.add);
            self.put(layout.scales_at, at, row.factors.scale);
            let error = Bf16::at_least(row.factors.error).marked(row.is_second);
            self.put(layout.errors_at, at, error);
        }
        if layout.has_addresses {
            self.put(layout.addresses_at, at, row.address);
        }
        if layout.has_norms {
            self.put(layout.norms_at, at, row.norm_squared);
        }
        assert_eq!(
            row.keys.count, layout.filters,
            "a key for each filter column"
        );
        for (column, key) in row.keys.iter().enumerate() {
            self.put(layout.keys_of(column), at, key);
        }
        let code = &mut self.bytes[layout.codes_at + at * layout.code_len..][..layout.code_len];
        row.code.copy_to(code);
        self.set_count(at + 1);
        if layout.has_groups && (at + 1).is_multiple_of(GROUP) {
            fast_scan::group(&mut self.bytes[layout.group_at(at + 1 - GROUP)]);
        }
        true
    }

    /// Takes out a row and erases it; the last one takes its place.
    pub fn swap_remove(&mut self, row: usize) {
        let layout = *self.layout;
        let last = self.count() - 1;
        assert!(row <= last, "row of a list page");
        if layout.has_groups {
            if (last + 1).is_multiple_of(GROUP) {
                fast_scan::ungroup(&mut self.bytes[layout.group_at(last + 1 - GROUP)]);
            }
            let ((from, _), (to, stride)) = (layout.code_of(last, last), layout.code_of(row, last));
            for n in 0..layout.code_len {
                self.bytes[to + n * stride] = self.bytes[from + n];
            }
            self.bytes[from..from + layout.code_len].fill(0);
        }
        for (at, size) in layout.arrays() {
            if layout.has_groups && at == layout.codes_at {
                continue;
            }
            let (from, to) = (at + last * size, at + row * size);
            self.bytes.copy_within(from..from + size, to);
            self.bytes[from..from + size].fill(0);
        }
        self.set_count(last);
    }
}

//! Products of rows and centroids, a tile of both at a time: the inner loop of a matrix product whose
//! tile stays in registers and whose panel of centroids stays in the first-level cache (Goto and van
//! de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008).

use super::Rows;
use crate::distance::lanes::Isa;

/// Centroids of a panel.
pub(super) const WIDTH: usize = 64;
/// Rows of a tile.
pub(super) const HEIGHT: usize = 6;

/// Centroids of a part of a panel: without VNNI, the sums of more do not stay in registers.
const PART: usize = 16;

/// Products of the rows of a tile with the centroids of a panel.
pub(super) type Products = [[i32; WIDTH]; HEIGHT];

/// Centroids as tiles take them.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    isa: Isa,
    steps: usize,
    len: usize,
    /// With VNNI: for each four dimensions, four bytes of each centroid, offset by 128 to be unsigned.
    /// Empty elsewhere.
    bytes: Vec<u8>,
    /// Without VNNI: part after part, for each two dimensions, two numbers of each centroid.
    pairs: Vec<i16>,
}

impl Panels {
    pub(super) fn of(isa: Isa, centroids: &Rows) -> Panels {
        let len = centroids.len().next_multiple_of(WIDTH);
        let dims = centroids.dims().next_multiple_of(4);
        let mut panels = Panels {
            isa,
            steps: dims,
            len,
            bytes: Vec::new(),
            pairs: Vec::new(),
        };
        if panels.has_bytes() {
            panels.bytes = vec![0x80; len * dims];
        } else {
            panels.pairs = vec![0; len * dims];
        }
        for centroid in 0..centroids.len() {
            let start = centroid / WIDTH * WIDTH * dims;
            let lane = centroid % WIDTH;
            let code = &centroids.padded(centroid)[..dims];
            if panels.has_bytes() {
                for (step, code) in code.as_chunks::<4>().0.iter().enumerate() {
                    let at = start + (step * WIDTH + lane) * 4;
                    let to = &mut panels.bytes[at..at + 4];
                    for (to, &i) in to.iter_mut().zip(code) {
                        *to = i as u8 ^ 0x80;
                    }
                }
            } else {
                let start = start + lane / PART * PART * dims;
                for (step, code) in code.as_chunks::<2>().0.iter().enumerate() {
                    let at = start + (step * PART + lane % PART) * 2;
                    panels.pairs[at..at + 2].copy_from_slice(&code.map(|i| i as i16));
                }
            }
        }
        panels
    }

    #[cfg(target_arch = "x86_64")]
    fn has_bytes(&self) -> bool {
        self.isa == Isa::Avx512Vnni
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn has_bytes(&self) -> bool {
        false
    }

    /// Number of panels.
    pub(super) fn len(&self) -> usize {
        self.len / WIDTH
    }

    /// What is taken off a product for each unit of the sum of a row's bytes.
    #[inline(always)]
    pub(super) fn offset(&self) -> i32 {
        if self.has_bytes() { 128 } else { 0 }
    }

    /// Products of rows with a panel; each row has its dimensions and zeros up to a multiple of 4.
    /// The products are too large by [`Panels::offset`] times the sum of the row.
    #[inline(always)]
    pub(super) fn products(&self, panel: usize, rows: [&[i8]; HEIGHT], out: &mut Products) {
        let size = self.steps * WIDTH;
        let rows = rows.map(|row| &row[..self.steps]);
        match self.isa {
            // SAFETY: an `Isa` other than the portable one is only made where it was detected; rows
            // have `steps` bytes, a panel `steps` times WIDTH.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { x86::vnni(&self.bytes[panel * size..][..size], rows, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 => unsafe {
                x86::avx2(&self.pairs[panel * size..][..size], rows, out)
            },
            Isa::Portable => portable(&self.pairs[panel * size..][..size], rows, out),
        }
    }
}

fn portable(panel: &[i16], rows: [&[i8]; HEIGHT], out: &mut Products) {
    let size = rows[0].len() * PART;
    for (row, out) in rows.iter().zip(out) {
        for (part, out) in panel.chunks(size).zip(out.as_chunks_mut::<PART>().0) {
            *out = [0; PART];
            let steps = part.as_chunks::<{ 2 * PART }>().0.iter();
            for (pairs, row) in steps.zip(row.as_chunks::<2>().0) {
                let [low, high] = row.map(|i| i as i16 as i32);
                for (out, pair) in out.iter_mut().zip(pairs.as_chunks::<2>().0) {
                    *out += pair[0] as i32 * low + pair[1] as i32 * high;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{HEIGHT, PART, Products, WIDTH};
    use std::arch::x86_64::*;

    /// # Safety
    /// The rows are equally long, a multiple of 4, and the panel is WIDTH times as long.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub unsafe fn vnni(panel: &[u8], rows: [&[i8]; HEIGHT], out: &mut Products) {
        const REGISTERS: usize = WIDTH / 16;
        let mut sums = [[_mm512_setzero_si512(); REGISTERS]; HEIGHT];
        let mut at = panel.as_ptr();
        for step in 0..rows[0].len() / 4 {
            // SAFETY: each step reads 4 WIDTH bytes of the panel and four of each row.
            unsafe {
                let mut centroids = [_mm512_setzero_si512(); REGISTERS];
                for (i, centroids) in centroids.iter_mut().enumerate() {
                    *centroids = _mm512_loadu_si512(at.add(64 * i).cast());
                }
                at = at.add(4 * WIDTH);
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    let four = row.as_ptr().add(4 * step).cast::<i32>().read_unaligned();
                    let four = _mm512_set1_epi32(four);
                    for (sum, centroids) in sums.iter_mut().zip(&centroids) {
                        *sum = _mm512_dpbusd_epi32(*sum, *centroids, four);
                    }
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(sums) {
            for (out, sum) in out.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
                // SAFETY: sixteen numbers are stored to sixteen.
                unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
            }
        }
    }

    /// Dimensions whose numbers are widened at a time.
    const WIDENED: usize = 256;

    /// # Safety
    /// The rows are equally long, a multiple of 2, and the panel is WIDTH times as long.
    #[target_feature(enable = "avx2")]
    pub unsafe fn avx2(panel: &[i16], rows: [&[i8]; HEIGHT], out: &mut Products) {
        // sixteen registers: six rows by two times eight centroids
        const REGISTERS: usize = PART / 8;
        let size = rows[0].len() * PART;
        let mut wide = [[0i16; WIDENED]; HEIGHT];
        *out = [[0; WIDTH]; HEIGHT];
        for some in (0..rows[0].len()).step_by(WIDENED) {
            let dims = (rows[0].len() - some).min(WIDENED);
            // so that two numbers of a row are one load into all lanes
            for (wide, row) in wide.iter_mut().zip(&rows) {
                for (wide, &narrow) in wide.iter_mut().zip(&row[some..some + dims]) {
                    *wide = narrow as i16;
                }
            }
            for (number, part) in panel.chunks(size).enumerate() {
                let part = &part[some * PART..][..dims * PART];
                let mut sums = [[_mm256_setzero_si256(); REGISTERS]; HEIGHT];
                for step in 0..dims / 2 {
                    // SAFETY: each step reads 2 PART numbers of the part and two of each row.
                    unsafe {
                        let at = part.as_ptr().add(2 * PART * step);
                        let mut centroids = [_mm256_setzero_si256(); REGISTERS];
                        for (i, centroids) in centroids.iter_mut().enumerate() {
                            *centroids = _mm256_loadu_si256(at.add(16 * i).cast());
                        }
                        for (sums, wide) in sums.iter_mut().zip(&wide) {
                            let two = wide.as_ptr().add(2 * step).cast::<i32>();
                            let two = _mm256_set1_epi32(two.read_unaligned());
                            for (sum, centroids) in sums.iter_mut().zip(&centroids) {
                                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*centroids, two));
                            }
                        }
                    }
                }
                for (out, sums) in out.iter_mut().zip(sums) {
                    let out = &mut out[number * PART..][..PART];
                    for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
                        // SAFETY: eight numbers are read from eight, and stored to them.
                        unsafe {
                            let out = out.as_mut_ptr().cast();
                            _mm256_storeu_si256(
                                out,
                                _mm256_add_epi32(_mm256_loadu_si256(out), sum),
                            );
                        }
                    }
                }
            }
        }
    }
}

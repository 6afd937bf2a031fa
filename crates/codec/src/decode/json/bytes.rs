//! Finding the next byte of a string that is not plain text, 64 bytes at a time.
//!
//! Most strings of most records are shorter than 64 bytes: looking at that many at once costs less
//! than a branch that guesses a string's length wrongly.

/// Position of the first quote, backslash or control character at or after `from`, or the length.
#[inline(always)]
pub fn find_special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<64>()) {
        let (chunks, _) = block.as_chunks::<16>();
        let halves = |i: usize| {
            u64::from(special_bytes(&chunks[i])) | u64::from(special_bytes(&chunks[i + 1])) << 16
        };
        let special = halves(0) | halves(2) << 32;
        if special != 0 {
            return at + special.trailing_zeros() as usize;
        }
        at += 64;
    }
    find_special_near_end(bytes, at)
}

/// The last 63 bytes, 16 at a time; for the rest looks at the last 16 and drops what lies before.
#[inline(never)]
fn find_special_near_end(bytes: &[u8], from: usize) -> usize {
    let mut from = from;
    while let Some(chunk) = bytes.get(from..).and_then(|rest| rest.first_chunk::<16>()) {
        let special = special_bytes(chunk);
        if special != 0 {
            return from + special.trailing_zeros() as usize;
        }
        from += 16;
    }
    let Some(chunk) = bytes.last_chunk::<16>() else {
        let rest = bytes.get(from..).unwrap_or_default();
        return rest
            .iter()
            .position(|&byte| is_special(byte))
            .map_or(bytes.len(), |n| from + n);
    };
    let start = bytes.len() - 16;
    let special = special_bytes(chunk) >> (from - start).min(31);
    if special == 0 {
        bytes.len()
    } else {
        from + special.trailing_zeros() as usize
    }
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Bit i is set where byte i is a quote, a backslash or a control character.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn special_bytes(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };
    // SAFETY: SSE2 is part of every x86_64 target, and the unaligned load reads the 16 bytes of `chunk`.
    unsafe {
        let bytes = _mm_loadu_si128(chunk.as_ptr().cast());
        let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), controls)) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn special_bytes(chunk: &[u8; 16]) -> u32 {
    portable_special_bytes(chunk)
}

/// The same without SSE2; the compiler turns the loop into whatever the machine has.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn portable_special_bytes(chunk: &[u8; 16]) -> u32 {
    (0..16).map(|i| u32::from(is_special(chunk[i])) << i).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_byte_value_is_judged_alike_at_every_place() {
        for byte in 0..=255 {
            for place in 0..16 {
                let mut chunk = [b'x'; 16];
                chunk[place] = byte;
                assert_eq!(special_bytes(&chunk), portable_special_bytes(&chunk));
                assert_eq!(special_bytes(&chunk), u32::from(is_special(byte)) << place);
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_special_byte_is_found(bytes in prop::collection::vec(prop_oneof![80 => Just(b'a'), 1 => any::<u8>()], 0..300), from in 0usize..310) {
            let from = from.min(bytes.len());
            let expected = (from..bytes.len()).find(|&i| is_special(bytes[i])).unwrap_or(bytes.len());
            prop_assert_eq!(find_special(&bytes, from), expected);
        }
    }
}

//! Decimal digits, eight at a time: change records are full of times with thirteen to nineteen.

/// Each byte's high bit is set where the byte is no digit, up to the first such byte; behind it, anything.
#[inline(always)]
fn others(eight: [u8; 8]) -> (u64, u64) {
    // Digits become 0 to 9, and 9 + 0x76 leaves the high bit alone.
    let values = u64::from_le_bytes(eight) ^ 0x3030_3030_3030_3030;
    let others = values.wrapping_add(0x7676_7676_7676_7676) | values;
    (values, others & 0x8080_8080_8080_8080)
}

/// How many of the bytes are digits before one is not.
#[inline(always)]
pub(super) fn leading_digits(eight: [u8; 8]) -> usize {
    let (_, others) = others(eight);
    others.trailing_zeros() as usize / 8
}

/// The number that eight digits are.
#[inline(always)]
pub(super) fn eight_digits(eight: [u8; 8]) -> Option<u64> {
    let (values, others) = others(eight);
    // Neighbours become pairs, pairs fours, and fours the whole: the first digit is the lowest byte.
    let pairs = (values.wrapping_mul(1 + (10 << 8)) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(1 + (100 << 16)) >> 16) & 0x0000_ffff_0000_ffff;
    let whole = fours.wrapping_mul(1 + (10_000 << 32)) >> 32;
    (others == 0).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_byte_value_is_judged_alike_at_every_place() {
        for byte in 0..=255 {
            for place in 0..8 {
                for around in *b"09" {
                    let mut eight = [around; 8];
                    eight[place] = byte;
                    let is_digit = byte.is_ascii_digit();
                    let count = if is_digit { 8 } else { place };
                    assert_eq!(leading_digits(eight), count, "{eight:?}");
                    assert_eq!(eight_digits(eight).is_some(), is_digit, "{eight:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn eight_digits_are_the_number_they_spell(number in 0u64..100_000_000) {
            let text = format!("{number:08}");
            let eight = text.as_bytes().first_chunk().unwrap();
            prop_assert_eq!(eight_digits(*eight), Some(number));
        }

        #[test]
        fn digits_end_at_the_first_other_byte(eight: [u8; 8]) {
            let expected = eight.iter().take_while(|byte| byte.is_ascii_digit()).count();
            prop_assert_eq!(leading_digits(eight), expected);
            prop_assert_eq!(eight_digits(eight).is_some(), expected == 8);
        }
    }
}

//! Numbers, dates and identifiers as text, exactly as the reference in Python writes them.

/// A finite number as orjson writes it: `1.5`, `1e+16`.
pub fn double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

/// A finite number as Python's `repr` writes it: `1.5`, `1e+16`, `1e-05`.
pub fn double_repr(out: &mut Vec<u8>, value: f64) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{}", fraction.trim_end_matches('0'));
    let digits = all.trim_start_matches('0');
    // The value is 0.DIGITS times ten to the power of `point`.
    let point = whole.len() as i32 + exponent.parse::<i32>().unwrap_or(0)
        - (all.len() - digits.len()) as i32;
    let digits = digits.trim_end_matches('0');
    out.extend_from_slice(sign.as_bytes());
    if digits.is_empty() {
        out.extend_from_slice(b"0.0");
        return;
    }
    let count = digits.len() as i32;
    if (-3..=16).contains(&point) {
        let (before, after) = if point <= 0 {
            (
                "0".to_owned(),
                format!("{}{digits}", "0".repeat(-point as usize)),
            )
        } else if point >= count {
            (
                format!("{digits}{}", "0".repeat((point - count) as usize)),
                "0".to_owned(),
            )
        } else {
            (
                digits[..point as usize].to_owned(),
                digits[point as usize..].to_owned(),
            )
        };
        out.extend_from_slice(format!("{before}.{after}").as_bytes());
        return;
    }
    let (first, rest) = digits.split_at(1);
    let separator = if rest.is_empty() { "" } else { "." };
    let power = point - 1;
    let sign = if power < 0 { '-' } else { '+' };
    out.extend_from_slice(format!("{first}{separator}{rest}e{sign}{:02}", power.abs()).as_bytes());
}

/// The bits of the usual NaN. Others may not survive a conversion in Python.
pub const NAN: u64 = 0x7FF8_0000_0000_0000;

/// Whether it is the name of the array's element with this index.
pub fn is_index(name: &[u8], index: u32) -> bool {
    name == itoa::Buffer::new().format(index).as_bytes()
}

pub fn integer<I: itoa::Integer>(out: &mut Vec<u8>, value: I) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A decimal128 as Python's `decimal` prints it; `None` for NaN, infinity, and encodings that are not canonical.
pub fn decimal(out: &mut Vec<u8>, low: u64, high: u64) -> Option<()> {
    const MOST: u128 = 10_u128.pow(34) - 1;
    if high >> 61 & 3 == 3 {
        return None;
    }
    let significand = u128::from(high & 0x1_FFFF_FFFF_FFFF) << 64 | u128::from(low);
    if significand > MOST {
        return None;
    }
    let exponent = (high >> 49 & 0x3FFF) as i32 - 6176;
    let digits = significand.to_string();
    let count = digits.len() as i32;
    let left = exponent + count;
    let point = if exponent <= 0 && left > -6 { left } else { 1 };
    if high >> 63 == 1 {
        out.push(b'-');
    }
    if point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + -point as usize, b'0');
        out.extend_from_slice(digits.as_bytes());
    } else if point >= count {
        out.extend_from_slice(digits.as_bytes());
        out.resize(out.len() + (point - count) as usize, b'0');
    } else {
        out.extend_from_slice(&digits.as_bytes()[..point as usize]);
        out.push(b'.');
        out.extend_from_slice(&digits.as_bytes()[point as usize..]);
    }
    if left != point {
        out.extend_from_slice(format!("E{:+}", left - point).as_bytes());
    }
    Some(())
}

/// The first millisecond that ISO 8601 cannot write with four digits of year.
pub const YEAR_10000: i64 = 253_402_300_800_000;

/// Whether `iso` can write this time: it is not before 1970, and its year has four digits.
pub fn has_four_digits(milliseconds: i64) -> bool {
    (0..YEAR_10000).contains(&milliseconds)
}

/// Milliseconds since the epoch (`has_four_digits`) as `2024-05-01T12:00:05.123Z`, without a fraction of zero.
pub fn iso(out: &mut Vec<u8>, milliseconds: i64) {
    let (days, rest) = (milliseconds / 86_400_000, milliseconds % 86_400_000);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": civil_from_days, for days of this era and later.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (place, value) in [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, rest / 3_600_000),
        (14, rest / 60_000 % 60),
        (17, rest / 1_000 % 60),
        (20, rest % 1_000 / 10),
    ] {
        text[place] += (value / 10) as u8;
        text[place + 1] += (value % 10) as u8;
    }
    text[22] += (rest % 10) as u8;
    out.extend_from_slice(&text);
    if rest % 1_000 == 0 {
        out.truncate(out.len() - ".000Z".len());
        out.push(b'Z');
    }
}

pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// A UUID's 16 bytes as `00010203-0405-0607-0809-0a0b0c0d0e0f`.
pub fn uuid(out: &mut Vec<u8>, bytes: &[u8]) {
    for (index, part) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
        if index > 0 {
            out.push(b'-');
        }
        hex(out, &bytes[part]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_are_written_like_pythons_repr() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.5, "1.5"),
            (100.0, "100.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e16, "1e+16"),
            (1.25e-7, "1.25e-07"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (-9_007_199_254_740_993.0, "-9007199254740992.0"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(written(|out| double_repr(out, value)), text);
        }
    }

    #[test]
    fn decimals_are_written_like_pythons_decimal() {
        let exponent = |power: i64| ((power + 6176) as u64) << 49;
        for (low, high, text) in [
            (0, exponent(0), "0"),
            (15, exponent(-1), "1.5"),
            (15, exponent(-1) | 1 << 63, "-1.5"),
            (1, exponent(-6), "0.000001"),
            (1, exponent(-7), "1E-7"),
            (123, exponent(3), "1.23E+5"),
            (0, exponent(-3), "0.000"),
        ] {
            assert_eq!(written(|out| decimal(out, low, high).unwrap()), text);
        }
    }

    #[test]
    fn decimals_that_are_no_canonical_numbers_are_left() {
        for high in [0x7800_u64 << 48, 0x7C00 << 48, 0x6000 << 48] {
            assert_eq!(decimal(&mut Vec::new(), 0, high), None);
        }
        let too_large = 10_u128.pow(34);
        let high = (too_large >> 64) as u64 | 6176 << 49;
        assert_eq!(decimal(&mut Vec::new(), too_large as u64, high), None);
    }

    #[test]
    fn times_have_milliseconds_only_if_they_need_them() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_714_564_805_123, "2024-05-01T12:00:05.123Z"),
            (YEAR_10000 - 1, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(written(|out| iso(out, milliseconds)), text);
        }
    }

    #[test]
    fn an_index_has_one_spelling() {
        assert!(is_index(b"10", 10));
        for name in [&b"010"[..], b"1", b"", b"a"] {
            assert!(!is_index(name, 10));
        }
    }
}

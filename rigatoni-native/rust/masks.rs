//! The methods of `mask`: what becomes of a value. The reference is `rigatoni_transforms.methods`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::bson::{DEEPEST, Elements, close, kind, open};
use crate::fallbacks::Reason;

/// Makes of a value one that tells less; of an array, one with the results for its elements.
pub enum Method {
    /// HMAC-SHA-256 with this key as 64 hexadecimal digits. Boxed, because it is large.
    Hash(Box<Hmac<Sha256>>),
    Partial,
    /// The characters that are kept.
    Truncate(usize),
    DateToYear,
}

impl Method {
    pub fn hash(key: &[u8]) -> Option<Self> {
        let begun = Hmac::new_from_slice(key).ok()?;
        Some(Self::Hash(Box::new(begun)))
    }

    /// Write the value that takes the place of one. Returns its type.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        type_: u8,
        value: &[u8],
        depth: usize,
    ) -> Result<u8, Reason> {
        match type_ {
            kind::NULL => Ok(kind::NULL),
            kind::ARRAY => self.of_elements(out, value, depth).map(|()| kind::ARRAY),
            _ => self.of_scalar(out, type_, value),
        }
    }

    fn of_elements(&self, out: &mut Vec<u8>, value: &[u8], depth: usize) -> Result<(), Reason> {
        if depth > DEEPEST {
            return Err(Reason::Depth);
        }
        let mut elements = Elements::of(value).ok_or(Reason::Damaged)?;
        let start = open(out);
        while !elements.is_empty() {
            let mut element = elements.next().ok_or(Reason::Damaged)?;
            let inner = element.raw()?;
            elements.after(&element.value);
            let place = element.write_head(out);
            out[place] = self.write(out, element.kind, inner, depth + 1)?;
        }
        close(out, start)
    }

    fn of_scalar(&self, out: &mut Vec<u8>, type_: u8, value: &[u8]) -> Result<u8, Reason> {
        match self {
            Self::Hash(begun) => write_hash(out, begun, type_, value)?,
            Self::Partial => write_partial(out, type_, value)?,
            Self::Truncate(length) => {
                let text = characters(type_, value)?;
                let end = text
                    .char_indices()
                    .nth(*length)
                    .map_or(text.len(), |(end, _)| end);
                write_text(out, &[&text.as_bytes()[..end]])?;
            }
            Self::DateToYear => {
                let date = date(type_, value).ok_or(Reason::Mask)?;
                out.extend_from_slice(&start_of_year(date).to_le_bytes());
                return Ok(kind::DATE);
            }
        }
        Ok(kind::STRING)
    }
}

fn write_hash(
    out: &mut Vec<u8>,
    begun: &Hmac<Sha256>,
    type_: u8,
    value: &[u8],
) -> Result<(), Reason> {
    let mut hash = begun.clone();
    match type_ {
        kind::STRING => hash.update(text(value)?),
        kind::INT32 | kind::INT64 => {
            let number = integer(type_, value).ok_or(Reason::Damaged)?;
            hash.update(itoa::Buffer::new().format(number).as_bytes());
        }
        kind::DOUBLE => {
            let number = f64::from_le_bytes(value.try_into().map_err(|_| Reason::Damaged)?);
            if number.fract() == 0.0 {
                // The second zero is that of -0.0. All digits of a large number are written.
                hash.update(format!("{:.0}", number + 0.0).as_bytes());
            } else {
                hash.update(&[type_, 0]);
                hash.update(value);
            }
        }
        kind::OBJECT_ID => {
            let mut digits = [0; 24];
            write_hexadecimal(value, &mut digits);
            hash.update(&digits);
        }
        kind::DOCUMENT => return Err(Reason::Mask),
        _ => {
            hash.update(&[type_, 0]);
            hash.update(value);
        }
    }
    let mut digits = [0; 64];
    write_hexadecimal(&hash.finalize().into_bytes(), &mut digits);
    write_text(out, &[&digits])
}

fn write_hexadecimal(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Stars, and the last four characters of at least eight.
fn write_partial(out: &mut Vec<u8>, type_: u8, value: &[u8]) -> Result<(), Reason> {
    let mut buffer = itoa::Buffer::new();
    let text = match integer(type_, value) {
        Some(number) => buffer.format(number),
        None => characters(type_, value)?,
    };
    let mut places = text.char_indices().rev().map(|(place, _)| place);
    let shown = places
        .nth(3)
        .filter(|_| places.nth(3).is_some())
        .map_or("", |place| &text[place..]);
    write_text(out, &[b"****", shown.as_bytes()])
}

fn integer(type_: u8, value: &[u8]) -> Option<i64> {
    match type_ {
        kind::INT32 => Some(i32::from_le_bytes(value.try_into().ok()?).into()),
        kind::INT64 => Some(i64::from_le_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

fn date(type_: u8, value: &[u8]) -> Option<i64> {
    let bytes = (type_ == kind::DATE).then(|| value.try_into().ok())??;
    Some(i64::from_le_bytes(bytes))
}

/// The bytes of a string, which may not be UTF-8.
fn text(value: &[u8]) -> Result<&[u8], Reason> {
    crate::bson::Value::at(value).text().ok_or(Reason::Damaged)
}

fn characters(type_: u8, value: &[u8]) -> Result<&str, Reason> {
    if type_ != kind::STRING {
        return Err(Reason::Mask);
    }
    std::str::from_utf8(text(value)?).map_err(|_| Reason::Text)
}

/// Write a string of these pieces.
fn write_text(out: &mut Vec<u8>, pieces: &[&[u8]]) -> Result<(), Reason> {
    let size = pieces.iter().map(|piece| piece.len()).sum::<usize>() + 1;
    let size = i32::try_from(size).map_err(|_| Reason::Damaged)?;
    out.extend_from_slice(&size.to_le_bytes());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out.push(0);
    Ok(())
}

/// The first moment of the year in UTC, both in milliseconds since the epoch.
fn start_of_year(date: i64) -> i64 {
    const DAY: i64 = 86_400_000;
    // Days since the first of March of the year 0, in which a leap day is the last of a year. The calendar repeats after
    // 400 years (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
    let days = date.div_euclid(DAY) + 719_468;
    let (cycles, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let january = cycles * 400 + year + i64::from(day_of_year >= 306);
    let before = january - 1; // the year whose end is wanted
    let start =
        365 * january + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) + 1
            - 719_528;
    start.saturating_mul(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{document, element, text as string};

    fn made(method: &Method, type_: u8, value: &[u8]) -> Result<(u8, Vec<u8>), Reason> {
        let mut out = Vec::new();
        let kind = method.write(&mut out, type_, value, 0)?;
        Ok((kind, out))
    }

    fn masked(method: &Method, text: &str) -> String {
        let (_, out) = made(method, kind::STRING, &string(text.as_bytes())).unwrap();
        String::from_utf8(out[4..out.len() - 1].to_vec()).unwrap()
    }

    #[test]
    fn a_hash_is_that_of_rfc_4231() {
        let method = Method::hash(b"Jefe").unwrap();
        let digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(masked(&method, "what do ya want for nothing?"), digest);
    }

    #[test]
    fn whole_numbers_have_one_hash_in_all_types() {
        let method = Method::hash(b"key").unwrap();
        let expected = made(&method, kind::STRING, &string(b"-5"));
        assert_eq!(
            made(&method, kind::INT32, &(-5_i32).to_le_bytes()),
            expected
        );
        assert_eq!(
            made(&method, kind::INT64, &(-5_i64).to_le_bytes()),
            expected
        );
        assert_eq!(
            made(&method, kind::DOUBLE, &(-5.0_f64).to_le_bytes()),
            expected
        );
        let zero = made(&method, kind::STRING, &string(b"0"));
        assert_eq!(made(&method, kind::DOUBLE, &(-0.0_f64).to_le_bytes()), zero);
        let large = made(&method, kind::STRING, &string(b"99999999999999991611392"));
        assert_eq!(made(&method, kind::DOUBLE, &1e23_f64.to_le_bytes()), large);
    }

    #[test]
    fn partial_shows_the_last_four_of_eight_characters() {
        for (text, expected) in [
            ("", "****"),
            ("1234567", "****"),
            ("12345678", "****5678"),
            ("ääääéééé", "****éééé"),
        ] {
            assert_eq!(masked(&Method::Partial, text), expected);
        }
    }

    #[test]
    fn truncate_counts_characters() {
        for (length, expected) in [(0, ""), (2, "éè"), (3, "éèa"), (4, "éèa")] {
            assert_eq!(masked(&Method::Truncate(length), "éèa"), expected);
        }
    }

    #[test]
    fn a_date_becomes_the_start_of_its_year() {
        let day = 86_400_000;
        for (date, expected) in [
            (0, 0),
            (-1, -365 * day),
            (365 * day - 1, 0),
            (365 * day, 365 * day),
            (951_782_400_000, 946_684_800_000), // 2000-02-29
            (978_307_199_999, 946_684_800_000), // the end of 2000
            (-62_135_596_800_001, -62_167_219_200_000), // the end of the year 0
            (i64::MIN, i64::MIN),
        ] {
            assert_eq!(start_of_year(date), expected, "{date}");
        }
    }

    #[test]
    fn elements_of_an_array_are_masked_and_keep_their_names() {
        let array = |one: &str, two: &str| {
            let inner = document(&[element(kind::STRING, b"x", &string(two.as_bytes()))]);
            document(&[
                element(kind::STRING, b"0", &string(one.as_bytes())),
                element(kind::NULL, b"1", &[]),
                element(kind::ARRAY, b"9", &inner),
            ])
        };
        let found = made(&Method::Truncate(1), kind::ARRAY, &array("ab", "cd"));
        assert_eq!(found, Ok((kind::ARRAY, array("a", "c"))));
    }

    #[test]
    fn values_that_do_not_suit_are_refused() {
        let hash = Method::hash(b"key").unwrap();
        for (method, type_, value, reason) in [
            (&hash, kind::DOCUMENT, document(&[]), Reason::Mask),
            (&Method::Partial, kind::DOUBLE, vec![0; 8], Reason::Mask),
            (&Method::Truncate(1), kind::INT32, vec![0; 4], Reason::Mask),
            (
                &Method::DateToYear,
                kind::STRING,
                string(b"x"),
                Reason::Mask,
            ),
            (
                &Method::Partial,
                kind::STRING,
                string(b"\xFF"),
                Reason::Text,
            ),
            (&hash, kind::ARRAY, vec![9, 0, 0, 0, 0], Reason::Damaged),
        ] {
            assert_eq!(made(method, type_, &value), Err(reason));
        }
    }
}

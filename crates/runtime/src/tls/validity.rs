//! The time in which a certificate is valid: two fields of its DER, read without the rest of X.509.

/// The Unix seconds from which, and until which, a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second in which it is valid.
    pub not_before: u64,
    /// The last second in which it is valid.
    pub not_after: u64,
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The tag of the optional version, `[0]`.
const VERSION: u8 = 0xa0;

impl Validity {
    /// The validity of a certificate in DER; `None` if the bytes are not a certificate.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let mut outer = Reader(certificate).expect(SEQUENCE)?;
        let mut fields = outer.expect(SEQUENCE)?;
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        }
        // Serial number, signature algorithm and issuer precede the validity.
        for _ in 0..3 {
            fields.next()?;
        }
        let mut times = fields.expect(SEQUENCE)?;
        Some(Self { not_before: times.time()?, not_after: times.time()? })
    }

    /// Whether the certificate is valid at this time.
    pub const fn holds_at(self, now: u64) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// Reads DER values one after the other.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The tag and the content of the next value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            // In the long form, this many bytes of length follow.
            let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next value, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<Self> {
        self.next().filter(|(got, _)| *got == tag).map(|(_, content)| Self(content))
    }

    /// The Unix second of a time in one of the two forms that RFC 5280 allows; 0 for a time before
    /// 1970.
    fn time(&mut self) -> Option<u64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match (tag, text.len()) {
            (UTC_TIME, 12) => {
                let year: i64 = text[..2].parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
            }
            (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
            _ => return None,
        };
        let part = |place: usize| rest[2 * place..2 * place + 2].parse::<i64>().ok();
        let (month, day) = (part(0)?, part(1)?);
        let (hour, minute, second) = (part(2)?, part(3)?, part(4)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        Some(u64::try_from(seconds).unwrap_or(0))
    }
}

/// The days from 1970 to a date of the Gregorian calendar. Years begin in March here, so that a
/// leap day is the last day of a year.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        let validity = Validity::of(&certificate((2024, 2, 29), (2026, 11, 30))).unwrap();
        assert_eq!(validity, Validity { not_before: 1_709_164_800, not_after: 1_795_996_800 });
        assert!(validity.holds_at(1_709_164_800) && validity.holds_at(1_795_996_800));
        assert!(!validity.holds_at(1_709_164_799) && !validity.holds_at(1_795_996_801));
        // From 2050 on, times have years of four digits.
        let validity = Validity::of(&certificate((1975, 1, 1), (4096, 1, 1))).unwrap();
        assert_eq!(validity, Validity { not_before: 157_766_400, not_after: 67_090_118_400 });
    }

    #[test]
    fn what_is_cut_off_is_no_certificate() {
        let whole = certificate((2024, 1, 1), (2025, 1, 1));
        for length in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..length]), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), place in any::<usize>()) {
            let _ = Validity::of(&bytes);
            let mut changed = certificate((2024, 1, 1), (2025, 1, 1));
            for (offset, byte) in bytes.iter().take(4).enumerate() {
                let place = place.wrapping_add(offset) % changed.len();
                changed[place] = *byte;
            }
            let _ = Validity::of(&changed);
        }
    }
}

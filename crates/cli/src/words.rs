//! Writes numbers and times in words.

/// Returns a number with its unit: `1 byte`, `2 bytes`, `3 batches`, `4 retries`.
pub fn count(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    if number == 1 {
        return format!("1 {what}");
    }
    match what.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ if ["s", "x", "ch", "sh"].iter().any(|end| what.ends_with(end)) => format!("{number} {what}es"),
        _ => format!("{number} {what}s"),
    }
}

/// Returns a span of time in its two largest units.
pub fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Describes how far a Unix time is from another one.
pub fn distance(time: u64, now: u64) -> String {
    match time.cmp(&now) {
        std::cmp::Ordering::Equal => "now".to_owned(),
        std::cmp::Ordering::Greater => format!("in {}", span(time - now)),
        std::cmp::Ordering::Less => format!("{} ago", span(now - time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|number| count(number, "byte")), ["0 bytes", "1 byte", "2 bytes"]);
        let words = ["batch", "address", "retry", "key"].map(|what| (count(1, what), count(2, what)));
        assert_eq!(words.map(|(_, many)| many), ["2 batches", "2 addresses", "2 retries", "2 keys"]);
    }

    #[test]
    fn times_of_any_size_are_shown() {
        assert_eq!(distance(1_061, 1_000), "in 1 min 1 s");
        assert_eq!(distance(0, 59), "59 s ago");
        assert_eq!(distance(9, 9), "now");
        assert_eq!(span(14 * 86_400 - 1), "13 d 23 h");
        assert_eq!(distance(u64::MAX, 0), "in 213503982334601 d 7 h");
    }
}

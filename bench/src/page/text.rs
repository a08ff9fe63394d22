//! The page's form of words and numbers.

use std::collections::BTreeSet;

use crate::report::Figure;

/// Writes a value with three significant digits.
pub fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    #[allow(clippy::cast_possible_truncation)] // Of a logarithm.
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 6);
    format!("{value:.*}", usize::try_from(digits).unwrap_or(0))
}

/// Writes a whole number with commas.
#[allow(clippy::cast_possible_truncation)] // Gas, bytes, money: far below 2^53.
pub(super) fn thousands(value: f64) -> String {
    let digits = (value.round() as i64).to_string();
    let first = digits.len() % 3;
    let groups =
        digits.as_bytes()[first..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (first > 0).then(|| digits[..first].to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

/// Writes a ratio, or a dash if there is none.
pub(super) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{} ×", short(ratio)))
}

/// Writes a figure's goal, with a mark if it is one that can be met.
pub(super) fn goal(figure: &Figure) -> String {
    match (&figure.goal, figure.met) {
        (Some(goal), Some(met)) => format!("{goal} {}", if met { '✓' } else { '✗' }),
        (Some(goal), None) => goal.clone(),
        (None, _) => String::new(),
    }
}

/// Returns a figure's name without its section.
pub(super) fn rest(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, rest)| rest)
}

/// Returns each item once, in the order in which the items come first.
pub(super) fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    all.filter(|item| seen.insert(*item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_enough() {
        let texts = [0.0, 0.001_234, 0.5, 1.0, 12.34, 123.4, 1_234.5].map(short);
        assert_eq!(texts, ["0", "0.00123", "0.500", "1.00", "12.3", "123", "1234"]);
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!([0.0, 999.0, 1_000.0, 1_234_567.6].map(thousands), ["0", "999", "1,000", "1,234,568"]);
    }
}

//! How results read: receipts, fields, times.

use dac_chain::Receipt;
use dac_cli::Output;
use serde_json::{Value, json};

/// The result of a transaction: its receipt is added to both.
pub(crate) fn sent(output: &Output, mut document: Value, receipt: &Receipt, text: &str) {
    if let Value::Object(fields) = &mut document {
        fields.insert("transaction".into(), json!(receipt.tx_hash));
        fields.insert("block".into(), json!(receipt.block));
        fields.insert("gas_used".into(), json!(receipt.gas_used));
    }
    output.result(document, || {
        format!(
            "{text}\ntransaction {} in block {}, {} gas",
            receipt.tx_hash, receipt.block, receipt.gas_used
        )
    });
}

/// Names and values, one a line.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// A Unix time for people: how far it is from another one.
pub(crate) fn distance(time: u64, now: u64) -> String {
    let span = |seconds: u64| {
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => format!("{seconds} s"),
            (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
            (0, _, _) => format!("{hours} h {minutes} min"),
            _ => format!("{days} d {hours} h"),
        }
    };
    if time >= now { format!("in {}", span(time - now)) } else { format!("{} ago", span(now - time)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_aligned() {
        assert_eq!(fields(&[("a", "1".into()), ("bcd", "2".into())]), "a    1\nbcd  2\n");
    }

    #[test]
    fn times_of_any_size_are_shown() {
        assert_eq!(distance(1_061, 1_000), "in 1 min 1 s");
        assert_eq!(distance(0, 59), "59 s ago");
        assert_eq!(distance(u64::MAX, 0), "in 213503982334601 d 7 h");
    }
}

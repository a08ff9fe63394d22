//! How results read: receipts, fields.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_aligned() {
        assert_eq!(fields(&[("a", "1".into()), ("bcd", "2".into())]), "a    1\nbcd  2\n");
    }
}

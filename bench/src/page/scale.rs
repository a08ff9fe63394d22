//! The page's section on the model: its errors, and its prediction for a large committee.

use std::fmt::Write;

use super::text::{short, thousands};
use crate::model::scale::{self, ABSENT, K, Line, N, PAYLOADS_MIB};
use crate::model::{FITTED_SEATS, Model, Point, Quantity, Shape, checked, prices};

/// Writes the section. Without a model, it says only why there is none.
pub(super) fn write(page: &mut String, points: &[Point], cores: f64, record_gas: Option<f64>) {
    page.push_str("### Scale\n\n");
    let (Some((fitted, others)), Some(model)) = (checked(points), Model::fit(points.iter())) else {
        let _ = writeln!(
            page,
            "No model: fitting it needs more systems than the {} that were measured on SQLite without TLS.\n",
            points.len()
        );
        return;
    };
    let _ = writeln!(
        page,
        "The model of a batch's cost is a sum of a few terms, whose parameters are not negative and are fitted by least squares of relative errors. To check the model, it is fitted on the systems\n\
         with {} and {} seats, and its predictions are compared with the other systems. The predicted MB/s are those at which all cores of this machine are busy, so the time that a system waits\n\
         for other things, above all for commits, is part of their errors. *Excluded*: TLS, PostgreSQL, L1, separate machines, networks slower than memory.\n",
        FITTED_SEATS[0], FITTED_SEATS[1]
    );
    errors(page, &fitted, &others, cores);
    let _ = writeln!(page, "A fit on all {} systems gives these parameters:\n", points.len());
    parameters(page, &model);
    match record_gas {
        Some(gas) => extrapolation(page, &scale::lines(&model, gas), gas),
        None => page
            .push_str("No extrapolation: the figure for the gas of recording a certificate is missing.\n\n"),
    }
}

/// Returns a cell of the table of errors: measured value, predicted value, error.
fn compared(measured: f64, predicted: f64) -> String {
    format!("{} / {} ({:+.0} %)", short(measured), short(predicted), (predicted / measured - 1.0) * 1e2)
}

fn payload(mib: f64) -> String {
    if mib < 1.0 { format!("{} KiB", mib * 1024.0) } else { format!("{mib} MiB") }
}

fn errors(page: &mut String, model: &Model, others: &[&Point], cores: f64) {
    page.push_str("| measured / predicted, of a batch | ");
    for quantity in Quantity::ALL {
        let _ = write!(page, "{}, {} | ", quantity.figure(), quantity.unit());
    }
    let _ = writeln!(page, "MB/s |\n|---|{}--:|", "--:|".repeat(Quantity::ALL.len()));
    let mut worst = 0.0_f64;
    for point in others {
        let Shape { n, payload_mib, .. } = point.shape;
        let _ = write!(page, "| n = {n}, {} | ", payload(payload_mib));
        for (quantity, measured) in Quantity::ALL.into_iter().zip(point.measured) {
            let predicted = model.predict(quantity, point.shape);
            worst = worst.max((predicted / measured - 1.0).abs());
            let _ = write!(page, "{} | ", compared(measured, predicted));
        }
        let _ = writeln!(page, "{} |", compared(point.capacity, model.rate_of_cores(point.shape, cores)));
    }
    let _ = writeln!(page, "\nThe largest error of a cost is {:.0} %.\n", worst * 1e2);
}

fn parameters(page: &mut String, model: &Model) {
    page.push_str("| of a batch | is |\n|---|---|\n");
    for quantity in Quantity::ALL {
        let terms: Vec<String> = model
            .parameters(quantity)
            .filter(|(_, parameter)| *parameter > 0.0)
            .map(|(term, parameter)| format!("{} · {}", short(parameter), term.name()))
            .collect();
        let _ = writeln!(page, "| {}, {} | {} |", quantity.figure(), quantity.unit(), terms.join(" + "));
    }
    page.push('\n');
}

fn extrapolation(page: &mut String, lines: &[Line], gas: f64) {
    let _ = writeln!(
        page,
        "By this model, {} MB/s of payload for {N} members, k = {K}, would take the following, with cores like these and each batch recorded on its own ({} gas each with {ABSENT} absent):\n",
        scale::BYTES_PER_SECOND / 1e6,
        thousands(gas)
    );
    let payloads: Vec<String> = PAYLOADS_MIB.iter().map(|mib| payload(*mib)).collect();
    let _ =
        writeln!(page, "| payloads of | {} |\n|---|{}", payloads.join(" | "), "--:|".repeat(payloads.len()));
    for line in lines {
        let values =
            line.values.map(|value| if value < 1e3 { short(value) } else { thousands(value.round()) });
        let unit = if line.unit.is_empty() { String::new() } else { format!(", {}", line.unit) };
        let _ = writeln!(page, "| {}{unit} | {} |", line.what, values.join(" | "));
    }
    let assumed: Vec<String> =
        prices::ALL.iter().map(|price| format!("{} {} {}", price.what, price.value, price.unit)).collect();
    let _ = writeln!(
        page,
        "\nPrices are assumptions (`bench/src/model/prices.rs`): {}. A member keeps a k-th part of each payload; one hour has {} GB of payload.\n",
        assumed.join("; "),
        thousands(scale::BYTES_PER_SECOND * 3_600.0 / 1e9)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::points;
    use crate::model::tests::figures;

    #[test]
    fn errors_parameters_and_money_are_told() {
        let mut page = String::new();
        write(&mut page, &points(&figures()), 2.0, Some(341_670.0));
        for text in [
            "| n = 64, 64 KiB |",
            "(+0 %)",
            "The largest error of a cost is 0 %.",
            "| aggregator CPU, ms | 2.00 · each batch + 0.300 · n + 4.00 · payload MiB + 1.50 · payload MiB · n / k |",
            "341,670 gas each with 85 absent",
            "| payloads of | 1 MiB | 8 MiB | 32 MiB | 64 MiB |",
            "| each member: keeps, an hour of retention, GB | 4.19 | 4.19 | 4.19 | 4.19 |",
            "an ether 3000 USD",
        ] {
            assert!(page.contains(text), "{text} in\n{page}");
        }
    }

    #[test]
    fn too_little_is_said_to_be_too_little() {
        let mut page = String::new();
        write(&mut page, &[], 2.0, None);
        assert!(page.contains("No model"), "{page}");
    }
}

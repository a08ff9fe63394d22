//! Fits parameters by least squares of relative errors. The parameters are not negative, because no
//! cost is negative.

/// A pivot below this counts as zero: the rows do not distinguish two terms.
const PIVOT_MIN: f64 = 1e-12;

/// Returns the parameters that minimise the sum of squares of (predicted − measured) / measured.
/// Each row has its terms and the measured value. Returns `None` if there are fewer rows than terms
/// or a measured value is zero.
///
/// With a handful of terms, every choice of those that are not zero can be tried.
pub fn relative(rows: &[(Vec<f64>, f64)]) -> Option<Vec<f64>> {
    let terms = rows.first()?.0.len();
    if rows.len() < terms || rows.iter().any(|(row, measured)| row.len() != terms || *measured <= 0.0) {
        return None;
    }
    // Each row is divided by its measured value, so that its predicted value should be one.
    let scaled: Vec<Vec<f64>> =
        rows.iter().map(|(row, measured)| row.iter().map(|term| term / measured).collect()).collect();
    let error = |parameters: &[f64]| -> f64 {
        let one = |row: &Vec<f64>| row.iter().zip(parameters).map(|(term, p)| term * p).sum::<f64>() - 1.0;
        scaled.iter().map(|row| one(row).powi(2)).sum()
    };
    let candidates = (1..1_u32 << terms).filter_map(|choice| {
        let chosen: Vec<usize> = (0..terms).filter(|term| choice >> term & 1 == 1).collect();
        let solved = least_squares(&scaled, &chosen)?;
        let mut parameters = vec![0.0; terms];
        for (term, parameter) in chosen.into_iter().zip(solved) {
            parameters[term] = parameter;
        }
        parameters.iter().all(|parameter| *parameter >= 0.0).then_some(parameters)
    });
    candidates.min_by(|one, other| error(one).total_cmp(&error(other)))
}

/// Solves the normal equations of the chosen columns, each scaled to length one, with one as the
/// value of every row.
fn least_squares(rows: &[Vec<f64>], chosen: &[usize]) -> Option<Vec<f64>> {
    let length = |term: usize| rows.iter().map(|row| row[term].powi(2)).sum::<f64>().sqrt();
    let lengths: Vec<f64> = chosen.iter().map(|term| length(*term)).collect();
    if lengths.iter().any(|length| *length <= 0.0) {
        return None;
    }
    let at = |row: &Vec<f64>, column: usize| row[chosen[column]] / lengths[column];
    let size = chosen.len();
    let mut matrix: Vec<Vec<f64>> = (0..size)
        .map(|i| {
            let products = (0..size).map(|j| rows.iter().map(|row| at(row, i) * at(row, j)).sum());
            products.chain([rows.iter().map(|row| at(row, i)).sum()]).collect()
        })
        .collect();
    for step in 0..size {
        let pivot = (step..size).max_by(|a, b| matrix[*a][step].abs().total_cmp(&matrix[*b][step].abs()))?;
        if matrix[pivot][step].abs() < PIVOT_MIN {
            return None;
        }
        matrix.swap(step, pivot);
        let row = matrix[step].clone();
        for (_, other) in matrix.iter_mut().enumerate().filter(|(index, _)| *index != step) {
            let factor = other[step] / row[step];
            for (value, own) in other.iter_mut().zip(&row) {
                *value -= factor * own;
            }
        }
    }
    Some((0..size).map(|i| matrix[i][size] / matrix[i][i] / lengths[i]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f64], expected: &[f64]) {
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-9, "{got} for {expected}");
        }
    }

    #[test]
    fn exact_rows_give_their_parameters() {
        let rows: Vec<_> =
            [1.0, 2.0, 5.0, 100.0].map(|x| (vec![1.0, x], 3.0 + 0.5 * x)).into_iter().collect();
        close(&relative(&rows).unwrap(), &[3.0, 0.5]);
    }

    #[test]
    fn nothing_is_negative() {
        // The values fall with x, so the best slope that is not negative is zero.
        let rows: Vec<_> = [1.0, 2.0, 3.0].map(|x| (vec![1.0, x], 10.0 - x)).into_iter().collect();
        let parameters = relative(&rows).unwrap();
        assert!(parameters[0] > 7.0 && parameters[1] == 0.0, "{parameters:?}");
    }

    #[test]
    fn errors_count_by_their_share() {
        // One term, measured as 100 and as 1: relative errors give the smaller value more weight.
        let parameters = relative(&[(vec![1.0], 100.0), (vec![1.0], 1.0)]).unwrap();
        assert!(parameters[0] < 2.0, "{parameters:?}");
    }

    #[test]
    fn what_cannot_be_fitted_is_not() {
        assert_eq!(relative(&[]), None);
        assert_eq!(relative(&[(vec![1.0, 2.0], 3.0)]), None, "one row, two terms");
        assert_eq!(relative(&[(vec![1.0], 0.0)]), None, "measured as nothing");
        // The two terms are the same, so one of them is left out.
        let same: Vec<_> = [1.0, 2.0].map(|x| (vec![x, x], 2.0 * x)).into_iter().collect();
        let parameters = relative(&same).unwrap();
        close(&[parameters[0] + parameters[1]], &[2.0]);
    }
}

//! What several rounds say together.

/// The middle one of values in rising order.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Their median, and from where to where they spread.
pub(crate) fn spread(sorted: &[f64]) -> String {
    format!("{:.2} ({:.2} to {:.2})", median(sorted), sorted[0], sorted[sorted.len() - 1])
}

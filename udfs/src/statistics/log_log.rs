//! Limits of a share by the log(-log) transform.

use crate::scalar::rate_ci::interval::Confidence;

/// The limits of a share `F` by the log(-log) transform, `F^exp(±z σ / (F ln F))`, which stay inside of (0, 1).
///
/// - `share`: in (0, 1), both excluded: there the transform has no value
/// - `variance`: of the share, `σ²`
/// - returns the lower and the upper limit
/// - source: J. D. Kalbfleisch and R. L. Prentice, "The Statistical Analysis of Failure Time Data" (1980), section 1.3
pub fn log_log_limits(share: f64, variance: f64, confidence: Confidence) -> (f64, f64) {
    let log = share.ln();
    let width = confidence.deviate() * variance.sqrt() / (share * -log);
    ((log * width.exp()).exp(), (log * (-width).exp()).exp())
}

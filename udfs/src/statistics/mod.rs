//! Statistics as plain functions on numbers, which the functions of SQL call.
//!
//! - [`life_table`]: how many follow-ups ended at each time, and how: what survival analysis starts from
//! - [`kaplan_meier`]: the share that is still open at a time, its quantiles, and the mean time
//! - [`aalen_johansen`]: the shares that were won and lost by a time, where each outcome competes with the other
//! - [`logrank`]: does an event come equally fast in all groups?
//! - [`cox`], [`weibull`]: which covariates make the event come sooner, and by which factor; rows and results are those of
//!   [`regression`], the maximum is found by [`newton`]
//! - [`least_squares`]: straight lines and differences, with standard errors for noise that isn't independent
//! - [`diff_in_diff`], [`interrupted_series`]: did something change at an instant, against a group that it didn't touch, or
//!   against the trend before it?
//! - [`attribution`]: which channels get the credit for a conversion
//! - [`bootstrap`]: limits of a sum over customers
//! - [`slope`]: how much more of one thing comes with more of another
//! - [`binomial`], [`fisher`], [`two_rates`]: probabilities of counts, and tests of two rates
//! - [`sequential`], [`looks`]: intervals that may be looked at any number of times, and what all looks together know
//! - [`posterior`], on [`quadrature`]: which of several rates or means is best; [`two_means`]: Welch's test; [`sample_size`]
//! - [`beta_binomial`]: what the rates of segments are once chance is taken out
//! - [`bottleneck`]: what a stage's better rate would bring, with its uncertainty
//! - [`adjust`]: what many tests at once do to each one's `p`
//! - [`log_log`]: limits of a share that stay inside of 0 and 1
//! - [`decomposition`]: how much of a product's change each factor accounts for; [`mix_rate`]: of a rate's change, its parts' rates and shares
//! - [`root_cause`]: where a change lies

pub mod aalen_johansen;
pub mod adjust;
pub mod attribution;
pub mod beta_binomial;
pub mod binomial;
pub mod bootstrap;
pub mod bottleneck;
pub mod cox;
pub mod decomposition;
pub mod diff_in_diff;
pub mod fisher;
pub mod interrupted_series;
pub mod kaplan_meier;
pub mod least_squares;
pub mod life_table;
pub mod log_log;
pub mod logrank;
pub mod looks;
pub mod mix_rate;
pub mod newton;
pub mod posterior;
pub mod quadrature;
pub mod regression;
pub mod root_cause;
pub mod sample_size;
pub mod sequential;
pub mod slope;
pub mod two_means;
pub mod two_rates;
pub mod weibull;

/// How far a share may be from a quantile and still count as having reached it.
///
/// A share that is a half by its counts can be computed as 0.5000000000000001, and its quantile must not be the next time. A
/// product of a million factors is off by less than this; two shares that differ by their counts differ by more, unless
/// there are 1e9 entities. R's `quantile.survfit` has 1.5e-8 in its place.
pub(crate) const QUANTILE_TOLERANCE: f64 = 1e-9;

/// The limits at 95 % of an estimate that is normal around the true value with that standard error.
pub(crate) fn two_sided(estimate: f64, spread: f64) -> (f64, f64) {
    let reach = NORMAL_975 * spread;
    (estimate - reach, estimate + reach)
}

/// The 97.5 % quantile of the normal distribution.
const NORMAL_975: f64 = 1.959_963_984_540_054;

//! Scalar functions: statistics of counts, and helpers of the table functions.

pub mod bar;
pub mod bottleneck_gains;
pub mod channel_credits;
pub mod clickhouse;
pub(crate) mod condition_mask;
pub mod drill_key;
pub mod eb_interval;
pub mod fisher_p;
pub(crate) mod formula;
pub mod journey_row;
pub mod odds_ratio_ci;
pub mod rate_ci;
pub mod rate_diff_ci;
pub mod rate_ratio_ci;
pub mod slope_ci;
pub mod survival;
pub mod z_test_p;

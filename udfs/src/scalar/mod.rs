//! Scalar functions: statistics of counts, and helpers of the table functions.

pub mod ab_bayes;
pub mod ab_best;
pub mod ab_sample_size;
pub mod ab_sequential;
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
pub mod mean_diff_ci;
pub mod norm_quantile;
pub mod odds_ratio_ci;
pub mod rate_ci;
pub mod rate_diff_ci;
pub mod rate_ratio_ci;
pub mod slope_ci;
pub mod srm_check;
pub mod survival;
pub mod z_test_p;

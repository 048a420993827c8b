//! Funnel analytics for Apache DataFusion.
//!
//! A company's data says what happened; a **funnel** says what that means: whose journey a row belongs
//! to, when it happened, which stage it enters. From it come **journeys**, one row for each entity, and
//! every other function is a plan over them.
//!
//! ```
//! # use datafusion::error::Result;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! use datafusion::prelude::SessionContext;
//!
//! let context = SessionContext::new();
//! datafusion_funnel::register_all(&context)?;
//! let rows = context
//!     .sql(
//!         "SELECT stage, entered, passed FROM stage_conversion(
//!            (SELECT column1 AS lead, column2 AS event, column3 AS at FROM (VALUES
//!               (1, 'acquired', TIMESTAMP '2026-01-05 09:00:00'),
//!               (1, 'won', TIMESTAMP '2026-01-20 09:00:00'),
//!               (2, 'acquired', TIMESTAMP '2026-01-06 09:00:00'))),
//!            entity => 'lead', time => 'at', stage => 'event', stages => ['acquired', 'won'])",
//!     )
//!     .await?
//!     .collect()
//!     .await?;
//! # assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! - [`definition`]: what a funnel is, and the plan that turns its rows into journeys
//! - [`table`]: the table functions, planned by [`table::FunnelPlanner`]
//! - [`aggregate`], [`scalar`], [`window`]: what those plans call, and what anybody may call
//! - [`statistics`]: the methods behind them, on counts and numbers
//! - [`spelling`]: the event functions as other engines write them
//! - [`optimizer`], [`physical`]: what DataFusion's optimizer can't know of journeys and event logs
//! - [`error`]: every fault with its SQLSTATE and hint

pub mod aggregate;
pub mod definition;
pub mod error;
pub mod optimizer;
pub mod physical;
pub mod scalar;
pub mod spelling;
pub mod statistics;
pub mod table;
pub mod window;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::{AggregateUDF, Documentation, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionContext;

mod registry;

pub use registry::FunnelRegistry;

/// The time zone of every timestamp inside: results are instants, shown in the session's zone at the edge.
pub const UTC: &str = "+00:00";

/// Every scalar function.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = vec![
        scalar::ab_bayes::ab_bayes_udf(),
        scalar::ab_best::ab_best_udf(),
        scalar::ab_best::ab_best_mean_udf(),
        scalar::ab_sample_size::ab_mde_udf(),
        scalar::ab_sample_size::ab_power_udf(),
        scalar::ab_sample_size::ab_sample_size_udf(),
        scalar::ab_sequential::ab_sequential_udf(),
        scalar::bar::bar_udf(),
        scalar::mask::mask_email_udf(),
        scalar::mask::mask_name_udf(),
        scalar::mask::mask_phone_udf(),
        scalar::channel_credits::channel_credits_udf(),
        scalar::bottleneck_gains::bottleneck_gains_udf(),
        scalar::change_effects::change_effects_udf(),
        scalar::drill_key::drill_key_udf(),
        scalar::eb_interval::eb_interval_udf(),
        scalar::fisher_p::fisher_p_udf(),
        scalar::journey_row::journey_row_udf(),
        scalar::mean_diff_ci::mean_diff_ci_udf(),
        scalar::norm_quantile::norm_quantile_udf(),
        scalar::lmdi_effect::lmdi_effect_udf(),
        scalar::log_mean::log_mean_udf(),
        scalar::mix_rate_effects::mix_rate_effects_udf(),
        scalar::odds_ratio_ci::odds_ratio_ci_udf(),
        scalar::odds_ratio_ci::odds_ratio_lower_udf(),
        scalar::odds_ratio_ci::odds_ratio_upper_udf(),
        scalar::rate_ci::rate_ci_udf(),
        scalar::rate_ci::rate_lower_udf(),
        scalar::rate_ci::rate_upper_udf(),
        scalar::rate_diff_ci::rate_diff_ci_udf(),
        scalar::rate_diff_ci::rate_diff_lower_udf(),
        scalar::rate_diff_ci::rate_diff_upper_udf(),
        scalar::rate_ratio_ci::rate_ratio_ci_udf(),
        scalar::rate_ratio_ci::rate_ratio_lower_udf(),
        scalar::rate_ratio_ci::rate_ratio_upper_udf(),
        scalar::slope_ci::slope_ci_udf(),
        scalar::srm_check::srm_check_udf(),
        scalar::z_test_p::z_test_p_udf(),
        scalar::root_causes::root_causes_udf(),
    ];
    functions.extend(scalar::survival::udfs());
    functions.extend(scalar::clickhouse::udfs());
    functions
}

/// Every aggregate function.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    vec![
        aggregate::attribution::attribution_udaf(),
        aggregate::bootstrap_sum::bootstrap_sum_udaf(),
        aggregate::ab_looks::ab_looks_udaf(),
        aggregate::cox_fit::cox_fit_udaf(),
        aggregate::cumulative_incidence::cumulative_incidence_udaf(),
        aggregate::did_fit::did_fit_udaf(),
        aggregate::eb_prior::eb_prior_udaf(),
        aggregate::intersect_count::intersect_count_udaf(),
        aggregate::its_fit::its_fit_udaf(),
        aggregate::journey::journey_udaf(),
        aggregate::life_table::life_table_udaf(),
        aggregate::range_retention::range_retention_count_udaf(),
        aggregate::range_retention::range_retention_sum_udaf(),
        aggregate::retention::retention_udaf(),
        aggregate::sequence::sequence_count_udaf(),
        aggregate::sequence::sequence_match_udaf(),
        aggregate::sequence::sequence_match_events_udaf(),
        aggregate::sequence_next_node::sequence_next_node_udaf(),
        aggregate::touch::first_touch_udaf(),
        aggregate::touch::last_touch_udaf(),
        aggregate::window_funnel::window_funnel_udaf(),
        aggregate::window_funnel::window_funnel_events_udaf(),
        aggregate::window_funnel_detail::window_funnel_attempts_udaf(),
        aggregate::window_funnel_detail::window_funnel_detail_udaf(),
    ]
}

/// Every window function.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    vec![
        window::p_adjust::p_adjust_udwf(),
        window::p_adjust::p_adjust_level_udwf(),
    ]
}

/// Registers the scalar, aggregate and window functions and the rules for logical plans; a caller with a catalog of its
/// own registers a [`table::FunnelPlanner`] beside them.
///
/// # Errors
/// None today; the signature leaves room for functions that need the session's settings.
pub fn register_functions(context: &SessionContext) -> Result<()> {
    for function in scalar_functions() {
        context.register_udf(function.as_ref().clone());
    }
    for function in aggregate_functions() {
        context.register_udaf(function.as_ref().clone());
    }
    for function in window_functions() {
        context.register_udwf(function.as_ref().clone());
    }
    context.add_optimizer_rule(Arc::new(optimizer::dimension_filter::DimensionFilter));
    // What is shared is known before filters are moved, and what the references need when they have been.
    context.add_analyzer_rule(Arc::new(optimizer::shared_journeys::ShareJourneys));
    context.add_optimizer_rule(Arc::new(optimizer::shared_journeys::SharedNeeds));
    Ok(())
}

/// Registers everything, and returns the registry that funnels are defined in.
///
/// # Errors
/// As [`register_functions`].
pub fn register_all(context: &SessionContext) -> Result<Arc<FunnelRegistry>> {
    register_functions(context)?;
    let registry = Arc::new(FunnelRegistry::default());
    let planner = table::FunnelPlanner::new(Arc::clone(&registry) as Arc<dyn table::FunnelLookup>);
    context.register_relation_planner(Arc::new(planner))?;
    Ok(registry)
}

/// What a function is, for catalogs and documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its name.
    pub name: String,
    /// What kind of function it is.
    pub kind: FunctionKind,
    /// Its arguments, as Postgres lists them.
    pub arguments: String,
    /// Its result's type, as Postgres names it.
    pub result: String,
    /// One sentence.
    pub description: String,
}

/// The kinds of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// A value for each row.
    Scalar,
    /// A value for each group.
    Aggregate,
    /// A value for each row, from the rows of its window.
    Window,
    /// Rows.
    Table,
}

/// Every function by name.
pub fn functions() -> Vec<FunctionInfo> {
    let mut infos = table::infos();
    infos.extend(scalar_functions().iter().map(|function| {
        info(
            function.name(),
            FunctionKind::Scalar,
            function.documentation(),
        )
    }));
    infos.extend(aggregate_functions().iter().map(|function| {
        info(
            function.name(),
            FunctionKind::Aggregate,
            function.documentation(),
        )
    }));
    infos.extend(window_functions().iter().map(|function| {
        info(
            function.name(),
            FunctionKind::Window,
            function.documentation(),
        )
    }));
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    infos
}

/// What the functions of one row, group or window return; `record` has the fields that their page lists.
const RESULTS: &[(&str, &str)] = &[
    ("attribution", "record[]"),
    ("ab_bayes", "record"),
    ("ab_best", "record[]"),
    ("ab_best_mean", "record[]"),
    ("ab_looks", "record[]"),
    ("ab_mde", "record"),
    ("ab_power", "double precision"),
    ("ab_sample_size", "record"),
    ("ab_sequential", "record"),
    ("bar", "text"),
    ("bootstrap_sum", "record"),
    ("bottleneck_gains", "record[]"),
    ("channel_credits", "record[]"),
    ("change_effects", "record[]"),
    ("cox_fit", "record[]"),
    ("cumulative_incidence", "record[]"),
    ("did_fit", "record"),
    ("drill_key", "text"),
    ("eb_interval", "record"),
    ("eb_prior", "record"),
    ("fisher_p", "double precision"),
    ("first_touch", "anyelement"),
    ("incidence_at", "record[]"),
    ("incidence_curve", "record[]"),
    ("incidence_quantile", "double precision"),
    ("intersect_count", "bigint"),
    ("its_fit", "record"),
    ("journey", "record"),
    ("journey_row", "record"),
    ("last_touch", "anyelement"),
    ("life_table", "record[]"),
    ("lmdi_effect", "double precision"),
    ("log_mean", "double precision"),
    ("logrank", "record"),
    ("mask_email", "text"),
    ("mask_name", "text"),
    ("mask_phone", "text"),
    ("mean_diff_ci", "record"),
    ("norm_quantile", "double precision"),
    ("mix_rate_effects", "record[]"),
    ("odds_ratio_ci", "record"),
    ("odds_ratio_lower", "double precision"),
    ("odds_ratio_upper", "double precision"),
    ("p_adjust", "double precision"),
    ("p_adjust_level", "double precision"),
    ("range_retention_count", "bigint[]"),
    ("range_retention_sum", "text[]"),
    ("rate_ci", "record"),
    ("rate_diff_ci", "record"),
    ("rate_diff_lower", "double precision"),
    ("rate_diff_upper", "double precision"),
    ("rate_lower", "double precision"),
    ("rate_ratio_ci", "record"),
    ("rate_ratio_lower", "double precision"),
    ("rate_ratio_upper", "double precision"),
    ("rate_upper", "double precision"),
    ("retention", "integer[]"),
    ("root_causes", "record[]"),
    ("sequence_count", "bigint"),
    ("sequence_match", "boolean"),
    ("sequence_match_events", "timestamp with time zone[]"),
    ("sequence_next_node", "text"),
    ("slope_ci", "record"),
    ("srm_check", "record"),
    ("survival_curve", "record[]"),
    ("survival_quantile", "double precision"),
    ("survival_rmst", "double precision"),
    ("survival_rmst_se", "double precision"),
    ("win_probabilities", "double precision[]"),
    ("win_probability", "double precision"),
    ("window_funnel", "integer"),
    ("window_funnel_attempts", "record[]"),
    ("window_funnel_detail", "record"),
    ("window_funnel_events", "timestamp with time zone[]"),
    ("z_test_p", "double precision"),
];

/// A function by its own documentation.
fn info(name: &str, kind: FunctionKind, documentation: Option<&Documentation>) -> FunctionInfo {
    let syntax = documentation
        .map(|text| text.syntax_example.as_str())
        .unwrap_or_default();
    let arguments = syntax
        .split_once('(')
        .map(|(_, rest)| rest.trim_end_matches(')'))
        .unwrap_or_default();
    let description = documentation
        .map(|text| text.description.as_str())
        .unwrap_or_default();
    let result = RESULTS
        .iter()
        .copied()
        .chain(scalar::clickhouse::results())
        .find(|(function, _)| *function == name)
        .map(|(_, result)| result);
    FunctionInfo {
        name: name.to_owned(),
        kind,
        arguments: arguments.trim().to_owned(),
        result: result.unwrap_or_default().to_owned(),
        description: description.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_says_what_it_takes_and_returns() {
        for function in functions() {
            let takes_nothing =
                ["metric_lint", "template_library"].contains(&function.name.as_str());
            assert_eq!(
                function.arguments.is_empty(),
                takes_nothing,
                "{}",
                function.name
            );
            assert!(!function.result.is_empty(), "{}", function.name);
            assert!(!function.description.is_empty(), "{}", function.name);
        }
    }

    #[test]
    fn no_two_functions_share_a_name() {
        let mut names: Vec<String> = functions().into_iter().map(|info| info.name).collect();
        for function in scalar_functions() {
            names.extend(function.aliases().iter().cloned());
        }
        for function in aggregate_functions() {
            names.extend(function.aliases().iter().cloned());
        }
        for function in window_functions() {
            names.extend(function.aliases().iter().cloned());
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

//! The functions in a DataFusion program of one's own, without FunnelSQL's server.
//!
//! Run with `cargo run -p datafusion-funnel --example funnel`.

use datafusion::error::Result;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_funnel::definition::model::{
    Counting, Dimension, FunnelDefinition, Interval, LostDefinition, Source, StageDefinition,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // The functions give their rows in the order of the stages; this keeps it.
    let config = SessionConfig::new().set_bool(
        "datafusion.sql_parser.enable_subquery_sort_elimination",
        false,
    );
    let context = SessionContext::new_with_config(config);
    let funnels = datafusion_funnel::register_all(&context)?;
    let events = "CREATE TABLE events AS SELECT * FROM (VALUES
        (1, 'lead', TIMESTAMP '2026-01-05 09:00:00', 'web', NULL),
        (1, 'proposal', TIMESTAMP '2026-01-09 15:00:00', NULL, NULL),
        (1, 'signed', TIMESTAMP '2026-02-01 10:00:00', NULL, NULL),
        (2, 'lead', TIMESTAMP '2026-01-06 09:00:00', 'web', NULL),
        (2, 'lost', TIMESTAMP '2026-01-20 09:00:00', NULL, 'price'),
        (3, 'lead', TIMESTAMP '2026-01-07 09:00:00', 'fair', NULL),
        (3, 'signed', TIMESTAMP '2026-01-30 09:00:00', NULL, NULL)
        ) AS t(customer, what, at, channel, why)";
    context.sql(events).await?.collect().await?;
    funnels.define(&context, sales()?).await?;

    for question in [
        "SELECT * FROM journeys('sales', as_of => '2026-03-01') ORDER BY customer",
        "SELECT channel, stage, entered, passed, lost, rate, lo, hi
         FROM stage_conversion('sales', by => 'channel', as_of => '2026-03-01')",
        "SELECT cohort, n, age, k, rate, mature
         FROM cohort_cycle('sales', ages => [20, 40], as_of => '2026-03-01')",
    ] {
        context.sql(question).await?.show().await?;
    }
    Ok(())
}

/// `CREATE FUNNEL sales ON events (ENTITY customer, TIME at, STAGE lead WHEN what = 'lead', …)`
fn sales() -> Result<FunnelDefinition> {
    let stage = |name: &str, event: &str| StageDefinition {
        name: name.to_owned(),
        when: Some(format!("what = '{event}'")),
        at: None,
        within: None,
    };
    Ok(FunnelDefinition {
        name: "sales".to_owned(),
        source: Source::Table("events".to_owned()),
        entity: "customer".to_owned(),
        time: Some("at".to_owned()),
        stages: vec![
            stage("lead", "lead"),
            stage("proposed", "proposal"),
            stage("won", "signed"),
        ],
        lost: Some(LostDefinition {
            when: Some("what = 'lost'".to_owned()),
            at: None,
            reason: Some("why".to_owned()),
        }),
        value: None,
        owner: None,
        dimensions: vec![Dimension {
            name: "channel".to_owned(),
            expression: "channel".to_owned(),
        }],
        window: Some(Interval::parse("30 days")?),
        counting: Counting::Ordered,
        related: Vec::new(),
        comment: None,
    })
}

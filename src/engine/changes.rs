//! `CREATE CHANGE` and `REVIEW CHANGE`: what was changed is checked before it is kept, and so is what came of it.

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion_funnel::definition::change::Review;
use datafusion_funnel::definition::model::FunnelDefinition;
use datafusion_funnel::definition::text::literal;
use datafusion_funnel::error::{FunnelError, Kind};

use super::outcome::{Notice, Outcome};
use super::session::Session;
use crate::catalog::now;
use crate::error::{Error, Result};
use crate::sql::{CreateChange, ReviewChange, StatementKind};

/// The columns of `REVIEW CHANGE`.
pub(super) const REVIEW_COLUMNS: [&str; 3] = ["change", "decision", "verdict"];
/// The columns of `SHOW CHANGES`.
pub(super) const CHANGES_COLUMNS: [&str; 8] = [
    "change", "funnel", "stage", "at", "segment", "note", "decision", "verdict",
];

impl Session {
    /// Keeps a change; its funnel, stage, time and segment have to be there.
    pub(super) async fn create_change(&self, create: &CreateChange) -> Result<Outcome> {
        let definition = &create.definition;
        let changes = self.engine.catalog.changes();
        if create.if_not_exists && changes.find(&definition.name).is_ok() {
            let message = format!("change \"{}\" already exists, skipping", definition.name);
            return Ok(Outcome::noted("CREATE CHANGE", Notice::plain(message)));
        }
        let places = create.places;
        let funnel = self.engine.catalog.funnel(&definition.funnel);
        let funnel = funnel.map_err(|error| error.at(places.funnel))?;
        check_stage(&funnel, &definition.stage)
            .map_err(|error| Error::from(error).at(places.stage))?;
        check_instant(&definition.at).map_err(|error| Error::from(error).at(places.at))?;
        if let Some(segment) = &definition.segment {
            let trial = format!(
                "SELECT 1 FROM journeys({}, steps => true) WHERE ({segment})",
                literal(&definition.funnel)
            );
            for statement in self.parse(&trial)? {
                if let StatementKind::Engine(engine_statement) = &statement.kind {
                    let planned = self.plan(&statement, engine_statement, None).await;
                    planned.map_err(|error| error.at(places.segment))?;
                }
            }
        }
        changes.create(definition.clone(), create.or_replace)?;
        Ok(Outcome::done("CREATE CHANGE"))
    }

    /// Reviews a change and keeps what was found. A SELECT of `review()` keeps nothing.
    pub(super) async fn review_change(&self, review: &ReviewChange) -> Result<Outcome> {
        let changes = self.engine.catalog.changes();
        let change = changes.find(&review.name)?;
        let as_of = review.options.iter().find(|(name, _)| *name == "as_of");
        let as_of = as_of.map_or_else(now, |(_, value)| value.clone());
        let mut arguments = vec![
            literal(&review.name),
            format!("as_of => {}", literal(&as_of)),
        ];
        for (name, value) in &review.options {
            if *name != "as_of" {
                arguments.push(format!("{name} => {}", literal(value)));
            }
        }
        let sql = format!(
            "SELECT metric, method, counterfactual, after, effect, lo, hi, decision, verdict FROM review({}) LIMIT 1",
            arguments.join(", ")
        );
        let batches = self.rows_of(&sql).await.map_err(|error| error.at(None))?;
        let Some(row) = batches.iter().find(|batch| batch.num_rows() > 0) else {
            return Err(DataFusionError::Internal("a review has no row".to_owned()).into());
        };
        let kept = Review {
            reviewed_at: now(),
            as_of,
            metric: text(row, "metric")?.unwrap_or_default(),
            method: text(row, "method")?,
            counterfactual: number(row, "counterfactual")?,
            after: number(row, "after")?,
            effect: number(row, "effect")?,
            lo: number(row, "lo")?,
            hi: number(row, "hi")?,
            decision: text(row, "decision")?.unwrap_or_default(),
            verdict: text(row, "verdict")?.unwrap_or_default(),
        };
        let shown = vec![
            review.name.clone(),
            kept.decision.clone(),
            kept.verdict.clone(),
        ];
        changes.add_review(&change.definition, kept)?;
        self.text_table(&REVIEW_COLUMNS, &[shown])
    }

    /// The rows of a query of our own.
    async fn rows_of(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        // A statement that runs another one: without the box, its future would be of endless size.
        Box::pin(self.query(sql)).await
    }

    /// The changes, with their latest verdicts.
    pub(super) async fn show_changes(&self) -> Result<Outcome> {
        let sql = format!(
            "SELECT {} FROM funnel.changes ORDER BY change",
            CHANGES_COLUMNS.join(", ")
        );
        let batches = self.rows_of(&sql).await?;
        let batch = match batches.first() {
            Some(first) => {
                concat_batches(&first.schema(), &batches).map_err(DataFusionError::from)?
            }
            None => RecordBatch::new_empty(super::session::text_schema(&CHANGES_COLUMNS)),
        };
        Ok(Outcome::table("SHOW", batch))
    }
}

fn check_stage(funnel: &FunnelDefinition, stage: &str) -> Result<(), FunnelError> {
    let names: Vec<String> = funnel
        .stages
        .iter()
        .map(|stage| stage.name.clone())
        .collect();
    if !names.iter().any(|name| name == stage) {
        return Err(FunnelError::Unknown {
            kind: Kind::Stage,
            name: stage.to_owned(),
            place: format!(" in funnel \"{}\"", funnel.name),
            existing: names,
        });
    }
    if names.last().is_some_and(|last| last == stage) {
        return Err(FunnelError::InvalidDefinition {
            message: format!(
                "stage \"{stage}\" is the last one, so no change can raise its conversion"
            ),
            hint: "Name the stage before it: the change acts on those that enter that one."
                .to_owned(),
        });
    }
    Ok(())
}

fn check_instant(at: &str) -> Result<(), FunnelError> {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    match ScalarValue::Utf8(Some(at.to_owned())).cast_to(&zoned) {
        Ok(_) => Ok(()),
        Err(_) => Err(FunnelError::InvalidArgument {
            message: format!("AT can't be \"{at}\": it is no date or timestamp"),
            hint: "Write AT '2026-03-01' or '2026-03-01 09:00:00+08'.".to_owned(),
        }),
    }
}

fn value(row: &RecordBatch, column: &str) -> Result<ScalarValue> {
    let found = row
        .column_by_name(column)
        .ok_or_else(|| DataFusionError::Internal(format!("a review has no column {column}")))?;
    debug_assert!(!found.is_empty());
    Ok(ScalarValue::try_from_array(found, 0)?)
}

fn text(row: &RecordBatch, column: &str) -> Result<Option<String>> {
    let found = value(row, column)?;
    Ok((!found.is_null()).then(|| found.to_string()))
}

fn number(row: &RecordBatch, column: &str) -> Result<Option<f64>> {
    match value(row, column)? {
        ScalarValue::Float64(found) => Ok(found),
        other => Err(DataFusionError::Internal(format!("{column} of a review is {other}")).into()),
    }
}

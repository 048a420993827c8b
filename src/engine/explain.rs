//! `EXPLAIN`: the plan as lines of one column, or as JSON, as Postgres' clients read it.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::displayable;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{self, VisitMut, VisitorMut};
use datafusion_funnel::definition::text::folded_name;
use futures::TryStreamExt;
use serde_json::{Map, Value, json};

use super::outcome::Outcome;
use super::output::text_rows;
use super::parameters;
use super::plan::{Planned, inner_mut};
use super::session::Session;
use super::turns::TURN_EXEC;
use crate::error::{Error, Result};
use crate::postgres::types;
use crate::sql::{ExplainOptions, Statement, StatementKind};

impl Session {
    pub(super) async fn explain(
        &self,
        statement: &Statement,
        explained: &EngineStatement,
        options: ExplainOptions,
        values: &[ScalarValue],
    ) -> Result<Outcome> {
        let prepared;
        let (statement, explained) = match explained {
            EngineStatement::Statement(inner)
                if matches!(inner.as_ref(), ast::Statement::Execute { .. }) =>
            {
                prepared = self.prepared_with_values(inner)?;
                (&prepared.0, &prepared.1)
            }
            _ => (statement, explained),
        };
        let mut planned = match self.row_change(explained)? {
            Some(change) => {
                let plan = self.plan_of_change(statement, &change, options.analyze);
                Planned::once(plan.await?, Vec::new())
            }
            None => self.plan(statement, explained, Some(values)).await?,
        };
        if let LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) | LogicalPlan::Copy(_) = planned.plan
        {
            return Err(not_explained());
        }
        planned.plan = parameters::bound(planned.plan, values, &self.locale())?;
        let lines = match options.analyze {
            false => {
                let physical = self.operators(&planned, &statement.sql).await?;
                let text = displayable(physical.as_ref())
                    .indent(options.verbose)
                    .to_string();
                text.lines().map(str::to_owned).collect::<Vec<String>>()
            }
            true => {
                let plan = LogicalPlanBuilder::from(planned.plan)
                    .explain(options.verbose, true)?
                    .build()?;
                let stream = self.stream(plan, &statement.sql).await?;
                let batches: Vec<RecordBatch> = stream
                    .try_collect()
                    .await
                    .map_err(|error| Error::from_engine(&error, &statement.sql))?;
                let mut lines = Vec::new();
                for batch in &batches {
                    for row in text_rows(batch)? {
                        let text = row.last().cloned().flatten().unwrap_or_default();
                        let shown = text.lines().filter(|line| !takes_turn(line));
                        lines.extend(shown.map(str::to_owned));
                    }
                }
                lines
            }
        };
        let lines: Vec<String> = match self.is_superuser() {
            true => lines,
            false => lines.iter().map(|line| without_files(line)).collect(),
        };
        // Columns of the engine's own are called so that no column of a table is.
        let plainly = |line: String| line.replace('\u{1f}', "");
        let lines: Vec<String> = lines.into_iter().map(plainly).collect();
        let lines = match options.json {
            true => vec![as_json(&lines)],
            false => lines,
        };
        let texts: ArrayRef = Arc::new(StringArray::from(lines));
        let batch =
            RecordBatch::try_new(schema(options), vec![texts]).map_err(DataFusionError::from)?;
        Ok(Outcome::table("EXPLAIN", batch).with(planned.notices))
    }

    /// The statement that an EXECUTE names, with its values in the place of parameters.
    fn prepared_with_values(
        &self,
        execute: &ast::Statement,
    ) -> Result<(Statement, EngineStatement)> {
        let ast::Statement::Execute {
            name: Some(name),
            parameters,
            ..
        } = execute
        else {
            return Err(not_explained());
        };
        let name = folded_name(name);
        let prepared = self.prepared_with(&name, parameters.len())?;
        let StatementKind::Engine(engine_statement) = &prepared.statement.kind else {
            return Err(not_explained());
        };
        let mut engine_statement = engine_statement.as_ref().clone();
        if let Some(inner) = inner_mut(&mut engine_statement) {
            let _ = inner.visit(&mut Values(parameters));
        }
        Ok((prepared.statement.clone(), engine_statement))
    }
}

fn not_explained() -> Error {
    Error::Unsupported {
        message: "this statement can't be explained".to_owned(),
        hint: Some("EXPLAIN shows how a query or a change of rows is run.".to_owned()),
    }
}

/// Puts values in the place of parameters.
struct Values<'a>(&'a [ast::Expr]);

impl VisitorMut for Values<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Value(value) = expression
            && let ast::Value::Placeholder(name) = &value.value
            && let Some(number) = parameters::number(name)
            && let Some(value) = self.0.get(number.wrapping_sub(1))
        {
            *expression = ast::Expr::Nested(Box::new(value.clone()));
        }
        ControlFlow::Continue(())
    }
}

/// Whether a line is of an operator that is in every plan that runs.
fn takes_turn(line: &str) -> bool {
    line.trim_start().starts_with(TURN_EXEC)
}

/// A line of a plan without the files that it reads: where they are is the server's affair, and a view may read what its
/// reader doesn't know of.
fn without_files(line: &str) -> String {
    const FILES: &str = "file_groups={";
    // Nor what another database is asked.
    if let Some((before, _)) = line.split_once(", sql=")
        && line.trim_start().starts_with("ForeignScan: ")
    {
        return before.to_owned();
    }
    match line.split_once(FILES) {
        // A path may have such brackets as well.
        Some((before, after)) => match after.rsplit_once('}') {
            Some((_, rest)) => format!("{before}{FILES}...}}{rest}"),
            None => format!("{before}{FILES}..."),
        },
        None => line.to_owned(),
    }
}

/// The column of an explanation.
pub fn schema(options: ExplainOptions) -> SchemaRef {
    let field = Field::new("QUERY PLAN", DataType::Utf8, true);
    let field = if options.json {
        types::marked(field, "json")
    } else {
        field
    };
    Arc::new(Schema::new(vec![field]))
}

/// The plan's nodes, each within the one that stands less far to the right above it.
fn as_json(lines: &[String]) -> String {
    let mut at = 0;
    let plan = node(lines, &mut at);
    let text = serde_json::to_string_pretty(&json!([{ "Plan": plan }]));
    text.unwrap_or_default()
}

fn node(lines: &[String], at: &mut usize) -> Value {
    let Some(line) = lines.get(*at) else {
        return Value::Null;
    };
    let depth = indent(line);
    let (name, details) = line.trim().split_once(": ").unwrap_or((line.trim(), ""));
    let mut map = Map::new();
    map.insert("Node Type".to_owned(), Value::from(name));
    map.insert("Parallel Aware".to_owned(), Value::from(false));
    if !details.is_empty() {
        map.insert("Details".to_owned(), Value::from(details));
    }
    *at += 1;
    let mut children = Vec::new();
    while lines.get(*at).is_some_and(|line| indent(line) > depth) {
        children.push(node(lines, at));
    }
    if !children.is_empty() {
        map.insert("Plans".to_owned(), Value::from(children));
    }
    Value::Object(map)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plans_of_plain_roles_name_no_files() {
        let line = "  DataSourceExec: file_groups={1 group: [[srv/a}b.csv]]}, projection=[a]";
        let shown = without_files(line);
        assert_eq!(shown, "  DataSourceExec: file_groups={...}, projection=[a]");
        assert_eq!(without_files("Filter: a = 1"), "Filter: a = 1");
        let line = "  ForeignScan: server=crm, sql=SELECT \"a\" FROM \"t\" WHERE \"b\" = ', sql='";
        assert_eq!(without_files(line), "  ForeignScan: server=crm");
    }

    #[test]
    fn nodes_stand_in_their_parents() {
        let lines: Vec<String> = ["Join: a", "  Scan: b", "    File: c", "  Scan: d"]
            .map(str::to_owned)
            .to_vec();
        let value: Value = serde_json::from_str(&as_json(&lines)).unwrap();
        let plan = &value[0]["Plan"];
        assert_eq!(plan["Plans"][0]["Plans"][0]["Details"], "c");
        assert_eq!(plan["Plans"][1]["Node Type"], "Scan");
    }
}

//! The schemas that the engine makes: `funnel` (what is defined) and `journeys` (a relation a funnel).

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::{MemTable, SchemaProvider, Session, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion_funnel::definition::model::{FunnelDefinition, StageDefinition};
use datafusion_funnel::table::{JOURNEYS_SCHEMA, journeys_plan};

use super::{Catalog, pg};
use crate::engine::DATABASE;

/// Where the definitions can be read as tables.
pub const FUNNEL_SCHEMA: &str = "funnel";

/// Registers the engine's own schemas.
///
/// # Errors
/// XX000 when the database isn't there.
pub fn register_schemas(
    context: &SessionContext,
    catalog: &Arc<Catalog>,
) -> Result<(), DataFusionError> {
    let database = context.catalog(DATABASE).ok_or_else(|| {
        DataFusionError::Internal(format!("database {DATABASE} is not registered"))
    })?;
    database.register_schema(
        FUNNEL_SCHEMA,
        Arc::new(FunnelSchema {
            catalog: Arc::clone(catalog),
        }),
    )?;
    let journeys = Arc::new(JourneysSchema {
        catalog: Arc::clone(catalog),
    });
    database.register_schema(JOURNEYS_SCHEMA, journeys)?;
    pg::register_pg_catalog(context)
}

/// `funnel.funnels` and `funnel.stages`, made when they are asked for.
#[derive(Debug)]
struct FunnelSchema {
    catalog: Arc<Catalog>,
}

#[async_trait]
impl SchemaProvider for FunnelSchema {
    fn table_names(&self) -> Vec<String> {
        vec!["funnels".to_owned(), "stages".to_owned()]
    }

    fn table_exist(&self, name: &str) -> bool {
        ["funnels", "stages"].contains(&name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let definitions = self.catalog.definitions();
        let batch = match name {
            "funnels" => funnels_batch(&definitions)?,
            "stages" => stages_batch(&definitions)?,
            _ => return Ok(None),
        };
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        Ok(Some(Arc::new(table)))
    }
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn column<T>(items: &[T], value: impl Fn(&T) -> Option<String>) -> Arc<StringArray> {
    Arc::new(items.iter().map(value).collect())
}

/// `funnel, source, entity, time, value, owner, dimensions, window, counting, stages, comment`
fn funnels_batch(definitions: &[Arc<FunnelDefinition>]) -> Result<RecordBatch, DataFusionError> {
    let names = [
        "funnel",
        "source",
        "entity",
        "time",
        "value",
        "owner",
        "dimensions",
        "window",
        "counting",
    ];
    let mut fields: Vec<Field> = names.iter().map(|name| text(name)).collect();
    fields.push(Field::new("stages", DataType::Int64, false));
    fields.push(text("comment"));
    let stages: Int64Array = definitions
        .iter()
        .map(|d| Some(i64::try_from(d.stages.len()).unwrap_or(i64::MAX)))
        .collect();
    let dimensions = |d: &Arc<FunnelDefinition>| {
        let names: Vec<&str> = d
            .dimensions
            .iter()
            .map(|dimension| dimension.name.as_str())
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        vec![
            column(definitions, |d| Some(d.name.clone())),
            column(definitions, |d| Some(d.source.to_string())),
            column(definitions, |d| Some(d.entity.clone())),
            column(definitions, |d| d.time.clone()),
            column(definitions, |d| d.value.clone()),
            column(definitions, |d| d.owner.clone()),
            column(definitions, dimensions),
            column(definitions, |d| {
                d.window.as_ref().map(|window| window.text().to_owned())
            }),
            column(definitions, |d| Some(d.counting.to_string())),
            Arc::new(stages),
            column(definitions, |d| d.comment.clone()),
        ],
    )?)
}

/// `funnel, stage_no, stage, condition, time, within`
fn stages_batch(definitions: &[Arc<FunnelDefinition>]) -> Result<RecordBatch, DataFusionError> {
    let stages: Vec<(&FunnelDefinition, usize, &StageDefinition)> = definitions
        .iter()
        .flat_map(|d| {
            d.stages
                .iter()
                .enumerate()
                .map(move |(at, stage)| (d.as_ref(), at, stage))
        })
        .collect();
    let fields = vec![
        text("funnel"),
        Field::new("stage_no", DataType::Int64, false),
        text("stage"),
        text("condition"),
        text("time"),
        text("within"),
    ];
    let numbers: Int64Array = stages
        .iter()
        .map(|(_, at, _)| Some(i64::try_from(at + 1).unwrap_or(i64::MAX)))
        .collect();
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        vec![
            column(&stages, |(d, ..)| Some(d.name.clone())),
            Arc::new(numbers),
            column(&stages, |(_, _, stage)| Some(stage.name.clone())),
            column(&stages, |(_, _, stage)| stage.when.clone()),
            column(&stages, |(d, _, stage)| {
                stage.at.clone().or_else(|| d.time.clone())
            }),
            column(&stages, |(_, _, stage)| {
                stage.within.as_ref().map(|w| w.text().to_owned())
            }),
        ],
    )?)
}

/// `journeys.sales` is `journeys('sales')`, for tools that list relations.
#[derive(Debug)]
struct JourneysSchema {
    catalog: Arc<Catalog>,
}

#[async_trait]
impl SchemaProvider for JourneysSchema {
    fn table_names(&self) -> Vec<String> {
        self.catalog.funnel_names()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.catalog
            .funnel_names()
            .iter()
            .any(|funnel| funnel == name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if !self.table_exist(name) {
            return Ok(None);
        }
        let plan = match self.catalog.resolve(self.catalog.base()?, name).await {
            Ok(funnel) => journeys_plan(&funnel),
            Err(error) => Err(error),
        };
        // One funnel whose source is gone must not keep clients from listing the others.
        Ok(Some(match plan {
            Ok(plan) => Arc::new(ViewTable::new(plan, None)),
            Err(error) => Arc::new(BrokenFunnel {
                error: Arc::new(error),
            }),
        }))
    }
}

/// A relation that can be listed, and says what is wrong with it when it is read.
#[derive(Debug)]
struct BrokenFunnel {
    error: Arc<DataFusionError>,
}

#[async_trait]
impl TableProvider for BrokenFunnel {
    fn schema(&self) -> Arc<Schema> {
        Arc::new(Schema::empty())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Err(DataFusionError::Shared(Arc::clone(&self.error)))
    }
}

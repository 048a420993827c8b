//! The schemas that the engine makes: `funnel` (what is defined) and `journeys` (a relation a funnel).

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{MemTable, SchemaProvider, Session, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion_funnel::definition::change::{KeptChange, Review};
use datafusion_funnel::definition::metric::{METRICS, Metric, MetricDefinition};
use datafusion_funnel::definition::model::{FunnelDefinition, StageDefinition};
use datafusion_funnel::table::{JOURNEYS_SCHEMA, journeys_plan};

use super::access::Object;
use super::audit_log::AuditLog;
use super::{Catalog, pg};
use crate::engine::{DATABASE, SessionInfo};

/// Where the definitions can be read as tables.
pub const FUNNEL_SCHEMA: &str = "funnel";

/// Registers the engine's own schemas.
///
/// # Errors
/// XX000 when the database isn't there.
pub async fn register_schemas(
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
    pg::register_pg_catalog(context, catalog).await
}

/// The tables of the schema.
const TABLES: [&str; 7] = [
    "audit_log",
    "changes",
    "funnels",
    "masks",
    "metrics",
    "reviews",
    "stages",
];

/// `funnel.funnels`, `funnel.stages`, `funnel.metrics`, `funnel.changes`, `funnel.reviews` and `funnel.masks`, made when they are
/// asked for; `funnel.audit_log`.
#[derive(Debug)]
struct FunnelSchema {
    catalog: Arc<Catalog>,
}

#[async_trait]
impl SchemaProvider for FunnelSchema {
    fn table_names(&self) -> Vec<String> {
        TABLES.map(str::to_owned).to_vec()
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.contains(&name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if name == "audit_log" {
            return Ok(Some(Arc::new(AuditLog(Arc::clone(&self.catalog)))));
        }
        let Some(name) = TABLES.into_iter().find(|table| *table == name) else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Definitions {
            name,
            schema: rows(&self.catalog, name, None)?.schema(),
            catalog: Arc::clone(&self.catalog),
        })))
    }
}

/// One of these tables; its rows are about the funnels that whoever reads it may ask.
#[derive(Debug)]
struct Definitions {
    name: &'static str,
    schema: SchemaRef,
    catalog: Arc<Catalog>,
}

#[async_trait]
impl TableProvider for Definitions {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let info = state.config().get_extension::<SessionInfo>();
        let role = info.map(|info| info.role());
        let batch = rows(&self.catalog, self.name, role.as_deref())?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        table.scan(state, projection, &[], limit).await
    }
}

/// The rows of a table, about the funnels that a role may ask and the tables that it may see; none for nobody.
fn rows(
    catalog: &Catalog,
    table: &str,
    role: Option<&str>,
) -> Result<RecordBatch, DataFusionError> {
    let asks = |funnel: &str| role.is_some_and(|role| catalog.may_ask(role, funnel));
    let definitions = || {
        let mut definitions = catalog.definitions();
        definitions.retain(|definition| asks(&definition.name));
        definitions
    };
    let changes = || {
        let mut changes = catalog.changes().all();
        changes.retain(|change| asks(&change.definition.funnel));
        changes
    };
    match table {
        "funnels" => funnels_batch(&definitions()),
        "stages" => stages_batch(&definitions()),
        "changes" => changes_batch(&changes()),
        "reviews" => reviews_batch(&changes()),
        "masks" => masks_batch(catalog, role),
        _ => {
            let mut metrics = catalog.metrics().all();
            metrics.retain(|metric| asks(&metric.funnel));
            metrics_batch(&metrics)
        }
    }
}

/// `schema, table, mask, column, roles, using`
fn masks_batch(catalog: &Catalog, role: Option<&str>) -> Result<RecordBatch, DataFusionError> {
    let mut masks: Vec<[String; 6]> = Vec::new();
    for kept in catalog.access().kept() {
        let Object::Relation { schema, name } = &kept.object else {
            continue;
        };
        let entry = catalog.access().known(&kept.object);
        if !role.is_some_and(|role| entry.shows(catalog.roles(), role)) {
            continue;
        }
        masks.extend(kept.masks.iter().map(|(mask, kept)| {
            let roles: Vec<&str> = kept.roles.iter().map(String::as_str).collect();
            let (column, roles) = (kept.column.clone(), roles.join(", "));
            let (schema, table) = (schema.clone(), name.clone());
            [
                schema,
                table,
                mask.clone(),
                column,
                roles,
                kept.using.clone(),
            ]
        }));
    }
    let names = ["schema", "table", "mask", "column", "roles", "using"];
    let columns = names.iter().enumerate();
    let columns = columns.map(|(at, name)| texts(name, &masks, |mask| Some(mask[at].clone())));
    batch(columns.collect())
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

/// The metric dictionary: one row for each metric that the engine has and each version of those that were defined.
fn metrics_batch(own: &[Arc<MetricDefinition>]) -> Result<RecordBatch, DataFusionError> {
    let names = [
        "metric",
        "funnel",
        "name_en",
        "name_zh",
        "description_en",
        "description_zh",
        "formula",
        "numerator",
        "denominator",
        "unit",
        "grain",
        "stage",
        "owner",
        "requires",
        "valid_from",
        "valid_to",
        "status",
    ];
    let mut rows: Vec<(Option<i64>, [Option<String>; 17])> =
        METRICS.iter().map(built_in_row).collect();
    rows.extend(own.iter().map(|metric| {
        let newest = own
            .iter()
            .all(|other| other.name != metric.name || other.version <= metric.version);
        own_row(metric, newest)
    }));
    let mut fields: Vec<Field> = names.iter().map(|name| text(name)).collect();
    fields.insert(1, Field::new("version", DataType::Int64, true));
    let mut columns: Vec<ArrayRef> = (0..names.len())
        .map(|at| column(&rows, |(_, row)| row[at].clone()) as ArrayRef)
        .collect();
    let versions: Int64Array = rows.iter().map(|(version, _)| *version).collect();
    columns.insert(1, Arc::new(versions));
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

fn built_in_row(metric: &Metric) -> (Option<i64>, [Option<String>; 17]) {
    let text = |text: &str| Some(text.to_owned());
    let (numerator, denominator) = metric.parts().unzip();
    let row = [
        text(metric.name),
        None,
        text(metric.names.en),
        text(metric.names.zh),
        text(metric.text.en),
        text(metric.text.zh),
        Some(metric.formula()),
        numerator,
        denominator,
        Some(metric.unit.to_string()),
        text("stage"),
        Some(metric.at.to_string()),
        text("funnelsql"),
        metric.clause(),
        None,
        None,
        text("current"),
    ];
    (None, row)
}

fn own_row(metric: &MetricDefinition, newest: bool) -> (Option<i64>, [Option<String>; 17]) {
    let counted = |condition: String| match condition.as_str() {
        "true" => "count(*)".to_owned(),
        condition => format!("count(*) FILTER (WHERE {condition})"),
    };
    let rate = metric.rate();
    let unit = metric
        .unit
        .clone()
        .or(rate.as_ref().map(|_| "rate".to_owned()));
    let (numerator, denominator) = rate.map(|rate| (counted(rate.k), counted(rate.n))).unzip();
    let row = [
        Some(metric.name.clone()),
        Some(metric.funnel.clone()),
        metric.name_en.clone(),
        metric.name_zh.clone(),
        metric.description_en.clone(),
        metric.description_zh.clone(),
        Some(metric.expression.clone()),
        numerator,
        denominator,
        unit,
        Some("journey".to_owned()),
        None,
        metric.owner.clone(),
        None,
        metric.valid_from.clone(),
        metric.valid_to.clone(),
        Some(if newest { "current" } else { "deprecated" }.to_owned()),
    ];
    (Some(i64::from(metric.version)), row)
}

/// A field and its values.
type Column = (Field, ArrayRef);

fn texts<T>(name: &str, items: &[T], value: impl Fn(&T) -> Option<String>) -> Column {
    (text(name), column(items, value))
}

fn batch(columns: Vec<Column>) -> Result<RecordBatch, DataFusionError> {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// What a review found; nothing where there was none.
fn review_columns(reviews: &[Option<&Review>]) -> Vec<Column> {
    let numbers = |name: &str, value: fn(&Review) -> Option<f64>| -> Column {
        let values = reviews.iter().map(|review| review.and_then(value));
        let values = Arc::new(values.collect::<Float64Array>());
        (Field::new(name, DataType::Float64, true), values)
    };
    let texts = |name: &str, value: fn(&Review) -> Option<String>| {
        texts(name, reviews, |review| review.and_then(value))
    };
    vec![
        texts("reviewed_at", |review| Some(review.reviewed_at.clone())),
        texts("as_of", |review| Some(review.as_of.clone())),
        texts("metric", |review| Some(review.metric.clone())),
        texts("method", |review| review.method.clone()),
        numbers("counterfactual", |review| review.counterfactual),
        numbers("after", |review| review.after),
        numbers("effect", |review| review.effect),
        numbers("lo", |review| review.lo),
        numbers("hi", |review| review.hi),
        texts("decision", |review| Some(review.decision.clone())),
        texts("verdict", |review| Some(review.verdict.clone())),
    ]
}

/// One row for each change, with what its latest review found and, where that is proven, the statement to use it again.
fn changes_batch(changes: &[Arc<KeptChange>]) -> Result<RecordBatch, DataFusionError> {
    let because: BooleanArray = changes
        .iter()
        .map(|change| Some(change.definition.because_worst))
        .collect();
    let counts: Int64Array = changes
        .iter()
        .map(|change| Some(i64::try_from(change.reviews.len()).unwrap_or(i64::MAX)))
        .collect();
    let latest: Vec<Option<&Review>> = changes.iter().map(|change| change.latest()).collect();
    let mut columns = vec![
        texts("change", changes, |c| Some(c.definition.name.clone())),
        texts("funnel", changes, |c| Some(c.definition.funnel.clone())),
        texts("stage", changes, |c| Some(c.definition.stage.clone())),
        texts("at", changes, |c| Some(c.definition.at.clone())),
        texts("segment", changes, |c| c.definition.segment.clone()),
        (
            Field::new("because_worst", DataType::Boolean, true),
            Arc::new(because) as ArrayRef,
        ),
        texts("note", changes, |c| c.definition.note.clone()),
        texts("created_at", changes, |c| Some(c.created_at.clone())),
        (
            Field::new("reviews", DataType::Int64, true),
            Arc::new(counts),
        ),
    ];
    columns.extend(review_columns(&latest));
    columns.push(texts("reuse", changes, |change| change.reuse()));
    batch(columns)
}

/// One row for each review that was kept, of a change oldest first.
fn reviews_batch(changes: &[Arc<KeptChange>]) -> Result<RecordBatch, DataFusionError> {
    let reviews: Vec<(&str, i64, &Review)> = changes
        .iter()
        .flat_map(|change| {
            let name = change.definition.name.as_str();
            (1..)
                .zip(&change.reviews)
                .map(move |(no, review)| (name, no, review))
        })
        .collect();
    let numbers: Int64Array = reviews.iter().map(|(_, no, _)| Some(*no)).collect();
    let found: Vec<Option<&Review>> = reviews.iter().map(|(_, _, review)| Some(*review)).collect();
    let mut columns = vec![
        texts("change", &reviews, |(name, ..)| Some((*name).to_owned())),
        (
            Field::new("review_no", DataType::Int64, true),
            Arc::new(numbers) as ArrayRef,
        ),
    ];
    columns.extend(review_columns(&found));
    batch(columns)
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

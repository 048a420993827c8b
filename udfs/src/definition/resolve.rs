//! Resolving a definition: its SQL texts get their meaning from the source's schema.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{DFSchema, TableReference};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::model::{Counting, FunnelDefinition, Source};
use super::related::{RelatedDefinition, RelatedKind, RelatedRows, ResolvedRelated};
use crate::UTC;
use crate::error::{FunnelError, Kind};
use crate::spelling;
use crate::table::journey_stages;

/// A part of `CREATE FUNNEL`, to say where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is the clause of its name
pub enum Part {
    Template,
    Source,
    Entity,
    Time,
    Stage(usize),
    Lost,
    Value,
    Owner,
    Dimensions,
    Window,
    Order,
    Related(RelatedKind),
}

/// A fault in a definition, and the part that it is in.
#[derive(Debug)]
pub struct ResolveError {
    /// The part, where it is one part's fault.
    pub part: Option<Part>,
    /// The fault.
    pub error: DataFusionError,
}

impl ResolveError {
    fn new(part: Part, error: impl Into<DataFusionError>) -> Self {
        Self {
            part: Some(part),
            error: error.into(),
        }
    }
}

impl From<FunnelError> for ResolveError {
    fn from(error: FunnelError) -> Self {
        Self {
            part: None,
            error: error.into(),
        }
    }
}

impl From<DataFusionError> for ResolveError {
    fn from(error: DataFusionError) -> Self {
        Self { part: None, error }
    }
}

/// A definition whose expressions are known to fit its source.
#[derive(Debug, Clone)]
pub struct ResolvedFunnel {
    /// The definition.
    pub definition: Arc<FunnelDefinition>,
    /// The source's rows.
    pub source: LogicalPlan,
    /// Whose journey a row belongs to.
    pub entity: Expr,
    /// The name of the entity's column in the results.
    pub entity_name: String,
    /// The shape of the source.
    pub shape: Shape,
    /// Why a journey was lost, as text.
    pub reason: Option<Expr>,
    /// What a journey is worth, as Float64.
    pub value: Option<Expr>,
    /// Who is responsible, as text.
    pub owner: Option<Expr>,
    /// Names and values of the dimensions.
    pub dimensions: Vec<(String, Expr)>,
    /// How long a journey may take.
    pub window: Option<IntervalMonthDayNano>,
    /// What the journeys are looked at together with.
    pub related: Vec<ResolvedRelated>,
}

/// How the source tells what happened.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Many rows for an entity: an event log or a stage history.
    Events {
        /// When a row happened; any date or timestamp type.
        time: Expr,
        /// The condition of each stage.
        stages: Vec<Expr>,
        /// The condition of a loss.
        lost: Option<Expr>,
    },
    /// One row for an entity, with a time for each stage.
    Wide {
        /// The time of each stage, NULL where its condition doesn't hold.
        stages: Vec<Expr>,
        /// The time of the loss.
        lost: Option<Expr>,
    },
}

impl ResolvedFunnel {
    /// The stages' names, first to last.
    pub fn stage_names(&self) -> Vec<String> {
        self.definition
            .stages
            .iter()
            .map(|stage| stage.name.clone())
            .collect()
    }

    /// The rows of a source beside the funnel's own, or why they can't be had; nothing where none is defined.
    pub fn related(&self, kind: RelatedKind) -> Option<Result<RelatedRows, Arc<DataFusionError>>> {
        let found = self.related.iter().find(|related| related.kind == kind);
        found.map(|related| related.rows.clone())
    }

    /// How entries count unless a query says otherwise.
    pub fn counting(&self) -> Counting {
        self.definition.counting
    }
}

/// Columns of `journeys` that every funnel has beside its entity, dimensions and stages.
pub const JOURNEY_COLUMNS: [&str; 11] = [
    "started_at",
    "furthest_stage",
    "status",
    "ended_at",
    "lost_stage",
    "lost_reason",
    "value",
    "owner",
    "skipped",
    "reentered",
    "back_moves",
];

/// The most stages that a funnel may have: one bit of a word each.
pub const MOST_STAGES: usize = 64;

/// Checks `definition` and gives its texts their meaning.
///
/// `state` knows the tables and functions that the definition names.
///
/// # Errors
/// 42P17 for a definition that can't work (fewer than two stages, no ENTITY, two shapes at once …),
/// 42710/42701 for names given twice, 42P01 and 42703 for tables and columns that don't exist, 42804
/// for a condition that isn't boolean or a time that isn't one.
pub async fn resolve(
    state: &SessionState,
    definition: &Arc<FunnelDefinition>,
) -> Result<ResolvedFunnel, ResolveError> {
    check_clauses(definition)?;
    let source = plan_source(state, &definition.source)
        .await
        .map_err(|error| ResolveError::new(Part::Source, error))?;
    let mut related_sources = Vec::with_capacity(definition.related.len());
    for related in &definition.related {
        related_sources.push(plan_source(state, &related.source).await);
    }
    let mut plan = |expr: &ast::Expr, schema: &DFSchema| {
        let mut expr = expr.clone();
        spelling::resolve(&mut expr).map_err(FunnelError::from)?;
        let expr = ast::ExprWithAlias { expr, alias: None };
        state.create_logical_expr_from_sql_expr(expr, schema)
    };
    let mut funnel = resolve_over(&mut plan, source, definition)?;
    for (related, source) in definition.related.iter().zip(related_sources) {
        let rows =
            source.and_then(|source| resolve_related(source, &mut plan, definition, related));
        funnel.related.push(ResolvedRelated {
            kind: related.kind,
            rows: rows.map_err(Arc::new),
        });
    }
    Ok(funnel)
}

/// A source beside the funnel's own. A fault of it is one of whoever asks for it, and not of the funnel.
fn resolve_related(
    source: LogicalPlan,
    plan: &mut PlanExpression<'_>,
    definition: &FunnelDefinition,
    related: &RelatedDefinition,
) -> Result<RelatedRows, DataFusionError> {
    let schema = Arc::clone(source.schema());
    let mut resolver = Resolver {
        plan,
        schema: &schema,
        place: place(&related.source),
    };
    let dimensions: Vec<&str> = definition
        .dimensions
        .iter()
        .map(|dimension| dimension.name.as_str())
        .collect();
    let names = related.names(&dimensions)?;
    let mut columns = Vec::with_capacity(names.len());
    for (name, column) in names.into_iter().zip(&related.columns) {
        let value = resolver
            .expression(Part::Related(related.kind), &column.expression)
            .map_err(|fault| fault.error)?;
        columns.push((name, value));
    }
    Ok(RelatedRows { source, columns })
}

/// Plans an expression of SQL over a schema.
pub type PlanExpression<'a> =
    dyn FnMut(&ast::Expr, &DFSchema) -> Result<Expr, DataFusionError> + 'a;

/// Gives the texts of a definition their meaning over a source that is planned already.
///
/// # Errors
/// As [`resolve`], but for the source's.
pub fn resolve_over(
    plan: &mut PlanExpression,
    source: LogicalPlan,
    definition: &Arc<FunnelDefinition>,
) -> Result<ResolvedFunnel, ResolveError> {
    let schema = Arc::clone(source.schema());
    let mut resolver = Resolver {
        plan,
        schema: &schema,
        place: place(&definition.source),
    };
    let entity = resolver.expression(Part::Entity, &definition.entity)?;
    let entity_name = column_name(&entity);
    let funnel = ResolvedFunnel {
        definition: Arc::clone(definition),
        entity,
        entity_name,
        shape: resolver.shape(definition)?,
        reason: resolver.reason(definition)?,
        value: resolver.cast_to(Part::Value, definition.value.as_deref(), &DataType::Float64)?,
        owner: resolver.cast_to(Part::Owner, definition.owner.as_deref(), &DataType::Utf8)?,
        dimensions: resolver.dimensions(definition)?,
        window: definition
            .window
            .as_ref()
            .map(super::model::Interval::value),
        related: Vec::new(),
        source,
    };
    check_names(&funnel)?;
    Ok(funnel)
}

/// The names of a source's columns.
///
/// # Errors
/// 42P01 for a table that doesn't exist, and every other fault of the source.
pub async fn source_columns(
    state: &SessionState,
    source: &Source,
) -> Result<Vec<String>, ResolveError> {
    let plan = plan_source(state, source)
        .await
        .map_err(|error| ResolveError::new(Part::Source, error))?;
    Ok(plan
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect())
}

/// What can be seen without the source.
///
/// # Errors
/// 42P17 and 42710, as [`resolve`].
pub fn check_clauses(definition: &FunnelDefinition) -> Result<(), ResolveError> {
    let invalid = |part, message: &str, hint: &str| {
        let error = FunnelError::InvalidDefinition {
            message: message.into(),
            hint: hint.into(),
        };
        Err(ResolveError {
            part,
            error: error.into(),
        })
    };
    let stages = &definition.stages;
    if definition.entity.is_empty() {
        return invalid(
            None,
            "a funnel needs ENTITY",
            "Add a clause such as ENTITY lead_id.",
        );
    }
    if stages.len() < 2 {
        let message = format!("a funnel needs at least two stages, not {}", stages.len());
        return invalid(
            None,
            &message,
            "Add clauses such as STAGE won WHEN event = 'signed'.",
        );
    }
    if stages.len() > MOST_STAGES {
        let message = format!(
            "a funnel has at most {MOST_STAGES} stages, not {}",
            stages.len()
        );
        return invalid(None, &message, "Leave out stages, or define two funnels.");
    }
    for (at, stage) in stages.iter().enumerate() {
        if stages[..at].iter().any(|before| before.name == stage.name) {
            let hint = "Give each stage a name of its own.".to_owned();
            let error = FunnelError::Duplicate {
                kind: Kind::Stage,
                name: stage.name.clone(),
                hint,
            };
            return Err(ResolveError::new(Part::Stage(at), error));
        }
    }
    check_shape(definition)
}

/// Either `TIME` and a condition for every stage, or a time `AT` every stage.
fn check_shape(definition: &FunnelDefinition) -> Result<(), ResolveError> {
    let invalid = |part, message: String, hint: &str| {
        let error = FunnelError::InvalidDefinition {
            message,
            hint: hint.into(),
        };
        Err(ResolveError {
            part,
            error: error.into(),
        })
    };
    let wide = definition.stages.iter().any(|stage| stage.at.is_some());
    for (index, stage) in definition.stages.iter().enumerate() {
        let part = Some(Part::Stage(index));
        if wide && stage.at.is_none() {
            let message = format!("stage \"{}\" has no AT, and other stages have", stage.name);
            return invalid(
                part,
                message,
                "A wide table needs AT with the date of every stage.",
            );
        }
        if !wide && stage.when.is_none() {
            let message = format!("stage \"{}\" has neither WHEN nor AT", stage.name);
            let hint =
                "Add WHEN with the condition of a row that enters the stage, or AT with its date.";
            return invalid(part, message, hint);
        }
    }
    if wide && definition.time.is_some() {
        let message = "TIME stands beside stages with AT".to_owned();
        return invalid(
            Some(Part::Time),
            message,
            "Leave TIME out: each stage has its own time.",
        );
    }
    if !wide && definition.time.is_none() {
        let hint = "Add a clause such as TIME occurred_at, or give each stage AT with its date.";
        return invalid(None, "a funnel over events needs TIME".to_owned(), hint);
    }
    match &definition.lost {
        Some(lost) if wide && lost.at.is_none() => {
            let hint = "Add AT with the date of the loss.";
            invalid(
                Some(Part::Lost),
                "LOST has no AT, and the stages have".to_owned(),
                hint,
            )
        }
        Some(lost) if !wide && (lost.when.is_none() || lost.at.is_some()) => {
            let hint = "Write LOST WHEN with the condition of a row that ends the journey.";
            invalid(
                Some(Part::Lost),
                "LOST of a funnel over events needs WHEN, not AT".to_owned(),
                hint,
            )
        }
        _ => Ok(()),
    }
}

async fn plan_source(
    state: &SessionState,
    source: &Source,
) -> Result<LogicalPlan, DataFusionError> {
    let sql = match source {
        Source::Table(table) => format!("SELECT * FROM {table}"),
        Source::Query(query) => query.clone(),
    };
    let dialect = state.config().options().sql_parser.dialect;
    let mut statement = state.sql_to_statement(&sql, &dialect)?;
    if let Statement::Statement(query) = &mut statement {
        spelling::resolve(query.as_mut()).map_err(FunnelError::from)?;
    }
    for table in state.resolve_table_references(&statement)? {
        if table.schema() == Some("journeys") {
            return Err(FunnelError::InvalidDefinition {
                message: format!("the source reads \"{table}\", which is itself a funnel's"),
                hint: "Define the funnel over the tables behind it.".to_owned(),
            }
            .into());
        }
        check_table(state, &table).await?;
    }
    state.statement_to_plan(statement).await
}

/// DataFusion names a missing table and nothing else; the nearest name is what a user needs.
async fn check_table(state: &SessionState, table: &TableReference) -> Result<(), DataFusionError> {
    let catalog = &state.config_options().catalog;
    let resolved = table
        .clone()
        .resolve(&catalog.default_catalog, &catalog.default_schema);
    let Some(provider) = state.catalog_list().catalog(&resolved.catalog) else {
        return Ok(());
    };
    if let Some(schema) = provider.schema(&resolved.schema)
        && schema.table(&resolved.table).await?.is_some()
    {
        return Ok(());
    }
    Err(FunnelError::Unknown {
        kind: Kind::Table,
        name: table.to_string(),
        place: String::new(),
        existing: table_names(state),
    }
    .into())
}

/// The tables that a user can name, with their schema where it isn't the default one.
pub fn table_names(state: &SessionState) -> Vec<String> {
    let options = &state.config_options().catalog;
    let Some(catalog) = state.catalog_list().catalog(&options.default_catalog) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for schema in catalog.schema_names() {
        if ["information_schema", "pg_catalog", "journeys"].contains(&schema.as_str()) {
            continue;
        }
        let tables = catalog
            .schema(&schema)
            .map(|provider| provider.table_names());
        names.extend(tables.unwrap_or_default().into_iter().map(|table| {
            match schema == options.default_schema {
                true => table,
                false => format!("{schema}.{table}"),
            }
        }));
    }
    names.sort();
    names
}

fn place(source: &Source) -> String {
    match source {
        Source::Table(table) => format!(" in {table}"),
        Source::Query(_) => " in the funnel's query".to_owned(),
    }
}

/// A plain column keeps its name.
fn column_name(expression: &Expr) -> String {
    match expression {
        Expr::Column(column) => column.name.clone(),
        _ => "entity".to_owned(),
    }
}

struct Resolver<'a, 'b> {
    plan: &'a mut PlanExpression<'b>,
    schema: &'a DFSchema,
    place: String,
}

/// Reads the SQL of an expression.
///
/// # Errors
/// 42601 for a text that is none, or more than one.
pub fn parse_expression(text: &str) -> Result<ast::Expr, DataFusionError> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text)?;
    let expression = parser.parse_expr()?;
    parser.expect_token(&Token::EOF)?;
    Ok(expression)
}

impl Resolver<'_, '_> {
    fn expression(&mut self, part: Part, text: &str) -> Result<Expr, ResolveError> {
        let expression = parse_expression(text).and_then(|sql| (self.plan)(&sql, self.schema));
        // An error of the type comes late, with the whole plan; asking for it brings it forward.
        expression
            .and_then(|expression| {
                expression
                    .get_type(self.schema)
                    .map(|_| expression.unalias())
            })
            .map_err(|error| ResolveError::new(part, self.name_column(error)))
    }

    /// An unknown column, in the words of the definition.
    fn name_column(&self, error: DataFusionError) -> DataFusionError {
        use datafusion::common::SchemaError;
        let DataFusionError::SchemaError(fault, _) = error.find_root() else {
            return error;
        };
        let SchemaError::FieldNotFound { field, .. } = fault.as_ref() else {
            return error;
        };
        FunnelError::Unknown {
            kind: Kind::Column,
            name: field.name.clone(),
            place: self.place.clone(),
            existing: self
                .schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
        }
        .into()
    }

    fn shape(&mut self, definition: &FunnelDefinition) -> Result<Shape, ResolveError> {
        let lost = definition.lost.as_ref();
        match &definition.time {
            Some(time) => Ok(Shape::Events {
                time: self.time(Part::Time, time)?,
                stages: definition
                    .stages
                    .iter()
                    .enumerate()
                    .map(|(at, stage)| self.condition(Part::Stage(at), stage.when.as_deref()))
                    .collect::<Result<_, _>>()?,
                lost: match lost {
                    Some(lost) => Some(self.condition(Part::Lost, lost.when.as_deref())?),
                    None => None,
                },
            }),
            None => Ok(Shape::Wide {
                stages: definition
                    .stages
                    .iter()
                    .enumerate()
                    .map(|(at, stage)| {
                        self.dated(Part::Stage(at), stage.at.as_deref(), stage.when.as_deref())
                    })
                    .collect::<Result<_, _>>()?,
                lost: match lost {
                    Some(lost) => {
                        Some(self.dated(Part::Lost, lost.at.as_deref(), lost.when.as_deref())?)
                    }
                    None => None,
                },
            }),
        }
    }

    /// A boolean expression.
    fn condition(&mut self, part: Part, text: Option<&str>) -> Result<Expr, ResolveError> {
        let text = text.unwrap_or("true");
        let expression = self.expression(part, text)?;
        let found = expression.get_type(self.schema)?;
        if found == DataType::Boolean {
            return Ok(expression);
        }
        let error = FunnelError::WrongType {
            message: format!("WHEN must be a condition, but {text} is of type {found}"),
            hint: "Write a comparison, such as WHEN event = 'contract_signed'.".to_owned(),
        };
        Err(ResolveError::new(part, error))
    }

    /// A date or timestamp of any kind.
    fn time(&mut self, part: Part, text: &str) -> Result<Expr, ResolveError> {
        let expression = self.expression(part, text)?;
        match expression.get_type(self.schema)? {
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Ok(expression),
            found => {
                let error = FunnelError::WrongType {
                    message: format!("{text} must be a date or timestamp, but is of type {found}"),
                    hint: format!("Cast it: {text}::timestamptz."),
                };
                Err(ResolveError::new(part, error))
            }
        }
    }

    /// The time where the condition holds.
    fn dated(
        &mut self,
        part: Part,
        at: Option<&str>,
        when: Option<&str>,
    ) -> Result<Expr, ResolveError> {
        let time = self.time(part, at.unwrap_or_default())?;
        if when.is_none() {
            return Ok(time);
        }
        let condition = self.condition(part, when)?;
        Ok(datafusion::logical_expr::when(condition, time).end()?)
    }

    fn reason(&mut self, definition: &FunnelDefinition) -> Result<Option<Expr>, ResolveError> {
        let reason = definition
            .lost
            .as_ref()
            .and_then(|lost| lost.reason.as_deref());
        self.cast_to(Part::Lost, reason, &DataType::Utf8)
    }

    fn cast_to(
        &mut self,
        part: Part,
        text: Option<&str>,
        target: &DataType,
    ) -> Result<Option<Expr>, ResolveError> {
        let Some(text) = text else { return Ok(None) };
        let expression = self.expression(part, text)?;
        let found = expression.get_type(self.schema)?;
        if target.is_numeric() && !found.is_numeric() && found != DataType::Null {
            let error = FunnelError::WrongType {
                message: format!("{text} must be a number, but is of type {found}"),
                hint: format!("Cast it: {text}::double precision."),
            };
            return Err(ResolveError::new(part, error));
        }
        Ok(Some(expression.cast_to(target, self.schema)?))
    }

    fn dimensions(
        &mut self,
        definition: &FunnelDefinition,
    ) -> Result<Vec<(String, Expr)>, ResolveError> {
        definition
            .dimensions
            .iter()
            .map(|dimension| {
                let expression = self.expression(Part::Dimensions, &dimension.expression)?;
                Ok((dimension.name.clone(), expression))
            })
            .collect()
    }
}

/// No two columns of `journeys` may have one name.
fn check_names(funnel: &ResolvedFunnel) -> Result<(), ResolveError> {
    let mut taken: Vec<String> = JOURNEY_COLUMNS
        .iter()
        .chain(&journey_stages::COLUMNS)
        .chain(&["steps", "deadline", "furthest_stage_no"])
        .map(|name| (*name).to_owned())
        .collect();
    taken.extend(funnel.stage_names().iter().map(|stage| stage_column(stage)));
    let hint = "Give it another name with AS.".to_owned();
    if taken.contains(&funnel.entity_name) {
        let hint = "Give the column another name in the funnel's source query.".to_owned();
        let name = funnel.entity_name.clone();
        let error = FunnelError::Duplicate {
            kind: Kind::Column,
            name,
            hint,
        };
        return Err(ResolveError::new(Part::Entity, error));
    }
    taken.push(funnel.entity_name.clone());
    for (name, _) in &funnel.dimensions {
        if taken.contains(name) {
            let error = FunnelError::Duplicate {
                kind: Kind::Dimension,
                name: name.clone(),
                hint,
            };
            return Err(ResolveError::new(Part::Dimensions, error));
        }
        taken.push(name.clone());
    }
    Ok(())
}

/// The column of `journeys` that says when a stage was reached.
pub fn stage_column(stage: &str) -> String {
    format!("{stage}_at")
}

/// The type of every instant inside.
pub fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

/// A column without a relation, whatever characters its name has.
pub fn column(name: &str) -> Expr {
    Expr::Column(datafusion::common::Column::new_unqualified(name))
}

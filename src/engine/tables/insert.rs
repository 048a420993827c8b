//! `INSERT`: rows that are written out or computed, and what happens to those whose key there is already.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::{concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::Field;
use datafusion::catalog::MemTable;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{self, Expr};
use datafusion_funnel::definition::text::folded;
use futures::TryStreamExt;

use super::RowChange;
use super::change::{Building, check_given, check_width, is_default, unsupported};
use super::local::Local;
use super::target::{
    Target, assigned, column_of, default_of, named, note_parameter, query, select,
};
use crate::engine::parameters::ParameterTypes;
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::postgres::types;
use crate::sql::{Overriding, Statement};
use crate::tables::{ColumnDefinition, DurableTable, Key, NewRows, Writer, distinct};

/// More rows than these go to a file at once, and are checked for their keys there.
const FEW_ROWS: u64 = 8192;

/// A change's query gives values behind a row's file, its place and its deed.
const VALUES: usize = 3;

/// What an insert did.
#[derive(Debug, Default)]
pub struct Inserted {
    /// How many rows were added or changed.
    pub count: u64,
    /// The rows, where they are wanted.
    pub returned: Vec<RecordBatch>,
}

/// Where the rows come from.
enum Source {
    /// They are written out.
    Rows(RecordBatch),
    /// They are computed, as columns of the table.
    Query(Box<ast::Query>),
}

/// What a row is for whose key there is already.
enum Conflict<'a> {
    /// An error.
    Fault,
    /// Left out, where it is one of these keys.
    Nothing(Vec<Key>),
    /// A change of the one that is there.
    Update(Key, &'a ast::DoUpdate),
}

impl<'a> Conflict<'a> {
    /// The keys that rows are compared by, and what is done with those that are there.
    fn parts(self) -> (Vec<Key>, Option<&'a ast::DoUpdate>) {
        match self {
            Self::Fault => (Vec::new(), None),
            Self::Nothing(keys) => (keys, None),
            Self::Update(key, update) => (vec![key], Some(update)),
        }
    }
}

impl Session {
    /// Adds rows to a table.
    pub(super) async fn insert_rows(
        &self,
        statement: &Statement,
        insert: &ast::Insert,
        change: &RowChange<'_>,
        values: &[ScalarValue],
    ) -> Result<Inserted> {
        let target = &change.target;
        let conflict = conflict_of(insert, target)?;
        let returning = insert.returning.is_some();
        let source = self
            .insert_source(statement, insert, change, Some(values))
            .await?
            .0;
        match (conflict, source) {
            (Conflict::Fault, Source::Rows(rows)) => {
                let count = rows.num_rows();
                let returned = returning.then(|| rows.clone()).into_iter().collect();
                self.append_batch(target, rows).await?;
                Ok(Inserted {
                    count: u64::try_from(count).unwrap_or(0),
                    returned,
                })
            }
            (Conflict::Fault, Source::Query(query)) => {
                self.flush_pending().await?;
                let local = change.local.clone();
                let stream = match is_numbered_in_order(insert, target) {
                    false => {
                        self.stream_of_query(statement, *query, &local, values)
                            .await?
                    }
                    true => {
                        let plan = self
                            .plan_of_query(statement, *query, &local, Some(values))
                            .await?;
                        self.stream_in_order(plan, &statement.sql).await?
                    }
                };
                self.append_stream(target, stream, returning).await
            }
            (conflict, source) => {
                self.flush_pending().await?;
                let rows = match source {
                    Source::Rows(rows) => vec![rows],
                    Source::Query(query) => {
                        let stream = self
                            .stream_of_query(statement, *query, &change.local, values)
                            .await?;
                        self.collect_rows(target, stream).await?
                    }
                };
                self.upsert(statement, insert, change, rows, conflict, values)
                    .await
            }
        }
    }

    /// Plans the rows of an insert, for the types of its parameters.
    pub(super) async fn plan_insert(
        &self,
        statement: &Statement,
        insert: &ast::Insert,
        change: &RowChange<'_>,
    ) -> Result<(Option<LogicalPlan>, ParameterTypes)> {
        let target = &change.target;
        let conflict = conflict_of(insert, target)?;
        let (source, mut types) = self.insert_source(statement, insert, change, None).await?;
        if let Conflict::Update(key, update) = conflict {
            // Its own parameters are found by planning it over no rows.
            let base = self.engine.tables().current(&target.table);
            let how = (&[key][..], Some(update));
            let (built, local) = self.upsert_query(
                statement,
                insert,
                change,
                Vec::new(),
                how,
                &mut types,
                &base,
            )?;
            let plan = self
                .plan_of_query(statement, built.query, &local, None)
                .await?;
            for (name, kind) in crate::engine::parameters::types(&plan)? {
                types.entry(name).or_insert(kind);
            }
        }
        let plan = match source {
            Source::Rows(_) => None,
            Source::Query(query) => Some(
                self.plan_of_query(statement, *query, &change.local, None)
                    .await?,
            ),
        };
        Ok((plan, types))
    }

    /// The rows of an insert: written out, or a query for all columns of the table. Without values for its parameters
    /// it is a query.
    async fn insert_source(
        &self,
        statement: &Statement,
        insert: &ast::Insert,
        change: &RowChange<'_>,
        values: Option<&[ScalarValue]>,
    ) -> Result<(Source, ParameterTypes)> {
        let (target, with) = (&change.target, change.with);
        let mut types = ParameterTypes::new();
        let columns = insert.columns.iter();
        let columns = columns.map(|name| target.assignee(name, &statement.sql));
        let columns = columns.collect::<Result<Vec<ast::Ident>>>()?;
        let listed = target.places(&columns, &statement.sql)?;
        let overriding = Overriding::of(insert);
        let all = target.shape.definition.columns.len();
        let places = |width: usize| match listed.is_empty() {
            true => (0..width.min(all)).collect(),
            false => listed.clone(),
        };
        let Some(source) = &insert.source else {
            let defaults = self.rows_of_defaults(target)?;
            return Ok((Source::Query(Box::new(defaults)), types));
        };
        if let ast::SetExpr::Values(written) = source.body.as_ref()
            && source.with.is_none()
            && source.order_by.is_none()
            && source.limit_clause.is_none()
        {
            let width = written.rows.first().map_or(0, |row| row.content.len());
            let places: Vec<usize> = places(width);
            let written = taken(target, &places, written, overriding)?;
            let written = &*written;
            if let Some(values) = values.filter(|_| with.is_none())
                && let Some(rows) = self.literal_rows(target, &places, written, values)?
            {
                return Ok((Source::Rows(rows), types));
            }
            let query = values_query(target, &places, source, written, with, &mut types)?;
            return Ok((Source::Query(Box::new(query)), types));
        }
        let mut inner = source.as_ref().clone();
        if let Some(with) = with {
            merge_with(&mut inner, with);
        }
        let plan = self
            .plan_of_query(statement, inner.clone(), &change.local, values)
            .await?;
        let width = plan.schema().fields().len();
        let mut places: Vec<Option<usize>> = places(width).into_iter().map(Some).collect();
        check_width(width, places.len())?;
        for (place, value) in places.iter_mut().zip(plan.schema().fields()) {
            if let Some(at) = *place {
                check_assigned(value, target.shape.schema.field(at))?;
            }
            let column = place.map(|at| target.column(at));
            match column {
                Some(column) if overriding == Overriding::User && column.identity.is_some() => {
                    *place = None;
                }
                Some(column) => check_given(column, overriding)?,
                None => {}
            }
        }
        let query = over_query(target, &places, inner)?;
        Ok((Source::Query(Box::new(query)), types))
    }

    /// One row of what columns are where nothing is given.
    fn rows_of_defaults(&self, target: &Target) -> Result<ast::Query> {
        let mut built = query("SELECT 1")?;
        let columns = target.shape.definition.columns.iter().map(|column| {
            let value = assigned(default_of(column)?, column);
            Ok(named(value, &column.name))
        });
        select(&mut built)?.projection = columns.collect::<Result<_>>()?;
        Ok(built)
    }

    /// Adds a few rows: in a transaction block they wait for more of them.
    pub(in crate::engine) async fn append_batch(
        &self,
        target: &Target,
        rows: RecordBatch,
    ) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.in_block() {
            return self.stage_rows(target, rows).await;
        }
        let mut writer = Writer::new(&target.table, &target.shape);
        if let Err(error) = writer.write(&rows).await {
            writer.abort().await;
            return Err(error);
        }
        let files = writer.finish().await?;
        let many = u64::try_from(rows.num_rows()).is_ok_and(|count| count > FEW_ROWS);
        let new = match many {
            true => NewRows::Files(files.clone()),
            false => NewRows::Batches(vec![rows]),
        };
        self.append_files(target, files, &new).await
    }

    /// Adds the rows of a stream, whose columns are the table's.
    pub(in crate::engine) async fn append_stream(
        &self,
        target: &Target,
        mut stream: SendableRecordBatchStream,
        returning: bool,
    ) -> Result<Inserted> {
        let _unfinished = target.table.begin();
        let mut inserted = Inserted::default();
        let room = self.reserve("RETURNING");
        let mut waiting: Vec<RecordBatch> = Vec::new();
        let mut writer: Option<Writer> = None;
        loop {
            let written = match stream.try_next().await {
                Ok(None) => break,
                Ok(Some(batch)) => target.rows(batch.columns()),
                Err(error) => Err(Error::from(error)),
            };
            let written = match written {
                Ok(rows) => {
                    inserted.count += u64::try_from(rows.num_rows()).unwrap_or(0);
                    let kept = match returning {
                        true => room.grow(rows.get_array_memory_size()),
                        false => Ok(()),
                    };
                    if returning {
                        inserted.returned.push(rows.clone());
                    }
                    waiting.push(rows);
                    match (kept, inserted.count > FEW_ROWS) {
                        (Err(error), _) => Err(error),
                        (Ok(()), false) => Ok(()),
                        (Ok(()), true) => {
                            let new = || Writer::new(&target.table, &target.shape);
                            let writer = writer.get_or_insert_with(new);
                            write_all(writer, &mut waiting).await
                        }
                    }
                }
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                if let Some(writer) = writer {
                    writer.abort().await;
                }
                return Err(error);
            }
        }
        match writer {
            Some(writer) => {
                let files = writer.finish().await?;
                let new = NewRows::Files(files.clone());
                self.append_files(target, files, &new).await?;
            }
            None if waiting.is_empty() => {}
            // Few of them: they may wait for others.
            None => {
                let rows = concat_batches(&target.shape.schema, &waiting);
                let rows = rows.map_err(DataFusionError::from)?;
                self.append_batch(target, rows).await?;
            }
        }
        Ok(inserted)
    }

    /// The rows of a stream, in memory.
    async fn collect_rows(
        &self,
        target: &Target,
        mut stream: SendableRecordBatchStream,
    ) -> Result<Vec<RecordBatch>> {
        let room = self.reserve("INSERT ... ON CONFLICT");
        let mut rows = Vec::new();
        while let Some(batch) = stream.try_next().await? {
            room.grow(batch.get_array_memory_size())?;
            rows.push(target.rows(batch.columns())?);
        }
        Ok(rows)
    }

    /// Adds rows, and changes those whose keys there are already.
    async fn upsert(
        &self,
        statement: &Statement,
        insert: &ast::Insert,
        change: &RowChange<'_>,
        rows: Vec<RecordBatch>,
        conflict: Conflict<'_>,
        values: &[ScalarValue],
    ) -> Result<Inserted> {
        let target = &change.target;
        let (keys, update) = conflict.parts();
        let how = (keys.as_slice(), update);
        let (base, writing) = self.begin_change(target).await?;
        let mut types = ParameterTypes::new();
        let mut rows = rows;
        if keys.len() > 1 {
            // One that is left out by a key keeps no other row from being added by another key.
            let (built, local) =
                self.upsert_query(statement, insert, change, rows, how, &mut types, &base)?;
            let mut stream = self
                .stream_of_query(statement, built.query, &local, values)
                .await?;
            rows = Vec::new();
            while let Some(batch) = stream.try_next().await? {
                rows.push(target.rows(&batch.columns()[VALUES..])?);
            }
        }
        let rows = one_a_key(target, &keys, rows, update.is_some())?;
        let built = self.upsert_query(statement, insert, change, rows, how, &mut types, &base)?;
        let (built, local) = built;
        let returning = insert.returning.is_some();
        let done = self
            .run_change(
                statement,
                target,
                &base,
                (built, local, types),
                values,
                (false, returning, None),
            )
            .await?;
        let (count, returned) = (done.count, done.returned);
        self.end_change(target, base, writing, done.removed, done.added)
            .await?;
        Ok(Inserted { count, returned })
    }

    #[allow(clippy::too_many_arguments, reason = "what an upsert is made of")]
    fn upsert_query(
        &self,
        statement: &Statement,
        insert: &ast::Insert,
        change: &RowChange<'_>,
        rows: Vec<RecordBatch>,
        (keys, update): (&[Key], Option<&ast::DoUpdate>),
        types: &mut ParameterTypes,
        base: &Arc<crate::tables::Version>,
    ) -> Result<(super::ChangeQuery, Local)> {
        let target = &change.target;
        let mut local = change.local.clone();
        let places = DurableTable::new(self.engine.tables(), &target.table)
            .shaped(Arc::clone(&target.shape))
            .at(Arc::clone(base))
            .with_places();
        // Whoever may insert is refused where a row's key is hidden from them, and isn't told of it here.
        let relation = local.add("target", Arc::new(target.guarded.over(Arc::new(places))))?;
        let given = MemTable::try_new(Arc::clone(&target.shape.schema), vec![rows])?;
        let excluded = local.add("excluded", Arc::new(given))?;
        let alias = match &insert.table_alias {
            Some(alias) => folded(&alias.alias),
            None => target.name().to_owned(),
        };
        let building = Building {
            target,
            relation,
            alias,
            sql: &statement.sql,
            types,
        };
        let mut built = building.upsert(&excluded, keys, update)?;
        if update.is_some() {
            built.query.with = change.with.cloned();
        }
        Ok((built, local))
    }
}

async fn write_all(writer: &mut Writer, rows: &mut Vec<RecordBatch>) -> Result<()> {
    for rows in std::mem::take(rows) {
        writer.write(&rows).await?;
    }
    Ok(())
}

/// Whether rows come in an order that their numbers are to follow.
fn is_numbered_in_order(insert: &ast::Insert, target: &Target) -> bool {
    let source = insert.source.as_deref();
    let ordered = source.is_some_and(|source| {
        source.order_by.is_some() || matches!(source.body.as_ref(), ast::SetExpr::Values(_))
    });
    let columns = &target.shape.definition.columns;
    ordered && columns.iter().any(|column| column.sequence().is_some())
}

/// What happens to rows whose keys there are already.
fn conflict_of<'a>(insert: &'a ast::Insert, target: &Target) -> Result<Conflict<'a>> {
    let conflict = match &insert.on {
        None => return Ok(Conflict::Fault),
        Some(ast::OnInsert::OnConflict(conflict)) => conflict,
        Some(_) => return Err(unsupported("ON DUPLICATE KEY UPDATE")),
    };
    let keys = target.shape.keys();
    let arbiters: Vec<Key> = match &conflict.conflict_target {
        None => keys,
        Some(ast::ConflictTarget::Columns(columns)) => {
            let mut named = target.places(columns, "")?;
            named.sort_unstable();
            let fits = |key: &Key| {
                let mut columns = key.columns.clone();
                columns.sort_unstable();
                columns == named
            };
            let found = keys.into_iter().find(fits);
            vec![found.ok_or_else(|| Error::Query {
                fault: Fault::InvalidColumnReference,
                message: "there is no unique or exclusion constraint matching the ON CONFLICT specification"
                    .to_owned(),
                position: None,
            })?]
        }
        Some(ast::ConflictTarget::OnConstraint(name)) => {
            let name = name.0.last().and_then(|part| part.as_ident()).map(folded);
            let name = name.unwrap_or_default();
            let found = keys.into_iter().find(|key| key.name == name && !key.index);
            vec![found.ok_or_else(|| Error::Query {
                fault: Fault::UndefinedObject,
                message: format!(
                    "constraint \"{name}\" for table \"{}\" does not exist",
                    target.name()
                ),
                position: None,
            })?]
        }
    };
    Ok(match &conflict.action {
        // Nothing can be there already where there is no key.
        ast::OnConflictAction::DoNothing if arbiters.is_empty() => Conflict::Fault,
        ast::OnConflictAction::DoNothing => Conflict::Nothing(arbiters),
        ast::OnConflictAction::DoUpdate(update) => {
            match (&conflict.conflict_target, arbiters.into_iter().next()) {
                (Some(_), Some(key)) => Conflict::Update(key, update),
                _ => {
                    return Err(Error::Syntax {
                        message: "ON CONFLICT DO UPDATE requires inference specification or constraint name"
                            .to_owned(),
                        position: None,
                    });
                }
            }
        }
    })
}

/// One row a key: several are an error where they would be changes of one row, and otherwise the first one counts.
fn one_a_key(
    target: &Target,
    keys: &[Key],
    rows: Vec<RecordBatch>,
    once: bool,
) -> Result<Vec<RecordBatch>> {
    let new = distinct(&target.shape, keys, &rows)?;
    let mut kept = Vec::with_capacity(rows.len());
    for (batch, new) in rows.into_iter().zip(new) {
        if once && new.contains(&false) {
            return Err(ChangeFault::Twice
                .error("ON CONFLICT DO UPDATE command cannot affect row a second time")
                .hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
                .into());
        }
        kept.push(match new.contains(&false) {
            false => batch,
            true => filter_record_batch(&batch, &BooleanArray::from(new))
                .map_err(DataFusionError::from)?,
        });
    }
    Ok(kept)
}

/// Written rows with values to be computed: each one as its column's.
fn values_query(
    target: &Target,
    places: &[usize],
    source: &ast::Query,
    written: &ast::Values,
    with: Option<&ast::With>,
    types: &mut ParameterTypes,
) -> Result<ast::Query> {
    let mut inner = source.clone();
    let mut rows = written.clone();
    for row in &mut rows.rows {
        check_width(row.content.len(), places.len())?;
        for (value, at) in row.content.iter_mut().zip(places) {
            let column = target.column(*at);
            if is_default(value) {
                *value = default_of(column)?;
            }
            note_parameter(value, target.shape.schema.field(*at), types);
            let given = std::mem::replace(value, Expr::Value(ast::Value::Null.into()));
            *value = assigned(given, column);
        }
    }
    inner.body = Box::new(ast::SetExpr::Values(rows));
    if let Some(with) = with {
        merge_with(&mut inner, with);
    }
    let places: Vec<Option<usize>> = places.iter().copied().map(Some).collect();
    over_query(target, &places, inner)
}

/// Values that are given for columns which always have their own: refused, taken or left out.
fn taken<'a>(
    target: &Target,
    places: &[usize],
    written: &'a ast::Values,
    overriding: Overriding,
) -> Result<Cow<'a, ast::Values>> {
    let has_own =
        |column: &ColumnDefinition| column.identity.is_some() || column.generated.is_some();
    if !places.iter().any(|at| has_own(target.column(*at))) {
        return Ok(Cow::Borrowed(written));
    }
    let mut written = written.clone();
    for row in &mut written.rows {
        for (value, at) in row.content.iter_mut().zip(places) {
            let column = target.column(*at);
            if is_default(value) {
                continue;
            }
            match overriding == Overriding::User && column.identity.is_some() {
                true => *value = Expr::Identifier(ast::Ident::new("DEFAULT")),
                false => check_given(column, overriding)?,
            }
        }
    }
    Ok(Cow::Owned(written))
}

/// What values of a type are assigned to: nothing else takes them. Texts aren't among them, for whether one is a column's or the
/// statement's isn't known, so that it is read.
fn given_family(kind: &str) -> Option<&'static str> {
    match kind {
        "bool" => Some("truth value"),
        "int2" | "int4" | "int8" | "numeric" | "float4" | "float8" => Some("number"),
        "date" | "timestamp" | "timestamptz" => Some("day"),
        _ => None,
    }
}

/// What columns of a type take.
pub fn own_family(kind: &str) -> Option<&'static str> {
    match kind {
        "json" | "jsonb" => Some("document"),
        "bytea" => Some("bytes"),
        "interval" => Some("interval"),
        "uuid" => Some("uuid"),
        kind => given_family(kind),
    }
}

/// Refuses a query's column where none of its values can be assigned: a truth value, a number or a day in the place of something
/// else.
///
/// # Errors
/// 42804.
pub fn check_assigned(value: &Field, column: &Field) -> Result<()> {
    let (given, own) = (types::type_of(value), types::type_of(column));
    match (given_family(&given), own_family(&own)) {
        (Some(of_given), Some(of_own)) if of_given != of_own => {
            let message = format!(
                "column \"{}\" is of type {} but expression is of type {}",
                column.name(),
                types::sql_name(&own, -1),
                types::sql_name(&given, -1)
            );
            let error = ChangeFault::Other("42804").error(message);
            let hint = "You will need to rewrite or cast the expression.";
            Err(error.hint(hint).into())
        }
        _ => Ok(()),
    }
}

/// A query's columns as the table's, and defaults in the place of the others; those without a place are left out.
fn over_query(target: &Target, places: &[Option<usize>], inner: ast::Query) -> Result<ast::Query> {
    const GIVEN: &str = "\u{1f}given";
    let names: Vec<String> = (0..places.len()).map(|at| format!("\"{at}\"")).collect();
    let mut built = query(&format!(
        "SELECT 1 FROM (SELECT 1) AS \"{GIVEN}\" ({})",
        names.join(", ")
    ))?;
    let columns = target
        .shape
        .definition
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let value = match places.iter().position(|place| *place == Some(at)) {
                Some(given) => column_of(GIVEN, &given.to_string()),
                None => default_of(column)?,
            };
            Ok(named(assigned(value, column), &column.name))
        });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let outer = select(&mut built)?;
    outer.projection = columns;
    if let Some(from) = outer.from.first_mut()
        && let ast::TableFactor::Derived { subquery, .. } = &mut from.relation
    {
        **subquery = inner;
    }
    Ok(built)
}

/// The queries that stand before an insert are its query's.
fn merge_with(query: &mut ast::Query, with: &ast::With) {
    match &mut query.with {
        Some(own) => {
            let mut tables = with.cte_tables.clone();
            tables.append(&mut own.cte_tables);
            own.cte_tables = tables;
            own.recursive |= with.recursive;
        }
        None => query.with = Some(with.clone()),
    }
}

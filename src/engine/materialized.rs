//! Materialized views: they are made, refreshed, and dropped.
//!
//! A view with a watermark is refreshed by the rows whose watermark is the last one seen, or later, or NULL: each takes the
//! place of the row with its key. So rows that share the last watermark are read once more and nothing is missed; of a row
//! that was deleted at its source nobody is told, until all are read again (`REFRESH MATERIALIZED VIEW FULL`).

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, JoinType, ScalarValue, TableReference};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion_funnel::definition::text::{identifier, literal};
use datafusion_funnel::error::{FunnelError, Kind};
use futures::StreamExt;
use uuid::Uuid;

use super::outcome::{Notice, Outcome};
use super::session::Session;
use super::{DEFAULT_SCHEMA, Engine, output};
use crate::catalog::{
    Change, FETCHED, KeptStatement, MaterializedView, Recipe, Rows, VIEWS_FOLDER, unguarded,
};
use crate::error::{Error, Fault, Result};
use crate::postgres::{columns, names};
use crate::sql::{CreateMaterialized, MaterializedStatement, StatementKind};
use crate::storage::Place;

/// The options of a materialized view.
const OPTIONS: [&str; 2] = ["watermark", "key"];
/// Those that only the kept statement has: where the rows are, and whose view it is.
const KEPT_OPTIONS: [&str; 2] = ["storage", "owner"];

/// What a refresh did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refreshed {
    /// The rows that were read.
    pub read: u64,
    /// The rows that there are now.
    pub rows: u64,
    /// Only new ones were read.
    pub incremental: bool,
}

impl Session {
    pub(super) async fn run_materialized(
        &self,
        statement: &MaterializedStatement,
    ) -> Result<Outcome> {
        let tag = statement.tag();
        match statement {
            MaterializedStatement::Create(create) => {
                self.check_superuser_to("create a materialized view")?;
                self.create_materialized(create).await
            }
            MaterializedStatement::Refresh {
                relation,
                full,
                with_data,
            } => {
                self.check_superuser_to("refresh a materialized view")?;
                let (_, table) = self.materialized(relation)?;
                let view = as_view(&table)?;
                match with_data {
                    true => {
                        self.engine.refresh_view(view, *full).await?;
                    }
                    false => {
                        let _one = view.lock().await;
                        view.empty()?;
                    }
                }
                Ok(Outcome::done(tag))
            }
            MaterializedStatement::Drop {
                relations,
                if_exists,
            } => {
                self.check_superuser_to("drop a materialized view")?;
                let mut notices = Vec::new();
                for relation in relations {
                    match self.materialized(relation) {
                        Ok((reference, table)) => self.drop_materialized(&reference, &table)?,
                        Err(error) if *if_exists && error.code() == "42P01" => {
                            let name = relation.join(".");
                            let text =
                                format!("materialized view \"{name}\" does not exist, skipping");
                            notices.push(Notice::plain(text));
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(Outcome::done(tag).with(notices))
            }
        }
    }

    async fn create_materialized(&self, create: &CreateMaterialized) -> Result<Outcome> {
        let tag = "CREATE MATERIALIZED VIEW";
        let reference = self.new_name(&create.relation)?;
        let catalog = &self.engine.catalog;
        let change = Change::materialized(&reference, false);
        catalog.check_change(&change)?;
        if self.exists(&reference)? {
            let message = format!("relation \"{}\" already exists", reference.table());
            return match create.if_not_exists {
                true => Ok(Outcome::noted(
                    tag,
                    Notice::plain(format!("{message}, skipping")),
                )),
                false => Err(Error::Query {
                    fault: Fault::DuplicateTable,
                    message,
                    position: None,
                }),
            };
        }
        let storage = create.option("storage");
        // Only what was kept says where its rows are.
        if catalog.is_kept(&change)
            && let Some(storage) = storage
        {
            let view = self.reopen(create, storage).await?;
            return self.enter(&reference, view).map(|()| Outcome::done(tag));
        }
        let options: Vec<&str> = OPTIONS.to_vec();
        for option in create.options.0.keys() {
            if !options.contains(&option.as_str()) {
                return Err(Error::InvalidSetting {
                    message: format!("unrecognized parameter \"{option}\""),
                    hint: Some(
                        "There are watermark and key: WITH (watermark = 'updated_at', key = 'id')."
                            .to_owned(),
                    ),
                });
            }
        }
        let recipe = recipe(create, self.current_user())?;
        let schema = self.schema_of(create).await?;
        check_columns(&recipe, &schema)?;
        let storage = self.new_storage()?;
        let folder = self.storage_folder(&storage);
        let view = MaterializedView::open(folder, recipe, schema)?;
        let made = self.fill_view(create, &view).await;
        let tag = match made {
            Ok(rows) => rows.map_or(tag.to_owned(), |rows| format!("SELECT {rows}")),
            Err(error) => {
                view.remove();
                return Err(error);
            }
        };
        catalog.forget_access(&change)?;
        let text = kept_text(&reference, create, view.recipe(), &storage);
        let view = Arc::new(view);
        self.enter_shared(&reference, Arc::clone(&view))?;
        if let Err(error) = catalog.keep_change(&change, &text) {
            let schema = self.schema(reference.schema().unwrap_or(DEFAULT_SCHEMA))?;
            schema.deregister_table(reference.table())?;
            view.remove();
            return Err(error);
        }
        Ok(Outcome::done(tag))
    }

    async fn fill_view(
        &self,
        create: &CreateMaterialized,
        view: &MaterializedView,
    ) -> Result<Option<u64>> {
        if !create.with_data {
            return Ok(None);
        }
        let refreshed = self.engine.refresh_view(view, true).await?;
        Ok(Some(refreshed.rows))
    }

    /// A view that was made before this start.
    async fn reopen(&self, create: &CreateMaterialized, storage: &str) -> Result<MaterializedView> {
        let folder = self.storage_folder(storage);
        let owner = create.option("owner").unwrap_or_else(|| self.user());
        let recipe = recipe(create, owner.to_owned())?;
        let schema = match MaterializedView::kept_schema(&folder)? {
            Some(schema) => schema,
            None => self.schema_of(create).await?,
        };
        MaterializedView::open(folder, recipe, schema)
    }

    fn enter(&self, reference: &TableReference, view: MaterializedView) -> Result<()> {
        self.enter_shared(reference, Arc::new(view))
    }

    fn enter_shared(&self, reference: &TableReference, view: Arc<MaterializedView>) -> Result<()> {
        let schema = self.schema(reference.schema().unwrap_or(DEFAULT_SCHEMA))?;
        schema.register_table(reference.table().to_owned(), view)?;
        Ok(())
    }

    fn storage_folder(&self, storage: &str) -> Place {
        self.views().join(storage)
    }

    fn views(&self) -> Place {
        self.engine.storage.root().join(VIEWS_FOLDER)
    }

    /// A folder's name that no view has or had.
    fn new_storage(&self) -> Result<String> {
        let views = self.views();
        let Place::Folder(folder) = &views else {
            // Nothing is there before something is in it, so that a number would say nothing.
            return Ok(format!("mv-{}", Uuid::new_v4().simple()));
        };
        let failed = |error| Error::io(format!("can't make folder \"{views}\""), error);
        views.make()?;
        for number in 1_u64.. {
            let storage = format!("mv-{number}");
            match std::fs::create_dir(folder.join(&storage)) {
                Ok(()) => return Ok(storage),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(std::io::Error::other("no number is left")))
    }

    /// The columns that the query has, under the names that the view gives them.
    async fn schema_of(&self, create: &CreateMaterialized) -> Result<SchemaRef> {
        let (plan, _) = self.plan_of(&create.query.text).await?;
        let schema = columns::marked(&plan, plan.schema().as_arrow());
        let fields = schema.fields();
        if create.columns.len() > fields.len() {
            return Err(Error::Syntax {
                message: "too many column names were specified".to_owned(),
                position: None,
            });
        }
        let named = fields.iter().enumerate().map(|(at, field)| {
            let given = create.columns.get(at).map(String::as_str);
            let name = given.unwrap_or_else(|| names::shown(field.name()));
            Field::clone(field).with_name(name).with_nullable(true)
        });
        let named: Vec<Field> = named.collect();
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = named
            .iter()
            .find(|field| !seen.insert(field.name().clone()))
        {
            return Err(Error::Query {
                fault: Fault::DuplicateColumn,
                message: format!("column \"{}\" specified more than once", twice.name()),
                position: None,
            });
        }
        Ok(Arc::new(Schema::new(named)))
    }

    /// The plan of a query's text.
    async fn plan_of(&self, text: &str) -> Result<(LogicalPlan, String)> {
        for statement in self.parse(text)? {
            if let StatementKind::Engine(engine_statement) = &statement.kind {
                let planned = self.plan(&statement, engine_statement, None).await?;
                return Ok((planned.plan, text.to_owned()));
            }
        }
        Err(Error::Syntax {
            message: "syntax error: expected: a query".to_owned(),
            position: None,
        })
    }

    fn materialized(&self, parts: &[String]) -> Result<(TableReference, Arc<dyn TableProvider>)> {
        let (schema, name, table) = self.table_of(parts)?;
        let table = unguarded(table);
        match table.downcast_ref::<MaterializedView>() {
            Some(_) => Ok((TableReference::partial(schema, name), table)),
            None => Err(not_materialized(&name)),
        }
    }

    fn drop_materialized(
        &self,
        reference: &TableReference,
        table: &Arc<dyn TableProvider>,
    ) -> Result<()> {
        let catalog = &self.engine.catalog;
        let change = Change::materialized(reference, true);
        catalog.keep_change(&change, "")?;
        let schema_name = reference.schema().unwrap_or(DEFAULT_SCHEMA);
        self.schema(schema_name)?
            .deregister_table(reference.table())?;
        catalog.annotations().forget(schema_name, reference.table());
        catalog.forget_access(&change)?;
        as_view(table)?.remove();
        Ok(())
    }

    /// All rows of a plan, with their types.
    async fn marked_rows(&self, plan: LogicalPlan, sql: &str) -> Result<SendableRecordBatchStream> {
        let marked = columns::marked(&plan, plan.schema().as_arrow());
        let stream = self.stream(plan, sql).await?;
        Ok(output::with_marks(stream, &marked))
    }

    async fn read_all(&self, view: &MaterializedView, into: &mut Rows) -> Result<u64> {
        let (plan, sql) = self.plan_of(&view.recipe().query).await?;
        let stream = self.marked_rows(plan, &sql).await?;
        write(stream, into, &sql).await
    }

    /// The rows from the last watermark on, and those without one.
    async fn read_new(
        &self,
        view: &MaterializedView,
        watermark: &str,
        last: ScalarValue,
        into: &mut Rows,
    ) -> Result<u64> {
        let (plan, sql) = self.plan_of(&view.recipe().query).await?;
        let at = view.schema().index_of(watermark);
        let at = at.map_err(|error| Error::from_engine(&error.into(), ""))?;
        let column = Expr::Column(Column::from(plan.schema().qualified_field(at)));
        let condition = column.clone().gt_eq(lit(last)).or(column.is_null());
        let plan = LogicalPlanBuilder::from(plan).filter(condition)?.build()?;
        let stream = self.marked_rows(plan, &sql).await?;
        write(stream, into, &sql).await
    }
}

impl Engine {
    /// Refreshes the materialized view of that name: `crm.deals`.
    ///
    /// # Errors
    /// 42P01 and 42809 where there is no such view, and whatever its query fails with; then its rows stay as they were.
    pub async fn refresh(self: &Arc<Self>, name: &str) -> Result<Refreshed> {
        let session = self.session_for_kept(crate::catalog::roles::OWNER);
        let parts = crate::sql::relation_name(name)?;
        let (_, table) = session.materialized(&parts)?;
        self.refresh_view(as_view(&table)?, false).await
    }

    async fn refresh_view(
        self: &Arc<Self>,
        view: &MaterializedView,
        full: bool,
    ) -> Result<Refreshed> {
        let _one = view.lock().await;
        let session = self.session_for_kept(&view.recipe().owner);
        let number = view.next()?;
        if let (Some(watermark), Some(current), false) =
            (&view.recipe().watermark, view.current(), full)
            && let Some(last) = session.last_watermark(current.table(), watermark).await?
        {
            let mut fetched = view.begin(&format!("{FETCHED}{number}"))?;
            let read = session
                .read_new(view, watermark, last, &mut fetched)
                .await?;
            let fetched = fetched.finish()?.table()?;
            session.check_key(&fetched, &view.recipe().key).await?;
            let mut rows = view.begin(&number.to_string())?;
            session
                .merge(current.table(), fetched, &view.recipe().key, &mut rows)
                .await?;
            return Ok(Refreshed {
                read,
                rows: view.publish(&rows.finish()?, number)?,
                incremental: true,
            });
        }
        let mut rows = view.begin(&number.to_string())?;
        let read = session.read_all(view, &mut rows).await?;
        let rows = rows.finish()?;
        // They are looked at before they are anybody's.
        session
            .check_key(&rows.table()?, &view.recipe().key)
            .await?;
        Ok(Refreshed {
            read,
            rows: view.publish(&rows, number)?,
            incremental: false,
        })
    }
}

impl Session {
    /// The last watermark of rows; nothing where no row has one.
    async fn last_watermark(
        &self,
        rows: Arc<dyn TableProvider>,
        watermark: &str,
    ) -> Result<Option<ScalarValue>> {
        let column = Expr::Column(Column::from_name(watermark));
        let found = self
            .context
            .read_table(rows)?
            .aggregate(Vec::new(), vec![max(column)])?
            .collect()
            .await?;
        let batch = found.first().filter(|batch| batch.num_rows() > 0);
        let last = batch.map(|batch| ScalarValue::try_from_array(batch.column(0), 0));
        Ok(last.transpose()?.filter(|last| !last.is_null()))
    }

    /// Refuses rows without a key, and two of the same.
    async fn check_key(&self, rows: &Arc<dyn TableProvider>, key: &[String]) -> Result<()> {
        let columns: Vec<Expr> = key
            .iter()
            .map(|name| Expr::Column(Column::from_name(name)))
            .collect();
        let Some(missing) = columns.iter().cloned().map(Expr::is_null).reduce(Expr::or) else {
            return Ok(());
        };
        let table = || self.context.read_table(Arc::clone(rows));
        let names = key.join(", ");
        if table()?.filter(missing)?.limit(0, Some(1))?.count().await? > 0 {
            return Err(Error::Query {
                fault: Fault::NullKey,
                message: format!("null value in the key ({names}) of a materialized view"),
                position: None,
            });
        }
        let twice = table()?
            .aggregate(columns, vec![count(lit(1_i64)).alias("rows")])?
            .filter(Expr::Column(Column::from_name("rows")).gt(lit(1_i64)))?
            .limit(0, Some(1))?
            .count()
            .await?;
        match twice {
            0 => Ok(()),
            _ => Err(Error::Query {
                fault: Fault::DuplicateKey,
                message: format!("duplicate key ({names}) in the rows of a materialized view"),
                position: None,
            }),
        }
    }

    /// The old rows whose key no new one has, and the new ones.
    async fn merge(
        &self,
        old: Arc<dyn TableProvider>,
        new: Arc<dyn TableProvider>,
        key: &[String],
        into: &mut Rows,
    ) -> Result<u64> {
        let of = |side: &str, name: &String| Expr::Column(Column::new(Some(side), name));
        let same = key
            .iter()
            .map(|name| of("old_rows", name).eq(of("new_rows", name)));
        let same: Vec<Expr> = same.collect();
        let kept = self.context.read_table(old)?.alias("old_rows")?.join_on(
            self.context
                .read_table(Arc::clone(&new))?
                .alias("new_rows")?,
            JoinType::LeftAnti,
            same,
        )?;
        let merged = kept.union(self.context.read_table(new)?)?;
        write(merged.execute_stream().await?, into, "").await
    }
}

async fn write(mut stream: SendableRecordBatchStream, into: &mut Rows, sql: &str) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| Error::from_engine(&error, sql))?;
        count += batch.num_rows() as u64;
        into.write(&batch)?;
    }
    Ok(count)
}

fn as_view(table: &Arc<dyn TableProvider>) -> Result<&MaterializedView> {
    table
        .downcast_ref::<MaterializedView>()
        .ok_or_else(|| not_materialized("this relation"))
}

fn not_materialized(name: &str) -> Error {
    Error::WrongObject {
        message: format!("\"{name}\" is not a materialized view"),
        hint: "CREATE MATERIALIZED VIEW makes one.".to_owned(),
    }
}

fn recipe(create: &CreateMaterialized, owner: String) -> Result<Recipe> {
    let key = create.option("key").unwrap_or_default();
    let key = key.split(',').map(|name| name.trim().to_owned());
    let recipe = Recipe {
        query: create.query.text.clone(),
        owner,
        watermark: create.option("watermark").map(str::to_owned),
        key: key.filter(|name| !name.is_empty()).collect(),
    };
    match recipe.watermark.is_some() && recipe.key.is_empty() {
        true => Err(Error::InvalidSetting {
            message: "a materialized view with a watermark needs a key".to_owned(),
            hint: Some("The key tells which row a new one replaces: WITH (watermark = 'updated_at', key = 'id').".to_owned()),
        }),
        false => Ok(recipe),
    }
}

fn check_columns(recipe: &Recipe, schema: &Schema) -> Result<()> {
    for name in recipe.key.iter().chain(&recipe.watermark) {
        if schema.field_with_name(name).is_err() {
            return Err(FunnelError::Unknown {
                kind: Kind::Column,
                name: name.clone(),
                place: " in the query of the materialized view".to_owned(),
                existing: schema
                    .fields()
                    .iter()
                    .map(|field| field.name().clone())
                    .collect(),
            }
            .into());
        }
    }
    Ok(())
}

/// The statement that makes the view again, over the rows that it has.
fn kept_text(
    reference: &TableReference,
    create: &CreateMaterialized,
    recipe: &Recipe,
    storage: &str,
) -> String {
    let mut options: Vec<String> = create
        .options
        .0
        .iter()
        .map(|(name, value)| format!("{name} = {}", literal(value)))
        .collect();
    let [place, owner] = KEPT_OPTIONS;
    options.push(format!("{place} = {}", literal(storage)));
    options.push(format!("{owner} = {}", literal(&recipe.owner)));
    let columns: Vec<String> = create.columns.iter().map(|name| identifier(name)).collect();
    let columns = match columns.is_empty() {
        true => String::new(),
        false => format!(" ({})", columns.join(", ")),
    };
    format!(
        "CREATE MATERIALIZED VIEW {}.{}{columns} WITH ({}) AS {}",
        identifier(reference.schema().unwrap_or(DEFAULT_SCHEMA)),
        identifier(reference.table()),
        options.join(", "),
        recipe.query,
    )
}

/// Removes the rows of views that are gone: with their schema, or while the process was killed.
pub(super) fn remove_orphans(data_dir: &Place, kept: &[KeptStatement]) {
    let views = data_dir.join(VIEWS_FOLDER);
    let Ok(entries) = views.entries() else {
        return;
    };
    let [place, _] = KEPT_OPTIONS;
    for (storage, _) in entries {
        let mark = format!("{place} = {}", literal(&storage));
        if kept.iter().any(|statement| statement.sql.contains(&mark)) {
            continue;
        }
        let path = views.join(&storage);
        if let Err(error) = path.remove_all() {
            tracing::warn!(%error, %path, "the rows of a dropped view can't be removed");
        }
    }
}

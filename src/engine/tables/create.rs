//! `CREATE TABLE` and `CREATE TABLE AS`.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::catalog::SchemaProvider;
use datafusion::common::{DFSchema, TableReference};
use datafusion::logical_expr::{DdlStatement, DropTable, LogicalPlan};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{
    self, ColumnOption, CreateTable, CreateTableOptions, Expr, SqlOption,
};
use datafusion_funnel::definition::text::{folded, identifier};
use futures::TryStreamExt;

use super::change::{check_width, unsupported};
use super::constraints::{
    ConstraintKind, NewConstraint, condition, immediate, table_constraint, unique_key,
};
use super::local::Local;
use super::target::{assigned, column_of, named, parts, query, select};
use crate::catalog::access::Object;
use crate::catalog::{ForeignKey, ReferentialAction};
use crate::engine::DEFAULT_SCHEMA;
use crate::engine::outcome::{Notice, Outcome};
use crate::engine::sequences::{default_by, default_text, kind_of};
use crate::engine::session::Session;
use crate::error::{Error, Fault, Result};
use crate::postgres::{columns, types};
use crate::sql::{SequenceOptions, Statement, column_names};
use crate::tables::{
    ColumnDefinition, DataFile, IdentityKind, NewRows, PARTITIONED_BY, SequenceDefinition, Shape,
    Table, TableDefinition, Writer, check_new_keys,
};

/// What a `CREATE TABLE` makes, before it has a folder.
pub(super) struct Made {
    pub definition: TableDefinition,
    pub foreign_keys: Vec<ForeignKey>,
    pub notices: Vec<Notice>,
    /// Constraints, whose columns and names are looked at once all of them are known.
    pub constraints: Vec<NewConstraint>,
    /// Columns that are filled by a sequence of their own, by their places.
    pub numbered: Vec<Numbered>,
    /// These sequences.
    pub sequences: Vec<SequenceDefinition>,
}

/// A column that is filled by a sequence of its own.
pub struct Numbered {
    /// Its place.
    pub place: usize,
    /// Whether it is an identity, and which; otherwise it is a `serial`.
    pub identity: Option<IdentityKind>,
    /// How the sequence is to be.
    pub options: SequenceOptions,
}

impl Made {
    /// Another column of a table that there is.
    pub(super) fn over(definition: TableDefinition) -> Self {
        Self {
            definition,
            foreign_keys: Vec::new(),
            notices: Vec::new(),
            constraints: Vec::new(),
            numbered: Vec::new(),
            sequences: Vec::new(),
        }
    }
}

/// The `CREATE TABLE` that makes a durable table.
pub fn created(statement: &EngineStatement) -> Option<&CreateTable> {
    match statement {
        EngineStatement::Statement(inner) => match inner.as_ref() {
            ast::Statement::CreateTable(create) if !create.external && !create.temporary => {
                Some(create)
            }
            _ => None,
        },
        _ => None,
    }
}

impl Session {
    /// Makes a durable table.
    ///
    /// # Errors
    /// 42P07 for one that there is, 3F000 for a schema that there isn't, 0A000 for what tables don't have.
    pub(in crate::engine) async fn create_table(
        &self,
        statement: &Statement,
        create: &CreateTable,
        values: &[datafusion::common::ScalarValue],
    ) -> Result<Outcome> {
        let name = parts(&create.name);
        let (schema, name) = match name.as_slice() {
            [name] => (DEFAULT_SCHEMA.to_owned(), name.clone()),
            [.., schema, name] => (schema.clone(), name.clone()),
            [] => return Err(unsupported("a table without a name")),
        };
        self.check_superuser_to("run CREATE TABLE")?;
        self.engine.catalog.check_rename(&schema, &name)?;
        let written = match schema.as_str() {
            DEFAULT_SCHEMA => name.clone(),
            _ => format!("{schema}.{name}"),
        };
        let provider = self.schema_to_make_in(&schema)?;
        if provider.table_exist(&name) && !create.or_replace {
            if create.if_not_exists {
                let message = format!("relation \"{name}\" already exists, skipping");
                let notice = Notice {
                    code: "42P07",
                    ..Notice::plain(message)
                };
                return Ok(Outcome::noted("CREATE TABLE", notice));
            }
            return Err(Error::Query {
                fault: Fault::DuplicateTable,
                message: format!("relation \"{written}\" already exists"),
                position: None,
            });
        }
        let mut made = self.made(statement, create, &schema, &name).await?;
        let tables = Arc::clone(self.engine.tables());
        let (id, folder) = tables.new_id();
        made.definition.id = id;
        self.number_columns(&mut made)?;
        let mut tag = "CREATE TABLE".to_owned();
        let mut files = Vec::new();
        if let Some(source) = &create.query {
            let place = Table::prepare(folder.clone(), made.definition.clone())?;
            let filled = self
                .fill(statement, create, source, &Arc::new(place), values)
                .await;
            match filled {
                Ok((count, written)) => {
                    tag = format!("SELECT {count}");
                    files = written;
                }
                Err(error) => {
                    // Without a definition it is removed at the next start at the latest.
                    let _ = folder.remove_all();
                    return Err(error);
                }
            }
        }
        if provider.table_exist(&name) {
            self.replace(&schema, &name).await?;
        }
        // What was granted on another object of that name, which is gone, isn't granted on this one.
        let catalog = &self.engine.catalog;
        catalog.access().forget(&Object::relation(&schema, &name))?;
        made.definition.notes.foreign_keys = made.foreign_keys;
        let sequences = self.make_sequences(&made.sequences)?;
        let table = match tables.create(made.definition, &files).await {
            Ok(table) => table,
            Err(error) => {
                sequences
                    .iter()
                    .try_for_each(|sequence| self.engine.drop_sequence(sequence))?;
                return Err(error);
            }
        };
        self.engine.register(&table, provider.as_ref())?;
        Ok(Outcome::done(tag).with(made.notices))
    }

    pub(in crate::engine) fn schema_to_make_in(
        &self,
        schema: &str,
    ) -> Result<Arc<dyn SchemaProvider>> {
        self.schema(schema).map_err(|error| match error {
            Error::UnknownSchema { name, .. } => Error::UnknownSchema {
                hint: Some(format!("CREATE SCHEMA {} makes it.", identifier(&name))),
                name,
            },
            other => other,
        })
    }

    /// The relation of that name makes room.
    async fn replace(&self, schema: &str, name: &str) -> Result<()> {
        let drop = DdlStatement::DropTable(DropTable {
            name: TableReference::partial(schema, name),
            if_exists: true,
            schema: Arc::new(DFSchema::empty()),
        });
        let statement = self.parse("DROP TABLE replaced")?.remove(0);
        let outcome = Box::pin(self.run_plan(&statement, LogicalPlan::Ddl(drop), Vec::new()));
        outcome.await.map(drop_outcome)
    }

    /// What a statement makes.
    async fn made(
        &self,
        statement: &Statement,
        create: &CreateTable,
        schema: &str,
        name: &str,
    ) -> Result<Made> {
        check_supported(create)?;
        let mut made = Made {
            definition: TableDefinition {
                id: String::new(),
                schema: schema.to_owned(),
                name: name.to_owned(),
                columns: Vec::new(),
                primary_key: Vec::new(),
                primary_key_name: None,
                unique: Vec::new(),
                checks: Vec::new(),
                partitioned_by: Vec::new(),
                notes: crate::catalog::RelationNotes::default(),
            },
            foreign_keys: Vec::new(),
            notices: Vec::new(),
            constraints: Vec::new(),
            numbered: Vec::new(),
            sequences: Vec::new(),
        };
        if let Some(like) = &create.like {
            self.copy_columns(like, &mut made)?;
        }
        let names = column_names(create);
        if !create.columns.is_empty() && names.is_empty() {
            let fields = self.fields_of(statement, create).await?;
            for (field, column) in fields.iter().zip(&create.columns) {
                made.definition.columns.push(ColumnDefinition::of(field)?);
                column_options(column, &mut made)?;
            }
            self.check_generated(&mut made.definition)?;
        } else if let Some(source) = &create.query {
            let plan = self
                .plan_of_query(statement, source.as_ref().clone(), &Local::default(), None)
                .await?;
            let marked = columns::marked(&plan, plan.schema().as_arrow());
            if names.len() > marked.fields().len() {
                return Err(Error::Syntax {
                    message: "too many column names were specified".to_owned(),
                    position: None,
                });
            }
            for (at, field) in marked.fields().iter().enumerate() {
                // A name that the query has twice is marked; a table's columns have different ones.
                let own = crate::postgres::names::shown(field.name());
                let name = names.get(at).map_or(own, String::as_str);
                let field = field.as_ref().clone().with_name(name);
                made.definition.columns.push(ColumnDefinition::of(&field)?);
            }
        }
        for constraint in &create.constraints {
            table_constraint(constraint, &mut made)?;
        }
        partitions(create, &mut made)?;
        check_columns(&made.definition)?;
        self.add_constraints(&mut made)?;
        self.check_defaults(statement, &made.definition).await?;
        Ok(made)
    }

    /// The columns of another table.
    fn copy_columns(&self, like: &ast::CreateTableLikeKind, made: &mut Made) -> Result<()> {
        let (ast::CreateTableLikeKind::Parenthesized(like) | ast::CreateTableLikeKind::Plain(like)) =
            like;
        let (_, _, provider) = self.table_of(&parts(&like.name))?;
        for field in provider.schema().fields() {
            let mut column = ColumnDefinition::of(field)?;
            column.not_null = !field.is_nullable();
            made.definition.columns.push(column);
        }
        Ok(())
    }

    /// Columns with the types that they are declared with.
    async fn fields_of(&self, statement: &Statement, create: &CreateTable) -> Result<Vec<Field>> {
        let mut built = query("SELECT 1")?;
        let columns = create.columns.iter().enumerate().map(|(at, column)| {
            let null = Expr::Value(ast::Value::Null.into());
            let cast = Expr::Cast {
                kind: ast::CastKind::Cast,
                expr: Box::new(null),
                data_type: declared_type(&column.data_type),
                array: false,
                format: None,
            };
            // The names may be the same twice, which is said below.
            named(cast, &at.to_string())
        });
        select(&mut built)?.projection = columns.collect();
        let plan = self
            .plan_of_query(statement, built, &Local::default(), None)
            .await?;
        let marked = columns::marked(&plan, plan.schema().as_arrow());
        let fields = marked.fields().iter().zip(&create.columns);
        Ok(fields
            .map(|(field, column)| {
                let field = types::precise(field.as_ref().clone(), &column.data_type);
                field.with_name(folded(&column.name))
            })
            .collect())
    }

    /// Columns that are filled by sequences get them.
    ///
    /// # Errors
    /// 22023 for what can't be a sequence, 42601 for two of one column.
    pub(super) fn number_columns(&self, made: &mut Made) -> Result<()> {
        for numbered in std::mem::take(&mut made.numbered) {
            let place = numbered.place;
            let column = &made.definition.columns[place];
            if column.default.is_some() {
                return Err(Error::Syntax {
                    message: format!(
                        "multiple identity specifications for column \"{}\" of table \"{}\"",
                        column.name, made.definition.name
                    ),
                    position: None,
                });
            }
            let definition = &made.definition;
            let sequence = self.owned_sequence(definition, column, &numbered.options)?;
            let column = &mut made.definition.columns[place];
            column.not_null = true;
            column.default = Some(default_by(&sequence));
            column.identity = numbered.identity;
            made.sequences.push(sequence);
        }
        Ok(())
    }

    /// Plans the defaults: one that can't be computed isn't found by the first INSERT only.
    pub(super) async fn check_defaults(
        &self,
        statement: &Statement,
        definition: &TableDefinition,
    ) -> Result<()> {
        let mut values = Vec::new();
        for column in &definition.columns {
            if let Some((schema, name)) = column.sequence() {
                self.sequence(&[schema, name])?;
            }
            if column.default.is_some() {
                values.push(named(
                    assigned(super::target::default_of(column)?, column),
                    &column.name,
                ));
            }
        }
        if values.is_empty() {
            return Ok(());
        }
        let mut built = query("SELECT 1")?;
        select(&mut built)?.projection = values;
        let planned = self
            .plan_of_query(statement, built, &Local::default(), None)
            .await;
        planned.map(drop)
    }

    /// Writes the rows of a query into files of a table that is about to be made.
    async fn fill(
        &self,
        statement: &Statement,
        create: &CreateTable,
        source: &ast::Query,
        table: &Arc<Table>,
        values: &[datafusion::common::ScalarValue],
    ) -> Result<(u64, Vec<Arc<DataFile>>)> {
        let shape = table.shape();
        let of_query = create.columns.is_empty() || !column_names(create).is_empty();
        let built = match of_query {
            true => source.clone(),
            false => declared(source, &shape)?,
        };
        let mut stream = self
            .stream_of_query(statement, built, &Local::default(), values)
            .await?;
        check_width(stream.schema().fields().len(), shape.schema.fields().len())?;
        let rules = self.rules(&shape)?;
        let mut writer = Writer::new(table, &shape);
        let mut count = 0;
        loop {
            let written = match stream.try_next().await {
                Ok(None) => break,
                Ok(Some(batch)) => match rules.rows(&shape, batch.columns()) {
                    Ok(rows) => {
                        count += u64::try_from(rows.num_rows()).unwrap_or(0);
                        writer.write(&rows).await
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(Error::from_engine(&error, &statement.sql)),
            };
            if let Err(error) = written {
                writer.abort().await;
                return Err(error);
            }
        }
        let files = writer.finish().await?;
        let new = NewRows::Files(files.clone());
        let tables = self.engine.tables();
        check_new_keys(&self.context, tables, table, &shape, &new, &[]).await?;
        Ok((count, files))
    }
}

fn drop_outcome(_: Outcome) {}

/// A query's columns as those that are declared.
fn declared(source: &ast::Query, shape: &Shape) -> Result<ast::Query> {
    const GIVEN: &str = "\u{1f}given";
    let columns = &shape.definition.columns;
    let names: Vec<String> = (0..columns.len()).map(|at| format!("\"{at}\"")).collect();
    let mut built = query(&format!(
        "SELECT 1 FROM (SELECT 1) AS \"{GIVEN}\" ({})",
        names.join(", ")
    ))?;
    let outer = select(&mut built)?;
    outer.projection = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let given = column_of(GIVEN, &at.to_string());
            named(assigned(given, column), &column.name)
        })
        .collect();
    if let Some(from) = outer.from.first_mut()
        && let ast::TableFactor::Derived { subquery, .. } = &mut from.relation
    {
        **subquery = source.clone();
    }
    Ok(built)
}

/// Refuses what other tables have.
fn check_supported(create: &CreateTable) -> Result<()> {
    if create.inherits.is_some() || create.partition_of.is_some() {
        return Err(unsupported("inheritance of tables"));
    }
    if create.clone.is_some() || create.on_commit.is_some() {
        return Err(unsupported("this kind of CREATE TABLE"));
    }
    Ok(())
}

/// What is said about a column, which is the last one.
///
/// # Errors
/// 0A000 for what columns don't have.
pub(super) fn column_options(column: &ast::ColumnDef, made: &mut Made) -> Result<()> {
    let name = folded(&column.name);
    let place = made.definition.columns.len() - 1;
    let serial = serial_type(&column.data_type).is_some();
    if serial {
        made.numbered.push(Numbered {
            place,
            identity: None,
            options: SequenceOptions::default(),
        });
    }
    let twice = |what: &str| Error::Syntax {
        message: format!(
            "{what} for column \"{name}\" of table \"{}\"",
            made.definition.name
        ),
        position: None,
    };
    let is = |wanted: fn(&ColumnOption) -> bool| {
        let mut options = column.options.iter();
        options.any(|option| wanted(&option.option))
    };
    let has_default = serial || is(|option| matches!(option, ColumnOption::Default(_)));
    let expressions = is(|option| {
        matches!(
            option,
            ColumnOption::Generated {
                generation_expr: Some(_),
                ..
            }
        )
    });
    let identities = is(|option| {
        matches!(
            option,
            ColumnOption::Generated {
                generation_expr: None,
                ..
            }
        )
    });
    match (has_default, expressions, identities) {
        (true, true, _) => return Err(twice("both default and generation expression specified")),
        (true, _, true) => return Err(twice("both default and identity specified")),
        (_, true, true) => return Err(twice("both identity and generation expression specified")),
        _ => {}
    }
    if serial && is(|option| matches!(option, ColumnOption::Default(_))) {
        return Err(twice("multiple default values specified"));
    }
    for option in &column.options {
        let given = option.name.as_ref().map(folded);
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => made.definition.columns[place].not_null = true,
            ColumnOption::Default(value) => {
                made.definition.columns[place].default = Some(default_text(value));
            }
            ColumnOption::PrimaryKey(key) => {
                immediate(key.characteristics.as_ref())?;
                made.constraints.push(NewConstraint {
                    name: given,
                    kind: ConstraintKind::Primary(vec![name.clone()]),
                });
            }
            ColumnOption::Unique(unique) => {
                let kind = unique_key(unique, vec![name.clone()])?;
                made.constraints.push(NewConstraint { name: given, kind });
            }
            ColumnOption::Check(check) => {
                let kind = condition(check)?;
                made.constraints.push(NewConstraint { name: given, kind });
            }
            ColumnOption::ForeignKey(key) => {
                reference(vec![name.clone()], key, made);
            }
            ColumnOption::Comment(text) => {
                made.definition
                    .notes
                    .columns
                    .insert(name.clone(), text.clone());
            }
            ColumnOption::Collation(_) => {}
            ColumnOption::Generated {
                generation_expr: Some(expression),
                ..
            } => made.definition.columns[place].generated = Some(expression.to_string()),
            ColumnOption::Generated {
                generated_as,
                sequence_options,
                ..
            } => made.numbered.push(Numbered {
                place,
                identity: Some(kind_of(*generated_as == ast::GeneratedAs::Always)),
                options: options_of(sequence_options.as_deref().unwrap_or_default())?,
            }),
            other => return Err(unsupported(&format!("{other} of column \"{name}\""))),
        }
    }
    Ok(())
}

/// The type that a column is declared with.
pub(super) fn declared_type(written: &ast::DataType) -> ast::DataType {
    serial_type(written).unwrap_or_else(|| written.clone())
}

/// The integers that a `serial` is; nothing for another type.
fn serial_type(kind: &ast::DataType) -> Option<ast::DataType> {
    match kind.to_string().to_lowercase().as_str() {
        "smallserial" | "serial2" => Some(ast::DataType::SmallInt(None)),
        "serial" | "serial4" => Some(ast::DataType::Integer(None)),
        "bigserial" | "serial8" => Some(ast::DataType::BigInt(None)),
        _ => None,
    }
}

/// What is said of an identity's sequence.
fn options_of(written: &[ast::SequenceOptions]) -> Result<SequenceOptions> {
    use ast::SequenceOptions as Written;
    let number = |value: &Expr| {
        let text = value.to_string();
        text.parse::<i64>().map_err(|_| Error::Syntax {
            message: format!("\"{text}\" is no whole number of 64 bits"),
            position: None,
        })
    };
    let mut options = SequenceOptions::default();
    for option in written {
        match option {
            Written::IncrementBy(value, _) => options.increment = Some(number(value)?),
            Written::MinValue(value) => {
                options.least = Some(value.as_ref().map(number).transpose()?);
            }
            Written::MaxValue(value) => {
                options.most = Some(value.as_ref().map(number).transpose()?);
            }
            Written::StartWith(value, _) => options.start = Some(number(value)?),
            Written::Cache(value) => options.cache = Some(number(value)?),
            // It tells whether there is a NO before it.
            Written::Cycle(no) => options.cycle = Some(!no),
        }
    }
    Ok(options)
}

pub(super) fn reference(columns: Vec<String>, key: &ast::ForeignKeyConstraint, made: &mut Made) {
    let mut relation = parts(&key.foreign_table);
    let target = relation.pop().unwrap_or_default();
    // Where nothing is written, it is looked for when the constraints are added.
    let schema = relation.pop().unwrap_or_default();
    let referred = key.referred_columns.iter().map(folded).collect();
    let name = match &key.name {
        Some(name) => folded(name),
        None => format!("{}_{}_fkey", made.definition.name, columns.join("_")),
    };
    made.notices.push(Notice::hinted(
        format!("\"{name}\" is declared and not enforced"),
        "Clients see it in the catalogs; rows are not checked.".to_owned(),
    ));
    made.foreign_keys.push(ForeignKey {
        name,
        columns,
        schema,
        referred,
        relation: target,
        on_delete: action(key.on_delete),
        on_update: action(key.on_update),
    });
}

/// What is said of the rows that refer to another.
fn action(written: Option<ast::ReferentialAction>) -> ReferentialAction {
    match written {
        None | Some(ast::ReferentialAction::NoAction) => ReferentialAction::NoAction,
        Some(ast::ReferentialAction::Restrict) => ReferentialAction::Restrict,
        Some(ast::ReferentialAction::Cascade) => ReferentialAction::Cascade,
        Some(ast::ReferentialAction::SetNull) => ReferentialAction::SetNull,
        Some(ast::ReferentialAction::SetDefault) => ReferentialAction::SetDefault,
    }
}

/// `WITH (partitioned_by = 'day, region')`
fn partitions(create: &CreateTable, made: &mut Made) -> Result<()> {
    let (CreateTableOptions::With(options)
    | CreateTableOptions::Options(options)
    | CreateTableOptions::Plain(options)
    | CreateTableOptions::TableProperties(options)) = &create.table_options
    else {
        return Ok(());
    };
    for option in options {
        if let SqlOption::KeyValue { key, value } = option
            && folded(key) == PARTITIONED_BY
            && let Expr::Value(value) = value
            && let Some(text) = value.value.clone().into_string()
        {
            let columns = super::target::expression(&format!("ROW({text})"))?;
            let Expr::Function(row) = columns else {
                return Err(unsupported("partitions by expressions"));
            };
            let ast::FunctionArguments::List(list) = row.args else {
                return Err(unsupported("partitions by expressions"));
            };
            for argument in list.args {
                match argument {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(Expr::Identifier(
                        column,
                    ))) => made.definition.partitioned_by.push(folded(&column)),
                    _ => return Err(unsupported("partitions by expressions")),
                }
            }
        }
    }
    Ok(())
}

/// Columns have names of their own, and partitions are columns that there are.
fn check_columns(definition: &TableDefinition) -> Result<()> {
    if definition.columns.is_empty() {
        return Err(Error::Unsupported {
            message: "a table without columns is not supported".to_owned(),
            hint: None,
        });
    }
    let mut names = Vec::new();
    for column in &definition.columns {
        if names.contains(&&column.name) {
            return Err(Error::Query {
                fault: Fault::DuplicateColumn,
                message: format!("column \"{}\" specified more than once", column.name),
                position: None,
            });
        }
        names.push(&column.name);
    }
    for name in &definition.partitioned_by {
        if !names.contains(&name) {
            return Err(datafusion_funnel::error::FunnelError::Unknown {
                kind: datafusion_funnel::error::Kind::Column,
                name: name.clone(),
                place: String::new(),
                existing: names.iter().map(|name| (*name).clone()).collect(),
            }
            .into());
        }
    }
    if definition.partitioned_by.len() == definition.columns.len() {
        return Err(unsupported("a table whose columns are all partitions'"));
    }
    for column in &definition.columns {
        let partition = definition.partitioned_by.contains(&column.name);
        let plain = !matches!(
            column.kind.as_str(),
            "time" | "timetz" | "interval" | "bytea"
        ) && !column.kind.starts_with('_')
            && column.kind != "record";
        if partition && !plain {
            return Err(unsupported(&format!(
                "partitions by column \"{}\" of type {}",
                column.name, column.kind
            )));
        }
    }
    Ok(())
}

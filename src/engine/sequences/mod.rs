//! Sequences: the statements about them, and the [`functions`] that hand out their numbers.

mod functions;
mod options;

use std::sync::Arc;

use datafusion::catalog::SchemaProvider;
use datafusion::sql::sqlparser::ast::Expr;
use datafusion_funnel::definition::text::{identifier, literal};

use super::outcome::{Notice, Outcome};
use super::session::{Session, lock};
use super::tables::durable_table;
use super::{DATABASE, DEFAULT_SCHEMA, Engine};
use crate::catalog::access::Object;
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::sql::{IdentityChange, SequenceOptions, SequenceStatement};
use crate::tables::{
    ColumnDefinition, IdentityKind, Sequence, SequenceDefinition, SequenceOwner, SequenceRelation,
    Shape, Table, TableDefinition, Tables, sequence_of, with_sequences,
};

use functions::check_use;
pub(super) use functions::functions;
use options::{changed, invalid, new_sequence};

impl Engine {
    /// A sequence can be found under its name.
    pub(crate) fn register_sequence(
        &self,
        sequence: &Arc<Sequence>,
        schema: &dyn SchemaProvider,
    ) -> Result<()> {
        let relation = SequenceRelation::new(sequence);
        schema.register_table(sequence.definition().name, Arc::new(relation))?;
        Ok(())
    }

    /// Forgets a table, and the sequences that go with it.
    pub(super) fn drop_table(&self, table: &Arc<Table>) -> Result<()> {
        self.tables.drop(table)?;
        let sequences = self.tables.sequences().of_table(&table.id());
        sequences
            .iter()
            .try_for_each(|sequence| self.drop_sequence(sequence))
    }

    /// Forgets a sequence.
    pub(super) fn drop_sequence(&self, sequence: &Arc<Sequence>) -> Result<()> {
        let definition = sequence.definition();
        self.tables.sequences().drop(sequence)?;
        let database = self.base.catalog_list().catalog(DATABASE);
        if let Some(schema) = database.and_then(|database| database.schema(&definition.schema)) {
            schema.deregister_table(&definition.name)?;
        }
        let object = Object::relation(&definition.schema, &definition.name);
        self.catalog.access().forget(&object)?;
        let annotations = self.catalog.annotations();
        annotations.forget(&definition.schema, &definition.name);
        Ok(())
    }

    /// Forgets the sequences of a schema that is gone.
    pub(super) fn drop_sequences_in(&self, schema: &str) -> Result<()> {
        for sequence in self.tables.sequences().all() {
            if sequence.definition().schema == schema {
                self.drop_sequence(&sequence)?;
            }
        }
        Ok(())
    }
}

/// A sequence's name as `nextval` is called with it.
fn written(schema: &str, name: &str) -> String {
    match schema {
        DEFAULT_SCHEMA => identifier(name),
        schema => format!("{}.{}", identifier(schema), identifier(name)),
    }
}

/// The default of a column that is filled by a sequence.
pub(super) fn default_by(definition: &SequenceDefinition) -> String {
    let name = written(&definition.schema, &definition.name);
    format!("nextval({}::regclass)", literal(&name))
}

/// The columns that are filled by a sequence, with their tables.
fn users(tables: &Tables, definition: &SequenceDefinition) -> Vec<(Arc<Table>, Arc<Shape>, usize)> {
    let place = (definition.schema.clone(), definition.name.clone());
    let mut users = Vec::new();
    for table in tables.all() {
        let shape = table.shape();
        for (at, column) in shape.definition.columns.iter().enumerate() {
            if column.sequence().as_ref() == Some(&place) {
                users.push((Arc::clone(&table), Arc::clone(&shape), at));
            }
        }
    }
    users
}

/// The column that a sequence goes with.
pub(crate) fn owner_of(
    tables: &[Arc<Table>],
    definition: &SequenceDefinition,
) -> Option<(Arc<Shape>, usize)> {
    let owner = definition.owner.as_ref()?;
    let table = tables.iter().find(|table| table.id() == owner.table)?;
    let shape = table.shape();
    let columns = &shape.definition.columns;
    let at = columns
        .iter()
        .position(|column| column.stored_as == owner.column)?;
    Some((shape, at))
}

fn not_in_state(message: String) -> Error {
    ChangeFault::Other("55000").error(message).into()
}

impl Session {
    /// The sequence of that name.
    ///
    /// # Errors
    /// 42P01 for one that there isn't, 42809 for a relation of another kind.
    pub(super) fn sequence(&self, parts: &[String]) -> Result<Arc<Sequence>> {
        let (schema, name) = match parts {
            [name] => (DEFAULT_SCHEMA, name.as_str()),
            [.., schema, name] => (schema.as_str(), name.as_str()),
            [] => (DEFAULT_SCHEMA, ""),
        };
        if let Some(found) = self.engine.tables().sequences().named(schema, name) {
            return Ok(found);
        }
        match self.relation(parts) {
            Ok(_) => Err(not_a_sequence(name)),
            Err(_) => Err(unknown(&parts.join("."))),
        }
    }

    /// The next numbers of the sequence that fills a column.
    pub(super) fn next_numbers(
        &self,
        (schema, name): &(String, String),
        count: usize,
    ) -> Result<Vec<i64>> {
        let tables = self.engine.tables();
        let sequence = self.sequence(&[schema.clone(), name.clone()])?;
        let definition = sequence.definition();
        check_use(tables, &self.engine.catalog, &self.info, &definition)?;
        let numbers = tables.sequences().next(&sequence, count)?;
        if let Some(last) = numbers.last() {
            self.info.note_number(&definition.id, *last, true);
        }
        Ok(numbers)
    }

    pub(super) fn run_sequence(&self, statement: &SequenceStatement) -> Result<Outcome> {
        let tag = statement.tag();
        match statement {
            SequenceStatement::Create {
                name,
                if_not_exists,
                options,
            } => self.create_sequence(name, *if_not_exists, options),
            SequenceStatement::Alter {
                name,
                if_exists,
                options,
            } => {
                let Some(sequence) = self.sequence_or_notice(name, *if_exists)? else {
                    return Ok(Outcome::noted(tag, skipping(name)));
                };
                let owner = self.owner(options, &sequence.definition().schema)?;
                self.engine.tables().sequences().change(&sequence, |kept| {
                    *kept = changed(kept.clone(), options, false)?;
                    if let Some(owner) = owner {
                        kept.owner = owner;
                    }
                    Ok(())
                })?;
                Ok(Outcome::done(tag))
            }
            SequenceStatement::Rename {
                name,
                if_exists,
                schema,
                to,
            } => {
                let Some(sequence) = self.sequence_or_notice(name, *if_exists)? else {
                    return Ok(Outcome::noted(tag, skipping(name)));
                };
                let definition = sequence.definition();
                if schema.is_some() && definition.owner.is_some() {
                    return Err(Error::Unsupported {
                        message: "cannot move an owned sequence into another schema".to_owned(),
                        hint: Some(
                            "It goes with its table: ALTER TABLE ... SET SCHEMA.".to_owned(),
                        ),
                    });
                }
                let schema = schema.as_ref().unwrap_or(&definition.schema);
                let to = to.as_ref().unwrap_or(&definition.name);
                self.move_sequence(&sequence, schema, to)?;
                Ok(Outcome::done(tag))
            }
            SequenceStatement::Drop {
                names,
                if_exists,
                cascade,
            } => {
                let mut notices = Vec::new();
                let mut found = Vec::new();
                for name in names {
                    match self.sequence_or_notice(name, *if_exists)? {
                        Some(sequence) => found.push(sequence),
                        None => notices.push(skipping(name)),
                    }
                }
                for sequence in found {
                    self.release_sequence(&sequence, *cascade)?;
                    self.engine.drop_sequence(&sequence)?;
                }
                Ok(Outcome::done(tag).with(notices))
            }
            SequenceStatement::Identity {
                relation,
                if_exists,
                column,
                change,
            } => {
                let provider = match self.table_of(relation) {
                    Ok((_, _, provider)) => provider,
                    Err(_) if *if_exists => return Ok(Outcome::noted(tag, skipping(relation))),
                    Err(error) => return Err(error),
                };
                let table = durable_table(&provider).ok_or_else(|| Error::WrongObject {
                    message: format!("\"{}\" has no identities", relation.join(".")),
                    hint: "They are of tables that stay: CREATE TABLE.".to_owned(),
                })?;
                self.change_identity(&table, column, change)
            }
        }
    }

    fn sequence_or_notice(&self, name: &[String], lenient: bool) -> Result<Option<Arc<Sequence>>> {
        match self.sequence(name) {
            Ok(sequence) => Ok(Some(sequence)),
            Err(Error::Query {
                fault: Fault::UndefinedTable,
                ..
            }) if lenient => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create_sequence(
        &self,
        name: &[String],
        if_not_exists: bool,
        options: &SequenceOptions,
    ) -> Result<Outcome> {
        let (schema, name) = match name {
            [name] => (DEFAULT_SCHEMA, name.as_str()),
            [.., schema, name] => (schema.as_str(), name.as_str()),
            [] => (DEFAULT_SCHEMA, ""),
        };
        self.engine.catalog.check_rename(schema, name)?;
        let provider = self.schema_to_make_in(schema)?;
        if provider.table_exist(name) {
            let message = format!("relation \"{name}\" already exists");
            return match if_not_exists {
                true => {
                    let notice = Notice {
                        code: "42P07",
                        ..Notice::plain(format!("{message}, skipping"))
                    };
                    Ok(Outcome::noted("CREATE SEQUENCE", notice))
                }
                false => Err(Error::Query {
                    fault: Fault::DuplicateTable,
                    message,
                    position: None,
                }),
            };
        }
        let mut definition = new_sequence(schema, name, "int8", options)?;
        if let Some(owner) = self.owner(options, schema)? {
            definition.owner = owner;
        }
        let sequence = self.engine.tables().sequences().create(definition)?;
        self.engine
            .register_sequence(&sequence, provider.as_ref())?;
        Ok(Outcome::done("CREATE SEQUENCE"))
    }

    /// The column that `OWNED BY` names; nothing where it doesn't stand there.
    fn owner(
        &self,
        options: &SequenceOptions,
        schema: &str,
    ) -> Result<Option<Option<SequenceOwner>>> {
        let Some(owned_by) = &options.owned_by else {
            return Ok(None);
        };
        let Some(parts) = owned_by else {
            return Ok(Some(None));
        };
        let Some((column, relation)) = parts.split_last().filter(|(_, rest)| !rest.is_empty())
        else {
            return Err(Error::Syntax {
                message: "invalid OWNED BY option: specify OWNED BY table.column or OWNED BY NONE"
                    .to_owned(),
                position: None,
            });
        };
        let (_, name, provider) = self.table_of(relation)?;
        let Some(table) = durable_table(&provider) else {
            return Err(Error::WrongObject {
                message: format!("sequence cannot be owned by relation \"{name}\""),
                hint: "It can be owned by a column of a table that stays.".to_owned(),
            });
        };
        let shape = table.shape();
        if shape.definition.schema != schema {
            let message = "sequence must be in same schema as table it is linked to";
            return Err(not_in_state(message.to_owned()));
        }
        self.check_column(relation, column)?;
        let stored = shape
            .position(column)
            .map(|at| shape.definition.columns[at].stored_as.clone());
        Ok(Some(stored.map(|column| SequenceOwner {
            table: table.id(),
            column,
        })))
    }

    /// Takes a sequence from the columns that it fills; refuses to where that isn't asked for.
    fn release_sequence(&self, sequence: &Sequence, cascade: bool) -> Result<()> {
        let definition = sequence.definition();
        let name = &definition.name;
        for (table, shape, at) in users(self.engine.tables(), &definition) {
            let (relation, column) = (&shape.definition.name, &shape.definition.columns[at]);
            let column_name = &column.name;
            if column.identity.is_some() {
                return Err(ChangeFault::Depended
                    .error(format!(
                        "cannot drop sequence {name} because column {column_name} of table {relation} requires it"
                    ))
                    .hint(format!("You can drop column {column_name} of table {relation} instead."))
                    .into());
            }
            if !cascade {
                return Err(ChangeFault::Depended
                    .error(format!(
                        "cannot drop sequence {name} because other objects depend on it"
                    ))
                    .detail(format!(
                        "default value for column {column_name} of table {relation} depends on sequence {name}"
                    ))
                    .hint("Use DROP ... CASCADE to drop the dependent objects too.")
                    .into());
            }
            self.redefine_table(&table, |definition| definition.columns[at].default = None)?;
        }
        Ok(())
    }

    /// A sequence is called otherwise, or is in another schema, from now on.
    pub(super) fn move_sequence(
        &self,
        sequence: &Arc<Sequence>,
        schema: &str,
        to: &str,
    ) -> Result<()> {
        let definition = sequence.definition();
        let target = self.schema(schema)?;
        if target.table_exist(to) {
            return Err(Error::Query {
                fault: Fault::DuplicateTable,
                message: format!("relation \"{to}\" already exists"),
                position: None,
            });
        }
        self.engine.catalog.check_rename(schema, to)?;
        let from = self.schema(&definition.schema)?;
        let access = self.engine.catalog.access();
        access.rename(
            &Object::relation(&definition.schema, &definition.name),
            &Object::relation(schema, to),
        )?;
        self.engine.tables().sequences().change(sequence, |kept| {
            schema.clone_into(&mut kept.schema);
            to.clone_into(&mut kept.name);
            Ok(())
        })?;
        from.deregister_table(&definition.name)?;
        self.engine.register_sequence(sequence, target.as_ref())?;
        // Those that it fills call it by its new name.
        let new = written(schema, to);
        for (table, _, at) in users(self.engine.tables(), &definition) {
            self.redefine_table(&table, |definition| {
                let column = &mut definition.columns[at];
                column.default = column.default.as_deref().map(|text| renamed(text, &new));
            })?;
        }
        Ok(())
    }

    fn change_identity(
        &self,
        table: &Arc<Table>,
        column: &str,
        change: &IdentityChange,
    ) -> Result<Outcome> {
        const TAG: &str = "ALTER TABLE";
        let shape = table.shape();
        let definition = &shape.definition;
        let relation = &definition.name;
        let Some(at) = shape.position(column) else {
            self.check_column(&[definition.schema.clone(), relation.clone()], column)?;
            return Ok(Outcome::done(TAG));
        };
        let known = &definition.columns[at];
        let of = format!("column \"{column}\" of relation \"{relation}\"");
        if let IdentityChange::DropExpression(lenient) = change {
            if known.generated.is_none() {
                let message = format!("{of} is not a stored generated column");
                return match lenient {
                    true => {
                        let notice = Notice::plain(format!("{message}, skipping"));
                        Ok(Outcome::noted(TAG, notice))
                    }
                    false => Err(not_in_state(message)),
                };
            }
            self.redefine_table(table, |definition| definition.columns[at].generated = None)?;
            return Ok(Outcome::done(TAG));
        }
        let is_identity = known.identity.is_some();
        let none = || not_in_state(format!("{of} is not an identity column"));
        let sequence = known.sequence();
        match change {
            IdentityChange::Add(always, options) => {
                let wrong = match known {
                    _ if is_identity => Some(format!("{of} is already an identity column")),
                    known if known.default.is_some() || known.generated.is_some() => {
                        Some(format!("{of} already has a default value"))
                    }
                    known if !known.not_null => Some(format!(
                        "{of} must be declared NOT NULL before identity can be added"
                    )),
                    _ => None,
                };
                if let Some(message) = wrong {
                    return Err(not_in_state(message));
                }
                let owned = self.owned_sequence(definition, known, options)?;
                let default = default_by(&owned);
                let sequence = self.engine.tables().sequences().create(owned)?;
                let schema = self.schema(&definition.schema)?;
                self.engine.register_sequence(&sequence, schema.as_ref())?;
                self.redefine_table(table, |definition| {
                    let column = &mut definition.columns[at];
                    column.default = Some(default);
                    column.identity = Some(kind_of(*always));
                })?;
            }
            IdentityChange::Set(kind, options) => {
                let Some((schema, name)) = sequence.filter(|_| is_identity) else {
                    return Err(none());
                };
                let sequence = self.sequence(&[schema, name])?;
                self.change_sequence(&sequence, options)?;
                if let Some(always) = kind {
                    self.redefine_table(table, |definition| {
                        definition.columns[at].identity = Some(kind_of(*always));
                    })?;
                }
            }
            IdentityChange::Drop(lenient) if !is_identity => {
                return match lenient {
                    true => {
                        let message = format!("{of} is not an identity column, skipping");
                        Ok(Outcome::noted(TAG, Notice::plain(message)))
                    }
                    false => Err(none()),
                };
            }
            IdentityChange::Drop(_) => {
                self.redefine_table(table, |definition| {
                    let column = &mut definition.columns[at];
                    column.default = None;
                    column.identity = None;
                })?;
                if let Some((schema, name)) = sequence {
                    let sequence = self.sequence(&[schema, name])?;
                    self.engine.drop_sequence(&sequence)?;
                }
            }
            IdentityChange::DropExpression(_) => {}
        }
        Ok(Outcome::done(TAG))
    }

    /// Something is said of a sequence that there is.
    pub(super) fn change_sequence(
        &self,
        sequence: &Sequence,
        options: &SequenceOptions,
    ) -> Result<()> {
        self.engine.tables().sequences().change(sequence, |kept| {
            *kept = changed(kept.clone(), options, false)?;
            Ok(())
        })
    }

    /// The sequences that go with a table begin anew; a transaction that is rolled back gives back how far they were.
    pub(super) fn restart_sequences(&self, table: &Table) -> Result<()> {
        let tables = self.engine.tables();
        let sequences = tables.sequences();
        for sequence in sequences.of_table(&table.id()) {
            if let Some(block) = lock(&self.block).as_mut() {
                block.restarts.add(tables, &sequence);
            }
            sequences.change(&sequence, |kept| {
                kept.last = kept.start;
                kept.called = false;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Sequences that columns were given, so that these can be filled.
    pub(super) fn make_sequences(
        &self,
        definitions: &[SequenceDefinition],
    ) -> Result<Vec<Arc<Sequence>>> {
        let mut made = Vec::with_capacity(definitions.len());
        for definition in definitions {
            let schema = self.schema(&definition.schema)?;
            let sequence = self
                .engine
                .tables()
                .sequences()
                .create(definition.clone())?;
            self.engine.register_sequence(&sequence, schema.as_ref())?;
            made.push(sequence);
        }
        Ok(made)
    }

    /// The sequence of a column that is to be filled by it.
    pub(super) fn owned_sequence(
        &self,
        definition: &TableDefinition,
        column: &ColumnDefinition,
        options: &SequenceOptions,
    ) -> Result<SequenceDefinition> {
        if !["int2", "int4", "int8"].contains(&column.kind.as_str()) {
            let message = "identity column type must be smallint, integer, or bigint";
            return Err(invalid(message.to_owned()));
        }
        let schema = self.schema(&definition.schema)?;
        let taken = |name: &str| schema.table_exist(name) || name == definition.name;
        let name = match options.name.as_ref().and_then(|parts| parts.last()) {
            Some(name) if taken(name) => {
                return Err(Error::Query {
                    fault: Fault::DuplicateTable,
                    message: format!("relation \"{name}\" already exists"),
                    position: None,
                });
            }
            Some(name) => name.clone(),
            None => super::tables::object_name(&definition.name, Some(&column.name), "seq", taken),
        };
        let owner = SequenceOwner {
            table: definition.id.clone(),
            column: column.stored_as.clone(),
        };
        Ok(SequenceDefinition {
            owner: Some(owner),
            ..new_sequence(&definition.schema, &name, &column.kind, options)?
        })
    }
}

/// `GENERATED ALWAYS` or `BY DEFAULT`
pub(super) fn kind_of(always: bool) -> IdentityKind {
    match always {
        true => IdentityKind::Always,
        false => IdentityKind::ByDefault,
    }
}

/// A default that calls a sequence otherwise.
fn renamed(text: &str, new: &str) -> String {
    let Ok(mut parsed) = super::tables::expression(text) else {
        return text.to_owned();
    };
    let called = format!("{}::regclass", literal(new));
    with_sequences(&mut parsed, |_| super::tables::expression(&called).ok());
    default_text(&parsed)
}

/// A default as it is kept, and shown.
pub(super) fn default_text(value: &Expr) -> String {
    match sequence_of(value) {
        Some((schema, name)) => format!("nextval({}::regclass)", literal(&written(&schema, &name))),
        None => value.to_string(),
    }
}

fn skipping(name: &[String]) -> Notice {
    let name = name.join(".");
    Notice::plain(format!("relation \"{name}\" does not exist, skipping"))
}

fn unknown(name: &str) -> Error {
    Error::Query {
        fault: Fault::UndefinedTable,
        message: format!("relation \"{name}\" does not exist"),
        position: None,
    }
}

fn not_a_sequence(name: &str) -> Error {
    Error::WrongObject {
        message: format!("\"{name}\" is not a sequence"),
        hint: "CREATE SEQUENCE makes one.".to_owned(),
    }
}

/// A default as it is computed: sequences are called by their names, which whoever adds a row need not see.
pub(super) fn by_name(default: &mut Expr) {
    with_sequences(default, |text| {
        super::tables::expression(&literal(text)).ok()
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_name_of_their_sequence() {
        let text = renamed("nextval('t_id_seq'::regclass)", "crm.\"New\"");
        assert_eq!(text, "nextval('crm.\"New\"'::regclass)");
        let mut default = super::super::tables::expression(&text).unwrap();
        by_name(&mut default);
        assert_eq!(default.to_string(), "nextval('crm.\"New\"')");
    }
}

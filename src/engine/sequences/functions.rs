//! The functions that hand out the numbers of sequences.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Int64Array};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ScalarUDF, Volatility};
use datafusion_funnel::definition::text::identifier;

use super::{not_a_sequence, not_in_state, owner_of, unknown, users};
use crate::catalog::access::{Object, Privilege};
use crate::catalog::{Catalog, relation_oid};
use crate::engine::DEFAULT_SCHEMA;
use crate::engine::info::SessionInfo;
use crate::error::{Error, Result};
use crate::postgres::function::{Call, Returns, volatile_function};
use crate::tables::{Sequence, SequenceDefinition, Shape, Tables, sequence_parts};

/// Refuses numbers to whoever wasn't granted them and may add rows to no table that they are for, and in a transaction that only reads.
pub(super) fn check_use(
    tables: &Tables,
    catalog: &Catalog,
    info: &SessionInfo,
    definition: &SequenceDefinition,
) -> Result<()> {
    if info.reads_only() {
        return Err(Error::ReadOnly("nextval()"));
    }
    let granted = [Privilege::Usage, Privilege::Update];
    match is_granted(catalog, info, definition, &granted)
        || adds_rows(tables, catalog, info, definition)
    {
        true => Ok(()),
        false => Err(denied(definition, "USAGE")),
    }
}

/// Whether who asks may add rows to a table that a sequence is for.
fn adds_rows(
    tables: &Tables,
    catalog: &Catalog,
    info: &SessionInfo,
    definition: &SequenceDefinition,
) -> bool {
    let (roles, role) = (catalog.roles(), info.role());
    let adds_rows = |shape: &Shape| {
        let table = &shape.definition;
        let entry = catalog
            .access()
            .entry(&Object::relation(&table.schema, &table.name));
        entry.allows_part(roles, &role, Privilege::Insert)
    };
    let owner = owner_of(&tables.all(), definition).map(|(shape, _)| shape);
    let users = users(tables, definition);
    let shapes = users.into_iter().map(|(_, shape, _)| shape).chain(owner);
    shapes.into_iter().any(|shape| adds_rows(&shape))
}

/// Whether who asks has one of these privileges on a sequence.
fn is_granted(
    catalog: &Catalog,
    info: &SessionInfo,
    definition: &SequenceDefinition,
    privileges: &[Privilege],
) -> bool {
    let object = Object::relation(&definition.schema, &definition.name);
    let entry = catalog.access().known(&object);
    let mut privileges = privileges.iter();
    privileges.any(|privilege| entry.allows(catalog.roles(), &info.role(), *privilege))
}

fn denied(definition: &SequenceDefinition, privilege: &str) -> Error {
    Error::Denied {
        message: format!("permission denied for sequence {}", definition.name),
        hint: format!(
            "A superuser can let you: GRANT {privilege} ON SEQUENCE {}.{} TO your role. Whoever may INSERT into its table may take numbers.",
            identifier(&definition.schema),
            identifier(&definition.name)
        ),
    }
}

/// What the functions look at.
#[derive(Debug)]
struct Place {
    tables: Arc<Tables>,
    catalog: Arc<Catalog>,
}

impl Place {
    /// The sequence that an argument names, by its name or its OID.
    fn sequence(&self, call: &Call, named: &Named) -> Result<Arc<Sequence>> {
        let sequences = self.tables.sequences();
        let info = call.asker()?;
        let by_oid = |oid: i32| {
            let all = sequences.all().into_iter();
            let mut all = all.map(|sequence| (sequence.definition(), sequence));
            let found = all.find(|(known, _)| relation_oid(&known.schema, &known.name) == oid);
            found.map(|(_, sequence)| sequence)
        };
        let text = match named {
            Named::Oid(oid) => {
                return by_oid(*oid).ok_or_else(|| match info.names().relation(*oid) {
                    Some((_, name)) => not_a_sequence(&name),
                    None => unknown(&oid.to_string()),
                });
            }
            Named::Text(text) => text,
        };
        let parts = sequence_parts(text).unwrap_or_default();
        let found = match parts.as_slice() {
            [name] => {
                let schema = info.search_path().schema_of(name);
                sequences.named(schema.as_deref().unwrap_or(DEFAULT_SCHEMA), name)
            }
            [.., schema, name] => sequences.named(schema, name),
            [] => text.parse().ok().and_then(by_oid),
        };
        found.ok_or_else(|| match info.names().relation_oid(text) {
            Some(_) => not_a_sequence(parts.last().map_or(text, String::as_str)),
            None => unknown(text),
        })
    }

    fn next(&self, call: &Call) -> Result<ArrayRef> {
        let named = named(call)?;
        let mut numbers: Vec<Option<i64>> = Vec::with_capacity(call.rows);
        // Rows that name the same sequence, which is nearly always all of them, get theirs together.
        for group in named.chunk_by(|a, b| a == b) {
            let Some(name) = group.first().and_then(Option::as_ref) else {
                numbers.extend(group.iter().map(|_| None));
                continue;
            };
            let sequence = self.sequence(call, name)?;
            let definition = sequence.definition();
            let info = call.asker()?;
            check_use(&self.tables, &self.catalog, info, &definition)?;
            let next = self.tables.sequences().next(&sequence, group.len())?;
            if let Some(last) = next.last() {
                info.note_number(&definition.id, *last, true);
            }
            numbers.extend(next.into_iter().map(Some));
        }
        Ok(Arc::new(Int64Array::from(numbers)))
    }

    fn current(&self, call: &Call) -> Result<ArrayRef> {
        let info = call.asker()?;
        let current = |name: Option<Named>| {
            let Some(name) = name else {
                return Ok(None);
            };
            let definition = self.sequence(call, &name)?.definition();
            let granted = [Privilege::Usage, Privilege::Select];
            if !is_granted(&self.catalog, info, &definition, &granted)
                && !adds_rows(&self.tables, &self.catalog, info, &definition)
            {
                return Err(denied(&definition, "SELECT"));
            }
            let known = info.number_of(&definition.id);
            known.map(Some).ok_or_else(|| {
                not_in_state(format!(
                    "currval of sequence \"{}\" is not yet defined in this session",
                    definition.name
                ))
            })
        };
        let numbers = named(call)?.into_iter().map(current);
        Ok(Arc::new(numbers.collect::<Result<Int64Array>>()?))
    }

    fn set(&self, call: &Call) -> Result<ArrayRef> {
        let info = call.asker()?;
        let (values, called) = (call.integers(1)?, call.texts(2)?);
        let mut numbers = Vec::with_capacity(call.rows);
        for (row, name) in named(call)?.into_iter().enumerate() {
            let (Some(name), true) = (name, values.is_valid(row)) else {
                numbers.push(None);
                continue;
            };
            let called = !called.is_valid(row) || called.value(row) == "t";
            let sequence = self.sequence(call, &name)?;
            let definition = sequence.definition();
            if info.reads_only() {
                return Err(Error::ReadOnly("setval()"));
            }
            if !is_granted(&self.catalog, info, &definition, &[Privilege::Update]) {
                return Err(denied(&definition, "UPDATE"));
            }
            let value = values.value(row);
            self.tables.sequences().set(&sequence, value, called)?;
            if called {
                info.note_number(&definition.id, value, false);
            }
            numbers.push(Some(value));
        }
        Ok(Arc::new(Int64Array::from(numbers)))
    }
}

/// How a sequence is named: `'crm.t_id_seq'`, or `'crm.t_id_seq'::regclass`, which is an OID.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Oid(i32),
    Text(String),
}

fn named(call: &Call) -> Result<Vec<Option<Named>>> {
    let is_number = call
        .arrays
        .first()
        .is_some_and(|names| names.data_type().is_integer());
    if is_number {
        let oids = call.integers(0)?;
        let oid = |oid: i64| i32::try_from(oid).ok().map(Named::Oid);
        return Ok(oids.iter().map(|number| number.and_then(oid)).collect());
    }
    let texts = call.texts(0)?;
    let text = |text: &str| Named::Text(text.to_owned());
    Ok(texts.iter().map(|name| name.map(text)).collect())
}

/// `nextval`, `currval`, `lastval` and `setval`.
pub(in crate::engine) fn functions(tables: &Arc<Tables>, catalog: &Arc<Catalog>) -> Vec<ScalarUDF> {
    let place = Arc::new(Place {
        tables: Arc::clone(tables),
        catalog: Arc::clone(catalog),
    });
    let with = |name: &str, run: fn(&Place, &Call) -> Result<ArrayRef>| {
        let place = Arc::clone(&place);
        volatile_function(
            name,
            Returns::Type("int8"),
            Volatility::Volatile,
            move |call| {
                run(&place, call).map_err(|error| DataFusionError::External(Box::new(error)))
            },
        )
    };
    vec![
        with("nextval", Place::next),
        with("currval", Place::current),
        with("setval", Place::set),
        with("lastval", |_, call| {
            let last = call.asker()?.last_number().ok_or_else(|| {
                not_in_state("lastval is not yet defined in this session".to_owned())
            })?;
            Ok(Arc::new(Int64Array::from(vec![last; call.rows])))
        }),
    ]
}

//! Primary keys and unique constraints: no two rows have the same values in their columns.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::{JoinType, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, col, ident, lit};
use datafusion::prelude::{DataFrame, SessionContext};

use super::definition::{Key, Shape};
use super::provider::DurableTable;
use super::version::{DataFile, Version};
use super::writer::{row_text, texts};
use super::{Table, Tables};
use crate::error::{ChangeError, ChangeFault, Result};

/// Keys that were seen.
#[derive(Debug)]
pub struct KeySet {
    columns: Vec<usize>,
    converter: RowConverter,
    nulls_same: bool,
    known: HashSet<Box<[u8]>>,
}

impl KeySet {
    /// No keys yet, of a table's rows.
    ///
    /// # Errors
    /// 0A000 for a type that has no order.
    pub fn new(shape: &Shape, key: &Key) -> Result<Self> {
        let columns = key.columns.clone();
        let fields = columns
            .iter()
            .map(|at| SortField::new(shape.schema.field(*at).data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(DataFusionError::from)?;
        Ok(Self {
            columns,
            converter,
            nulls_same: key.nulls_same,
            known: HashSet::new(),
        })
    }

    /// Adds the keys of rows; tells for each row whether its key is new, which one with NULL in it is unless NULLs are the same.
    ///
    /// # Errors
    /// XX000 for rows of another table.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<Vec<bool>> {
        let keys = self.of(rows)?.into_iter();
        Ok(keys
            .map(|key| key.is_none_or(|key| self.known.insert(key)))
            .collect())
    }

    /// The keys of rows; nothing for one with NULL in it.
    fn of(&self, rows: &RecordBatch) -> Result<Vec<Option<Box<[u8]>>>> {
        let columns = self.columns.iter().map(|at| Arc::clone(rows.column(*at)));
        let columns: Vec<ArrayRef> = columns.collect();
        let keys = self
            .converter
            .convert_columns(&columns)
            .map_err(DataFusionError::from)?;
        let is_null =
            |row: usize| !self.nulls_same && columns.iter().any(|column| column.is_null(row));
        let keys = keys.iter().enumerate();
        Ok(keys
            .map(|(row, key)| (!is_null(row)).then(|| Box::from(key.as_ref())))
            .collect())
    }
}

/// Tells for each row whether each of its keys is new, among those of rows that this was told of before: a row that isn't to be
/// added keeps no later one from it.
///
/// # Errors
/// 0A000 for a type that has no order.
pub fn distinct(shape: &Shape, keys: &[Key], batches: &[RecordBatch]) -> Result<Vec<Vec<bool>>> {
    let sets = keys.iter().map(|key| KeySet::new(shape, key));
    let mut sets = sets.collect::<Result<Vec<_>>>()?;
    let mut all = Vec::with_capacity(batches.len());
    for batch in batches {
        let of = |set: &KeySet| set.of(batch);
        let keys = sets.iter().map(of).collect::<Result<Vec<_>>>()?;
        let mut new = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let keys = || keys.iter().map(|keys| keys[row].as_deref());
            let known = sets.iter().zip(keys());
            let known = known.filter_map(|(set, key)| Some(set.known.contains(key?)));
            let is_new = !known.into_iter().any(|known| known);
            if is_new {
                for (set, key) in sets.iter_mut().zip(keys()) {
                    set.known.extend(key.map(Box::from));
                }
            }
            new.push(is_new);
        }
        all.push(new);
    }
    Ok(all)
}

/// Rows that are about to be in a table.
pub enum NewRows {
    /// Few, in memory.
    Batches(Vec<RecordBatch>),
    /// Many, in files.
    Files(Vec<Arc<DataFile>>),
}

/// Refuses new rows whose keys there are already, among them or in `old` files.
///
/// # Errors
/// 23505.
pub async fn check_new_keys(
    context: &SessionContext,
    tables: &Arc<Tables>,
    table: &Arc<Table>,
    shape: &Arc<Shape>,
    new: &NewRows,
    old: &[Arc<DataFile>],
) -> Result<()> {
    let place = Place {
        context,
        tables,
        table,
        shape,
    };
    for key in shape.keys() {
        place.check(&key, new, old).await?;
    }
    Ok(())
}

/// Refuses to make a key of columns that have the same values in two rows of these files.
///
/// # Errors
/// 23505.
pub async fn duplicated(
    context: &SessionContext,
    tables: &Arc<Tables>,
    table: &Arc<Table>,
    shape: &Arc<Shape>,
    key: &Key,
    files: Vec<Arc<DataFile>>,
) -> Result<()> {
    let place = Place {
        context,
        tables,
        table,
        shape,
    };
    match place.twice(key, files).await? {
        None => Ok(()),
        Some(texts) => Err(ChangeFault::Unique
            .error(format!("could not create unique index \"{}\"", key.name))
            .detail(format!(
                "Key {} is duplicated.",
                key_value(shape, key, &texts)
            ))
            .of_constraint(&shape.definition, &key.name)
            .into()),
    }
}

/// Where rows are looked for.
struct Place<'a> {
    context: &'a SessionContext,
    tables: &'a Arc<Tables>,
    table: &'a Arc<Table>,
    shape: &'a Arc<Shape>,
}

impl Place<'_> {
    fn files(&self, files: Vec<Arc<DataFile>>) -> Arc<dyn TableProvider> {
        // Whatever version they are of, they are read as they are now.
        let number = u64::MAX;
        let version = Arc::new(Version { number, files });
        let rows = DurableTable::new(self.tables, self.table)
            .shaped(Arc::clone(self.shape))
            .at(version);
        Arc::new(rows)
    }

    /// The texts of a key that two rows of these files have.
    async fn twice(&self, key: &Key, files: Vec<Arc<DataFile>>) -> Result<Option<Vec<String>>> {
        let twice = self
            .keys_of(self.files(files), key, "k")?
            .aggregate(names(key), vec![count(lit(1)).alias("n")])?
            .filter(col("n").gt(lit(1)))?;
        self.first(twice.limit(0, Some(1))?, key).await
    }

    async fn check(&self, key: &Key, new: &NewRows, old: &[Arc<DataFile>]) -> Result<()> {
        let shape = self.shape;
        let first = key.columns.first().copied();
        let (rows, bounds) = match new {
            NewRows::Batches(batches) => {
                let mut seen = KeySet::new(shape, key)?;
                for batch in batches {
                    if let Some(row) = seen.add(batch)?.iter().position(|new| !new) {
                        let texts = row_text(shape, &batch.slice(row, 1), 0);
                        let texts = key.columns.iter().filter_map(|at| texts.get(*at).cloned());
                        return Err(violation(shape, key, &texts.collect::<Vec<_>>()).into());
                    }
                }
                let rows = MemTable::try_new(Arc::clone(&shape.schema), vec![batches.clone()])?;
                let rows: Arc<dyn TableProvider> = Arc::new(rows);
                (rows, bounds_of(batches, first))
            }
            NewRows::Files(new) => {
                if let Some(texts) = self.twice(key, new.clone()).await? {
                    return Err(violation(shape, key, &texts).into());
                }
                (self.files(new.clone()), bounds_of_files(new, shape, first))
            }
        };
        // What is NULL lies between no bounds.
        let bounds = bounds.filter(|_| !key.nulls_same);
        let mut old = old.to_vec();
        if let (Some((least, most)), Some(first)) = (&bounds, first) {
            old.retain(|file| may_have(file, shape, first, least, most));
        }
        if old.is_empty() {
            return Ok(());
        }
        let mut old = self.keys_of(self.files(old), key, "o")?;
        if let Some((least, most)) = bounds {
            old = old.filter(ident("o0").between(lit(least), lit(most)))?;
        }
        let (ours, theirs): (Vec<String>, Vec<String>) = (0..key.columns.len())
            .map(|at| (format!("k{at}"), format!("o{at}")))
            .unzip();
        let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
        let theirs: Vec<&str> = theirs.iter().map(String::as_str).collect();
        let new = self.keys_of(rows, key, "k")?;
        let there = match key.nulls_same {
            // A join finds no NULL; an intersection does.
            true => new.intersect(old)?,
            false => new
                .join(old, JoinType::Inner, &ours, &theirs, None)?
                .select(names(key))?,
        };
        let there = there.limit(0, Some(1))?;
        match self.first(there, key).await? {
            None => Ok(()),
            Some(texts) => Err(violation(shape, key, &texts).into()),
        }
    }

    /// The key columns of rows, as a letter and their numbers: `k0`, `k1` …; rows with NULL in one of them have no key, unless NULLs are the same.
    fn keys_of(&self, rows: Arc<dyn TableProvider>, key: &Key, letter: &str) -> Result<DataFrame> {
        let name = |at: &usize| ident(self.shape.schema.field(*at).name());
        let columns = key.columns.iter().enumerate();
        let columns = columns.map(|(number, at)| name(at).alias(format!("{letter}{number}")));
        let mut rows = self
            .context
            .read_table(rows)?
            .select(columns.collect::<Vec<_>>())?;
        for (number, at) in key.columns.iter().enumerate() {
            if self.shape.schema.field(*at).is_nullable() && !key.nulls_same {
                rows = rows.filter(ident(format!("{letter}{number}")).is_not_null())?;
            }
        }
        Ok(rows)
    }

    /// The texts of the first row of keys.
    async fn first(&self, keys: DataFrame, key: &Key) -> Result<Option<Vec<String>>> {
        for batch in keys.collect().await? {
            if batch.num_rows() > 0 {
                let columns = batch.columns().iter().take(key.columns.len());
                let columns: Vec<ArrayRef> = columns.map(Arc::clone).collect();
                return Ok(Some(key_text(self.shape, key, &columns)));
            }
        }
        Ok(None)
    }
}

fn names(key: &Key) -> Vec<Expr> {
    let names = (0..key.columns.len()).map(|at| ident(format!("k{at}")));
    names.collect()
}

fn key_text(shape: &Shape, key: &Key, columns: &[ArrayRef]) -> Vec<String> {
    let fields: Vec<Field> = key
        .columns
        .iter()
        .map(|at| shape.schema.field(*at).clone())
        .collect();
    let columns = columns.iter().zip(&fields).map(|(column, field)| {
        cast(column, field.data_type()).unwrap_or_else(|_| Arc::clone(column))
    });
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns.collect());
    match rows {
        Ok(rows) => texts(rows.schema_ref(), &rows, 0),
        Err(_) => Vec::new(),
    }
}

/// `(a, b)=(1, 2)`
fn key_value(shape: &Shape, key: &Key, texts: &[String]) -> String {
    let columns: Vec<&str> = key
        .columns
        .iter()
        .map(|at| shape.schema.field(*at).name().as_str())
        .collect();
    format!("({})=({})", columns.join(", "), texts.join(", "))
}

fn violation(shape: &Shape, key: &Key, texts: &[String]) -> ChangeError {
    let name = &key.name;
    let message = format!("duplicate key value violates unique constraint \"{name}\"");
    ChangeFault::Unique
        .error(message)
        .detail(format!(
            "Key {} already exists.",
            key_value(shape, key, texts)
        ))
        .hint("INSERT ... ON CONFLICT DO UPDATE changes the row that is there.")
        .of_constraint(&shape.definition, name)
}

/// The least and the greatest value of a column.
type Bounds = (ScalarValue, ScalarValue);

fn wider(bounds: Option<Bounds>, least: ScalarValue, most: ScalarValue) -> Bounds {
    match bounds {
        None => (least, most),
        Some((known_least, known_most)) => (
            if least < known_least {
                least
            } else {
                known_least
            },
            if most > known_most { most } else { known_most },
        ),
    }
}

/// Those of rows.
fn bounds_of(batches: &[RecordBatch], column: Option<usize>) -> Option<Bounds> {
    let column = column?;
    let mut bounds = None;
    for batch in batches {
        let values = batch.column(column);
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let value = ScalarValue::try_from_array(values, row).ok()?;
            bounds = Some(wider(bounds, value.clone(), value));
        }
    }
    bounds
}

/// Those of files, where the log has them.
fn bounds_of_files(
    files: &[Arc<DataFile>],
    shape: &Shape,
    column: Option<usize>,
) -> Option<Bounds> {
    let column = column?;
    let mut bounds = None;
    for file in files {
        let (least, most) = file.bounds(shape, column)?;
        bounds = Some(wider(bounds, least, most));
    }
    bounds
}

/// Whether a file may have a value between these.
fn may_have(
    file: &DataFile,
    shape: &Shape,
    column: usize,
    least: &ScalarValue,
    most: &ScalarValue,
) -> bool {
    match file.bounds(shape, column) {
        Some((first, last)) => first <= *most && last >= *least,
        None => true,
    }
}

impl NewRows {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Batches(batches) => batches.iter().all(|batch| batch.num_rows() == 0),
            Self::Files(files) => files.is_empty(),
        }
    }
}

//! Rows that are to be changed, into files: each file that has one of them is written anew.
//!
//! The changes come in the order of the rows' places, so that a file and the changes in it are read side by side. A row
//! that has no place yet comes last. What a change doesn't set stays as it is in the file, whatever its reader sees of it.

use std::sync::Arc;

use datafusion::arrow::array::UInt32Array;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{filter_record_batch, interleave, take_record_batch};
use datafusion::arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::PhysicalExpr;
use futures::TryStreamExt;

use super::target::{Target, fitted, typed, whole};
use crate::engine::Reservation;
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Result};
use crate::tables::{DataFile, Version, Writer, converted, read_file};

/// What is done with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// These columns are set, by their places in the table.
    Update(Vec<usize>),
    /// It goes.
    Delete,
    /// It comes.
    Insert,
}

/// How the rows of a change are read: their file, their place, their deed's number, and values.
#[derive(Debug)]
pub struct Changes {
    /// The deeds.
    pub deeds: Vec<Deed>,
    /// The places in the table of the columns that have values.
    pub columns: Vec<usize>,
    /// Whether a row that is to be changed twice is an error; otherwise the first change counts.
    pub once: bool,
    /// What a row has to fulfil after it was changed: a policy's condition.
    pub check: Option<Arc<dyn PhysicalExpr>>,
    /// Whether the rows are wanted, as they are afterwards or were before they went.
    pub returning: bool,
    /// The columns of other tables that are wanted beside them; they come behind the values.
    pub others: Option<SchemaRef>,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Applied {
    /// Files that go.
    pub removed: Vec<Arc<DataFile>>,
    /// Files that come.
    pub added: Vec<Arc<DataFile>>,
    /// How many rows were changed.
    pub count: u64,
    /// The rows, where they are wanted.
    pub returned: Vec<RecordBatch>,
    /// What other tables have beside each of these, where that is wanted.
    pub others: Vec<RecordBatch>,
}

/// A change of one row.
#[derive(Debug, Clone, Copy)]
struct RowChange {
    file: Option<i32>,
    row: i64,
    deed: usize,
    /// Where its values are: the batch and the row in it.
    at: (usize, usize),
}

/// The changes, one after the other.
struct Cursor {
    stream: SendableRecordBatchStream,
    /// The batches whose rows may still be needed.
    batches: Vec<RecordBatch>,
    next: Vec<RowChange>,
}

impl Cursor {
    async fn peek(&mut self) -> Result<Option<RowChange>> {
        while self.next.is_empty() {
            let Some(batch) = self.stream.try_next().await? else {
                return Ok(None);
            };
            let number = self.batches.len();
            let files = batch.column(0).as_primitive::<Int32Type>();
            let rows = batch.column(1).as_primitive::<Int64Type>();
            let deeds = batch.column(2).as_primitive::<Int32Type>();
            let changes = (0..batch.num_rows()).filter(|row| deeds.is_valid(*row));
            let changes = changes.map(|row| RowChange {
                file: files.is_valid(row).then(|| files.value(row)),
                row: if rows.is_valid(row) {
                    rows.value(row)
                } else {
                    -1
                },
                deed: usize::try_from(deeds.value(row)).unwrap_or(0),
                at: (number, row),
            });
            self.next = changes.collect();
            self.next.reverse();
            self.batches.push(batch);
        }
        Ok(self.next.last().copied())
    }

    /// The changes of rows below `end` of a file.
    async fn within(&mut self, file: i32, end: i64) -> Result<Vec<RowChange>> {
        let mut found = Vec::new();
        while let Some(change) = self.peek().await? {
            if change.file != Some(file) || change.row >= end {
                break;
            }
            found.push(change);
            self.next.pop();
        }
        Ok(found)
    }

    /// Forgets batches that no further change is in.
    fn forget(&mut self) {
        let needed = self.next.last().map(|change| change.at.0);
        match needed {
            None => self.batches.clear(),
            Some(first) if first > 0 => {
                self.batches.drain(..first);
                for change in &mut self.next {
                    change.at.0 -= first;
                }
            }
            Some(_) => {}
        }
    }
}

impl Session {
    /// Writes changes of rows of a version into files.
    pub(super) async fn apply(
        &self,
        target: &Target,
        base: &Version,
        stream: SendableRecordBatchStream,
        changes: &Changes,
    ) -> Result<Applied> {
        let mut writer = Writer::new(&target.table, &target.shape);
        let mut applied = Applied::default();
        let room = self.reserve("RETURNING");
        let done = self
            .apply_to(
                target,
                base,
                stream,
                changes,
                &mut writer,
                &mut applied,
                &room,
            )
            .await;
        match done {
            Ok(()) => applied.added = writer.finish().await?,
            Err(error) => {
                writer.abort().await;
                return Err(error);
            }
        }
        Ok(applied)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "what one statement's changes are made of"
    )]
    async fn apply_to(
        &self,
        target: &Target,
        base: &Version,
        stream: SendableRecordBatchStream,
        changes: &Changes,
        writer: &mut Writer,
        applied: &mut Applied,
        room: &Reservation,
    ) -> Result<()> {
        let state = self.context.state();
        let mut cursor = Cursor {
            stream,
            batches: Vec::new(),
            next: Vec::new(),
        };
        while let Some(change) = cursor.peek().await? {
            let Some(number) = change.file else {
                break;
            };
            let file = usize::try_from(number)
                .ok()
                .and_then(|at| base.files.get(at));
            let Some(file) = file else {
                return Err(Error::Query {
                    fault: crate::error::Fault::Internal,
                    message: "a row of no file was changed".to_owned(),
                    position: None,
                });
            };
            applied.removed.push(Arc::clone(file));
            let mut rows = read_file(&target.table, &target.shape, file, &state)?;
            let mut offset = 0;
            while let Some(batch) = rows.try_next().await? {
                let end = offset + i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
                let found = cursor.within(number, end).await?;
                let step = Step {
                    target,
                    changes,
                    batches: &cursor.batches,
                };
                let found = step.distinct(found)?;
                let changed = step.changed(&batch, offset, &found, applied, room)?;
                writer.write(&changed).await?;
                cursor.forget();
                offset = end;
            }
        }
        // Rows that come.
        while cursor.peek().await?.is_some() {
            let found = std::mem::take(&mut cursor.next);
            let step = Step {
                target,
                changes,
                batches: &cursor.batches,
            };
            let rows = step.inserted(&found)?;
            applied.count += u64::try_from(rows.num_rows()).unwrap_or(0);
            keep(applied, changes, &rows, room)?;
            writer.write(&rows).await?;
            cursor.forget();
        }
        Ok(())
    }
}

/// Keeps rows that are wanted.
fn keep(
    applied: &mut Applied,
    changes: &Changes,
    rows: &RecordBatch,
    room: &Reservation,
) -> Result<()> {
    if changes.returning && rows.num_rows() > 0 {
        room.grow(rows.get_array_memory_size())?;
        applied.returned.push(rows.clone());
    }
    Ok(())
}

/// Changes of one batch of a file.
struct Step<'a> {
    target: &'a Target,
    changes: &'a Changes,
    batches: &'a [RecordBatch],
}

impl Step<'_> {
    /// One change a row.
    fn distinct(&self, mut found: Vec<RowChange>) -> Result<Vec<RowChange>> {
        let before = found.len();
        found.dedup_by_key(|change| change.row);
        match found.len() < before && self.changes.once {
            true => Err(ChangeFault::Twice
                .error("MERGE command cannot affect row a second time")
                .hint("Ensure that not more than one source row matches any one target row.")
                .into()),
            false => Ok(found),
        }
    }

    fn changed(
        &self,
        batch: &RecordBatch,
        offset: i64,
        found: &[RowChange],
        applied: &mut Applied,
        room: &Reservation,
    ) -> Result<RecordBatch> {
        if found.is_empty() {
            return Ok(batch.clone());
        }
        let place = |change: &RowChange| usize::try_from(change.row - offset).unwrap_or(0);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
        for at in 0..batch.num_columns() {
            columns.push(self.column(batch, at, found, place)?);
        }
        let mut kept = vec![true; batch.num_rows()];
        let mut marked = vec![false; batch.num_rows()];
        let (mut updated, mut deleted) = (Vec::new(), Vec::new());
        let (mut beside_updated, mut beside_deleted) = (Vec::new(), Vec::new());
        for change in found {
            let row = u32::try_from(place(change)).unwrap_or(0);
            match &self.changes.deeds[change.deed] {
                Deed::Delete => {
                    kept[place(change)] = false;
                    deleted.push(row);
                    beside_deleted.push(change.at);
                }
                Deed::Update(_) | Deed::Insert => {
                    marked[place(change)] = true;
                    updated.push(row);
                    beside_updated.push(change.at);
                }
            }
        }
        let (shape, rules) = (&self.target.shape, &self.target.rules);
        let mut columns = typed(shape, &columns)?;
        rules.compute(shape, &mut columns, Some(&BooleanArray::from(marked)))?;
        let rows = whole(shape, columns)?;
        applied.count += u64::try_from(found.len()).unwrap_or(0);
        let updated =
            take_record_batch(&rows, &UInt32Array::from(updated)).map_err(DataFusionError::from)?;
        rules.check(shape, &updated)?;
        self.check(&updated)?;
        keep(applied, self.changes, &updated, room)?;
        if self.changes.returning {
            let deleted = take_record_batch(&rows, &UInt32Array::from(deleted))
                .map_err(DataFusionError::from)?;
            keep(applied, self.changes, &deleted, room)?;
        }
        for beside in [beside_updated, beside_deleted] {
            self.keep_others(&beside, applied, room)?;
        }
        let kept = filter_record_batch(&rows, &BooleanArray::from(kept));
        Ok(kept.map_err(DataFusionError::from)?)
    }

    /// A column with the values that were set.
    fn column(
        &self,
        batch: &RecordBatch,
        at: usize,
        found: &[RowChange],
        place: impl Fn(&RowChange) -> usize,
    ) -> Result<ArrayRef> {
        let old = batch.column(at);
        let sets = |change: &&RowChange| matches!(&self.changes.deeds[change.deed], Deed::Update(set) if set.contains(&at));
        let Some(value) = self.changes.columns.iter().position(|column| *column == at) else {
            return Ok(Arc::clone(old));
        };
        if !found.iter().any(|change| sets(&change)) {
            return Ok(Arc::clone(old));
        }
        let field = self.target.shape.schema.field(at);
        let values = self.values(value, field)?;
        let mut indices: Vec<(usize, usize)> = (0..batch.num_rows()).map(|row| (0, row)).collect();
        for change in found.iter().filter(sets) {
            indices[place(change)] = (change.at.0 + 1, change.at.1);
        }
        let old = fitted(&converted(old, field.data_type())?, field)?;
        let mut sources: Vec<&dyn Array> = vec![old.as_ref()];
        sources.extend(values.iter().map(AsRef::as_ref));
        Ok(interleave(&sources, &indices).map_err(DataFusionError::from)?)
    }

    /// The values of a column in all batches of changes.
    fn values(
        &self,
        value: usize,
        field: &datafusion::arrow::datatypes::Field,
    ) -> Result<Vec<ArrayRef>> {
        let values = self.batches.iter().map(|batch| {
            let column = batch.column(3 + value);
            fitted(&converted(column, field.data_type())?, field)
        });
        values.collect()
    }

    /// Keeps what other tables have beside rows, where it is wanted.
    fn keep_others(
        &self,
        rows: &[(usize, usize)],
        applied: &mut Applied,
        room: &Reservation,
    ) -> Result<()> {
        let Some(schema) = &self.changes.others else {
            return Ok(());
        };
        if rows.is_empty() {
            return Ok(());
        }
        let first = 3 + self.changes.columns.len();
        let columns = schema.fields().iter().enumerate().map(|(at, field)| {
            let values = self.batches.iter();
            let values = values.map(|batch| converted(batch.column(first + at), field.data_type()));
            let values = values.collect::<Result<Vec<ArrayRef>>>()?;
            let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
            Ok(interleave(&values, rows).map_err(DataFusionError::from)?)
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let others = RecordBatch::try_new(Arc::clone(schema), columns);
        let others = others.map_err(DataFusionError::from)?;
        room.grow(others.get_array_memory_size())?;
        applied.others.push(others);
        Ok(())
    }

    fn inserted(&self, found: &[RowChange]) -> Result<RecordBatch> {
        let mut indices: Vec<(usize, usize)> = found.iter().map(|change| change.at).collect();
        indices.reverse();
        let fields = self.target.shape.schema.fields();
        let columns = fields.iter().enumerate().map(|(at, field)| {
            let value = self.changes.columns.iter().position(|column| *column == at);
            let values = match value {
                Some(value) => self.values(value, field)?,
                None => {
                    let null = |batch: &RecordBatch| {
                        datafusion::arrow::array::new_null_array(
                            field.data_type(),
                            batch.num_rows(),
                        )
                    };
                    self.batches.iter().map(null).collect()
                }
            };
            let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
            Ok(interleave(&values, &indices).map_err(DataFusionError::from)?)
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        self.target.rows(&columns)
    }

    /// Refuses rows that their policy would hide from whoever changed them.
    fn check(&self, rows: &RecordBatch) -> Result<()> {
        let Some(check) = &self.changes.check else {
            return Ok(());
        };
        let fulfilled = check.evaluate(rows)?.into_array(rows.num_rows())?;
        let fulfilled = fulfilled.as_boolean();
        match fulfilled.iter().all(|row| row == Some(true)) {
            true => Ok(()),
            false => Err(super::policy_violation(self.target.name())),
        }
    }
}

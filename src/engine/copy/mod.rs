//! `COPY t FROM STDIN`: bytes from a client become rows of a table, in one commit.
//!
//! Three tasks work side by side: the client's bytes are received, rows are made of them, and rows become files. Each waits
//! for the next one when that has enough, so that a load of any size takes the memory of a few batches.

mod binary;
mod columns;
mod progress;
mod reader;

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{filter, filter_record_batch, interleave};
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::collect;
use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion_funnel::definition::text::{folded, identifier};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::outcome::Notice;
use super::session::Session;
use super::tables::{Local, Target, default_of, durable_table, named, parts, query, select};
use crate::catalog::access::Privilege;
use crate::catalog::{GuardedTable, plan_expression};
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::postgres::style::Locale;
use crate::sql::{Copied, Copy, CopyFormat, CopyOptions, Statement};
use crate::tables::{ColumnDefinition, NewRows, Writer, converted};
use binary::BinaryReader;
pub use binary::numeric_text;
pub use progress::{Copies, CopyProgress, RunningCopy};
use reader::{Reader, TextRows};

/// As many parts wait between two tasks.
const WAITING: usize = 4;

/// A copy that rows are sent to.
pub struct CopyIn {
    /// How many columns a row has.
    pub columns: usize,
    /// Whether its rows are binary.
    pub binary: bool,
    parts: mpsc::Sender<Part>,
    task: AbortOnDropHandle<Result<CopyDone>>,
    running: RunningCopy,
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyDone {
    /// How many rows were added.
    pub count: u64,
    /// What the user should know beside that.
    pub notices: Vec<Notice>,
}

enum Part {
    Bytes(Bytes),
    /// The client is done: without it nothing is kept.
    End,
}

enum Batch {
    Rows(RecordBatch),
    End,
}

/// Where rows go.
struct Destination {
    /// The table as the session may use it.
    guarded: Arc<GuardedTable>,
    /// The table, where it is durable.
    target: Option<Target>,
    schema: SchemaRef,
    name: String,
}

/// What a copy is, once everything about it was checked.
struct Plan {
    session: Arc<Session>,
    statement: Statement,
    destination: Destination,
    /// The columns that are sent, by their places in the table.
    places: Vec<usize>,
    options: CopyOptions,
    condition: Option<Arc<dyn PhysicalExpr>>,
    locale: Locale,
    /// What others see of it.
    shown: Arc<CopyProgress>,
}

impl CopyIn {
    /// What others see of it: whoever receives bytes counts them there.
    pub fn progress(&self) -> &CopyProgress {
        &self.running.progress
    }

    /// Hands over bytes; waits while there are many that aren't read yet.
    ///
    /// # Errors
    /// Those of rows that were sent before.
    pub async fn push(mut self, bytes: Bytes) -> Result<Self> {
        match self.parts.send(Part::Bytes(bytes)).await {
            Ok(()) => Ok(self),
            Err(_) => Err(self.fault().await),
        }
    }

    /// Everything was sent: the rows are in the table then.
    ///
    /// # Errors
    /// Those of the rows, and of the commit.
    pub async fn finish(mut self) -> Result<CopyDone> {
        if self.parts.send(Part::End).await.is_err() {
            return Err(self.fault().await);
        }
        match (&mut self.task).await {
            Ok(done) => done,
            Err(error) => Err(lost(&error)),
        }
    }

    /// Why nobody reads any more.
    async fn fault(&mut self) -> Error {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => Error::BadCopy("COPY has ended".to_owned()),
            Err(error) => lost(&error),
        }
    }
}

fn lost(error: &tokio::task::JoinError) -> Error {
    Error::Query {
        fault: Fault::Internal,
        message: format!("COPY was lost: {error}"),
        position: None,
    }
}

impl Session {
    /// Begins a copy into a table.
    ///
    /// # Errors
    /// 42P01 and 42703 for a table and columns that there aren't, 42501 for those that may not be changed, 22023 and 42601
    /// for options that can't be.
    pub async fn copy_from(self: &Arc<Self>, statement: &Statement, copy: &Copy) -> Result<CopyIn> {
        let Copied::Table(name, columns) = &copy.what else {
            return Err(Error::Unsupported {
                message: "COPY FROM needs a table".to_owned(),
                hint: None,
            });
        };
        self.flush_pending().await?;
        self.begin_statement();
        let (schema, table, provider) = self.table_of(&parts(name))?;
        let running = self.begin_copy("COPY FROM", Some((schema, table.clone())));
        let destination = self.destination(table, &provider)?;
        let names: Vec<String> = columns.iter().map(folded).collect();
        let places = destination.places(&names)?;
        let sent: Vec<&str> = places
            .iter()
            .map(|at| destination.schema.field(*at).name().as_str())
            .collect();
        destination.guarded.check_change(Privilege::Insert, &sent)?;
        let restriction = destination.guarded.restriction_of(&self.current_user());
        if !restriction.is_none() {
            return Err(super::tables::policy_violation(&destination.name));
        }
        let state = self.context.state();
        let condition = match &copy.condition {
            None => None,
            Some(condition) => {
                let expr = plan_expression(&state, &destination.schema, &condition.to_string())?;
                let schema = DFSchema::try_from(destination.schema.as_ref().clone())?;
                Some(state.create_physical_expr(expr, &schema)?)
            }
        };
        let encoding = self.setting("client_encoding").unwrap_or_default();
        let plan = Plan {
            session: Arc::clone(self),
            statement: statement.clone(),
            places,
            options: copy.options.clone(),
            condition,
            locale: self.locale(),
            destination,
            shown: Arc::clone(&running.progress),
        };
        let reading = plan.reading(&encoding)?;
        let (parts, received) = mpsc::channel(WAITING);
        Ok(CopyIn {
            columns: plan.places.len(),
            binary: copy.options.format == CopyFormat::Binary,
            parts,
            task: AbortOnDropHandle::new(tokio::spawn(plan.run(reading, received))),
            running,
        })
    }

    /// A copy to the client begins. Others see it until what is returned is dropped.
    pub fn copy_to(&self, what: &Copied) -> RunningCopy {
        let relation = match what {
            Copied::Table(name, _) => self.table_of(&parts(name)).ok(),
            Copied::Query(_) => None,
        };
        self.begin_copy("COPY TO", relation.map(|(schema, name, _)| (schema, name)))
    }

    fn begin_copy(&self, command: &'static str, relation: Option<(String, String)>) -> RunningCopy {
        let progress = CopyProgress::new(self.info.number(), self.user(), relation, command);
        self.engine.copies.begin(progress)
    }

    /// The columns of a relation that a copy has where it names none: what is generated is computed again by whoever reads them.
    ///
    /// # Errors
    /// 42P01 for a relation that there isn't.
    pub fn copied_columns(&self, name: &ObjectName) -> Result<String> {
        let (_, _, provider) = self.table_of(&parts(name))?;
        let Some(table) = durable_table(&provider) else {
            return Ok("*".to_owned());
        };
        let shape = table.shape();
        let columns = &shape.definition.columns;
        if columns.iter().all(|column| column.generated.is_none()) {
            return Ok("*".to_owned());
        }
        let given = columns.iter().filter(|column| column.generated.is_none());
        let given: Vec<String> = given.map(|column| identifier(&column.name)).collect();
        Ok(given.join(", "))
    }

    fn destination(&self, name: String, provider: &Arc<dyn TableProvider>) -> Result<Destination> {
        let wrong = || Error::WrongObject {
            message: format!("cannot copy to \"{name}\": it is no table"),
            hint: "Copy into the table beneath it.".to_owned(),
        };
        if provider.table_type() != datafusion::datasource::TableType::Base {
            return Err(wrong());
        }
        let guarded = provider.downcast_ref::<GuardedTable>().ok_or_else(wrong)?;
        let guarded = Arc::new(guarded.over(crate::catalog::unguarded(Arc::clone(provider))));
        let target = self.target_of(provider)?;
        Ok(Destination {
            guarded,
            schema: match &target {
                // Its texts are written as they are kept, not as they are read.
                Some(target) => Arc::clone(&target.shape.schema),
                None => provider.schema(),
            },
            target,
            name,
        })
    }
}

impl Destination {
    fn places(&self, names: &[String]) -> Result<Vec<usize>> {
        let is_generated = |at: usize| {
            let target = self.target.as_ref();
            target.is_some_and(|target| target.column(at).generated.is_some())
        };
        if names.is_empty() {
            let all = 0..self.schema.fields().len();
            return Ok(all.filter(|at| !is_generated(*at)).collect());
        }
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            let Ok(at) = self.schema.index_of(name) else {
                return Err(datafusion_funnel::error::FunnelError::Unknown {
                    kind: datafusion_funnel::error::Kind::Column,
                    name: name.clone(),
                    place: format!(" of relation \"{}\"", self.name),
                    existing: self
                        .schema
                        .fields()
                        .iter()
                        .map(|field| field.name().clone())
                        .collect(),
                }
                .into());
            };
            if is_generated(at) {
                return Err(ChangeFault::Other("42P10")
                    .error(format!("column \"{name}\" is a generated column"))
                    .detail("Generated columns cannot be used in COPY.")
                    .into());
            }
            if places.contains(&at) {
                return Err(Error::Query {
                    fault: Fault::DuplicateColumn,
                    message: format!("column \"{name}\" specified more than once"),
                    position: None,
                });
            }
            places.push(at);
        }
        Ok(places)
    }
}

/// Who reads the rows.
enum Reading {
    Text(Box<Reader>),
    Binary(BinaryReader),
}

/// What was read so far.
#[derive(Default)]
struct Progress {
    count: u64,
    skipped: u64,
}

impl Plan {
    fn fields(&self) -> Vec<Field> {
        let schema = &self.destination.schema;
        let fields = self.places.iter().map(|at| schema.field(*at).clone());
        fields.collect()
    }

    fn reading(&self, encoding: &str) -> Result<Reading> {
        let fields = self.fields();
        let table = &self.destination.name;
        Ok(match self.options.format {
            CopyFormat::Binary => Reading::Binary(BinaryReader::new(table, fields)),
            _ => {
                let names = fields.iter().map(|field| field.name().clone()).collect();
                let reader = Reader::new(table, names, self.options.clone(), encoding)?;
                Reading::Text(Box::new(reader))
            }
        })
    }

    /// Reads rows until the client is done, and adds them.
    async fn run(self, reading: Reading, mut received: mpsc::Receiver<Part>) -> Result<CopyDone> {
        let (batches, to_write) = mpsc::channel(WAITING);
        let session = Arc::clone(&self.session);
        let writing = match &self.destination.target {
            Some(target) => {
                let write = write(target.clone(), to_write);
                AbortOnDropHandle::new(tokio::spawn(write))
            }
            None => AbortOnDropHandle::new(tokio::spawn(keep(session, to_write))),
        };
        let mut progress = Progress::default();
        let read = self
            .read(reading, &mut received, &batches, &mut progress)
            .await;
        drop(batches);
        let written = writing.await;
        read?;
        let written = written.map_err(|error| lost(&error))??;
        self.add(written).await?;
        let notices = match progress.skipped {
            0 => Vec::new(),
            1 => vec![skipped(
                "1 row was skipped due to data type incompatibility",
            )],
            many => vec![skipped(&format!(
                "{many} rows were skipped due to data type incompatibility"
            ))],
        };
        Ok(CopyDone {
            count: progress.count,
            notices,
        })
    }

    async fn read(
        &self,
        mut reading: Reading,
        received: &mut mpsc::Receiver<Part>,
        batches: &mpsc::Sender<Batch>,
        progress: &mut Progress,
    ) -> Result<()> {
        let mut ended = false;
        while !ended {
            let bytes = match received.recv().await {
                Some(Part::Bytes(bytes)) => Some(bytes),
                Some(Part::End) => None,
                // The client is gone, or has said that it won't go on.
                None => return Err(Error::BadCopy("COPY was given up".to_owned())),
            };
            ended = bytes.is_none();
            let (mut texts, mut columns) = (Vec::new(), Vec::new());
            match (&mut reading, bytes) {
                (Reading::Text(reader), Some(bytes)) => reader.push(&bytes, &mut texts)?,
                (Reading::Text(reader), None) => reader.finish(&mut texts)?,
                (Reading::Binary(reader), Some(bytes)) => reader.push(&bytes, &mut columns)?,
                (Reading::Binary(reader), None) => reader.finish(&mut columns)?,
            }
            for rows in texts {
                let converted = self.converted(rows, progress)?;
                self.send(converted, batches, progress).await?;
            }
            for columns in columns {
                let rows = (columns, Vec::new(), Vec::new());
                self.send(rows, batches, progress).await?;
            }
        }
        // Whoever writes has an error of its own where it doesn't listen.
        let _ = batches.send(Batch::End).await;
        Ok(())
    }

    /// Texts as columns; rows that can't be read are left out where that was asked for.
    fn converted(&self, rows: TextRows, progress: &mut Progress) -> Result<Converted> {
        let fields = self.fields();
        let TextRows {
            columns: mut texts,
            mut defaults,
            mut lines,
        } = rows;
        loop {
            let bad = match columns::converted(&texts, &fields, &self.locale) {
                Ok(columns) => return Ok((columns, lines, defaults)),
                Err(bad) => bad,
            };
            if !self.options.ignore_errors {
                let column = &texts[bad.column];
                let text = match column.is_null(bad.row) {
                    true => "",
                    false => column.value(bad.row),
                };
                let text = text.to_owned();
                let line = lines.get(bad.row).copied().unwrap_or(0);
                let name = fields[bad.column].name();
                return Err(bad.at(&self.destination.name, line, name, &text));
            }
            progress.skipped += 1;
            if let Some(limit) = self.options.reject_limit
                && progress.skipped > limit
            {
                return Err(ChangeFault::Other("22P02")
                    .error(format!(
                        "skipped more than REJECT_LIMIT ({limit}) rows due to data type incompatibility"
                    ))
                    .context(format!(
                        "COPY {}, line {}",
                        self.destination.name,
                        lines.get(bad.row).copied().unwrap_or(0)
                    ))
                    .into());
            }
            let mut kept = vec![true; lines.len()];
            kept[bad.row] = false;
            let kept = BooleanArray::from(kept);
            for column in &mut texts {
                let filtered = filter(column, &kept).map_err(DataFusionError::from)?;
                *column = filtered.as_string::<i32>().clone();
            }
            lines.remove(bad.row);
            for rows in &mut defaults {
                rows.retain(|row| *row != bad.row);
                for row in rows {
                    *row -= usize::from(*row > bad.row);
                }
            }
        }
    }

    /// Hands rows over to whoever writes them.
    async fn send(
        &self,
        (columns, lines, defaults): Converted,
        batches: &mpsc::Sender<Batch>,
        progress: &mut Progress,
    ) -> Result<()> {
        let count = columns.first().map_or(0, |column| column.len());
        if count == 0 {
            return Ok(());
        }
        let mut rows = self.rows(columns, &defaults, count).await;
        if let Err(Error::Change(error)) = &mut rows
            && matches!(error.fault, ChangeFault::NotNull | ChangeFault::Check)
        {
            let line = lines.first().copied().unwrap_or(0);
            error.context = Some(format!(
                "COPY {}, lines from {line} on",
                self.destination.name
            ));
        }
        let mut rows = rows?;
        if let Some(condition) = &self.condition {
            let kept = condition.evaluate(&rows)?.into_array(rows.num_rows())?;
            let all = rows.num_rows();
            rows = filter_record_batch(&rows, kept.as_boolean()).map_err(DataFusionError::from)?;
            self.shown.add_excluded(all - rows.num_rows());
        }
        self.shown.add_rows(rows.num_rows());
        progress.count += u64::try_from(rows.num_rows()).unwrap_or(0);
        // Whoever writes has an error of its own where it doesn't listen.
        let _ = batches.send(Batch::Rows(rows)).await;
        Ok(())
    }

    /// Rows of the table: what isn't sent is what the columns are by themselves.
    async fn rows(
        &self,
        columns: Vec<ArrayRef>,
        defaults: &[Vec<usize>],
        count: usize,
    ) -> Result<RecordBatch> {
        let schema = &self.destination.schema;
        let mut all = Vec::with_capacity(schema.fields().len());
        for (at, field) in schema.fields().iter().enumerate() {
            let sent = self.places.iter().position(|place| *place == at);
            let column = match sent {
                None => self.default_column(at, field, count).await?,
                Some(sent) => {
                    let column = Arc::clone(&columns[sent]);
                    match defaults.get(sent).filter(|rows| !rows.is_empty()) {
                        None => column,
                        Some(rows) => {
                            let values = self.default_column(at, field, count).await?;
                            let pick = (0..count)
                                .map(|row| (usize::from(rows.contains(&row)), row))
                                .collect::<Vec<_>>();
                            interleave(&[column.as_ref(), values.as_ref()], &pick)
                                .map_err(DataFusionError::from)?
                        }
                    }
                }
            };
            all.push(column);
        }
        match &self.destination.target {
            Some(target) => target.rows(&all),
            None => {
                let columns = all.iter().zip(schema.fields());
                let columns = columns.map(|(column, field)| converted(column, field.data_type()));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                let rows = RecordBatch::try_new(Arc::clone(schema), columns);
                Ok(rows.map_err(DataFusionError::from)?)
            }
        }
    }

    /// What a column is where nothing is given.
    async fn default_column(&self, at: usize, field: &Field, count: usize) -> Result<ArrayRef> {
        let column: Option<&ColumnDefinition> = self
            .destination
            .target
            .as_ref()
            .map(|target| target.column(at))
            .filter(|column| column.default.is_some());
        let Some(column) = column else {
            return Ok(datafusion::arrow::array::new_null_array(
                field.data_type(),
                count,
            ));
        };
        let mut built = query(&format!("SELECT 1 FROM generate_series(1, {count})"))?;
        select(&mut built)?.projection = vec![named(
            super::tables::assigned(default_of(column)?, column),
            "value",
        )];
        let stream = self
            .session
            .stream_of_query(&self.statement, built, &Local::default(), &[])
            .await?;
        let batches: Vec<RecordBatch> = futures::TryStreamExt::try_collect(stream).await?;
        let arrays: Vec<&dyn Array> = batches
            .iter()
            .map(|batch| batch.column(0).as_ref())
            .collect();
        Ok(datafusion::arrow::compute::concat(&arrays).map_err(DataFusionError::from)?)
    }

    /// Adds what was written.
    async fn add(&self, written: Written) -> Result<()> {
        match (&self.destination.target, written) {
            (Some(target), Written::Files(files)) => {
                let new = NewRows::Files(files.clone());
                self.session.append_files(target, files, &new).await
            }
            (_, Written::Rows(rows)) => {
                let state = self.session.context.state();
                let schema = Arc::clone(&self.destination.schema);
                let rows = MemTable::try_new(schema, vec![rows])?;
                let plan = rows.scan(&state, None, &[], None).await?;
                let guarded = &self.destination.guarded;
                let plan = guarded.insert_into(&state, plan, InsertOp::Append).await?;
                collect(plan, state.task_ctx()).await?;
                Ok(())
            }
            (None, Written::Files(_)) => Ok(()),
        }
    }
}

/// Columns, their lines, and which of their rows are to have defaults.
type Converted = (Vec<ArrayRef>, Vec<u64>, Vec<Vec<usize>>);

/// Rows that were written down.
enum Written {
    Files(Vec<Arc<crate::tables::DataFile>>),
    Rows(Vec<RecordBatch>),
}

/// Rows into files of a durable table. Without an end nothing is kept.
async fn write(target: Target, mut rows: mpsc::Receiver<Batch>) -> Result<Written> {
    let _unfinished = target.table.begin();
    let mut writer = Writer::new(&target.table, &target.shape);
    loop {
        match rows.recv().await {
            Some(Batch::Rows(rows)) => {
                if let Err(error) = writer.write(&rows).await {
                    writer.abort().await;
                    return Err(error);
                }
            }
            Some(Batch::End) => return Ok(Written::Files(writer.finish().await?)),
            None => {
                writer.abort().await;
                return Ok(Written::Files(Vec::new()));
            }
        }
    }
}

/// Rows of a table that is in memory.
async fn keep(session: Arc<Session>, mut rows: mpsc::Receiver<Batch>) -> Result<Written> {
    let room = session.reserve("COPY");
    let mut kept = Vec::new();
    loop {
        match rows.recv().await {
            Some(Batch::Rows(rows)) => {
                room.grow(rows.get_array_memory_size())?;
                kept.push(rows);
            }
            Some(Batch::End) => return Ok(Written::Rows(kept)),
            None => return Ok(Written::Rows(Vec::new())),
        }
    }
}

fn skipped(message: &str) -> Notice {
    Notice::plain(message.to_owned())
}

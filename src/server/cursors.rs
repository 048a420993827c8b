//! Cursors: a query's rows, taken by name as many at a time as the client wants.
//!
//! A cursor pulls its rows as they are asked for. One that was declared with `SCROLL` keeps those that it has sent, so that
//! it can go back to them; any other goes forward only.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use pgwire::messages::data::{DataRow, RowDescription};

use super::connection::{Connection, Started};
use super::failure::Failure;
use super::rows::{CHUNK_ROWS, Form, Rows};
use crate::engine::{Described, Prepared, Reservation};
use crate::error::Error;
use crate::sql::{CursorOptions, Statement, StatementKind, Which};

/// An open cursor.
pub struct Cursor {
    /// What is still to come; nothing when the query has ended.
    rows: Option<Rows>,
    /// How its rows are written where the client doesn't say: in text.
    form: Form,
    /// The rows that it has taken from its query, where it can go back.
    seen: Option<Seen>,
    /// How many rows lie before the next one.
    position: i64,
    /// The memory of the rows that it keeps.
    kept: Reservation,
    /// It stays when its transaction ends.
    pub hold: bool,
}

impl Cursor {
    /// Names and types of its columns.
    pub fn description(&self) -> RowDescription {
        self.form.description()
    }
}

/// Rows that a cursor can go back to. They are kept as the query gave them: each `FETCH` says in which format it wants them.
#[derive(Default)]
struct Seen {
    batches: Vec<RecordBatch>,
    /// How many rows are in the batches.
    rows: usize,
}

impl Seen {
    /// The rows from one number up to another, from 0, as parts of its batches.
    fn between(&self, from: usize, to: usize) -> Vec<RecordBatch> {
        let mut parts = Vec::new();
        let mut start = 0;
        for batch in &self.batches {
            let end = start + batch.num_rows();
            let (first, last) = (from.max(start), to.min(end));
            if first < last {
                parts.push(batch.slice(first - start, last - first));
            }
            start = end;
        }
        parts
    }
}

impl Connection {
    pub(super) async fn declare(
        &mut self,
        prepared: &Prepared,
        values: Vec<datafusion::common::ScalarValue>,
    ) -> Result<Started, Failure> {
        let StatementKind::Declare {
            cursor,
            options,
            query,
        } = &prepared.statement.kind
        else {
            return Err(Failure::Protocol("no cursor is declared".to_owned()));
        };
        let CursorOptions { scroll, hold } = *options;
        if !hold && !self.transaction.is_open() && !self.in_block {
            return Err(Error::NoTransaction("DECLARE CURSOR").into());
        }
        if self.cursors.contains_key(cursor) {
            return Err(Error::DuplicateCursor(cursor.clone()).into());
        }
        let most = self.session.max_prepared_statements();
        if self.cursors.len() >= most {
            return Err(Error::too_many("cursors", most, "CLOSE").into());
        }
        let inner = Prepared {
            statement: query.as_ref().clone(),
            parameters: prepared.parameters.clone(),
            described: Described::Later,
        };
        let Started::Rows(_, rows) = Box::pin(self.start(Arc::new(inner), values, &[])).await?
        else {
            return Err(Error::Unsupported {
                message: "a cursor needs a query that returns rows".to_owned(),
                hint: None,
            }
            .into());
        };
        let opened = Cursor {
            form: rows.form(),
            rows: Some(rows),
            seen: (scroll == Some(true)).then(Seen::default),
            position: 0,
            kept: self.session.reserve("cursor"),
            hold,
        };
        self.cursors.insert(cursor.clone(), opened);
        Ok(Started::Done("DECLARE CURSOR".to_owned()))
    }

    pub(super) async fn fetch(
        &mut self,
        cursor: &str,
        which: Which,
        moves: bool,
        formats: &[i16],
    ) -> Result<Started, Failure> {
        let unknown = || Failure::from(Error::UnknownCursor(cursor.to_owned()));
        let form = match self.cursors.get(cursor) {
            None => return Err(unknown()),
            // Nothing is sent of what is passed over.
            Some(opened) if moves => opened.form.clone(),
            Some(opened) => opened.form.in_formats(formats)?,
        };
        let mut opened = self.cursors.remove(cursor).ok_or_else(unknown)?;
        // A cursor whose query failed is gone with its transaction.
        let rows = self.take(&mut opened, which, &form).await?;
        self.cursors.insert(cursor.to_owned(), opened);
        Ok(match moves {
            true => Started::Done(format!("MOVE {}", rows.len())),
            false => Started::Fetched {
                description: form.description(),
                rows,
            },
        })
    }

    async fn take(
        &mut self,
        cursor: &mut Cursor,
        which: Which,
        form: &Form,
    ) -> Result<Vec<DataRow>, Failure> {
        match which {
            Which::Relative(count) if count >= 0 => self.forward(cursor, count, form).await,
            Which::Relative(count) => self.backward(cursor, count.unsigned_abs(), form).await,
            Which::Single(steps) => self.at(cursor, cursor.position + steps, form).await,
            Which::Absolute(number) if number >= 0 => self.at(cursor, number, form).await,
            Which::Absolute(number) => {
                self.forward(cursor, i64::MAX, form).await?;
                let last = cursor.position - 1;
                self.at(cursor, last + 1 + number, form).await
            }
        }
    }

    /// The next rows, as many as `count`.
    async fn forward(
        &mut self,
        cursor: &mut Cursor,
        count: i64,
        form: &Form,
    ) -> Result<Vec<DataRow>, Failure> {
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let taken = match cursor.seen.is_some() {
            true => self.forward_and_keep(cursor, most, form).await?,
            false => self.forward_once(cursor, most, form).await?,
        };
        let ended = i64::try_from(taken.len()).unwrap_or(i64::MAX) < count;
        cursor.position += i64::try_from(taken.len()).unwrap_or(0) + i64::from(ended);
        Ok(taken)
    }

    /// The next rows of a cursor that goes forward only.
    async fn forward_once(
        &mut self,
        cursor: &mut Cursor,
        most: usize,
        form: &Form,
    ) -> Result<Vec<DataRow>, Failure> {
        let mut taken = Vec::new();
        // All that is fetched at once is there before it is sent.
        let in_flight = self.session.reserve("fetch");
        while let Some(rows) = cursor.rows.take() {
            let missing = most.saturating_sub(taken.len());
            if missing == 0 {
                cursor.rows = Some(rows);
                break;
            }
            let rows = rows.in_form(form.clone());
            let (rest, chunk) = self.work(rows.next(missing.min(CHUNK_ROWS))).await?;
            if chunk.is_empty() {
                break;
            }
            in_flight.grow(bytes_of(&chunk))?;
            taken.extend(chunk);
            cursor.rows = Some(rest);
        }
        Ok(taken)
    }

    /// The next rows of a cursor that can go back to them.
    async fn forward_and_keep(
        &mut self,
        cursor: &mut Cursor,
        most: usize,
        form: &Form,
    ) -> Result<Vec<DataRow>, Failure> {
        let position = usize::try_from(cursor.position).unwrap_or(0);
        while let Some(seen) = &mut cursor.seen
            && seen.rows < position.saturating_add(most)
            && let Some(rows) = cursor.rows.take()
        {
            let (rest, batch) = self.work(rows.next_as_given()).await?;
            let Some(batch) = batch else {
                break;
            };
            cursor.kept.grow(batch.get_array_memory_size())?;
            seen.rows += batch.num_rows();
            seen.batches.push(batch);
            cursor.rows = Some(rest);
        }
        let parts = match &cursor.seen {
            Some(seen) => seen.between(position, position.saturating_add(most)),
            None => Vec::new(),
        };
        self.written(parts, form).await
    }

    /// Rows that a cursor has kept, as they are sent.
    async fn written(
        &mut self,
        parts: Vec<RecordBatch>,
        form: &Form,
    ) -> Result<Vec<DataRow>, Failure> {
        let in_flight = self.session.reserve("fetch");
        let mut taken = Vec::new();
        for part in parts {
            let form = form.clone();
            let chunk = self.work(async move { form.rows(&part) }).await?;
            in_flight.grow(bytes_of(&chunk))?;
            taken.extend(chunk);
        }
        Ok(taken)
    }

    async fn backward(
        &mut self,
        cursor: &mut Cursor,
        count: u64,
        form: &Form,
    ) -> Result<Vec<DataRow>, Failure> {
        let Some(seen) = &cursor.seen else {
            return Err(Error::ForwardOnly.into());
        };
        // The row that was fetched last is not fetched again.
        let end = usize::try_from(cursor.position - 1)
            .unwrap_or(0)
            .min(seen.rows);
        let start = end.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        let ended = u64::try_from(end - start).unwrap_or(0) < count;
        let parts = seen.between(start, end);
        cursor.position = if ended {
            0
        } else {
            i64::try_from(start).unwrap_or(0) + 1
        };
        let mut rows = self.written(parts, form).await?;
        rows.reverse();
        Ok(rows)
    }

    /// The row of that number, from 1.
    async fn at(
        &mut self,
        cursor: &mut Cursor,
        number: i64,
        form: &Form,
    ) -> Result<Vec<DataRow>, Failure> {
        if number <= 0 || number < cursor.position {
            if cursor.seen.is_none() {
                return Err(Error::ForwardOnly.into());
            }
            cursor.position = (number - 1).max(0);
            if number <= 0 {
                return Ok(Vec::new());
            }
        } else if number > cursor.position + 1 {
            let before = number - cursor.position - 1;
            self.forward(cursor, before, form).await?;
        }
        self.forward(cursor, 1, form).await
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<Started, Failure> {
        let Some(name) = name else {
            self.cursors.clear();
            return Ok(Started::Done("CLOSE CURSOR ALL".to_owned()));
        };
        match self.cursors.remove(name) {
            Some(_) => Ok(Started::Done("CLOSE CURSOR".to_owned())),
            None => Err(Error::UnknownCursor(name.to_owned()).into()),
        }
    }

    /// What a statement about a cursor returns, in the formats that the client asked for.
    pub(super) fn cursor_description(
        &self,
        statement: &Statement,
        formats: &[i16],
    ) -> Result<Option<RowDescription>, Failure> {
        let StatementKind::Fetch {
            cursor,
            moves: false,
            ..
        } = &statement.kind
        else {
            return Ok(None);
        };
        let opened = self.cursors.get(cursor);
        opened
            .map(|opened| Ok(opened.form.in_formats(formats)?.description()))
            .transpose()
    }
}

/// What rows take in memory.
fn bytes_of(rows: &[DataRow]) -> usize {
    rows.iter()
        .map(|row| row.data.len() + size_of::<DataRow>())
        .sum()
}

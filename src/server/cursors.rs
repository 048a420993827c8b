//! Cursors: a query's rows, taken by name as many at a time as the client wants.
//!
//! A cursor pulls its rows as they are asked for. One that was declared with `SCROLL` keeps those that it has sent, so that
//! it can go back to them; any other goes forward only.

use std::sync::Arc;

use pgwire::api::results::FieldInfo;
use pgwire::messages::data::{DataRow, RowDescription};

use super::connection::{Connection, Started};
use super::failure::Failure;
use super::rows::{CHUNK_ROWS, Rows, describe};
use crate::engine::{Described, Prepared, Reservation};
use crate::error::Error;
use crate::sql::{CursorOptions, Statement, StatementKind, Which};

/// An open cursor.
pub struct Cursor {
    /// What is still to come; nothing when the query has ended.
    rows: Option<Rows>,
    fields: Arc<Vec<FieldInfo>>,
    /// The rows that were sent, where it can go back.
    seen: Option<Vec<DataRow>>,
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
        describe(&self.fields)
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
            fields: rows.fields(),
            rows: Some(rows),
            seen: (scroll == Some(true)).then(Vec::new),
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
    ) -> Result<Started, Failure> {
        let Some(mut opened) = self.cursors.remove(cursor) else {
            return Err(Error::UnknownCursor(cursor.to_owned()).into());
        };
        let fetched = self.take(&mut opened, which).await;
        let description = opened.description();
        // A cursor whose query failed is gone with its transaction.
        let rows = fetched?;
        self.cursors.insert(cursor.to_owned(), opened);
        Ok(match moves {
            true => Started::Done(format!("MOVE {}", rows.len())),
            false => Started::Fetched { description, rows },
        })
    }

    async fn take(&mut self, cursor: &mut Cursor, which: Which) -> Result<Vec<DataRow>, Failure> {
        match which {
            Which::Relative(count) if count >= 0 => self.forward(cursor, count).await,
            Which::Relative(count) => self.backward(cursor, count.unsigned_abs()),
            Which::Single(steps) => self.at(cursor, cursor.position + steps).await,
            Which::Absolute(number) if number >= 0 => self.at(cursor, number).await,
            Which::Absolute(number) => {
                self.forward(cursor, i64::MAX).await?;
                let last = cursor.position - 1;
                self.at(cursor, last + 1 + number).await
            }
        }
    }

    /// The next rows, as many as `count`.
    async fn forward(&mut self, cursor: &mut Cursor, count: i64) -> Result<Vec<DataRow>, Failure> {
        let mut taken = Vec::new();
        // All that is fetched at once is there before it is sent.
        let in_flight = self.session.reserve("fetch");
        if let Some(seen) = &cursor.seen {
            let from = usize::try_from(cursor.position)
                .unwrap_or(0)
                .min(seen.len());
            let most = usize::try_from(count).unwrap_or(usize::MAX);
            taken.extend(seen[from..].iter().take(most).map(copy));
        }
        while let Some(rows) = cursor.rows.take() {
            let missing = usize::try_from(count)
                .unwrap_or(usize::MAX)
                .saturating_sub(taken.len());
            if missing == 0 {
                cursor.rows = Some(rows);
                break;
            }
            let (rest, chunk) = self.work(rows.next(missing.min(CHUNK_ROWS))).await?;
            if chunk.is_empty() {
                break;
            }
            let bytes = bytes_of(&chunk);
            in_flight.grow(bytes)?;
            if let Some(seen) = &mut cursor.seen {
                cursor.kept.grow(bytes)?;
                seen.extend(chunk.iter().map(copy));
            }
            taken.extend(chunk);
            cursor.rows = Some(rest);
        }
        let ended = i64::try_from(taken.len()).unwrap_or(i64::MAX) < count;
        cursor.position += i64::try_from(taken.len()).unwrap_or(0) + i64::from(ended);
        Ok(taken)
    }

    fn backward(&mut self, cursor: &mut Cursor, count: u64) -> Result<Vec<DataRow>, Failure> {
        let Some(seen) = &cursor.seen else {
            return Err(Error::ForwardOnly.into());
        };
        // The row that was fetched last is not fetched again.
        let end = usize::try_from(cursor.position - 1)
            .unwrap_or(0)
            .min(seen.len());
        let start = end.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        let ended = u64::try_from(end - start).unwrap_or(0) < count;
        cursor.position = if ended {
            0
        } else {
            i64::try_from(start).unwrap_or(0) + 1
        };
        Ok(seen[start..end].iter().rev().map(copy).collect())
    }

    /// The row of that number, from 1.
    async fn at(&mut self, cursor: &mut Cursor, number: i64) -> Result<Vec<DataRow>, Failure> {
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
            self.forward(cursor, before).await?;
        }
        self.forward(cursor, 1).await
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

    /// What a statement about a cursor returns.
    pub(super) fn cursor_description(&self, statement: &Statement) -> Option<RowDescription> {
        match &statement.kind {
            StatementKind::Fetch {
                cursor,
                moves: false,
                ..
            } => self.cursors.get(cursor).map(Cursor::description),
            _ => None,
        }
    }
}

/// What rows take in memory.
fn bytes_of(rows: &[DataRow]) -> usize {
    rows.iter()
        .map(|row| row.data.len() + size_of::<DataRow>())
        .sum()
}

fn copy(row: &DataRow) -> DataRow {
    DataRow::new(row.data.clone(), row.field_count)
}

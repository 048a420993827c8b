//! A result as psql aligns it (`\pset border 1`, the default).

use std::io::{self, Write};
use std::sync::Arc;

use arrow_pg::datatypes::into_pg_type;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use pgwire::api::Type;

use super::width::{character_width, text_width};
use crate::engine::named_text_rows;
use crate::error::Result;
use crate::postgres::names_of_objects::Names;
use crate::postgres::style::Style;

/// A result that is gathered until its widest cells are known.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    names: Arc<dyn Names>,
    style: Style,
}

struct Column {
    header: Cell,
    /// Of the widest line in it, header included.
    width: usize,
    right_aligned: bool,
}

/// The lines of a value, each with its width. There is at least one.
struct Cell(Vec<(String, usize)>);

impl Table {
    pub fn new(schema: &SchemaRef, names: Arc<dyn Names>, style: Style) -> Self {
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                let header = Cell::new(field.name());
                let width = header.width();
                Column {
                    header,
                    width,
                    right_aligned: is_number(field.data_type()),
                }
            })
            .collect();
        Self {
            columns,
            rows: Vec::new(),
            names,
            style,
        }
    }

    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        for row in named_text_rows(batch, self.names.as_ref(), self.style)? {
            let cells: Vec<Cell> = row
                .iter()
                .map(|value| Cell::new(value.as_deref().unwrap_or_default()))
                .collect();
            for (column, cell) in self.columns.iter_mut().zip(&cells) {
                column.width = column.width.max(cell.width());
            }
            self.rows.push(cells);
        }
        Ok(())
    }

    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_header(out)?;
        for row in &self.rows {
            self.write_row(row, out)?;
        }
        let rows = self.rows.len();
        writeln!(out, "({rows} row{})\n", if rows == 1 { "" } else { "s" })
    }

    fn write_header(&self, out: &mut dyn Write) -> io::Result<()> {
        let lines = self
            .columns
            .iter()
            .map(|column| column.header.0.len())
            .max()
            .unwrap_or(0);
        for line in 0..lines {
            for (at, column) in self.columns.iter().enumerate() {
                let (text, width) = column.header.line(line);
                let blanks = column.width - width;
                let (before, after) = (blanks / 2, blanks.div_ceil(2));
                let more = if line + 1 < column.header.0.len() {
                    "+"
                } else {
                    " "
                };
                write!(out, " {:before$}{text}{:after$}{more}", "", "")?;
                if at + 1 < self.columns.len() {
                    write!(out, "|")?;
                }
            }
            writeln!(out)?;
        }
        let rules: Vec<String> = self
            .columns
            .iter()
            .map(|column| "-".repeat(column.width))
            .collect();
        writeln!(out, "-{}-", rules.join("-+-"))
    }

    fn write_row(&self, row: &[Cell], out: &mut dyn Write) -> io::Result<()> {
        let lines = row.iter().map(|cell| cell.0.len()).max().unwrap_or(0);
        for line in 0..lines {
            for (at, (column, cell)) in self.columns.iter().zip(row).enumerate() {
                let (text, width) = cell.line(line);
                let blanks = column.width - width;
                let has_more = line + 1 < cell.0.len();
                let is_last = at + 1 == self.columns.len();
                match column.right_aligned {
                    // psql pads a number's column to its full width even where the cell has no line left,
                    // but not at the end of a row.
                    true if is_last && line >= cell.0.len() => write!(out, " ")?,
                    true => write!(out, " {:blanks$}{text}", "")?,
                    false if is_last && !has_more => write!(out, " {text}")?,
                    false => write!(out, " {text}{:blanks$}", "")?,
                }
                match (has_more, is_last) {
                    (true, _) => write!(out, "+")?,
                    (false, false) => write!(out, " ")?,
                    (false, true) => {}
                }
                if !is_last {
                    write!(out, "|")?;
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl Cell {
    fn new(text: &str) -> Self {
        let line = |text: &str| {
            let text = printable(text);
            let width = text_width(&text);
            (text, width)
        };
        Self(text.split('\n').map(line).collect())
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(_, width)| *width).max().unwrap_or(0)
    }

    fn line(&self, at: usize) -> (&str, usize) {
        self.0
            .get(at)
            .map_or(("", 0), |(text, width)| (text.as_str(), *width))
    }
}

/// A line without what would move the cursor: tabs up to the next eighth column, other control
/// characters by their number.
fn printable(line: &str) -> String {
    if !line.chars().any(char::is_control) {
        return line.to_owned();
    }
    let mut text = String::with_capacity(line.len());
    let mut column = 0;
    for c in line.chars() {
        let start = text.len();
        match c {
            '\t' => text.push_str(&" ".repeat(8 - column % 8)),
            '\r' => text.push_str("\\r"),
            c if c.is_ascii_control() => text.push_str(&format!("\\x{:02X}", u32::from(c))),
            c if c.is_control() => text.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
        column += text[start..].chars().map(character_width).sum::<usize>();
    }
    text
}

/// Whether the type's values are aligned to the right: the numbers of Postgres.
fn is_number(data_type: &DataType) -> bool {
    const NUMBERS: [Type; 6] = [
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::NUMERIC,
    ];
    into_pg_type(data_type).is_ok_and(|pg_type| NUMBERS.contains(&pg_type) || pg_type == Type::OID)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};

    use super::*;
    use crate::postgres::names_of_objects::NoNames;

    fn written(columns: Vec<(&str, ArrayRef)>) -> String {
        let columns = columns.into_iter().map(|(name, array)| (name, array, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let mut table = Table::new(&batch.schema(), Arc::new(NoNames), Style::default());
        table.add(&batch).unwrap();
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn numbers(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    // The expected texts are psql 15.18's for the statement in the comment.

    /// `select * from (values ('acquired', 1, true), (null, null, null), ('线索获取', 20000, false))
    /// as t (stage, n, "long_header")`
    #[test]
    fn text_stands_left_numbers_right_and_headers_in_the_middle() {
        let found = written(vec![
            ("stage", texts(&[Some("acquired"), None, Some("线索获取")])),
            ("n", numbers(&[Some(1), None, Some(20000)])),
            (
                "long_header",
                Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            ),
        ]);
        let expected = [
            "  stage   |   n   | long_header ",
            "----------+-------+-------------",
            " acquired |     1 | t",
            "          |       | ",
            " 线索获取 | 20000 | f",
            "(3 rows)",
            "",
            "",
        ];
        assert_eq!(found, expected.join("\n"));
    }

    /// `select E'a\nbb' as "x\ny", 1 as n, E'中\n\nc' as t`, with a line break in the first header
    #[test]
    fn values_of_several_lines_continue_behind_a_plus() {
        let found = written(vec![
            ("x\ny", texts(&[Some("a\nbb")])),
            ("n", numbers(&[Some(1)])),
            ("t", texts(&[Some("中\n\nc")])),
        ]);
        let expected = [
            " x +| n | t  ",
            " y  |   |    ",
            "----+---+----",
            " a +| 1 | 中+",
            " bb |   |   +",
            "    |   | c",
            "(1 row)",
            "",
            "",
        ];
        assert_eq!(found, expected.join("\n"));
    }

    /// `select 1 as n, 'x' as "t\nu", E'a\nb' as b, 12 as c`, with a line break in the second header
    #[test]
    fn a_number_is_padded_below_its_line_unless_it_ends_the_row() {
        let found = written(vec![
            ("n", numbers(&[Some(1)])),
            ("t\nu", texts(&[Some("x")])),
            ("b", texts(&[Some("a\nb")])),
            ("c", numbers(&[Some(12)])),
        ]);
        let expected = [
            " n | t+| b | c  ",
            "   | u |   |    ",
            "---+---+---+----",
            " 1 | x | a+| 12",
            "   |   | b | ",
            "(1 row)",
            "",
            "",
        ];
        assert_eq!(found, expected.join("\n"));
    }

    /// `select E'a\tb\r\x01' as c, 1 as n where false`, and with the row
    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(
            written(vec![
                ("c", texts(&[Some("a\tb\r\u{1}")])),
                ("n", numbers(&[Some(1)]))
            ]),
            "        c        | n \n-----------------+---\n a       b\\r\\x01 | 1\n(1 row)\n\n"
        );
        assert_eq!(
            written(vec![("c", texts(&[])), ("n", numbers(&[]))]),
            " c | n \n---+---\n(0 rows)\n\n"
        );
    }
}

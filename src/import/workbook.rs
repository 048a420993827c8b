//! Workbooks of Excel and OpenDocument: the values that were last calculated, without formulas.

use std::io::{Cursor, Read};
use std::sync::Arc;

use calamine::{Data, Range, Reader, open_workbook_auto_from_rs};

use super::source::{Cell, Sink};
use super::{ImportError, Input, Options, Progress, names};

pub(super) fn read(
    input: &Input,
    options: &Options,
    progress: &Progress,
    sink: &mut dyn Sink,
) -> Result<(), ImportError> {
    // The parts of a workbook are all over its file.
    let mut bytes = Vec::new();
    input
        .open(progress)?
        .read_to_end(&mut bytes)
        .map_err(|error| ImportError::unreadable(input, &error))?;
    let bytes: Arc<[u8]> = bytes.into();
    let mut book = open_workbook_auto_from_rs(Cursor::new(bytes))
        .map_err(|error| ImportError::malformed(input, &error))?;
    let (sheet, range) = sheet(&mut book, input, options)?;
    let mut rows = range
        .rows()
        .zip(range.start().map_or(0, |(row, _)| row)..)
        .filter(|(row, _)| !is_empty(row))
        .peekable();
    let Some((first, _)) = rows.peek() else {
        return Ok(());
    };
    let headers: Vec<String> = match options.no_header {
        true => vec![String::new(); first.len()],
        false => first
            .iter()
            .map(|cell| text_of(cell).map(|(text, _)| text).unwrap_or_default())
            .collect(),
    };
    if book.sheet_names().len() > 1 && options.sheet.is_none() {
        sink.note(format!(
            "the worksheet \"{sheet}\" of \"{}\" was taken; --sheet names another",
            input.path.display()
        ));
    }
    sink.columns(&names::of_header(
        headers.iter().map(String::as_str),
        options.keep_names,
    ));
    for (row, number) in rows.skip(usize::from(!options.no_header)) {
        progress.add_rows(1);
        let texts: Vec<Option<(String, bool)>> = row.iter().map(text_of).collect();
        let cells: Vec<Cell<'_>> = texts
            .iter()
            .map(|text| match text {
                None => Cell::Null,
                Some((text, true)) => Cell::Text(text),
                Some((text, false)) => Cell::Raw(text),
            })
            .collect();
        let line = u64::from(number) + 1;
        if texts.iter().flatten().any(|(text, _)| text.contains('\0')) {
            sink.reject(
                line,
                "a NUL character, which a text can't have".to_owned(),
                b"",
            )?;
            continue;
        }
        sink.row(line, &cells)?;
    }
    Ok(())
}

/// The worksheet that is named, or the first one with something in it.
fn sheet<R: std::io::Read + std::io::Seek>(
    book: &mut calamine::Sheets<R>,
    input: &Input,
    options: &Options,
) -> Result<(String, Range<Data>), ImportError> {
    let names = book.sheet_names();
    let mut range_of = |name: &str| {
        book.worksheet_range(name)
            .map_err(|error| ImportError::malformed(input, &error))
    };
    if let Some(wanted) = &options.sheet {
        return match names.iter().any(|name| name == wanted) {
            true => Ok((wanted.clone(), range_of(wanted)?)),
            false => {
                let message = format!("\"{}\" has no worksheet \"{wanted}\"", input.path.display());
                Err(ImportError::new("22023", message)
                    .hint(format!("It has {}.", names.join(", "))))
            }
        };
    }
    let mut first = None;
    for name in names {
        let range = range_of(&name)?;
        if range.rows().any(|row| !is_empty(row)) {
            return Ok((name, range));
        }
        first.get_or_insert((name, range));
    }
    first.ok_or_else(|| ImportError::malformed(input, &"it has no worksheet"))
}

fn is_empty(row: &[Data]) -> bool {
    row.iter().all(|cell| {
        matches!(cell, Data::Empty) || matches!(cell, Data::String(text) if text.trim().is_empty())
    })
}

/// A cell's text, and whether the workbook says that it is one.
fn text_of(cell: &Data) -> Option<(String, bool)> {
    Some(match cell {
        Data::Empty => return None,
        Data::String(text) => (text.clone(), true),
        // Excel keeps every number as a double: 12 is 12.0.
        Data::Float(number) => (number.to_string(), false),
        Data::Int(number) => (number.to_string(), false),
        Data::Bool(value) => (value.to_string(), false),
        Data::DateTime(moment) => match moment.as_datetime() {
            // Days have midnight as their time, which the column's other days tell apart from moments.
            Some(moment) => (moment.format("%Y-%m-%d %H:%M:%S%.f").to_string(), false),
            None => (moment.as_f64().to_string(), false),
        },
        Data::DateTimeIso(text) | Data::DurationIso(text) => (text.clone(), false),
        Data::Error(error) => (error.to_string(), false),
    })
}

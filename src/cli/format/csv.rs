//! CSV as psql --csv writes it.

use std::io::{self, Write};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use crate::cli::exit::Failure;
use crate::engine::named_text_rows;
use crate::postgres::names_of_objects::Names;
use crate::postgres::style::Style;

/// Writes one result, batch by batch.
pub struct Writer {
    schema: SchemaRef,
    has_header: bool,
    names: Arc<dyn Names>,
    style: Style,
}

impl Writer {
    pub fn new(schema: &SchemaRef, names: Arc<dyn Names>, style: Style) -> Self {
        Self {
            schema: SchemaRef::clone(schema),
            has_header: false,
            names,
            style,
        }
    }

    pub fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        self.header(out)?;
        for row in named_text_rows(batch, self.names.as_ref(), self.style)? {
            write_record(
                row.iter().map(|value| value.as_deref().unwrap_or_default()),
                out,
            )?;
        }
        Ok(())
    }

    pub fn finish(mut self, out: &mut dyn Write) -> Result<(), Failure> {
        Ok(self.header(out)?)
    }

    /// Not before the first rows: a result that fails at once writes nothing.
    fn header(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.has_header {
            return Ok(());
        }
        self.has_header = true;
        write_record(
            self.schema
                .fields()
                .iter()
                .map(|field| field.name().as_str()),
            out,
        )
    }
}

fn write_record<'a>(fields: impl Iterator<Item = &'a str>, out: &mut dyn Write) -> io::Result<()> {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        // COPY would take \. for the end of the data.
        match field.contains([',', '"', '\n', '\r']) || field == "\\." {
            true => write!(out, "\"{}\"", field.replace('"', "\"\""))?,
            false => out.write_all(field.as_bytes())?,
        }
    }
    out.write_all(b"\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_have_to_be() {
        let mut out = Vec::new();
        write_record(
            ["a b", "a,b", "a\"b", "a\nb", "\r", "\\.", "", "线索"].into_iter(),
            &mut out,
        )
        .unwrap();
        let expected = "a b,\"a,b\",\"a\"\"b\",\"a\nb\",\"\r\",\"\\.\",,线索\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

//! Rows of Postgres' text and CSV formats, out of bytes that come in parts of any size.

use std::ops::Range;

use datafusion::arrow::array::{Array, StringArray, StringBuilder};
use encoding_rs::Decoder;
use memchr::{memchr, memchr2, memchr3};

use crate::error::{ChangeError, ChangeFault, Result};
use crate::postgres::encoding::Encoding;
use crate::sql::{CopyFormat, CopyOptions, Header};

/// As many rows are converted at a time,
const BATCH_ROWS: usize = 8192;
/// and no more than as many bytes.
const BATCH_BYTES: usize = 16 << 20;
/// The longest row, as in Postgres.
const LONGEST_ROW: usize = 1 << 30;
/// How much of a line an error quotes.
const QUOTED: usize = 100;

/// Rows as texts.
#[derive(Debug)]
pub struct TextRows {
    /// The fields by column.
    pub columns: Vec<StringArray>,
    /// The rows, by column, that are to have the column's default.
    pub defaults: Vec<Vec<usize>>,
    /// The line that each row begins on.
    pub lines: Vec<u64>,
}

/// Reads rows.
pub struct Reader {
    table: String,
    names: Vec<String>,
    options: CopyOptions,
    /// Whether a column is NULL where NULL is quoted, and whether it is never NULL.
    forced: Vec<(bool, bool)>,
    decoder: Option<Decoder>,
    /// What was received and isn't a whole row yet.
    buffer: Vec<u8>,
    /// How far the buffer was searched for the end of its first row.
    searched: usize,
    quoted: bool,
    /// The number of the line that the buffer begins with.
    line: u64,
    header: Header,
    ended: bool,
    columns: Vec<StringBuilder>,
    defaults: Vec<Vec<usize>>,
    lines: Vec<u64>,
    bytes: usize,
    /// A field while it is put together.
    field: String,
}

impl Reader {
    /// A reader of rows of these columns.
    ///
    /// # Errors
    /// 22023 for an encoding that isn't known, 42703 for options about other columns.
    pub fn new(
        table: &str,
        names: Vec<String>,
        options: CopyOptions,
        encoding: &str,
    ) -> Result<Self> {
        let encoding = options.encoding.as_deref().unwrap_or(encoding);
        let decoder = Encoding::for_copy(encoding)?.decoder();
        for (what, columns) in [
            ("FORCE_NULL", &options.force_null),
            ("FORCE_NOT_NULL", &options.force_not_null),
        ] {
            if let crate::sql::Columns::Named(named) = columns
                && let Some(other) = named.iter().find(|name| !names.contains(name))
            {
                let message = format!("{what} column \"{other}\" not referenced by COPY");
                return Err(ChangeFault::Other("42P10").error(message).into());
            }
        }
        let forced = names.iter().map(|name| {
            (
                options.force_null.contain(name),
                options.force_not_null.contain(name),
            )
        });
        Ok(Self {
            table: table.to_owned(),
            forced: forced.collect(),
            decoder,
            buffer: Vec::new(),
            searched: 0,
            quoted: false,
            line: 1,
            header: options.header,
            ended: false,
            columns: names.iter().map(|_| StringBuilder::new()).collect(),
            defaults: vec![Vec::new(); names.len()],
            lines: Vec::new(),
            bytes: 0,
            field: String::new(),
            names,
            options,
        })
    }

    /// Takes bytes; returns the rows that are whole, once there are many.
    ///
    /// # Errors
    /// 22P04 for a row of another shape, 22021 for bytes that are no text.
    pub fn push(&mut self, bytes: &[u8], rows: &mut Vec<TextRows>) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.decode(bytes, false)?;
        self.read(false, rows)
    }

    /// The rest.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self, rows: &mut Vec<TextRows>) -> Result<()> {
        if !self.ended {
            self.decode(&[], true)?;
            self.read(true, rows)?;
            if !self.buffer.is_empty() && !self.ended {
                if self.quoted {
                    return Err(self.fault("unterminated CSV quoted field", None).into());
                }
                let rest = std::mem::take(&mut self.buffer);
                self.row(&rest, rows)?;
            }
        }
        self.give(rows);
        Ok(())
    }

    fn decode(&mut self, bytes: &[u8], last: bool) -> Result<()> {
        let Some(decoder) = &mut self.decoder else {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        };
        let mut bytes = bytes;
        loop {
            let most = decoder
                .max_utf8_buffer_length_without_replacement(bytes.len())
                .unwrap_or(bytes.len().saturating_mul(3))
                .saturating_add(8);
            let mut text = vec![0; most];
            let (result, read, written) =
                decoder.decode_to_utf8_without_replacement(bytes, &mut text, last);
            self.buffer.extend_from_slice(&text[..written]);
            bytes = &bytes[read..];
            match result {
                encoding_rs::DecoderResult::InputEmpty => return Ok(()),
                encoding_rs::DecoderResult::OutputFull => {}
                encoding_rs::DecoderResult::Malformed(..) => {
                    let name = self.options.encoding.clone().unwrap_or_default();
                    let message = format!("invalid byte sequence for encoding \"{name}\"");
                    let context = format!("COPY {}, line {}", self.table, self.line);
                    return Err(ChangeFault::Other("22021")
                        .error(message)
                        .context(context)
                        .into());
                }
            }
        }
    }

    /// Reads the rows of the buffer that are whole.
    fn read(&mut self, last: bool, rows: &mut Vec<TextRows>) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut start = 0;
        while !self.ended {
            let Some((end, next)) = self.end_of_row(&buffer, start, last) else {
                break;
            };
            self.row(&buffer[start..end], rows)?;
            start = next;
            self.searched = next;
        }
        self.searched = self.searched.saturating_sub(start);
        self.buffer = buffer;
        self.buffer.drain(..start);
        match self.buffer.len() > LONGEST_ROW {
            true => Err(self.fault("a row is longer than 1 GB", None).into()),
            false => Ok(()),
        }
    }

    /// Where the row that begins at `start` ends, and where the next one begins; nothing where it isn't whole.
    fn end_of_row(&mut self, buffer: &[u8], start: usize, last: bool) -> Option<(usize, usize)> {
        let mut at = self.searched.max(start);
        let csv = self.options.format == CopyFormat::Csv;
        let (quote, escape) = (self.options.quote, self.options.escape);
        loop {
            let rest = &buffer[at.min(buffer.len())..];
            let found = match (csv, self.quoted) {
                (false, _) => memchr3(b'\n', b'\r', b'\\', rest),
                (true, false) => memchr3(b'\n', b'\r', quote, rest),
                (true, true) => memchr2(quote, escape, rest),
            };
            let Some(found) = found.map(|found| at + found) else {
                self.searched = buffer.len();
                return None;
            };
            let next = buffer.get(found + 1).copied();
            match buffer[found] {
                b'\n' if !self.quoted => return Some((found, found + 1)),
                b'\r' if !self.quoted => match next {
                    Some(b'\n') => return Some((found, found + 2)),
                    None if !last => {
                        self.searched = found;
                        return None;
                    }
                    // A carriage return by itself ends a line as well.
                    _ => return Some((found, found + 1)),
                },
                b'\\' if !csv => {
                    if next.is_none() && !last {
                        self.searched = found;
                        return None;
                    }
                    at = found + 2;
                }
                byte if self.quoted && byte == escape && escape != quote => {
                    if next.is_none() && !last {
                        self.searched = found;
                        return None;
                    }
                    // Only these two are meant by it.
                    let meant = next == Some(quote) || next == Some(escape);
                    at = found + 1 + usize::from(meant);
                }
                // A quote that is doubled closes the field and opens it again.
                _ => {
                    self.quoted = !self.quoted;
                    at = found + 1;
                }
            }
            self.searched = at;
        }
    }

    /// A row without its end.
    fn row(&mut self, row: &[u8], rows: &mut Vec<TextRows>) -> Result<()> {
        let line = self.line;
        let breaks = match self.options.format {
            CopyFormat::Csv => row.iter().filter(|byte| **byte == b'\n').count(),
            _ => 0,
        };
        if row == b"\\." {
            self.ended = true;
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(row) else {
            let bad = std::str::from_utf8(row)
                .err()
                .map_or(0, |error| error.valid_up_to());
            let byte = row.get(bad).copied().unwrap_or_default();
            let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}");
            let context = format!("COPY {}, line {line}", self.table);
            return Err(ChangeFault::Other("22021")
                .error(message)
                .context(context)
                .into());
        };
        if text.contains('\0') {
            return Err(ChangeFault::Other("22021")
                .error("invalid byte sequence for encoding \"UTF8\": 0x00")
                .context(format!("COPY {}, line {line}", self.table))
                .into());
        }
        let header = std::mem::take(&mut self.header);
        if header != Header::None {
            if header == Header::Match {
                self.match_header(text)?;
            }
        } else {
            let count = match self.options.format {
                CopyFormat::Csv => self.csv_fields(text)?,
                _ => self.text_fields(text)?,
            };
            if count < self.names.len() {
                let message = format!("missing data for column \"{}\"", self.names[count]);
                return Err(self.fault(message, Some(text)).into());
            }
            self.lines.push(line);
            self.bytes += row.len();
            if self.lines.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.give(rows);
            }
        }
        self.line = line + 1 + u64::try_from(breaks).unwrap_or(0);
        Ok(())
    }

    /// The rows so far.
    fn give(&mut self, rows: &mut Vec<TextRows>) {
        if self.lines.is_empty() {
            return;
        }
        self.bytes = 0;
        rows.push(TextRows {
            columns: self.columns.iter_mut().map(StringBuilder::finish).collect(),
            defaults: self.defaults.iter_mut().map(std::mem::take).collect(),
            lines: std::mem::take(&mut self.lines),
        });
    }

    fn fault(&self, message: impl Into<String>, line: Option<&str>) -> ChangeError {
        let mut context = format!("COPY {}, line {}", self.table, self.line);
        if let Some(line) = line {
            let shown: String = line.chars().take(QUOTED).collect();
            let rest = if shown.len() < line.len() { "..." } else { "" };
            context.push_str(&format!(": \"{shown}{rest}\""));
        }
        ChangeFault::BadCopy.error(message).context(context)
    }

    /// A field of the column at a place, as it is written there.
    fn field(&mut self, place: usize, raw: &str, value: Value<'_>, line: &str) -> Result<()> {
        let Some(builder) = self.columns.get_mut(place) else {
            return Err(self
                .fault("extra data after last expected column", Some(line))
                .into());
        };
        let row = self.lines.len();
        let (null_where_quoted, never_null) = self.forced[place];
        match value {
            Value::Plain if self.options.default.as_deref() == Some(raw) => {
                self.defaults[place].push(row);
                builder.append_null();
            }
            Value::Plain if raw == self.options.null && !never_null => builder.append_null(),
            Value::Plain => builder.append_value(raw),
            Value::Made(text) => builder.append_value(text),
            Value::Quoted(text) if null_where_quoted && text == self.options.null => {
                builder.append_null();
            }
            Value::Quoted(text) => builder.append_value(text),
        }
        Ok(())
    }

    fn text_fields(&mut self, line: &str) -> Result<usize> {
        let bytes = line.as_bytes();
        let delimiter = self.options.delimiter;
        let escapes = memchr(b'\\', bytes).is_some();
        let mut place = 0;
        let mut start = 0;
        loop {
            let end = match escapes {
                false => memchr(delimiter, &bytes[start..]).map(|at| at + start),
                true => unescaped_delimiter(bytes, start, delimiter),
            };
            let raw = &line[start..end.unwrap_or(bytes.len())];
            let marked = raw == self.options.null || self.options.default.as_deref() == Some(raw);
            if escapes && !marked && raw.contains('\\') {
                let mut made = std::mem::take(&mut self.field);
                made.clear();
                if !unescape(raw, &mut made) {
                    let message = "invalid byte sequence for encoding \"UTF8\"";
                    let context = format!("COPY {}, line {}", self.table, self.line);
                    return Err(ChangeFault::Other("22021")
                        .error(message)
                        .context(context)
                        .into());
                }
                let done = self.field(place, raw, Value::Made(&made), line);
                self.field = made;
                done?;
            } else {
                self.field(place, raw, Value::Plain, line)?;
            }
            place += 1;
            match end {
                Some(end) => start = end + 1,
                None => return Ok(place),
            }
        }
    }

    fn csv_fields(&mut self, line: &str) -> Result<usize> {
        let bytes = line.as_bytes();
        let (delimiter, quote, escape) = (
            self.options.delimiter,
            self.options.quote,
            self.options.escape,
        );
        let any_quoted = memchr(quote, bytes).is_some();
        let mut place = 0;
        let mut start = 0;
        loop {
            let end = memchr(delimiter, &bytes[start..]).map(|at| at + start);
            let plain = start..end.unwrap_or(bytes.len());
            if !any_quoted || memchr(quote, &bytes[plain.clone()]).is_none() {
                self.field(place, &line[plain], Value::Plain, line)?;
                place += 1;
                match end {
                    Some(end) => start = end + 1,
                    None => return Ok(place),
                }
                continue;
            }
            let mut made = std::mem::take(&mut self.field);
            made.clear();
            let next = quoted_field(line, start, (delimiter, quote, escape), &mut made);
            let done = match next {
                Some(_) => self.field(place, "", Value::Quoted(&made), line),
                None => Err(self
                    .fault("unterminated CSV quoted field", Some(line))
                    .into()),
            };
            self.field = made;
            done?;
            place += 1;
            match next.flatten() {
                Some(next) => start = next,
                None => return Ok(place),
            }
        }
    }

    /// Compares the line of names with the columns'.
    fn match_header(&mut self, line: &str) -> Result<()> {
        let count = match self.options.format {
            CopyFormat::Csv => self.csv_fields(line),
            _ => self.text_fields(line),
        };
        let found: Vec<StringArray> = self.columns.iter_mut().map(StringBuilder::finish).collect();
        let wrong = |message: String| ChangeFault::BadCopy.error(message);
        let expected = self.names.len();
        let count = match count {
            Ok(count) => count,
            Err(_) => expected + 1,
        };
        if count != expected {
            let message =
                format!("wrong number of fields in header line: got {count}, expected {expected}");
            return Err(wrong(message).context(self.place()).into());
        }
        for (at, (column, name)) in found.iter().zip(&self.names).enumerate() {
            let value = match column.is_empty() {
                true => "",
                false => column.value(0),
            };
            if value != name {
                let message = format!(
                    "column name mismatch in header line field {}: got \"{value}\", expected \"{name}\"",
                    at + 1
                );
                return Err(wrong(message).context(self.place()).into());
            }
        }
        Ok(())
    }

    fn place(&self) -> String {
        format!("COPY {}, line {}", self.table, self.line)
    }
}

/// A field as it was found.
#[derive(Clone, Copy)]
enum Value<'a> {
    /// As it is written.
    Plain,
    /// Without its backslashes.
    Made(&'a str),
    /// Without its quotes.
    Quoted(&'a str),
}

fn unescaped_delimiter(bytes: &[u8], start: usize, delimiter: u8) -> Option<usize> {
    let mut at = start;
    loop {
        let found = at + memchr2(delimiter, b'\\', bytes.get(at..)?)?;
        match bytes[found] == delimiter {
            true => return Some(found),
            false => at = found + 2,
        }
    }
}

/// A field of the text format without its backslashes; whether it is text then.
fn unescape(raw: &str, into: &mut String) -> bool {
    let bytes = raw.as_bytes();
    let mut made: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let digits = |range: Range<usize>, radix: u32| {
        let text = bytes.get(range.clone())?;
        let count = text
            .iter()
            .take_while(|byte| char::from(**byte).is_digit(radix))
            .count();
        let value = std::str::from_utf8(&text[..count]).ok()?;
        let value = u32::from_str_radix(value, radix).ok()?;
        Some((u8::try_from(value & 0xff).ok()?, count))
    };
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            made.push(bytes[at]);
            at += 1;
            continue;
        }
        let Some(next) = bytes.get(at + 1).copied() else {
            made.push(b'\\');
            break;
        };
        at += 2;
        match next {
            b'b' => made.push(8),
            b'f' => made.push(12),
            b'n' => made.push(b'\n'),
            b'r' => made.push(b'\r'),
            b't' => made.push(b'\t'),
            b'v' => made.push(11),
            b'0'..=b'7' => {
                let from = at - 1;
                if let Some((value, count)) = digits(from..(from + 3).min(bytes.len()), 8) {
                    made.push(value);
                    at = from + count;
                }
            }
            b'x' => match digits(at..(at + 2).min(bytes.len()), 16) {
                Some((value, count)) if count > 0 => {
                    made.push(value);
                    at += count;
                }
                _ => made.push(b'x'),
            },
            other => made.push(other),
        }
    }
    match String::from_utf8(made) {
        Ok(text) => {
            into.push_str(&text);
            true
        }
        Err(_) => false,
    }
}

/// A field of CSV that has quotes, from `start` on: where the next one begins, if there is one. Nothing where a quote isn't closed.
fn quoted_field(
    line: &str,
    start: usize,
    (delimiter, quote, escape): (u8, u8, u8),
    into: &mut String,
) -> Option<Option<usize>> {
    let bytes = line.as_bytes();
    let mut at = start;
    let mut quoted = false;
    loop {
        let found = match quoted {
            false => memchr2(delimiter, quote, bytes.get(at..)?),
            true => memchr2(quote, escape, bytes.get(at..)?),
        };
        let Some(found) = found.map(|found| at + found) else {
            into.push_str(&line[at..]);
            return (!quoted).then_some(None);
        };
        into.push_str(&line[at..found]);
        let next = bytes.get(found + 1).copied();
        if !quoted && bytes[found] == delimiter {
            return Some(Some(found + 1));
        }
        if quoted && bytes[found] == escape && (next == Some(quote) || next == Some(escape)) {
            // Both are ASCII.
            into.push(char::from(next.unwrap_or_default()));
            at = found + 2;
        } else if bytes[found] == quote {
            quoted = !quoted;
            at = found + 1;
        } else {
            into.push(char::from(bytes[found]));
            at = found + 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sql::{StatementKind, parse};

    fn options(text: &str) -> CopyOptions {
        let statement = parse(&format!("COPY t FROM STDIN {text}"))
            .unwrap()
            .remove(0);
        match statement.kind {
            StatementKind::Copy(copy) => copy.options,
            _ => unreachable!(),
        }
    }

    /// The fields of rows, `-` for NULL, however the bytes are cut.
    fn read(text: &str, columns: usize, bytes: &[u8]) -> Result<Vec<String>> {
        let mut first = None;
        for size in [1, 2, 3, 7, 1000] {
            let names = (0..columns).map(|at| format!("c{at}")).collect();
            let mut reader = Reader::new("t", names, options(text), "UTF8")?;
            let mut rows = Vec::new();
            for part in bytes.chunks(size) {
                reader.push(part, &mut rows)?;
            }
            reader.finish(&mut rows)?;
            let mut found = Vec::new();
            for rows in rows {
                for row in 0..rows.lines.len() {
                    let fields: Vec<&str> = rows
                        .columns
                        .iter()
                        .map(|column| {
                            if column.is_null(row) {
                                "-"
                            } else {
                                column.value(row)
                            }
                        })
                        .collect();
                    found.push(format!("{}:{}", rows.lines[row], fields.join("|")));
                }
            }
            match &first {
                None => first = Some(found),
                Some(first) => assert_eq!(first, &found, "in parts of {size}"),
            }
        }
        Ok(first.unwrap_or_default())
    }

    /// Expected: PostgreSQL 15.18.
    #[test]
    fn text_is_read_as_postgres_reads_it() {
        let bytes = b"1\ta\\tb\\\\c\r\n2\t\\N\n3\t\\x41\\101\\n\n4\tback\\\nslash\n\\.\nignored\n";
        assert_eq!(
            read("", 2, bytes).unwrap(),
            ["1:1|a\tb\\c", "2:2|-", "3:3|AA\n", "4:4|back\nslash"]
        );
        assert_eq!(read("", 1, "漏斗".as_bytes()).unwrap(), ["1:漏斗"]);
    }

    /// Expected: PostgreSQL 15.18.
    #[test]
    fn csv_is_read_as_postgres_reads_it() {
        let bytes =
            "a,b\n1,\"x\"\"y\"\n2,\"two\nlines\"\r\n3,\n4,\"\"\n5,pre\"q,d\"post\n".as_bytes();
        assert_eq!(
            read("(FORMAT csv, HEADER)", 2, bytes).unwrap(),
            [
                "2:1|x\"y",
                "3:2|two\nlines",
                "5:3|-",
                "6:4|",
                "7:5|preq,dpost"
            ]
        );
        assert_eq!(
            read(
                "(FORMAT csv, DELIMITER ';', QUOTE '''', NULL 'n', FORCE_NULL (c1))",
                2,
                b"'it''s';''\n;'n'\n"
            )
            .unwrap(),
            ["1:it's|", "2:|-"]
        );
        assert_eq!(
            read(
                "(FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE E'\\\\', FORCE_NOT_NULL (c0))",
                2,
                b"'a\\'b';\n;x\n"
            )
            .unwrap(),
            ["1:a'b|-", "2:|x"]
        );
        assert!(read("(FORMAT csv)", 1, b"\"open\n").is_err());
    }

    #[test]
    fn a_row_of_another_length_says_its_line() {
        let error = read("", 2, b"1\t2\n3\n").unwrap_err();
        assert_eq!(error.to_string(), "missing data for column \"c1\"");
        assert_eq!(error.context().unwrap(), "COPY t, line 2: \"3\"");
        let error = read("(FORMAT csv)", 1, b"1\n2,3\n").unwrap_err();
        assert_eq!(error.to_string(), "extra data after last expected column");
        assert_eq!(error.code(), "22P04");
    }

    #[test]
    fn other_encodings_come_through() {
        let (bytes, _, _) = encoding_rs::GB18030.encode("漏斗\t成交\n");
        assert_eq!(
            read("(ENCODING 'GB18030')", 2, &bytes).unwrap(),
            ["1:漏斗|成交"]
        );
        assert_eq!(
            read("(ENCODING 'LATIN1')", 1, b"caf\xe9\n").unwrap(),
            ["1:café"]
        );
        assert_eq!(read("", 1, b"caf\xe9\n").unwrap_err().code(), "22021");
        assert_eq!(
            read("(ENCODING 'klingon')", 1, b"x\n").unwrap_err().code(),
            "22023"
        );
    }

    #[test]
    fn a_header_may_have_to_match() {
        let options = "(FORMAT csv, HEADER match)";
        assert_eq!(read(options, 2, b"c0,c1\n1,2\n").unwrap(), ["2:1|2"]);
        let error = read(options, 2, b"c0,x\n1,2\n").unwrap_err();
        assert!(
            error.to_string().contains("got \"x\", expected \"c1\""),
            "{error}"
        );
    }
}

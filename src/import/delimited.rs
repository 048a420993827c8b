//! CSV and its relatives: any delimiter, any encoding, and what Excel does to them.

use std::io::{ErrorKind, Read};

use csv_core::ReadRecordResult;
use encoding_rs::{Encoding, UTF_8};
use encoding_rs_io::DecodeReaderBytesBuilder;

use super::reading::{DateOrder, Moment, Number, Style};
use super::source::{Cell, Sink};
use super::{ImportError, Input, Options, Progress, names};

/// So much of a file is looked at to find out its delimiter.
const SAMPLE_BYTES: usize = 1 << 20;
/// No row is longer: a quote that is never closed would make the rest of the file one field.
const MOST_ROW_BYTES: usize = 64 << 20;
/// What can be between fields, the more usual ones first.
const DELIMITERS: [u8; 4] = *b",;\t|";
/// The first line of a file that tells Excel what is between its fields: `sep=;`.
const SEPARATOR_LINE: &str = "sep=";

/// How a file is written.
#[derive(Debug)]
struct Dialect {
    encoding: &'static Encoding,
    delimiter: u8,
    /// Whether the first line only says what the delimiter is.
    has_separator_line: bool,
}

pub(super) fn read(
    input: &Input,
    options: &Options,
    delimiter: Option<u8>,
    progress: &Progress,
    sink: &mut dyn Sink,
) -> Result<(), ImportError> {
    let dialect = dialect(input, options, options.delimiter.or(delimiter))?;
    if dialect.encoding != UTF_8 {
        sink.note(format!(
            "\"{}\" is in {}",
            input.path.display(),
            dialect.encoding.name()
        ));
    }
    if options.delimiter.or(delimiter).is_none() && dialect.delimiter != b',' {
        let shown = match dialect.delimiter {
            b'\t' => "tabs".to_owned(),
            other => format!("\"{}\"", char::from(other)),
        };
        sink.note(format!(
            "\"{}\" has {shown} between its fields",
            input.path.display()
        ));
    }
    let mut records = Records::new(
        decoded(input, dialect.encoding, progress)?,
        dialect.delimiter,
    );
    let mut header: Option<usize> = None;
    let mut skip = dialect.has_separator_line;
    while let Some(record) = records.next().map_err(|fault| fault.of(input))? {
        if std::mem::take(&mut skip) {
            continue;
        }
        let line = record.line;
        let mut texts: Vec<&str> = Vec::new();
        let mut fault = None;
        for field in record.fields() {
            match text_of(field, dialect.encoding) {
                Ok(text) => texts.push(text),
                Err(reason) => {
                    fault = fault.or(Some(format!("field {}: {reason}", texts.len() + 1)))
                }
            }
        }
        if let Some(reason) = fault {
            if header.is_none() {
                let path = input.path.display();
                return Err(ImportError::new(
                    "22021",
                    format!("the header of \"{path}\" can't be read: {reason}"),
                )
                .hint("Name the file's encoding with --encoding, such as gb18030 or utf-16le."));
            }
            sink.reject(line, reason, &record.shown())?;
            continue;
        }
        let Some(width) = header else {
            // Excel leaves delimiters behind the last column that has a name.
            let mut fields = texts.clone();
            if options.no_header {
                fields.iter_mut().for_each(|field| *field = "");
            } else {
                while fields.len() > 1 && fields.last().is_some_and(|name| name.trim().is_empty()) {
                    fields.pop();
                }
                if looks_like_data(&fields) {
                    sink.note(format!(
                        "the first row of \"{}\" looks like data and was taken for the header; --no-header takes it as a row",
                        input.path.display()
                    ));
                }
            }
            let width = fields.len();
            sink.columns(&names::of_header(fields.into_iter(), options.keep_names));
            header = Some(width);
            if options.no_header {
                give(sink, line, &texts)?;
            }
            continue;
        };
        progress.add_rows(1);
        let filled = texts
            .iter()
            .rposition(|text| !text.is_empty())
            .map_or(0, |last| last + 1);
        if texts.len() < width || filled > width {
            let reason = format!("{} fields where the header has {width}", texts.len());
            sink.reject(line, reason, &record.shown())?;
            continue;
        }
        texts.truncate(width);
        give(sink, line, &texts)?;
    }
    Ok(())
}

fn give(sink: &mut dyn Sink, line: u64, texts: &[&str]) -> Result<(), ImportError> {
    let cells: Vec<Cell<'_>> = texts
        .iter()
        .map(|text| match unformula(text) {
            Some(inner) => Cell::Text(inner),
            None => Cell::Raw(text),
        })
        .collect();
    sink.row(line, &cells)
}

/// The text of `="00123"`, which keeps Excel from reading a number.
fn unformula(text: &str) -> Option<&str> {
    text.strip_prefix("=\"")?
        .strip_suffix('"')
        .filter(|inner| !inner.contains('"'))
}

/// A header has names; numbers and dates are data.
fn looks_like_data(fields: &[&str]) -> bool {
    fields.iter().any(|field| {
        let field = field.trim();
        // Years are names of columns too.
        let is_number = field.len() > 4 && Number::read(field, Style::Point).is_some();
        is_number || Moment::read(field, DateOrder::Ymd).is_some_and(|moment| moment.time.is_some())
    })
}

fn text_of<'a>(field: &'a [u8], encoding: &'static Encoding) -> Result<&'a str, String> {
    let text = std::str::from_utf8(field)
        .map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to() + 1))?;
    if text.contains('\0') {
        return Err("a NUL character, which a text can't have".to_owned());
    }
    // What the encoding doesn't have is decoded to this character.
    if encoding != UTF_8 && text.contains('\u{fffd}') {
        return Err(format!("not valid in {}", encoding.name()));
    }
    Ok(text)
}

fn decoded<'a>(
    input: &Input,
    encoding: &'static Encoding,
    progress: &'a Progress,
) -> Result<Box<dyn Read + 'a>, ImportError> {
    let bytes = input.open(progress)?;
    Ok(Box::new(
        DecodeReaderBytesBuilder::new()
            // UTF-8 passes as it is, so that a broken row is found out; its mark is taken away.
            .encoding(Some(encoding).filter(|encoding| *encoding != UTF_8))
            .utf8_passthru(true)
            .strip_bom(true)
            .bom_override(true)
            .build(bytes),
    ))
}

fn dialect(
    input: &Input,
    options: &Options,
    delimiter: Option<u8>,
) -> Result<Dialect, ImportError> {
    // What is looked at here is read again: it is no progress.
    let unnoticed = Progress::default();
    let encoding = match &options.encoding {
        Some(label) => Encoding::for_label(label.trim().as_bytes()).ok_or_else(|| {
            ImportError::new("22023", format!("there is no encoding \"{label}\""))
                .hint("Usual ones are utf-8, gb18030, utf-16le, big5, shift_jis and windows-1252.")
        })?,
        None => encoding_of(input, &unnoticed)?,
    };
    let mut sample = Vec::new();
    decoded(input, encoding, &unnoticed)?
        .take(SAMPLE_BYTES as u64)
        .read_to_end(&mut sample)
        .map_err(|error| ImportError::unreadable(input, &error))?;
    let first_line = sample
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .next()
        .unwrap_or_default();
    let named = std::str::from_utf8(first_line)
        .ok()
        .and_then(|line| line.strip_prefix(SEPARATOR_LINE));
    let named = named.and_then(|rest| match rest.as_bytes() {
        [delimiter] => Some(*delimiter),
        _ => None,
    });
    let content = match named {
        Some(_) => &sample[first_line.len()..],
        None => sample.as_slice(),
    };
    Ok(Dialect {
        encoding,
        delimiter: delimiter.or(named).unwrap_or_else(|| delimiter_of(content)),
        has_separator_line: named.is_some(),
    })
}

/// The encoding of a file: its mark if it has one, UTF-8 if it is valid, and otherwise what is most like it.
fn encoding_of(input: &Input, progress: &Progress) -> Result<&'static Encoding, ImportError> {
    let unreadable = |error: std::io::Error| ImportError::unreadable(input, &error);
    let mut bytes = input.open(progress)?;
    let mut window = vec![0; SAMPLE_BYTES];
    let mut filled = fill(&mut bytes, &mut window).map_err(unreadable)?;
    if let Some((encoding, _)) = Encoding::for_bom(&window[..filled]) {
        return Ok(encoding);
    }
    if let Some(encoding) = unmarked_utf16(&window[..filled]) {
        return Ok(encoding);
    }
    // Letters of other scripts may come late: the window that has the first of them tells.
    while filled > 0 && window[..filled].is_ascii() {
        filled = fill(&mut bytes, &mut window).map_err(unreadable)?;
    }
    let sample = &window[..filled];
    let error = match std::str::from_utf8(sample) {
        Ok(_) => return Ok(UTF_8),
        // Cut in the middle of a character.
        Err(error) if error.error_len().is_none() => return Ok(UTF_8),
        Err(error) => error,
    };
    // A file in UTF-8 with a broken row: other encodings have no such sequences before.
    let valid = std::str::from_utf8(&sample[..error.valid_up_to()]).unwrap_or_default();
    if valid
        .chars()
        .filter(|character| !character.is_ascii())
        .take(4)
        .count()
        == 4
    {
        return Ok(UTF_8);
    }
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(sample, filled < SAMPLE_BYTES);
    let guessed = detector.guess(None, chardetng::Utf8Detection::Deny);
    // GBK is a part of GB18030.
    Ok(if guessed == encoding_rs::GBK {
        encoding_rs::GB18030
    } else {
        guessed
    })
}

/// UTF-16 without a mark: every second byte of ASCII is zero.
fn unmarked_utf16(sample: &[u8]) -> Option<&'static Encoding> {
    let start = &sample[..sample.len().min(64) & !1];
    let zeros = |offset: usize| {
        start
            .iter()
            .skip(offset)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    match start.len() >= 4 {
        true if odd * 4 > start.len() && even == 0 => Some(encoding_rs::UTF_16LE),
        true if even * 4 > start.len() && odd == 0 => Some(encoding_rs::UTF_16BE),
        _ => None,
    }
}

fn fill(bytes: &mut dyn Read, window: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < window.len() {
        match bytes.read(&mut window[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The delimiter that makes rows of equally many fields, and of the most.
fn delimiter_of(sample: &[u8]) -> u8 {
    let score = |delimiter: u8| {
        let mut records = Records::new(sample, delimiter);
        let mut widths = Vec::new();
        while let Ok(Some(record)) = records.next() {
            widths.push(record.fields().count());
            if widths.len() == 100 {
                break;
            }
        }
        // The last one may be cut.
        if widths.len() > 2 {
            widths.pop();
        }
        let width = widths.first().copied().unwrap_or(0);
        if width < 2 {
            return (0, 0);
        }
        let alike = widths.iter().filter(|other| **other == width).count();
        (alike * 100 / widths.len(), width)
    };
    // The first of those that are equal.
    let best = DELIMITERS
        .iter()
        .rev()
        .copied()
        .max_by_key(|delimiter| score(*delimiter));
    best.filter(|best| score(*best).0 > 0).unwrap_or(b',')
}

/// What keeps records from being read.
enum Fault {
    Io(std::io::Error),
    TooLong(u64),
    OpenQuote(u64),
}

impl Fault {
    fn of(self, input: &Input) -> ImportError {
        match self {
            Fault::Io(error) => ImportError::unreadable(input, &error),
            Fault::OpenQuote(line) => {
                let path = input.path.display();
                let message =
                    format!("a quote in the row at line {line} of \"{path}\" is never closed");
                ImportError::new("22P04", message)
                    .hint("In a field in quotes, a quote is written twice.")
            }
            Fault::TooLong(line) => {
                let path = input.path.display();
                let message = format!(
                    "the row at line {line} of \"{path}\" has more than {} MB",
                    MOST_ROW_BYTES >> 20
                );
                ImportError::new("54000", message)
                    .hint("A quote that is opened there may never be closed.")
            }
        }
    }
}

/// Records of delimited text. The parser is the csv crate's; this adds the limit of a row.
struct Records<R> {
    reader: R,
    parser: csv_core::Reader,
    buffer: Vec<u8>,
    /// What of the buffer isn't parsed yet.
    from: usize,
    to: usize,
    /// The last line has its end.
    closed: bool,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

struct Record<'a> {
    line: u64,
    fields: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Record<'a> {
    fn fields(&self) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields;
        self.ends.iter().scan(0, move |start, end| {
            let field = &fields[*start..*end];
            *start = *end;
            Some(field)
        })
    }

    /// The fields with commas between them, for a report.
    fn shown(&self) -> Vec<u8> {
        self.fields().collect::<Vec<_>>().join(&b","[..])
    }
}

impl<R: Read> Records<R> {
    fn new(reader: R, delimiter: u8) -> Self {
        Self {
            reader,
            parser: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            buffer: vec![0; 1 << 16],
            from: 0,
            to: 0,
            closed: false,
            fields: vec![0; 1 << 12],
            ends: vec![0; 64],
        }
    }

    fn next(&mut self) -> Result<Option<Record<'_>>, Fault> {
        let (mut written, mut ended) = (0, 0);
        let mut line = None;
        loop {
            if self.from == self.to {
                self.from = 0;
                self.to = fill(&mut self.reader, &mut self.buffer).map_err(Fault::Io)?;
                // The end of the last line, which may be missing: in quotes it is a part of the field.
                if self.to == 0 && !self.closed {
                    self.closed = true;
                    self.buffer[0] = b'\n';
                    self.to = 1;
                }
            }
            line.get_or_insert(self.parser.line());
            let (result, read, wrote, ends) = self.parser.read_record(
                &self.buffer[self.from..self.to],
                &mut self.fields[written..],
                &mut self.ends[ended..],
            );
            self.from += read;
            written += wrote;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty if self.closed && wrote > 0 => {
                    return Err(Fault::OpenQuote(line.unwrap_or(0)));
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => {
                    if self.fields.len() >= MOST_ROW_BYTES {
                        return Err(Fault::TooLong(line.unwrap_or(0)));
                    }
                    self.fields.resize(self.fields.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        Ok(Some(Record {
            line: line.unwrap_or(0),
            fields: &self.fields[..written],
            ends: &self.ends[..ended],
        }))
    }
}

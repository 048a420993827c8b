//! Event logs after IEEE 1849 (XES): a row for each event, with its trace's attributes as `case_…`.

use std::io::BufReader;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::source::{Cell, Columns, Sink};
use super::{ImportError, Input, Options, Progress};

/// An attribute: its key, its value, and whether it is a text.
type Attribute = (String, String, bool);

pub(super) fn read(
    input: &Input,
    options: &Options,
    progress: &Progress,
    sink: &mut dyn Sink,
) -> Result<(), ImportError> {
    let mut reader = Reader::from_reader(BufReader::with_capacity(1 << 18, input.open(progress)?));
    let mut buffer = Vec::new();
    let mut columns = Columns::default();
    let mut trace: Vec<Attribute> = Vec::new();
    let mut event: Option<Vec<Attribute>> = None;
    let (mut in_trace, mut is_log, mut number) = (false, false, 0);
    // Attributes may have attributes of their own, and the log has some before its traces.
    let mut depth_in_attribute = 0_usize;
    loop {
        buffer.clear();
        let next = reader
            .read_event_into(&mut buffer)
            .map_err(|error| ImportError::malformed(input, &error))?;
        let (element, is_empty) = match &next {
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            Event::End(element) => {
                match element.local_name().as_ref() {
                    "event" if event.is_some() => {
                        number += 1;
                        progress.add_rows(1);
                        let event = event.take().unwrap_or_default();
                        give(number, &trace, &event, &mut columns, options, sink)?;
                    }
                    "trace" => (in_trace, trace) = (false, Vec::new()),
                    _ => depth_in_attribute = depth_in_attribute.saturating_sub(1),
                }
                continue;
            }
            Event::Eof => break,
            _ => continue,
        };
        match element.local_name().as_ref() {
            "log" => is_log = true,
            "trace" if !is_empty => (in_trace, trace) = (true, Vec::new()),
            "event" if !is_empty => (event, depth_in_attribute) = (Some(Vec::new()), 0),
            kind @ ("string" | "date" | "int" | "float" | "boolean" | "id") => {
                if depth_in_attribute == 0 && in_trace {
                    let attribute = attribute(element, matches!(kind, "string" | "id"))
                        .map_err(|error| ImportError::malformed(input, &error))?;
                    match (&mut event, attribute) {
                        (Some(event), Some(attribute)) => event.push(attribute),
                        (None, Some((key, value, is_text))) => {
                            trace.push((format!("case:{key}"), value, is_text))
                        }
                        (_, None) => {}
                    }
                }
                if !is_empty {
                    depth_in_attribute += 1;
                }
            }
            _ if !is_empty && in_trace => depth_in_attribute += 1,
            _ => {}
        }
    }
    match is_log {
        true => Ok(()),
        false => Err(ImportError::malformed(input, &"there is no <log> in it")),
    }
}

/// The `key` and `value` of an attribute.
fn attribute(
    element: &BytesStart<'_>,
    is_text: bool,
) -> Result<Option<Attribute>, quick_xml::Error> {
    let (mut key, mut value) = (None, None);
    for attribute in element.attributes() {
        let attribute = attribute?;
        let text = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)?
            .into_owned();
        match attribute.key.as_ref() {
            "key" => key = Some(text),
            "value" => value = Some(text),
            _ => {}
        }
    }
    Ok(key.zip(value).map(|(key, value)| (key, value, is_text)))
}

fn give(
    number: u64,
    trace: &[Attribute],
    event: &[Attribute],
    columns: &mut Columns,
    options: &Options,
    sink: &mut dyn Sink,
) -> Result<(), ImportError> {
    let mut cells: Vec<Cell<'_>> = Vec::new();
    for (key, value, is_text) in trace.iter().chain(event) {
        let place = columns.place(key, options, sink);
        if cells.len() <= place {
            cells.resize(place + 1, Cell::Null);
        }
        cells[place] = match is_text {
            true => Cell::Text(value),
            false => Cell::Raw(value),
        };
    }
    sink.row(number, &cells)
}

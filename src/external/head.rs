//! The columns that a file says it has: the first line of a CSV, the schema of an Arrow file.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::common::config::CsvOptions;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use futures::{StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};

/// Enough for the head of nearly every file.
const USUAL: u64 = 64 << 10;
/// A head that is longer is none.
const MOST: usize = 16 << 20;

/// How a file of Arrow's begins, and how one that isn't a stream does.
const ARROW_FILE: &[u8] = b"ARROW1";

/// The fields of the first line of a CSV, whatever they mean.
pub async fn csv_head(
    store: &Arc<dyn ObjectStore>,
    meta: &ObjectMeta,
    options: &CsvOptions,
    compression: FileCompressionType,
) -> Result<Vec<String>, DataFusionError> {
    let parse = |bytes: &[u8], all: bool| first_record(bytes, all, options);
    bytes_until(store, meta, compression, parse).await
}

/// The schema of an Arrow file, and whether it is one that can be read in parts.
pub async fn arrow_head(
    store: &Arc<dyn ObjectStore>,
    meta: &ObjectMeta,
) -> Result<(SchemaRef, bool), DataFusionError> {
    let parse = |bytes: &[u8], all: bool| {
        let is_file = bytes.starts_with(ARROW_FILE);
        let mut stream = bytes;
        if is_file {
            // The magic of a file, and zeros up to a multiple of eight, come before what is a stream otherwise.
            stream = bytes.get(8..).unwrap_or_default();
            while let Some(rest) = stream.strip_prefix(&[0; 8]) {
                stream = rest;
            }
        }
        match StreamReader::try_new(Cursor::new(stream), None) {
            Ok(reader) => Ok(Some((reader.schema(), is_file))),
            Err(error) if all => Err(DataFusionError::from(error)),
            Err(_) => Ok(None),
        }
    };
    bytes_until(store, meta, FileCompressionType::UNCOMPRESSED, parse).await
}

/// Whether it is a file of Arrow's, and not a stream.
pub async fn is_arrow_file(
    store: &Arc<dyn ObjectStore>,
    meta: &ObjectMeta,
) -> Result<bool, DataFusionError> {
    let most = meta.size.min(ARROW_FILE.len() as u64);
    Ok(beginning(store, meta, most).await?.starts_with(ARROW_FILE))
}

/// The first bytes of a file.
async fn beginning(
    store: &Arc<dyn ObjectStore>,
    meta: &ObjectMeta,
    count: u64,
) -> Result<Bytes, DataFusionError> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(0..count)),
        ..GetOptions::default()
    };
    let found = store.get_opts(&meta.location, options).await?;
    Ok(found.bytes().await?)
}

/// Reads a file from its beginning until `parse` has what it wants. `parse` is told when there is no more.
async fn bytes_until<T>(
    store: &Arc<dyn ObjectStore>,
    meta: &ObjectMeta,
    compression: FileCompressionType,
    parse: impl Fn(&[u8], bool) -> Result<Option<T>, DataFusionError>,
) -> Result<T, DataFusionError> {
    // Of most files the beginning is enough; what is compressed is read as it comes.
    if !compression.is_compressed() && meta.size > USUAL {
        let bytes = beginning(store, meta, USUAL).await?;
        if let Some(parsed) = parse(&bytes, false)? {
            return Ok(parsed);
        }
    }
    let whole = store
        .get_opts(&meta.location, GetOptions::default())
        .await?;
    let stream = whole.into_stream().map_err(DataFusionError::from).boxed();
    let mut stream = compression.convert_stream(stream)?;
    let mut bytes = Vec::new();
    loop {
        let chunk = stream.try_next().await?;
        let all = chunk.is_none() || bytes.len() > MOST;
        bytes.extend_from_slice(&chunk.unwrap_or_default());
        if let Some(parsed) = parse(&bytes, all)? {
            return Ok(parsed);
        }
        if all {
            let message = format!("file \"{}\" has no head that can be read", meta.location);
            return Err(DataFusionError::Execution(message));
        }
    }
}

/// The first record, where it ends within the bytes. A file without one has no columns.
fn first_record(
    bytes: &[u8],
    all: bool,
    options: &CsvOptions,
) -> Result<Option<Vec<String>>, DataFusionError> {
    let mut builder = csv::ReaderBuilder::new();
    builder
        .has_headers(false)
        .flexible(true)
        .delimiter(options.delimiter)
        .quote(options.quote)
        .escape(options.escape)
        .comment(options.comment);
    if let Some(terminator) = options.terminator {
        builder.terminator(csv::Terminator::Any(terminator));
    }
    let mut reader = builder.from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    let read = reader
        .read_byte_record(&mut record)
        .map_err(|error| DataFusionError::Execution(error.to_string()))?;
    let ends = reader.position().byte() < bytes.len() as u64;
    let is_whole = all || (read && ends);
    if !is_whole {
        return Ok(None);
    }
    let fields = record.iter();
    Ok(Some(
        fields
            .map(|field| String::from_utf8_lossy(field).into_owned())
            .collect(),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_read_when_it_is_there_to_its_end() {
        let read = |bytes: &[u8], all| first_record(bytes, all, &CsvOptions::default()).unwrap();
        assert_eq!(read(b"a,b", false), None);
        assert_eq!(read(b"\"a\nb", false), None);
        assert_eq!(
            read(b"\"a\nb\",c\n1,2\n", false),
            Some(vec!["a\nb".to_owned(), "c".to_owned()])
        );
        assert_eq!(
            read(b"a,b", true),
            Some(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(read(b"", true), Some(Vec::new()));
    }
}

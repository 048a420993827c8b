//! The files that a command line names, and how their bytes are got at.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::{ImportError, Progress};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Fields between commas, semicolons, tabs or bars.
    Csv,
    /// Fields between tabs.
    Tsv,
    /// An object of JSON in each line, or an array of objects.
    Json,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's file format, or its stream.
    Arrow,
    /// A workbook of Excel or OpenDocument.
    Workbook,
    /// An event log after IEEE 1849 (XES).
    Xes,
}

/// The formats, their names and the ends of the files' names.
const FORMATS: [(Format, &str, &[&str]); 7] = [
    (Format::Csv, "csv", &["csv", "txt"]),
    (Format::Tsv, "tsv", &["tsv", "tab"]),
    (Format::Json, "json", &["jsonl", "ndjson", "json"]),
    (Format::Parquet, "parquet", &["parquet", "pq"]),
    (
        Format::Arrow,
        "arrow",
        &["arrow", "arrows", "feather", "ipc"],
    ),
    (
        Format::Workbook,
        "xlsx",
        &["xlsx", "xlsm", "xlsb", "xls", "ods"],
    ),
    (Format::Xes, "xes", &["xes"]),
];

impl Format {
    /// The format of that name.
    pub fn parse(name: &str) -> Option<Self> {
        FORMATS
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(format, ..)| *format)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        FORMATS
            .iter()
            .find(|(format, ..)| *format == self)
            .map_or("", |(_, name, _)| name)
    }

    /// Whether such files know the types of their columns.
    pub fn is_columnar(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow)
    }

    fn of(path: &Path) -> Option<(Self, Compression)> {
        let name = path.file_name()?.to_str()?.to_lowercase();
        let (name, compression) = match name.rsplit_once('.') {
            Some((name, "gz" | "gzip")) => (name, Compression::Gzip),
            Some((name, "zst" | "zstd")) => (name, Compression::Zstd),
            _ => (name.as_str(), Compression::None),
        };
        let (_, end) = name.rsplit_once('.')?;
        let format = FORMATS.iter().find(|(_, _, ends)| ends.contains(&end))?;
        Some((format.0, compression))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub format: Format,
    compression: Compression,
}

impl Input {
    /// Its content, decompressed; `progress` counts the bytes that are read of the file itself.
    pub(super) fn open<'a>(
        &self,
        progress: &'a Progress,
    ) -> Result<Box<dyn Read + 'a>, ImportError> {
        let file = File::open(&self.path).map_err(|error| ImportError::unreadable(self, &error))?;
        let file = BufReader::with_capacity(1 << 18, Counted { file, progress });
        Ok(match self.compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Compression::Zstd => Box::new(
                zstd::stream::read::Decoder::with_buffer(file)
                    .map_err(|error| ImportError::unreadable(self, &error))?,
            ),
        })
    }

    /// Its content as a file that can be read at any place: the file itself, or a temporary copy where it is compressed.
    pub(super) fn open_at_random(&self, progress: &Progress) -> Result<File, ImportError> {
        let unreadable = |error: io::Error| ImportError::unreadable(self, &error);
        match self.compression {
            Compression::None => File::open(&self.path).map_err(unreadable),
            Compression::Gzip | Compression::Zstd => {
                let mut copy = tempfile::tempfile().map_err(unreadable)?;
                io::copy(&mut self.open(progress)?, &mut copy).map_err(unreadable)?;
                io::Seek::rewind(&mut copy).map_err(unreadable)?;
                Ok(copy)
            }
        }
    }

    /// How many bytes the file has.
    pub fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

/// Counts what is read.
struct Counted<'a> {
    file: File,
    progress: &'a Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.progress
            .bytes
            .fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The files that `paths` name, in the order of the paths, and by name within a folder or a pattern.
pub(super) fn expand(paths: &[PathBuf], format: Option<Format>) -> Result<Vec<Input>, ImportError> {
    let mut inputs = Vec::new();
    for path in paths {
        let before = inputs.len();
        if path.is_dir() {
            // Of a folder only what is known is taken: others lie beside it, hidden ones too.
            for file in files_in(path)? {
                if let Some((found, compression)) = Format::of(&file) {
                    let format = format.unwrap_or(found);
                    inputs.push(Input {
                        path: file,
                        format,
                        compression,
                    });
                }
            }
        } else if path.exists() {
            inputs.push(named(path, format)?);
        } else if let Some(pattern) = path.to_str().filter(|path| path.contains(['*', '?', '['])) {
            let hidden = glob::MatchOptions {
                require_literal_leading_dot: true,
                ..glob::MatchOptions::default()
            };
            let found = glob::glob_with(pattern, hidden).map_err(|error| {
                ImportError::new(
                    "22023",
                    format!("\"{pattern}\" is no pattern of file names: {error}"),
                )
            })?;
            for file in found.flatten().filter(|file| file.is_file()) {
                inputs.push(named(&file, format)?);
            }
        }
        if inputs.len() == before {
            let message = format!("there is no file \"{}\"", path.display());
            let hint = "A folder needs files named .csv, .tsv, .jsonl, .parquet, .arrow, .xlsx or .xes in it, or with .gz or .zst behind.";
            let error = ImportError::new("58P01", message);
            return Err(if path.is_dir() {
                error.hint(hint)
            } else {
                error
            });
        }
    }
    Ok(inputs)
}

fn named(path: &Path, format: Option<Format>) -> Result<Input, ImportError> {
    let found = Format::of(path);
    let compression = found.map_or(Compression::None, |(_, compression)| compression);
    let Some(format) = format.or(found.map(|(format, _)| format)) else {
        let message = format!("the name of \"{}\" doesn't say what it is", path.display());
        return Err(ImportError::new("22023", message)
            .hint("Say it with --format csv, tsv, json, parquet, arrow, xlsx or xes."));
    };
    Ok(Input {
        path: path.to_owned(),
        format,
        compression,
    })
}

/// The files of a folder and of those in it, by name.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let unreadable = |error: io::Error| {
        ImportError::new(
            "58030",
            format!("can't read the folder \"{}\": {error}", folder.display()),
        )
    };
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(unreadable)?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        let is_hidden = entry
            .file_name()
            .is_none_or(|name| name.to_string_lossy().starts_with(['.', '~']));
        match entry.is_dir() {
            _ if is_hidden => {}
            true => files.extend(files_in(&entry)?),
            false => files.push(entry),
        }
    }
    Ok(files)
}

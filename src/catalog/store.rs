//! Definitions: one JSON file each, replaced atomically.
//!
//! On a disk, a definition is written to a file of another name, flushed to the disk and renamed over the old one,
//! so a reader sees the old text or the new one and never half of either. In a store that is what replacing an object is.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::marker::PhantomData;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::storage::Place;

const EXTENSION: &str = "json";

/// The definitions of one kind, in a folder of their own.
#[derive(Debug)]
pub struct Store<T> {
    place: Place,
    kind: &'static str,
    /// Only the process' owner may read it.
    private: bool,
    definitions: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Store<T> {
    /// The store in a place, which is made if it isn't there. `kind` is what an error calls its content.
    ///
    /// # Errors
    /// 58030 when the folder can't be made.
    pub fn open(place: impl Into<Place>, kind: &'static str) -> Result<Self> {
        let place = place.into();
        place.make()?;
        Ok(Self {
            place,
            kind,
            private: false,
            definitions: PhantomData,
        })
    }

    /// The same for what only the process' owner may read; in a store, that is said by the store.
    ///
    /// # Errors
    /// 58030 when the folder can't be made, or can't be closed to others.
    pub fn open_private(place: impl Into<Place>, kind: &'static str) -> Result<Self> {
        let store = Self::open(place, kind)?;
        close_to_others(&store.place)?;
        Ok(Self {
            private: true,
            ..store
        })
    }

    /// Every definition by its name; one that can't be read is an error in its place.
    ///
    /// # Errors
    /// 58030 when the folder can't be listed, 08001 when its store can't be reached.
    pub fn load(&self) -> Result<Vec<(String, Result<T>)>> {
        // A file of another name is one that a crash left half written; it was never acknowledged.
        let files = self.place.entries()?.into_iter().filter_map(|(file, _)| {
            let encoded = file.strip_suffix(EXTENSION)?.strip_suffix('.')?;
            Some((decode(encoded)?, self.place.join(&file)))
        });
        let files: Vec<(String, Place)> = files.collect();
        let texts = match &self.place {
            Place::Folder(_) => {
                let read = |(_, file): &(String, Place)| match file {
                    Place::Folder(file) => Some(fs::read(file).map_err(|error| error.to_string())),
                    Place::Store(..) => None,
                };
                files.iter().map(read).collect::<Vec<_>>()
            }
            Place::Store(remote, _) => {
                let paths = files.iter().map(|(_, file)| file.store_path());
                let texts = remote.read_each(&paths.collect::<Result<Vec<_>>>()?)?;
                let texts = texts.into_iter();
                texts.map(|text| Some(Ok(text?.to_vec()))).collect()
            }
        };
        let loaded = files
            .into_iter()
            .zip(texts)
            .filter_map(|((name, file), text)| {
                let read = text?.and_then(|text| parsed(&text));
                Some((name, read.map_err(|reason| self.corrupt(&file, reason))))
            });
        Ok(loaded.collect())
    }

    /// Keeps `definition` under `name`, in place of the one that was there.
    ///
    /// # Errors
    /// 58030 when it can't be written; the old one is then still there.
    pub fn put(&self, name: &str, definition: &T) -> Result<()> {
        let text = serde_json::to_vec_pretty(definition).map_err(|error| {
            Error::io(
                format!("can't write {} \"{name}\"", self.kind),
                std::io::Error::other(error),
            )
        })?;
        match self.file(name) {
            Place::Folder(file) => {
                let half = file.with_extension("half");
                write_durably(&half, &file, &text, self.private).map_err(|error| {
                    Error::io(format!("can't write \"{}\"", file.display()), error)
                })
            }
            Place::Store(remote, path) => remote.put(&path, text),
        }
    }

    /// Forgets the definition of that name; none is no error.
    ///
    /// # Errors
    /// 58030 when its file can't be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.file(name).remove_file()?;
        match &self.place {
            Place::Folder(folder) => sync_folder(folder)
                .map_err(|error| Error::io(format!("can't write \"{}\"", self.place), error)),
            Place::Store(..) => Ok(()),
        }
    }

    /// Where the definition of that name is.
    pub fn file(&self, name: &str) -> Place {
        self.place.join(&format!("{}.{EXTENSION}", encode(name)))
    }

    fn corrupt(&self, file: &Place, reason: String) -> Error {
        Error::Corrupt {
            kind: self.kind,
            file: file.to_string(),
            reason,
        }
    }
}

fn parsed<T: DeserializeOwned>(text: &[u8]) -> std::result::Result<T, String> {
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// Closes a folder to everybody but the process' owner. A store isn't closed by who writes into it, and the system's folders
/// of users are closed already where it isn't Unix.
///
/// # Errors
/// 58030.
pub fn close_to_others(place: &Place) -> Result<()> {
    #[cfg(not(unix))]
    let _ = place;
    #[cfg(unix)]
    if let Place::Folder(folder) = place {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(|error| {
            Error::io(format!("can't close folder \"{place}\" to others"), error)
        })?;
    }
    Ok(())
}

/// A new file; a private one is never open to others, not even while it is empty.
fn create(file: &Path, private: bool) -> std::io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if private {
        use std::os::unix::fs::OpenOptionsExt;
        // What a crash left may have been anybody's.
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        options.mode(0o600);
    }
    options.open(file)
}

fn write_durably(half: &Path, file: &Path, text: &[u8], private: bool) -> std::io::Result<()> {
    let mut written = create(half, private)?;
    written.write_all(text)?;
    written.sync_all()?;
    fs::rename(half, file)?;
    match file.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// A rename is durable once its folder is.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file's name for any name: letters, digits, `-` and `_` stay, other bytes become `%xx`.
fn encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            // Upper case as well: some file systems don't tell it from lower case.
            other => encoded.push_str(&format!("%{other:02x}")),
        }
    }
    encoded
}

fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(others.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &others[2..];
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn any_name_comes_back() {
        for name in [
            "sales",
            "Sales",
            "销售 漏斗",
            "a/b..\\c",
            "50% off",
            "x.json",
            "",
        ] {
            assert_eq!(decode(&encode(name)).as_deref(), Some(name));
            assert!(!encode(name).contains(['/', '\\', '.']));
        }
        assert_ne!(encode("a"), encode("A").to_lowercase());
    }

    #[test]
    fn a_definition_is_kept_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::<String>::open(folder.path().join("funnels"), "funnel").unwrap();
        store.put("漏斗.1", &"one".to_owned()).unwrap();
        store.put("漏斗.1", &"two".to_owned()).unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].0, "漏斗.1");
        assert_eq!(loaded[0].1.as_ref().unwrap(), "two");
        store.remove("漏斗.1").unwrap();
        store.remove("漏斗.1").unwrap();
        assert!(store.load().unwrap().is_empty());
    }

    #[test]
    fn a_half_written_file_is_not_read_and_a_corrupt_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::<String>::open(folder.path().to_owned(), "funnel").unwrap();
        fs::write(folder.path().join("new.half"), "\"ha").unwrap();
        assert!(store.load().unwrap().is_empty());
        fs::write(folder.path().join("bad.json"), "\"ha").unwrap();
        store.put("good", &"x".to_owned()).unwrap();
        let loaded = store.load().unwrap();
        let error = loaded[0].1.as_ref().unwrap_err();
        assert_eq!((loaded[0].0.as_str(), error.code()), ("bad", "XX001"));
        assert!(error.to_string().contains("bad.json"), "{error}");
        assert!(loaded[1].1.is_ok());
    }
}

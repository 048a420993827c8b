//! Definitions on disk: one JSON file each, replaced atomically.
//!
//! A definition is written to a file of another name, flushed to the disk and renamed over the old one,
//! so a reader sees the old text or the new one and never half of either.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

const EXTENSION: &str = "json";

/// The definitions of one kind, in a folder of their own.
#[derive(Debug)]
pub struct Store<T> {
    folder: PathBuf,
    kind: &'static str,
    definitions: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Store<T> {
    /// The store in `folder`, which is made if it isn't there. `kind` is what an error calls its content.
    ///
    /// # Errors
    /// 58030 when the folder can't be made.
    pub fn open(folder: PathBuf, kind: &'static str) -> Result<Self> {
        fs::create_dir_all(&folder).map_err(|error| {
            Error::io(format!("can't make folder \"{}\"", folder.display()), error)
        })?;
        Ok(Self {
            folder,
            kind,
            definitions: PhantomData,
        })
    }

    /// Every definition by its name; one that can't be read is an error in its place.
    ///
    /// # Errors
    /// 58030 when the folder can't be listed.
    pub fn load(&self) -> Result<Vec<(String, Result<T>)>> {
        let listing = fs::read_dir(&self.folder).map_err(|error| {
            Error::io(
                format!("can't read folder \"{}\"", self.folder.display()),
                error,
            )
        })?;
        let mut files: Vec<PathBuf> = listing
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        // A file of another name is one that a crash left half written; it was never acknowledged.
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == EXTENSION)
        });
        Ok(files
            .iter()
            .filter_map(|file| Some((decode(file.file_stem()?.to_str()?)?, self.read(file))))
            .collect())
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
        let file = self.file(name);
        let half = file.with_extension("half");
        write_durably(&half, &file, &text)
            .map_err(|error| Error::io(format!("can't write \"{}\"", file.display()), error))
    }

    /// Forgets the definition of that name; none is no error.
    ///
    /// # Errors
    /// 58030 when its file can't be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let file = self.file(name);
        match fs::remove_file(&file) {
            Ok(()) => sync_folder(&self.folder).map_err(|error| {
                Error::io(format!("can't write \"{}\"", self.folder.display()), error)
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(
                format!("can't remove \"{}\"", file.display()),
                error,
            )),
        }
    }

    /// Where the definition of that name is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder
            .join(encode(name))
            .with_extension_added(EXTENSION)
    }

    fn read(&self, file: &Path) -> Result<T> {
        let corrupt = |reason: String| Error::Corrupt {
            kind: self.kind,
            file: file.display().to_string(),
            reason,
        };
        let text = fs::read(file).map_err(|error| corrupt(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))
    }
}

/// `Path::with_extension` replaces what looks like one; a name may have dots of its own.
trait WithExtensionAdded {
    fn with_extension_added(self, extension: &str) -> PathBuf;
}

impl WithExtensionAdded for PathBuf {
    fn with_extension_added(mut self, extension: &str) -> PathBuf {
        let mut name = self.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(extension);
        self.set_file_name(name);
        self
    }
}

fn write_durably(half: &Path, file: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut written = File::create(half)?;
    written.write_all(text)?;
    written.sync_all()?;
    fs::rename(half, file)?;
    match file.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// A rename is durable once its folder is.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
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

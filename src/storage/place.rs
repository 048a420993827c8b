//! A folder of a data directory, whichever way it is kept.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::path::Path as StorePath;

use super::remote::Remote;
use crate::error::{Error, Result};

/// A folder, or a file in one.
#[derive(Debug, Clone)]
pub enum Place {
    /// Of this machine.
    Folder(PathBuf),
    /// What begins with that path in a store. Such a folder needn't be made.
    Store(Arc<Remote>, StorePath),
}

impl From<PathBuf> for Place {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

impl From<&Path> for Place {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Store(remote, path) => write!(f, "{remote}/{path}"),
        }
    }
}

impl Place {
    /// What is in it under that name; slashes are between names.
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::Store(remote, path) => {
                let parts = path.parts().map(|part| part.as_ref().to_owned());
                let parts = parts.chain(name.split('/').map(str::to_owned));
                let joined = parts.collect::<Vec<_>>().join("/");
                // As it is written: `Path::from` would write a % in another way. What no path can be is no name of ours.
                let joined = StorePath::parse(&joined).unwrap_or_else(|_| joined.into());
                Self::Store(Arc::clone(remote), joined)
            }
        }
    }

    /// Where it is on this machine.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Store(..) => None,
        }
    }

    /// Makes the folder if it isn't there.
    ///
    /// # Errors
    /// 58030.
    pub fn make(&self) -> Result<()> {
        let Self::Folder(folder) = self else {
            return Ok(());
        };
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::io(format!("can't make folder \"{self}\""), error))
    }

    /// The folders and files in it by name, in order, each with whether it is a folder; none where it isn't there.
    ///
    /// # Errors
    /// 58030 when it can't be listed, 08001 when its store can't be reached.
    pub fn entries(&self) -> Result<Vec<(String, bool)>> {
        let mut entries = match self {
            Self::Folder(folder) => match std::fs::read_dir(folder) {
                Ok(listing) => listing
                    .filter_map(|entry| {
                        let path = entry.ok()?.path();
                        let name = path.file_name()?.to_str()?.to_owned();
                        Some((name, path.is_dir()))
                    })
                    .collect(),
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => {
                    return Err(Error::io(format!("can't read folder \"{self}\""), error));
                }
            },
            Self::Store(remote, path) => remote.entries(path)?,
        };
        entries.sort();
        Ok(entries)
    }

    /// Removes the folder with everything in it; none is no error.
    ///
    /// # Errors
    /// 58030 when it can't be removed, 08001 when its store can't be reached.
    pub fn remove_all(&self) -> Result<()> {
        match self {
            Self::Folder(folder) => match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(Error::io(format!("can't remove folder \"{self}\""), error))
                }
                _ => Ok(()),
            },
            Self::Store(remote, path) => remote.remove_all(path),
        }
    }

    /// Removes the file; none is no error.
    ///
    /// # Errors
    /// 58030 when it can't be removed, 08001 when its store can't be reached.
    pub fn remove_file(&self) -> Result<()> {
        match self {
            Self::Folder(file) => match std::fs::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(Error::io(format!("can't remove \"{self}\""), error))
                }
                _ => Ok(()),
            },
            Self::Store(remote, path) => remote.remove(path),
        }
    }

    /// Removes files that nobody sees, in its own time; what stays is removed by a VACUUM.
    pub fn discard(&self, files: impl Iterator<Item = String>) {
        let files = files.map(|file| self.join(&file));
        match self {
            Self::Folder(_) => files.for_each(|file| {
                let _ = file.remove_file();
            }),
            Self::Store(remote, _) => {
                let files = files.filter_map(|file| file.store_path().ok());
                remote.remove_later(files.collect());
            }
        }
    }

    /// The name under which DataFusion knows the store that it is in.
    pub fn store_url(&self) -> ObjectStoreUrl {
        match self {
            Self::Folder(_) => ObjectStoreUrl::local_filesystem(),
            Self::Store(remote, _) => remote.url().clone(),
        }
    }

    /// Where that store has it.
    ///
    /// # Errors
    /// 58030 for a path that can't be one.
    pub fn store_path(&self) -> Result<StorePath> {
        match self {
            Self::Folder(folder) => StorePath::from_absolute_path(folder).map_err(|error| {
                let error = std::io::Error::other(error);
                Error::io(format!("can't find \"{self}\""), error)
            }),
            Self::Store(_, path) => Ok(path.clone()),
        }
    }

    /// The file, or with `is_folder` the files in it, as DataFusion lists them.
    ///
    /// # Errors
    /// 58030 for a path that can't be one.
    pub fn listing_url(&self, is_folder: bool) -> Result<ListingTableUrl> {
        let end = if is_folder { "/" } else { "" };
        Ok(match self {
            Self::Folder(folder) => ListingTableUrl::parse(format!("{}{end}", folder.display()))?,
            Self::Store(remote, path) => {
                // In an address, these have a meaning.
                let path = path.as_ref().replace('%', "%25");
                let path = path.replace('?', "%3F").replace('#', "%23");
                ListingTableUrl::parse(format!("{}{path}{end}", remote.url().as_str()))?
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lists_and_loses_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::from(folder.path()).join("delta");
        assert!(place.entries().unwrap().is_empty());
        place.join("b").make().unwrap();
        std::fs::write(folder.path().join("delta/a.json"), "x").unwrap();
        let entries = place.entries().unwrap();
        assert_eq!(
            entries,
            [("a.json".to_owned(), false), ("b".to_owned(), true)]
        );
        place.join("a.json").remove_file().unwrap();
        place.join("a.json").remove_file().unwrap();
        place.remove_all().unwrap();
        place.remove_all().unwrap();
        assert!(!folder.path().join("delta").exists());
    }
}

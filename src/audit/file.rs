//! The files of the log: a new one at each start and whenever one is full, the oldest deleted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::Utc;

/// How a file's name begins and ends; what stands between is when it began.
const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// The file that is being written, and those before it.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    file: File,
    written: u64,
    most_bytes: u64,
    most_files: usize,
}

impl Files {
    /// Begins a file.
    pub fn open(folder: &Path, most_bytes: u64, most_files: usize) -> io::Result<Self> {
        make_folder(folder)?;
        let files = Self {
            folder: folder.to_owned(),
            file: begin(folder)?,
            written: 0,
            most_bytes,
            most_files: most_files.max(1),
        };
        files.prune()?;
        Ok(files)
    }

    /// Adds whole lines, to the next file where this one is full; no lines begin no file.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let bytes = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if self.written > 0 && self.written.saturating_add(bytes) > self.most_bytes {
            self.file = begin(&self.folder)?;
            self.written = 0;
            self.prune()?;
        }
        self.file.write_all(lines)?;
        self.written = self.written.saturating_add(bytes);
        Ok(())
    }

    fn prune(&self) -> io::Result<()> {
        let files = list(&self.folder)?;
        let superfluous = files.len().saturating_sub(self.most_files);
        for file in &files[..superfluous] {
            match fs::remove_file(file) {
                // Somebody else has moved it away.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The files, oldest first; none where there is no folder.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn begin(folder: &Path) -> io::Result<File> {
    loop {
        let began = Utc::now().format("%Y%m%dT%H%M%S%.6fZ");
        let path = folder.join(format!("{PREFIX}{began}{SUFFIX}"));
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        close_to_others(&mut options);
        match options.open(path) {
            // Two within a microsecond.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened,
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn close_to_others(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn close_to_others(_options: &mut OpenOptions) {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_followed_by_new_ones_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("audit-notes.txt"), "mine").unwrap();
        let mut files = Files::open(folder.path(), 10, 3).unwrap();
        for number in 0..10 {
            files.append(format!("line {number}\n").as_bytes()).unwrap();
            files.append(b"").unwrap();
        }
        let kept: Vec<String> = list(folder.path())
            .unwrap()
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        assert_eq!(kept, ["line 7\n", "line 8\n", "line 9\n"]);
        drop(files);
        Files::open(folder.path(), 10, 3).unwrap();
        assert_eq!(list(folder.path()).unwrap().len(), 3);
        assert!(folder.path().join("audit-notes.txt").exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("a/b");
        let _files = Files::open(&audit, 10, 3).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&audit), 0o700);
        assert_eq!(mode(&list(&audit).unwrap()[0]), 0o600);
    }
}

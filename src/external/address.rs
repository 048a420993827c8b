//! `LOCATION`: where the files of an external table are.

use datafusion::datasource::listing::ListingTableUrl;

use crate::error::{Error, ForeignFault, Result};

/// A place behind a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// How it is reached.
    pub scheme: Scheme,
    /// The bucket, or the host and its port.
    pub authority: String,
    /// What is behind it, with a slash before; one at the end says that it is a folder.
    path: String,
    /// The files of the folder, where it isn't all of them.
    glob: Option<String>,
}

/// How a place is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Amazon's S3, and what speaks like it.
    S3,
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Address {
    /// What a location names; nothing where it is on this machine.
    ///
    /// # Errors
    /// 0A000 for stores that can't be read, HV024 for an address that can't be.
    pub fn of(location: &str) -> Result<Option<Self>> {
        let Some((scheme, rest)) = location.split_once("://") else {
            return Ok(None);
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "file" => return Ok(None),
            "s3" | "s3a" => Scheme::S3,
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => {
                return Err(Error::Unsupported {
                    message: format!("files can't be read from \"{other}://\""),
                    hint: Some(
                        "LOCATION is a path, s3://bucket/prefix/, http:// or https://.".to_owned(),
                    ),
                });
            }
        };
        let (authority, path) = match rest.find('/') {
            Some(end) => rest.split_at(end),
            None => (rest, "/"),
        };
        // What stands before the host may be a password, and is not repeated.
        if authority.contains('@') {
            return Err(wrong(
                format!("a {} address with a user in it", scheme.name()),
                "Give them as options: OPTIONS ('http.user' '...', 'http.password_file' '...').",
            ));
        }
        if authority.is_empty() {
            return Err(wrong(
                format!("\"{}://\" names no place", scheme.name()),
                "Write s3://bucket/prefix/, or https://host/file.csv.",
            ));
        }
        if rest.contains(['?', '#']) {
            let shown = rest.split(['?', '#']).next().unwrap_or_default();
            return Err(wrong(
                format!(
                    "a location with a query: \"{}://{shown}?...\"",
                    scheme.name()
                ),
                "Write the path alone, and a ? or # of a name as %3F or %23.",
            ));
        }
        Self::with_path(scheme, authority, path).map(Some)
    }

    fn with_path(scheme: Scheme, authority: &str, path: &str) -> Result<Self> {
        let (path, glob) = match path.find(['*', '[']) {
            Some(at) => {
                let folder = path[..at].rfind('/').map_or(0, |slash| slash + 1);
                (path[..folder].to_owned(), Some(path[folder..].to_owned()))
            }
            None => (path.to_owned(), None),
        };
        let last = path.rsplit('/').next().unwrap_or_default();
        // A prefix without a file's extension is a folder, however it is written.
        let path = match last.is_empty() || last.contains('.') {
            true => path,
            false => format!("{path}/"),
        };
        let address = Self {
            scheme,
            authority: authority.to_owned(),
            path,
            glob,
        };
        match scheme {
            Scheme::Http | Scheme::Https if address.path.ends_with('/') => {
                Err(Error::Unsupported {
                    message: format!("\"{address}\" is a folder, and HTTP doesn't list folders"),
                    hint: Some(
                        "Name the files: LOCATION ('https://host/a.csv', 'https://host/b.csv')."
                            .to_owned(),
                    ),
                })
            }
            _ => Ok(address),
        }
    }

    /// The place without what is in it: `s3://bucket`.
    pub fn place(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.authority)
    }

    /// The path behind the place, without the slashes around it.
    pub fn inner_path(&self) -> &str {
        self.path.trim_matches('/')
    }

    /// Whether it names some files of a folder only.
    pub fn has_glob(&self) -> bool {
        self.glob.is_some()
    }

    /// Whether it has files below it.
    pub fn is_folder(&self) -> bool {
        self.path.ends_with('/')
    }

    /// As DataFusion reads it: `root` is the name of the store that was opened for it.
    ///
    /// # Errors
    /// HV024 for a path that can't be.
    pub fn in_store(&self, root: &str) -> Result<ListingTableUrl> {
        let bad = |error: datafusion::error::DataFusionError| {
            wrong(
                format!("\"{self}\" is no address: {}", error.strip_backtrace()),
                "Write s3://bucket/prefix/, or https://host/file.csv.",
            )
        };
        let url = ListingTableUrl::parse(format!("{root}{}", self.path)).map_err(bad)?;
        match &self.glob {
            Some(glob) => url.with_glob(glob).map_err(bad),
            None => Ok(url),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let glob = self.glob.as_deref().unwrap_or_default();
        write!(
            f,
            "{}://{}{}{glob}",
            self.scheme.name(),
            self.authority,
            self.path
        )
    }
}

fn wrong(message: String, hint: &str) -> Error {
    ForeignFault::OptionValue.error(message, Some(hint))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(location: &str) -> Result<String, (&'static str, String)> {
        match Address::of(location) {
            Ok(Some(address)) => Ok(format!("{address} {}", address.is_folder())),
            Ok(None) => Ok("local".to_owned()),
            Err(error) => Err((error.code(), error.to_string())),
        }
    }

    #[test]
    fn addresses_are_told_from_paths() {
        assert_eq!(shown("/srv/x.csv"), Ok("local".to_owned()));
        assert_eq!(shown("file:///srv/x.csv"), Ok("local".to_owned()));
        assert_eq!(shown("s3://b/p"), Ok("s3://b/p/ true".to_owned()));
        assert_eq!(shown("S3A://b"), Ok("s3://b/ true".to_owned()));
        assert_eq!(
            shown("s3://b/p/x.csv"),
            Ok("s3://b/p/x.csv false".to_owned())
        );
        assert_eq!(
            shown("s3://b/p/*.jsonl"),
            Ok("s3://b/p/*.jsonl true".to_owned())
        );
        assert_eq!(
            shown("https://h:8443/a/x.parquet"),
            Ok("https://h:8443/a/x.parquet false".to_owned())
        );
        assert_eq!(shown("gs://b/x").unwrap_err().0, "0A000");
        assert_eq!(shown("http://h/folder/").unwrap_err().0, "0A000");
        assert_eq!(shown("s3:///x").unwrap_err().0, "HV024");
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_repeated() {
        for location in [
            "https://ana:geheim@h/x.csv",
            "s3://b/x.csv?X-Amz-Signature=geheim",
        ] {
            let (code, message) = shown(location).unwrap_err();
            assert_eq!(code, "HV024");
            assert!(!message.contains("geheim"), "{message}");
        }
    }
}

//! Which files a path stands for: itself, those of a directory, or what a glob matches. Sorted by name.

use std::fs;
use std::path::{Path, PathBuf};

use super::content::check_regular;
use crate::ConnectorError;

#[derive(Debug, Clone)]
pub(super) struct Listing {
    path: String,
    /// True if `path` holds `*`, `?` or `[`.
    is_glob: bool,
}

impl Listing {
    pub fn new(path: String) -> Result<Self, ConnectorError> {
        let path = match path.strip_prefix("file://") {
            Some(local) => local.to_string(),
            None => path,
        };
        let is_glob = path.contains(['*', '?', '[']);
        if is_glob && let Err(error) = glob::Pattern::new(&path) {
            let expected = format!("a path or a glob ({})", error.msg);
            return Err(ConnectorError::InvalidOption { name: "path".into(), value: path, expected });
        }
        Ok(Listing { path, is_glob })
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// One path, which stands for itself.
    pub fn is_plain(&self) -> bool {
        !self.is_glob && !Path::new(&self.path).is_dir()
    }

    /// The regular files there now. Errors: `FileNotFound` if a plain path, or the directory a glob starts from, is
    /// missing; `NotRegular` if a plain path is neither file nor directory.
    pub fn list(&self) -> Result<Vec<String>, ConnectorError> {
        let mut files = if self.is_glob {
            let base = self.watched().0;
            fs::metadata(&base).map_err(|error| missing_or_io(&base, error))?;
            self.list_glob()?
        } else {
            let path = Path::new(&self.path);
            let metadata = fs::metadata(path).map_err(|error| missing_or_io(path, error))?;
            if metadata.is_dir() {
                list_directory(path)?
            } else {
                check_regular(&self.path, &metadata)?;
                vec![self.path.clone()]
            }
        };
        files.sort_unstable();
        Ok(files)
    }

    /// The directory whose changes matter, and whether those below it do too.
    pub fn watched(&self) -> (PathBuf, bool) {
        let path = Path::new(&self.path);
        if !self.is_glob {
            if path.is_dir() {
                return (path.to_path_buf(), false);
            }
            return (parent(path), false);
        }
        let is_plain = |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        let base: PathBuf = path.components().take_while(is_plain).collect();
        let below = path.components().skip_while(is_plain).count() > 1;
        (if base.as_os_str().is_empty() { PathBuf::from(".") } else { base }, below)
    }

    fn list_glob(&self) -> Result<Vec<String>, ConnectorError> {
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
        let found = glob::glob_with(&self.path, options).map_err(|error| ConnectorError::InvalidOption {
            name: "path".into(),
            value: self.path.clone(),
            expected: format!("a path or a glob ({})", error.msg),
        })?;
        let mut files = vec![];
        for entry in found {
            let path = entry.map_err(|error| {
                let path = error.path().display().to_string();
                ConnectorError::Io { path, source: error.into() }
            })?;
            if path.is_file() {
                files.push(name(&path)?);
            }
        }
        Ok(files)
    }
}

/// All regular files beside `path`, hidden ones too.
pub(super) fn siblings(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent(path)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

fn list_directory(directory: &Path) -> Result<Vec<String>, ConnectorError> {
    let io = |source| ConnectorError::Io { path: directory.display().to_string(), source };
    let mut files = vec![];
    for entry in fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.is_file() {
            files.push(name(&path)?);
        }
    }
    Ok(files)
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Paths are names of partitions, so they must be text.
fn name(path: &Path) -> Result<String, ConnectorError> {
    path.to_str().map(str::to_string).ok_or_else(|| ConnectorError::Io {
        path: path.display().to_string(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, "the file name is not UTF-8"),
    })
}

pub(super) fn missing_or_io(path: &Path, source: std::io::Error) -> ConnectorError {
    let path = path.display().to_string();
    match source.kind() {
        std::io::ErrorKind::NotFound => ConnectorError::FileNotFound { path },
        _ => ConnectorError::Io { path, source },
    }
}

//! Where measurements come from: the packaged ones, or a folder.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// One file of measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    path: String,
    bytes: Vec<u8>,
}

impl File {
    /// A file of these contents at this place in the layout.
    pub fn new(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            path: path.into(),
            bytes,
        }
    }

    /// The same, unpacked if its name ends in `.gz`.
    fn unpacked(path: String, bytes: Vec<u8>) -> std::io::Result<Self> {
        let Some(unpacked) = path.strip_suffix(".gz") else {
            return Ok(Self::new(path, bytes));
        };
        let mut contents = Vec::new();
        GzDecoder::new(bytes.as_slice()).read_to_end(&mut contents)?;
        Ok(Self::new(unpacked, contents))
    }

    /// Place in the laboratory's layout, with slashes; without `.gz`, which is unpacked.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Contents.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A path that is not UTF-8.
    #[error("{0:?}: the name is not UTF-8; rename the file")]
    Name(PathBuf),
}

/// A set of measurements, in the order of their paths.
#[derive(Debug, Clone)]
pub struct Source {
    files: Vec<File>,
}

impl Source {
    /// The measurements that are built into the program, from `tests/lab`.
    pub fn packaged() -> Self {
        let archive = include_bytes!(concat!(env!("OUT_DIR"), "/lab.tar.gz"));
        let mut tar = tar::Archive::new(GzDecoder::new(archive.as_slice()));
        let entries = tar.entries().expect("the archive was written by build.rs");
        let files = entries.map(|entry| {
            let mut entry = entry.expect("the archive was written by build.rs");
            let path = entry
                .path()
                .expect("build.rs writes UTF-8 names")
                .to_string_lossy()
                .into_owned();
            let mut bytes = Vec::new();
            entry
                .read_to_end(&mut bytes)
                .expect("the archive was written by build.rs");
            File::unpacked(path, bytes).expect("the packaged measurements are whole")
        });
        Self::new(files.collect())
    }

    /// Every file below `folder`; hidden ones are left out, `.gz` is unpacked.
    pub fn folder(folder: &Path) -> Result<Self, SourceError> {
        let mut files = Vec::new();
        read_folder(folder, "", &mut files)?;
        Ok(Self::new(files))
    }

    fn new(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// The files, by path.
    pub fn files(&self) -> &[File] {
        &self.files
    }
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<File>) -> Result<(), SourceError> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| SourceError::Name(path.clone()))?;
        if name.starts_with('.') {
            continue;
        }
        let place = format!("{prefix}{name}");
        if path.is_dir() {
            read_folder(&path, &format!("{place}/"), files)?;
            continue;
        }
        files.push(File::unpacked(place, fs_err::read(&path)?)?);
    }
    Ok(())
}

//! The folder of result files, written beside its place and renamed into it, so that it is there whole or not at all.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::tables::{Table, tables};
use crate::experiment::Outcome;
use crate::spec::Plan;

/// Rows of each CSV file at most; the manifest says how many were left out.
pub const MAX_ROWS: usize = 1_000_000;
/// The file that says what the others are; a folder that holds it is ours to replace.
const MANIFEST: &str = "manifest.json";
/// The figures.
const SUMMARY: &str = "summary.json";
/// Everything that a folder of ours may hold.
const OURS: [&str; 5] = [MANIFEST, SUMMARY, "attempts.csv", "requests.csv", "series.csv"];

/// Why the folder was not written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder holds something that is not ours.
    #[error(
        "`{folder}` is not empty and holds `{stranger}`, which this program did not write\nhelp: name another folder, or move that file away"
    )]
    NotOurs {
        /// The folder.
        folder: PathBuf,
        /// The first thing in it that is not ours.
        stranger: String,
    },
    /// A symbolic link to nowhere.
    #[error("`{folder}` is a symbolic link to a folder that does not exist\nhelp: name the folder itself")]
    Dangling {
        /// The link.
        folder: PathBuf,
    },
    /// Reading or writing failed.
    #[error("cannot write the results: {0}")]
    Io(#[from] io::Error),
    /// A row could not be formed.
    #[error("cannot write the results: {0}")]
    Csv(#[from] csv::Error),
}

/// What `manifest.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    program: String,
    schema_version: u32,
    version: String,
    scenario: String,
    scenario_hash: String,
    seed: u64,
    replications: u32,
    files: Vec<File>,
}

/// One file of the folder.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    name: String,
    bytes: u64,
    fnv1a64: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_left_out: Option<u64>,
}

/// Writes the manifest, the summary and the three tables of `outcome` into `folder`.
///
/// An existing folder is replaced if it is empty or holds only what an earlier run wrote.
pub fn write_folder(folder: &Path, plan: &Plan, outcome: &Outcome) -> Result<(), StoreError> {
    check_replaceable(folder)?;
    // Behind a symbolic link the folder itself is replaced, not the link.
    let folder = &if folder.try_exists()? {
        fs::canonicalize(folder)?
    } else {
        folder.to_owned()
    };
    let beside = temporary_beside(folder)?;
    let summary = super::json(&outcome.summary).into_bytes();
    let tables = tables(plan, &outcome.observations, MAX_ROWS)?;
    let mut files = vec![describe(SUMMARY, &summary, None)];
    fs::write(beside.path().join(SUMMARY), &summary)?;
    for table in &tables {
        fs::write(beside.path().join(table.name), &table.text)?;
        files.push(describe(table.name, &table.text, Some(table)));
    }
    let meta = &outcome.summary.meta;
    let manifest = Manifest {
        program: env!("CARGO_PKG_NAME").to_owned(),
        schema_version: meta.schema_version,
        version: meta.version.clone(),
        scenario: meta.scenario.clone(),
        scenario_hash: meta.scenario_hash.clone(),
        seed: meta.seed,
        replications: meta.replications,
        files,
    };
    let mut text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain data");
    text.push('\n');
    fs::write(beside.path().join(MANIFEST), text)?;
    swap(beside, folder)
}

fn describe(name: &str, content: &[u8], table: Option<&Table>) -> File {
    File {
        name: name.to_owned(),
        bytes: content.len() as u64,
        fnv1a64: format!("{:016x}", fnv1a64(content)),
        rows: table.map(|table| table.rows),
        rows_left_out: table.map(|table| table.left_out),
    }
}

/// FNV-1a over 64 bits: tells a damaged or edited file from the one that was written, nothing more.
fn fnv1a64(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A new folder beside `folder`, in which the results take shape; it is gone when it is dropped.
fn temporary_beside(folder: &Path) -> Result<tempfile::TempDir, StoreError> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent)?;
    Ok(tempfile::Builder::new()
        .prefix(".fivetuple-")
        .tempdir_in(parent)?)
}

/// Refuses a place where [`write_folder`] would fail, as far as that can be told before there is anything to write.
pub fn check_writable(folder: &Path) -> Result<(), StoreError> {
    check_replaceable(folder)?;
    let folder = if folder.try_exists()? {
        fs::canonicalize(folder)?
    } else {
        folder.to_owned()
    };
    temporary_beside(&folder).map(drop)
}

/// Refuses a folder with anything in it that an earlier run did not write.
pub fn check_replaceable(folder: &Path) -> Result<(), StoreError> {
    if !folder.try_exists()? {
        if folder.is_symlink() {
            return Err(StoreError::Dangling {
                folder: folder.to_owned(),
            });
        }
        return Ok(());
    }
    let mut names: Vec<String> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    names.sort_unstable();
    let refuse = |stranger: &str| {
        Err(StoreError::NotOurs {
            folder: folder.to_owned(),
            stranger: stranger.to_owned(),
        })
    };
    let Some(first) = names.first() else {
        return Ok(());
    };
    if let Some(stranger) = names.iter().find(|name| !OURS.contains(&name.as_str())) {
        return refuse(stranger);
    }
    let manifest = fs::read(folder.join(MANIFEST))
        .ok()
        .and_then(|text| serde_json::from_slice::<Manifest>(&text).ok());
    match manifest {
        Some(manifest) if manifest.program == env!("CARGO_PKG_NAME") => Ok(()),
        _ => refuse(first),
    }
}

/// Puts the finished folder in its place. An old one steps aside first and is deleted last.
fn swap(beside: tempfile::TempDir, folder: &Path) -> Result<(), StoreError> {
    // A temporary folder is private to its owner; results are made like any other folder.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let probe = beside.path().join("mode");
        fs::create_dir(&probe)?;
        let mode = fs::metadata(&probe)?.permissions().mode();
        fs::remove_dir(&probe)?;
        fs::set_permissions(beside.path(), std::fs::Permissions::from_mode(mode))?;
    }
    let aside = beside.path().with_extension("old");
    let replaces = folder.try_exists()?;
    if replaces {
        fs::rename(folder, &aside)?;
    }
    if let Err(error) = fs::rename(beside.path(), folder) {
        if replaces {
            fs::rename(&aside, folder)?;
        }
        return Err(error.into());
    }
    // The folder lives on under its new name: there is nothing left to clean up.
    let _ = beside.keep();
    if replaces {
        fs::remove_dir_all(&aside)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(fnv1a64(text.as_bytes()), hash, "{text:?}");
        }
    }
}

//! Packs the measurements under `tests/lab` into one archive that the program carries.

use std::io::Write;
use std::path::Path;
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=tests/lab");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let archive = fs::File::create(Path::new(&out).join("lab.tar.gz"))?;
    let mut tar = tar::Builder::new(GzEncoder::new(archive, Compression::best()));
    pack(Path::new("tests/lab"), "", &mut tar)?;
    tar.into_inner()?.finish()?.flush()
}

/// Adds every file below `folder` with a plain header, so that the archive depends on contents and names only.
fn pack(folder: &Path, prefix: &str, tar: &mut tar::Builder<impl Write>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            pack(&entry.path(), &format!("{name}/"), tar)?;
            continue;
        }
        let contents = fs::read(entry.path())?;
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, name, contents.as_slice())?;
    }
    Ok(())
}

//! Which kernel a measurement is of, and which profile stands for it.

use crate::profile::{self, Profile};

use super::Fault;

/// The kernel of a measurement: its release as written (`6.18.44-fc-v657`) and the profile that stands for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Release as the measurement names it, or the folder's series.
    pub release: String,
    /// Profile of that series.
    pub profile: &'static Profile,
}

/// Kernel of the groups at the top of the folder that name none.
const TOP: &str = "6.18";

impl Kernel {
    /// The kernel of a release string; the first two numbers decide (`5.10.0-32-amd64` is 5.10).
    pub fn of_release(release: &str, file: &str) -> Result<Self, Fault> {
        let series: Vec<&str> = release.trim().split(['.', '-']).take(2).collect();
        let series = series.join(".");
        let profile = profile::find(&series).ok_or_else(|| {
            Fault::new(
                file,
                format!("kernel {release:?} has no profile; `fivetuple profiles` lists those there are"),
            )
        })?;
        Ok(Self {
            release: release.trim().to_owned(),
            profile,
        })
    }

    /// The kernel that a file is of by its place alone: a folder named after a series anywhere in its path, else the
    /// one of the groups at the top.
    pub fn of_path(path: &str) -> Result<Self, Fault> {
        let is_series = |part: &&str| {
            part.split_once('.').is_some_and(|(major, minor)| {
                [major, minor]
                    .iter()
                    .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            })
        };
        let folder = path.rsplit('/').skip(1).find(is_series).unwrap_or(TOP);
        Self::of_release(folder, path)
    }

    /// The kernel of a file in which a column or key may name it: that wins over the place.
    pub fn of(named: Option<&str>, path: &str) -> Result<Self, Fault> {
        match named.filter(|name| !name.trim().is_empty()) {
            Some(release) => Self::of_release(release, path),
            None => Self::of_path(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_kernel_wins_over_the_folder_and_the_folder_over_the_top() {
        for (named, path, profile) in [
            (None, "E/e01.json", "6.18"),
            (None, "4.19/A/a1_rst_kill.csv", "4.19"),
            (None, "I/5.10/i03.json", "5.10"),
            (Some("6.1.0-50-amd64"), "ipvs/ipvs_states_x.csv", "6.1"),
            (Some("6.12.117"), "4.19/A/a.csv", "6.12"),
            (Some(""), "6.1/E/e99.json", "6.1"),
        ] {
            assert_eq!(Kernel::of(named, path).unwrap().profile.name, profile, "{path}");
        }
        assert!(Kernel::of(Some("2.6.32"), "x").is_err());
    }
}

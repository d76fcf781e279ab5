//! Profiles as lists: all of them, one with its switches, the differences of two. What the command prints, its JSON holds
//! and the reference page is made of.

use serde::Serialize;

use super::{Profile, Switch, switches};

/// A profile in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Name.
    pub name: &'static str,
    /// What was read or measured.
    pub about: &'static str,
    /// The kernel ran in the laboratory, if only in part.
    pub ran: bool,
    /// Switches that it has.
    pub switches: usize,
    /// Those of them that are neither measured nor read, by their short names.
    pub unverified: Vec<&'static str>,
}

/// A switch of one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Name: a sysctl's in full, or the behaviour's.
    pub name: &'static str,
    /// Part of the host.
    pub part: &'static str,
    /// Value, as /proc and scenarios write it.
    pub value: String,
    /// Unit.
    pub unit: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// File and function of the kernel, RFC or measurement.
    pub source: &'static str,
    /// The value was measured or read for this kernel.
    pub verified: bool,
    /// Why not, if so.
    pub doubt: Option<&'static str>,
}

/// One switch in which two profiles differ; a sysctl that a kernel has not is empty there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Name: a sysctl's in full, or the behaviour's.
    pub name: &'static str,
    /// Part of the host.
    pub part: &'static str,
    /// Value in the first profile.
    pub first: Option<String>,
    /// Value in the second one.
    pub second: Option<String>,
    /// Unit.
    pub unit: &'static str,
    /// Measured or read in both.
    pub verified: bool,
    /// File and function of the kernel, RFC or measurement.
    pub source: &'static str,
}

impl Profile {
    /// The profile in a line.
    pub fn overview(&self) -> Overview {
        let unverified = self.switches().filter(|switch| self.doubt(switch).is_some());
        Overview {
            name: self.name,
            about: self.about,
            ran: self.ran,
            switches: self.switches().count(),
            unverified: unverified.map(Switch::short).collect(),
        }
    }

    /// All its switches.
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |switch: &'static Switch| Setting {
            name: switch.name,
            part: switch.part.name(),
            value: (switch.get)(self).to_string(),
            unit: switch.kind.unit(),
            meaning: switch.meaning,
            source: switch.source,
            verified: self.doubt(switch).is_none(),
            doubt: self.doubt(switch),
        };
        self.switches().map(setting).collect()
    }

    /// The switches in which it differs from `other`.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let value = |profile: &Self, switch: &Switch| {
            let has = (switch.lacks)(profile).is_none();
            has.then(|| (switch.get)(profile).to_string())
        };
        let mut differences = Vec::new();
        for switch in switches() {
            let (first, second) = (value(self, switch), value(other, switch));
            if first != second {
                differences.push(Difference {
                    name: switch.name,
                    part: switch.part.name(),
                    first,
                    second,
                    unit: switch.kind.unit(),
                    verified: self.doubt(switch).is_none() && other.doubt(switch).is_none(),
                    source: switch.source,
                });
            }
        }
        differences
    }
}

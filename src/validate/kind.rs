//! Which judge reads a file, by its name.

use super::{Fault, File, Judgement, Options, Source, probabilities, runs, tables};

/// What a file is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A decision table.
    Table(fn(&File) -> Result<Judgement, Fault>),
    /// Proportions of independent trials.
    Probability(fn(&File, &Options) -> Result<Judgement, Fault>),
    /// Counts of a whole run.
    Run(fn(&File, &Options) -> Result<Judgement, Fault>),
    /// A run that lies in several files of a folder.
    Folder(fn(&File, &Source, &Options) -> Result<Judgement, Fault>),
    /// Evidence beside a run, or a file of a kind that nobody judges.
    NotJudged(&'static str),
}

impl Kind {
    /// The kind of the file at `path` (relative, with slashes).
    pub fn of(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        tables::kind(path, name)
            .or_else(|| probabilities::kind(path, name))
            .or_else(|| runs::kind(path, name))
            .unwrap_or(Self::NotJudged("no judge knows a file of this name"))
    }
}

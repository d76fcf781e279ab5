//! Proportions measured in independent trials, against as many simulated trials, many times over.

use super::Kind;

/// The judge of a file of this room; `None`: not of this room.
pub fn kind(_path: &str, _name: &str) -> Option<Kind> {
    None
}

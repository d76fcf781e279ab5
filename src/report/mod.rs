//! What a person or another program reads: the summary on the screen, JSON, and the folder of result files.
//!
//! Nothing here works out a figure, and nothing carries the wall clock, a host name or a path of this machine.

#[cfg(test)]
mod causes_page;
mod screen;
mod store;
mod tables;

pub use screen::screen;
pub use store::{MAX_ROWS, StoreError, check_replaceable, check_writable, write_folder};

use crate::experiment::Summary;

/// The summary as JSON, keys in the order of the documentation, with a final newline.
pub fn json(summary: &Summary) -> String {
    let mut text = serde_json::to_string_pretty(summary).expect("a summary is plain data with string keys");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;

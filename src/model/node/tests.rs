//! The node at packet level: rules and laws. What was measured is judged in `src/validate`.

mod bench;
mod from_nodes;
mod laws;
mod others;
mod rules;
mod syn_reuse;

//! The node at packet level: rules, laws, and the laboratory's measurements.

mod bench;
mod lab_c;
mod lab_ipvs;
mod laws;
mod rules;
mod syn_reuse;

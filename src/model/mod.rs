//! Pure state machines: state and input in, verdict out. No clock, no queue, no I/O; `now` and random numbers
//! always arrive as arguments.

mod agenda;
pub mod blame;
pub mod client;
pub mod conntrack;
pub mod distribution;
pub mod empirical;
mod growth;
pub mod ipvs;
pub mod link;
pub mod nat;
pub mod node;
pub mod sizes;
pub mod slb;
pub mod tcp;

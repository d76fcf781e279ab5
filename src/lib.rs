//! fivetuple: a deterministic, packet-level simulator of
//! *client -> layer-7 SLB -> node (SNAT, conntrack, ipvs) -> pod*.
//!
//! It predicts how often a new connection meets a pod socket in TIME_WAIT, what the user sees of it
//! (499, 502, 504, +1 s) and why.
//!
//! ```text
//! scenario.toml -scenario-> Plan -experiment-> World x replications -> Observations -report-> Summary
//! ```
//!
//! As a library:
//!
//! ```
//! use fivetuple::observe::RecordOptions;
//! use fivetuple::{experiment, scenario};
//!
//! let text = r#"
//!     duration = "20s"
//!     clients = { arrivals = "poisson", rate = "50/s" }
//!     slb = { timestamps = "off" }
//!     node = { proxy = "ipvs" }
//!     pod = { service_time = "5ms" }
//! "#;
//! let plan = scenario::parse("quiet", text, &[])?;
//! let outcome = experiment::run(&plan, RecordOptions::default(), None, &|_, _| true);
//! assert_eq!(outcome.summary.attempts.bare_acks, 0);
//! # Ok::<(), scenario::Diagnostics>(())
//! ```
//!
//! A module uses only modules of a lower rank; `tests/architecture.rs` holds that.
//!
//! | rank | rooms |
//! |---|---|
//! | 0 | [`units`] |
//! | 1 | [`engine`], [`wire`], [`stats`], [`vocab`] |
//! | 2 | [`model`], [`theory`], [`plot`] |
//! | 3 | [`profile`] |
//! | 4 | [`spec`], [`observe`] |
//! | 5 | [`topology`] |
//! | 6 | [`world`], [`scenario`] |
//! | 7 | [`experiment`], [`conformance`] |
//! | 8 | [`report`], [`validate`] |
//! | 9 | [`cli`] |

pub mod cli;
pub mod conformance;
pub mod engine;
pub mod experiment;
pub mod model;
pub mod observe;
pub mod plot;
pub mod profile;
pub mod report;
pub mod scenario;
pub mod spec;
pub mod stats;
pub mod theory;
pub mod topology;
pub mod units;
pub mod validate;
pub mod vocab;
pub mod wire;
pub mod world;

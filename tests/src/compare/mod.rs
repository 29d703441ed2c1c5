//! The comparison of TURN servers: which load they get, what it costs each, and whether `relayd` keeps
//! what was promised.
//!
//! Servers run one after another, each in a process of its own that ends with its run, and take turns
//! in every round: what disturbs the machine disturbs all. Figures are compared within a round.

pub mod bench;
pub mod cases;
pub mod machine;
pub mod results;
pub mod run;
pub mod servers;
pub mod statistics;
mod table;

pub use cases::{CASES, Case};
pub use results::Results;
pub use run::{Plan, compare};
pub use servers::Server;

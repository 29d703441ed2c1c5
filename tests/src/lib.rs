//! The kit of the end-to-end suites: real processes, a TURN client, and waiting with deadlines.

pub mod wait;

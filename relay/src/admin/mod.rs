//! The admin API over HTTP: a thin layer over the control plane.

pub mod tls;

//! The console in real terminals, as an operator uses it.

mod beside;
mod cluster;
mod drain;
mod editor;
mod live;
mod modes;
mod ssh;

//! The console in real terminals, as an operator uses it.

mod editor;
mod live;
mod modes;
mod ssh;

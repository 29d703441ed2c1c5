//! Small pieces that views are made of. They know nothing of the API.

pub(crate) mod canvas;
pub(crate) mod chart;
pub(crate) mod form;
pub(crate) mod grid;
pub(crate) mod text;

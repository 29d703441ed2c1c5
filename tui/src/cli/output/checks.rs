//! The fields of checks.

use serde_json::json;

use super::Shown::{Table, Wide};
use super::Style::{Count, Text};
use super::shows::shows;
use super::{Field, Shows};
use crate::turn::check::Step;

shows!(Step, "turn-check-steps/1", |row| row.step.as_str().to_owned(), {
    "step" Table Text row.step.as_str();
    "status" Table Text row.status;
    "ms" Table Count row.ms;
    "server" Table Text row.server;
    "text" Table Text row.text;
    "remedy" Wide Text row.remedy;
});

//! What is wrong with a configuration, in a form that an operator can act on.

use std::fmt;
use std::path::{Path, PathBuf};

use shared::display_safe;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file, from 1; 0 for the file as a whole.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// The store's override for all nodes.
    ClusterOverride,
    /// The store's override for this node.
    NodeOverride,
    /// A flag, with its dashes.
    Flag(String),
    /// A variable of the environment.
    Environment(String),
    /// Nobody set it.
    Default,
}

impl Origin {
    /// The file as a whole.
    pub(super) fn whole_file(path: &Path) -> Self {
        Self::File {
            path: path.to_owned(),
            line: 0,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0 } => f.write_str(&display_safe(&path.to_string_lossy())),
            Self::File { path, line } => {
                write!(f, "{}:{line}", display_safe(&path.to_string_lossy()))
            }
            Self::ClusterOverride => f.write_str("override for all nodes"),
            Self::NodeOverride => f.write_str("override for this node"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong. Never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {key}: {problem}; {remedy}")]
pub struct ConfigError {
    /// Where.
    pub origin: Origin,
    /// Which key, dotted, as in `store.url`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// Everything that is wrong; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `Err` if there are any, in the order of the file.
    pub(super) fn check(mut errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by_key(|error| match &error.origin {
            Origin::File { line, .. } => (0, *line),
            Origin::ClusterOverride => (1, 0),
            Origin::NodeOverride => (2, 0),
            Origin::Flag(_) => (3, 0),
            Origin::Environment(_) => (4, 0),
            Origin::Default => (5, 0),
        });
        Err(Self(errors))
    }

    /// The errors.
    #[must_use]
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

//! The contexts of the configuration file, for the console to go from one to another.

use std::path::PathBuf;
use std::sync::Arc;

use crate::client::HttpAdmin;
use crate::console::{Connected, ContextEntry, Switchboard};
use crate::contexts::{Confirm, Contexts};

/// The file, read whenever it is asked for.
pub(super) struct FileContexts {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The names of all contexts must be typed, whatever they say themselves.
    pub(super) confirm_always: bool,
}

impl Switchboard for FileContexts {
    fn contexts(&self) -> Vec<ContextEntry> {
        // A file that cannot be read was reported when the console's own context was looked up.
        let Ok(file) = Contexts::load(&self.path) else {
            return Vec::new();
        };
        file.contexts
            .into_iter()
            .map(|(name, context)| ContextEntry {
                name,
                address: context.address,
                rw: context.rw,
                confirm_typed: self.confirm_always || context.confirm == Confirm::Type,
            })
            .collect()
    }

    fn connect(&self, name: &str) -> Result<Connected, String> {
        let file = Contexts::load(&self.path).map_err(|e| e.to_string())?;
        file.get(name).map_err(|e| e.to_string())?;
        // A token or an address in the environment is meant for the context that the console began
        // with: another one must never be shown it.
        let without = |variable: &str| {
            let of_one_context = matches!(variable, "RELAYCTL_TOKEN" | "RELAYCTL_ADDRESS");
            (!of_one_context)
                .then(|| std::env::var_os(variable))
                .flatten()
        };
        let resolved = file
            .resolve(Some(name), &without)
            .map_err(|e| e.to_string())?;
        let entry = ContextEntry {
            name: resolved.name,
            address: resolved.address.to_string(),
            rw: resolved.rw,
            confirm_typed: self.confirm_always || resolved.confirm == Confirm::Type,
        };
        let api = HttpAdmin::new(resolved.address, resolved.options).map_err(|e| e.to_string())?;
        Ok(Connected {
            api: Arc::new(api),
            entry,
            guardrails: resolved.guardrails,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_found_in_the_file_whether_its_node_answers_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relayctl.toml");
        let text = "[contexts.one]\naddress = \"unix:/nowhere/one.sock\"\nrw = true\n\
                    [contexts.two]\naddress = \"http://127.0.0.1:1\"\nconfirm = \"type\"\n";
        std::fs::write(&path, text).unwrap();
        let mut board = FileContexts {
            path,
            confirm_always: false,
        };
        let names: Vec<String> = board.contexts().into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["one", "two"]);
        let one = board.connect("one").unwrap();
        assert!(one.entry.rw && !one.entry.confirm_typed);
        assert!(board.connect("two").unwrap().entry.confirm_typed);
        board.confirm_always = true;
        assert!(board.connect("one").unwrap().entry.confirm_typed);
        assert!(board.connect("three").unwrap_err().contains("three"));
    }
}

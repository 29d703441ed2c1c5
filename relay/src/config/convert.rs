//! `relayd config convert`: coturn's configuration in our words.

use std::sync::Arc;

use super::args::Args;
use super::error::{ConfigError, ConfigErrors, Origin};
use super::file::{Item, Value};
use super::layers::{Layers, Overrides};
use super::{Converted, StoreConfig, coturn, resolve};

/// The text, and what an operator is told about it.
pub(super) fn convert(args: &Args) -> Result<Converted, ConfigErrors> {
    let mut errors = Vec::new();
    let layers = Arc::new(Layers::read(args, &mut errors));
    let (mut config, wrong) = resolve::over(&layers, &Overrides::default());
    errors.extend(wrong);
    if layers.coturn.is_none() && errors.is_empty() {
        errors.push(ConfigError {
            origin: args
                .file()
                .map_or(Origin::Default, |path| Origin::whole_file(&path)),
            key: "file".into(),
            problem: "is no configuration of coturn".into(),
            remedy: "name its turnserver.conf: relayd config convert FILE".into(),
        });
    }
    ConfigErrors::check(errors)?;
    let mut tree = layers.file.clone();
    // A key that was made for this node is the one that it goes on with; a file of ours wants it made.
    if let (StoreConfig::Redis(_), Some(path)) = (&config.store, &config.cluster_key_file) {
        if !path.exists() {
            config
                .warnings
                .retain(|line| !line.starts_with("cluster_key_file:"));
            config.warnings.push(format!(
                "cluster_key_file: there is no key yet: make one before the start, (umask 077; relayd cluster-key > \
                 {}), and copy it to every node around the same Redis",
                path.display()
            ));
        }
        let value = Value::Text(path.to_string_lossy().into_owned());
        let origin = Origin::Default;
        tree.entry("cluster_key_file".into())
            .or_insert(Item { origin, value });
    }
    config.warnings.extend(coturn::toml::limits_per_node(&tree));
    Ok(Converted {
        toml: coturn::toml::write(&tree),
        notes: config.warnings,
    })
}

//! `relayctl snapshot`: one frame of the console without a terminal.

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::App;
use super::exit::Failure;
use crate::configuration::{Configuration, Looks};
use crate::console::{SnapshotError, SnapshotOptions, snapshot, snapshot_views};

/// Options of `snapshot`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Filters go behind the view as in the console: relayctl snapshot sessions 'user=alice rate>1M'. \
`session` needs an id, `top` user, realm, client, peer or node, `config` a node unless the one \
asked will do, `diff` two nodes, and `help` shows the help of the view behind it.")]
pub struct SnapshotArgs {
    /// The view, as behind : in the console
    #[arg(default_value = "pulse", value_parser = PossibleValuesParser::new(snapshot_views()))]
    view: String,
    /// What goes behind it there: a filter, an id, a node
    #[arg(value_name = "ARGUMENT")]
    rest: Vec<String>,
    /// Columns and rows
    #[arg(long, default_value = "80x24", value_parser = size, value_name = "COLSxROWS")]
    size: (u16, u16),
    /// With the colours of the theme, as the terminal would get them
    #[arg(long)]
    color: bool,
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let number = |part: &str| part.parse().ok().filter(|n| (1..=1000).contains(n));
    let (columns, rows) = text.split_once('x').ok_or("as in 80x24")?;
    number(columns)
        .zip(number(rows))
        .ok_or_else(|| "as in 80x24, at most 1000x1000".to_owned())
}

pub(super) async fn run(
    app: &mut App<'_, '_>,
    args: &SnapshotArgs,
    configuration: &Configuration,
    looks: &Looks,
) -> Result<(), Failure> {
    let address = app.api.address();
    let options = SnapshotOptions {
        context: app.global.named().unwrap_or(&address),
        view: &args.view,
        rest: &args.rest.join(" "),
        size: args.size,
        color: args.color,
        configuration,
        looks,
    };
    let frame = Box::pin(snapshot(app.api, &options)).await;
    let frame = frame.map_err(|error| match error {
        SnapshotError::Client(error) => Failure::Client(error),
        SnapshotError::View(why) => Failure::Usage(why),
    })?;
    Ok(app.terminal.out.write_all(frame.as_bytes())?)
}

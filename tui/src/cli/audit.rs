//! `relayctl audit`.

use shared::filter::AUDIT_COLUMNS;

use super::App;
use super::app::Columns;
use super::args::ListArgs;
use super::exit::Failure;

pub(super) async fn run(app: &mut App<'_, '_>, list: &ListArgs) -> Result<(), Failure> {
    let api = app.api;
    let columns = Columns {
        all: AUDIT_COLUMNS,
        stable: "time:desc",
    };
    app.list(
        list,
        columns,
        |query| async move { api.audit(&query).await },
    )
    .await
}

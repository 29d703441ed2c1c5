//! `relayctl job`.

use clap::Subcommand;

use super::App;
use super::exit::Failure;

/// Verbs of `job`.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List jobs
    List,
    /// Show one job; -o json has the result of every item
    Show {
        /// The job
        id: String,
    },
    /// Stop a job
    Stop {
        /// The job
        id: String,
    },
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &JobCommand) -> Result<(), Failure> {
    match command {
        JobCommand::List => {
            let page = app.api.jobs().await?;
            app.whole(page)
        }
        JobCommand::Show { id } => {
            let job = app.api.job(id).await?;
            app.show(&job)
        }
        JobCommand::Stop { id } => {
            let job = app.api.stop_job(id).await?;
            app.show(&job)
        }
    }
}

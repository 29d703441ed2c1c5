//! Writing a whole list into a file: all pages, as the command line would print them.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use shared::api::{ListQuery, MissingNode, Page};
use tempfile::NamedTempFile;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::message::{Kind, Message};
use crate::cli::output::{Format, ListWriter, Selection, Shows, Summary};
use crate::client::{AdminApi, ClientResult};

/// Rows written at most.
pub(crate) const EXPORT_MAX: u64 = 1_000_000;

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExportJob {
    /// Which list.
    pub(crate) kind: Kind,
    /// Which rows of it.
    pub(crate) filter: Option<String>,
    /// In which order.
    pub(crate) sort: Option<String>,
    /// Into which file.
    pub(crate) file: PathBuf,
    /// Also over one that is there.
    pub(crate) overwrite: bool,
}

/// How it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExportNews {
    /// So many rows are written, of so many.
    Rows(u64, u64),
    /// The file is complete: its rows, how many there were, and nodes whose rows are missing.
    Done(PathBuf, u64, u64, Vec<String>),
    /// It was stopped; there is no file.
    Stopped,
    /// It went wrong; there is no file.
    Failed(String),
}

/// The form that the file's name asks for.
pub(crate) fn format_of(file: &Path) -> Result<Format, String> {
    let extension = file.extension().and_then(|e| e.to_str()).unwrap_or("");
    match extension {
        "csv" => Ok(Format::Csv),
        "json" => Ok(Format::Json),
        "jsonl" => Ok(Format::Jsonl),
        _ => Err("export to a file that ends in .csv, .json or .jsonl".to_owned()),
    }
}

/// Writes the file, unless it is stopped; tells how it goes.
pub(crate) async fn run(
    api: Arc<dyn AdminApi>,
    job: ExportJob,
    to: Sender<Message>,
    stop: CancellationToken,
) {
    let news = tokio::select! {
        biased;
        () = stop.cancelled() => ExportNews::Stopped,
        result = write_kind(api.as_ref(), &job, &to) => result.unwrap_or_else(ExportNews::Failed),
    };
    let _ = to.send(Message::Exported(news)).await;
}

async fn write_kind(
    api: &dyn AdminApi,
    job: &ExportJob,
    to: &Sender<Message>,
) -> Result<ExportNews, String> {
    match job.kind {
        Kind::Nodes => write(job, to, |q| async move { api.nodes(&q).await }.boxed()).await,
        Kind::Sessions => write(job, to, |q| async move { api.sessions(&q).await }.boxed()).await,
        Kind::Users => write(job, to, |q| async move { api.users(&q).await }.boxed()).await,
        Kind::Realms => write(job, to, |q| async move { api.realms(&q).await }.boxed()).await,
        Kind::Audit => write(job, to, |q| async move { api.audit(&q).await }.boxed()).await,
        Kind::Refusals => {
            write(job, to, |q| {
                async move { api.recent_refusals(&q).await }.boxed()
            })
            .await
        }
        Kind::RefusalCounts => {
            write(job, to, |q| async move { api.refusals(&q).await }.boxed()).await
        }
        Kind::Alerts => write(job, to, |q| async move { api.alerts(&q).await }.boxed()).await,
        Kind::Redirects => write(job, to, |q| async move { api.redirects(&q).await }.boxed()).await,
    }
}

/// All pages of one list into the file, which appears under its name when it is complete.
async fn write<'a, T, F>(
    job: &ExportJob,
    to: &Sender<Message>,
    next: F,
) -> Result<ExportNews, String>
where
    T: Shows + Send + Sync,
    F: Fn(ListQuery) -> BoxFuture<'a, ClientResult<Page<T>>> + Send + Sync,
{
    let named = |e: io::Error| format!("{}: {e}", job.file.display());
    if !job.overwrite && job.file.exists() {
        return Err(format!(
            "{} exists; :export! writes over it",
            job.file.display()
        ));
    }
    let folder = job.file.parent().filter(|p| !p.as_os_str().is_empty());
    let file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(named)?;
    let selection = Selection::<T>::new(format_of(&job.file)?, &[], true)
        .map_err(|_| "no such field".to_owned())?;
    let mut out = BufWriter::new(file);
    let mut missing: Vec<MissingNode> = Vec::new();
    let mut query = ListQuery {
        filter: job.filter.clone(),
        sort: job.sort.clone(),
        limit: Some(ListQuery::MAX_LIMIT),
        ..ListQuery::default()
    };
    let (rows, matched) = {
        let mut writer = ListWriter::new(&mut out, &selection);
        loop {
            let page = next(query.clone()).await.map_err(|e| e.to_string())?;
            let left = EXPORT_MAX.saturating_sub(writer.count());
            let kept = page
                .items
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            writer
                .rows(page.as_of_ms, &page.items[..kept])
                .map_err(named)?;
            for node in page.missing {
                if !missing.contains(&node) {
                    missing.push(node);
                }
            }
            let rows = writer.count();
            query.cursor = page.next.filter(|_| rows < EXPORT_MAX);
            if query.cursor.is_none() {
                let summary = Summary {
                    as_of_ms: page.as_of_ms,
                    matched: page.matched,
                    total: page.total,
                    missing: missing.clone(),
                    next: None,
                };
                writer.end(&summary).map_err(named)?;
                break (rows, page.matched);
            }
            let _ = to
                .send(Message::Exported(ExportNews::Rows(rows, page.matched)))
                .await;
        }
    };
    let file = out.into_inner().map_err(|e| named(e.into_error()))?;
    let kept = if job.overwrite {
        file.persist(&job.file)
    } else {
        file.persist_noclobber(&job.file)
    };
    kept.map_err(|e| named(e.error))?;
    let silent = missing.iter().map(|m| m.node.to_string()).collect();
    Ok(ExportNews::Done(job.file.clone(), rows, matched, silent))
}

//! `:export`: the list on the screen into a file.

use jiff::Timestamp;
use shared::units::grouped;

use super::super::export::{EXPORT_MAX, ExportJob, ExportNews, format_of};
use super::super::message::{Effect, Kind};
use super::super::model::{Model, PromptKind};
use super::super::theme::Tone;
use super::prompt;

/// `e`: begins the command with a name for the file.
pub(super) fn offer(model: &mut Model) {
    if let Some(kind) = model.place().kind() {
        let line = format!("export {}", file_name(model, kind));
        prompt::open_with(model, PromptKind::Command, line);
    }
}

/// A name with the time, in the current directory.
fn file_name(model: &Model, kind: Kind) -> String {
    let at = i64::try_from(model.now_ms).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(at).unwrap_or_default();
    let at = at.to_zoned(model.zone.clone()).strftime("%Y%m%d-%H%M%S");
    format!("{}-{at}.csv", format!("{kind:?}").to_lowercase())
}

/// `:export`, `:export FILE`, `:export stop`; with `overwrite`, also over a file that is there.
pub(super) fn begin(
    model: &mut Model,
    file: &str,
    overwrite: bool,
    effects: &mut Vec<Effect>,
) -> Result<(), String> {
    if file == "stop" {
        if model.desk.export.is_none() {
            return Err("no export runs".to_owned());
        }
        effects.push(Effect::StopExport);
        return Ok(());
    }
    if model.desk.export.is_some() {
        return Err("an export runs already: :export stop ends it".to_owned());
    }
    let kind = model.place().kind();
    let kind = kind.ok_or("this view is no list that nodes page; copy its rows with y")?;
    if !model.connection.is_up() {
        return Err("not connected".to_owned());
    }
    let file = match file {
        "" => file_name(model, kind),
        file => file.to_owned(),
    };
    format_of(file.as_ref())?;
    let query = model.lists.paged(kind).page_query(Some(0)).1;
    let sort = match kind {
        // An order by something that changes is kept for seconds only.
        Kind::Sessions => Some("id:asc".to_owned()),
        _ => query.sort,
    };
    model.desk.export = Some((0, 0));
    effects.push(Effect::Export(Box::new(ExportJob {
        kind,
        filter: query.filter,
        sort,
        file: file.into(),
        overwrite,
    })));
    Ok(())
}

/// Takes in how the export goes.
pub(super) fn news(model: &mut Model, news: ExportNews) {
    model.dirty = true;
    if let ExportNews::Rows(rows, of) = news {
        model.desk.export = Some((rows, of));
        return;
    }
    model.desk.export = None;
    match news {
        ExportNews::Done(file, rows, of, missing) => {
            let mut text = format!("{} rows written into {}", grouped(rows), file.display());
            let cut = rows >= EXPORT_MAX && rows < of;
            if cut {
                text += &format!(", the most at once, of {}", grouped(of));
            }
            if !missing.is_empty() {
                text += &format!("; without {}", missing.join(", "));
            }
            let whole = !cut && missing.is_empty();
            model.say(if whole { Tone::Good } else { Tone::Warn }, text);
        }
        ExportNews::Failed(why) => model.say(Tone::Bad, format!("not exported: {why}")),
        _ => model.say(Tone::Warn, "export stopped: nothing is left of its file"),
    }
}

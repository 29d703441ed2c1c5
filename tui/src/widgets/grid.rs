//! A table of which only the visible rows are ever built.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::text::Align;
use crate::console::theme::Tone;

/// A column of rows of `T`, seen with whatever `C` a cell needs besides its row.
pub(crate) struct Column<T: 'static, C: 'static> {
    /// The title.
    pub(crate) title: &'static str,
    /// What it shows, for the help.
    pub(crate) help: &'static str,
    /// The name by which the server sorts it.
    pub(crate) sort: Option<&'static str>,
    /// The least width it is useful with.
    pub(crate) width: u16,
    /// The width it takes when there is room.
    pub(crate) most: u16,
    /// Where cells stand.
    pub(crate) align: Align,
    /// 0: always there; otherwise the highest rank is dropped first.
    pub(crate) rank: u8,
    /// Its content.
    pub(crate) cell: fn(&T, &C) -> Cell,
}

/// One cell.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// The text, foreign or not: the canvas cleans it.
    pub(crate) text: String,
    /// Its looks.
    pub(crate) tone: Tone,
}

impl Cell {
    /// A cell of ordinary text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Normal,
        }
    }

    /// The same in another tone.
    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// How a row stands out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowLook {
    /// The cursor is on it.
    pub(crate) selected: bool,
    /// It is marked.
    pub(crate) marked: bool,
    /// It is the last that is known of a node that does not answer.
    pub(crate) stale: bool,
}

/// Which column the list is sorted by, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SortSign {
    /// The server's name of the column.
    pub(crate) column: Option<&'static str>,
    /// Largest first.
    pub(crate) descending: bool,
}

/// Columns left of the first one: the cursor's sign and the mark.
const GUTTER: u16 = 2;

/// Columns that an operator chose, in their order, and whether each is shown.
pub(crate) type Choice = [(&'static str, bool)];

/// All columns in the order chosen; ones that the choice does not know come last.
pub(crate) fn order<T, C>(columns: &[Column<T, C>], choice: Option<&Choice>) -> Vec<usize> {
    let place = |i: &usize| {
        let title = columns[*i].title;
        choice.map_or(*i, |choice| {
            let known = choice.iter().position(|(chosen, _)| *chosen == title);
            known.unwrap_or(choice.len() + i)
        })
    };
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(place);
    order
}

/// Chooses columns and widths for `room`: `skip` columns behind the first are scrolled away, then
/// columns go until the rest fits (the highest ranks first; of columns that were chosen, the last
/// ones), then what is left is given out in the order of rank.
pub(crate) fn plan<T, C>(
    columns: &[Column<T, C>],
    room: u16,
    skip: usize,
    choice: Option<&Choice>,
) -> Vec<(usize, u16)> {
    let room = room.saturating_sub(GUTTER);
    let mut chosen = match choice {
        None => (0..columns.len())
            .filter(|&i| i == 0 || i > skip || columns[i].rank == 0)
            .collect(),
        Some(choice) => chosen_columns(columns, choice, skip),
    };
    let rank = |i: usize, place: usize| match choice {
        None => usize::from(columns[i].rank),
        Some(_) => place,
    };
    let need = |chosen: &[usize]| chosen.iter().map(|&i| columns[i].width + 1).sum::<u16>();
    while need(&chosen) > room + 1 {
        let Some(worst) = (0..chosen.len()).max_by_key(|&k| (rank(chosen[k], k), k)) else {
            break;
        };
        if rank(chosen[worst], worst) == 0 {
            break;
        }
        chosen.remove(worst);
    }
    let mut spare = (room + 1).saturating_sub(need(&chosen));
    let mut widths: Vec<(usize, u16)> = chosen.iter().map(|&i| (i, columns[i].width)).collect();
    let mut order: Vec<usize> = (0..widths.len()).collect();
    order.sort_by_key(|&k| columns[widths[k].0].rank);
    for k in order {
        let (i, width) = widths[k];
        let more = columns[i].most.saturating_sub(width).min(spare);
        widths[k].1 += more;
        spare -= more;
    }
    widths
}

/// Columns that are shown by choice, without the `skip` ones behind the first.
fn chosen_columns<T, C>(columns: &[Column<T, C>], choice: &Choice, skip: usize) -> Vec<usize> {
    let shown = |i: &usize| choice.contains(&(columns[*i].title, true));
    let mut chosen: Vec<usize> = order(columns, Some(choice))
        .into_iter()
        .filter(shown)
        .collect();
    let last = chosen.len().saturating_sub(1);
    if last > 0 {
        chosen.drain(1..=skip.min(last - 1));
    }
    if chosen.is_empty() {
        chosen.push(0);
    }
    chosen
}

/// Where the columns of a plan stand: the first column on the screen, and the width.
pub(crate) fn spans(plan: &[(usize, u16)]) -> Vec<(usize, (u16, u16))> {
    let mut x = GUTTER;
    let mut spans = Vec::new();
    for &(i, width) in plan {
        spans.push((i, (x, width)));
        x += width + 1;
    }
    spans
}

/// Paints the titles and the visible rows.
pub(crate) fn paint<'r, T: 'r, C>(
    canvas: &mut Canvas<'_>,
    area: Rect,
    columns: &[Column<T, C>],
    plan: &[(usize, u16)],
    sort: SortSign,
    context: &C,
    rows: impl Iterator<Item = (&'r T, RowLook)>,
) {
    let mut x = area.x + GUTTER;
    for &(i, width) in plan {
        let column = &columns[i];
        let sorted = column.sort.is_some() && column.sort == sort.column;
        let title = if sorted {
            format!(
                "{}{}",
                column.title,
                canvas.theme.sort_sign(sort.descending)
            )
        } else {
            column.title.to_owned()
        };
        canvas.cell(x, area.y, width, &title, column.align, Tone::Title);
        x += width + 1;
    }
    for (line, (row, look)) in (1..area.height).zip(rows) {
        let y = area.y + line;
        paint_row(canvas, area, y, columns, plan, context, row, look);
    }
}

#[expect(clippy::too_many_arguments, reason = "one call, next door")]
fn paint_row<T, C>(
    canvas: &mut Canvas<'_>,
    area: Rect,
    y: u16,
    columns: &[Column<T, C>],
    plan: &[(usize, u16)],
    context: &C,
    row: &T,
    look: RowLook,
) {
    let gutter = match (
        look.selected && (canvas.theme.ascii || canvas.theme.mono),
        look.marked,
    ) {
        (true, true) => ">+",
        (true, false) => "> ",
        (false, true) => "+ ",
        (false, false) => "  ",
    };
    canvas.text(area.x, y, GUTTER, gutter, Tone::Accent);
    let mut x = area.x + GUTTER;
    for &(i, width) in plan {
        let cell = (columns[i].cell)(row, context);
        let tone = if look.stale { Tone::Faint } else { cell.tone };
        canvas.cell(x, y, width, &cell.text, columns[i].align, tone);
        x += width + 1;
    }
    if look.selected {
        canvas.invert(area, y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(title: &'static str, width: u16, most: u16, rank: u8) -> Column<(), ()> {
        Column {
            title,
            help: "",
            sort: None,
            width,
            most,
            align: Align::Left,
            rank,
            cell: |(), ()| Cell::default(),
        }
    }

    #[test]
    fn the_highest_rank_goes_first_and_rank_zero_never() {
        let columns = [
            column("ID", 8, 16, 0),
            column("A", 10, 10, 2),
            column("B", 10, 10, 1),
            column("C", 6, 6, 0),
        ];
        let names = |room| {
            plan(&columns, room, 0, None)
                .iter()
                .map(|&(i, _)| columns[i].title)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(80), ["ID", "A", "B", "C"]);
        assert_eq!(names(30), ["ID", "B", "C"]);
        assert_eq!(names(10), ["ID", "C"]);
        assert_eq!(plan(&columns, 80, 0, None)[0].1, 16);
    }

    #[test]
    fn scrolling_columns_keeps_the_first_one() {
        let columns = [
            column("ID", 8, 8, 0),
            column("A", 10, 10, 2),
            column("B", 10, 10, 1),
        ];
        let shown: Vec<_> = plan(&columns, 80, 1, None)
            .iter()
            .map(|&(i, _)| i)
            .collect();
        assert_eq!(shown, [0, 2]);
    }

    #[test]
    fn chosen_columns_keep_their_order_and_the_last_go_first() {
        let columns = [
            column("ID", 8, 8, 0),
            column("A", 10, 10, 0),
            column("B", 10, 10, 9),
            column("C", 10, 10, 1),
        ];
        let choice = [("ID", true), ("B", true), ("A", true), ("C", false)];
        let names = |room, skip| {
            plan(&columns, room, skip, Some(&choice))
                .iter()
                .map(|&(i, _)| columns[i].title)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(80, 0), ["ID", "B", "A"]);
        assert_eq!(names(24, 0), ["ID", "B"]);
        assert_eq!(names(5, 0), ["ID"]);
        assert_eq!(names(80, 1), ["ID", "A"]);
        assert_eq!(names(80, 9), ["ID", "A"]);
        let none = [("ID", false), ("A", false), ("B", false), ("C", false)];
        assert_eq!(plan(&columns, 80, 0, Some(&none)), [(0, 8)]);
    }
}

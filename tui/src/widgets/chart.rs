//! Figures over time: lines of bars, and charts with axes. What is not known stays empty.

use ratatui::layout::Rect;
use shared::units::short_number;

use super::canvas::Canvas;
use crate::console::theme::{Theme, Tone};

/// Columns of the labels left of the axis.
const LABELS: u16 = 6;
/// Fewer rows than these are no chart.
pub(crate) const LEAST_ROWS: u16 = 4;

/// Brings `values` to exactly `columns`. A column stands for the largest of its values, so that a
/// peak never vanishes; one of which nothing is known is a gap.
pub(crate) fn resample(values: &[Option<u64>], columns: usize) -> Vec<Option<u64>> {
    let count = values.len();
    if count == 0 {
        return vec![None; columns];
    }
    (0..columns)
        .map(|column| {
            let first = column * count / columns;
            let behind = ((column + 1) * count / columns).clamp(first + 1, count);
            values[first..behind].iter().flatten().max().copied()
        })
        .collect()
}

/// A line of bars, newest on the right, scaled to the largest of them. More values than columns are
/// brought together; a gap between or behind known values shows as such.
pub(crate) fn bars(theme: Theme, values: &[Option<u64>], columns: u16) -> String {
    let columns = usize::from(columns);
    let shown = if values.len() > columns {
        resample(values, columns)
    } else {
        values.to_vec()
    };
    let max = shown.iter().flatten().max().copied().unwrap_or(0).max(1);
    let levels = theme.levels();
    let mut line = " ".repeat(columns - shown.len());
    let mut known = false;
    for value in shown {
        known |= value.is_some();
        line.push(match value {
            None if known => theme.gap(),
            None => ' ',
            Some(value) => levels[level(value, max, levels.len())],
        });
    }
    line
}

/// Which of `levels` steps from zero to `max` comes nearest to `value`.
fn level(value: u64, max: u64, levels: usize) -> usize {
    let top = levels.saturating_sub(1);
    let at = (value as f64 / max.max(1) as f64 * top as f64).round() as usize;
    at.min(top)
}

/// One or two figures over the same time, oldest value first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chart<'a> {
    /// Drawn as a line.
    pub(crate) line: &'a [Option<u64>],
    /// Drawn as dots, told apart from the line without any colour.
    pub(crate) dots: &'a [Option<u64>],
    /// The time that the values stretch over; the last one is now.
    pub(crate) span_secs: u64,
}

impl Chart<'_> {
    /// Paints it with its axes into `area`; nothing when that is too small.
    pub(crate) fn paint(&self, canvas: &mut Canvas<'_>, area: Rect) {
        if area.height < LEAST_ROWS || area.width < LABELS + 10 {
            return;
        }
        let plot = Rect {
            x: area.x + LABELS,
            width: area.width - LABELS,
            height: area.height - 1,
            ..area
        };
        let columns = usize::from(plot.width);
        let (line, dots) = (resample(self.line, columns), resample(self.dots, columns));
        let top = round_up(line.iter().chain(&dots).flatten().max().copied());
        self.axes(canvas, area, plot, top);
        if line.iter().chain(&dots).all(Option::is_none) {
            let text = "nothing is known of this time";
            canvas.text(plot.x + 1, plot.y, plot.width, text, Tone::Faint);
            return;
        }
        let rows = usize::from(plot.height);
        let dot = canvas.theme.dot();
        for (x, value) in (plot.x..).zip(&dots) {
            if let Some(value) = value {
                let y = plot.bottom() - 1 - level(*value, top, rows) as u16;
                canvas.text(x, y, 1, dot, Tone::Normal);
            }
        }
        let levels = line.iter().map(|v| v.map(|v| level(v, top, rows)));
        stroke(canvas, plot, levels);
    }

    fn axes(&self, canvas: &mut Canvas<'_>, area: Rect, plot: Rect, top: u64) {
        let [.., vertical] = canvas.theme.frame();
        let tick = canvas.theme.tick();
        let steps = plot.height - 1;
        let every = (steps / 3).max(1);
        let mut last = String::new();
        for row in 0..plot.height {
            let y = plot.bottom() - 1 - row;
            let labelled = row == steps || (row % every == 0 && row + every <= steps);
            let sign = if labelled { tick } else { vertical };
            if labelled {
                let value = u128::from(top) * u128::from(row) / u128::from(steps.max(1));
                let label = short_number(value as u64);
                // Small whole numbers have fewer steps than the axis has places.
                if label != last {
                    canvas.right(plot.x - 1, y, LABELS - 1, &label, Tone::Faint);
                }
                last = label;
            }
            canvas.text(plot.x - 1, y, 1, sign, Tone::Faint);
        }
        let y = area.bottom() - 1;
        let parts = if plot.width >= 60 { 4 } else { 2 };
        for part in 0..parts {
            let x = plot.x + plot.width * part / parts;
            let back = self.span_secs - self.span_secs * u64::from(part) / u64::from(parts);
            canvas.text(x, y, 8, &time_back(back, self.span_secs), Tone::Faint);
        }
        canvas.right(plot.right(), y, 3, "now", Tone::Faint);
    }
}

/// `-30m`, `-7m30s`, or `-90s` on an axis over a few minutes.
fn time_back(secs: u64, span_secs: u64) -> String {
    if span_secs < 300 {
        return format!("-{secs}s");
    }
    match secs % 60 {
        0 => format!("-{}m", secs / 60),
        rest if secs < 60 => format!("-{rest}s"),
        rest => format!("-{}m{rest:02}s", secs / 60),
    }
}

/// The next round number: the top of an axis.
fn round_up(max: Option<u64>) -> u64 {
    let max = max.unwrap_or(0).max(1);
    let unit = 10_u64.saturating_pow(max.ilog10());
    let tenths = [10, 15, 20, 30, 40, 50, 60, 80, 100];
    let fits = |tenths: &u64| (u128::from(unit) * u128::from(*tenths)).div_ceil(10);
    let round = tenths.iter().map(fits).find(|top| *top >= u128::from(max));
    round.and_then(|top| u64::try_from(top).ok()).unwrap_or(max)
}

/// Draws a line through `levels`, one per column; it breaks at gaps.
fn stroke(canvas: &mut Canvas<'_>, plot: Rect, levels: impl Iterator<Item = Option<usize>>) {
    let [flat, vertical, from_above, to_below, from_below, to_above] = canvas.theme.line();
    let mut before: Option<usize> = None;
    for (x, level) in (plot.x..).zip(levels) {
        let mut put = |level: usize, sign: &str| {
            let y = (plot.bottom() - 1).saturating_sub(level as u16);
            canvas.text(x, y, 1, sign, Tone::Accent);
        };
        match (before, level) {
            (_, None) => {}
            (None, Some(now)) => put(now, flat),
            (Some(was), Some(now)) if was == now => put(now, flat),
            (Some(was), Some(now)) => {
                let falls = was > now;
                put(was, if falls { to_below } else { to_above });
                put(now, if falls { from_above } else { from_below });
                for between in was.min(now) + 1..was.max(now) {
                    put(between, vertical);
                }
            }
        }
        before = level;
    }
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;

    use super::*;

    const ASCII: Theme = Theme::plain(true, true);

    fn painted(chart: Chart<'_>, width: u16, height: u16) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        chart.paint(&mut Canvas::new(&mut buffer, ASCII), area);
        let line = |y| (0..width).map(move |x| (x, y));
        (0..height)
            .map(|y| {
                let text: String = line(y).map(|at| buffer[at].symbol()).collect();
                text.trim_end().to_owned() + "\n"
            })
            .collect()
    }

    #[test]
    fn columns_keep_peaks_and_gaps() {
        let values = [Some(1), Some(9), None, None, Some(3), None];
        assert_eq!(resample(&values, 3), [Some(9), None, Some(3)]);
        let stretched = [Some(1), Some(1), Some(9), Some(9)];
        assert_eq!(resample(&values[..2], 4), stretched);
        assert_eq!(resample(&[], 2), [None, None]);
    }

    #[test]
    fn a_gap_is_no_zero() {
        let values = [None, Some(0), None, Some(100)];
        assert_eq!(bars(ASCII, &values, 6), "   . #");
        let theme = Theme::default();
        assert_eq!(bars(theme, &values, 4), " ▁·█");
        assert_eq!(bars(ASCII, &[Some(u64::MAX), Some(0)], 1), "#");
    }

    #[test]
    fn a_line_and_dots_differ_without_colour_and_break_at_gaps() {
        let line = [
            Some(0),
            Some(0),
            Some(10),
            Some(10),
            None,
            None,
            Some(5),
            Some(5),
        ];
        let dots = [
            Some(2),
            Some(2),
            Some(2),
            Some(2),
            None,
            None,
            Some(2),
            Some(2),
        ];
        let chart = Chart {
            line: &line,
            dots: &dots,
            span_secs: 120,
        };
        insta::assert_snapshot!(painted(chart, 30, 7));
    }

    #[test]
    fn nothing_known_says_so_and_extremes_do_not_overflow() {
        let nothing = Chart {
            line: &[],
            dots: &[],
            span_secs: 1800,
        };
        assert!(painted(nothing, 60, 6).contains("nothing is known of this time"));
        let huge = Chart {
            line: &[Some(u64::MAX), Some(0)],
            dots: &[Some(1)],
            span_secs: u64::MAX / 8,
        };
        assert!(
            painted(huge, 60, 6).contains("18.4E"),
            "{}",
            painted(huge, 60, 6)
        );
        assert_eq!(painted(huge, 12, 3).trim(), "");
        assert_eq!(
            [round_up(None), round_up(Some(11)), round_up(Some(999))],
            [1, 15, 1000]
        );
    }

    #[test]
    fn an_axis_says_exactly_how_long_ago() {
        let axis = |span| [0, 1, 2, 3].map(|part| time_back(span - span * part / 4, span));
        assert_eq!(axis(3600), ["-60m", "-45m", "-30m", "-15m"]);
        assert_eq!(axis(900), ["-15m", "-11m15s", "-7m30s", "-3m45s"]);
        assert_eq!(axis(300), ["-5m", "-3m45s", "-2m30s", "-1m15s"]);
        assert_eq!(axis(120), ["-120s", "-90s", "-60s", "-30s"]);
    }
}

//! The console as a person sees it: the real program in a terminal.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use relayctl::client::{Address, ConnectOptions, HttpAdmin};
use relayctl::configuration::{Configuration, Looks};
use relayctl::console::{SnapshotOptions, draw_times};

use super::{Effort, Figure, Samples};
use crate::program::ours;
use crate::pty::{Pty, PtyCommand};
use crate::wait::wait_until;

/// A large terminal: all columns, the preview and the events.
const SIZE: (u16, u16) = (160, 45);
/// Pages turned.
const PAGES: usize = 20;
/// Frames drawn.
const FRAMES: usize = 300;

/// Starts the console, works with it, and leaves it alone.
///
/// # Errors
/// It does not show what it should.
pub fn in_a_terminal(socket: &Path, sessions: u32, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let context = format!("unix:{}", socket.display());
    let program = ours("relayctl");
    let command = PtyCommand::new(&program)
        .args(&["--context", &context])
        .env("XDG_CONFIG_HOME", folder.path())
        .env("XDG_STATE_HOME", folder.path())
        .size(SIZE.0, SIZE.1);
    let start = Instant::now();
    let mut pty = command.start();
    let total = grouped(sessions);
    let header = format!("sessions {total}");
    let first = shown(&pty, "the first frame with data", |screen, _| {
        screen.contains(&header)
    })?;
    let mut figures = vec![Figure::millis(
        "start to the first frame with data",
        first.duration_since(start),
        effort.target(300.0),
    )];
    let list = format!("of {total}");
    let took = after_key(&mut pty, "3", |screen, row| {
        screen.contains(&list) && id_of(row).is_some()
    })?;
    figures.push(Figure::millis(
        "key 3 to the sessions by rate",
        took,
        effort.target(300.0),
    ));
    figures.extend(keys(&mut pty, effort)?);
    figures.extend(pages(&mut pty)?);
    let before = cpu_time(pty.pid())?;
    let idle = Instant::now();
    wait_until("the idle time to pass", effort.idle * 3, || {
        idle.elapsed() >= effort.idle
    });
    let used = cpu_time(pty.pid())?.saturating_sub(before);
    figures.push(Figure {
        what: "idle, rows changing each second".to_owned(),
        value: 100.0 * used.as_secs_f64() / idle.elapsed().as_secs_f64(),
        target: effort.target(1.0),
        unit: "%",
    });
    figures.push(Figure {
        what: "resident memory".to_owned(),
        value: resident_bytes(pty.pid())? as f64 / 1e6,
        target: effort.target(60.0),
        unit: "MB",
    });
    Ok(figures)
}

/// The cursor goes down and up again.
fn keys(pty: &mut Pty, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let mut samples = Samples::default();
    for number in 0..effort.keys {
        let before = id_of(pty.cursor_row().as_deref()).context("no row under the cursor")?;
        let key = if number < effort.keys / 2 { "j" } else { "k" };
        let moved = |_: &str, row: Option<&str>| id_of(row).is_some_and(|id| id != before);
        samples.add(after_key(pty, key, moved)?);
    }
    let figure = |what: &str, percent, target| {
        Figure::millis(
            format!("key to screen, {what}"),
            samples.percentile(percent),
            target,
        )
    };
    Ok(vec![
        figure("p50", 50, None),
        figure("p95", 95, effort.target(50.0)),
    ])
}

/// Pages down, each one fetched.
fn pages(pty: &mut Pty) -> anyhow::Result<Vec<Figure>> {
    let mut samples = Samples::default();
    for _ in 0..PAGES {
        let before = id_of(pty.cursor_row().as_deref());
        let turned = |_: &str, row: Option<&str>| {
            let id = id_of(row);
            id.is_some() && id != before
        };
        samples.add(after_key(pty, "\x1b[6~", turned)?);
    }
    let what = "page down to the next rows, p95";
    Ok(vec![Figure::millis(what, samples.percentile(95), None)])
}

/// How long it takes until a key has its effect.
fn after_key(
    pty: &mut Pty,
    key: &str,
    condition: impl FnMut(&str, Option<&str>) -> bool,
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    pty.keys(key);
    Ok(shown(pty, key, condition)?.duration_since(start))
}

fn shown(
    pty: &Pty,
    what: &str,
    condition: impl FnMut(&str, Option<&str>) -> bool,
) -> anyhow::Result<Instant> {
    let at = pty.seen_at(condition);
    at.with_context(|| format!("waited in vain for {what:?}; the screen:\n{}", pty.screen()))
}

/// The id that a row of sessions begins with.
fn id_of(row: Option<&str>) -> Option<String> {
    let id = row?.split_whitespace().find(|word| word.len() == 16)?;
    let hex = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| id.to_owned())
}

/// A number as the console shows it.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// User and system time of a process.
fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything; behind its bracket stand the state and the figures.
    let (_, figures) = stat.rsplit_once(')').context("a line of /proc")?;
    let ticks = figures.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // Linux shows hundredths of seconds to programs, whatever its own clock does.
    Ok(Duration::from_millis(ticks * 10))
}

fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: u64 = kilobytes.context("VmRSS in /proc")?.parse()?;
    Ok(kilobytes * 1024)
}

/// Draws the sessions again and again.
///
/// # Errors
/// The admin API does not answer.
pub async fn drawing(socket: &Path, effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let address = Address::Unix(socket.to_owned());
    let api = HttpAdmin::new(address, ConnectOptions::default())?;
    let configuration = Configuration::default();
    let looks = Looks::new(&configuration, None, false, &|_| None).map_err(anyhow::Error::msg)?;
    let options = SnapshotOptions {
        context: "bench",
        view: "sessions",
        rest: "",
        size: SIZE,
        color: true,
        configuration: &configuration,
        looks: &looks,
    };
    let mut samples = Samples::default();
    for time in draw_times(&api, &options, FRAMES).await? {
        samples.add(time);
    }
    let figure = |percent: usize, target| {
        let what = format!(
            "a frame of sessions drawn at {}x{}, p{percent}",
            SIZE.0, SIZE.1
        );
        Figure::millis(what, samples.percentile(percent), target)
    };
    Ok(vec![figure(50, effort.target(2.0)), figure(95, None)])
}

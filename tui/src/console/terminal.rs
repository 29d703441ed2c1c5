//! The terminal: entered and left in one place, whatever happens in between.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::backend::{Backend, ClearType, CrosstermBackend, TestBackend};

/// Buttons and the wheel (1000) in a form without limits (1006), but never every motion (1003).
const MOUSE_ON: &str = "\u{1b}[?1000h\u{1b}[?1006h";
const MOUSE_OFF: &str = "\u{1b}[?1006l\u{1b}[?1000l";
/// Characters that screen passes on at once.
const SCREEN_PIECE: usize = 480;

/// A backend that can say where a frame begins and ends.
pub(crate) trait Surface: Backend {
    /// What is written from here on belongs to one frame.
    fn begin_frame(&mut self) -> io::Result<()>;
    /// The frame is complete.
    fn end_frame(&mut self) -> io::Result<()>;
    /// Has the terminal tell of clicks and the wheel, or not.
    fn set_mouse(&mut self, on: bool) -> io::Result<()>;
}

impl<W: Write> Surface for CrosstermBackend<W> {
    fn begin_frame(&mut self) -> io::Result<()> {
        queue!(self, BeginSynchronizedUpdate)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        queue!(self, EndSynchronizedUpdate)?;
        Write::flush(self)
    }

    fn set_mouse(&mut self, on: bool) -> io::Result<()> {
        write_mouse(self, on)
    }
}

impl Surface for TestBackend {
    fn begin_frame(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_mouse(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

fn write_mouse(to: &mut impl Write, on: bool) -> io::Result<()> {
    MOUSE.store(on, Ordering::SeqCst);
    to.write_all(if on { MOUSE_ON } else { MOUSE_OFF }.as_bytes())?;
    to.flush()
}

/// Paints one frame between the marks of a synchronized update; the end mark is written whatever
/// happens in between, or the terminal would stay frozen.
pub(crate) fn draw<B: Surface>(
    terminal: &mut ratatui::Terminal<B>,
    paint: impl FnOnce(&mut ratatui::Frame<'_>),
) -> io::Result<()> {
    struct Closing<'a, B: Surface>(&'a mut ratatui::Terminal<B>);
    impl<B: Surface> Drop for Closing<'_, B> {
        fn drop(&mut self) {
            // The way out of an unwinding draw: there is nobody to tell of a second failure.
            let _ = self.0.backend_mut().end_frame();
        }
    }
    terminal.backend_mut().begin_frame()?;
    let closing = Closing(terminal);
    let drawn = closing
        .0
        .draw(paint)
        .map(|_| ())
        .map_err(|e| io::Error::other(e.to_string()));
    drop(closing);
    drawn
}

/// Makes the next frame paint every cell. `Terminal::clear` would ask the terminal for its cursor
/// position, which the task that reads keys would swallow.
pub(crate) fn repaint<B: Surface>(terminal: &mut ratatui::Terminal<B>) -> io::Result<()> {
    let other = |e: B::Error| io::Error::other(e.to_string());
    terminal
        .backend_mut()
        .clear_region(ClearType::All)
        .map_err(other)?;
    let size = terminal.size().map_err(other)?;
    terminal
        .resize(ratatui::layout::Rect::new(0, 0, size.width, size.height))
        .map_err(other)
}

/// What stands between us and the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Multiplexer {
    None,
    Tmux,
    Screen,
}

/// The sequence that puts `text` on the terminal's clipboard (OSC 52). tmux takes it for its own
/// buffer and is asked to pass it on besides; screen passes on pieces only.
fn clipboard_sequence(text: &str, between: Multiplexer) -> String {
    let encoded = BASE64.encode(text);
    let plain = format!("\x1b]52;c;{encoded}\x07");
    match between {
        Multiplexer::None => plain,
        Multiplexer::Tmux => {
            let passed = plain.replace('\x1b', "\x1b\x1b");
            format!("{plain}\x1bPtmux;{passed}\x1b\\")
        }
        Multiplexer::Screen => {
            let pieces: Vec<&str> = (0..encoded.len())
                .step_by(SCREEN_PIECE)
                .map(|at| &encoded[at..encoded.len().min(at + SCREEN_PIECE)])
                .collect();
            let joined = pieces.join("\x1b\\\x1bP");
            format!("\x1bP\x1b]52;c;{joined}\x07\x1b\\")
        }
    }
}

/// Puts `text` on the terminal's clipboard.
pub(crate) fn copy(text: &str) -> io::Result<()> {
    let term = std::env::var("TERM").unwrap_or_default();
    let between = if std::env::var_os("TMUX").is_some() {
        Multiplexer::Tmux
    } else if term.starts_with("screen") {
        Multiplexer::Screen
    } else {
        Multiplexer::None
    };
    let mut out = io::stdout();
    out.write_all(clipboard_sequence(text, between).as_bytes())?;
    out.flush()
}

/// Whether the terminal is ours now.
static ENTERED: AtomicBool = AtomicBool::new(false);
/// Whether the terminal tells of the mouse.
static MOUSE: AtomicBool = AtomicBool::new(false);

/// Whether the terminal is ours now, and not the shell's or an editor's.
pub(crate) fn is_entered() -> bool {
    ENTERED.load(Ordering::SeqCst)
}

/// What a panic outside of the main task said, for when the terminal is given back.
static LATE_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Raw mode, alternate screen and bracketed paste, taken back on drop.
pub(crate) struct Guard(());

impl Guard {
    /// Takes the terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        // With NO_COLOR crossterm writes an empty SGR, which drops reverse video too: the theme does
        // without colours by itself.
        crossterm::style::force_color_output(true);
        install_panic_hook();
        enable_raw_mode()?;
        ENTERED.store(true, Ordering::SeqCst);
        let guard = Self(());
        execute!(
            io::stdout(),
            EnterAlternateScreen,
            EnableBracketedPaste,
            Hide
        )?;
        Ok(guard)
    }

    /// Takes the terminal, the mouse included.
    pub(crate) fn enter_with(mouse: bool) -> io::Result<Self> {
        let guard = Self::enter()?;
        if mouse {
            write_mouse(&mut io::stdout(), true)?;
        }
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
        if let Ok(mut late) = LATE_PANIC.lock()
            && let Some(text) = late.take()
        {
            // The terminal may be gone: then there is nobody to tell.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

/// Sets every mode once more: whoever had the terminal while we were stopped has set its own.
pub(crate) fn retake() -> io::Result<()> {
    if !ENTERED.load(Ordering::SeqCst) {
        return Ok(());
    }
    // Raw mode counts as set already.
    disable_raw_mode()?;
    enable_raw_mode()?;
    execute!(
        io::stdout(),
        EnterAlternateScreen,
        EnableBracketedPaste,
        Hide
    )?;
    write_mouse(&mut io::stdout(), MOUSE.load(Ordering::SeqCst))
}

/// Gives the terminal back. Safe to call more than once; errors mean that it is gone.
fn restore() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        if MOUSE.swap(false, Ordering::SeqCst) {
            let _ = write_mouse(&mut io::stdout(), false);
        }
        let _ = execute!(
            io::stdout(),
            EndSynchronizedUpdate,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            Show
        );
        let _ = disable_raw_mode();
    }
}

/// A panic of the main task gives the terminal back before it is printed; one of another task must
/// not tear the screen from under the main one.
fn install_panic_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let main = std::thread::current().id();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() == main || !ENTERED.load(Ordering::SeqCst) {
                restore();
                before(info);
            } else if let Ok(mut late) = LATE_PANIC.lock() {
                *late = Some(info.to_string());
            }
        }));
    });
}

/// Stops the process as ^z does and waits until the shell continues it.
#[cfg(unix)]
pub(crate) async fn stop_until_continued() -> io::Result<()> {
    use rustix::process::{Signal, getpid, kill_process};
    use tokio::signal::unix::{SignalKind, signal};
    let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    kill_process(getpid(), Signal::TSTP)?;
    // Where nobody can continue us the signal is ignored, and we go on at once.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), continued.recv()).await;
    Ok(())
}

/// Whether the terminal behind standard output still exists.
#[cfg(unix)]
pub(crate) fn is_alive() -> bool {
    rustix::termios::tcgetwinsize(io::stdout()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clipboard_is_reached_through_multiplexers() {
        let plain = "\x1b]52;c;aGk=\x07";
        assert_eq!(clipboard_sequence("hi", Multiplexer::None), plain);
        assert_eq!(
            clipboard_sequence("hi", Multiplexer::Tmux),
            format!("{plain}\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\")
        );
        let long = clipboard_sequence(&"x".repeat(1_000), Multiplexer::Screen);
        let pieces: Vec<&str> = long.split("\x1b\\").collect();
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().all(|piece| piece.len() < 512));
        let whole = long
            .replace("\x1b\\\x1bP", "")
            .replace("\x1bP", "")
            .replace("\x1b\\", "");
        assert_eq!(
            whole,
            clipboard_sequence(&"x".repeat(1_000), Multiplexer::None)
        );
    }
}

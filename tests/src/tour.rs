//! The tour of the README: a script of keys over the demo, and the screens that it comes by.

use std::fmt::Write as _;

use crate::program::ours;
use crate::pty::{Pty, PtyCommand};

/// Where the tour stands in the README.
const BEGIN: &str = "<!-- tour: cargo run -p relayd-tests --bin tour -->";
const END: &str = "<!-- end of the tour -->";

/// One stop.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// What the reader is told.
    pub text: &'static str,
    /// What is typed to get there. `\r` is Enter, `\x03` Ctrl-C; an Escape would melt with the next key.
    pub keys: &'static str,
    /// What the screen shows when it is there.
    pub shows: &'static [&'static str],
}

/// The stops, in order.
pub const STOPS: &[Stop] = &[
    Stop {
        text: "The pulse: sessions, traffic, refusals, transports, alerts and the busiest realms of \
               the whole cluster.",
        keys: "",
        shows: &["Top realms", "north.gov", "live 1s"],
    },
    Stop {
        text: "`3` lists the sessions and `/` filters them, in the nodes; what is not loaded is counted too.",
        keys: "3/rate>100k realm=media.example\r",
        shows: &[" match (", "rate>100k realm=media.example"],
    },
    Stop {
        text: "`enter` opens the session under the cursor: what it is, its rates, its peers.",
        keys: "\r",
        shows: &["Pulse > Sessions > ", "Rate", "0x400"],
    },
    Stop {
        text: "`:rw` allows changes, `space` marks, `X` kills: the list is frozen, the focus is on Cancel, \
               and the number must be typed.",
        keys: "q:rw\r  X",
        shows: &["Kill 2 sessions", "Cancel"],
    },
    Stop {
        text: "`:top user` shows who makes the load; `enter` leads to their sessions.",
        keys: "\x03:top user\r",
        shows: &["Sessions by user", "GROUP"],
    },
    Stop {
        text: "`:config` lists a node's settings with the layer that each value comes from; `E` changes one, for \
               this node or for all.",
        keys: ":config ams1\r",
        shows: &["Pulse > Config ams1", "node_id"],
    },
];

/// Goes through the tour on a demo of its own and answers the screen of each stop.
///
/// # Panics
/// When a stop is not reached; the message has the screen.
#[must_use]
pub fn walk() -> Vec<String> {
    let home = tempfile::tempdir().expect("a folder");
    let mut console: Pty = PtyCommand::new(&ours("demo"))
        .env("HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path().join("config"))
        .env("XDG_STATE_HOME", home.path().join("state"))
        .folder(home.path())
        .start();
    // Three nodes and their calls take a moment to come up, and to be measured.
    console.wait("a cluster at work", |screen| {
        let counts = screen.contains("nodes 3/3") && screen.contains("sess 36");
        counts && screen.contains('█') && !screen.contains(" 0 packets/s")
    });
    let screens = STOPS.iter().map(|stop| {
        console.keys(stop.keys);
        console.wait(stop.text, |screen| {
            stop.shows.iter().all(|text| screen.contains(text))
        })
    });
    let screens = screens.collect();
    console.keys("\x03\x03");
    console.wait_exit();
    screens
}

/// The README with these screens in its tour.
///
/// # Errors
/// The README has no place for it.
pub fn write_into(readme: &str, screens: &[String]) -> Result<String, &'static str> {
    let begin = readme.find(BEGIN).ok_or("the README has no tour")? + BEGIN.len();
    let end = readme
        .find(END)
        .ok_or("the tour in the README has no end")?;
    let mut tour = String::from("\n");
    for (stop, screen) in STOPS.iter().zip(screens) {
        let _ = write!(tour, "\n{}\n\n", stop.text);
        let mut blank = 0;
        for line in screen.trim_end().lines() {
            // Empty rows in the middle of a screen say nothing.
            blank = if line.is_empty() { blank + 1 } else { 0 };
            if blank < 2 {
                let line = format!("    {line}");
                let _ = writeln!(tour, "{}", line.trim_end());
            }
        }
    }
    tour.push('\n');
    Ok(format!("{}{tour}{}", &readme[..begin], &readme[end..]))
}

/// Whether the README tells every stop of the tour, in order.
#[must_use]
pub fn is_in(readme: &str) -> bool {
    let mut rest = readme;
    STOPS.iter().all(|stop| match rest.find(stop.text) {
        Some(at) => {
            rest = &rest[at + stop.text.len()..];
            true
        }
        None => false,
    })
}

//! What the configuration file says of the console: its looks, its keys, its aliases.
//!
//! Contexts are read by `contexts`, which commands need even if the rest of the file is broken; the
//! console refuses to start on a file that it does not understand. Options of the command line come
//! first, then the environment, then the file.

mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use crate::console::keymap::{Chord, Keymap};
use crate::console::model::REFRESH_SECS;
use crate::console::rows::ContextRow;
use crate::console::theme::{self, Depth, Palette, Theme, Themes, Tone, parse_style};
use crate::contexts::{Confirm, Context, ContextError, Contexts, Environment};
use read::{Document, Entry, Section};

/// Everything at the top of the file.
const SECTIONS: &[&str] = &[
    "current",
    "contexts",
    "console",
    "keys",
    "aliases",
    "guardrails",
    "themes",
];

/// The configuration file.
#[derive(Clone, Default)]
pub struct Configuration {
    /// `[console]`.
    pub(crate) console: ConsoleSettings,
    /// The keys with those of `[keys]`.
    pub(crate) keymap: Keymap,
    /// `[aliases]`: commands and what they stand for.
    pub(crate) aliases: BTreeMap<String, String>,
    /// The contexts, as the console lists them.
    pub(crate) contexts: Vec<ContextRow>,
    /// `[themes]`.
    pub(crate) themes: BTreeMap<String, Palette>,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration").finish_non_exhaustive()
    }
}

/// `[console]`: what the file says, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConsoleSettings {
    /// The name of a theme.
    pub(crate) theme: Option<String>,
    /// Only ASCII.
    pub(crate) ascii: Option<bool>,
    /// Colours of the terminal, where it does not say so itself.
    pub(crate) colours: Option<Depth>,
    /// Clicks and the wheel.
    pub(crate) mouse: bool,
    /// Seconds between refreshes.
    pub(crate) rate: Option<u64>,
    /// How to make sure in every context.
    pub(crate) confirm: Confirm,
}

impl Configuration {
    /// Reads the file; one that is not there says nothing.
    ///
    /// # Errors
    /// The file cannot be read, or says something that makes no sense; names the line.
    pub fn load(path: &Path) -> Result<Self, ContextError> {
        // What is wrong with contexts is told in the same words as everywhere.
        let contexts = Contexts::load(path)?;
        let text = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            _ => crate::contexts::read(path)?,
        };
        let mut configuration = Self::parse(path, &text)?;
        configuration.contexts = rows(&contexts);
        Ok(configuration)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ContextError> {
        let document = Document::parse(path, text)?;
        let root = document.root();
        root.known(SECTIONS)?;
        let mut settings = Self::default();
        if let Some(section) = root.section("themes")? {
            settings.themes = themes(&section)?;
        }
        if let Some(section) = root.section("console")? {
            settings.console = console(&section, &settings.themes)?;
        }
        if let Some(section) = root.section("keys")? {
            keys(&section, &mut settings.keymap)?;
        }
        if let Some(section) = root.section("aliases")? {
            settings.aliases = aliases(&section)?;
        }
        Ok(settings)
    }
}

fn rows(contexts: &Contexts) -> Vec<ContextRow> {
    let row = |(name, context): (&String, &Context)| ContextRow {
        name: name.clone(),
        address: context.address.clone(),
        current: false,
        rw: context.rw,
        confirm_typed: context.confirm == Confirm::Type,
    };
    contexts.contexts.iter().map(row).collect()
}

fn console(
    section: &Section<'_>,
    own: &BTreeMap<String, Palette>,
) -> Result<ConsoleSettings, ContextError> {
    section.known(&["theme", "ascii", "colours", "mouse", "rate", "confirm"])?;
    let mut settings = ConsoleSettings::default();
    for entry in section.entries() {
        match entry.key {
            "theme" => {
                let name = entry.string()?;
                let themes = Themes::new(Depth::True, own.clone());
                themes.get(name, false).map_err(|e| entry.wrong(&e))?;
                settings.theme = Some(name.to_owned());
            }
            "ascii" => settings.ascii = Some(entry.boolean()?),
            "colours" => settings.colours = Some(colours(&entry)?),
            "mouse" => settings.mouse = entry.boolean()?,
            "rate" => {
                let rate = shared::units::parse_duration(entry.string()?).map(|d| d.as_secs());
                let known = rate.filter(|secs| REFRESH_SECS.contains(secs));
                let choices = REFRESH_SECS.map(|secs| format!("\"{secs}s\"")).join(", ");
                let wrong = || entry.wrong(&format!("one of {choices}"));
                settings.rate = Some(known.ok_or_else(wrong)?);
            }
            _ => {
                settings.confirm = match entry.string()? {
                    "ask" => Confirm::Ask,
                    "type" => Confirm::Type,
                    _ => return Err(entry.wrong("\"ask\" or \"type\"")),
                }
            }
        }
    }
    Ok(settings)
}

fn colours(entry: &Entry<'_>) -> Result<Depth, ContextError> {
    let name = entry.string()?;
    let all = [Depth::Mono, Depth::Sixteen, Depth::Indexed, Depth::True];
    let found = all.into_iter().find(|depth| depth.name() == name);
    found.ok_or_else(|| entry.wrong("\"none\", \"16\", \"256\" or \"true\""))
}

fn keys(section: &Section<'_>, keymap: &mut Keymap) -> Result<(), ContextError> {
    for entry in section.entries() {
        let mut chords = Vec::new();
        let texts = entry.strings()?;
        for text in &texts {
            if *text == "none" && texts.len() == 1 {
                continue;
            }
            chords.push(text.parse::<Chord>().map_err(|e| entry.wrong(&e))?);
        }
        keymap
            .rebind(entry.key, &chords)
            .map_err(|e| entry.wrong(&e))?;
    }
    keymap.check().map_err(|clash| {
        let [a, b] = clash.actions;
        let said = format!(
            "{} would mean both '{a}' and '{b}': give one of them another key, or \"none\"",
            clash.key
        );
        let of_file = section.entries().find(|e| e.key == a || e.key == b);
        of_file.map_or_else(|| section.wrong(&said), |entry| entry.wrong(&said))
    })
}

fn aliases(section: &Section<'_>) -> Result<BTreeMap<String, String>, ContextError> {
    let mut aliases = BTreeMap::new();
    for entry in section.entries() {
        if entry.key.is_empty() || entry.key.contains(char::is_whitespace) {
            return Err(entry.wrong("an alias is one word"));
        }
        if crate::console::command::find(entry.key).is_some() {
            return Err(entry.wrong("there is a command of that name: choose another"));
        }
        let text = entry.string()?.trim().trim_start_matches(':').to_owned();
        let word = text.split_whitespace().next().unwrap_or_default();
        if crate::console::command::find(word).is_none() {
            let near = shared::filter::nearest(word, crate::console::command::names())
                .map(|near| format!("; did you mean '{near}'?"))
                .unwrap_or_default();
            let word = shared::display_safe(word);
            return Err(entry.wrong(&format!("there is no command '{word}'{near}")));
        }
        aliases.insert(entry.key.to_owned(), text);
    }
    Ok(aliases)
}

fn themes(section: &Section<'_>) -> Result<BTreeMap<String, Palette>, ContextError> {
    let mut themes = BTreeMap::new();
    for entry in section.entries() {
        let theme = entry.section()?;
        let mut words: Vec<&str> = Tone::ALL.iter().map(|tone| tone.name()).collect();
        words.push("based-on");
        theme.known(&words)?;
        let mut palette = base(&theme)?;
        for tone in Tone::ALL {
            if let Some(entry) = theme.entries().find(|e| e.key == tone.name()) {
                let style = parse_style(entry.string()?).map_err(|e| entry.wrong(&e))?;
                palette.set(tone, style);
            }
        }
        if !palette.shows_cursor() {
            let wrong = "the selected row would look like any other: give 'selected' a \
                         background of its own or 'reversed'";
            return Err(entry.wrong(wrong));
        }
        themes.insert(entry.key.to_owned(), palette);
    }
    Ok(themes)
}

/// The palette of ours that a theme begins with.
fn base(theme: &Section<'_>) -> Result<Palette, ContextError> {
    let Some(entry) = theme.entries().find(|e| e.key == "based-on") else {
        let default = theme::built_in(theme::DEFAULT);
        return default.ok_or_else(|| theme.wrong("there is no default theme"));
    };
    let name = entry.string()?;
    theme::built_in(name).ok_or_else(|| {
        let near = shared::filter::nearest(name, theme::built_in_names())
            .map(|near| format!("; did you mean '{near}'?"))
            .unwrap_or_default();
        let name = shared::display_safe(name);
        entry.wrong(&format!("'{name}' is none of our themes{near}"))
    })
}

/// How this terminal is to be painted: the options of the command line, the environment and the
/// file together.
#[derive(Clone, Debug)]
pub struct Looks {
    /// The name of the theme, which there is.
    pub(crate) theme: String,
    /// Only ASCII.
    pub(crate) ascii: bool,
    /// What there is to choose from.
    pub(crate) themes: Themes,
}

impl Looks {
    /// Decides. A theme that is named by an option is used even with `NO_COLOR`.
    ///
    /// # Errors
    /// There is no theme of that name.
    pub fn new(
        settings: &Configuration,
        theme: Option<&str>,
        ascii: bool,
        env: Environment<'_>,
    ) -> Result<Self, String> {
        let file = &settings.console;
        let depth = file.colours.unwrap_or_else(|| Depth::detect(env));
        let themes = Themes::new(depth, settings.themes.clone());
        let no_colour = env("NO_COLOR").is_some_and(|value| !value.is_empty());
        let name = match (theme, no_colour, &file.theme) {
            (Some(name), _, _) => name,
            (None, true, _) => "mono",
            (None, false, Some(name)) => name,
            (None, false, None) => theme::DEFAULT,
        };
        themes.get(name, ascii)?;
        Ok(Self {
            theme: name.to_owned(),
            ascii: ascii || file.ascii.unwrap_or_else(|| !has_unicode(env)),
            themes,
        })
    }

    /// The theme.
    ///
    /// # Errors
    /// As for [`Looks::new`], so none.
    pub(crate) fn theme(&self) -> Result<Theme, String> {
        self.themes.get(&self.theme, self.ascii)
    }
}

/// Whether the terminal shows more than ASCII, as far as its name and the locale tell.
pub(crate) fn has_unicode(env: Environment<'_>) -> bool {
    let value = |name: &str| env(name).filter(|value: &OsString| !value.is_empty());
    if value("TERM").is_some_and(|term| term == "linux" || term == "dumb") {
        return false;
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value);
    locale.is_none_or(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

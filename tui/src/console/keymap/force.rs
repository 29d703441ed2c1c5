//! The keymap in force: the table of actions with the keys of the configuration.

use crossterm::event::KeyEvent;
use shared::filter::nearest;

use super::{BINDINGS, Binding, Chord, Intent, Views};

/// One action with its keys.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// Its keys, the one shown in hints first; none: it is switched off.
    pub(crate) keys: Vec<Chord>,
    /// What they do, and where.
    pub(crate) action: &'static Binding,
}

impl Bound {
    /// Its keys as the help shows them.
    pub(crate) fn keys_text(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        keys.join(" ")
    }
}

/// Two actions that one key would mean in the same view.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    /// The key.
    pub(crate) key: Chord,
    /// The names of the actions.
    pub(crate) actions: [&'static str; 2],
}

/// Every action with the keys that it has now.
#[derive(Clone, Debug)]
pub(crate) struct Keymap(Vec<Bound>);

impl Default for Keymap {
    fn default() -> Self {
        let bound = |action: &'static Binding| Bound {
            keys: action.defaults.to_vec(),
            action,
        };
        Self(BINDINGS.iter().map(bound).collect())
    }
}

impl Keymap {
    /// Gives an action other keys; none: switches it off.
    ///
    /// # Errors
    /// There is no such action, or it cannot have one of the keys; says what to do.
    pub(crate) fn rebind(&mut self, action: &str, keys: &[Chord]) -> Result<(), String> {
        if action == Intent::Interrupt.name() {
            return Err(format!(
                "'{action}' stays on ^c, so that there is always a way out"
            ));
        }
        let way_out = Chord::ctrl('c');
        if keys.contains(&way_out) {
            return Err("^c always cancels: choose another key".to_owned());
        }
        let mut known = false;
        for bound in &mut self.0 {
            if bound.action.intent.name() != action {
                continue;
            }
            known = true;
            let tame = keys.iter().find(|key| !key.is_capital());
            if let (Some(key), Some(_)) = (tame, bound.action.needs) {
                return Err(format!(
                    "'{action}' changes something, so its key must be a capital letter, not '{key}'"
                ));
            }
            bound.keys = keys.to_vec();
        }
        if known {
            return Ok(());
        }
        let near = nearest(action, BINDINGS.iter().map(|b| b.intent.name()))
            .map(|name| format!("; did you mean '{name}'?"))
            .unwrap_or_default();
        let action = shared::display_safe(action);
        Err(format!(
            "there is no action '{action}'{near} `relayctl info --keys` lists them"
        ))
    }

    /// Whether no key means two things in one view.
    ///
    /// # Errors
    /// The first that does.
    pub(crate) fn check(&self) -> Result<(), Clash> {
        for (i, first) in self.0.iter().enumerate() {
            for second in &self.0[i + 1..] {
                let apart = first.action.intent == second.action.intent
                    || !first.action.views.has(second.action.views);
                let both = first.keys.iter().find(|key| second.keys.contains(key));
                if let (false, Some(key)) = (apart, both) {
                    let actions = [first.action.intent.name(), second.action.intent.name()];
                    return Err(Clash { key: *key, actions });
                }
            }
        }
        Ok(())
    }

    /// What a key does in a view.
    pub(crate) fn lookup(&self, event: KeyEvent, view: Views) -> Option<&'static Binding> {
        let pressed = Chord::from(event);
        self.of(view)
            .find(|bound| bound.keys.contains(&pressed))
            .map(|bound| bound.action)
    }

    /// What a key does even where one types: such keys write nothing.
    pub(crate) fn lookup_anywhere(&self, event: KeyEvent) -> Option<Intent> {
        let pressed = Chord::from(event);
        let acts = |bound: &&Bound| {
            matches!(
                bound.action.intent,
                Intent::Interrupt | Intent::Suspend | Intent::Redraw
            ) && bound.keys.contains(&pressed)
        };
        let bound = pressed.is_silent().then(|| self.0.iter().find(acts))?;
        bound.map(|bound| bound.action.intent)
    }

    /// The actions of a view, in the order in which hints are kept.
    pub(crate) fn of(&self, view: Views) -> impl Iterator<Item = &Bound> {
        self.0.iter().filter(move |b| b.action.views.has(view))
    }

    /// All actions.
    pub(crate) fn all(&self) -> &[Bound] {
        &self.0
    }

    /// The key of an action, for texts that mention it.
    pub(crate) fn key_of(&self, intent: Intent) -> Option<Chord> {
        let of = |bound: &&Bound| bound.action.intent == intent;
        self.0.iter().find(of)?.keys.first().copied()
    }
}

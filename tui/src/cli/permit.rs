//! Whether a change may be made: guardrails judge, then the operator is asked.

use super::App;
use super::exit::Failure;
use crate::guardrails::{Deed, Level, Verdict};

/// What a command asks for by itself, where no guardrail wants more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask<'a> {
    /// Nothing.
    Nothing,
    /// y or n.
    Yes,
    /// This word.
    Type(&'a str),
}

impl App<'_, '_> {
    /// What guardrails say of `deed`, if they let it pass at all.
    pub(super) fn judge(&self, deed: &Deed) -> Result<Verdict, Failure> {
        let verdict = self.guardrails.judge(deed);
        verdict.allows(deed.count).map_err(Failure::Denied)?;
        verdict
            .allows_reason(&self.global.reason)
            .map_err(|why| Failure::Usage(format!("{why}; add --reason")))?;
        Ok(verdict)
    }

    /// Goes on only if guardrails allow `deed` and whoever is asked says yes. `--yes` answers for a
    /// script, but for the name of the context: that takes `--confirm`.
    pub(super) fn permit(
        &mut self,
        deed: &Deed,
        question: &str,
        ask: Ask<'_>,
    ) -> Result<Verdict, Failure> {
        let verdict = self.judge(deed)?;
        let count = deed.count.to_string();
        let expected = match (ask, verdict.level) {
            (Ask::Type(word), _) => Some(word),
            (_, Level::TypeCount) => Some(count.as_str()),
            (Ask::Yes, _) | (Ask::Nothing, Level::Plain) => Some("y"),
            (Ask::Nothing, _) => None,
        };
        if verdict.level < Level::TypeContext {
            if let Some(expected) = expected
                && !self.global.yes
            {
                self.terminal.confirm(question, expected)?;
            }
            return Ok(verdict);
        }
        self.permit_in_context(question, expected)?;
        Ok(verdict)
    }

    fn permit_in_context(&mut self, question: &str, expected: Option<&str>) -> Result<(), Failure> {
        let context = self.guardrails.context.clone();
        match self.global.confirm.as_deref() {
            Some(named) if named != context => Err(Failure::Usage(format!(
                "--confirm names {}, and this is {context}; nothing was done",
                shared::display_safe(named)
            ))),
            Some(_) if self.global.yes => Ok(()),
            Some(_) => match expected {
                Some(expected) => self.terminal.confirm(question, expected),
                None => Ok(()),
            },
            None if self.global.yes || !self.terminal.asked.is_person() => Err(Failure::Usage(
                format!("a guardrail wants the name of the context: add --yes --confirm {context}"),
            )),
            None => {
                if let Some(expected) = expected.filter(|word| *word != "y") {
                    self.terminal.confirm(question, expected)?;
                }
                self.terminal.confirm(question, &context)
            }
        }
    }
}

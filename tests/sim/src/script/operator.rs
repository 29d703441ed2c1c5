//! Orders about what surrounds clients: time, the control plane, the store, connections.

use std::sync::Arc;
use std::time::Duration;

use shared::Realm;
use turn_proto::{Command, EndCause, OpenError};

use super::Stage;
use crate::policies::{LIMITED, REALM, USERS};

impl Stage<'_> {
    pub(super) fn wait(&mut self) {
        let unit = self.script.pick(&[1, 100, 1_000, 30_000, 300_000, 600_000]);
        let count = u64::from(self.script.byte() % 16) + 1;
        self.pass_time(Duration::from_millis(unit * count));
    }

    pub(super) fn control(&mut self) {
        let (what, which, of) = (self.script.byte(), self.script.byte(), self.some_world());
        let world = &mut self.worlds[of];
        let sessions = world.sessions.len();
        let session = (sessions > 0).then(|| world.sessions[usize::from(which) % sessions]);
        let realm: Realm = REALM.parse().expect("a realm's name");
        let command = match (what % 6, session) {
            (0, Some(session)) => Command::Kill {
                session,
                cause: EndCause::Killed,
            },
            (1, Some(session)) => Command::Describe { session },
            (2, _) => Command::ForgetCredentials {
                realm: Some(realm),
                username: None,
            },
            (3, _) => Command::ForgetCredentials {
                realm: None,
                username: None,
            },
            (4, _) => Command::ForgetCredentials {
                realm: Some(realm),
                username: Some(USERS[0].0.parse().expect("a name")),
            },
            _ => Command::Snapshot,
        };
        world.command(command);
    }

    /// Another policy for all workers.
    pub(super) fn policy(&mut self) {
        let kind = self.script.byte();
        for world in &mut self.worlds {
            world.change_policy(kind);
        }
    }

    /// Limits of users' own change.
    pub(super) fn limit_users(&mut self) {
        let (who, rate) = (self.script.byte(), u64::from(self.script.byte()) * 100);
        let realm: Realm = REALM.parse().expect("a realm's name");
        let names = [USERS[0].0, USERS[1].0, LIMITED.0];
        let limits = names
            .iter()
            .enumerate()
            .filter(|(bit, _)| who & (1 << bit) != 0)
            .map(|(_, name)| {
                let name = name.parse().expect("a name");
                ((realm.clone(), name), (rate > 0).then_some(rate))
            });
        let limits = Arc::new(limits.collect());
        for world in &mut self.worlds {
            world.command(Command::SetUserLimits(Arc::clone(&limits)));
        }
    }

    pub(super) fn connection(&mut self) {
        let client = self.client();
        let tuple = self.clients[client].tuple;
        for world in &mut self.worlds {
            world.disconnect(tuple);
        }
    }

    pub(super) fn answer(&mut self) {
        const ERRORS: [Option<OpenError>; 5] = [
            None,
            Some(OpenError::PortsExhausted),
            Some(OpenError::UnknownToken),
            Some(OpenError::FamilyUnavailable),
            Some(OpenError::Failed),
        ];
        let (what, of) = (self.script.byte(), self.some_world());
        let world = &mut self.worlds[of];
        if what & 1 == 0 {
            world.answer_opening(ERRORS[usize::from(what >> 1) % ERRORS.len()]);
        } else {
            world.answer_lookup(what & 2 == 0);
        }
    }
}

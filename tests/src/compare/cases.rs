//! What is measured, and what was promised of it.

use super::servers::Server;

/// One load, and what it costs.
#[derive(Debug)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for readers.
    pub title: &'static str,
    /// The load.
    pub work: Work,
    /// What was promised of `relayd`.
    pub targets: &'static [Target],
}

/// A load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Packets of 160 bytes, in both directions.
    Relay(Load),
    /// Allocations made and released.
    Churn,
    /// Sessions that do nothing.
    Idle,
    /// Binding requests.
    Binding,
    /// What two workers carry of this, each on a core of its own with a load of its own, as a multiple of
    /// what one carries.
    Workers(Load),
}

/// Packets to relay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Allocations, all of which have packets.
    pub sessions: u32,
    /// Packets of one before those of the next.
    pub burst: u32,
    /// Whether a burst comes to the server as one message.
    pub segments: bool,
    /// Whether what the server sends as one message arrives so, or is taken apart in its time.
    pub receive_segments: bool,
    /// Packets per second; `None`: as many as it takes.
    pub rate: Option<u32>,
}

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Of what.
    pub against: Against,
    /// The greatest value that keeps it; the least one of [`Against::Least`].
    pub bound: f64,
}

/// What a figure of `relayd` is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// That of coturn.
    Coturn,
    /// That of the forwarder that moves packets in the same way.
    SameShape,
    /// That of whichever forwarder is the cheapest here.
    BestForwarder,
    /// Nothing: it is a number of its own.
    Itself,
    /// Nothing either, and more of it is better.
    Least,
}

const SINGLE: Load = Load {
    sessions: 50,
    burst: 1,
    segments: false,
    receive_segments: true,
    rate: None,
};

const fn of(against: Against, bound: f64) -> Target {
    Target { against, bound }
}

/// All cases, in the order in which they are told.
pub const CASES: [Case; 10] = [
    Case {
        name: "single-packets",
        title: "50 sessions, single packets",
        work: Work::Relay(SINGLE),
        targets: &[of(Against::Coturn, 0.60), of(Against::SameShape, 1.30)],
    },
    Case {
        name: "bursts-of-4",
        title: "50 sessions, bursts of 4",
        work: Work::Relay(Load { burst: 4, ..SINGLE }),
        targets: &[of(Against::Coturn, 0.42), of(Against::SameShape, 1.30)],
    },
    Case {
        name: "segments-of-16",
        title: "50 sessions, bursts of 16 that arrive segmented",
        work: Work::Relay(Load {
            burst: 16,
            segments: true,
            ..SINGLE
        }),
        targets: &[of(Against::Coturn, 0.13)],
    },
    Case {
        name: "segments-refused",
        title: "50 sessions, bursts of 16 that arrive segmented, for a receiver that cannot take segments",
        work: Work::Relay(Load {
            burst: 16,
            segments: true,
            receive_segments: false,
            ..SINGLE
        }),
        targets: &[of(Against::Coturn, 0.27)],
    },
    Case {
        name: "sessions-1000",
        title: "1,000 interleaved sessions, single packets",
        work: Work::Relay(Load {
            sessions: 1000,
            ..SINGLE
        }),
        targets: &[of(Against::BestForwarder, 1.10)],
    },
    Case {
        name: "rate-20000",
        title: "50 sessions, 20,000 packets per second",
        work: Work::Relay(Load {
            rate: Some(20_000),
            ..SINGLE
        }),
        targets: &[of(Against::Coturn, 0.80)],
    },
    Case {
        name: "churn",
        title: "Allocations made and released",
        work: Work::Churn,
        targets: &[of(Against::Coturn, 0.16)],
    },
    Case {
        name: "idle",
        title: "Sessions with a permission and a channel, idle",
        work: Work::Idle,
        targets: &[of(Against::Itself, 2048.0)],
    },
    Case {
        name: "binding",
        title: "Binding requests",
        work: Work::Binding,
        targets: &[of(Against::Coturn, 0.60)],
    },
    Case {
        name: "two-workers",
        title: "Two workers on two cores, 50 sessions per core, single packets",
        work: Work::Workers(SINGLE),
        targets: &[of(Against::Least, 1.8)],
    },
];

impl Case {
    /// Whether it says anything about a server.
    #[must_use]
    pub fn suits(&self, server: Server) -> bool {
        match self.work {
            Work::Relay(_) => true,
            // It has no socket per session, and installs a permission for its own clients only.
            Work::Idle => !server.is_forwarder() && server != Server::TurnServer,
            Work::Churn | Work::Binding => !server.is_forwarder(),
            Work::Workers(_) => server == Server::Relayd,
        }
    }

    /// What its figures count.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self.work {
            Work::Relay(_) => "CPU ns per packet",
            Work::Churn => "CPU ns per cycle",
            Work::Idle => "bytes per session",
            Work::Binding => "CPU ns per answer",
            Work::Workers(_) => "times one worker",
        }
    }

    /// Whether the load runs on the server's core, so that the server finds all of a window at once.
    #[must_use]
    pub fn shares_core(&self) -> bool {
        match self.work {
            Work::Relay(load) => load.rate.is_none(),
            Work::Churn | Work::Binding | Work::Workers(_) => true,
            Work::Idle => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_every_case_promises_something() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CASES.len());
        assert!(CASES.iter().all(|case| !case.targets.is_empty()));
        assert!(CASES.iter().all(|case| case.suits(Server::Relayd)));
    }
}

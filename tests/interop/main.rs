//! Other people's TURN against ours: coturn's client through `relayd`, our client through coturn.

mod coturn_server;

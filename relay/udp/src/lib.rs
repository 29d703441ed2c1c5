//! UDP in batches: many datagrams per system call, and many of one flow as one message.
//!
//! A relay that pays one trip through the kernel per packet is as slow as all others. What is
//! received together is lent out together ([`receive`]) and sent together ([`batch`]); datagrams of one
//! flow and size leave as one message that the kernel or the network card takes apart ([`grouping`]).
//! Nothing here knows TURN. [`sys`] holds the system calls, and the only `unsafe` code of the workspace.

pub mod batch;
pub mod datagram;
pub mod grouping;
pub mod receive;
pub mod sys;

/// How often a call is made again that failed: an ICMP error about an earlier datagram, perhaps to
/// another peer, is reported on the next call, and more may come meanwhile.
const RETRIES: u32 = 3;

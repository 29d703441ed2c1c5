//! Sending: datagrams that wait, and the messages that they are put into.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::write_address;
use crate::udp::datagram::Marks;

/// A control message that holds one number.
#[repr(C)]
#[derive(Clone, Copy)]
struct NumberControl {
    header: libc::cmsghdr,
    value: [u8; 8],
}

// SAFETY: CMSG_SPACE only calculates.
const _: () = assert!(unsafe { libc::CMSG_SPACE(4) } as usize == size_of::<NumberControl>());

impl NumberControl {
    fn new(level: i32, kind: i32, bytes: &[u8]) -> Self {
        // SAFETY: all-zero is a valid value of this plain C struct.
        let mut header = unsafe { zeroed::<libc::cmsghdr>() };
        // SAFETY: CMSG_LEN only calculates.
        header.cmsg_len = unsafe { libc::CMSG_LEN(bytes.len() as u32) } as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        Self { header, value }
    }
}

/// The control messages of one message.
struct Controls {
    all: [NumberControl; 3],
    len: usize,
}

impl Controls {
    fn new(ipv4: bool, marks: Marks, segment: Option<u16>) -> Self {
        // SAFETY: all-zero is a valid value of these plain C structs.
        let all = unsafe { zeroed::<[NumberControl; 3]>() };
        let mut controls = Self { all, len: 0 };
        if marks.traffic_class != 0 {
            let class = i32::from(marks.traffic_class).to_ne_bytes();
            let (level, kind) = if ipv4 {
                (libc::IPPROTO_IP, libc::IP_TOS)
            } else {
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
            };
            controls.add(NumberControl::new(level, kind, &class));
        }
        if marks.dont_fragment && !ipv4 {
            let (level, kind) = (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG);
            controls.add(NumberControl::new(level, kind, &1_i32.to_ne_bytes()));
        }
        if let Some(segment) = segment {
            let (level, kind) = (libc::SOL_UDP, libc::UDP_SEGMENT);
            controls.add(NumberControl::new(level, kind, &segment.to_ne_bytes()));
        }
        controls
    }

    fn add(&mut self, control: NumberControl) {
        self.all[self.len] = control;
        self.len += 1;
    }
}

/// The parts of one datagram, empty ones left out.
#[derive(Clone, Copy)]
struct Parts {
    vectors: [libc::iovec; 3],
    used: usize,
}

/// Datagrams that wait, and messages for sendmmsg. A datagram is a header copied in here, a borrowed
/// payload and padding; whoever adds one guarantees that its payload lives until it was sent, or
/// until [`Self::clear`]. A message holds one datagram, or several that the kernel takes apart.
pub(in crate::udp) struct SendHeaders {
    parts: Box<[Parts]>,
    headers: Box<[[u8; Self::HEADER]]>,
    /// How many datagrams wait.
    len: usize,
    messages: Box<[libc::mmsghdr]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[[NumberControl; 3]]>,
    /// The parts of the datagrams of all messages, in their order.
    vectors: Box<[libc::iovec]>,
    made: usize,
    vectors_used: usize,
}

static PADDING: [u8; 4] = [0; 4];

impl SendHeaders {
    /// Room for a header in front of each payload, in bytes.
    pub(in crate::udp) const HEADER: usize = 48;

    /// Room for so many datagrams, and as many messages.
    pub(in crate::udp) fn new(datagrams: usize) -> Self {
        // SAFETY: all-zero is a valid value of these plain C structs.
        unsafe {
            Self {
                parts: vec![zeroed::<Parts>(); datagrams].into_boxed_slice(),
                headers: vec![[0; Self::HEADER]; datagrams].into_boxed_slice(),
                len: 0,
                messages: vec![zeroed::<libc::mmsghdr>(); datagrams].into_boxed_slice(),
                names: vec![zeroed::<libc::sockaddr_storage>(); datagrams].into_boxed_slice(),
                controls: vec![zeroed::<[NumberControl; 3]>(); datagrams].into_boxed_slice(),
                vectors: vec![zeroed::<libc::iovec>(); datagrams * 3].into_boxed_slice(),
                made: 0,
                vectors_used: 0,
            }
        }
    }

    /// Whether no more datagrams fit.
    pub(in crate::udp) fn is_full(&self) -> bool {
        self.len == self.parts.len()
    }

    /// Forgets the datagrams and messages.
    pub(in crate::udp) fn clear(&mut self) {
        self.len = 0;
        self.clear_messages();
    }

    /// Forgets the messages; the datagrams still wait.
    pub(in crate::udp) fn clear_messages(&mut self) {
        self.made = 0;
        self.vectors_used = 0;
    }

    /// Adds a datagram and answers its number. The caller checked [`Self::is_full`].
    pub(in crate::udp) fn add(&mut self, header: &[u8], payload: &[u8], pad: usize) -> usize {
        let i = self.len;
        self.headers[i][..header.len()].copy_from_slice(header);
        let all = [
            (self.headers[i].as_ptr(), header.len()),
            (payload.as_ptr(), payload.len()),
            (PADDING.as_ptr(), pad.min(PADDING.len())),
        ];
        let parts = &mut self.parts[i];
        parts.used = 0;
        for (pointer, len) in all.into_iter().filter(|(_, len)| *len > 0) {
            parts.vectors[parts.used] = libc::iovec {
                iov_base: pointer.cast_mut().cast(),
                iov_len: len,
            };
            parts.used += 1;
        }
        self.len += 1;
        i
    }

    /// Makes a message of datagrams that wait; with `segment`, each but the last is so long.
    pub(in crate::udp) fn make(
        &mut self,
        to: SocketAddr,
        marks: Marks,
        segment: Option<u16>,
        datagrams: impl Iterator<Item = usize>,
    ) {
        let i = self.made;
        let first = self.vectors_used;
        for datagram in datagrams {
            let parts = &self.parts[..self.len][datagram];
            let end = self.vectors_used + parts.used;
            self.vectors[self.vectors_used..end].copy_from_slice(&parts.vectors[..parts.used]);
            self.vectors_used = end;
        }
        let vectors = &mut self.vectors[first..self.vectors_used];
        let controls = Controls::new(to.is_ipv4(), marks, segment);
        self.controls[i] = controls.all;
        let message = &mut self.messages[i].msg_hdr;
        message.msg_namelen = write_address(&mut self.names[i], to);
        message.msg_name = (&raw mut self.names[i]).cast();
        message.msg_iov = vectors.as_mut_ptr();
        message.msg_iovlen = vectors.len();
        message.msg_control = if controls.len == 0 {
            std::ptr::null_mut()
        } else {
            self.controls[i].as_mut_ptr().cast()
        };
        message.msg_controllen = (controls.len * size_of::<NumberControl>()) as _;
        self.made += 1;
    }

    /// Sends the messages from `from` on, on one socket, and answers how many the kernel took.
    pub(in crate::udp) fn send(&mut self, fd: RawFd, from: usize) -> io::Result<usize> {
        let range = &mut self.messages[from..self.made];
        let (pointer, count) = (range.as_mut_ptr(), range.len() as u32);
        // SAFETY: `make` linked names, controls and vectors of every message below `made`, and the
        // vectors lead to headers in here, or to payloads that the caller guarantees to be alive.
        let n = unsafe { libc::sendmmsg(fd, pointer, count, libc::MSG_DONTWAIT) };
        if n < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(n as usize)
        }
    }
}

impl std::fmt::Debug for SendHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendHeaders")
            .field("len", &self.len)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

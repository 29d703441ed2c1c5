//! Sending: datagrams that wait, and the messages that they are put into.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use super::{Control, write_address};
use crate::datagram::Marks;

/// Room for the control messages of one message: a class, a mark, segments, a local address.
const CONTROL: usize = 3 * 24 + 40;

/// Writes the control messages of one message.
struct Controls<'a> {
    bytes: &'a mut [u8; CONTROL],
    len: usize,
}

impl<'a> Controls<'a> {
    /// Writes what the kernel is to be told, and answers how long that is, in bytes.
    fn write(
        bytes: &'a mut Control<CONTROL>,
        ipv4: bool,
        marks: &Marks,
        segment: Option<u16>,
    ) -> usize {
        let mut controls = Self {
            bytes: &mut bytes.0,
            len: 0,
        };
        if marks.traffic_class != 0 {
            let class = i32::from(marks.traffic_class).to_ne_bytes();
            if ipv4 {
                controls.add(libc::IPPROTO_IP, libc::IP_TOS, &class);
            } else {
                controls.add(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class);
            }
        }
        if marks.dont_fragment && !ipv4 {
            let on = 1_i32.to_ne_bytes();
            controls.add(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, &on);
        }
        if let Some(segment) = segment {
            let segment = segment.to_ne_bytes();
            controls.add(libc::SOL_UDP, libc::UDP_SEGMENT, &segment);
        }
        match marks.source {
            // struct in_pktinfo: interface, local address, an address that is only read.
            Some(IpAddr::V4(ip)) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                controls.add(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            // struct in6_pktinfo: address, interface.
            Some(IpAddr::V6(ip)) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                controls.add(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
        controls.len
    }

    fn add(&mut self, level: i32, kind: i32, value: &[u8]) {
        // SAFETY: both only calculate.
        let (len, space) = unsafe {
            let len = value.len() as u32;
            (libc::CMSG_LEN(len) as usize, libc::CMSG_SPACE(len) as usize)
        };
        let room = &mut self.bytes[self.len..self.len + space];
        // SAFETY: all-zero is a valid value of this plain C struct.
        let mut header = unsafe { zeroed::<libc::cmsghdr>() };
        header.cmsg_len = len as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        // SAFETY: `room` is longer than a header, and unaligned writes may go anywhere.
        unsafe {
            room.as_mut_ptr()
                .cast::<libc::cmsghdr>()
                .write_unaligned(header)
        };
        room[len - value.len()..len].copy_from_slice(value);
        self.len += space;
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
pub(crate) struct SendHeaders {
    parts: Box<[Parts]>,
    headers: Box<[[u8; Self::HEADER]]>,
    /// Datagrams that were copied in here whole.
    copies: Box<[u8]>,
    copied: usize,
    /// How many datagrams wait.
    len: usize,
    messages: Box<[libc::mmsghdr]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control<CONTROL>]>,
    /// The parts of the datagrams of all messages, in their order.
    vectors: Box<[libc::iovec]>,
    made: usize,
    vectors_used: usize,
}

static PADDING: [u8; 4] = [0; 4];

impl SendHeaders {
    /// Room for a header in front of each payload, in bytes.
    pub(crate) const HEADER: usize = 48;

    /// Room for datagrams that are copied in, in bytes: any one fits.
    const COPIES: usize = 64 << 10;

    /// Room for so many datagrams, and as many messages.
    pub(crate) fn new(datagrams: usize) -> Self {
        // SAFETY: all-zero is a valid value of these plain C structs.
        unsafe {
            Self {
                parts: vec![zeroed::<Parts>(); datagrams].into_boxed_slice(),
                headers: vec![[0; Self::HEADER]; datagrams].into_boxed_slice(),
                copies: vec![0; Self::COPIES].into_boxed_slice(),
                copied: 0,
                len: 0,
                messages: vec![zeroed::<libc::mmsghdr>(); datagrams].into_boxed_slice(),
                names: vec![zeroed::<libc::sockaddr_storage>(); datagrams].into_boxed_slice(),
                controls: (0..datagrams).map(|_| Control([0; CONTROL])).collect(),
                vectors: vec![zeroed::<libc::iovec>(); datagrams * 3].into_boxed_slice(),
                made: 0,
                vectors_used: 0,
            }
        }
    }

    /// Whether no more datagrams fit.
    pub(crate) fn is_full(&self) -> bool {
        self.len == self.parts.len()
    }

    /// Whether a datagram of so many bytes can be copied in.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        !self.is_full() && self.copied + len <= Self::COPIES
    }

    /// Forgets the datagrams and messages.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.copied = 0;
        self.clear_messages();
    }

    /// Forgets the messages; the datagrams still wait.
    pub(crate) fn clear_messages(&mut self) {
        self.made = 0;
        self.vectors_used = 0;
    }

    /// Adds a datagram and answers its number. The caller checked [`Self::is_full`].
    pub(crate) fn add(&mut self, header: &[u8], payload: &[u8], pad: usize) -> usize {
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

    /// Adds a copy of a datagram. The caller checked [`Self::has_room`].
    pub(crate) fn add_copy(&mut self, bytes: &[u8]) {
        let copy = &mut self.copies[self.copied..self.copied + bytes.len()];
        copy.copy_from_slice(bytes);
        self.copied += bytes.len();
        let parts = &mut self.parts[self.len];
        parts.vectors[0] = libc::iovec {
            iov_base: copy.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        parts.used = usize::from(!bytes.is_empty());
        self.len += 1;
    }

    /// Makes a message of datagrams that wait; with `segment`, each but the last is so long.
    pub(crate) fn make(
        &mut self,
        to: SocketAddr,
        marks: &Marks,
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
        let controls = Controls::write(&mut self.controls[i], to.is_ipv4(), marks, segment);
        let message = &mut self.messages[i].msg_hdr;
        message.msg_namelen = write_address(&mut self.names[i], to);
        message.msg_name = (&raw mut self.names[i]).cast();
        message.msg_iov = vectors.as_mut_ptr();
        message.msg_iovlen = vectors.len();
        message.msg_control = if controls == 0 {
            std::ptr::null_mut()
        } else {
            self.controls[i].0.as_mut_ptr().cast()
        };
        message.msg_controllen = controls as _;
        self.made += 1;
    }

    /// Sends the messages from `from` on, on one socket, and answers how many the kernel took.
    pub(crate) fn send(&mut self, fd: RawFd, from: usize) -> io::Result<usize> {
        let range = &mut self.messages[from..self.made];
        let (pointer, count) = (range.as_mut_ptr(), range.len() as u32);
        // SAFETY: `make` linked names, controls and vectors of every message below `made`, and the
        // vectors lead to headers and copies in here, or to payloads that the caller guarantees to be alive.
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

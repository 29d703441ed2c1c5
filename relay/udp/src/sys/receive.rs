//! Receiving: slots that recvmmsg fills one after the other, lent out until all are given back.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

use super::{Control, read_address};

/// Room for the control messages about a traffic class, segments and a local address.
const CONTROL: usize = 24 + 24 + 40;

/// Buffers for datagrams, with the headers that lead the kernel to them.
///
/// `used` parts those that hold something, which nobody writes until [`Self::give_back`], from those
/// that the next receive may fill, to which nobody has a reference.
pub(crate) struct Slots {
    messages: Box<[UnsafeCell<libc::mmsghdr>]>,
    names: Box<[UnsafeCell<libc::sockaddr_storage>]>,
    /// Pointed to by the messages.
    _vectors: Box<[libc::iovec]>,
    _controls: Box<[UnsafeCell<Control<CONTROL>>]>,
    buffers: Box<[UnsafeCell<u8>]>,
    slot: usize,
    used: Cell<usize>,
}

impl Slots {
    /// `slots` buffers of `slot` bytes.
    pub(crate) fn new(slots: usize, slot: usize) -> Self {
        // SAFETY: all-zero is a valid value of these plain C structs, and of bytes; the box of bytes
        // is made zeroed by the allocator, which touches none of its pages.
        let (mut messages, names, mut vectors, buffers) = unsafe {
            (
                new_cells(slots, || zeroed::<libc::mmsghdr>()),
                new_cells(slots, || zeroed::<libc::sockaddr_storage>()),
                vec![zeroed::<libc::iovec>(); slots].into_boxed_slice(),
                Box::<[UnsafeCell<u8>]>::new_zeroed_slice(slots * slot).assume_init(),
            )
        };
        let controls = new_cells(slots, || Control([0; CONTROL]));
        for i in 0..slots {
            vectors[i] = libc::iovec {
                iov_base: UnsafeCell::raw_get(&raw const buffers[i * slot]).cast(),
                iov_len: slot,
            };
            let header = &mut messages[i].get_mut().msg_hdr;
            header.msg_name = names[i].get().cast();
            header.msg_control = controls[i].get().cast();
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
            offer(header);
        }
        Self {
            messages,
            names,
            _vectors: vectors,
            _controls: controls,
            buffers,
            slot,
            used: Cell::new(0),
        }
    }

    /// Slots that hold nothing.
    pub(crate) fn room(&self) -> usize {
        self.messages.len() - self.used.get()
    }

    /// Receives what is there, at most `most` messages and at most [`Self::room`].
    pub(crate) fn receive(&self, fd: RawFd, most: usize) -> io::Result<Filled<'_>> {
        let start = self.used.get();
        let count = most.min(self.room());
        if count == 0 {
            return Ok(Filled {
                slots: self,
                start,
                len: 0,
            });
        }
        let pointer = self.messages[start].get();
        // SAFETY: headers, names, vectors, controls and buffers were linked in `new` and are alive;
        // the kernel writes to slots from `start` on only, to which there are no references.
        let n = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::recvmmsg(fd, pointer, count as u32, flags, std::ptr::null_mut())
        };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        let len = n as usize;
        self.used.set(start + len);
        Ok(Filled {
            slots: self,
            start,
            len,
        })
    }

    /// Takes all slots back: what was received is gone.
    pub(crate) fn give_back(&mut self) {
        for message in &mut self.messages[..self.used.take()] {
            offer(&mut message.get_mut().msg_hdr);
        }
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots")
            .field("slots", &self.messages.len())
            .field("slot", &self.slot)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

fn new_cells<T>(count: usize, make: impl Fn() -> T) -> Box<[UnsafeCell<T>]> {
    (0..count).map(|_| UnsafeCell::new(make())).collect()
}

/// Says how much room a header has, which a receive overwrites with what it used.
fn offer(header: &mut libc::msghdr) {
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
    header.msg_controllen = CONTROL as _;
}

/// What one receive brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled<'a> {
    slots: &'a Slots,
    start: usize,
    len: usize,
}

/// One message: a datagram, or several of one flow in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) bytes: &'a [u8],
    /// Traffic class; 0 where the socket does not tell.
    pub(crate) class: u8,
    /// The length of each datagram in it but the last, which may be shorter; `None`: it is one.
    pub(crate) segment: Option<usize>,
    /// The local address it was sent to; `None` where the socket does not tell.
    pub(crate) to: Option<IpAddr>,
}

impl<'a> Filled<'a> {
    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The messages; `None` for one that did not fit its slot or came from no internet address.
    pub(crate) fn messages(self) -> impl Iterator<Item = Option<Message<'a>>> {
        (self.start..self.start + self.len).map(move |i| self.slots.message(i))
    }
}

impl Slots {
    /// What slot `i` holds, which must be used.
    fn message(&self, i: usize) -> Option<Message<'_>> {
        assert!(i < self.used.get(), "a slot that holds nothing");
        // SAFETY: the slot is used, so that nobody writes to it while `self` is borrowed.
        let (message, name) = unsafe { (&*self.messages[i].get(), &*self.names[i].get()) };
        let len = message.msg_len as usize;
        if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 || len > self.slot {
            return None;
        }
        let start = &raw const self.buffers[i * self.slot];
        // SAFETY: as above; the slot is `self.slot` bytes long, and `len` is not more.
        let bytes =
            unsafe { std::slice::from_raw_parts(UnsafeCell::raw_get(start).cast_const(), len) };
        let mut found = Message {
            from: read_address(name)?,
            bytes,
            class: 0,
            segment: None,
            to: None,
        };
        if message.msg_hdr.msg_controllen > 0 {
            read_controls(&message.msg_hdr, &mut found);
        }
        Some(found)
    }
}

/// Reads what the kernel says of a message besides its bytes.
fn read_controls(header: &libc::msghdr, message: &mut Message<'_>) {
    // SAFETY: the kernel wrote `msg_controllen` bytes of well-formed control messages into the
    // slot's buffer; data is read unaligned and as long as the kind says: a byte for the class of
    // IPv4, a struct about a local address, an int for the others.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = next.as_ref() {
            let data = libc::CMSG_DATA(next);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_TOS) => message.class = *data,
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    message.class = data.cast::<i32>().read_unaligned() as u8;
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = usize::try_from(data.cast::<i32>().read_unaligned());
                    message.segment = segment.ok().filter(|segment| *segment > 0);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    message.to = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    message.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
}

//! The system calls that no safe crate offers in the shape we need. The only file with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::datagram::{ErrorOrigin, Marks, QueuedError};

/// One instruction of a classic BPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    code: u16,
    k: u32,
}

impl Filter {
    /// An instruction without jumps.
    #[must_use]
    pub fn new(code: u16, k: u32) -> Self {
        Self { code, k }
    }
}

/// Opcodes of the selector program (linux/bpf_common.h).
pub mod opcode {
    /// X = 4 * (byte at k & 0xf): the length of an IPv4 header.
    pub const LDX_MSH: u16 = 0xb1;
    /// A = 16 bits at X + k.
    pub const LD_H_IND: u16 = 0x48;
    /// A = 16 bits at k.
    pub const LD_H_ABS: u16 = 0x28;
    /// A = 32 bits at k.
    pub const LD_W_ABS: u16 = 0x20;
    /// X = A.
    pub const TAX: u16 = 0x07;
    /// A ^= X.
    pub const ALU_XOR_X: u16 = 0xac;
    /// A *= k.
    pub const ALU_MUL_K: u16 = 0x24;
    /// A >>= k.
    pub const ALU_RSH_K: u16 = 0x74;
    /// A %= k.
    pub const ALU_MOD_K: u16 = 0x94;
    /// Return A.
    pub const RET_A: u16 = 0x16;
    /// Offsets from here on count from the network header (SKF_NET_OFF).
    pub const NET: u32 = 0xfff0_0000;
}

/// Attaches a selector program to the SO_REUSEPORT group of `socket`.
///
/// # Errors
/// What setsockopt says.
pub fn attach_reuseport_selector(socket: BorrowedFd<'_>, program: &[Filter]) -> io::Result<()> {
    let mut code: Vec<libc::sock_filter> = program
        .iter()
        .map(|f| libc::sock_filter {
            code: f.code,
            jt: 0,
            jf: 0,
            k: f.k,
        })
        .collect();
    let value = libc::sock_fprog {
        len: code.len() as u16,
        filter: code.as_mut_ptr(),
    };
    set_option(
        socket.as_raw_fd(),
        libc::SOL_SOCKET,
        libc::SO_ATTACH_REUSEPORT_CBPF,
        &value,
    )
}

/// Whether datagrams of an IPv4 socket carry the DF bit. With it each is sent whatever the kernel
/// believes of its path: whoever asks for the bit measures the path.
///
/// Without it the kernel takes no word of ICMP for the size of datagrams, which forged errors would
/// shrink; and unlike `IP_PMTUDISC_DONT` the socket still hears of "fragmentation needed".
///
/// # Errors
/// What setsockopt says.
pub fn set_dont_fragment(socket: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mode = if on {
        libc::IP_PMTUDISC_PROBE
    } else {
        libc::IP_PMTUDISC_OMIT
    };
    let (level, name) = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    set_option(socket.as_raw_fd(), level, name, &mode)
}

/// Prepares a relay socket: datagrams may be fragmented, and ICMP errors about them are kept for
/// [`receive_error`].
///
/// # Errors
/// What setsockopt says.
pub fn set_relay_options(socket: BorrowedFd<'_>, ipv4: bool) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    if ipv4 {
        set_dont_fragment(socket, false)?;
        set_option(fd, libc::IPPROTO_IP, libc::IP_RECVERR, &1_i32)
    } else {
        // Routers do not fragment IPv6: the kernel must know the path to do it.
        let (level, mode) = (libc::IPPROTO_IPV6, libc::IPV6_PMTUDISC_DONT);
        set_option(fd, level, libc::IPV6_MTU_DISCOVER, &mode)?;
        set_option(fd, level, libc::IPV6_RECVERR, &1_i32)
    }
}

fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let pointer = std::ptr::from_ref(value).cast();
    // SAFETY: `value` lives across the call and its size is passed with it.
    let result = unsafe { libc::setsockopt(fd, level, name, pointer, size_of::<T>() as u32) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Raises the soft limit of open descriptors to the hard one and answers it: a relay needs one per
/// session.
///
/// # Errors
/// What getrlimit or setrlimit say.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    // SAFETY: both calls get a pointer to a valid rlimit.
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(limit.rlim_cur)
    }
}

/// Descriptors that this process may have.
///
/// # Errors
/// What getrlimit says.
pub fn descriptor_limit() -> io::Result<u64> {
    // SAFETY: the call gets a pointer to a valid rlimit.
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(limit.rlim_cur)
    }
}

/// Forbids core dumps: memory holds keys.
///
/// # Errors
/// What setrlimit says.
pub fn forbid_core_dumps() -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a valid rlimit.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has the kernel tell the traffic class of each datagram that comes.
///
/// # Errors
/// What setsockopt says.
pub fn set_receive_class(socket: BorrowedFd<'_>, ipv4: bool) -> io::Result<()> {
    let (level, name) = if ipv4 {
        (libc::IPPROTO_IP, libc::IP_RECVTOS)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS)
    };
    set_option(socket.as_raw_fd(), level, name, &1_i32)
}

/// Room for the control messages of one error: its description and who sent it.
const ERROR_CONTROL: usize = 128;

/// A buffer for control messages, aligned as the kernel wants it.
#[repr(align(8))]
struct Control<const N: usize>([u8; N]);

/// Takes one error from the queue of a socket. `Ok(None)`: one that cannot be read; the next may.
///
/// # Errors
/// `WouldBlock` when the queue is empty; whatever else recvmsg says.
pub fn receive_error(socket: RawFd) -> io::Result<Option<QueuedError>> {
    let mut control = Control([0_u8; ERROR_CONTROL]);
    // SAFETY: all-zero is a valid value of these plain C structs.
    let (mut name, mut message) =
        unsafe { (zeroed::<libc::sockaddr_storage>(), zeroed::<libc::msghdr>()) };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = ERROR_CONTROL as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the header points at a name and a control buffer that live here, with their sizes; it
    // has no payload vectors, so the quoted payload is cut off.
    if unsafe { libc::recvmsg(socket, &raw mut message, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let Some(destination) = read_address(&name) else {
        return Ok(None);
    };
    Ok(extended_error(&message).map(|error| {
        let origin = match error.ee_origin {
            libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => ErrorOrigin::Icmp {
                kind: error.ee_type,
                code: error.ee_code,
            },
            libc::SO_EE_ORIGIN_LOCAL if error.ee_errno == libc::EMSGSIZE as u32 => {
                ErrorOrigin::TooLong
            }
            _ => ErrorOrigin::Other,
        };
        QueuedError {
            destination,
            origin,
            mtu: error.ee_info,
        }
    }))
}

/// The description of the error among the control messages that recvmsg wrote.
fn extended_error(message: &libc::msghdr) -> Option<libc::sock_extended_err> {
    // SAFETY: the kernel wrote `msg_controllen` bytes of well-formed control messages into the
    // buffer that `message` points to, which is alive; data is read unaligned, and only where the
    // control message is long enough for it.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        while let Some(header) = next.as_ref() {
            let kind = (header.cmsg_level, header.cmsg_type);
            let wanted = kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
                || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
            let len = libc::CMSG_LEN(size_of::<libc::sock_extended_err>() as u32) as usize;
            if wanted && header.cmsg_len >= len {
                return Some(
                    libc::CMSG_DATA(next)
                        .cast::<libc::sock_extended_err>()
                        .read_unaligned(),
                );
            }
            next = libc::CMSG_NXTHDR(message, next);
        }
    }
    None
}

/// Message headers for one recvmmsg over fixed buffers.
///
/// The headers hold pointers into the boxes beside them; boxes do not move, and nothing else keeps
/// those pointers.
pub(super) struct RecvHeaders {
    messages: Box<[libc::mmsghdr]>,
    names: Box<[libc::sockaddr_storage]>,
    _vectors: Box<[libc::iovec]>,
    _controls: Box<[Control<CLASS_CONTROL>]>,
    buffers: Box<[u8]>,
    slot: usize,
}

/// Room for the control message about a traffic class.
const CLASS_CONTROL: usize = 32;

impl RecvHeaders {
    /// `slots` buffers of `slot` bytes.
    pub(super) fn new(slots: usize, slot: usize) -> Self {
        let mut buffers = vec![0_u8; slots * slot].into_boxed_slice();
        // SAFETY: all-zero is a valid value of these plain C structs.
        let (mut names, mut vectors, mut messages) = unsafe {
            (
                vec![zeroed::<libc::sockaddr_storage>(); slots].into_boxed_slice(),
                vec![zeroed::<libc::iovec>(); slots].into_boxed_slice(),
                vec![zeroed::<libc::mmsghdr>(); slots].into_boxed_slice(),
            )
        };
        let controls = (0..slots).map(|_| Control([0_u8; CLASS_CONTROL]));
        let mut controls: Box<[_]> = controls.collect();
        for (i, buffer) in buffers.chunks_exact_mut(slot).enumerate() {
            messages[i].msg_hdr.msg_control = controls[i].0.as_mut_ptr().cast();
            vectors[i].iov_base = buffer.as_mut_ptr().cast();
            vectors[i].iov_len = slot;
            messages[i].msg_hdr.msg_name = (&raw mut names[i]).cast();
            messages[i].msg_hdr.msg_iov = &raw mut vectors[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        Self {
            messages,
            names,
            _vectors: vectors,
            _controls: controls,
            buffers,
            slot,
        }
    }

    /// Receives as many datagrams as are there, at most one per slot.
    pub(super) fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        for message in &mut self.messages {
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            message.msg_hdr.msg_controllen = CLASS_CONTROL as _;
        }
        let (pointer, count) = (self.messages.as_mut_ptr(), self.messages.len() as u32);
        // SAFETY: headers, names, vectors, controls and buffers were linked in `new` and are alive.
        let n =
            unsafe { libc::recvmmsg(fd, pointer, count, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
        if n < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(n as usize)
        }
    }

    /// Datagram `i` of the last receive: its source and bytes, or `None` when it did not fit its
    /// slot or came from no internet address.
    pub(super) fn datagram(&self, i: usize) -> Option<(SocketAddr, &[u8])> {
        let message = &self.messages[i];
        let len = message.msg_len as usize;
        if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 || len > self.slot {
            return None;
        }
        let start = i * self.slot;
        Some((
            read_address(&self.names[i])?,
            &self.buffers[start..start + len],
        ))
    }

    /// The traffic class of datagram `i` of the last receive, where [`set_receive_class`] is on.
    pub(super) fn traffic_class(&self, i: usize) -> u8 {
        let message = &raw const self.messages[i].msg_hdr;
        // SAFETY: the kernel wrote `msg_controllen` bytes of well-formed control messages into the
        // slot's buffer; the first one holds a byte on IPv4 and an int on IPv6.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(message);
            match first
                .as_ref()
                .map(|first| (first.cmsg_level, first.cmsg_type))
            {
                Some((libc::IPPROTO_IP, libc::IP_TOS)) => *libc::CMSG_DATA(first),
                Some((libc::IPPROTO_IPV6, libc::IPV6_TCLASS)) => {
                    libc::CMSG_DATA(first).cast::<i32>().read_unaligned() as u8
                }
                _ => 0,
            }
        }
    }
}

impl std::fmt::Debug for RecvHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvHeaders")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// A control message that holds one number.
#[repr(C)]
#[derive(Clone, Copy)]
struct NumberControl {
    header: libc::cmsghdr,
    value: i32,
}

// SAFETY: CMSG_SPACE only calculates.
const _: () = assert!(unsafe { libc::CMSG_SPACE(4) } as usize == size_of::<NumberControl>());

impl NumberControl {
    fn new(level: i32, kind: i32, value: i32) -> Self {
        // SAFETY: all-zero is a valid value of this plain C struct.
        let mut header = unsafe { zeroed::<libc::cmsghdr>() };
        // SAFETY: CMSG_LEN only calculates.
        header.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<i32>() as u32) } as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        Self { header, value }
    }
}

impl Marks {
    /// The control messages of a datagram of that family, and how many there are.
    fn controls(self, ipv4: bool) -> ([NumberControl; 2], usize) {
        let (level, kind) = if ipv4 {
            (libc::IPPROTO_IP, libc::IP_TOS)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
        };
        let class = NumberControl::new(level, kind, self.traffic_class.into());
        let whole = NumberControl::new(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1);
        match (self.traffic_class != 0, self.dont_fragment && !ipv4) {
            (false, false) => ([class, whole], 0),
            (true, false) => ([class, whole], 1),
            (false, true) => ([whole, class], 1),
            (true, true) => ([class, whole], 2),
        }
    }
}

/// Message headers for sendmmsg: each message is a header copied in here, a borrowed payload and
/// padding. Whoever fills it guarantees that payloads live until [`Self::send`] or [`Self::clear`].
pub(super) struct SendHeaders {
    messages: Box<[libc::mmsghdr]>,
    names: Box<[libc::sockaddr_storage]>,
    vectors: Box<[[libc::iovec; 3]]>,
    headers: Box<[[u8; Self::HEADER]]>,
    controls: Box<[[NumberControl; 2]]>,
    len: usize,
}

static PADDING: [u8; 4] = [0; 4];

impl SendHeaders {
    /// Room for a header in front of each payload, in bytes.
    pub(super) const HEADER: usize = 48;

    /// Room for `slots` messages.
    pub(super) fn new(slots: usize) -> Self {
        // SAFETY: all-zero is a valid value of these plain C structs.
        unsafe {
            Self {
                messages: vec![zeroed::<libc::mmsghdr>(); slots].into_boxed_slice(),
                names: vec![zeroed::<libc::sockaddr_storage>(); slots].into_boxed_slice(),
                vectors: vec![zeroed::<[libc::iovec; 3]>(); slots].into_boxed_slice(),
                headers: vec![[0; Self::HEADER]; slots].into_boxed_slice(),
                controls: vec![zeroed::<[NumberControl; 2]>(); slots].into_boxed_slice(),
                len: 0,
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.messages.len()
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends a message. The caller checked [`Self::is_full`].
    pub(super) fn push(&mut self, to: SocketAddr, header: &[u8], payload: &[u8], pad: usize) {
        let i = self.len;
        self.headers[i][..header.len()].copy_from_slice(header);
        let parts = [
            (self.headers[i].as_ptr(), header.len()),
            (payload.as_ptr(), payload.len()),
            (PADDING.as_ptr(), pad.min(PADDING.len())),
        ];
        // Empty parts are left out: most messages need one or two.
        let mut used = 0;
        for (pointer, len) in parts {
            if len > 0 {
                self.vectors[i][used] = libc::iovec {
                    iov_base: pointer.cast_mut().cast(),
                    iov_len: len,
                };
                used += 1;
            }
        }
        let name_len = write_address(&mut self.names[i], to);
        let message = &mut self.messages[i].msg_hdr;
        message.msg_name = (&raw mut self.names[i]).cast();
        message.msg_namelen = name_len;
        message.msg_iov = self.vectors[i].as_mut_ptr();
        message.msg_iovlen = used;
        message.msg_control = std::ptr::null_mut();
        message.msg_controllen = 0;
        self.len += 1;
    }

    /// Marks the message that was appended last.
    pub(super) fn mark_last(&mut self, ipv4: bool, marks: Marks) {
        let (Some(i), (controls, count @ 1..)) = (self.len.checked_sub(1), marks.controls(ipv4))
        else {
            return;
        };
        self.controls[i] = controls;
        let message = &mut self.messages[i].msg_hdr;
        message.msg_control = self.controls[i].as_mut_ptr().cast();
        message.msg_controllen = (count * size_of::<NumberControl>()) as _;
    }

    /// Sends messages `from..to` on one socket and answers how many the kernel took.
    pub(super) fn send(&mut self, fd: RawFd, from: usize, to: usize) -> io::Result<usize> {
        let range = &mut self.messages[from..to];
        let (pointer, count) = (range.as_mut_ptr(), range.len() as u32);
        // SAFETY: `push` linked headers, names and vectors of every message below `len`, and the
        // caller guarantees that the payloads are alive.
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
            .finish_non_exhaustive()
    }
}

fn read_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let pointer = std::ptr::from_ref(storage);
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which struct the kernel wrote, and the storage holds any.
            let v4 = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn write_address(storage: &mut libc::sockaddr_storage, address: SocketAddr) -> u32 {
    let pointer = std::ptr::from_mut(storage);
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: the storage is large and aligned enough for any sockaddr.
            let name = unsafe { &mut *pointer.cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = v4.port().to_be();
            name.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            size_of::<libc::sockaddr_in>() as u32
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let name = unsafe { &mut *pointer.cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = v6.port().to_be();
            name.sin6_flowinfo = 0;
            name.sin6_addr.s6_addr = v6.ip().octets();
            name.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>() as u32
        }
    }
}

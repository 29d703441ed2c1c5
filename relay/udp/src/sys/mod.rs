//! The system calls that no safe crate offers in the shape we need. The only folder with `unsafe`.
#![allow(unsafe_code)]

mod errors;
mod receive;
mod send;

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub use errors::receive_error;
pub(crate) use receive::{Filled, Slots};
pub(crate) use send::SendHeaders;

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

/// The descriptors that whoever started this process left open for it, from number 3 on; they are closed in
/// programs that this one starts. To be called once, before anything else opens descriptors.
pub fn take_passed_descriptors(count: u32) -> Vec<OwnedFd> {
    let numbers = (3..).take(count as usize);
    // SAFETY: fcntl touches no memory, and says whether the number is an open descriptor.
    let is_open =
        |number: &RawFd| unsafe { libc::fcntl(*number, libc::F_SETFD, libc::FD_CLOEXEC) == 0 };
    // SAFETY: it is open, and by sd_listen_fds(3) nobody else's in this process.
    let take = |number| unsafe { OwnedFd::from_raw_fd(number) };
    numbers.take_while(is_open).map(take).collect()
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

/// Gives memory that nothing uses back to the system. The allocator keeps what lies below something
/// that is in use, which after a busy hour is nearly all there was. It holds each of its locks for as
/// long as it looks through what is free: not for every day.
pub fn give_memory_back() {
    // SAFETY: it has no preconditions.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
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

/// Has the kernel tell which local address each datagram was sent to.
///
/// # Errors
/// What setsockopt says.
pub fn set_receive_destination(socket: BorrowedFd<'_>, ipv4: bool) -> io::Result<()> {
    let (level, name) = if ipv4 {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    };
    set_option(socket.as_raw_fd(), level, name, &1_i32)
}

/// Lets the kernel hand over datagrams of one flow that came together as one message
/// (`UDP_GRO`, Linux 5.0). Whoever reads the socket has to take them apart.
///
/// # Errors
/// What setsockopt says; an older kernel does not know the option.
pub fn set_receive_segments(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, &1_i32)
}

/// Sends datagrams without checksums, as no relay does: for tests, since the kernel refuses to take
/// messages apart then.
///
/// # Errors
/// What setsockopt says.
#[cfg(test)]
pub(crate) fn set_no_checksums(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(
        socket.as_raw_fd(),
        libc::SOL_SOCKET,
        libc::SO_NO_CHECK,
        &1_i32,
    )
}

/// A buffer for control messages, aligned as the kernel wants it.
#[repr(align(8))]
struct Control<const N: usize>([u8; N]);

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

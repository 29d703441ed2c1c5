//! Errors that the network reported about datagrams sent before.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::RawFd;

use super::{Control, read_address};
use crate::datagram::{ErrorOrigin, QueuedError};

/// Room for the control messages of one error: its description and who sent it.
const ERROR_CONTROL: usize = 128;

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

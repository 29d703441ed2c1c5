//! Messages with descriptors between two processes of one node.
//!
//! A message is MessagePack behind its length and the number of its descriptors. Descriptors follow, as
//! many at a time as the kernel takes, each lot beside one byte.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Descriptors beside one byte; the kernel takes 253.
const LOT: usize = 200;
/// The longest message: a million sessions with everything that they can have.
const LONGEST: usize = 1 << 30;
/// The most descriptors of one message.
const MOST: usize = 1 << 22;

/// One end of the connection.
#[derive(Debug)]
pub(super) struct Wire(UnixStream);

impl Wire {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self(stream))
    }

    /// How long the other end may take for whatever comes next.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(patience))?;
        self.0.set_write_timeout(Some(patience))
    }

    /// Who is at the other end: its process id and its user.
    pub(super) fn peer(&self) -> io::Result<(u32, u32)> {
        let peer = rustix::net::sockopt::socket_peercred(&self.0)?;
        Ok((
            peer.pid.as_raw_nonzero().get().unsigned_abs(),
            peer.uid.as_raw(),
        ))
    }

    pub(super) fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let body = rmp_serde::to_vec_named(message).map_err(io::Error::other)?;
        let mut head = (body.len() as u64).to_be_bytes().to_vec();
        head.extend_from_slice(&(descriptors.len() as u64).to_be_bytes());
        self.0.write_all(&head)?;
        self.0.write_all(&body)?;
        for lot in descriptors.chunks(LOT) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LOT))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(lot)) {
                return Err(io::Error::other("no room for descriptors"));
            }
            sendmsg(
                &self.0,
                &[IoSlice::new(b"+")],
                &mut control,
                SendFlags::NOSIGNAL,
            )?;
        }
        Ok(())
    }

    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<(T, Vec<OwnedFd>)> {
        let mut head = [0; 16];
        self.0.read_exact(&mut head)?;
        let number = |part: &[u8]| {
            part.iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (length, count) = (number(&head[..8]), number(&head[8..]));
        if length > LONGEST || count > MOST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "no message of relayd",
            ));
        }
        let mut body = Vec::new();
        (&mut self.0).take(length as u64).read_to_end(&mut body)?;
        if body.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let message = rmp_serde::from_slice(&body).map_err(io::Error::other)?;
        let mut descriptors = Vec::with_capacity(count.min(1 << 16));
        while descriptors.len() < count {
            self.take_lot(&mut descriptors)?;
        }
        Ok((message, descriptors))
    }

    fn take_lot(&mut self, descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LOT))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let received = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let before = descriptors.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(lot) = message {
                descriptors.extend(lot);
            }
        }
        match received.bytes {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ if descriptors.len() == before => Err(io::Error::other(
                "descriptors did not arrive: is this process out of them?",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_message_arrives_with_all_of_its_descriptors() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut here, mut there) = (Wire::new(here).unwrap(), Wire::new(there).unwrap());
        let text = "x".repeat(300_000);
        let sent = text.clone();
        let sending = std::thread::spawn(move || {
            let file = tempfile::tempfile().unwrap();
            here.send(&sent, &vec![file.as_fd(); 450]).unwrap();
            here.send(&7_u8, &[]).unwrap();
            here
        });
        let (got, descriptors) = there.receive::<String>().unwrap();
        assert_eq!((got, descriptors.len()), (text, 450));
        assert_eq!(there.receive::<u8>().unwrap().0, 7);
        drop(sending.join().unwrap());
        assert!(there.receive::<u8>().is_err());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let error = Wire::new(there).unwrap().receive::<u8>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

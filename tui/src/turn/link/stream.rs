//! TCP, and TLS on it: messages cut out of a byte stream (RFC 8489 §6.2.2, RFC 8656 §12.5).

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use turn_proto::framing::{Front, MAX_FRAME, front};

/// Room for one read.
const READ: usize = 16_384;

/// A stream of bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// A connection that carries messages one behind the other.
pub struct StreamLink {
    stream: Box<dyn Stream>,
    local: SocketAddr,
    /// What was read and not yet handed out: less than a frame and a read.
    buffer: Vec<u8>,
}

impl fmt::Debug for StreamLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamLink")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl StreamLink {
    /// A TCP connection.
    pub(super) async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(server).await?;
        // An echo measures the relay, not Nagle's patience.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    pub(super) fn new(stream: impl Stream + 'static, local: SocketAddr) -> Self {
        Self {
            stream: Box::new(stream),
            local,
            buffer: Vec::with_capacity(READ),
        }
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(message).await?;
        // STUN messages are padded by themselves; ChannelData must be, here (RFC 8656 §12.5).
        let padding = message.len().next_multiple_of(4) - message.len();
        self.stream.write_all(&[0; 3][..padding]).await?;
        self.stream.flush().await
    }

    pub(super) async fn recv(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match front(&self.buffer, MAX_FRAME) {
                Ok(Front::Frame { message, consumed }) => {
                    let message = message.to_vec();
                    self.buffer.drain(..consumed);
                    return Ok(message);
                }
                Ok(Front::Incomplete) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            self.buffer.reserve(READ);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                let what = "the server closed the connection";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
        }
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }
}

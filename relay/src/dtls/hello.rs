//! ClientHello as the cookie exchange reads it: without state, without allocation, from one datagram.

/// Bytes of a DTLS plaintext record header (RFC 6347 §4.1).
pub(super) const RECORD_HEADER: usize = 13;
/// Bytes of a DTLS handshake header (RFC 6347 §4.2.2).
pub(super) const HANDSHAKE_HEADER: usize = 12;
/// ContentType handshake.
pub(super) const HANDSHAKE: u8 = 22;
/// HandshakeType client_hello.
const CLIENT_HELLO: u8 = 1;
/// DTLS 1.2 on the wire; DTLS 1.3 says so too, for old middleboxes.
pub(super) const DTLS_1_2: u16 = 0xfefd;
/// DTLS 1.3, in supported_versions only.
pub(super) const DTLS_1_3: u16 = 0xfefc;
/// Bytes of the random of a hello.
const RANDOM: usize = 32;
/// Extensions looked at in one hello; real ones have fewer than twenty.
const MAX_EXTENSIONS: usize = 64;
/// The longest host name (RFC 1035 §2.3.4).
const MAX_HOST_NAME: usize = 253;

/// Numbers of extensions.
mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const SUPPORTED_GROUPS: u16 = 10;
    pub(super) const PADDING: u16 = 21;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
    pub(super) const COOKIE: u16 = 44;
    pub(super) const KEY_SHARE: u16 = 51;
}

/// What a client changed in its second hello of DTLS 1.3 besides adding the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// The key share that it was asked for; it had brought none.
    ShareAdded,
    /// The padding, by as much as the cookie takes, so that both hellos are of one size.
    PaddingCut,
}

impl Change {
    pub(super) const ALL: [Self; 3] = [Self::Nothing, Self::ShareAdded, Self::PaddingCut];
}

/// An unfragmented ClientHello in the first record of a datagram.
///
/// A fragmented one is not recognised: without state it cannot be put together, and its sender has
/// not shown yet that it is where it says (RFC 9147 §5.1 leaves that to the server).
#[derive(Debug)]
pub(super) struct ClientHello<'a> {
    /// The handshake message behind its header.
    body: &'a [u8],
    /// legacy_version.
    pub(super) version: u16,
    pub(super) random: &'a [u8; RANDOM],
    /// Where the cookie of DTLS 1.2 stands in the body, without its length.
    cookie_1_2: std::ops::Range<usize>,
    /// Where cipher suites and compression methods stand, with their lengths.
    parameters: std::ops::Range<usize>,
    /// Where the extensions stand, without the length of all.
    extensions: std::ops::Range<usize>,
    pub(super) suites: &'a [u8],
    pub(super) groups: &'a [u8],
    pub(super) key_shares: &'a [u8],
    /// Whether DTLS 1.3 is among the versions offered.
    pub(super) offers_1_3: bool,
    cookie_1_3: &'a [u8],
    server_name: Option<&'a [u8]>,
}

/// Whether a datagram begins with a plaintext ClientHello, whole or not, well-formed or not.
pub fn begins_hello(datagram: &[u8]) -> bool {
    datagram.len() > RECORD_HEADER
        && datagram[0] == HANDSHAKE
        && datagram[3..5] == [0, 0]
        && datagram[RECORD_HEADER] == CLIENT_HELLO
}

impl<'a> ClientHello<'a> {
    /// Reads the hello of a datagram; `None` when there is none that is whole and well-formed.
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        if !begins_hello(datagram) || datagram[1] != 0xfe {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([datagram[11], datagram[12]]));
        let record = datagram.get(RECORD_HEADER..RECORD_HEADER + length)?;
        let (header, body) = record.split_at_checked(HANDSHAKE_HEADER)?;
        let total = u24(&header[1..4]);
        if u24(&header[6..9]) != 0 || u24(&header[9..12]) != total || body.len() != total {
            return None;
        }
        Self::parse_body(body)
    }

    fn parse_body(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader { body, at: 0 };
        let version = reader.u16()?;
        let random = reader.take(RANDOM)?.first_chunk()?;
        // The session id.
        reader.short_vector()?;
        let cookie = reader.short_vector()?;
        let (cookie_start, cookie_end) = (reader.at - cookie.len(), reader.at);
        let suites = reader.long_vector()?;
        reader.short_vector()?;
        let parameters = cookie_end..reader.at;
        let mut hello = Self {
            body,
            version,
            random,
            cookie_1_2: cookie_start..cookie_end,
            parameters,
            extensions: body.len()..body.len(),
            suites,
            groups: &[],
            key_shares: &[],
            offers_1_3: false,
            cookie_1_3: &[],
            server_name: None,
        };
        if reader.at == body.len() {
            return Some(hello);
        }
        let start = reader.at + 2;
        reader.long_vector()?;
        hello.extensions = start..reader.at;
        if reader.at != body.len() {
            return None;
        }
        hello.read_extensions()?;
        Some(hello)
    }

    fn read_extensions(&mut self) -> Option<()> {
        let mut count = 0;
        for extension in (Extensions { rest: self.list() }) {
            let (kind, data) = extension?;
            count += 1;
            if count > MAX_EXTENSIONS {
                return None;
            }
            match kind {
                extension::SERVER_NAME => self.server_name = host_name(data),
                extension::SUPPORTED_GROUPS => self.groups = data.get(2..)?,
                extension::KEY_SHARE => self.key_shares = data.get(2..)?,
                extension::COOKIE => self.cookie_1_3 = data.get(2..)?,
                extension::SUPPORTED_VERSIONS => {
                    let versions = data.get(1..)?.chunks_exact(2);
                    self.offers_1_3 = versions.into_iter().any(|v| v == DTLS_1_3.to_be_bytes());
                }
                _ => {}
            }
        }
        Some(())
    }

    fn list(&self) -> &'a [u8] {
        &self.body[self.extensions.clone()]
    }

    /// The cookie that came back; empty in a first hello.
    pub(super) fn cookie(&self) -> &'a [u8] {
        if self.offers_1_3 && !self.cookie_1_3.is_empty() {
            self.cookie_1_3
        } else {
            &self.body[self.cookie_1_2.clone()]
        }
    }

    /// What must not change between the two hellos of DTLS 1.2 (RFC 6347 §4.2.1): version, random,
    /// session id; cipher suites, compression methods.
    pub(super) fn fixed_parameters(&self) -> [&'a [u8]; 2] {
        let before = &self.body[..self.cookie_1_2.start - 1];
        [before, &self.body[self.parameters.clone()]]
    }

    /// The host that the client asks for (SNI, RFC 6066 §3), in lower case.
    pub(super) fn server_name(&self) -> Option<Box<str>> {
        let name = std::str::from_utf8(self.server_name?).ok()?;
        Some(name.to_ascii_lowercase().into_boxed_str())
    }

    /// The first datagram that this hello's sender must have sent, as the engine wants to have seen
    /// it: DTLS 1.2, where only its random matters.
    pub(super) fn first_of_1_2(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.body.len());
        body.extend_from_slice(&self.body[..self.cookie_1_2.start - 1]);
        body.push(0);
        body.extend_from_slice(&self.body[self.cookie_1_2.end..]);
        datagram(&body)
    }

    /// The first hello of DTLS 1.3 that this second one can have followed: the same but for what
    /// RFC 8446 §4.1.2 lets change.
    pub(super) fn first_of_1_3(&self, change: Change) -> Vec<u8> {
        let extensions = || Extensions { rest: self.list() }.flatten();
        let is_cookie = |(kind, _): &(u16, &[u8])| *kind == extension::COOKIE;
        let cookie = extensions()
            .find(is_cookie)
            .map_or(0, |(_, data)| 4 + data.len());
        let mut list = Vec::with_capacity(self.extensions.len());
        for (kind, data) in extensions() {
            let (data, padding): (&[u8], usize) = match (kind, change) {
                (extension::COOKIE, _) => continue,
                (extension::KEY_SHARE, Change::ShareAdded) => (&[0, 0], 0),
                (extension::PADDING, Change::PaddingCut) => (data, cookie),
                _ => (data, 0),
            };
            let Ok(length) = u16::try_from(data.len() + padding) else {
                continue;
            };
            list.extend_from_slice(&kind.to_be_bytes());
            list.extend_from_slice(&length.to_be_bytes());
            list.extend_from_slice(data);
            list.resize(list.len() + padding, 0);
        }
        let mut body = self.body[..self.extensions.start - 2].to_vec();
        body.extend_from_slice(&(list.len() as u16).to_be_bytes());
        body.extend_from_slice(&list);
        datagram(&body)
    }

    /// The message without its header.
    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// A ClientHello as the first message of a client.
fn datagram(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_HEADER + HANDSHAKE_HEADER + body.len());
    write_message(&mut out, CLIENT_HELLO, body);
    out
}

/// Writes a record with one handshake message, the first of its sender.
pub(super) fn write_message(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let length = &(body.len() as u32).to_be_bytes()[1..];
    out.push(HANDSHAKE);
    out.extend_from_slice(&DTLS_1_2.to_be_bytes());
    // Epoch and sequence number.
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&((HANDSHAKE_HEADER + body.len()) as u16).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(length);
    // Message number and fragment offset.
    out.extend_from_slice(&[0; 5]);
    out.extend_from_slice(length);
    out.extend_from_slice(body);
}

fn u24(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// The host name of a server_name extension; none that cannot be one.
fn host_name(data: &[u8]) -> Option<&[u8]> {
    let entry = data.get(2..)?;
    let (&[kind, high, low], name) = entry.split_first_chunk()?;
    let name = name.get(..usize::from(u16::from_be_bytes([high, low])))?;
    (kind == 0 && !name.is_empty() && name.len() <= MAX_HOST_NAME).then_some(name)
}

/// The extensions of a hello; `None` for one that ends too early, and then no more.
struct Extensions<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Option<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let found = split_extension(self.rest);
        self.rest = found.map_or(&[], |(_, _, rest)| rest);
        Some(found.map(|(kind, data, _)| (kind, data)))
    }
}

fn split_extension(list: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, rest) = list.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (data, rest) = rest.split_at_checked(length)?;
    Some((u16::from_be_bytes([head[0], head[1]]), data, rest))
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let bytes = self.body.get(self.at..self.at + length)?;
        self.at += length;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    /// A vector with one byte of length.
    fn short_vector(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(*self.take(1)?.first()?);
        self.take(length)
    }

    /// A vector with two bytes of length.
    fn long_vector(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }
}

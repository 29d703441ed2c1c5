//! Datagrams that no client sends: noise, and sound messages with something broken.

use kit::client::fresh_id;
use turn_proto::stun::{AttributeType, Class, MessageBuilder, Method};

/// An endless supply.
pub(crate) struct Datagrams {
    templates: Vec<Vec<u8>>,
    state: u64,
    buffer: Vec<u8>,
}

impl Datagrams {
    /// From a fresh seed, which is printed for a second run.
    pub(crate) fn seeded() -> Self {
        let state = std::env::var("FLOOD_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let state = state.unwrap_or_else(|| rand::random::<u64>() | 1);
        #[expect(clippy::print_stdout, reason = "shown when the test fails")]
        {
            println!("FLOOD_SEED={state}");
        }
        Self {
            templates: templates(),
            state,
            buffer: Vec::with_capacity(2048),
        }
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.buffer.clear();
        if self.random().is_multiple_of(4) {
            let len = self.random() % 600;
            for _ in 0..len {
                let byte = self.byte();
                self.buffer.push(byte);
            }
            return &self.buffer;
        }
        let index = self.choice(self.templates.len());
        self.buffer.extend_from_slice(&self.templates[index]);
        self.mutate();
        &self.buffer
    }

    /// One of so many.
    pub(crate) fn choice(&mut self, of: usize) -> usize {
        usize::try_from(self.random() >> 1).unwrap_or(0) % of
    }

    fn mutate(&mut self) {
        let kind = self.random() % 5;
        let at = self.choice(self.buffer.len());
        match kind {
            0 => self.buffer.truncate(at),
            1 => self.buffer[at] = self.byte(),
            2 => self.buffer[at] ^= 1 << (self.random() % 8),
            3 => {
                // Another transaction each time, so that nothing is a retransmission.
                for index in 8..self.buffer.len().min(20) {
                    self.buffer[index] = self.byte();
                }
            }
            _ => {
                let extra = self.random() % 700;
                for _ in 0..extra {
                    let byte = self.byte();
                    self.buffer.push(byte);
                }
            }
        }
    }

    fn byte(&mut self) -> u8 {
        self.random().to_le_bytes()[3]
    }

    /// xorshift64*: fast, and good enough to be varied.
    fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

fn templates() -> Vec<Vec<u8>> {
    let credentials = |message: MessageBuilder| {
        message
            .attribute(AttributeType::USERNAME, b"alice")
            .attribute(AttributeType::REALM, b"north.gov")
            .attribute(AttributeType::NONCE, b"0123456789abcdef0123456789abcdef")
            .integrity(&[7; 16])
    };
    let transport =
        |message: MessageBuilder| message.number(AttributeType::REQUESTED_TRANSPORT, 17 << 24);
    let peer = |message: MessageBuilder| {
        let address = "127.0.0.1:9".parse().expect("a literal address");
        message.xor_address(AttributeType::XOR_PEER_ADDRESS, address)
    };
    let request = |method| MessageBuilder::request(method, fresh_id());
    let mut channel_data = vec![0x40, 0x00, 0x00, 0xa0];
    channel_data.resize(164, 0x5a);
    let indication = MessageBuilder::new(Class::Indication, Method::Send, fresh_id());
    vec![
        request(Method::Binding).finish(),
        request(Method::Binding).fingerprint().finish(),
        transport(request(Method::Allocate)).finish(),
        credentials(transport(request(Method::Allocate))).finish(),
        credentials(transport(request(Method::Allocate)))
            .fingerprint()
            .finish(),
        credentials(request(Method::Refresh).number(AttributeType::LIFETIME, 0)).finish(),
        credentials(peer(request(Method::CreatePermission))).finish(),
        credentials(peer(request(Method::ChannelBind))).finish(),
        peer(indication)
            .attribute(AttributeType::DATA, &[1; 300])
            .finish(),
        channel_data,
    ]
}

//! Server-sent events, as far as the event tail uses them (WHATWG HTML, "Server-sent events").

use shared::api::EventView;

use super::ClientError;

/// The longest line or event; a longer one is an error, not a growing buffer.
const MAX_EVENT: usize = 1 << 20;

/// Cuts a byte stream into events.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    after_return: bool,
}

impl Decoder {
    /// Takes the next bytes and returns the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<EventView>, ClientError> {
        let mut events = Vec::new();
        for &byte in bytes {
            let follows_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if follows_return => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()?),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > MAX_EVENT {
                return Err(ClientError::Protocol(
                    "an event is longer than 1 MiB".to_owned(),
                ));
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Result<Option<EventView>, ClientError> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            if !std::mem::take(&mut self.has_data) {
                return Ok(None);
            }
            return serde_json::from_str(&data)
                .map(Some)
                .map_err(|e| ClientError::Protocol(format!("an event: {e}")));
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        if field == "data" {
            if self.has_data {
                self.data.push('\n');
            }
            self.has_data = true;
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"id":"7","at_ms":1,"node":"fra1","severity":"info","kind":"from-the-future","text":"x"}"#;

    #[test]
    fn events_survive_any_cut_and_line_ending() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(
                ": hello{end}{end}id: 7{end}event: e{end}data: {EVENT}{end}{end}retry: 5{end}{end}"
            );
            for cut in 0..text.len() {
                let mut decoder = Decoder::default();
                let mut events = decoder.push(&text.as_bytes()[..cut]).unwrap();
                events.extend(decoder.push(&text.as_bytes()[cut..]).unwrap());
                assert_eq!(events.len(), 1, "{end:?} {cut}");
                assert_eq!(events[0].id, "7");
            }
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut decoder = Decoder::default();
        let result = (0..2000).try_for_each(|_| decoder.push(&[b'x'; 1024]).map(|_| ()));
        assert!(matches!(result, Err(ClientError::Protocol(_))));
    }

    #[test]
    fn a_broken_event_is_a_protocol_error() {
        assert!(matches!(
            Decoder::default().push(b"data: {\n\n"),
            Err(ClientError::Protocol(_))
        ));
    }
}

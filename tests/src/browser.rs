//! Headless Chromium, driven through Debian's `chromedriver` (the W3C WebDriver protocol).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::address::free_port;
use crate::program::{self, Sinks, spawn};
use crate::wait::wait_for;

/// How long the driver may take to start, and the browser to open or close.
const START: Duration = Duration::from_secs(60);
/// How long a script may run.
const SCRIPT: Duration = Duration::from_secs(90);

/// Flags of every browser: no sandbox (tests run as root in containers), no calls home, WebRTC on
/// loopback, and certificates that nobody signed.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--allow-loopback-in-peer-connection",
    "--ignore-certificate-errors",
];

/// A browser with one empty page. Dropping it ends browser and driver.
#[derive(Debug)]
pub struct Browser {
    address: SocketAddr,
    session: String,
    driver: Child,
    /// Its profile, gone with it.
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts the driver and a browser.
    ///
    /// # Panics
    /// When either is not installed or does not start: the message says which package brings it.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with more flags of Chromium.
    ///
    /// # Panics
    /// As [`Browser::start`].
    #[must_use]
    pub fn start_with(more: &[&str]) -> Self {
        let address = free_port(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let profile = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port()));
        let log = profile.path().join("chromedriver.log");
        let driver = spawn("chromium-driver", command, &Sinks::File(&log));
        let mut browser = Self {
            address,
            session: String::new(),
            driver,
            _profile: profile,
        };
        wait_for("chromedriver", START, || {
            let status = browser.call("GET", "/status", None)?;
            status["ready"].as_bool().filter(|ready| *ready)
        });
        let user_data = browser._profile.path().join("profile");
        let all = FLAGS.iter().chain(more);
        let mut flags: Vec<String> = all.map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--user-data-dir={}", user_data.display()));
        let options = json!({ "binary": "/usr/bin/chromium", "args": flags });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "timeouts": { "script": SCRIPT.as_millis() as u64 },
        } } });
        let opened = browser.must("POST", "/session", &wanted);
        let session = opened["sessionId"].as_str();
        session
            .unwrap_or_else(|| panic!("chromium (Debian's `chromium`): {opened}"))
            .clone_into(&mut browser.session);
        browser
    }

    /// Runs a script of the page; it answers by calling its last argument.
    ///
    /// # Panics
    /// When it throws or does not answer in time.
    #[must_use]
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        let path = format!("/session/{}/execute/async", self.session);
        self.must(
            "POST",
            &path,
            &json!({ "script": script, "args": arguments }),
        )
    }

    /// Goes to `url` and waits until it is loaded.
    ///
    /// # Panics
    /// When there is nothing.
    pub fn open(&self, url: &str) {
        let path = format!("/session/{}/url", self.session);
        self.must("POST", &path, &json!({ "url": url }));
    }

    /// Clicks, as a person does, on the element that the CSS selector finds.
    ///
    /// # Panics
    /// When it is not there, or something covers it.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.must("POST", &format!("{element}/click"), &json!({}));
    }

    /// Types `text` into the element that the CSS selector finds.
    ///
    /// # Panics
    /// When it is not there, or takes no text.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.must(
            "POST",
            &format!("{element}/value"),
            &json!({ "text": text }),
        );
    }

    /// What is to be read in the element that the CSS selector finds.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn text_of(&self, selector: &str) -> String {
        let element = self.element(selector);
        let text = self.call("GET", &format!("{element}/text"), None);
        let text = text.as_ref().and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no text in {selector}"))
            .to_owned()
    }

    /// The page as it looks, as a PNG.
    ///
    /// # Panics
    /// When the driver does not answer.
    #[must_use]
    pub fn screenshot(&self) -> Vec<u8> {
        let path = format!("/session/{}/screenshot", self.session);
        let picture = self.call("GET", &path, None).unwrap_or_default();
        let picture = picture.as_str().and_then(|text| BASE64.decode(text).ok());
        picture.expect("a picture")
    }

    /// The path of an element.
    fn element(&self, selector: &str) -> String {
        let path = format!("/session/{}/element", self.session);
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.must("POST", &path, &wanted);
        let id = found.as_object().and_then(|found| found.values().next());
        let id = id.and_then(Value::as_str);
        let id = id.unwrap_or_else(|| panic!("{selector}: {found}"));
        format!("{path}/{id}")
    }

    #[track_caller]
    fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, Some(body));
        let answer = answer.unwrap_or_else(|| panic!("chromedriver does not answer {path}"));
        assert!(answer.get("error").is_none(), "{path}: {answer}");
        answer
    }

    /// One call; its `value`, errors included. `None`: nobody answers.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let mut stream = TcpStream::connect_timeout(&self.address, START).ok()?;
        stream.set_read_timeout(Some(SCRIPT + START)).ok()?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let (host, length) = (self.address, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer: Value = serde_json::from_slice(&body_of(stream)?).ok()?;
        Some(answer["value"].take())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let path = format!("/session/{}", self.session);
            let _ = self.call("DELETE", &path, None);
        }
        program::signal(&self.driver, "TERM");
        if program::ended(&mut self.driver, START).is_none() {
            let _ = self.driver.kill();
            let _ = self.driver.wait();
        }
    }
}

/// The body of an answer; the driver leaves connections open, so its length is to be believed.
fn body_of(stream: TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim_end().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

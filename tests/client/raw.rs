//! A server that says whatever a test wants, and remembers every byte that it hears.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// It listens until the process ends: its threads hold nothing that anyone waits for.
pub(super) struct Raw {
    pub(super) base_url: String,
    heard: Heard,
}

type Heard = Arc<Mutex<Vec<String>>>;

impl Raw {
    /// Every connection is `speak`'s, each on a thread of its own; it is closed when `speak` is done.
    pub(super) fn new(speak: impl Fn(&mut Line) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Heard::default();
        let (ears, speak) = (heard.clone(), Arc::new(speak));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (speak, heard) = (speak.clone(), ears.clone());
                let mut line = Line {
                    stream: stream.unwrap(),
                    heard,
                };
                std::thread::spawn(move || speak(&mut line));
            }
        });
        Self { base_url, heard }
    }

    /// Says the same to every request.
    pub(super) fn saying(answer: String) -> Self {
        Self::new(move |line| {
            while line.hear().is_some() {
                line.say(&answer);
            }
        })
    }

    /// Host and port.
    pub(super) fn authority(&self) -> &str {
        self.base_url.strip_prefix("http://").unwrap()
    }

    /// Every request so far, head and body.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// How many requests so far begin with this method.
    pub(super) fn heard_of(&self, method: &str) -> usize {
        let heard = self.heard();
        heard
            .iter()
            .filter(|request| request.starts_with(method))
            .count()
    }
}

/// One connection.
pub(super) struct Line {
    stream: TcpStream,
    heard: Heard,
}

impl Line {
    /// The next whole request; none if the client hung up.
    pub(super) fn hear(&mut self) -> Option<String> {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            if !matches!(self.stream.read(&mut byte), Ok(1)) {
                return None;
            }
            request.push(byte[0]);
        }
        let head = String::from_utf8(request).unwrap();
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        let request = head + &String::from_utf8(body).unwrap();
        self.heard.lock().unwrap().push(request.clone());
        Some(request)
    }

    /// Whether the client still listened.
    pub(super) fn say(&mut self, text: &str) -> bool {
        self.stream.write_all(text.as_bytes()).is_ok()
    }

    /// Hangs up now.
    pub(super) fn close(&mut self) {
        self.stream.shutdown(Shutdown::Both).unwrap();
    }
}

/// A whole answer in JSON.
pub(super) fn json(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// The value of a header that is there once.
pub(super) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    let mut values = head.lines().skip(1).filter_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    });
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}

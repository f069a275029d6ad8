//! Just enough of HTTP/1.1 to know the status of an answer and where it ends.

/// The beginning of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Where the body begins.
    pub(crate) body_at: usize,
    /// `None` when it comes in chunks.
    length: Option<usize>,
}

impl Head {
    /// Reads it, once it is complete.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = &bytes[..end];
        let status = std::str::from_utf8(&head[9..12]).unwrap().parse().expect("a status");
        let length = if status == 304 { Some(0) } else { header(head, "content-length").map(number) };
        Some(Self { status, body_at: end + 4, length })
    }

    /// Whether these bytes hold all of the answer.
    pub(crate) fn is_complete(&self, bytes: &[u8]) -> bool {
        match self.length {
            Some(length) => bytes.len() >= self.body_at + length,
            None => bytes[self.body_at..].ends_with(b"0\r\n\r\n"),
        }
    }

    /// The body of a complete answer.
    pub(crate) fn body(&self, bytes: &[u8]) -> Vec<u8> {
        let mut rest = &bytes[self.body_at..];
        if self.length.is_some() {
            return rest.to_vec();
        }
        let mut body = Vec::new();
        loop {
            let line = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk");
            let size = std::str::from_utf8(&rest[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&rest[line + 2..line + 2 + size]);
            rest = &rest[line + 2 + size + 2..];
        }
    }
}

/// A header's value.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (given, value) = line.split_at_checked(name.len())?;
        let value = given.eq_ignore_ascii_case(name.as_bytes()).then(|| value.strip_prefix(b":"))??;
        std::str::from_utf8(value).ok().map(str::trim)
    })
}

fn number(text: &str) -> usize {
    text.parse().expect("a length")
}

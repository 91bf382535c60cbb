//! A walk over JSON that allocates nothing: it finds fields and skips the rest. It does not check that what it skips is JSON; a caller that
//! gets `None` knows that it is none.

/// A place in a text that should be JSON.
pub(in crate::protocol) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A value, unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Value<'a> {
    /// A string, without its quotes and with its escapes.
    Text(&'a [u8]),
    /// An object, braces included.
    Object(&'a [u8]),
    /// A list, brackets included.
    List(&'a [u8]),
    /// A number, `true`, `false` or `null`.
    Word(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(in crate::protocol) fn is_null(self) -> bool {
        self == Value::Word(b"null")
    }

    /// Whether it is null, or has nothing in it.
    pub(in crate::protocol) fn says_nothing(self) -> bool {
        match self {
            Value::Text(text) => text.is_empty(),
            Value::Object(inner) | Value::List(inner) => inner[1..inner.len() - 1].trim_ascii().is_empty(),
            Value::Word(word) => word == b"null",
        }
    }

    /// Bytes of what was said: of a string, or of the texts and arguments anywhere in an object or list.
    pub(in crate::protocol) fn text_bytes(self) -> u64 {
        match self {
            Value::Text(text) => unescaped(text),
            Value::Object(inner) | Value::List(inner) => text_within(inner),
            Value::Word(_) => 0,
        }
    }
}

impl<'a> Scan<'a> {
    pub(in crate::protocol) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Whether the next value begins with this byte.
    pub(in crate::protocol) fn is_at(&mut self, byte: u8) -> bool {
        self.peek() == Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.is_at(byte).then(|| self.at += 1)
    }

    /// Walks over an object; `field` must take or skip the value of the key it is given.
    pub(in crate::protocol) fn object(&mut self, mut field: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.expect(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.text()?;
            self.expect(b':')?;
            field(self, key)?;
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
        }
    }

    /// Walks over a list; `element` must take or skip the value at hand.
    pub(in crate::protocol) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.expect(b']').is_some() {
            return Some(());
        }
        loop {
            element(self)?;
            if self.expect(b',').is_none() {
                return self.expect(b']');
            }
        }
    }

    /// Takes a string.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        self.at = end_of_text(self.bytes, start)?;
        Some(&self.bytes[start..self.at - 1])
    }

    /// Takes the next value.
    pub(in crate::protocol) fn value(&mut self) -> Option<Value<'a>> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.text().map(Value::Text),
            b'{' | b'[' => {
                self.nested()?;
                let inner = &self.bytes[start..self.at];
                Some(if first == b'{' { Value::Object(inner) } else { Value::List(inner) })
            }
            _ => {
                let rest = &self.bytes[start..];
                let length = rest
                    .iter()
                    .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
                self.at = start + length.unwrap_or(rest.len());
                (self.at > start).then(|| Value::Word(&self.bytes[start..self.at]))
            }
        }
    }

    /// Takes the next value as it stands.
    pub(in crate::protocol) fn raw(&mut self) -> Option<&'a [u8]> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        self.bytes.get(start..self.at)
    }

    /// Skips the next value.
    pub(in crate::protocol) fn skip(&mut self) -> Option<()> {
        self.value().map(|_| ())
    }

    /// Skips an object or list, however deep.
    fn nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => self.at = end_of_text(self.bytes, self.at)?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ => {}
            }
        }
    }
}

/// The place after the quote that ends a string which begins at `at`.
pub(in crate::protocol) fn end_of_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = quote_or_escape(bytes, at)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The next quote or backslash, looked for in eight bytes at a time.
pub(in crate::protocol) fn quote_or_escape(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(eight) = bytes.get(at..)?.first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let found = places_of(b'"', word) | places_of(b'\\', word);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(at + rest)
}

/// Marks the places of `byte` in a word by their highest bits. The lowest mark is right; those above it may be wrong.
fn places_of(byte: u8, word: u64) -> u64 {
    const LOWEST: u64 = u64::MAX / 255;
    let zeros = word ^ (LOWEST * u64::from(byte));
    zeros.wrapping_sub(LOWEST) & !zeros & (LOWEST << 7)
}

/// How many bytes a string has without its escapes.
fn unescaped(text: &[u8]) -> u64 {
    let (mut bytes, mut at) = (0, 0);
    while let Some(plain) = text.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        let (skipped, length) = match text.get(at + plain + 1) {
            Some(b'u') => (6, length_of(text.get(at + plain + 2..at + plain + 6))),
            _ => (2, 1),
        };
        bytes += plain + length;
        at += plain + skipped;
    }
    (bytes + text.len().saturating_sub(at)) as u64
}

/// How many bytes the character with these four digits has in UTF-8; of a surrogate, half of the pair's.
fn length_of(digits: Option<&[u8]>) -> usize {
    match digits {
        Some([b'0', b'0', b'0'..=b'7', _]) => 1,
        Some([b'0', b'0'..=b'7', _, _]) => 2,
        Some([b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F', _, _]) => 2,
        _ => 3,
    }
}

/// Bytes of the texts that an object or list has under the names that texts and arguments have.
fn text_within(nested: &[u8]) -> u64 {
    let (mut bytes, mut at, mut is_wanted) = (0, 0, false);
    while let Some(found) = nested.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'"')) {
        let start = at + found + 1;
        let Some(end) = end_of_text(nested, start) else { break };
        let text = &nested[start..end - 1];
        if nested[end..].trim_ascii_start().starts_with(b":") {
            is_wanted = matches!(text, b"text" | b"arguments" | b"name");
        } else if std::mem::take(&mut is_wanted) {
            bytes += unescaped(text);
        }
        at = end;
    }
    bytes
}

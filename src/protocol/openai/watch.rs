//! Looking on while a stream of chat completions or completions passes: called for every event of every stream, so it allocates nothing and
//! reads each byte once.

use super::report::Report;
use crate::protocol::scan::{Scan, Value};
use crate::protocol::usage::{Terms, Tokens};
use crate::protocol::watch::{Piece, unread};

/// Looks at the events of one stream of chat completions or completions, of OpenAI or whoever imitates it.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    report: Report,
    terms: Terms,
    text_bytes: u64,
    choices: Choices,
}

/// Which answers of a stream have begun, and which said why they ended: a bit for each.
#[derive(Clone, Copy, Debug, Default)]
struct Choices {
    begun: u64,
    ended: u64,
}

impl Choices {
    fn note(&mut self, index: u32, has_ended: bool) {
        match 1_u64.checked_shl(index) {
            Some(bit) => {
                self.begun |= bit;
                self.ended |= if has_ended { bit } else { 0 };
            }
            // More than anybody asks for: these are whole with the mark of the end only.
            None => self.begun = u64::MAX,
        }
    }

    fn have_ended(self) -> bool {
        self.begun != 0 && self.begun == self.ended
    }
}

impl crate::protocol::Watch for Watch {
    fn look(&mut self, data: &[u8]) -> Piece {
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            return if self.choices.begun == 0 { Piece::Garbled } else { Piece::Done };
        }
        let mut seen = Seen {
            choices: self.choices,
            ..Seen::default()
        };
        let Some(()) = seen.read_chunk(data) else {
            return unread(data);
        };
        self.choices = seen.choices;
        self.text_bytes = self.text_bytes.saturating_add(seen.text_bytes);
        self.terms = self.terms.and(seen.terms);
        if let Some(usage) = seen.usage
            && let Ok(report) = serde_json::from_slice::<Report>(usage)
        {
            self.report.update(&report);
        }
        seen.piece()
    }

    fn tokens(&self) -> Option<Tokens> {
        let terms = self.terms;
        self.report.tokens().map(|tokens| Tokens { terms, ..tokens })
    }

    fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    fn missing_end(&self) -> Option<&'static [u8]> {
        self.choices.have_ended().then_some(b"data: [DONE]\n\n")
    }
}

/// What one chunk has.
#[derive(Default)]
struct Seen<'a> {
    /// The role of who speaks.
    has_role: bool,
    /// Something that a person would see, or the end of an answer.
    has_content: bool,
    has_failed: bool,
    usage: Option<&'a [u8]>,
    terms: Terms,
    text_bytes: u64,
    choices: Choices,
}

impl<'a> Seen<'a> {
    fn piece(&self) -> Piece {
        match self {
            Seen { has_failed: true, .. } => Piece::Failed,
            Seen { has_content: true, .. } => Piece::Content,
            Seen {
                has_role: false,
                usage: Some(_),
                ..
            } => Piece::Usage,
            // The first event of Azure has no answers, and others have pings.
            _ => Piece::Opening,
        }
    }

    /// `None` when it is no chunk.
    fn read_chunk(&mut self, data: &'a [u8]) -> Option<()> {
        let mut scan = Scan::new(data);
        scan.object(|scan, key| {
            match key {
                b"choices" if scan.is_at(b'[') => {
                    scan.list(|scan| self.read_choice(scan))?;
                }
                b"usage" => {
                    if let Value::Object(usage) = scan.value()? {
                        self.usage = Some(usage);
                    }
                }
                b"service_tier" => {
                    if let Value::Text(tier) = scan.value()? {
                        self.terms = Terms::of_tier(tier);
                    }
                }
                b"error" => self.has_failed |= !scan.value()?.is_null(),
                _ => scan.skip()?,
            }
            Some(())
        })
    }

    fn read_choice(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        if !scan.is_at(b'{') {
            return scan.skip();
        }
        let (mut index, mut has_ended) = (Some(0), false);
        scan.object(|scan, key| {
            match key {
                b"index" => {
                    if let Value::Word(word) = scan.value()? {
                        index = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
                    }
                }
                b"delta" if scan.is_at(b'{') => return self.read_delta(scan),
                b"text" => self.read_part(scan.value()?),
                b"finish_reason" => match scan.value()? {
                    Value::Text(b"abort" | b"error" | b"insufficient_system_resource") => self.has_failed = true,
                    value => {
                        // Some servers write an empty one until there is one.
                        has_ended = !value.says_nothing();
                        self.has_content |= has_ended;
                    }
                },
                _ => scan.skip()?,
            }
            Some(())
        })?;
        self.choices.note(index.unwrap_or(u32::MAX), has_ended);
        Some(())
    }

    fn read_delta(&mut self, scan: &mut Scan<'a>) -> Option<()> {
        // Some servers send the same thoughts under both names.
        let mut thoughts = 0;
        scan.object(|scan, key| {
            let value = scan.value()?;
            match key {
                b"role" => self.has_role |= !value.is_null(),
                b"reasoning" | b"reasoning_content" => {
                    self.has_content |= !value.says_nothing();
                    thoughts = thoughts.max(value.text_bytes());
                }
                _ => self.read_part(value),
            }
            Some(())
        })?;
        self.text_bytes += thoughts;
        Some(())
    }

    fn read_part(&mut self, value: Value<'_>) {
        self.has_content |= !value.says_nothing();
        self.text_bytes += value.text_bytes();
    }
}

#[cfg(test)]
mod tests;

//! Where the body of an answer ends, and its bytes without chunks (RFC 9112, section 7.1). Pure; copies only to close the gaps between
//! chunks that came together.

use bytes::{Buf, Bytes, BytesMut};

use super::Error;

/// The most bytes of extensions and trailers, which are read and dropped.
const EXTRAS_LIMIT: u32 = 16 << 10;

/// How the rest of a body ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// As its chunks say.
    Chunked(Chunks),
    /// With the connection.
    UntilClose,
}

/// Where in a chunked body we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    at: Place,
    /// Bytes of extensions and trailers so far.
    extras: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first digit of a size.
    Start,
    /// After a digit.
    Size(u64),
    /// After the size: white space or an extension, until the line ends.
    Extension(u64),
    /// Before the line feed that ends the size.
    SizeEnd(u64),
    /// Inside a chunk, with so many bytes left.
    Data(u64),
    /// Before the carriage return after a chunk.
    DataReturn,
    /// Before the line feed after a chunk.
    DataEnd,
    /// At the beginning of a line after the last chunk.
    Trailer,
    /// Inside of the name of a trailer.
    TrailerName,
    /// After its colon.
    InTrailer,
    /// Before the line feed that ends the body.
    End,
    Done,
}

impl Framing {
    pub(super) fn length(length: u64) -> Self {
        Self::Length(length)
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks {
            at: Place::Start,
            extras: 0,
        })
    }

    /// Whether all of the body has been taken.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.at == Place::Done,
            Self::UntilClose => false,
        }
    }

    /// Takes from `bytes` what belongs to the body; returns its data, in one piece. What follows the body stays, and so does what cannot be
    /// read while there is data before it: the next call says so.
    pub(super) fn take(&mut self, bytes: &mut BytesMut) -> Result<Bytes, Error> {
        match self {
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= count as u64;
                Ok(bytes.split_to(count).freeze())
            }
            Self::Chunked(chunks) => chunks.take(bytes),
            Self::UntilClose => Ok(bytes.split().freeze()),
        }
    }
}

impl Chunks {
    fn take(&mut self, bytes: &mut BytesMut) -> Result<Bytes, Error> {
        let mut at = 0;
        // Where the data found so far is: together, because each next part is moved to its end.
        let (mut start, mut end) = (0, 0);
        while at < bytes.len() && self.at != Place::Done {
            let Place::Data(left) = self.at else {
                match self.step(bytes[at]) {
                    Ok(()) => at += 1,
                    Err(_) if end > start => break,
                    Err(error) => return Err(error),
                }
                continue;
            };
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
            if start == end {
                start = at;
                end = at;
            } else if end != at {
                bytes.copy_within(at..at + count, end);
            }
            end += count;
            at += count;
            let left = left - count as u64;
            self.at = if left == 0 { Place::DataReturn } else { Place::Data(left) };
        }
        let mut taken = bytes.split_to(at);
        taken.truncate(end);
        taken.advance(start);
        Ok(taken.freeze())
    }

    fn step(&mut self, byte: u8) -> Result<(), Error> {
        const WRONG: Error = Error::NotHttp("its chunks cannot be read");
        self.at = match (self.at, byte) {
            (Place::Start, _) => Place::Size(digit(byte).ok_or(WRONG)?),
            (Place::Size(size), b'\r') => Place::SizeEnd(size),
            (Place::Size(size), b';' | b' ' | b'\t') => Place::Extension(size),
            (Place::Size(size), _) => {
                let digit = digit(byte).ok_or(WRONG)?;
                Place::Size(size.checked_mul(16).and_then(|size| size.checked_add(digit)).ok_or(WRONG)?)
            }
            (Place::Extension(size), b'\r') => Place::SizeEnd(size),
            // A lone line feed is where parsers disagree about what follows.
            (Place::Extension(_), b'\n') => return Err(WRONG),
            (Place::Extension(size), _) => self.extra(Place::Extension(size))?,
            (Place::SizeEnd(0), b'\n') => Place::Trailer,
            (Place::SizeEnd(size), b'\n') => Place::Data(size),
            (Place::DataReturn, b'\r') => Place::DataEnd,
            (Place::DataEnd, b'\n') => Place::Start,
            (Place::Trailer, b'\r') => Place::End,
            (Place::TrailerName, b':') => self.extra(Place::InTrailer)?,
            // What is no name there is the rest of something else.
            (Place::Trailer | Place::TrailerName, _) if is_of_a_name(byte) => self.extra(Place::TrailerName)?,
            (Place::InTrailer, b'\n') => Place::Trailer,
            (Place::InTrailer, _) => self.extra(Place::InTrailer)?,
            (Place::End, b'\n') => Place::Done,
            _ => return Err(WRONG),
        };
        Ok(())
    }

    fn extra(&mut self, next: Place) -> Result<Place, Error> {
        self.extras += 1;
        if self.extras > EXTRAS_LIMIT {
            return Err(Error::NotHttp("what surrounds its chunks is too long"));
        }
        Ok(next)
    }
}

/// A token's byte (RFC 9110, section 5.6.2).
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

//! Standard output, where commands put what they are for.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// Writes it. Whoever reads no further, as `head` does, has what they want.
///
/// # Errors
/// When it cannot be written, as to a disk that is full.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    to(&mut io::stdout().lock(), text).context("writing to standard output")
}

/// Writes it as a line.
///
/// # Errors
/// As [`write`].
pub(super) fn line(text: &str) -> anyhow::Result<()> {
    write(&format!("{text}\n"))
}

fn to(out: &mut impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_reads_no_further_is_no_error_and_a_full_disk_is() {
        to(&mut Fails(ErrorKind::BrokenPipe), "x").unwrap();
        to(&mut Fails(ErrorKind::StorageFull), "x").unwrap_err();
        let mut written = Vec::new();
        to(&mut written, "x").unwrap();
        assert_eq!(written, b"x");
    }
}

//! A reader of TLS presentation language as RFC 9420 uses it. Copies nothing, never recurses, trusts no length.
use crate::error::{refuse, Code, Outcome};

#[derive(Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was read since `earlier`.
    pub fn since(&self, earlier: &Reader<'a>) -> &'a [u8] {
        &earlier.0[..earlier.0.len() - self.0.len()]
    }

    pub fn take(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else {
            return refuse(Code::Truncated, "the input ends early");
        };
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut number = [0; N];
        number.copy_from_slice(self.take(N)?);
        Ok(number)
    }

    pub fn u8(&mut self) -> Outcome<u8> {
        Ok(self.number::<1>()?[0])
    }

    pub fn u16(&mut self) -> Outcome<u16> {
        self.number().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Outcome<u32> {
        self.number().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Outcome<u64> {
        self.number().map(u64::from_be_bytes)
    }

    /// A variable-size vector (RFC 9420 section 2.1.2) with the shortest length prefix.
    pub fn vector(&mut self) -> Outcome<&'a [u8]> {
        let first = self.u8()?;
        let (more, least) = match first >> 6 {
            0 => (0, 0),
            1 => (1, 1 << 6),
            2 => (3, 1 << 14),
            _ => return refuse(Code::BadLength, "a reserved length prefix"),
        };
        let rest = self.take(more)?;
        let length = rest
            .iter()
            .fold(usize::from(first & 0x3f), |sum, byte| sum << 8 | usize::from(*byte));
        if length < least {
            return refuse(Code::BadLength, "a length prefix that is not the shortest");
        }
        self.take(length)
    }

    pub fn end(&self) -> Outcome<()> {
        if self.is_empty() {
            return Ok(());
        }
        refuse(Code::TrailingData, format!("{} bytes too many", self.0.len()))
    }
}

/// The version every MLS structure that carries one must have.
pub fn version(reader: &mut Reader) -> Outcome<()> {
    match reader.u16()? {
        1 => Ok(()),
        other => refuse(Code::UnsupportedVersion, format!("protocol version {other}")),
    }
}

/// A variable-size vector of these bytes.
pub fn write_vector(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = bytes.len() as u32;
    match length {
        0..64 => out.push(length as u8),
        64..16384 => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        _ => out.extend_from_slice(&(0x8000_0000 | length).to_be_bytes()),
    }
    out.extend_from_slice(bytes);
}

//! Is a message body what its type says? pgwire reads counts and strings without looking at what is left.

use types::{SqlError, SqlState};

/// True if decoding `body` as a message of this type cannot run out of bytes. Unknown types are not well formed.
pub fn is_well_formed(message_type: u8, body: &[u8]) -> bool {
    let mut body = Body(body);
    let whole = match message_type {
        b'Q' | b'f' => body.string(),
        b'P' => body.string().and_then(|()| body.string()).and_then(|()| body.items(4)),
        b'B' => bind(&mut body),
        b'D' | b'C' => body.skip(1).and_then(|()| body.string()),
        b'E' => body.string().and_then(|()| body.skip(4)),
        b'S' | b'H' | b'c' | b'X' => Some(()),
        b'd' | b'p' => return true,
        _ => None,
    };
    whole.is_some() && body.0.is_empty()
}

fn bind(body: &mut Body<'_>) -> Option<()> {
    body.string()?;
    body.string()?;
    body.items(2)?;
    for _ in 0..body.count()? {
        let length = body.i32()?;
        if length >= 0 {
            body.skip(usize::try_from(length).ok()?)?;
        } else if length != -1 {
            return None;
        }
    }
    body.items(2)
}

/// The error for SQL text that is not UTF-8: pgwire would replace the bytes silently.
pub fn invalid_text(message_type: u8, body: &[u8]) -> Option<SqlError> {
    if !matches!(message_type, b'Q' | b'P') {
        return None;
    }
    let text = match message_type {
        b'Q' => &body[..body.len() - 1],
        _ => body.split(|&b| b == 0).nth(1)?,
    };
    let valid = std::str::from_utf8(text).err()?.valid_up_to();
    let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{:02x}", text[valid]);
    Some(SqlError::new(SqlState::DataException, message).with_hint("Set the client encoding to UTF8."))
}

struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let end = self.0.iter().position(|&b| b == 0)?;
        self.skip(end + 1)
    }

    fn count(&mut self) -> Option<usize> {
        let bytes = self.0.first_chunk::<2>()?;
        let count = u16::from_be_bytes(*bytes);
        self.skip(2)?;
        Some(usize::from(count))
    }

    fn i32(&mut self) -> Option<i32> {
        let value = i32::from_be_bytes(*self.0.first_chunk::<4>()?);
        self.skip(4)?;
        Some(value)
    }

    /// A count and that many items of `size` bytes.
    fn items(&mut self, size: usize) -> Option<()> {
        let count = self.count()?;
        self.skip(count * size)
    }
}

//! The changes that a watch tells of, read from its answer as they come.

use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;

/// A server sends at least a bookmark a minute: one that is silent for longer does not answer.
const SILENCE: Duration = Duration::from_secs(150);
/// The longest change that is read, in bytes.
const MOST_BYTES: usize = 16 << 20;

/// Why no more changes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The server's time was over, or the connection broke off: nothing was missed until then.
    Over,
    /// It tells nothing any more.
    Silent,
    /// What came can't be read, so something was missed.
    Unreadable,
}

/// What is left to read of a watch's answer.
pub struct Changes {
    body: Body,
    held: Vec<u8>,
}

impl Changes {
    /// Of the answer to a request for a watch.
    pub fn of(body: Body) -> Self {
        Changes { body, held: Vec::new() }
    }

    /// The next ones, at least one.
    ///
    /// # Errors
    ///
    /// There are none any more.
    pub async fn next(&mut self) -> Result<Vec<Value>, Broken> {
        loop {
            let frame = match tokio::time::timeout(SILENCE, self.body.frame()).await {
                Err(_) => return Err(Broken::Silent),
                Ok(None | Some(Err(_))) => return Err(Broken::Over),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            let lines = lines(&mut self.held, &data)?;
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
    }
}

/// Adds what came to what is held, and takes all whole lines from it.
fn lines(held: &mut Vec<u8>, data: &[u8]) -> Result<Vec<Value>, Broken> {
    held.extend_from_slice(data);
    let Some(end) = held.iter().rposition(|byte| *byte == b'\n') else {
        return if held.len() > MOST_BYTES { Err(Broken::Unreadable) } else { Ok(Vec::new()) };
    };
    let rest = held.split_off(end + 1);
    let whole = std::mem::replace(held, rest);
    let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|_| Broken::Unreadable)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_whole_however_it_comes() {
        let mut held = Vec::new();
        assert_eq!(lines(&mut held, b"{\"a\":"), Ok(vec![]));
        assert_eq!(lines(&mut held, b"1}\n{\"a\":2}\n{\"a\""), Ok(vec![json!({ "a": 1 }), json!({ "a": 2 })]));
        assert_eq!(lines(&mut held, b":3}\n\n"), Ok(vec![json!({ "a": 3 })]));
        assert_eq!(lines(&mut held, b"{\n"), Err(Broken::Unreadable));
        let mut long = vec![b' '; MOST_BYTES];
        assert_eq!(lines(&mut long, b" "), Err(Broken::Unreadable));
    }
}

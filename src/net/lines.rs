//! Text that comes line by line for as long as it likes, as pieces of whole lines.

use futures_util::Stream;
use futures_util::stream::unfold;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};

/// A line that is longer is handed out in parts.
const LONGEST_LINE: usize = 1 << 20;

/// The lines of a body as they come: each piece is one or more whole lines. A body that breaks off ends with the reason.
pub fn lines<B>(body: B) -> impl Stream<Item = Result<String, String>> + Send + use<B>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    unfold((Some(body), Vec::new()), |(body, mut held)| async move {
        let mut body = body?;
        loop {
            match body.frame().await {
                None if held.is_empty() => return None,
                None => return Some((Ok(text(std::mem::take(&mut held))), (None, held))),
                Some(Err(error)) => return Some((Err(error.to_string()), (None, held))),
                Some(Ok(frame)) => {
                    held.extend(frame.into_data().unwrap_or_default());
                    let whole = held.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
                    let Some(whole) = whole.or((held.len() >= LONGEST_LINE).then_some(held.len())) else { continue };
                    let rest = held.split_off(whole);
                    return Some((Ok(text(held)), (Some(body), rest)));
                }
            }
        }
    })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

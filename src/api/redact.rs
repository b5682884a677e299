//! Every answer passes the redactor: whatever a daemon says, no secret that it has decrypted is in it.

use std::pin::Pin;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt as _, stream};

use crate::secrets::redact::{self, Redactor};

/// A middleware that replaces every known secret in the bodies of answers.
pub async fn answers(request: Request, next: Next) -> Response {
    clean(next.run(request).await, redact::of_process()).await
}

async fn clean(answer: Response, redactor: &Redactor) -> Response {
    if redactor.is_empty() || answer.body().size_hint().exact() == Some(0) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    if body.size_hint().exact().is_none() {
        return Response::from_parts(head, Body::from_stream(pieces(body, redactor)));
    }
    // It is whole in memory already.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Response::from_parts(head, Body::empty());
    };
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let json = kind.windows(4).any(|window| window == b"json");
    let clean = if json { redactor.json(&bytes) } else { redactor.bytes(&bytes) };
    let clean = Bytes::from(clean.into_owned());
    if clean.len() != bytes.len() {
        head.headers.remove(CONTENT_LENGTH);
    }
    Response::from_parts(head, Body::from(clean))
}

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, axum::Error>> + Send>>;

/// An answer that goes on: what may be the beginning of a secret waits for what comes next.
fn pieces(body: Body, redactor: &Redactor) -> Pieces {
    let begin = Some((body.into_data_stream(), redactor.stream()));
    Box::pin(stream::unfold(begin, |state| async {
        let (mut data, mut redact) = state?;
        match data.next().await {
            Some(Ok(bytes)) => {
                let clean = Bytes::from(redact.push(&bytes).into_owned());
                Some((Ok(clean), Some((data, redact))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => {
                let rest = redact.finish();
                (!rest.is_empty()).then(|| (Ok(Bytes::from(rest)), None))
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::SecretBytes;

    async fn text(answer: Response) -> String {
        String::from_utf8(axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn whole_answers_and_streams_are_cleaned() {
        let redactor = Redactor::knowing(&[SecretBytes::from("12345678")]);
        let json = |body: &'static str| {
            Response::builder().header(CONTENT_TYPE, "application/problem+json").body(Body::from(body)).unwrap()
        };
        let answer = clean(json(r#"{"a":"x12345678","b":12345678}"#), &redactor).await;
        assert_eq!(text(answer).await, r#"{"a":"x[secret]","b":12345678}"#);
        let parts = ["a 1234", "5678 b", " 123"].map(|part| Ok::<_, axum::Error>(Bytes::from(part)));
        let answer = clean(Response::new(Body::from_stream(stream::iter(parts))), &redactor).await;
        assert_eq!(text(answer).await, "a [secret] b 123");
    }
}

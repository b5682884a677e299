//! What a proxy does to headers: those of one hop go, those that say who asked come.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers that belong to one hop (RFC 9110, 7.6.1). `Transfer-Encoding` of a request stays, because hyper frames the body
/// by it and sees to it that it is true; `TE` is looked at by itself.
const HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::UPGRADE,
];

/// `X-Forwarded-For`.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`.
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`.
pub const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Removes what belongs to one hop, also what `Connection` names, save headers whose loss would change the message itself.
pub fn strip_hop(headers: &mut HeaderMap) {
    // Most messages have none of them, and one look at the names costs less than looking each of them up.
    if !headers.keys().any(|name| HOP.contains(name)) {
        return;
    }
    if let Some(named) = connection_options(headers) {
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP {
        headers.remove(name);
    }
}

/// The headers that `Connection` names. `None` in the usual case that it names only `keep-alive` or `close`.
fn connection_options(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut named = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            if option.is_empty() || option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
            {
                continue;
            }
            let Ok(name) = HeaderName::from_bytes(option) else { continue };
            // A client must not be able to take these off a request: they say where it goes, how long it is and whose it is.
            let kept = [
                header::HOST,
                header::CONTENT_LENGTH,
                header::TRANSFER_ENCODING,
                header::TE,
                FORWARDED_FOR,
                FORWARDED_PROTO,
                FORWARDED_HOST,
            ];
            if !kept.contains(&name) {
                named.push(name);
            }
        }
    }
    (!named.is_empty()).then_some(named)
}

/// Makes a client's headers those of the router's own request. `client` is the client's address, `secure` whether it came under
/// TLS, `host` what it asked for.
///
/// `X-Forwarded-For` is added to what is there; the other two are set, because the router is where clients arrive.
pub fn to_upstream(headers: &mut HeaderMap, client: &HeaderValue, secure: bool, host: Option<HeaderValue>) {
    let trailers = headers.get(header::TE).is_some_and(takes_trailers);
    strip_hop(headers);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(header::TE);
    }
    let chain = match headers.get(&FORWARDED_FOR) {
        None => client.clone(),
        Some(_) => {
            let mut chain = Vec::with_capacity(64);
            for value in headers.get_all(&FORWARDED_FOR) {
                chain.extend_from_slice(value.as_bytes());
                chain.extend_from_slice(b", ");
            }
            chain.extend_from_slice(client.as_bytes());
            // Parts that were values make a value; the client's address stands in should that ever change.
            HeaderValue::from_bytes(&chain).unwrap_or_else(|_| client.clone())
        }
    };
    headers.insert(FORWARDED_FOR, chain);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if secure { "https" } else { "http" }));
    match host {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
}

/// Puts a client's cookies into one header: HTTP/2 may tell each by itself, HTTP/1.1 may not (RFC 9113, 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (values.next(), values.next()) else { return };
    let mut joined = [first.as_bytes(), second.as_bytes()].join(&b"; "[..]);
    for value in values {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    // Parts that were values make a value.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Makes an instance's headers those of the router's own answer. How the body is framed is decided anew for the client.
pub fn to_client(headers: &mut HeaderMap) {
    strip_hop(headers);
    if headers.remove(header::TRANSFER_ENCODING).is_some() {
        // Beside a transfer coding a length means nothing (RFC 9112, 6.3), and here it would be taken for true.
        headers.remove(header::CONTENT_LENGTH);
    }
}

fn takes_trailers(value: &HeaderValue) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|line| {
        line.split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn hop_by_hop_headers_go() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Secret"),
            ("connection", "host, content-length, upgrade"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("upgrade", "websocket"),
            ("te", "gzip, Trailers"),
            ("host", "a"),
            ("content-length", "3"),
            ("x-kept", "1"),
        ]);
        to_upstream(&mut headers, &HeaderValue::from_static("10.0.0.1"), false, Some(HeaderValue::from_static("a")));
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["content-length", "host", "te", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-kept"]
        );
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn te_without_trailers_goes() {
        let mut headers = map(&[("te", "gzip")]);
        to_upstream(&mut headers, &HeaderValue::from_static("::1"), false, None);
        assert!(!headers.contains_key("te"));
    }

    #[test]
    fn the_client_is_added_to_the_chain_and_can_not_lie_about_the_rest() {
        let mut headers = map(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "bank.example"),
        ]);
        to_upstream(&mut headers, &HeaderValue::from_static("3.3.3.3"), false, Some(HeaderValue::from_static("here")));
        assert_eq!(headers["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 3.3.3.3");
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "here");
    }

    #[test]
    fn cookies_that_came_apart_are_one_header_again() {
        let mut headers = map(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
        let mut one = map(&[("cookie", "a=1")]);
        join_cookies(&mut one);
        assert_eq!(one["cookie"], "a=1");
        assert!(!{
            let mut none = map(&[]);
            join_cookies(&mut none);
            none.contains_key("cookie")
        });
    }

    #[test]
    fn a_length_beside_chunks_is_not_passed_on() {
        let mut headers = map(&[("transfer-encoding", "chunked"), ("content-length", "3"), ("x-kept", "1")]);
        to_client(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
        let mut headers = map(&[("content-length", "3")]);
        to_client(&mut headers);
        assert_eq!(headers["content-length"], "3");
    }

    #[test]
    fn finds_a_cookie_among_others() {
        let headers = map(&[("cookie", "a=1; group=v2;b=3"), ("cookie", "c=4")]);
        assert_eq!(cookie(&headers, "group"), Some("v2"));
        assert_eq!(cookie(&headers, "c"), Some("4"));
        assert_eq!(cookie(&headers, "roup"), None);
    }
}

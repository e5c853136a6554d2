//! What a browser says of where a request comes from and where it believes to send it: `Host`, `Origin` and `Sec-Fetch-Site`.
//!
//! Where nobody has to show a key, being on this machine is all that lets somebody in; and a browser on it is, whatever page it shows. A
//! page can have the name of its own site resolve to 127.0.0.1 and is then of the same origin: so only names are answered that are no
//! stranger's. Addresses cannot be made to mean another server. And any page can send a form to any server, though it may not read the
//! answer: so nothing but reading is done for pages of other origins, keys or not, as browsers remember logins.
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use axum::response::Response;
use seam_shared::Kind;
use seam_shared::config::ServerSettings;

use crate::problem;
use crate::query::Refusal;

const SITE: &str = "sec-fetch-site";

/// Which requests of browsers are answered.
#[derive(Debug, Clone, Default)]
pub struct Browsers {
    /// Whether the name that a request is for matters.
    names_matter: bool,
    /// The names that this server has beside `localhost`, in small letters.
    names: Vec<String>,
    /// Origins of other pages that may ask.
    origins: Vec<String>,
}

impl Browsers {
    /// As configured: names matter where some are configured, and where being on this machine is all that lets somebody in.
    pub fn new(server: &ServerSettings) -> Browsers {
        let is_local = server.access.is_none() && server.listen.ip().is_loopback();
        Browsers {
            names_matter: is_local || !server.hosts.is_empty(),
            names: server.hosts.clone(),
            origins: server.cors.clone(),
        }
    }
    /// The answer to a request that is not for this server, or comes from a page of another one; `None`: it is fine.
    pub fn refuse<B>(&self, request: &Request<B>) -> Option<Response> {
        let (uri, headers) = (request.uri(), request.headers());
        let host = match host(uri, headers, request.version()) {
            Ok(host) => host,
            Err(detail) => return Some(answer(uri, StatusCode::BAD_REQUEST, "invalid-host", detail.to_owned())),
        };
        if let Some(host) = host.filter(|host| self.names_matter && !self.is_own(host)) {
            let detail = format!(
                "this server is not known as `{}`; if that is meant, list the name in `server.hosts`",
                name_of(host)
            );
            return Some(answer(uri, StatusCode::MISDIRECTED_REQUEST, "unknown-host", detail));
        }
        if self.is_foreign(request.method(), headers, host) {
            let detail = "a page of another origin may not do this; if it should, list its origin in `server.cors`";
            return Some(answer(uri, StatusCode::FORBIDDEN, "cross-origin", detail.to_owned()));
        }
        None
    }

    /// Whether a request for `host` cannot have been meant for another server.
    fn is_own(&self, host: &str) -> bool {
        let name = name_of(host);
        let is_local = |name: &str| {
            let split = name.len().checked_sub("localhost".len()).and_then(|at| name.split_at_checked(at));
            split.is_some_and(|(before, last)| {
                last.eq_ignore_ascii_case("localhost") && (before.is_empty() || before.ends_with('.'))
            })
        };
        is_local(name)
            || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
            || self.is_listed(name)
    }
    fn is_listed(&self, name: &str) -> bool {
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
    /// Whether a page of another origin wants more than to read. Who is no browser says nothing of origins.
    fn is_foreign(&self, method: &Method, headers: &HeaderMap, host: Option<&str>) -> bool {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return false;
        }
        let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
        if origin.is_some_and(|origin| self.origins.iter().any(|known| known.as_bytes() == origin)) {
            return false;
        }
        if let Some(site) = headers.get(SITE) {
            return site != "same-origin" && site != "none";
        }
        let Some(origin) = origin else { return false };
        let place =
            std::str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://")).map(|(_, place)| place);
        // A proxy may have put another name in place of the one that the browser used.
        !place.is_some_and(|place| {
            host.is_some_and(|host| host.eq_ignore_ascii_case(place)) || self.is_listed(name_of(place))
        })
    }
}

/// Whom a request is for (RFC 9112, 3.2): one host, which the target's own precedes.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap, version: Version) -> Result<Option<&'a str>, &'static str> {
    let mut given = headers.get_all(header::HOST).iter();
    let host = given.next();
    if given.next().is_some() {
        return Err("there is more than one Host header");
    }
    if host.is_none() && version == Version::HTTP_11 {
        return Err("there is no Host header");
    }
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.as_str()));
    }
    host.map(|host| host.to_str().map_err(|_| "the Host header is no name")).transpose()
}

/// A host without its port, and without the dot that ends a full name.
fn name_of(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) && !host.ends_with(']') => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

fn answer(uri: &Uri, status: StatusCode, problem: &'static str, detail: String) -> Response {
    let refusal = Refusal { kind: Kind::Denied, problem, detail, parameter: None, suggestion: None };
    problem::document(status, &refusal, uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(browsers: &Browsers, method: Method, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut asked = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        let refused = browsers.refuse(&asked.body(()).expect("a request"));
        refused.map_or(200, |response| response.status().as_u16())
    }

    fn local(names: &[&str]) -> Browsers {
        Browsers {
            names_matter: true,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            origins: vec!["https://dash.example.com".to_owned()],
        }
    }

    #[test]
    fn only_names_that_are_no_strangers_are_answered() {
        let get = |browsers: &Browsers, host: &str| status(browsers, Method::GET, "/", &[("host", host)]);
        let browsers = local(&["seam.example.org"]);
        for own in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:1",
            "a.localhost",
            "localhost.",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:8080",
            "[::1]",
            "10.0.0.7:80",
            "seam.example.org",
            "SEAM.example.org:443",
        ] {
            assert_eq!(get(&browsers, own), 200, "{own}");
        }
        for strange in [
            "evil.example",
            "evil.example:8080",
            "evillocalhost",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "a.seam.example.org",
            "ünlocalhost",
            "",
            "0x7f000001",
        ] {
            assert!([400, 421].contains(&get(&browsers, strange)), "{strange}");
        }
        assert_eq!(get(&Browsers::default(), "evil.example"), 200, "where keys are asked for, names do not matter");
        // The target's own name precedes the header.
        assert_eq!(status(&browsers, Method::GET, "http://evil.example/", &[("host", "localhost")]), 421);
        assert_eq!(status(&browsers, Method::GET, "/", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(status(&browsers, Method::GET, "/", &[]), 400);
    }

    #[test]
    fn other_pages_may_not_write() {
        let browsers = local(&["seam.example.org"]);
        let post = |headers: &[(&str, &str)]| {
            let headers: Vec<_> = [("host", "localhost:8080")].into_iter().chain(headers.iter().copied()).collect();
            status(&browsers, Method::POST, "/v1/events/clicks", &headers)
        };
        for (fine, headers) in [
            (true, &[][..]),
            (true, &[("origin", "http://localhost:8080")]),
            (true, &[("origin", "https://dash.example.com")]),
            (true, &[("origin", "https://dash.example.com"), (SITE, "cross-site")]),
            (true, &[("origin", "https://seam.example.org")]),
            (true, &[("origin", "null"), (SITE, "same-origin")]),
            (true, &[(SITE, "none")]),
            (false, &[("origin", "http://localhost:9090")]),
            (false, &[("origin", "https://evil.example")]),
            (false, &[("origin", "null")]),
            (false, &[("origin", "http://localhost:8080.evil.example")]),
            (false, &[("origin", "https://dash.example.com.evil.example")]),
            (false, &[("origin", "https://evil.example"), (SITE, "cross-site")]),
            (false, &[("origin", "http://localhost:9090"), (SITE, "same-site")]),
            (false, &[(SITE, "cross-site")]),
        ] {
            assert_eq!(post(headers), if fine { 200 } else { 403 }, "{headers:?}");
        }
        let from_afar = [("host", "localhost"), ("origin", "https://evil.example"), (SITE, "cross-site")];
        assert_eq!(status(&browsers, Method::GET, "/", &from_afar), 200, "a browser keeps the answer from the page");
        assert_eq!(status(&browsers, Method::DELETE, "/", &from_afar), 403);
    }
}

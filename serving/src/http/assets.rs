//! The page at `/`: its files are part of the program, so that it needs no network and no build of its own.
//!
//! The page's own address is asked for again and again and answered by tag. Its files lie below a name that changes with their
//! contents, so that a browser never asks for them twice.
use std::sync::LazyLock;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{known, nothing_here};
use crate::pin::etag;

/// Nothing but this server's own files is run, shown or asked; no script or style stands in the page itself.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; \
                      require-trusted-types-for 'script'";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";
/// Stands in the page for the name of the folder of its files.
const VERSION_HERE: &str = "{version}";

const PAGE: &str = include_str!("../../page/index.html");

macro_rules! assets {
    ($($path:literal),+ $(,)?) => { [$(($path, include_bytes!(concat!("../../page/", $path)).as_slice())),+] };
}

/// Each file of the page, and its bytes.
const FILES: [(&str, &[u8]); 25] = assets![
    "font/LICENSE",
    "font/archivo.woff2",
    "mark.svg",
    "script/api.js",
    "script/ask.js",
    "script/chart.js",
    "script/controls.js",
    "script/element.js",
    "script/figures.js",
    "script/key.js",
    "script/main.js",
    "script/metric.js",
    "script/numbers.js",
    "script/place.js",
    "script/refused.js",
    "script/scale.js",
    "script/seam.js",
    "script/series.js",
    "script/strip.js",
    "script/theme.js",
    "script/times.js",
    "style/frame.css",
    "style/parts.css",
    "style/seam.css",
    "style/tokens.css",
];

/// The folder of the files: a hash of all of them.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for (path, bytes) in FILES {
        hasher.update(path.as_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }
    hasher.finalize().to_hex()[..16].to_owned()
});
static WHOLE: LazyLock<String> = LazyLock::new(|| PAGE.replace(VERSION_HERE, &VERSION));

/// The page and its files. They hold no numbers: whoever may see none may see these.
pub fn routes() -> Router {
    Router::new().route("/", get(page)).route("/page/{version}/{*path}", get(file))
}

async fn page(headers: HeaderMap) -> Response {
    answer("index.html", WHOLE.as_bytes(), ASK_AGAIN, &headers)
}

async fn file(Path((version, path)): Path<(String, String)>, headers: HeaderMap, request: Request) -> Response {
    match FILES.iter().find(|(name, _)| *name == path) {
        // A page from before an update asks for files as they were; it gets those of today, and asks again.
        Some((name, bytes)) => answer(name, bytes, if version == *VERSION { FOR_EVER } else { ASK_AGAIN }, &headers),
        None => nothing_here(request).await,
    }
}

fn answer(name: &str, bytes: &'static [u8], keep: &'static str, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32]);
    let known = known(headers).is_some_and(|known| etag::matches(known, &tag));
    let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut response = if known { status.into_response() } else { (status, bytes).into_response() };
    let tag = HeaderValue::try_from(tag).expect("a hash in quotes is a header's text");
    let fixed = [
        (header::CACHE_CONTROL, keep),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CONTENT_TYPE, media_type(name)),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::VARY, "accept-encoding"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    response.headers_mut().insert(header::ETAG, tag);
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use tower::ServiceExt;

    /// What the page may weigh in all, as it is sent without compression.
    const BYTES: usize = 200_000;

    async fn get(path: &str, tag: Option<&HeaderValue>) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().uri(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let response = routes().oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        (status, headers, String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn the_page_names_files_that_are_there_and_runs_nothing_else() {
        let (status, headers, page) = get("/", None).await;
        assert_eq!(
            (status, &headers[header::CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static("text/html; charset=utf-8"))
        );
        assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text").starts_with("default-src 'self'"));
        let named: Vec<&str> = page.split('"').filter(|text| text.starts_with("page/")).collect();
        assert!(named.len() > 6 && !page.contains(VERSION_HERE), "{named:?}");
        for path in named {
            let (status, headers, _) = get(&format!("/{path}"), None).await;
            assert_eq!(
                (status, &headers[header::CACHE_CONTROL]),
                (StatusCode::OK, &HeaderValue::from_static(FOR_EVER)),
                "{path}"
            );
        }
        assert!(!page.contains("style=") && !page.contains("onclick") && page.matches("<script").count() == 2);
        assert_eq!(page.matches("<script src=").count() + page.matches("<script type=\"module\" src=").count(), 2);
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again_and_what_is_not_there_is_told() {
        for path in ["/", "/page/old/script/main.js"] {
            let (_, headers, _) = get(path, None).await;
            assert_eq!(headers[header::CACHE_CONTROL], ASK_AGAIN, "{path}");
            let (status, again, body) = get(path, Some(&headers[header::ETAG])).await;
            assert_eq!(
                (status, body.as_str(), &again[header::ETAG]),
                (StatusCode::NOT_MODIFIED, "", &headers[header::ETAG])
            );
        }
        assert_eq!(get("/page/old/script/none.js", None).await.0, StatusCode::NOT_FOUND);
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_the_page_is_light() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let mut found: Vec<String> = ["", "font", "script", "style"]
            .iter()
            .flat_map(|folder| std::fs::read_dir(root.join(folder)).expect("the page's folder"))
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file())
            .map(|path| path.strip_prefix(&root).expect("below the folder").to_string_lossy().into_owned())
            .collect();
        found.sort();
        let served: Vec<&str> = FILES.iter().map(|(path, _)| *path).chain(["index.html"]).collect();
        found.iter().for_each(|path| assert!(served.contains(&path.as_str()), "{path} is not served"));
        assert_eq!(found.len(), served.len());
        let bytes: usize = PAGE.len() + FILES.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        assert!(bytes < BYTES, "the page weighs {bytes} bytes");
    }

    #[test]
    fn every_script_and_style_says_what_it_holds_and_is_short() {
        for (path, bytes) in FILES.iter().filter(|(path, _)| path.ends_with(".js") || path.ends_with(".css")) {
            let text = std::str::from_utf8(bytes).expect("text");
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with("// ") || first.starts_with("/* "), "{path}: {first}");
            assert!(text.lines().count() <= 400, "{path} is long");
            assert!(!text.contains("innerHTML") && !text.contains("eval("), "{path}");
        }
    }
}

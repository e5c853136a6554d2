//! The normal form is what the standard says, and its own; order of parameters, fragment and tracking make no difference.
use proptest::prelude::*;

use super::*;

fn normal(text: &str) -> String {
    normalized(text, UrlRule::Keep).into_owned()
}

#[test]
fn what_the_standard_calls_equal_is_equal() {
    for (text, expected) in [
        // RFC 3986 §6.2.2: case, percent-encoding, path segments
        ("HTTP://www.Example.com/", "http://www.example.com/"),
        ("eXAMPLE://a/./b/../b/%63/%7bfoo%7d", "example://a/b/c/%7Bfoo%7D"),
        ("http://a/%7Euser/%e2%82%ac", "http://a/~user/%E2%82%AC"),
        ("http://a/€ b", "http://a/%E2%82%AC%20b"),
        ("http://a/100%", "http://a/100%25"),
        // §6.2.3: by scheme
        ("http://example.com", "http://example.com/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:0443", "https://example.com/"),
        ("https://example.com:80/x", "https://example.com:80/x"),
        ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
        ("http://u:P@H:81?q", "http://u:P@h:81/?q"),
        ("http://a:80:80/", "http://a:80:80/"),
        ("http://M%c3%bcnchen.DE/", "http://m%C3%BCnchen.de/"),
        // §5.2.4
        ("/a/b/c/./../../g", "/a/g"),
        ("http://a/../../x/..", "http://a/"),
        ("http://a/%2e%2e/x", "http://a/x"),
        ("/.//x", "/x"),
        // beyond: fragment, trailing slash, parameters
        ("/shop/#top", "/shop"),
        ("/shop//", "/shop"),
        ("/", "/"),
        ("", ""),
        ("  /a \n", "/a"),
        ("/p?b=2&a=1&b=1&&utm_source=x&UTM_Medium=y&gclid=1&fbclid=2", "/p?a=1&b=2&b=1"),
        ("/p?%75tm_source=x", "/p"),
        ("?utm_source=x", ""),
        ("/p?", "/p"),
        ("//CDN.example/x", "//cdn.example/x"),
        ("file:///A/../b", "file:///b"),
        ("MAILTO:Ann@Example.com", "mailto:Ann@Example.com"),
        ("index.html", "index.html"),
        ("%61b://X/", "ab://x/"),
    ] {
        assert_eq!(normal(text), expected, "{text}");
    }
    assert_eq!(normalized("http://a/p?x=1#y", UrlRule::Drop), "http://a/p");
    assert!(matches!(normalized("/a/B-c_1", UrlRule::Keep), Cow::Borrowed(_)));
}

/// Texts that are nearly URLs.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("http:"),
        Just("HTTPS:"),
        Just("//"),
        Just("/"),
        Just("."),
        Just(".."),
        Just("/../"),
        Just("/./"),
        Just("?"),
        Just("&"),
        Just("="),
        Just("#"),
        Just("%"),
        Just("%2e"),
        Just("%2F"),
        Just("%41"),
        Just("%e2%82"),
        Just(":"),
        Just(":80"),
        Just(":443"),
        Just(":00"),
        Just("@"),
        Just("["),
        Just("]"),
        Just("::1"),
        Just("A"),
        Just("b"),
        Just("utm_a"),
        Just("gclid"),
        Just(" "),
        Just("é"),
        Just("\u{0}"),
        Just("+"),
        Just("a=1"),
        Just("A.B"),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn the_normal_form_is_its_own_and_is_ascii(text in prop_oneof![nearly(), any::<String>()], drops in any::<bool>()) {
        let rule = if drops { UrlRule::Drop } else { UrlRule::Keep };
        let once = normalized(&text, rule).into_owned();
        let twice = normalized(&once, rule).into_owned();
        prop_assert_eq!(&twice, &once, "of {:?}", text);
        prop_assert!(once.bytes().all(|byte| byte.is_ascii_graphic()), "{:?}", once);
        prop_assert!(!once.contains('#'), "{:?}", once);
    }

    #[test]
    fn the_order_of_parameters_the_fragment_and_tracking_make_no_difference(
        names in proptest::collection::btree_set("[a-z]{1,4}", 0..5),
        seed in any::<u64>(),
        fragment in "[a-z]{0,5}",
    ) {
        let parameters: Vec<String> = names.iter().map(|name| format!("{name}=1")).collect();
        let sorted = normal(&format!("http://h/p?{}", parameters.join("&")));
        let mut shuffled = parameters.clone();
        let mut state = seed;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        shuffled.insert(shuffled.len() / 2, "utm_campaign=x".to_owned());
        prop_assert_eq!(normal(&format!("HTTP://H:80/./p/?{}#{fragment}", shuffled.join("&"))), sorted);
    }
}

//! Scopes and row filters over a real view.
use serde_json::json;

use super::*;
use crate::config;

const SHOP: &str = "version: 1
sources: { clicks: { fields: { region: string, n: int, vip: bool, price: decimal(2) } } }
views:
  by_region: { from: clicks, dimensions: [region, n, vip, price], measures: { events: count() } }
  all: { from: clicks, measures: { events: count() } }
";

fn view(name: &str) -> Arc<View> {
    config::load(SHOP, "shop.yaml").unwrap().view(name).unwrap().clone()
}

fn caller(scopes: &[&str], filter: serde_json::Value) -> Caller {
    let scopes = scopes.iter().map(|text| Scope::parse(text).unwrap()).collect();
    Caller::new("test", scopes, RowFilter::from_json(filter.as_object().unwrap()).unwrap(), None)
}

#[test]
fn scopes_allow_what_they_name_and_nothing_else() {
    let none = json!({});
    let all = Caller::trusted();
    assert!(all.is_admin() && all.may_ingest("x") && all.may_query("y") && all.may_read_metrics());
    let query = caller(&["query:by_region"], none.clone());
    assert!(query.may_query("by_region") && query.may_query_some());
    assert!(!query.may_query("by_regions") && !query.may_ingest("by_region") && !query.is_admin());
    assert!(!query.may_read_metrics() && !query.may_query("*"));
    let ingest = caller(&["ingest:clicks"], none.clone());
    assert!(ingest.may_ingest("clicks") && !ingest.may_ingest("views") && !ingest.may_query_some());
    let every = caller(&["query:*", "ingest:*", "metrics"], none.clone());
    assert!(every.may_query("y") && every.may_ingest("x") && every.may_read_metrics() && !every.is_admin());
    assert!(!caller(&["admin"], json!({"region": "eu"})).is_admin(), "raw events have no row filter");
    assert!(query.admit(&view("by_region")).is_ok());
    assert_eq!(query.admit(&view("all")).unwrap_err().kind(), Kind::Denied);
    for bad in ["", "query", "query:", "ingest:", "Admin", "read:all", "*"] {
        assert!(Scope::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_filter_is_a_condition_over_the_views_dimensions() {
    let view = view("by_region");
    let admits = |filter: serde_json::Value, row: [Value; 4]| {
        caller(&["query:*"], filter).admit(&view).unwrap().admits(&|d| row[d].clone())
    };
    let row = |region: &str| [Value::text(region), Value::Int(3), Value::Bool(true), Value::Decimal(150, 2)];
    assert!(admits(json!({}), row("us")));
    assert!(admits(json!({"region": ["eu", "us"]}), row("us")) && !admits(json!({"region": ["eu"]}), row("us")));
    assert!(admits(json!({"region": "us", "n": [3], "vip": true, "price": 1.5}), row("us")));
    assert!(admits(json!({"n": "3", "price": "1.50"}), row("us")) && !admits(json!({"n": [4]}), row("us")));
    assert!(!admits(json!({"region": []}), row("us")), "no value, no row");
    let null = [Value::Null, Value::Int(3), Value::Null, Value::Null];
    assert!(admits(json!({"region": [null]}), null.clone()) && !admits(json!({"region": ["null"]}), null.clone()));
    assert!(admits(json!({"region": [null, "us"]}), row("us")) && admits(json!({"region": [null, "us"]}), null));
    for refused in [json!({"country": "de"}), json!({"region": 5}), json!({"n": "many"}), json!({"vip": 1})] {
        let error = caller(&["admin"], refused.clone()).admit(&view).expect_err("refused");
        assert_eq!(error.kind(), Kind::Denied, "{refused}");
    }
    assert!(RowFilter::from_json(json!({"region": [["eu"]]}).as_object().unwrap()).is_err());
}

#[test]
fn equal_rights_have_equal_fingerprints_and_others_have_not() {
    let of = |scopes: &[&str], filter| caller(scopes, filter).fingerprint().to_owned();
    assert_eq!(of(&["query:a", "admin"], json!({})), of(&["admin", "query:a"], json!({})));
    let different = [
        of(&["query:a"], json!({})),
        of(&["query:*"], json!({})),
        of(&["query:a"], json!({"region": "eu"})),
        of(&["query:a"], json!({"region": ["eu", "us"]})),
        of(&["query:a"], json!({"region": [null]})),
        of(&["query:a"], json!({"region": ["null"]})),
        Caller::trusted().fingerprint().to_owned(),
    ];
    for (i, one) in different.iter().enumerate() {
        assert!(!different[..i].contains(one), "{one}");
    }
}

#[test]
fn it_ends_with_its_time_or_when_it_is_taken_away() {
    let end = Timestamp(1_000);
    let caller = Caller::new("test", vec![Scope::Admin], RowFilter::default(), Some(end));
    assert!(caller.is_current(Timestamp(999)) && !caller.is_current(end));
    caller.clone().revoke();
    assert!(!caller.is_current(Timestamp(0)));
}

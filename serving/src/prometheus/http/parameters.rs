//! Parameters from a URL and from a form, as Prometheus reads them.
use std::time::Duration;

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, Query, Request};
use axum::http::Method;
use seam_shared::time::{Span, Timestamp};

use crate::prometheus::Told;
use crate::prometheus::evaluate::Value;
use crate::prometheus::failure::Failure;

/// Names and values in order.
#[derive(Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

/// What a request gives, or why it cannot be read.
#[derive(Debug)]
pub struct Given(pub Result<Parameters, Failure>);

impl<S: Send + Sync> FromRequest<S> for Given {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let in_url = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let mut parameters = match in_url {
            Ok(Query(parameters)) => parameters,
            Err(error) => return Ok(Given(Err(Failure::bad_data(error.to_string())))),
        };
        if request.method() == Method::POST {
            match Form::<Vec<(String, String)>>::from_request(request, state).await {
                // What the body says comes first.
                Ok(Form(mut body)) => {
                    body.append(&mut parameters);
                    parameters = body;
                }
                Err(FormRejection::InvalidFormContentType(_)) => {}
                Err(error) => return Ok(Given(Err(Failure::bad_data(error.to_string())))),
            }
        }
        Ok(Given(Ok(Parameters(parameters))))
    }
}

/// A parameter that cannot be used.
pub fn bad(name: &str, why: &str) -> Failure {
    Failure::bad_data(format!("invalid parameter {name:?}: {why}"))
}

impl Parameters {
    /// The first value of a name.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
    /// All values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }
    /// A value that must be there.
    pub fn needed(&self, name: &str) -> Result<&str, Failure> {
        self.one(name).ok_or_else(|| bad(name, "it is missing"))
    }
    /// A moment: seconds since 1970, or RFC 3339.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Failure> {
        let Some(text) = self.one(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let bad = || bad(name, &format!("cannot parse {text:?} to a valid timestamp"));
        let seconds = text.parse::<f64>().ok();
        let moment = match seconds {
            Some(seconds) if seconds.is_finite() && seconds.abs() < 1e12 => {
                Timestamp((seconds * 1e3).round() as i64 * 1_000)
            }
            Some(_) => return Err(bad()),
            None => Timestamp::parse_rfc3339(&text.replace(' ', "+")).ok_or_else(bad)?,
        };
        if (Timestamp::MIN..=Timestamp::MAX).contains(&moment) { Ok(Some(moment)) } else { Err(bad()) }
    }
    /// A length of time: seconds, or 1h30m.
    pub fn duration(&self, name: &str) -> Result<Option<Span>, Failure> {
        let Some(text) = self.one(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let bad = || bad(name, &format!("cannot parse {text:?} to a valid duration"));
        match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds.abs() < 1e10 => {
                Ok(Some(Span((seconds * 1e3).round() as i64 * 1_000)))
            }
            Ok(_) => Err(bad()),
            Err(_) => {
                let parsed = promql_parser::util::parse_duration(text).map_err(|_| bad())?;
                Ok(Some(Span(i64::try_from(parsed.as_micros()).map_err(|_| bad())?)))
            }
        }
    }
    /// How long the query may take.
    pub fn timeout(&self) -> Result<Option<Duration>, Failure> {
        Ok(self.duration("timeout")?.map(|span| Duration::from_micros(span.0.max(0).unsigned_abs())))
    }
    /// A number of things; 0 is no limit.
    pub fn count(&self, name: &str) -> Result<Option<usize>, Failure> {
        let Some(text) = self.one(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let count: i64 = text.parse().map_err(|_| bad(name, "it is no whole number"))?;
        if count < 0 {
            return Err(bad(name, "limit must be non-negative"));
        }
        Ok(Some(count as usize).filter(|count| *count > 0))
    }
    /// Cuts a result to `limit` series.
    pub fn limit(&self, told: &mut Told<Value>) -> Result<(), Failure> {
        let Some(most) = self.count("limit")? else { return Ok(()) };
        let cut = match &mut told.data {
            Value::Vector(series) => cut(series, most),
            Value::Samples(series) => cut(series, most),
            Value::Scalar(_) | Value::Text(_) => false,
        };
        if cut {
            told.warnings.push("results truncated due to limit".to_owned());
        }
        Ok(())
    }
    /// Cuts a list to `limit` items.
    pub fn limit_list<T>(&self, told: &mut Told<Vec<T>>) -> Result<(), Failure> {
        if let Some(most) = self.count("limit")?
            && cut(&mut told.data, most)
        {
            told.warnings.push("results truncated due to limit".to_owned());
        }
        Ok(())
    }
}

fn cut<T>(list: &mut Vec<T>, most: usize) -> bool {
    let too_many = list.len() > most;
    list.truncate(most);
    too_many
}

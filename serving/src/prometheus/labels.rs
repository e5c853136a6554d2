//! What tells series apart: labels in the order of their names. A label without a value is no label.
use std::fmt;
use std::sync::Arc;

/// The label that holds a series' name.
pub const NAME: &str = "__name__";

/// Labels, each name once, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(Vec<(Arc<str>, Arc<str>)>);

impl Labels {
    /// Of names and values in any order, each name once.
    pub fn new(labels: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Labels {
        let mut labels: Vec<_> = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        labels.sort();
        Labels(labels)
    }
    /// The value of a label; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).map_or("", |at| &self.0[at].1)
    }
    fn find(&self, name: &str) -> Option<usize> {
        self.0.binary_search_by(|(own, _)| own.as_ref().cmp(name)).ok()
    }
    /// Gives a label its value; an empty one takes the label away.
    pub fn set(&mut self, name: &str, value: &str) {
        match (self.find(name), value.is_empty()) {
            (Some(at), true) => drop(self.0.remove(at)),
            (Some(at), false) => self.0[at].1 = value.into(),
            (None, true) => {}
            (None, false) => {
                let at = self.0.partition_point(|(own, _)| own.as_ref() < name);
                self.0.insert(at, (name.into(), value.into()));
            }
        }
    }
    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// These labels alone.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Labels {
        Labels(self.0.iter().filter(|(own, _)| names.iter().any(|name| **name == **own)).cloned().collect())
    }
    /// All but these and the series' name.
    #[must_use]
    pub fn without(&self, names: &[String]) -> Labels {
        let kept = |own: &str| own != NAME && !names.iter().any(|name| name == own);
        Labels(self.0.iter().filter(|(own, _)| kept(own)).cloned().collect())
    }
    /// All but the series' name: what is computed from a series is another.
    #[must_use]
    pub fn nameless(&self) -> Labels {
        self.without(&[])
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Labels {
    fn from(labels: [(&str, &str); N]) -> Self {
        Labels::new(labels.map(|(name, value)| (name.into(), value.into())))
    }
}

impl fmt::Display for Labels {
    /// As in a query: `name{label="value"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(NAME))?;
        let labels: Vec<String> =
            self.iter().filter(|(name, _)| *name != NAME).map(|(name, value)| format!("{name}={value:?}")).collect();
        if labels.is_empty() && !self.is_empty() {
            return Ok(());
        }
        write!(f, "{{{}}}", labels.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_sorted_map_without_empty_values() {
        let mut labels = Labels::from([("b", "2"), (NAME, "x"), ("a", "1"), ("c", "")]);
        assert_eq!(labels.to_string(), r#"x{a="1", b="2"}"#);
        labels.set("aa", "3");
        labels.set("b", "");
        labels.set("none", "");
        labels.set("a", "0");
        assert_eq!(labels, Labels::from([(NAME, "x"), ("a", "0"), ("aa", "3")]));
        assert_eq!((labels.get("aa"), labels.get("b")), ("3", ""));
        assert_eq!(labels.only(&["a".to_owned()]).to_string(), r#"{a="0"}"#);
        assert_eq!(labels.without(&["a".to_owned()]).to_string(), r#"{aa="3"}"#);
        assert_eq!(Labels::from([(NAME, "x")]).to_string(), "x");
        assert_eq!(Labels::default().to_string(), "{}");
    }
}

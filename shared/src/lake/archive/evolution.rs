//! What a source is to its archive: what is fixed for the archive's life, and how its fields may change.
//!
//! A field may be added if it is optional, and a number may become a wider one. Files keep the columns that they were written with;
//! whoever needs others decodes their payloads again. The table says what the fields are now, and the archiver of an older
//! configuration that still runs is refused, so that no file is written by a schema that was replaced.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result};
use crate::event::url::UrlRule;
use crate::lake::delta::Metadata;
use crate::view::definition::{Field, Origin, Source};
use crate::view::value::FieldType;

/// Where the table says what the fields are.
pub(super) const FIELDS: &str = "seam.fields";

/// A field as the table's configuration keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Recorded {
    name: String,
    path: Vec<String>,
    r#type: FieldType,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
    /// Its column holds this normal form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<UrlRule>,
}

impl Recorded {
    fn new(field: &Field) -> Recorded {
        let optional = field.origin == Origin::Optional;
        Recorded {
            name: field.name.clone(),
            path: field.path.clone(),
            r#type: field.field_type,
            optional,
            url: field.url,
        }
    }
}

/// What an archive is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its columns are to be those of the source.
    Write,
    /// It may have grown beyond the source, which is of a definition before: what differs is decoded again.
    Read,
}

/// A change of fields that an archive may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Whether a number became wider, so that every archived event must be looked at.
    pub widened: bool,
    /// What is to be told of it.
    pub what: Vec<String>,
}

/// What an archive of `source` is to be, as its table's configuration keeps it.
pub(super) fn settings(source: &Source, incarnation: &str) -> BTreeMap<String, String> {
    let fields: Vec<Recorded> = source.fields.iter().map(Recorded::new).collect();
    let pairs = [
        ("seam.incarnation", json!(incarnation)),
        ("seam.segments", json!(source.segments)),
        ("seam.duplicates", json!(source.duplicates)),
        ("seam.id", json!(source.id)),
        ("seam.time", json!(source.time)),
        (FIELDS, json!(fields)),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_string())).collect()
}

/// Compares what the table says with what it is to be; `Some` where its fields have to change for that.
pub(super) fn check(
    source: &Source,
    made: &Metadata,
    wanted: &BTreeMap<String, String>,
    purpose: Purpose,
) -> Result<Option<Change>> {
    let name = &source.name;
    for (key, wanted) in wanted.iter().filter(|(key, _)| *key != FIELDS) {
        let made = made.configuration.get(key).map_or("nothing", String::as_str);
        if made != wanted {
            let what = key.trim_start_matches("seam.");
            if what == "incarnation" {
                return Err(Error::invalid(format!(
                    "the archive of source {name} is of another log than there is now ({made} then, {wanted} now): its topic, or the \
                     folder of an embedded log, was deleted and made again, so that offsets mean other records. Give the source \
                     another name, or set aside its archive and its speed state, and start again"
                )));
            }
            return Err(Error::invalid(format!(
                "the archive of source {name} was made with {what} = {made}, the source now has {wanted}: this is fixed for \
                 an archive's life; undo the change, or give the changed source another name"
            )));
        }
    }
    let text = made.configuration.get(FIELDS).map_or("[]", String::as_str);
    let unread =
        |e| Error::corrupt(format!("the archive of source {name} does not say what its fields are")).because(e);
    let recorded: Vec<Recorded> = serde_json::from_str(text).map_err(unread)?;
    let mut change = Change { widened: false, what: Vec::new() };
    for old in &recorded {
        match source.fields.iter().find(|field| field.name == old.name) {
            Some(field) => compare(name, old, field, purpose, &mut change)?,
            None if purpose == Purpose::Read => {}
            None => {
                let what = "is in its events and no longer in the configuration";
                return Err(refused(name, &old.name, what, "declare it again"));
            }
        }
    }
    for field in source.fields.iter().filter(|field| recorded.iter().all(|old| old.name != field.name)) {
        if field.origin != Origin::Optional {
            let how = format!("write `{}: {{ type: {}, optional: true }}`", field.name, field.field_type);
            return Err(refused(name, &field.name, "is new, and events of before may hold anything there", &how));
        }
        change.what.push(format!("field {} is new", field.name));
    }
    Ok(Some(change).filter(|change| !change.what.is_empty()))
}

fn compare(source: &str, old: &Recorded, field: &Field, purpose: Purpose, change: &mut Change) -> Result<()> {
    let (before, now) = (old.r#type.to_string(), field.field_type.to_string());
    if old.path != field.path {
        let what = format!("lay at $.{} and now lies at $.{}", old.path.join("."), field.path.join("."));
        return Err(refused(source, &field.name, &what, "undo the change"));
    }
    if old.optional != (field.origin == Origin::Optional) {
        let (was, is) = if old.optional { ("was", "is not") } else { ("was not", "is") };
        let what = format!("{was} optional and now {is}, so that other events would count");
        return Err(refused(source, &field.name, &what, "undo the change"));
    }
    if old.url != field.url {
        return Err(refused(
            source,
            &field.name,
            "is kept in another form than it is declared in now",
            "undo the change",
        ));
    }
    let narrower = old.r#type.is_wider_than(field.field_type);
    if old.r#type == field.field_type || (purpose == Purpose::Read && narrower) {
        return Ok(());
    }
    let what = format!("was {before} and now is {now}");
    if !field.field_type.is_wider_than(old.r#type) {
        return Err(refused(
            source,
            &field.name,
            &what,
            "undo the change: an int may become a decimal, a decimal a wider one",
        ));
    }
    if field.origin != Origin::Widened(old.r#type) {
        let how = format!("write `{}: {{ type: {now}, was: {before} }}`", field.name);
        return Err(refused(source, &field.name, &what, &how));
    }
    change.widened = true;
    change.what.push(format!("field {} {what}", field.name));
    Ok(())
}

fn refused(source: &str, field: &str, what: &str, how: &str) -> Error {
    Error::invalid(format!(
        "source {source} has an archive, and its field `{field}` {what}: {how}, or give the changed source another name"
    ))
}

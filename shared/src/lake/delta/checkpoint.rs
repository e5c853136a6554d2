//! Checkpoints: all that a table holds at one version in one Parquet file, as the Delta protocol has them, so that nobody needs to
//! replay every commit since the first.
//!
//! They only make opening quick. Each is written after its commit, by whoever made that; one that is missing, or is not what was
//! written, is passed over for the one before, down to the first commit. Other engines read the protocol's columns; Seam reads a
//! column of its own, the actions as they stand in commits, once the hash of the whole file is right. The hashes stand in
//! `_last_checkpoint`, behind what the protocol puts there, with a hash of their own.
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value as Json, json};

use super::action::{self, Action, PROTOCOL};
use super::{Snapshot, Transaction};
use crate::error::{Error, Kind, Result};
use crate::lake::parquet_file::{Spelling, Writer, unbuilt, unread};
use crate::lake::verified;

/// Versions between two checkpoints.
pub const EVERY: u64 = 100;
/// Seam's own column: an action a row, in JSON.
const ACTIONS: &str = "seam";

/// Where a table's commits and checkpoints lie.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoints<'a> {
    /// The store.
    pub store: &'a dyn ObjectStore,
    /// The table's directory.
    pub root: &'a Path,
}

impl Checkpoints<'_> {
    /// Writes a table's checkpoint, if nobody else has; then says where it is.
    ///
    /// # Errors
    /// `Unavailable`; the table is as good without.
    pub async fn write(&self, snapshot: &Snapshot) -> Result<()> {
        let actions = actions(snapshot);
        let (count, bytes) = (actions.len(), to_parquet(&actions)?);
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.path(snapshot.version), bytes.clone().into(), create).await {
            Ok(_) => {}
            // Another version of this program may have spelled it otherwise: its writer knows the hash.
            Err(object_store::Error::AlreadyExists { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut known = self.known().await?;
        known.insert(snapshot.version, verified::hash(&bytes));
        let newest = known.keys().next_back().copied();
        if newest != Some(snapshot.version) {
            return Ok(()); // somebody was faster by a hundred commits
        }
        let list = json!(known.iter().collect::<Vec<_>>());
        let last = json!({
            "version": snapshot.version,
            "size": count,
            "sizeInBytes": bytes.len(),
            "numOfAddFiles": snapshot.files.len(),
            ACTIONS: { "checkpoints": list, "blake3": verified::hash(list.to_string().as_bytes()) },
        });
        self.store.put(&self.last(), last.to_string().into()).await?;
        Ok(())
    }

    /// What the table held at its newest checkpoint up to `version`, without what that version's commit says about itself; `None` where
    /// there is no checkpoint that is whole.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn read(&self, version: u64) -> Result<Option<Snapshot>> {
        if version == 0 {
            return Ok(None);
        }
        for (&version, blake3) in self.known().await?.range(..=version).rev() {
            let path = self.path(version);
            let read = verified::get(self.store, &path, blake3).await;
            match read.and_then(|bytes| snapshot(version, from_parquet(&bytes)?)) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(error) if error.kind() == Kind::Unavailable => return Err(error),
                Err(error) => tracing::warn!(%error, "a checkpoint is passed over; the table opens slower"),
            }
        }
        Ok(None)
    }

    /// The checkpoints that there are, with their hashes.
    async fn known(&self) -> Result<BTreeMap<u64, String>> {
        let bytes = match self.store.get(&self.last()).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(BTreeMap::new()),
            Err(error) => return Err(error.into()),
        };
        let known = || {
            let last: Json = serde_json::from_slice(&bytes).ok()?;
            let list = last.get(ACTIONS)?.get("checkpoints")?;
            let stated = last.get(ACTIONS)?.get("blake3")?.as_str()?;
            let is_whole = verified::hash(list.to_string().as_bytes()) == stated;
            let pairs: Vec<(u64, String)> = serde_json::from_value(list.clone()).ok().filter(|_| is_whole)?;
            Some(pairs.into_iter().collect())
        };
        Ok(known().unwrap_or_else(|| {
            tracing::warn!(path = %self.last(), "is damaged, or not Seam's: no checkpoint is used");
            BTreeMap::new()
        }))
    }

    fn path(&self, version: u64) -> Path {
        self.root.clone().join("_delta_log").join(format!("{version:020}.checkpoint.parquet"))
    }
    fn last(&self) -> Path {
        self.root.clone().join("_delta_log").join("_last_checkpoint")
    }
}

/// What makes a table what it is, in one order.
fn actions(snapshot: &Snapshot) -> Vec<Action> {
    let mut out = vec![Action::Protocol(PROTOCOL), Action::MetaData(snapshot.metadata.clone())];
    let reached = |(app_id, version): (&String, &u64)| Transaction { app_id: app_id.clone(), version: *version };
    out.extend(snapshot.transactions.iter().map(reached).map(Action::Txn));
    out.extend(snapshot.files.values().map(|add| Action::Add(add.as_ref().clone())));
    out
}

fn snapshot(version: u64, actions: Vec<Action>) -> Result<Snapshot> {
    let (mut metadata, mut files, mut transactions) = (None, BTreeMap::new(), BTreeMap::new());
    for action in actions {
        match action {
            Action::MetaData(found) => metadata = Some(found),
            Action::Add(add) => drop(files.insert(add.path.clone(), Arc::new(add))),
            Action::Txn(txn) => drop(transactions.insert(txn.app_id, txn.version)),
            Action::Protocol(found) if found == PROTOCOL => {}
            Action::Protocol(_) | Action::Remove(_) | Action::CommitInfo(_) => {
                return Err(Error::corrupt(format!(
                    "the checkpoint of version {version} holds what Seam does not write"
                )));
            }
        }
    }
    let none = || Error::corrupt(format!("the checkpoint of version {version} says nothing of the schema"));
    Ok(Snapshot { version, metadata: metadata.ok_or_else(none)?, files, transactions, info: Arc::default() })
}

fn field(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn structure(fields: Vec<Field>) -> DataType {
    DataType::Struct(Fields::from(fields))
}

fn map() -> DataType {
    let key = Field::new("key", DataType::Utf8, false);
    let entries = structure(vec![key, field("value", DataType::Utf8)]);
    DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
}

/// The columns of the protocol, and Seam's own.
fn schema() -> Schema {
    use DataType::{Boolean, Int32, Int64, Utf8};
    let format = structure(vec![field("provider", Utf8), field("options", map())]);
    let names = DataType::List(Arc::new(field("element", Utf8)));
    let txn = vec![field("appId", Utf8), field("version", Int64)];
    let add = vec![
        field("path", Utf8),
        field("partitionValues", map()),
        field("size", Int64),
        field("modificationTime", Int64),
        field("dataChange", Boolean),
        field("stats", Utf8),
        field("tags", map()),
    ];
    let remove = vec![field("path", Utf8), field("deletionTimestamp", Int64), field("dataChange", Boolean)];
    let metadata = vec![
        field("id", Utf8),
        field("name", Utf8),
        field("description", Utf8),
        field("format", format),
        field("schemaString", Utf8),
        field("partitionColumns", names),
        field("configuration", map()),
        field("createdTime", Int64),
    ];
    let protocol = vec![field("minReaderVersion", Int32), field("minWriterVersion", Int32)];
    Schema::new(vec![
        field("txn", structure(txn)),
        field("add", structure(add)),
        field("remove", structure(remove)),
        field("metaData", structure(metadata)),
        field("protocol", structure(protocol)),
        field(ACTIONS, Utf8),
    ])
}

/// The same actions always give the same bytes.
fn to_parquet(actions: &[Action]) -> Result<Bytes> {
    let lines: Vec<String> = actions.iter().cloned().map(action::line).collect();
    let values: Vec<Json> =
        lines.iter().map(|line| serde_json::from_str(line).expect("it was written as JSON")).collect();
    let schema = schema();
    let columns: Vec<ArrayRef> = (schema.fields().iter())
        .map(|field| match field.name().as_str() {
            ACTIONS => Arc::new(StringArray::from_iter_values(&lines)),
            name => column(field.data_type(), &values.iter().map(|value| value.get(name)).collect::<Vec<_>>()),
        })
        .collect();
    let mut writer = Writer::new(schema.clone(), &[(ACTIONS, Spelling::Plain)], actions.len())?;
    writer.push(&RecordBatch::try_new(Arc::new(schema), columns).map_err(unbuilt)?)?;
    writer.finish()
}

/// A column of JSON values; what is absent is null.
fn column(kind: &DataType, values: &[Option<&Json>]) -> ArrayRef {
    let texts = |value: &Json| value.as_str().map(str::to_owned);
    match kind {
        DataType::Struct(fields) => {
            let of = |field: &Arc<Field>| {
                let members: Vec<Option<&Json>> =
                    values.iter().map(|value| value.and_then(|v| v.get(field.name()))).collect();
                column(field.data_type(), &members)
            };
            let present: Vec<bool> = values.iter().map(|value| value.is_some_and(Json::is_object)).collect();
            let columns = fields.iter().map(of).collect();
            Arc::new(StructArray::new(fields.clone(), columns, Some(present.into())))
        }
        DataType::Map(..) => {
            let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
            let mut map = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
            for value in values {
                let entries = value.and_then(Json::as_object);
                for (key, value) in entries.into_iter().flatten() {
                    map.keys().append_value(key);
                    map.values().append_option(texts(value));
                }
                map.append(entries.is_some()).expect("as many keys as values");
            }
            Arc::new(map.finish())
        }
        DataType::List(element) => {
            let mut list = ListBuilder::new(StringBuilder::new()).with_field(element.clone());
            for value in values {
                let items = value.and_then(Json::as_array);
                items.into_iter().flatten().for_each(|item| list.values().append_option(texts(item)));
                list.append(items.is_some());
            }
            Arc::new(list.finish())
        }
        DataType::Int64 => Arc::new(Int64Array::from_iter(values.iter().map(|value| value.and_then(Json::as_i64)))),
        DataType::Int32 => {
            let narrow = |value: &Option<&Json>| i32::try_from(value.and_then(Json::as_i64)?).ok();
            Arc::new(Int32Array::from_iter(values.iter().map(narrow)))
        }
        DataType::Boolean => {
            Arc::new(BooleanArray::from_iter(values.iter().map(|value| value.and_then(Json::as_bool))))
        }
        _ => Arc::new(StringArray::from_iter(values.iter().map(|value| value.and_then(texts)))),
    }
}

fn from_parquet(bytes: &Bytes) -> Result<Vec<Action>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|e| unread().because(e))?;
    let wanted = ProjectionMask::columns(builder.parquet_schema(), [ACTIONS]);
    let mut actions = Vec::new();
    for batch in builder.with_projection(wanted).build().map_err(|e| unread().because(e))? {
        let batch = batch.map_err(|e| Error::corrupt("a checkpoint cannot be read").because(e))?;
        let column = batch.column_by_name(ACTIONS).and_then(|column| column.as_string_opt::<i32>());
        let strange = || Error::corrupt("a checkpoint lacks Seam's column");
        for line in column.ok_or_else(strange)?.iter() {
            actions.push(line.and_then(action::parse).ok_or_else(strange)?);
        }
    }
    Ok(actions)
}

//! The catalogs: `pg_catalog` and `information_schema`, as far as there is anything in them.
use std::rc::Rc;

use super::value::Value;
use super::{INFORMATION, PG};
use crate::catalog::{Catalog, ColumnDefinition, Table};
use crate::frame::Type;
use crate::session::{Facts, SETTINGS};

/// The object id of the first table.
const FIRST_OID: i64 = 16_384;
/// Those of schemas.
const SCHEMAS: [(i64, &str); 3] = [(PUBLIC, "public"), (11, PG), (13_000, INFORMATION)];
const PUBLIC: i64 = 2_200;
/// Whose all tables are.
pub const OWNER: &str = "seam";

/// A type: its number and name, how `format_type` spells it, its size, its category, and the number of its arrays.
pub type TypeRow = (i64, &'static str, &'static str, i64, &'static str, i64);
/// The types that clients look for.
pub const TYPES: [TypeRow; 29] = [
    (16, "bool", "boolean", 1, "B", 1_000),
    (17, "bytea", "bytea", -1, "U", 1_001),
    (18, "char", "\"char\"", 1, "Z", 1_002),
    (19, "name", "name", 64, "S", 1_003),
    (20, "int8", "bigint", 8, "N", 1_016),
    (21, "int2", "smallint", 2, "N", 1_005),
    (22, "int2vector", "int2vector", -1, "A", 1_006),
    (23, "int4", "integer", 4, "N", 1_007),
    (24, "regproc", "regproc", 4, "N", 1_008),
    (25, "text", "text", -1, "S", 1_009),
    (26, "oid", "oid", 4, "N", 1_028),
    (27, "tid", "tid", 6, "U", 1_010),
    (28, "xid", "xid", 4, "U", 1_011),
    (114, "json", "json", -1, "U", 199),
    (700, "float4", "real", 4, "N", 1_021),
    (701, "float8", "double precision", 8, "N", 1_022),
    (705, "unknown", "unknown", -2, "X", 0),
    (1_042, "bpchar", "character", -1, "S", 1_014),
    (1_043, "varchar", "character varying", -1, "S", 1_015),
    (1_082, "date", "date", 4, "D", 1_182),
    (1_083, "time", "time without time zone", 8, "D", 1_183),
    (1_114, "timestamp", "timestamp without time zone", 8, "D", 1_115),
    (1_184, "timestamptz", "timestamp with time zone", 8, "D", 1_185),
    (1_186, "interval", "interval", 16, "T", 1_187),
    (1_700, "numeric", "numeric", -1, "N", 1_231),
    (2_205, "regclass", "regclass", 4, "N", 2_210),
    (2_206, "regtype", "regtype", 4, "N", 2_211),
    (2_950, "uuid", "uuid", 16, "U", 2_951),
    (3_802, "jsonb", "jsonb", -1, "U", 3_807),
];
/// The numbers of catalogs, which comments and dependencies are told apart by.
const CATALOGS: [(i64, &str); 8] = [
    (1_247, "pg_type"),
    (1_249, "pg_attribute"),
    (1_255, "pg_proc"),
    (1_259, "pg_class"),
    (1_262, "pg_database"),
    (2_606, "pg_constraint"),
    (2_604, "pg_attrdef"),
    (2_615, "pg_namespace"),
];
/// The functions that read lists, by which drivers know a type of lists.
const ARRAY_IN: i64 = 750;
const ARRAY_RECEIVE: i64 = 2_400;
/// Words that a statement cannot use as names without quotes, and that are no words of the standard.
const KEYWORDS: [&str; 6] = ["analyse", "analyze", "ilike", "limit", "offset", "returning"];

/// A row.
pub type Row = Rc<[Value]>;
/// The names and types of columns.
pub type Columns = Rc<Vec<(String, Type)>>;

/// A catalog.
pub struct Relation {
    pub columns: Columns,
    pub rows: Vec<Row>,
}

/// What is known when a question is asked.
#[derive(Clone, Copy)]
pub struct World<'a> {
    pub catalog: &'a Catalog,
    pub facts: &'a Facts,
}

/// Columns as `name:type=value`, where text needs no type and null no value; and rows, which name only what differs.
fn relation(columns: &str, rows: impl IntoIterator<Item = Vec<(&'static str, Value)>>) -> Relation {
    let (mut known, mut usual) = (Vec::new(), Vec::new());
    for column in columns.split_whitespace() {
        let (column, value) = column.split_once('=').map_or((column, None), |(column, value)| (column, Some(value)));
        let (name, kind) = column.split_once(':').unwrap_or((column, ""));
        let kind = match kind {
            "i" => Type::Int,
            "b" => Type::Bool,
            "f" => Type::Float,
            _ => Type::Text,
        };
        let value = value.map(Value::of);
        usual.push(match (kind, value) {
            (_, None) => Value::Null,
            (Type::Int, Some(value)) => value.int().map_or(Value::Null, Value::Int),
            (Type::Float, Some(value)) => value.float().map_or(Value::Null, Value::Float),
            (Type::Bool, Some(value)) => value.bool().map_or(Value::Null, Value::Bool),
            (_, Some(value)) => value,
        });
        known.push((name.to_owned(), kind));
    }
    let row = |given: Vec<(&'static str, Value)>| {
        let mut row = usual.clone();
        for (name, value) in given {
            if let Some(at) = known.iter().position(|(known, _)| known == name) {
                row[at] = value;
            }
        }
        Row::from(row)
    };
    let rows = rows.into_iter().map(row).collect();
    Relation { columns: Rc::new(known), rows }
}

fn text(text: &str) -> Value {
    Value::of(text)
}

fn int(value: impl TryInto<i64>) -> Value {
    value.try_into().map_or(Value::Null, Value::Int)
}

impl<'a> World<'a> {
    /// A catalog by name; `None` if nothing of it is known.
    pub fn relation(self, schema: Option<&str>, name: &str) -> Option<Relation> {
        if schema == Some(INFORMATION) {
            return self.information(name);
        }
        Some(match name {
            "pg_namespace" => relation(
                "oid:i nspname nspowner:i=10 nspacl",
                SCHEMAS.map(|(oid, name)| vec![("oid", int(oid)), ("nspname", text(name))]),
            ),
            "pg_class" => relation(
                CLASS,
                self.tables().map(|(oid, table)| {
                    let may_read = Value::Text(format!("{{{}=r/{OWNER}}}", self.facts.user));
                    let (name, columns) = (text(&table.name), int(table.columns.len()));
                    vec![("oid", int(oid)), ("relname", name), ("relnatts", columns), ("relacl", may_read)]
                }),
            ),
            "pg_attribute" => self.attributes(),
            "pg_type" => types(),
            "pg_database" => relation(DATABASE, [vec![("datname", text(&self.facts.database))]]),
            "pg_roles" | "pg_authid" => relation(ROLES, [vec![("rolname", text(&self.facts.user))]]),
            "pg_user" | "pg_shadow" => relation(
                "usename usesysid:i=10 usecreatedb:b=f usesuper:b=f userepl:b=f usebypassrls:b=f passwd valuntil useconfig",
                [vec![("usename", text(&self.facts.user))]],
            ),
            "pg_tablespace" => relation("oid:i=1663 spcname=pg_default spcowner:i=10 spcacl spcoptions", [vec![]]),
            "pg_proc" => relation(
                "oid:i proname pronamespace:i=11 proowner:i=10 prolang:i=12 prokind=f prosecdef:b=f proisstrict:b=t proretset:b=f \
                 provolatile=s proparallel=s pronargs:i=1 prorettype:i=2277 proargtypes proallargtypes proargmodes proargnames \
                 prosrc proacl",
                [
                    vec![("oid", int(ARRAY_IN)), ("proname", text("array_in"))],
                    vec![("oid", int(ARRAY_RECEIVE)), ("proname", text("array_recv"))],
                ],
            ),
            "pg_am" => relation("oid:i=2 amname=heap amhandler amtype=t", [vec![]]),
            "pg_tables" => relation(
                "schemaname=public tablename tableowner tablespace hasindexes:b=f hasrules:b=f hastriggers:b=f rowsecurity:b=f",
                self.tables().map(|(_, table)| vec![("tablename", text(&table.name)), ("tableowner", text(OWNER))]),
            ),
            "pg_settings" => relation(
                "name setting unit category=Seam short_desc= extra_desc context=user vartype=string source=default min_val \
                 max_val enumvals boot_val reset_val sourcefile sourceline:i pending_restart:b=f",
                SETTINGS.map(|(name, _)| {
                    let value = self.facts.setting(name).map_or(Value::Null, Value::Text);
                    vec![("name", text(name)), ("setting", value.clone()), ("reset_val", value)]
                }),
            ),
            _ => return None,
        })
    }
    /// What a function in FROM shows without arguments.
    pub fn keywords() -> Relation {
        relation(
            "word catcode=R catdesc=reserved barelabel:b=f baredesc",
            KEYWORDS.map(|word| vec![("word", text(word))]),
        )
    }

    /// The tables with their numbers.
    pub fn tables(self) -> impl Iterator<Item = (i64, &'a Table)> {
        (FIRST_OID..).zip(&self.catalog.tables)
    }
    /// The number of what `regclass` names.
    pub fn class_named(self, name: &str) -> Option<i64> {
        let name = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
        let catalog = || CATALOGS.iter().find(|(_, known)| *known == name).map(|(oid, _)| *oid);
        self.tables().find(|(_, table)| table.name == name).map(|(oid, _)| oid).or_else(catalog)
    }
    /// What `regclass` calls a number.
    pub fn class_name(self, oid: i64) -> Option<String> {
        let catalog = || CATALOGS.iter().find(|(known, _)| *known == oid).map(|(_, name)| (*name).to_owned());
        self.tables().find(|(known, _)| *known == oid).map(|(_, table)| table.name.clone()).or_else(catalog)
    }

    fn attributes(self) -> Relation {
        let columns = self
            .tables()
            .flat_map(|(oid, table)| (1_i64..).zip(&table.columns).map(move |(place, column)| (oid, place, column)));
        relation(
            "attrelid:i attname atttypid:i attstattarget:i=-1 attlen:i attnum:i attndims:i=0 attcacheoff:i=-1 atttypmod:i attbyval:b=t \
             attstorage=p attcompression= attalign=d attnotnull:b=f atthasdef:b=f atthasmissing:b=f attidentity= attgenerated= \
             attisdropped:b=f attislocal:b=t attinhcount:i=0 attcollation:i=0 attacl attoptions attfdwoptions attmissingval",
            columns.map(|(oid, place, column)| {
                let kind = column.kind.wire().oid();
                vec![
                    ("attrelid", int(oid)),
                    ("attname", text(&column.name)),
                    ("atttypid", int(kind)),
                    ("attlen", int(type_of(i64::from(kind)).map_or(-1, |found| found.3))),
                    ("attnum", int(place)),
                    ("atttypmod", int(modifier(column.kind))),
                ]
            }),
        )
    }

    fn information(self, name: &str) -> Option<Relation> {
        let database = || text(&self.facts.database);
        Some(match name {
            "schemata" => relation(
                "catalog_name schema_name schema_owner default_character_set_catalog default_character_set_schema \
                 default_character_set_name sql_path",
                SCHEMAS.map(|(_, name)| {
                    vec![("catalog_name", database()), ("schema_name", text(name)), ("schema_owner", text(OWNER))]
                }),
            ),
            "tables" => relation(
                "table_catalog table_schema=public table_name table_type self_referencing_column_name reference_generation \
                 user_defined_type_catalog user_defined_type_schema user_defined_type_name is_insertable_into=NO is_typed=NO \
                 commit_action",
                self.tables().map(|(_, table)| {
                    vec![
                        ("table_catalog", database()),
                        ("table_name", text(&table.name)),
                        ("table_type", text("BASE TABLE")),
                    ]
                }),
            ),
            "columns" => relation(
                INFORMATION_COLUMNS,
                self.tables().flat_map(|(_, table)| {
                    (1_i64..)
                        .zip(&table.columns)
                        .map(move |(place, column)| self.information_column(table, place, column))
                }),
            ),
            "information_schema_catalog_name" => relation("catalog_name", [vec![("catalog_name", database())]]),
            _ => return None,
        })
    }
    fn information_column(self, table: &Table, place: i64, column: &ColumnDefinition) -> Vec<(&'static str, Value)> {
        let (kind, wire) = (column.kind.sql(), column.kind.wire());
        let (precision, radix, scale) = match column.kind {
            Type::Int => (int(64), int(2), int(0)),
            Type::Float => (int(53), int(2), Value::Null),
            Type::Decimal(scale) => (int(38), int(10), int(scale)),
            _ => (Value::Null, Value::Null, Value::Null),
        };
        let moment = if matches!(column.kind, Type::Time) { int(6) } else { Value::Null };
        vec![
            ("table_catalog", text(&self.facts.database)),
            ("table_name", text(&table.name)),
            ("column_name", text(&column.name)),
            ("ordinal_position", int(place)),
            ("data_type", text(kind.split('(').next().unwrap_or_default())),
            ("numeric_precision", precision),
            ("numeric_precision_radix", radix),
            ("numeric_scale", scale),
            ("datetime_precision", moment),
            ("udt_catalog", text(&self.facts.database)),
            ("udt_name", text(wire.name())),
            ("dtd_identifier", text(&place.to_string())),
        ]
    }
}

const CLASS: &str = "oid:i relname relnamespace:i=2200 reltype:i=0 reloftype:i=0 relowner:i=10 relam:i=2 relfilenode:i=0 \
    reltablespace:i=0 relpages:i=0 reltuples:f=-1 relallvisible:i=0 reltoastrelid:i=0 relhasindex:b=f relisshared:b=f relpersistence=p \
    relkind=r relnatts:i relchecks:i=0 relhasrules:b=f relhastriggers:b=f relhassubclass:b=f relrowsecurity:b=f \
    relforcerowsecurity:b=f relispopulated:b=t relreplident=d relispartition:b=f relrewrite:i=0 relfrozenxid:i=0 relminmxid:i=0 relacl \
    reloptions relpartbound";
const DATABASE: &str = "oid:i=5 datname datdba:i=10 encoding:i=6 datlocprovider=c datistemplate:b=f datallowconn:b=t datconnlimit:i=-1 \
    datfrozenxid:i=0 datminmxid:i=0 dattablespace:i=1663 datcollate=C datctype=C daticulocale datcollversion datacl";
const ROLES: &str = "oid:i=10 rolname rolsuper:b=f rolinherit:b=t rolcreaterole:b=f rolcreatedb:b=f rolcanlogin:b=t rolreplication:b=f \
    rolconnlimit:i=-1 rolpassword=******** rolvaliduntil rolbypassrls:b=f rolconfig";
const INFORMATION_COLUMNS: &str = "table_catalog table_schema=public table_name column_name ordinal_position:i column_default \
    is_nullable=YES data_type character_maximum_length:i character_octet_length:i numeric_precision:i numeric_precision_radix:i \
    numeric_scale:i datetime_precision:i interval_type interval_precision:i character_set_name collation_name domain_catalog \
    domain_schema domain_name udt_catalog udt_schema=pg_catalog udt_name maximum_cardinality:i dtd_identifier \
    is_self_referencing=NO is_identity=NO identity_generation is_generated=NEVER generation_expression is_updatable=NO";

/// A type by its number.
pub fn type_of(oid: i64) -> Option<&'static TypeRow> {
    TYPES.iter().find(|row| row.0 == oid)
}

/// What a column's type says beside its name: precision and scale of decimals.
fn modifier(kind: Type) -> i64 {
    match kind {
        Type::Decimal(scale) => (38 << 16 | i64::from(scale)) + 4,
        _ => -1,
    }
}

/// Types, and those of their arrays.
fn types() -> Relation {
    let one = |&(oid, name, _, size, category, array): &TypeRow| {
        vec![
            ("oid", int(oid)),
            ("typname", text(name)),
            ("typlen", int(size)),
            ("typcategory", text(category)),
            ("typarray", int(array)),
        ]
    };
    let list = |&(oid, name, _, _, _, array): &TypeRow| {
        vec![
            ("oid", int(array)),
            ("typname", Value::Text(format!("_{name}"))),
            ("typlen", int(-1)),
            ("typcategory", text("A")),
            ("typelem", int(oid)),
            ("typinput", Value::Named(ARRAY_IN, "array_in".to_owned())),
            ("typreceive", Value::Named(ARRAY_RECEIVE, "array_recv".to_owned())),
        ]
    };
    let lists = TYPES.iter().filter(|row| row.5 != 0).map(list);
    relation(
        "oid:i typname typnamespace:i=11 typowner:i=10 typlen:i typbyval:b=f typtype=b typcategory typispreferred:b=f typisdefined:b=t \
         typdelim=, typrelid:i=0 typsubscript typelem:i=0 typarray:i=0 typinput typoutput typreceive typsend typmodin typmodout \
         typanalyze typalign=i typstorage=p typnotnull:b=f typbasetype:i=0 typtypmod:i=-1 typndims:i=0 typcollation:i=0 typdefaultbin \
         typdefault typacl",
        TYPES.iter().map(one).chain(lists),
    )
}

//! The protocol: simple and extended queries, their results in text and binary, cancellation.
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures::{Sink, SinkExt, stream};
use pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler, send_describe_response};
use pgwire::api::results::{
    CopyResponse, DescribePortalResponse, DescribeStatementResponse, FieldFormat, FieldInfo, QueryResponse, Response,
    Tag,
};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::PortalStore;
use pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionManager, METADATA_DATABASE, METADATA_USER, PgWireServerHandlers,
    Type as WireType,
};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::CopyData;
use pgwire::messages::data::DataRow;
use pgwire::messages::extendedquery::{Describe, TARGET_TYPE_BYTE_PORTAL};
use pgwire::messages::response::{NoticeResponse, TransactionStatus};
use seam_serving::access::{Access, Allowance, Known};
use seam_shared::access;
use seam_shared::config::SqlSettings;
use sqlparser::ast::{Expr, Statement};

use crate::catalog::Catalog;
use crate::error::{SqlError, state};
use crate::frame::{Frame, Type};
use crate::login::Login;
use crate::parameters::{self, Expected};
use crate::parse;
use crate::service::{Caller, Outcome, Reply, Service};
use crate::session::Session;

/// What answers connections.
pub struct Handlers {
    queries: Arc<Queries>,
    login: Arc<Login>,
    cancel: Arc<DefaultCancelHandler>,
}

impl Handlers {
    /// Handlers of a service.
    pub fn new(service: Arc<Service>, settings: &SqlSettings, access: Arc<Access>) -> Handlers {
        let manager = Arc::new(ConnectionManager::new());
        let everything = service.catalog(&access::Caller::trusted());
        let doors = Arc::new(Doors { service, access: access.clone(), everything });
        Handlers {
            queries: Arc::new(Queries { parser: Arc::new(Parse(doors.clone())), doors }),
            login: Arc::new(Login::new(&settings.user, settings.password.as_ref(), access, manager.clone())),
            cancel: Arc::new(DefaultCancelHandler::new(manager)),
        }
    }
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.queries.clone()
    }
    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.queries.clone()
    }
    fn startup_handler(&self) -> Arc<impl pgwire::api::auth::StartupHandler> {
        self.login.clone()
    }
    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        self.cancel.clone()
    }
}

struct Queries {
    doors: Arc<Doors>,
    parser: Arc<Parse>,
}

/// What is behind a connection, and what of it its user sees.
struct Doors {
    service: Arc<Service>,
    access: Arc<Access>,
    /// All tables, for those who did not log in with a key.
    everything: Arc<Catalog>,
}

/// The tables of a connection's key.
struct Shown(Arc<Catalog>);

impl Doors {
    /// The tables that a connection's user may see.
    fn catalog<C: ClientInfo>(&self, client: &C) -> Arc<Catalog> {
        let Some(known) = client.session_extensions().get::<Known>() else { return self.everything.clone() };
        client.session_extensions().get_or_insert_with(|| Shown(self.service.catalog(&known.caller))).0.clone()
    }
    /// Lets a key in once more: it may have expired or been taken away since the login, or come too often.
    fn admit<C: ClientInfo>(&self, client: &C) -> std::result::Result<(), SqlError> {
        let Some(known) = client.session_extensions().get::<Known>() else { return Ok(()) };
        if !self.access.is_current(&known.caller) {
            return Err(SqlError::new(state::NOBODY, "this key has expired"));
        }
        match known.limit.as_ref().map(|limit| limit.take()) {
            Some(Allowance { wait: Some(wait), rate, .. }) => {
                let error = SqlError::new(state::TOO_OFTEN, format!("this key may ask {rate}"));
                Err(error.hint(format!("Wait {} s.", wait.as_secs() + 1)))
            }
            _ => Ok(()),
        }
    }
}

/// A statement that was prepared.
#[derive(Debug)]
struct Prepared {
    statement: Statement,
    /// The types of its parameters.
    kinds: Vec<Expected>,
}

/// A connection's user, and what it calls the database.
fn names<C: ClientInfo>(client: &C) -> (String, String) {
    let named = |key| client.metadata().get(key).cloned();
    let user = named(METADATA_USER).unwrap_or_default();
    (user.clone(), named(METADATA_DATABASE).unwrap_or(user))
}

fn session<C: ClientInfo>(client: &C) -> Arc<Session> {
    client.session_extensions().get_or_insert_with(Session::default)
}

fn told(error: SqlError) -> PgWireError {
    PgWireError::UserError(Box::new(error.into()))
}

fn failed(error: SqlError) -> Response {
    Response::Error(Box::new(error.into()))
}

/// In a transaction that failed, only its end is listened to.
fn check_transaction(status: TransactionStatus, statement: &Statement) -> std::result::Result<(), SqlError> {
    let is_end = matches!(statement, Statement::Rollback { .. } | Statement::Commit { .. });
    if status != TransactionStatus::Error || is_end {
        return Ok(());
    }
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    Err(SqlError::new(state::ABORTED, message))
}

fn rows(frame: Frame, format: &Format) -> Response {
    let fields = Arc::new(frame.fields(|column| format_of(format, column)));
    let described = fields.clone();
    let data = (0..frame.rows()).map(move |row| {
        let mut bytes = BytesMut::new();
        frame.write(row, &fields, &mut bytes);
        Ok(DataRow::new(bytes, fields.len() as i16))
    });
    Response::Query(QueryResponse::new(described, stream::iter(data)))
}

/// One format for all columns, or one each; text where a client names too few.
fn format_of(format: &Format, column: usize) -> FieldFormat {
    match format {
        Format::Individual(codes) => codes.get(column).map_or(FieldFormat::Text, |code| FieldFormat::from(*code)),
        one => one.format_for(column),
    }
}

/// What a reply says after what a transaction has been through: the end of one that failed is no success, and where it goes back to a
/// savepoint it is as if it began anew, since it has changed nothing.
fn settled(reply: Reply, status: TransactionStatus) -> Reply {
    match reply {
        Reply::End(_) | Reply::Back if status == TransactionStatus::Error => Reply::End("ROLLBACK"),
        Reply::Back => Reply::Done("ROLLBACK"),
        reply => reply,
    }
}

fn response(reply: Reply, format: &Format) -> Response {
    match reply {
        Reply::Back => Response::Execution(Tag::new("ROLLBACK")),
        Reply::Rows(frame) => rows(frame, format),
        Reply::Copy(lines, columns) => {
            let lines = lines.into_iter().map(|line| Ok(CopyData::new(line.into())));
            Response::CopyOut(CopyResponse::new(0, columns, stream::iter(lines)))
        }
        Reply::Done(tag) => Response::Execution(Tag::new(tag)),
        Reply::Begin(tag) => Response::TransactionStart(Tag::new(tag)),
        Reply::End(tag) => Response::TransactionEnd(Tag::new(tag)),
    }
}

async fn notify<C>(client: &mut C, notices: Vec<String>) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    for notice in notices {
        let mut info = ErrorInfo::new("NOTICE".to_owned(), "00000".to_owned(), notice);
        info.severity_nonlocalized = Some("NOTICE".to_owned());
        client.feed(PgWireBackendMessage::NoticeResponse(NoticeResponse::from(info))).await?;
    }
    Ok(())
}

#[async_trait]
impl SimpleQueryHandler for Queries {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let catalog = self.doors.catalog(client);
        let statements = match parse::statements(query) {
            Ok(statements) => statements,
            Err(error) => return Ok(vec![failed(error)]),
        };
        if statements.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        let (session, (user, database)) = (session(client), names(client));
        let caller = Caller { session: &session, user: &user, database: &database, catalog: &catalog };
        let mut status = client.transaction_status();
        let mut responses = Vec::with_capacity(statements.len());
        for statement in &statements {
            let outcome = match check_transaction(status, statement).and_then(|()| self.doors.admit(client)) {
                Ok(()) => self.doors.service.run(caller, statement, &[]).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Outcome { reply, notices }) => {
                    notify(client, notices).await?;
                    let reply = settled(reply, status);
                    match reply {
                        Reply::Begin(_) => status = TransactionStatus::Transaction,
                        Reply::End(_) => status = TransactionStatus::Idle,
                        Reply::Rows(_) | Reply::Copy(..) | Reply::Done(_) | Reply::Back => {}
                    }
                    responses.push(response(reply, &Format::UnifiedText));
                }
                Err(error) => {
                    responses.push(failed(error));
                    break;
                }
            }
        }
        Ok(responses)
    }
}

struct Parse(Arc<Doors>);

#[async_trait]
impl QueryParser for Parse {
    type Statement = Arc<Prepared>;

    async fn parse_sql<C>(&self, client: &C, sql: &str, _: &[Option<WireType>]) -> PgWireResult<Option<Arc<Prepared>>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let catalog = self.0.catalog(client);
        let mut statements = parse::statements(sql).map_err(told)?;
        let Some(statement) = statements.pop() else { return Ok(None) };
        if !statements.is_empty() {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(told(SqlError::new(state::SYNTAX, message)));
        }
        let (user, database) = names(client);
        let kinds = parameters::types(&statement, &catalog, &session(client).facts(&user, &database));
        Ok(Some(Arc::new(Prepared { statement, kinds })))
    }
    fn get_parameter_types(&self, statement: &Arc<Prepared>) -> PgWireResult<Vec<WireType>> {
        Ok(statement.kinds.iter().map(|kind| kind.wire()).collect())
    }
    fn get_result_schema(&self, _: &Arc<Prepared>, _: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        // The handler describes statements itself: that takes time.
        Ok(Vec::new())
    }
}

impl Queries {
    /// The columns of a statement's answer.
    async fn columns<C: ClientInfo>(
        &self,
        client: &C,
        prepared: &Prepared,
        parameters: Vec<Expr>,
        format: &Format,
    ) -> PgWireResult<Option<Vec<FieldInfo>>> {
        let fields = |frame: &Frame| frame.fields(|column| format_of(format, column));
        let (session, (user, database)) = (session(client), names(client));
        let catalog = self.doors.catalog(client);
        let caller = Caller { session: &session, user: &user, database: &database, catalog: &catalog };
        let frame = self.doors.service.describe(caller, &prepared.statement, &parameters).await.map_err(told)?;
        Ok(frame.as_ref().map(fields))
    }
}

/// The values of a portal as literals.
fn values(portal: &Portal<Arc<Prepared>>) -> PgWireResult<Vec<Expr>> {
    let kinds = &portal.statement.statement.kinds;
    if portal.parameters.len() < kinds.len() {
        let (given, needed) = (portal.parameters.len(), kinds.len());
        let message = format!("bind message supplies {given} parameters, but the statement requires {needed}");
        return Err(told(SqlError::new(state::PARAMETERS, message)));
    }
    let value = |(i, bytes): (usize, &Option<bytes::Bytes>)| {
        let named = portal.statement.parameter_types.get(i).cloned().flatten();
        let named = named.filter(|kind| *kind != WireType::UNKNOWN);
        let format = format_of(&portal.parameter_format, i);
        // A text whose type nobody named is read as what it is compared to; bytes are what the statement's description said.
        let told_type = kinds.get(i).map_or(WireType::TEXT, |kind| kind.wire());
        let kind = named.unwrap_or_else(|| match told_type {
            told_type if format == FieldFormat::Binary => told_type,
            WireType::INT8 | WireType::FLOAT8 | WireType::NUMERIC => WireType::NUMERIC,
            _ => WireType::UNKNOWN,
        });
        parameters::value(bytes.as_ref(), &kind, format).map_err(told)
    };
    portal.parameters.iter().enumerate().map(value).collect()
}

/// Literals to describe a statement with before there are values.
fn examples(prepared: &Prepared, named: &[Option<WireType>]) -> Vec<Expr> {
    let example = |(i, kind): (usize, &Expected)| {
        let named = named.get(i).cloned().flatten().and_then(|named| match named {
            WireType::INT2 | WireType::INT4 | WireType::INT8 => Some(Type::Int),
            WireType::FLOAT4 | WireType::FLOAT8 | WireType::NUMERIC => Some(Type::Float),
            WireType::BOOL => Some(Type::Bool),
            WireType::TIMESTAMP | WireType::TIMESTAMPTZ => Some(Type::Time),
            WireType::DATE => Some(Type::Date),
            _ => None,
        });
        parameters::example(named.map_or(*kind, Expected::One))
    };
    prepared.kinds.iter().enumerate().map(example).collect()
}

#[async_trait]
impl ExtendedQueryHandler for Queries {
    type Statement = Arc<Prepared>;
    type QueryParser = Parse;

    fn query_parser(&self) -> Arc<Parse> {
        self.parser.clone()
    }

    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // A cursor is a portal, too.
        let cursor = message.name.as_deref().filter(|_| message.target_type == TARGET_TYPE_BYTE_PORTAL);
        if let Some(name) = cursor
            && client.portal_store().get_portal(name).is_none()
            && let Ok(frame) = session(client).cursor(name, 0)
        {
            let described = DescribePortalResponse::new(frame.fields(|_| FieldFormat::Text));
            return send_describe_response(client, &described).await;
        }
        self._on_describe(client, message).await
    }

    async fn do_describe_statement<C>(
        &self,
        client: &mut C,
        target: &StoredStatement<Arc<Prepared>>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let inferred = self.parser.get_parameter_types(&target.statement)?;
        let named =
            |i: usize| target.parameter_types.get(i).cloned().flatten().filter(|kind| *kind != WireType::UNKNOWN);
        let count = inferred.len().max(target.parameter_types.len());
        let kinds =
            (0..count).map(|i| named(i).or_else(|| inferred.get(i).cloned()).unwrap_or(WireType::TEXT)).collect();
        let parameters = examples(&target.statement, &target.parameter_types);
        let columns = self.columns(client, &target.statement, parameters, &Format::UnifiedText).await?;
        Ok(DescribeStatementResponse::new(kinds, columns.unwrap_or_default()))
    }

    async fn do_describe_portal<C>(
        &self,
        client: &mut C,
        target: &Portal<Arc<Prepared>>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (parameters, format) = (values(target)?, &target.result_column_format);
        let columns = self.columns(client, &target.statement.statement, parameters, format).await?;
        Ok(DescribePortalResponse::new(columns.unwrap_or_default()))
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Arc<Prepared>>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let format = &portal.result_column_format;
        let statement = &portal.statement.statement.statement;
        let admitted =
            check_transaction(client.transaction_status(), statement).and_then(|()| self.doors.admit(client));
        admitted.map_err(told)?;
        let parameters = values(portal)?;
        let (session, (user, database)) = (session(client), names(client));
        let catalog = self.doors.catalog(client);
        let caller = Caller { session: &session, user: &user, database: &database, catalog: &catalog };
        let Outcome { reply, notices } = self.doors.service.run(caller, statement, &parameters).await.map_err(told)?;
        notify(client, notices).await?;
        Ok(response(settled(reply, client.transaction_status()), format))
    }
}

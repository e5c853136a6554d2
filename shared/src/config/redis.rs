//! Where the state store in Redis is: `redis://user:password@host:6379/0`, `rediss://` with TLS, `redis+cluster://` or several
//! hosts for a cluster.
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

const PORT: u16 = 6379;
const TIMEOUT: Duration = Duration::from_secs(5);
/// What a URL of a Redis begins with, with what that means: (scheme, TLS, cluster).
const SCHEMES: [(&str, bool, bool); 4] =
    [("redis", false, false), ("rediss", true, false), ("redis+cluster", false, true), ("rediss+cluster", true, true)];

/// What others write for a Redis behind Sentinels, which is refused with what to do instead.
const SENTINELS: [&str; 4] = ["redis+sentinel", "rediss+sentinel", "redis-sentinel", "rediss-sentinel"];

/// How to reach a Redis, and where our keys are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// Host and port of the server; of a cluster, of some of its nodes.
    pub hosts: Vec<(String, u16)>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Whether it is a cluster.
    pub cluster: bool,
    /// The number of the database, 0 in a cluster.
    pub database: u32,
    /// The user of the access control list; Redis calls the one without a name `default`.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// A file with the certificates to trust instead of the system's, in PEM.
    pub certificates: Option<PathBuf>,
    /// The first part of every key, so that several deployments can share a Redis.
    pub namespace: String,
    /// How long a connection or an answer may take; 5 seconds by default.
    pub timeout: Duration,
}

impl RedisSettings {
    /// Whether a setting is meant as the URL of a Redis.
    pub fn is_url(text: &str) -> bool {
        let schemes = SCHEMES.iter().map(|(scheme, ..)| scheme).chain(&SENTINELS);
        schemes.into_iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")))
    }

    /// Reads a URL; keys go into `namespace`.
    ///
    /// # Errors
    /// What is wrong with it, without the user and password in it.
    pub fn parse(url: &str, namespace: &str) -> Result<RedisSettings, String> {
        let (scheme, rest) = url.split_once("://").ok_or("write it like redis://host:6379")?;
        if SENTINELS.contains(&scheme) {
            return Err("Seam does not ask Redis Sentinels who is primary. Write one address that always leads to the primary (of a \
                        proxy, of a service) as redis://host:6379 or rediss://host:6379, or use a cluster: redis+cluster://host:6379. \
                        A failover that loses writes is told and rebuilt either way"
                .to_owned());
        }
        let known = SCHEMES.iter().find(|(name, ..)| *name == scheme);
        let (_, tls, cluster) = known.ok_or_else(|| format!("{scheme}:// is no scheme of Redis"))?;
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts: Vec<(String, u16)> = hosts.split(',').map(host).collect::<Result<_, _>>()?;
        let cluster = *cluster || hosts.len() > 1;
        let database = match path {
            "" => 0,
            path => path.parse().map_err(|_| format!("`{path}` is no number of a database"))?,
        };
        if cluster && database != 0 {
            return Err("a cluster has the database 0 only".to_owned());
        }
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            None => (None, None),
            Some((user, password)) => (decoded(user)?, decoded(password)?.map(Secret::new)),
        };
        let namespace = namespace.to_owned();
        let settings = RedisSettings {
            hosts,
            tls: *tls,
            cluster,
            database,
            user,
            password,
            certificates: None,
            namespace,
            timeout: TIMEOUT,
        };
        Ok(settings)
    }

    /// Where it is, for messages: without user and password.
    pub fn place(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let hosts: Vec<String> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        format!("{scheme}://{}", hosts.join(","))
    }
}

fn host(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("`{text}` is no host; write it like redis://host:6379");
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address has colons of its own, and brackets.
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (text, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if host.is_empty() || !host.chars().all(plain) { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

/// `%40` stands for `@` and so on; nothing for what is empty.
fn decoded(text: &str) -> Result<Option<String>, String> {
    let wrong = || "user or password are not rightly percent-encoded".to_owned();
    let (mut out, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return Err(wrong()),
        }
    }
    let text = String::from_utf8(out).map_err(|_| wrong())?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> RedisSettings {
        RedisSettings::parse(url, "shop").expect(url)
    }

    #[test]
    fn urls_say_where_and_how() {
        let plain = parse("redis://cache");
        assert_eq!((plain.hosts, plain.tls, plain.cluster), (vec![("cache".to_owned(), 6379)], false, false));
        let full = parse("rediss://ann:p%40ss%3A@[::1]:7000/3");
        assert_eq!((full.hosts[0].clone(), full.tls, full.database), (("::1".to_owned(), 7000), true, 3));
        assert_eq!((full.user.as_deref(), full.password.as_ref().map(Secret::expose)), (Some("ann"), Some("p@ss:")));
        assert!(!format!("{full:?}").contains("p@ss"), "a password is not printed");
        let only_password = parse("redis://:word@h:1");
        assert_eq!((only_password.user, only_password.password), (None, Some(Secret::new("word"))));
        assert!(parse("redis://a:1,b:2,c").cluster && parse("redis+cluster://a").cluster);
        assert!(parse("rediss+cluster://a").tls);
        for bad in
            ["redis://", "redis://h:x", "redis://h/x", "redis://a,b/1", "http://h", "redis://a b", "redis://%g@h"]
        {
            let error = RedisSettings::parse(bad, "shop").expect_err(bad);
            assert!(!error.contains("%g"), "{error}");
        }
    }

    #[test]
    fn sentinels_are_refused_with_what_to_do() {
        for url in ["redis+sentinel://ann:secret@a:26379,b:26379/mymaster", "rediss-sentinel://a/mymaster"] {
            assert!(RedisSettings::is_url(url));
            let error = RedisSettings::parse(url, "shop").expect_err(url);
            assert!(error.contains("redis+cluster://") && error.contains("leads to the primary"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}

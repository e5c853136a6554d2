//! `seam keys`: makes keys, which are shown once and kept as hashes, and lists what is kept.
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, absolute};

use seam_shared::access::Scope;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::{Config, KEY_PREFIX, Key, KeyHash, Keys, Rate, keys_of};
use seam_shared::time::{Span, Timestamp};
use seam_shared::{Error, Result};

use crate::args::KeysCreate;
use crate::output::say;

/// Random bytes of a key: 256 bits, so that nobody has to slow down the hash.
const KEY_BYTES: usize = 32;
/// What is said of a key that would make its file wrong.
const REFUSED: &str = "this key cannot be added";
/// What an empty file of keys begins with.
const HEAD: &str = "# Keys of Seam: hashes alone. `seam keys create` makes another; a running Seam reads this file again when it changes.\nkeys:\n";

/// Makes a key: the key itself on standard output, what is to be kept of it into the file or beside it.
/// A file that would be wrong with it is left as it is.
pub fn create(config: Option<&Config>, command: &KeysCreate) -> Result<()> {
    let scopes = command.scopes.iter().map(|text| Scope::parse(text).map_err(Error::invalid));
    let scopes = scopes.collect::<Result<Vec<Scope>>>()?;
    let now = SystemClock.now();
    let expires = command.expires.as_deref().map(|text| end(text, now)).transpose()?;
    if let Some(rate) = &command.rate {
        Rate::parse(rate)
            .ok_or_else(|| Error::invalid(format!("`{rate}` is no rate; write it like 100/s or 600/m")))?;
    }
    let mut random = [0; KEY_BYTES];
    getrandom::fill(&mut random).map_err(|e| Error::internal("the system has no random numbers").because(e))?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("{KEY_PREFIX}{digits}");
    let name = command.name.clone().unwrap_or_else(|| format!("key-{}", &digits[..6]));
    let entry = entry(&name, &key, &scopes, expires, command)?;
    match &command.file {
        Some(file) => {
            append(file, &entry, config.filter(|config| is_file_of(config, file)))?;
            say!("{key}");
            eprintln!("The key `{name}` is shown this once. Its hash is in {}.", file.display());
        }
        None => {
            check("keys", &format!("{HEAD}{entry}"), None, REFUSED)?;
            say!("{key}");
            eprintln!("The key `{name}` is shown this once. Put this into the file that server.access.keys names:");
            eprint!("{entry}");
        }
    }
    if let Some(end) = expires.filter(|end| *end <= now) {
        eprintln!("It opens nothing: it ended at {end}.");
    }
    Ok(())
}

/// The entry of a keys file.
fn entry(name: &str, key: &str, scopes: &[Scope], expires: Option<Timestamp>, command: &KeysCreate) -> Result<String> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let words: Vec<String> = scopes.iter().map(|scope| quoted(&scope.to_string())).collect();
    let mut entry = format!("  - name: {}\n    hash: {}\n", quoted(name), quoted(&KeyHash::of(key).to_string()));
    entry.push_str(&format!("    scopes: [{}]\n", words.join(", ")));
    if let Some(end) = expires {
        entry.push_str(&format!("    expires: {}\n", quoted(&end.to_rfc3339())));
    }
    if let Some(rate) = &command.rate {
        entry.push_str(&format!("    rate: {}\n", quoted(rate)));
    }
    let mut filters: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for filter in &command.filter {
        let (dimension, values) = filter
            .split_once('=')
            .ok_or_else(|| Error::invalid(format!("`{filter}` is no filter; write it like region=eu,us")))?;
        filters.entry(dimension).or_default().extend(values.split(',').map(quoted));
    }
    if !filters.is_empty() {
        let one =
            |(dimension, values): (&&str, &Vec<String>)| format!("{}: [{}]", quoted(dimension), values.join(", "));
        let filters: Vec<String> = filters.iter().map(one).collect();
        entry.push_str(&format!("    filter: {{ {} }}\n", filters.join(", ")));
    }
    Ok(entry)
}

/// When a key ends: `90d` from now, or a time.
fn end(text: &str, now: Timestamp) -> Result<Timestamp> {
    let wrong = || Error::invalid(format!("`{text}` is no end; write it like 90d or 2027-01-01T00:00:00Z"));
    match Span::parse(text) {
        Ok(span) if span.0 > 0 => Ok(now.plus(span).ceil(Span::SECOND)),
        _ => Timestamp::parse_rfc3339(text).ok_or_else(wrong),
    }
}

/// Whether a configuration takes its keys from a file.
fn is_file_of(config: &Config, file: &Path) -> bool {
    match config.server.access.as_ref().map(|access| &access.keys) {
        Some(Keys::File(named)) => absolute(named).ok() == absolute(file).ok(),
        Some(Keys::Inline(_)) | None => false,
    }
}

/// The keys in a text that is called `name`; if something is wrong with it, `what` begins the error.
fn check(name: &str, text: &str, config: Option<&Config>, what: &str) -> Result<Vec<Key>> {
    keys_of(text, name, config).map_err(|report| Error::invalid(format!("{what}:\n{report}")))
}

fn append(path: &Path, entry: &str, config: Option<&Config>) -> Result<()> {
    let failed = |e| Error::invalid(format!("{} cannot be written", path.display())).because(e);
    let before = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.map_err(failed)?,
    };
    let head = match before.as_str() {
        "" => HEAD,
        whole if whole.ends_with('\n') => "",
        _ => "\n",
    };
    let text = format!("{head}{entry}");
    check(&path.display().to_string(), &(before + &text), config, REFUSED)?;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    // One write, so that a running Seam never reads half of it.
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Lists the keys that are configured, with what they are for; never the keys themselves, which nobody knows.
pub fn list(config: &Config) -> Result<()> {
    let Some(access) = &config.server.access else {
        say!("no keys are configured (server.access): whoever reaches {} may do everything", config.server.listen);
        return Ok(());
    };
    let keys = match &access.keys {
        Keys::Inline(keys) => keys.clone(),
        Keys::File(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|e| Error::not_found(format!("the keys file {name} cannot be read")).because(e))?;
            check(&name, &text, Some(config), "this is no file of keys")?
        }
    };
    let now = SystemClock.now();
    let names = ["name", "scopes", "expires", "rate", "rows"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = keys.iter().map(|key| row(key, now)).collect();
    say!("{}", crate::table::table(&names, &rows));
    Ok(())
}

fn row(key: &Key, now: Timestamp) -> Vec<String> {
    let scopes: Vec<String> = key.scopes.iter().map(Scope::to_string).collect();
    let expires = match key.expires {
        None => "never".to_owned(),
        Some(end) if end <= now => format!("{end} (expired)"),
        Some(end) => end.to_string(),
    };
    let rate = key.rate.map_or_else(|| "any".to_owned(), |rate| rate.to_string());
    let rows = if key.rows.is_empty() { "all".to_owned() } else { key.rows.to_string() };
    vec![key.name.clone(), scopes.join(" "), expires, rate, rows]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(file: &Path, name: &str, filters: &[&str]) -> KeysCreate {
        KeysCreate {
            scopes: vec!["query:*".to_owned()],
            expires: None,
            name: Some(name.to_owned()),
            rate: None,
            filter: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            file: Some(file.to_owned()),
        }
    }

    #[test]
    fn a_file_of_keys_is_never_made_wrong() {
        let file = std::env::temp_dir().join(format!("seam-keys-{}.yaml", std::process::id()));
        let _ = std::fs::remove_file(&file);
        create(None, &command(&file, "a", &["=x"])).expect_err("a dimension without a name");
        assert!(!file.exists(), "no file is made for a key that is refused");
        create(None, &command(&file, "a", &["region=eu,us", "region=cn", "kind=x"]))
            .expect("filters of one dimension add up");
        let before = std::fs::read_to_string(&file).expect("the file is there");
        let twice = create(None, &command(&file, "a", &[])).expect_err("a name that is there");
        assert!(twice.to_string().contains("there is a key called `a` already"), "{twice}");
        let nameless = create(None, &command(&file, "b", &["=x"])).expect_err("a dimension without a name");
        assert!(nameless.to_string().contains("is no dimension name"), "{nameless}");
        assert_eq!(std::fs::read_to_string(&file).expect("the file is there"), before);
        std::fs::write(&file, before.trim_end()).expect("a file whose last line is not ended");
        create(None, &command(&file, "b", &[])).expect("another name");
        let keys = check("keys", &std::fs::read_to_string(&file).expect("the file is there"), None, REFUSED)
            .expect("two keys");
        std::fs::remove_file(&file).expect("it was there");
        let rows: Vec<String> = keys.iter().map(|key| key.rows.to_string()).collect();
        assert_eq!(rows, ["\"kind\"[\"x\"]\"region\"[\"eu\",\"us\",\"cn\"]", ""]);
    }
}

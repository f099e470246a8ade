// SPDX-License-Identifier: MIT OR Apache-2.0
//! The access keys that may sign requests, as an operator writes them into a file.

use std::{collections::HashMap, fmt, fs, io, path::Path, str::FromStr};

/// Access keys and their secrets. `Debug` shows how many, never which.
///
/// Text form: one pair per line, or the profiles of `~/.aws/credentials`; `#` begins a comment.
///
/// ```text
/// AKIDEXAMPLE secret-of-that-key
///
/// [camera]
/// aws_access_key_id = AKIDCAMERA
/// aws_secret_access_key = secret-of-the-camera
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CredentialsTable(HashMap<String, String>);

/// The text is no table of credentials. Names the line, never its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: write \"<access key id> <secret key>\", or profiles with aws_access_key_id and \
     aws_secret_access_key"
)]
pub struct ParseCredentialsError {
    line: usize,
}

impl CredentialsTable {
    /// Reads a file of the form above.
    ///
    /// # Errors
    /// The file cannot be read, is malformed, or holds no key.
    pub fn read(path: &Path) -> io::Result<Self> {
        let complain = |kind, error: &dyn fmt::Display| {
            io::Error::new(kind, format!("credentials file {}: {error}", path.display()))
        };
        let text = fs::read_to_string(path).map_err(|e| complain(e.kind(), &e))?;
        let table: Self = text.parse().map_err(|e| complain(io::ErrorKind::InvalidData, &e))?;
        if table.0.is_empty() {
            return Err(complain(io::ErrorKind::InvalidData, &"no access key in it"));
        }
        Ok(table)
    }

    /// The key as it stands in the table, and its secret.
    pub(super) fn find(&self, access_key: &str) -> Option<(&str, &str)> {
        self.0.get_key_value(access_key).map(|(key, secret)| (key.as_str(), secret.as_str()))
    }
}

impl FromStr for CredentialsTable {
    type Err = ParseCredentialsError;

    fn from_str(text: &str) -> Result<Self, ParseCredentialsError> {
        let mut table = HashMap::new();
        // The half of a profile that has been read, and the line where it stands.
        let mut half: Option<(Option<String>, Option<String>, usize)> = None;
        for (n, raw) in text.lines().enumerate() {
            let wrong = ParseCredentialsError { line: n + 1 };
            let line = raw.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with('[') {
                if let Some((_, _, line)) = half.take() {
                    return Err(ParseCredentialsError { line });
                }
                continue;
            }
            // A secret may hold '=', an access key id never does.
            let setting = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
            let (key, secret) = match setting {
                Some(("aws_access_key_id", value)) => (Some(value.to_owned()), None),
                Some(("aws_secret_access_key", value)) => (None, Some(value.to_owned())),
                Some((name, _)) if !name.contains(char::is_whitespace) => continue,
                _ => {
                    let mut words = line.split_whitespace();
                    match (words.next(), words.next(), words.next()) {
                        (Some(key), Some(secret), None) => {
                            (Some(key.to_owned()), Some(secret.to_owned()))
                        }
                        _ => return Err(wrong),
                    }
                }
            };
            let (old_key, old_secret, _) = half.take().unwrap_or((None, None, n + 1));
            match (key.or(old_key), secret.or(old_secret)) {
                (Some(key), Some(secret)) if !key.is_empty() && !secret.is_empty() => {
                    table.insert(key, secret);
                }
                (Some(_), Some(_)) => return Err(wrong),
                (key, secret) => half = Some((key, secret, n + 1)),
            }
        }
        match half {
            Some((_, _, line)) => Err(ParseCredentialsError { line }),
            None => Ok(Self(table)),
        }
    }
}

impl fmt::Debug for CredentialsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialsTable({} keys)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pairs_and_profiles() {
        let table: CredentialsTable = "# who\nAKA secret=/+\n\n[one]\naws_access_key_id = AKB\n\
             region = us-west-2\naws_secret_access_key = two=\n[empty]\n"
            .parse()
            .unwrap();
        assert_eq!(table.find("AKA"), Some(("AKA", "secret=/+")));
        assert_eq!(table.find("AKB"), Some(("AKB", "two=")));
        assert_eq!(table.find("AKC"), None);
    }

    #[test]
    fn names_the_line_and_keeps_the_secret() {
        for (text, line) in [
            ("AK", 1),
            ("\nAK hidden more", 2),
            ("[a]\naws_access_key_id = AK\n[b]\n", 2),
            ("aws_secret_access_key = hidden", 1),
        ] {
            let error = text.parse::<CredentialsTable>().unwrap_err();
            assert_eq!(error, ParseCredentialsError { line }, "{text}");
            assert!(!error.to_string().contains("hidden"));
        }
        let table: CredentialsTable = "AK hidden".parse().unwrap();
        assert_eq!(format!("{table:?}"), "CredentialsTable(1 keys)");
    }
}

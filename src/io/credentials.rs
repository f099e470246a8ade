// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the keys that sign requests come from: what was set, else the environment.
//!
//! Nothing is remembered between requests, so keys that are set or changed later are used by the
//! next request. A half-set pair is an error, never a reason to look elsewhere.

use std::{
    env, fmt,
    sync::{Arc, PoisonError, RwLock},
};

use crate::wire::sigv4::Keys;

const ACCESS_KEY_VARIABLE: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY_VARIABLE: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN_VARIABLE: &str = "AWS_SESSION_TOKEN";

/// Where keys come from. A clone is the same source: what is set on one is set on all.
#[derive(Clone)]
pub struct Credentials {
    fixed: Arc<RwLock<StaticKeys>>,
    environment: fn(&str) -> Option<String>,
}

/// Keys as properties set them; an empty text is the same as none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StaticKeys {
    /// Names the keys; no secret.
    pub access_key: Option<String>,
    /// The secret.
    pub secret_key: Option<String>,
    /// Goes with keys that expire.
    pub session_token: Option<String>,
}

/// One half of a pair of keys is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{present} is set but {absent} is not: set both or neither")]
pub struct HalfSet {
    present: &'static str,
    absent: &'static str,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKeys").finish_non_exhaustive()
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::with_environment(|name| env::var(name).ok())
    }
}

impl Credentials {
    pub(super) fn with_environment(environment: fn(&str) -> Option<String>) -> Self {
        Self { fixed: Arc::default(), environment }
    }

    /// Sets the keys for the next request and all later ones.
    pub fn set_static(&self, keys: StaticKeys) {
        *self.fixed.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The keys to sign with now; `None` when there are none anywhere.
    ///
    /// # Errors
    /// [`HalfSet`] names what is missing.
    pub fn keys(&self) -> Result<Option<Keys>, HalfSet> {
        let fixed = self.fixed.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(keys) = pair(fixed, "access-key", "secret-key")? {
            return Ok(Some(keys));
        }
        let environment = StaticKeys {
            access_key: (self.environment)(ACCESS_KEY_VARIABLE),
            secret_key: (self.environment)(SECRET_KEY_VARIABLE),
            session_token: (self.environment)(SESSION_TOKEN_VARIABLE),
        };
        pair(environment, ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE)
    }
}

fn pair(
    keys: StaticKeys,
    access_key_name: &'static str,
    secret_key_name: &'static str,
) -> Result<Option<Keys>, HalfSet> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (given(keys.access_key), given(keys.secret_key)) {
        (Some(access_key), Some(secret_key)) => {
            let session_token = given(keys.session_token);
            Ok(Some(Keys { access_key, secret_key, session_token }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(HalfSet { present: access_key_name, absent: secret_key_name }),
        (None, Some(_)) => Err(HalfSet { present: secret_key_name, absent: access_key_name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(_: &str) -> Option<String> {
        None
    }

    fn full(name: &str) -> Option<String> {
        Some(format!("value of {name}"))
    }

    fn half(name: &str) -> Option<String> {
        (name == ACCESS_KEY_VARIABLE).then(|| "key".to_owned())
    }

    fn fixed(access_key: &str, secret_key: &str) -> StaticKeys {
        StaticKeys {
            access_key: Some(access_key.into()),
            secret_key: Some(secret_key.into()),
            session_token: None,
        }
    }

    #[test]
    fn what_is_set_comes_before_the_environment() {
        let credentials = Credentials::with_environment(full);
        let shared = credentials.clone();
        let keys = credentials.keys().unwrap().unwrap();
        assert_eq!(keys.access_key, "value of AWS_ACCESS_KEY_ID");
        assert_eq!(keys.session_token.as_deref(), Some("value of AWS_SESSION_TOKEN"));
        shared.set_static(fixed("mine", "secret"));
        let keys = credentials.keys().unwrap().unwrap();
        assert_eq!((keys.access_key.as_str(), keys.session_token), ("mine", None));
        shared.set_static(fixed("", ""));
        assert_eq!(
            credentials.keys().unwrap().unwrap().secret_key,
            "value of AWS_SECRET_ACCESS_KEY"
        );
    }

    #[test]
    fn no_keys_are_no_error_but_half_a_pair_is() {
        assert_eq!(Credentials::with_environment(empty).keys(), Ok(None));
        let error = Credentials::with_environment(half).keys().unwrap_err();
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY is not"), "{error}");
        let credentials = Credentials::with_environment(full);
        credentials.set_static(fixed("", "secret"));
        let error = credentials.keys().unwrap_err();
        assert!(error.to_string().contains("access-key is not"), "{error}");
    }

    #[test]
    fn nothing_is_printed() {
        let credentials = Credentials::default();
        credentials.set_static(fixed("mine", "secret"));
        let text = format!("{credentials:?} {:?}", fixed("mine", "secret"));
        assert!(!text.contains("mine") && !text.contains("\"secret"), "{text}");
    }
}

//! Who asks.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use plexspaces_types::{Code, Failure, Name, RequestContext, TraceContext};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{AuthConfig, socket};

/// Who asks, and as a part of what.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) trace: TraceContext,
    pub(crate) principal: Arc<str>,
}

impl Caller {
    /// The context of a request about `tenant` and `namespace`; `default` for those that are empty.
    pub(crate) fn context(&self, tenant: &str, namespace: &str) -> Result<RequestContext, Failure> {
        let (tenant, namespace) = (name("tenant_id", tenant)?, name("namespace", namespace)?);
        let mut ctx = RequestContext::external(tenant, namespace, "");
        ctx.trace = self.trace;
        ctx.principal = self.principal.clone();
        Ok(ctx)
    }
}

/// A name in a field; `default` when the field is empty.
pub(crate) fn name(field: &'static str, value: &str) -> Result<Name, Failure> {
    if value.is_empty() {
        return Ok(Name::default_scope());
    }
    Name::new(field, value).map_err(|error| Failure::invalid(field, error.to_string()))
}

/// Checks credentials.
pub(crate) struct Auth {
    /// The token's hash: comparing hashes takes the same time whatever was presented.
    token: Option<[u8; 32]>,
    /// Why nobody needs it.
    open: Option<&'static str>,
    anonymous: Arc<str>,
    administrator: Arc<str>,
}

impl Auth {
    pub(crate) fn new(config: &AuthConfig) -> Self {
        let (token, open) = match config {
            AuthConfig::Open => (None, Some("no credentials are configured")),
            AuthConfig::Disabled(token) => (token.as_ref(), Some("authentication is disabled")),
            AuthConfig::Token(token) => (Some(token), None),
        };
        let token = token.map(|token| Sha256::digest(token).into());
        Self { token, open, anonymous: "anonymous".into(), administrator: "administrator".into() }
    }

    /// Why everybody may come in, if everybody may.
    pub(crate) fn open(&self) -> Option<&'static str> {
        self.open
    }

    /// Who sends a request. A presented credential is checked even where none is needed.
    pub(crate) fn check(&self, request: &Parts, needs_token: bool) -> Result<Arc<str>, Failure> {
        let refused = |message: &str| Err(Failure::new(Code::Unauthenticated, message));
        let presented = match request.headers.get(AUTHORIZATION) {
            Some(presented) => {
                let (scheme, presented) = presented.as_bytes().split_at(presented.len().min(7));
                if self.token.is_some() && !scheme.eq_ignore_ascii_case(b"bearer ") {
                    return refused("expected `Authorization: Bearer <token>`");
                }
                Some(Cow::Borrowed(presented.trim_ascii()))
            }
            None if socket::is_asked(&request.headers) => socket::token(&request.headers).map(Cow::Owned),
            None => None,
        };
        match (presented, &self.token) {
            (Some(_), None) => refused("no credentials are configured on this node; send no Authorization header and no token"),
            (Some(presented), Some(token)) => {
                let presented: [u8; 32] = Sha256::digest(presented).into();
                if bool::from(presented.ct_eq(token)) { Ok(self.administrator.clone()) } else { refused("the token is not valid") }
            }
            (None, _) if needs_token && self.open.is_none() => refused("a token is needed; send `Authorization: Bearer <token>`"),
            (None, _) if self.open.is_none() => Ok(self.anonymous.clone()),
            (None, _) => same_origin(request).map(|()| self.anonymous.clone()),
        }
    }
}

/// Where no token is needed, a page that somebody visits must not be able to use the node through their browser.
fn same_origin(request: &Parts) -> Result<(), Failure> {
    let Some(origin) = request.headers.get(ORIGIN) else { return Ok(()) };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(request.uri.authority().map(http::uri::Authority::as_str));
    if authority.is_some() && authority == host {
        return Ok(());
    }
    Err(Failure::new(Code::PermissionDenied, "a web page of another origin may not use a node without credentials"))
}

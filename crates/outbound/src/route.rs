//! From what an actor asks for to the request that is sent, or why not.

use bytes::Bytes;
use http::header::{self, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use plexspaces_actor::Outgoing;
use plexspaces_types::{Code, Failure};

use crate::Error;
use crate::link::{Auth, Link, METHODS};
use crate::path::{self, Pattern};
use crate::secrets::Secret;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const MAX_HEADERS: usize = 100;

/// What belongs to the connection, to the body's framing, or to the node.
const RESERVED: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Where a link leads and what may be asked there.
pub(crate) struct Route {
    /// The base URL without a slash at its end.
    base: String,
    base_uri: Uri,
    headers: HeaderMap,
    methods: Option<Vec<Method>>,
    paths: Option<Vec<Pattern>>,
}

impl Route {
    pub(crate) fn new(link: &Link, secret: Option<&Secret>) -> Result<Self, Error> {
        let wrong = |field, message: String| Error::link(&link.name, field, message);
        let base_uri = base(&link.base_url).map_err(|message| wrong("base_url", message))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("plexspaces/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in &link.headers {
            let name = own_header(name).map_err(|message| wrong("headers", message))?;
            let value =
                HeaderValue::from_str(value).map_err(|_| wrong("headers", format!("has a value of {name} that no header can carry")))?;
            headers.insert(name, value);
        }
        let place = match &link.auth {
            None => None,
            Some(Auth::Bearer { .. }) => Some((AUTHORIZATION, "Bearer ")),
            Some(Auth::ApiKey { header, .. }) => Some((own_header(header).map_err(|message| wrong("auth.api_key_header", message))?, "")),
        };
        if let Some((name, scheme)) = place {
            if link.headers.keys().any(|given| name.as_str().eq_ignore_ascii_case(given)) {
                return Err(wrong("headers", format!("sets {name}, which auth sets")));
            }
            let text = format!("{scheme}{}", secret.map_or("", Secret::reveal));
            let mut value =
                HeaderValue::from_str(&text).map_err(|_| wrong("auth", "names a secret that no header can carry".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let methods =
            link.allowed_methods.as_deref().map(|methods| methods.iter().map(|given| method(given)).collect::<Result<Vec<_>, _>>());
        let methods = methods.transpose().map_err(|message| wrong("allowed_methods", format!("has {message}")))?;
        let paths = link.allowed_paths.as_deref().map(|paths| paths.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>());
        let paths = paths.transpose().map_err(|message| wrong("allowed_paths", message))?;
        for (field, empty) in
            [("allowed_methods", methods.as_ref().is_some_and(Vec::is_empty)), ("allowed_paths", paths.as_ref().is_some_and(Vec::is_empty))]
        {
            if empty {
                return Err(wrong(field, "is empty, so that nothing would be allowed; leave it out to allow all".to_owned()));
            }
        }
        Ok(Self { base: link.base_url.trim_end_matches('/').to_owned(), base_uri, headers, methods, paths })
    }

    /// Whether it needs trusted certificates.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.base_uri.scheme_str() == Some("https")
    }

    /// The request that is sent for what an actor asks.
    pub(crate) fn prepare(&self, link: &str, outgoing: &Outgoing) -> Result<Request<Full<Bytes>>, Failure> {
        let denied = |field: &str, message: String| Failure::new(Code::PermissionDenied, message).with_field(field);
        let asked = &outgoing.request;
        let method = method(&asked.method).map_err(|message| Failure::invalid("method", format!("the method is {message}")))?;
        if self.methods.as_ref().is_some_and(|allowed| !allowed.contains(&method)) {
            return Err(denied("method", format!("service link {link:?} does not allow {method}: see its allowed_methods")));
        }
        let decoded = path::check(&asked.path).map_err(|why| Failure::invalid("path", format!("the path {why}")))?;
        if self.paths.as_ref().is_some_and(|allowed| !allowed.iter().any(|pattern| pattern.allows(&asked.path, &decoded))) {
            return Err(denied("path", format!("service link {link:?} does not allow this path: see its allowed_paths")));
        }
        let uri: Uri = format!("{}{}", self.base, asked.path)
            .parse()
            .map_err(|error| Failure::invalid("path", format!("the path cannot be part of a URL: {error}")))?;
        if uri.authority() != self.base_uri.authority() || uri.scheme() != self.base_uri.scheme() {
            return Err(Failure::invalid("path", "the path leads away from its service link"));
        }
        let mut request = Request::new(Full::new(asked.body.clone()));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers(link, outgoing)?;
        Ok(request)
    }

    fn headers(&self, link: &str, outgoing: &Outgoing) -> Result<HeaderMap, Failure> {
        let wrong = |message: String| Failure::invalid("headers", message);
        let asked = &outgoing.request.headers;
        if asked.len() > MAX_HEADERS {
            return Err(wrong(format!("a request may have {MAX_HEADERS} headers, found {}", asked.len())));
        }
        let mut headers = self.headers.clone();
        for (name, value) in asked {
            let name = HeaderName::try_from(name).map_err(|_| wrong(format!("{name:?} cannot be a header's name")))?;
            if name == IDEMPOTENCY_KEY {
                return Err(wrong(format!("{name} is an argument of its own")));
            }
            if RESERVED.contains(&name) {
                return Err(wrong(format!("the node sets {name}")));
            }
            if self.headers.contains_key(&name) && name != USER_AGENT {
                return Err(Failure::new(Code::PermissionDenied, format!("service link {link:?} sets {name}")).with_field("headers"));
            }
            let value = HeaderValue::try_from(value).map_err(|_| wrong(format!("no header can carry this value of {name}")))?;
            if name == USER_AGENT {
                headers.insert(name, value);
            } else {
                headers.append(name, value);
            }
        }
        let key =
            HeaderValue::try_from(&outgoing.idempotency_key).map_err(|_| Failure::invalid("idempotency_key", "no header can carry it"))?;
        headers.insert(IDEMPOTENCY_KEY, key);
        Ok(headers)
    }
}

fn method(text: &str) -> Result<Method, String> {
    let upper = text.to_ascii_uppercase();
    let known = METHODS.contains(&upper.as_str()).then(|| upper.parse().ok()).flatten();
    known.ok_or_else(|| format!("{text:?}, expected one of {}", METHODS.join(", ")))
}

/// The name of a header that a link may set.
fn own_header(name: &str) -> Result<HeaderName, String> {
    let name = HeaderName::try_from(name).map_err(|_| format!("has {name:?}, which cannot be a header's name"))?;
    if RESERVED.contains(&name) || name == IDEMPOTENCY_KEY || name == CONTENT_TYPE {
        return Err(format!("has {name}, which the node or the actor sets"));
    }
    Ok(name)
}

fn base(text: &str) -> Result<Uri, String> {
    let expected = "expected http:// or https:// with a host, possibly a port and a path";
    let uri: Uri = text.parse().map_err(|error| format!("is no URL: {error}; {expected}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(format!("is {text:?}, {expected}"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("holds a credential; name a secret in auth instead".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err(format!("has a query or a fragment, {expected}"));
    }
    path::check(uri.path()).map_err(|why| format!("has a path that {why}"))?;
    Ok(uri)
}

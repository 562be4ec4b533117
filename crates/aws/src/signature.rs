//! Requests with their signatures, of version 4.

use std::time::SystemTime;

use aws_credential_types::Credentials as Identity;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use http_body_util::Full;

use crate::client::innermost;
use crate::credentials::Keys;

/// What a signature holds for, besides its request.
pub(crate) struct Scope<'a> {
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) time: SystemTime,
}

/// A request that is signed. What is wrong with one that cannot be is told without its keys.
pub(crate) fn signed(uri: &Uri, target: &str, body: Bytes, keys: &Keys, scope: &Scope<'_>) -> Result<Request<Full<Bytes>>, String> {
    let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target)];
    let identity = Identity::new(&keys.id, &keys.secret, keys.token.clone(), None, "plexspaces").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(scope.time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let signable = SignableRequest::new("POST", uri.to_string(), headers.into_iter(), SignableBody::Bytes(&body));
    let signed = signable.and_then(|signable| sign(signable, &parameters));
    let signed = signed.map_err(|error| format!("the request cannot be signed: {}", innermost(&error)))?;
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    for header in signed.into_parts().0.into_parts().0 {
        // The library's own way to do this panics where a key holds what a header must not.
        let unfit = |_| "the credentials hold what no header can hold, such as the end of a line".to_owned();
        let mut value = HeaderValue::from_str(header.value()).map_err(unfit)?;
        value.set_sensitive(header.sensitive());
        request = request.header(header.name(), value);
    }
    request.body(Full::new(body)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(
        keys: &Keys,
        service: &str,
        endpoint: &'static str,
        target: &str,
        body: &'static str,
    ) -> Result<Request<Full<Bytes>>, String> {
        // 2015-08-30T12:36:00Z, as in the examples of AWS.
        let scope = Scope { service, region: "eu-west-1", time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160) };
        signed(&Uri::from_static(endpoint), target, Bytes::from_static(body.as_bytes()), keys, &scope)
    }

    fn keys(id: &str, token: Option<&str>) -> Keys {
        Keys::new(id, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token.map(str::to_owned))
    }

    /// The signatures are what AWS's description gives for these requests, step by step.
    #[test]
    fn requests_are_signed_as_aws_describes_it() {
        let dynamodb = "https://dynamodb.eu-west-1.amazonaws.com";
        let signed =
            request(&keys("AKIDEXAMPLE", None), "dynamodb", dynamodb, "DynamoDB_20120810.GetItem", r#"{"TableName":"t"}"#).unwrap();
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/dynamodb/aws4_request, \
                        SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
                        Signature=1129f345c17ed19ed80f7c3de328ced17c484d1e519fd1b3083dc9b038a04c80";
        assert_eq!(signed.headers()["authorization"], expected);
        assert_eq!(signed.headers()["x-amz-date"], "20150830T123600Z");
        assert_eq!(signed.headers()["x-amz-target"], "DynamoDB_20120810.GetItem");

        let sqs = request(&keys("AKIDEXAMPLE", Some("s3cret")), "sqs", "http://127.0.0.1:9324", "AmazonSQS.SendMessage", "{}").unwrap();
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/sqs/aws4_request, \
                        SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, \
                        Signature=64d06106fcea67ea9cfa16d973b8b9247eae8c7628944cdbfa12472f17f10eb8";
        assert_eq!(sqs.headers()["authorization"], expected);
        assert!(sqs.headers()["x-amz-security-token"].is_sensitive());
    }

    #[test]
    fn keys_that_no_header_can_hold_are_told_and_not_shown() {
        for (id, token) in [("s3cret\n", None), ("AKIDEXAMPLE", Some("s3cret\n"))] {
            let error = request(&keys(id, token), "sqs", "http://127.0.0.1:9324", "AmazonSQS.SendMessage", "{}").unwrap_err();
            assert!(error.contains("header") && !error.contains("s3cret"), "{error}");
        }
    }
}

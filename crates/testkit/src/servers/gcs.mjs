// Google Cloud Storage as far as a client of its XML API sees it, in front of a server that speaks the protocol of Amazon S3.
//
// The XML API has the requests, answers and error codes of S3, which that server gives. What differs is done here, after Google's
// documentation: tokens that a service account signs for itself, signed URLs (GOOG4-RSA-SHA256), and the header of generations.
//
//     node gcs.mjs PORT PORT-OF-S3 KEY SECRET DIRECTORY
//
// The service account's key is made at the first start and kept in the directory, as `service-account.json`; beside it `other-account.json`,
// whose key is not known.

import { createHash, createHmac, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer, request as send } from "node:http";
import { join } from "node:path";

const [port, backend, key, secret, directory] = process.argv.slice(2);
const ACCOUNT = "blobs@plexspaces.iam.gserviceaccount.com";

const file = join(directory, "service-account.json");
for (const path of existsSync(file) ? [] : [join(directory, "other-account.json"), file]) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const account = {
    type: "service_account",
    private_key_id: "0123456789abcdef",
    private_key: privateKey.export({ type: "pkcs8", format: "pem" }),
    client_email: ACCOUNT,
  };
  writeFileSync(path + ".new", JSON.stringify(account));
  renameSync(path + ".new", path);
}
const publicKey = createPublicKey(JSON.parse(readFileSync(file, "utf8")).private_key);

const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const hmac = (with_, text) => createHmac("sha256", with_).update(text).digest();
const canonical = (pairs) => pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).sort().join("&");

function refuse(response, status, code, message) {
  const body = `<?xml version='1.0' encoding='UTF-8'?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  response.writeHead(status, { "content-type": "application/xml; charset=UTF-8", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

// A token that a service account has signed for itself.
function isToken(token) {
  const [head, claims, signature] = token.split(".");
  if (!signature || !verify("sha256", Buffer.from(`${head}.${claims}`), publicKey, Buffer.from(signature, "base64url"))) return false;
  const { iss, sub, exp, scope } = JSON.parse(Buffer.from(claims, "base64url"));
  return iss === ACCOUNT && sub === ACCOUNT && exp > Date.now() / 1000 && scope.startsWith("https://www.googleapis.com/auth/");
}

// What is wrong with a signed URL. The host that was signed must be the one that was asked.
function wrongSignature(request, url) {
  const query = [...url.searchParams];
  const value = (name) => url.searchParams.get(name) ?? "";
  const [account, ...scope] = value("X-Goog-Credential").split("/");
  const date = value("X-Goog-Date");
  const names = value("X-Goog-SignedHeaders");
  const began = Date.parse(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  const isKnown = value("X-Goog-Algorithm") === "GOOG4-RSA-SHA256" && account === ACCOUNT && names.split(";").includes("host");
  if (!isKnown || scope.join("/") !== `${date.slice(0, 8)}/auto/storage/goog4_request`) return "InvalidSecurity";
  const headers = names.split(";").map((name) => `${name}:${request.headers[name]}\n`).join("");
  const signed = canonical(query.filter(([name]) => name !== "X-Goog-Signature"));
  const asked = [request.method, url.pathname, signed, headers, names, "UNSIGNED-PAYLOAD"].join("\n");
  const text = ["GOOG4-RSA-SHA256", date, scope.join("/"), sha256(asked)].join("\n");
  if (!verify("sha256", Buffer.from(text), publicKey, Buffer.from(value("X-Goog-Signature"), "hex"))) return "SignatureDoesNotMatch";
  return began + Number(value("X-Goog-Expires")) * 1000 > Date.now() ? undefined : "ExpiredToken";
}

// The request as S3 takes it.
function translated(request, url) {
  const path = url.pathname.split("/").map((part) => encode(decodeURIComponent(part)).replaceAll("%2F", "/")).join("/");
  const query = canonical([...url.searchParams].filter(([name]) => !name.startsWith("X-Goog-")));
  const date = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${date.slice(0, 8)}/us-east-1/s3/aws4_request`;
  const headers = { host: `127.0.0.1:${backend}`, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": date };
  const names = Object.keys(headers).sort().join(";");
  const asked = [
    request.method, path, query, Object.keys(headers).sort().map((name) => `${name}:${headers[name]}\n`).join(""), names, "UNSIGNED-PAYLOAD",
  ].join("\n");
  const text = ["AWS4-HMAC-SHA256", date, scope, sha256(asked)].join("\n");
  const signing = scope.split("/").reduce((with_, part) => hmac(with_, part), "AWS4" + secret);
  const signature = hmac(signing, text).toString("hex");
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${key}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
  for (const name of ["content-type", "content-length", "range", "if-match", "if-none-match"]) {
    if (request.headers[name] !== undefined) headers[name] = request.headers[name];
  }
  return { host: "127.0.0.1", port: backend, method: request.method, path: query ? `${path}?${query}` : path, headers };
}

createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/health") return response.end();
  const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "");
  if (bearer ? !isToken(bearer[1]) : !url.searchParams.has("X-Goog-Signature")) {
    return refuse(response, 401, "AuthenticationRequired", "Authentication required.");
  }
  const wrong = bearer ? undefined : wrongSignature(request, url);
  if (wrong) return refuse(response, wrong === "ExpiredToken" ? 400 : 403, wrong, "The signed URL is not valid.");
  const further = send(translated(request, url), (answer) => {
    const kept = Object.entries(answer.headers).filter(([name]) => !name.startsWith("x-amz-"));
    response.writeHead(answer.statusCode, { ...Object.fromEntries(kept), "x-goog-generation": "1" });
    answer.pipe(response);
    answer.on("error", () => response.destroy());
    answer.on("aborted", () => response.destroy());
  });
  further.on("error", () => response.destroy());
  response.on("close", () => further.destroy());
  request.pipe(further);
}).listen(Number(port), "127.0.0.1");

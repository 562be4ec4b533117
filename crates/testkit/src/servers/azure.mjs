// What tests ask of Azurite that the node never asks: to make a container, and how many blobs are in it.
//
//     node azure.mjs PORT ACCOUNT KEY CONTAINER create|count

import { createHmac } from "node:crypto";

const [port, account, key, container, what] = process.argv.slice(2);
const method = what === "create" ? "PUT" : "GET";
const query = what === "create" ? { restype: "container" } : { comp: "list", restype: "container" };
const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2023-11-03" };
const path = `/${account}/${container}`;
const text = [
  method + "\n".repeat(11),
  ...Object.entries(headers).map(([name, value]) => `${name}:${value}`),
  `/${account}${path}`,
  ...Object.entries(query).map(([name, value]) => `${name}:${value}`),
].join("\n");
const signature = createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64");
const answer = await fetch(`http://127.0.0.1:${port}${path}?${new URLSearchParams(query)}`, {
  method,
  headers: { ...headers, authorization: `SharedKey ${account}:${signature}` },
});
const body = await answer.text();
// The container may be there already.
if (!answer.ok && answer.status !== 409) throw new Error(`${answer.status} ${body}`);
if (what === "count") console.log(body.split("<Blob>").length - 1);

// What the benchmark `restate` runs on Restate: a counter for each key, and a workflow of ten steps. Prints the port on which it listens.
import { createServer } from "node:http2";
import * as restate from "@restatedev/restate-sdk";

const STEPS = 10;

// The SDK uses it, and Node.js 20 does not have it yet.
Promise.withResolvers ??= function () {
  const parts = {};
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};

const counter = restate.object({
  name: "counter",
  handlers: {
    add: async (ctx) => {
      const count = ((await ctx.get("count")) ?? 0) + 1;
      ctx.set("count", count);
      return { count };
    },
  },
});

const flow = restate.workflow({
  name: "flow",
  handlers: {
    run: async (ctx) => {
      let sum = 0;
      for (let step = 0; step < STEPS; step++) {
        sum += await ctx.run(`step ${step}`, () => step);
      }
      return { sum };
    },
  },
});

const server = createServer(restate.createEndpointHandler({ services: [counter, flow] }));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

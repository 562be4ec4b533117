// What the benchmark `restate` runs on Restate: a counter for each key, and workflows of ten steps, of their own and of another service.
// Prints the port on which it listens.
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

const numbers = restate.service({
  name: "numbers",
  handlers: { number: async (_, { step }) => ({ number: step }) },
});

const workflow = (name, number) =>
  restate.workflow({
    name,
    handlers: {
      run: async (ctx) => {
        let sum = 0;
        for (let step = 0; step < STEPS; step++) {
          sum += await number(ctx, step);
        }
        return { sum };
      },
    },
  });

const steps = workflow("steps", (ctx, step) => ctx.run(`step ${step}`, () => step));
const asks = workflow("asks", async (ctx, step) => (await ctx.serviceClient(numbers).number({ step })).number);

const server = createServer(restate.createEndpointHandler({ services: [counter, numbers, steps, asks] }));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

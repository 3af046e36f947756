// Steady load over HTTP/1.1 and HTTP/2, on connections that are kept. Requests go out when they are
// due, however slow the answers are.
//
//   node load.mjs RATE SECONDS PATH ORIGIN...
//
// Half of the requests go by HTTP/1.1, half by HTTP/2 (prior knowledge on http:, ALPN on https:). A
// request goes to the first origin; to the next one only if the first takes no connection, in which
// case nothing was sent. Requests that the server has said it did not process (RFC 9113 §6.8, a
// refused stream), or whose kept HTTP/1.1 connection was closed before any byte of an answer
// (RFC 9112 §9.3.1), are sent again as every client does it, and counted as `again`.
//
// The last line is JSON: sent, failed, again, elsewhere, statuses, latencies in ms, the first
// failures, and when requests went out that were answered 5xx (seconds since 1970).
// A line `{"stop":true}` on standard input ends it early.

import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { performance } from "node:perf_hooks";

const [rate, seconds, path, ...origins] = process.argv.slice(2);
const CONNECTIONS = 8;
const PATIENCE_MS = 20_000;
const TRIES = 10;
const ca = process.env.AUTHORITY && fs.readFileSync(process.env.AUTHORITY);
const token = process.env.TOKEN;
const fields = token ? { authorization: `Bearer ${token}` } : {};

const result = { sent: 0, failed: 0, again: 0, elsewhere: 0, statuses: {}, failures: [], refusedAt: [] };
const latencies = [];
let open = 0;

class Again extends Error {}
class Elsewhere extends Error {}

const agents = origins.map((origin) => {
  const module = origin.startsWith("https:") ? https : http;
  return { module, agent: new module.Agent({ keepAlive: true, maxSockets: 64, ca }) };
});

function byOne(at) {
  const { module, agent } = agents[at];
  return new Promise((resolve, reject) => {
    const request = module.request(origins[at] + path, { agent, headers: fields, timeout: PATIENCE_MS });
    let began = false;
    request.on("response", (response) => {
      began = true;
      response.on("data", () => {});
      response.on("end", () => resolve(response.statusCode));
      response.on("aborted", () => reject(new Error("the answer was cut off")));
      response.on("error", reject);
    });
    request.on("timeout", () => request.destroy(new Error("no answer in time")));
    request.on("error", (fault) => {
      if (fault.code === "ECONNREFUSED") reject(new Elsewhere(fault.message));
      else if (!began && request.reusedSocket && ["ECONNRESET", "EPIPE"].includes(fault.code)) reject(new Again(fault.message));
      else reject(fault);
    });
    request.end();
  });
}

// Sessions of an origin, each made when it is first needed and forgotten when it goes away.
const sessions = origins.map(() => Array(CONNECTIONS).fill(undefined));
let turn = 0;

function session(at) {
  const number = turn++ % CONNECTIONS;
  const known = sessions[at][number];
  if (known && !known.closed && !known.destroyed) return known;
  const made = http2.connect(origins[at], { ca });
  sessions[at][number] = made;
  const forget = () => {
    if (sessions[at][number] === made) sessions[at][number] = undefined;
  };
  // After the last stream that the server takes: higher ones were not processed.
  made.on("goaway", (code, last) => {
    made.last = last;
    forget();
  });
  made.on("close", forget);
  made.on("error", (fault) => {
    made.fault = fault;
    forget();
  });
  return made;
}

function byTwo(at) {
  return new Promise((resolve, reject) => {
    const made = session(at);
    let stream;
    try {
      stream = made.request({ ":path": path, ...fields });
    } catch (fault) {
      reject(new Again(fault.message));
      return;
    }
    let status;
    stream.setTimeout(PATIENCE_MS, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    stream.on("response", (head) => (status = head[":status"]));
    stream.on("data", () => {});
    let fault;
    stream.on("error", (met) => (fault = met));
    stream.on("close", () => {
      if (!fault && stream.rstCode === 0 && status !== undefined && stream.readableEnded) return resolve(status);
      const cause = made.fault ?? fault;
      const unprocessed = stream.id === undefined || stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM ||
        (made.last !== undefined && stream.id > made.last);
      if (/ECONNREFUSED/.test(`${fault?.message} ${made.fault?.code}`)) reject(new Elsewhere("refused"));
      else if (status === undefined && unprocessed) reject(new Again(cause?.message));
      else reject(cause ?? new Error(`stream ended with ${stream.rstCode}, status ${status}`));
    });
    stream.end();
  });
}

async function send(number, due) {
  open++;
  const sent = Date.now() / 1000;
  result.sent++;
  const way = number % 2 ? byOne : byTwo;
  let at = 0;
  for (let tries = 1; ; tries++) {
    try {
      const status = await way(at);
      result.statuses[status] = (result.statuses[status] ?? 0) + 1;
      if (status >= 500) result.refusedAt.push(sent);
      latencies.push(performance.now() - due);
      break;
    } catch (fault) {
      if (fault instanceof Elsewhere && at + 1 < origins.length) {
        at++;
        result.elsewhere++;
      } else if (fault instanceof Again && tries < TRIES) {
        result.again++;
        await new Promise((resolve) => setTimeout(resolve, 20));
      } else {
        result.failed++;
        const when = ((performance.now() - start) / 1000).toFixed(2);
        if (result.failures.length < 10) result.failures.push(`${way.name} at ${when} s: ${fault.code ?? ""} ${fault.message}`);
        break;
      }
    }
  }
  open--;
}

let stopped = false;
process.stdin.on("data", () => (stopped = true));
const start = performance.now();
let number = 0;
while (!stopped && number < rate * seconds) {
  const due = start + (number / rate) * 1000;
  const early = due - performance.now();
  if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
  else if (number % 20 === 0) await new Promise(setImmediate);
  send(number++, due);
}
const lasted = (performance.now() - start) / 1000;
while (open) await new Promise((resolve) => setTimeout(resolve, 10));
latencies.sort((one, other) => one - other);
const part = (share) => Number((latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0).toFixed(1));
console.log(JSON.stringify({ ...result, rate: Math.round(number / lasted), p50: part(0.5), p99: part(0.99), longest: part(1) }));
process.exit(0);

// An upstream that takes a moment over each answer and says when it begins and ends one.
//
//   node waiter.mjs MILLISECONDS PORT
//
// Prints `+` when a request has come and `-` when its answer is out, without a buffer: what has come
// and not gone when it is killed can be counted.

import fs from "node:fs";
import http from "node:http";

const [wait, port] = process.argv.slice(2).map(Number);

http
  .createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    if (request.url === "/health") {
      response.end("ok");
      return;
    }
    fs.writeSync(1, "+");
    setTimeout(() => response.end("done", () => fs.writeSync(1, "-")), wait);
  })
  .listen(port, "127.0.0.1");

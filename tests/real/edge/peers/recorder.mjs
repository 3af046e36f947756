// An upstream on Node's own server that prints every request it saw, one JSON each line.
//
//   node recorder.mjs PORT

import http from "node:http";

http
  .createServer({ insecureHTTPParser: true }, async (request, response) => {
    let body = "";
    try {
      for await (const part of request) body += part.toString("latin1");
    } catch {
      return; // It never became whole.
    }
    const headers = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      headers.push([request.rawHeaders[at].toLowerCase(), request.rawHeaders[at + 1]]);
    }
    const text = JSON.stringify({ request: `${request.method} ${request.url}`, headers, body });
    console.log(text);
    response.setHeader("Content-Type", "application/json");
    response.end(request.method === "HEAD" ? undefined : text);
  })
  .listen(Number(process.argv[2]), "127.0.0.1");

// An introspection endpoint that asks for a bearer token, as those of some servers do.
//
//   node guard.mjs PORT PROVIDER_PORT
//
// oidc-provider's own takes a client's credentials and no bearer token. This one asks oidc-provider
// whether the bearer token of a request is good at that moment and has the scope `introspection`; if
// so, it passes the request on with the credentials of the client `gateway`.
//
// Prints `ready` when it takes requests, and `answered STATUS` for each request.

import { readFileSync } from 'node:fs';
import { createServer, request as connect } from 'node:http';

const SCOPE = 'introspection';
const BEARER = /^Bearer ([\w.~+/-]+=*)$/;

const [port, providerPort] = process.argv.slice(2).map(Number);
const { gateway } = JSON.parse(readFileSync(new URL('clients.json', import.meta.url), 'utf8'));
const authorization = `Basic ${btoa([gateway.id, gateway.secret].map(encodeURIComponent).join(':'))}`;

async function text(stream) {
  const parts = [];
  for await (const part of stream) {
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

/** What oidc-provider says to this form. On a new connection: an old one could be closed already. */
function ask(form) {
  return new Promise((resolve, reject) => {
    const question = connect(
      {
        agent: false,
        host: '127.0.0.1',
        port: providerPort,
        path: '/token/introspection',
        method: 'POST',
        headers: { authorization, 'content-type': 'application/x-www-form-urlencoded' },
      },
      (answer) => {
        text(answer).then((body) => resolve({ status: answer.statusCode, body }), reject);
      },
    );
    question.on('error', reject);
    question.end(form);
  });
}

async function isGood(header = '') {
  const [, token] = BEARER.exec(header) ?? [];
  if (!token) {
    return false;
  }
  const { status, body } = await ask(new URLSearchParams({ token }).toString());
  if (status !== 200) {
    throw new Error(`oidc-provider answered ${status}`);
  }
  const { active, scope = '' } = JSON.parse(body);
  return active && scope.split(' ').includes(SCOPE);
}

async function answer(request) {
  const form = await text(request);
  if (await isGood(request.headers.authorization)) {
    return ask(form);
  }
  return { status: 401, body: '{"error":"invalid_token"}' };
}

createServer(async (request, response) => {
  const { status, body } = await answer(request).catch(() => ({ status: 502, body: '{}' }));
  console.log(`answered ${status}`);
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(status === 401 && { 'www-authenticate': 'Bearer error="invalid_token"' }),
  });
  response.end(body);
}).listen(port, '127.0.0.1', () => console.log('ready'));

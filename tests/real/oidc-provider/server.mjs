// A real OAuth2 server for tests/real: oidc-provider on loopback, with opaque access tokens.
//
//   node server.mjs PORT     (0: any free port)
//
// Prints `ready PORT` when it takes requests, `introspection` for each introspection request, and
// `opened` and `closed` for each connection, so that the suite can count what reached it instead of
// believing the gateway's own metrics.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const INTROSPECTION = '/token/introspection';
const SCOPES = ['orders.read', 'orders.write'];
const FALLBACK_LIFETIME_SECONDS = 600;
// Short, so that the suite soon sees the gateway meet a kept connection that is closed.
const KEEP_ALIVE_MILLISECONDS = 1000;

const clients = JSON.parse(read('clients.json'));
const certificate = read('client-certificate.pem');

function read(name) {
  return readFileSync(new URL(name, import.meta.url), 'utf8');
}

/** The seconds that a token of this client lives. */
function lifetime(clientId) {
  const client = Object.values(clients).find(({ id }) => id === clientId);
  return client?.lifetime_seconds ?? FALLBACK_LIFETIME_SECONDS;
}

/** A client as oidc-provider wants it: those with a lifetime mint tokens, the gateway only asks. */
function registration({ id, secret, lifetime_seconds: mints, certificate_bound: bound }) {
  return {
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: mints ? ['client_credentials'] : [],
    response_types: [],
    redirect_uris: [],
    scope: SCOPES.join(' '),
    tls_client_certificate_bound_access_tokens: Boolean(bound),
  };
}

/** Opaque tokens for whatever API a client names (RFC 8707); its name becomes the `aud`. */
function resourceServer(_, resource) {
  return { scope: SCOPES.join(' '), audience: resource, accessTokenFormat: 'opaque' };
}

function features() {
  return {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: {
      enabled: true,
      // The gateway asks about tokens that others minted; nobody else may.
      allowedPolicy: (_, client) => client.clientId === clients.gateway.id,
    },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      // As if a TLS proxy in front had seen it.
      getCertificate: () => certificate,
    },
    resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
    revocation: {
      enabled: true,
      allowedPolicy: (_, client, token) => client.clientId === token.clientId,
    },
  };
}

function configuration() {
  return {
    clients: Object.values(clients).map(registration),
    scopes: SCOPES,
    ttl: { ClientCredentials: (_, token, client) => lifetime(client.clientId) },
    // What an identity header must not be broken by.
    extraTokenClaims: () => ({ tenant: 'Köln', note: 'one\r\nX-Evil: two' }),
    features: features(),
  };
}

function start(port) {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MILLISECONDS });
  server.on('connection', (connection) => {
    console.log('opened');
    connection.on('close', () => console.log('closed'));
  });
  server.listen(port, '127.0.0.1', () => {
    const bound = server.address().port;
    const answer = new Provider(`http://127.0.0.1:${bound}`, configuration()).callback();
    server.on('request', (request, response) => {
      if (request.url === INTROSPECTION) {
        console.log('introspection');
      }
      answer(request, response);
    });
    console.log(`ready ${bound}`);
  });
}

const port = Number(process.argv[2]);
if (!Number.isInteger(port) || port < 0 || port > 65535) {
  console.error('usage: node server.mjs PORT');
  process.exit(2);
}
start(port);

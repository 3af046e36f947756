// A real OAuth2 server for tests/real: oidc-provider on loopback, with opaque access tokens.
//
//   node server.mjs PORT     (0: any free port)
//
// Prints `ready PORT` when it takes requests, and `introspection` for each introspection request, so
// that the suite can count what reached it instead of believing the gateway's own metrics.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const INTROSPECTION = '/token/introspection';
const SCOPES = ['orders.read', 'orders.write'];
const FALLBACK_LIFETIME_SECONDS = 600;

const clients = JSON.parse(readFileSync(new URL('clients.json', import.meta.url), 'utf8'));

/** The seconds that a token of this client lives. */
function lifetime(clientId) {
  const client = Object.values(clients).find(({ id }) => id === clientId);
  return client?.lifetime_seconds ?? FALLBACK_LIFETIME_SECONDS;
}

/** A client as oidc-provider wants it: those with a lifetime mint tokens, the gateway only asks. */
function registration({ id, secret, lifetime_seconds: mints }) {
  return {
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: mints ? ['client_credentials'] : [],
    response_types: [],
    redirect_uris: [],
    scope: SCOPES.join(' '),
  };
}

function configuration() {
  return {
    clients: Object.values(clients).map(registration),
    scopes: SCOPES,
    ttl: { ClientCredentials: (ctx, token, client) => lifetime(client.clientId) },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: {
        enabled: true,
        // The gateway asks about tokens that others minted; nobody else may.
        allowedPolicy: (ctx, client) => client.clientId === clients.gateway.id,
      },
      revocation: { enabled: true },
    },
  };
}

function start(port) {
  const server = createServer();
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

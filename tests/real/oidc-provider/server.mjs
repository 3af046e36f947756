// A real OAuth2 server for tests/real: oidc-provider on loopback, with opaque access tokens.
//
//   node server.mjs PORT [SETTINGS]     (0: any free port)
//
// SETTINGS is a JSON file: `clients`, like those of clients.json and besides them, and `tls` with the
// files `key`, `certificate` and `authority`, where it is to speak https and look at certificates.
//
// Prints `ready PORT` when it takes requests, `introspection` for each introspection request, and
// `opened` and `closed` for each connection, so that the suite can count what reached it instead of
// believing the gateway's own metrics; and `issued TOKEN` and `assertion JWT`, so that the suite can
// look for them in the gateway's logs.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

import Provider from 'oidc-provider';

import { registration } from './clients.mjs';

const INTROSPECTION = '/token/introspection';
const SCOPES = ['orders.read', 'orders.write', 'introspection'];
const FALLBACK_LIFETIME_SECONDS = 600;
// Short, so that the suite soon sees the gateway meet a kept connection that is closed.
const KEEP_ALIVE_MILLISECONDS = 1000;

const settings = process.argv[3] ? JSON.parse(readFileSync(process.argv[3], 'utf8')) : {};
const clients = Object.values({ ...JSON.parse(read('clients.json')), ...settings.clients });
const certificate = read('client-certificate.pem');

function read(name) {
  return readFileSync(new URL(name, import.meta.url), 'utf8');
}

function described(clientId) {
  return clients.find(({ id }) => id === clientId);
}

/** The seconds that a token of this client lives. */
function lifetime(clientId) {
  return described(clientId)?.lifetime_seconds ?? FALLBACK_LIFETIME_SECONDS;
}

/** Opaque tokens for whatever API a client names (RFC 8707); its name becomes the `aud`. */
function resourceServer(_, resource) {
  return { scope: SCOPES.join(' '), audience: resource, accessTokenFormat: 'opaque' };
}

/** What the client showed. Without TLS: as if a TLS proxy in front had seen a certificate. */
function shownCertificate({ socket }) {
  return settings.tls ? socket.getPeerX509Certificate() : certificate;
}

function mutualTls() {
  return {
    enabled: true,
    certificateBoundAccessTokens: true,
    selfSignedTlsClientAuth: true,
    tlsClientAuth: true,
    getCertificate: shownCertificate,
    certificateAuthorized: ({ socket }) => socket.authorized,
    certificateSubjectMatches: (context, property, expected) =>
      property === 'tls_client_auth_subject_dn' && shownCertificate(context).subject === expected,
  };
}

function features() {
  return {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: {
      enabled: true,
      // The gateway asks about tokens that others minted; nobody else may.
      allowedPolicy: (_, client) => Boolean(described(client.clientId)?.introspects),
    },
    mTLS: mutualTls(),
    resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
    revocation: {
      enabled: true,
      allowedPolicy: (_, client, token) => client.clientId === token.clientId,
    },
  };
}

function configuration() {
  return {
    clients: clients.map((client) => registration(client, SCOPES)),
    clientAuthMethods: [
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
      'self_signed_tls_client_auth',
      'tls_client_auth',
    ],
    scopes: SCOPES,
    ttl: { ClientCredentials: (_, token, client) => lifetime(client.clientId) },
    // What an identity header must not be broken by.
    extraTokenClaims: () => ({ tenant: 'Köln', note: 'one\r\nX-Evil: two' }),
    features: features(),
  };
}

function provider(issuer) {
  const provider = new Provider(issuer, configuration());
  provider.on('grant.success', ({ body }) => console.log(`issued ${body.access_token}`));
  provider.use(async (context, next) => {
    await next();
    const assertion = context.oidc?.params?.client_assertion;
    if (assertion) {
      console.log(`assertion ${assertion}`);
    }
  });
  return provider.callback();
}

/** Lets clients in without a certificate too: oidc-provider judges what was shown. */
function listener() {
  const options = { keepAliveTimeout: KEEP_ALIVE_MILLISECONDS };
  if (!settings.tls) {
    return createServer(options);
  }
  return createTlsServer({
    ...options,
    key: readFileSync(settings.tls.key),
    cert: readFileSync(settings.tls.certificate),
    ca: readFileSync(settings.tls.authority),
    requestCert: true,
    rejectUnauthorized: false,
  });
}

function start(port) {
  const server = listener();
  server.on('connection', (connection) => {
    console.log('opened');
    connection.on('close', () => console.log('closed'));
  });
  server.listen(port, '127.0.0.1', () => {
    const bound = server.address().port;
    const answer = provider(`${settings.tls ? 'https' : 'http'}://127.0.0.1:${bound}`);
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
  console.error('usage: node server.mjs PORT [SETTINGS]');
  process.exit(2);
}
start(port);

// Clients as oidc-provider wants them, from the short descriptions of clients.json and of the suite.

import { createPublicKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** The public key of a signing key: what the gateway's operator would hand over. */
function signingKey({ id, file }) {
  const key = createPublicKey(readFileSync(file));
  return { ...key.export({ format: 'jwk' }), kid: id, use: 'sig' };
}

/** A certificate that a client signed itself, as RFC 8705 §2.2 has it registered. */
function certificateKey(file) {
  const certificate = new X509Certificate(readFileSync(file));
  const key = certificate.publicKey.export({ format: 'jwk' });
  return { ...key, x5c: [certificate.raw.toString('base64')] };
}

function keys({ signing_keys: signing = [], certificates = [] }) {
  const found = [...signing.map(signingKey), ...certificates.map(certificateKey)];
  return found.length ? { jwks: { keys: found } } : {};
}

/** Those with a lifetime mint tokens; the others only ask. */
export function registration(client, scopes) {
  return {
    client_id: client.id,
    ...(client.secret && { client_secret: client.secret }),
    ...(client.subject && { tls_client_auth_subject_dn: client.subject }),
    ...keys(client),
    token_endpoint_auth_method: client.method ?? 'client_secret_basic',
    grant_types: client.lifetime_seconds ? ['client_credentials'] : [],
    response_types: [],
    redirect_uris: [],
    scope: scopes.join(' '),
    tls_client_certificate_bound_access_tokens: Boolean(client.certificate_bound),
  };
}

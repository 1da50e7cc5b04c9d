// An OpenID provider on loopback: client credentials, JWT and opaque access
// tokens, introspection, revocation. It prints its address when it listens.
//
//   node server.js PORT KEY-NAME     (port 0: any)
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const kid = process.argv[3];
const server = createServer();
await new Promise((listening) => server.listen(Number(process.argv[2]), '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const key = (type, options, alg) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  kid: `${kid}-${alg}`, alg, use: 'sig',
});

// The audience of a token selects its format.
const servers = {
  'urn:gateway': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
  'urn:gateway:rsa': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
  'urn:other': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
  'urn:opaque': { accessTokenFormat: 'opaque' },
};

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'agent', client_secret: 'agent secret',
    grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    scope: 'chat',
  }],
  scopes: ['chat'],
  jwks: {
    keys: [
      key('ec', { namedCurve: 'P-256' }, 'ES256'),
      key('rsa', { modulusLength: 2048 }, 'RS256'),
    ],
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, name) => ({ scope: 'chat', audience: name, accessTokenTTL: 600, ...servers[name] }),
    },
  },
});

server.on('request', provider.callback());
console.log(issuer);

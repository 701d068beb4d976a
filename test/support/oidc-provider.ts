import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider from 'oidc-provider';

/** A real OpenID provider on this machine, where everybody who names themselves is believed; olga is in the group ml-ops. */
export async function openOidcProvider(redirectUri: string): Promise<{ readonly issuer: string } & Disposable> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const oidc = new Provider(issuer, {
    clients: [
      {
        client_id: 'nearfar',
        token_endpoint_auth_method: 'none',
        redirect_uris: [redirectUri],
        response_types: ['code'],
        grant_types: ['authorization_code'],
        application_type: 'native',
      },
    ],
    claims: { openid: ['sub'], profile: ['groups', 'preferred_username'] },
    pkce: { required: () => true },
    findAccount: (_: unknown, id: string) => ({
      accountId: id,
      claims: async () => ({ sub: id, preferred_username: id, groups: id === 'olga' ? ['ml-ops'] : ['visitors'] }),
    }),
    features: { devInteractions: { enabled: true } },
    cookies: { keys: ['of the test'] },
  });
  server.on('request', oidc.callback());
  return {
    issuer,
    [Symbol.dispose]: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

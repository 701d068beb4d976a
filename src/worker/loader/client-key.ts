import type { ChunkStore } from '../store/index.ts';

/** Under no URL that a repository can have. */
const record = 'nearfar:client';

/**
 * What tells this browser apart where versions are shared out among clients: a random number that is kept beside the cache, and sent to nobody.
 * Where nothing is kept every visit is another client.
 */
export async function clientKey(store: ChunkStore): Promise<string> {
  const known = await store.readVersions(record).catch(() => undefined);
  if (known) return new TextDecoder().decode(known.bytes);
  const key = crypto.randomUUID();
  await store.writeVersions({ url: record, bytes: new TextEncoder().encode(key) }).catch(() => undefined);
  return key;
}

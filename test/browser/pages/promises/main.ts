import * as nearfar from 'nearfar';
import { openIndexedDbStore } from '../../../../src/worker/store/index.ts';

// The public entry, and what tests need to harm the cache behind its back.

/** Changes one byte of a stored chunk. */
async function flipStoredByte(digest: string): Promise<void> {
  const store = await openIndexedDbStore('nearfar');
  const bytes = await store.readChunk(digest);
  if (!bytes) throw new Error(`${digest} is not stored`);
  bytes[bytes.length >> 1]! ^= 1;
  await store.writeChunk(digest, bytes);
  store.close();
}

declare global {
  interface Window {
    nearfar: typeof nearfar;
    flipStoredByte: typeof flipStoredByte;
  }
}

Object.assign(window, { nearfar, flipStoredByte });
document.documentElement.dataset['ready'] = 'true';

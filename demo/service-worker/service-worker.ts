// Makes the page itself work offline after the first visit. The models are not its business: nearfar keeps and verifies
// those in IndexedDB. Assets carry a content hash in their name, so the cache answers first; the page itself is asked
// from the network first, so that a new build is seen at the next visit.
declare const self: ServiceWorkerGlobalScope;

// A module, so that the line above shadows the library's own `self`.
export {};

const cacheName = 'nearfar-demo-1';

self.addEventListener('install', (event) => event.waitUntil(precache().then(() => self.skipWaiting())));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('fetch', (event) => {
  const { pathname, origin } = new URL(event.request.url);
  if (event.request.method !== 'GET' || origin !== self.location.origin) return;
  if (pathname.startsWith('/assets/') || pathname.startsWith('/samples/')) event.respondWith(cacheFirst(event.request));
  else if (pathname === '/' || pathname === '/index.html' || pathname === '/icon.svg') event.respondWith(networkFirst(event.request));
});

/** Everything the build lists: all of the page but the large runtimes, which are kept when they are first used. */
async function precache(): Promise<void> {
  const cache = await caches.open(cacheName);
  const list: string[] = await (await fetch('/precache.json', { cache: 'no-cache' })).json();
  await cache.addAll(['/', ...list]);
  const wanted = new Set(list);
  for (const { url } of await cache.keys()) {
    const { pathname } = new URL(url);
    if (pathname.startsWith('/assets/') && !wanted.has(pathname) && !pathname.endsWith('.wasm')) await cache.delete(url);
  }
}

async function cacheFirst(request: Request): Promise<Response> {
  const cache = await caches.open(cacheName);
  const kept = await cache.match(request.url);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.status === 200) await cache.put(request.url, response.clone());
  return response;
}

async function networkFirst(request: Request): Promise<Response> {
  const cache = await caches.open(cacheName);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(withoutQuery(request.url), response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(withoutQuery(request.url));
    if (kept) return kept;
    throw error;
  }
}

/** The page is the same file whatever its query says: links with a query work offline, too, and are not kept one by one. */
function withoutQuery(url: string): string {
  return new URL(url).pathname;
}

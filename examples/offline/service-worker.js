// Lets an application with nearfar start without a network: the page, its scripts, nearfar's worker and engines come from
// this service worker; the model comes from nearfar's own verified cache in IndexedDB. Copy this file to the root of
// what you serve and let precache-list.mjs write precache.json beside it after each build.

const cacheName = 'app';

self.addEventListener('install', (event) => event.waitUntil(precache().then(() => self.skipWaiting())));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('fetch', (event) => {
  const { origin, pathname } = new URL(event.request.url);
  const isOurs = event.request.method === 'GET' && origin === self.location.origin;
  // nearfar keeps and verifies model files itself: they must not lie in two caches.
  if (isOurs && !pathname.startsWith('/models/')) event.respondWith(networkFirst(event.request));
});

async function precache() {
  const cache = await caches.open(cacheName);
  const response = await fetch(new URL('precache.json', self.location), { cache: 'no-cache' });
  const paths = await response.json();
  await cache.addAll(paths);
}

/**
 * A new build is seen at the next visit with a network. Where names carry a hash of their content, answer from the cache
 * first: that is faster.
 */
async function networkFirst(request) {
  const cache = await caches.open(cacheName);
  // The page is the same file whatever its query says.
  const key = request.url.replace(/[?#].*$/, '');
  try {
    const response = await fetch(request);
    if (response.status === 200) await cache.put(key, response.clone());
    return response;
  } catch (error) {
    const kept = (await cache.match(key)) ?? (await cache.match(`${key}index.html`));
    if (!kept) throw error;
    // A response of our own has the address that was asked for, fragment included, in which Turbopack tells a worker its task.
    return new Response(kept.body, { headers: kept.headers });
  }
}

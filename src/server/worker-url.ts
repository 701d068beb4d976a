/**
 * The file of a worker that lies beside the calling module.
 * @remarks Node 20 cannot run TypeScript, so a module that runs from `src/` (under vitest) gets the built worker in `dist/`:
 * build before such tests.
 */
export function workerUrl(name: string, besideUrl: string): URL {
  const url = new URL(`${name}.js`, besideUrl);
  if (besideUrl.endsWith('.ts')) url.pathname = url.pathname.replace('/src/server/', '/dist/server/');
  return url;
}

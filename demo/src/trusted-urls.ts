import workerUrl from 'nearfar/worker?worker&url';

// The demo is served with Trusted Types required: only the scripts that this policy knows may become workers.
const serviceWorkerUrl = new URL('./service-worker.js', document.baseURI).href;
const known = new Set([workerUrl, serviceWorkerUrl]);
const policy = window.trustedTypes?.createPolicy('nearfar-demo', {
  createScriptURL(url) {
    if (!known.has(url)) throw new TypeError(`${url} is no script of this page`);
    return url;
  },
});

// The DOM's types know plain strings alone.
const trust = (url: string) => (policy?.createScriptURL(url) ?? url) as string;

export function startWorker(): Worker {
  return new Worker(trust(workerUrl), { type: 'module' });
}

export function registerServiceWorker(): Promise<ServiceWorkerRegistration> {
  return navigator.serviceWorker.register(trust(serviceWorkerUrl));
}

declare global {
  interface Window {
    readonly trustedTypes?: TrustedTypes;
  }
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): unknown };
}

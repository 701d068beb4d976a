import * as nearfar from 'nearfar';
// What docs/content-security-policy.md says for pages that require Trusted Types.
import workerUrl from 'nearfar/worker?worker&url';

const policy = window.trustedTypes?.createPolicy('app', { createScriptURL: (url) => (url === workerUrl ? url : '') });

window.nearfar = nearfar;
window.startTrustedWorker = () => new Worker((policy?.createScriptURL(workerUrl) ?? workerUrl) as string, { type: 'module' });
document.documentElement.dataset['ready'] = 'true';

declare global {
  interface Window {
    nearfar: typeof nearfar;
    startTrustedWorker: () => Worker;
    readonly trustedTypes?: {
      createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): unknown };
    };
  }
}

import { fileURLToPath } from 'node:url';
import type { FastifyInstance } from 'fastify';
import { addSite } from './site.ts';

/** The page as it was built, beside the compiled server, also for a server that runs from its sources. */
const root = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../../../../dist/ui/' : '../../../ui/', import.meta.url));

/** What the page may load: itself, and pictures that its users bring. It shows names that others chose, so that no text may become markup. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "media-src 'self' blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const headers = {
  'content-security-policy': contentSecurityPolicy,
  // For what does not know frame-ancestors: a page that changes what is served is no picture in somebody else's.
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=()',
};

/** The management page at `/ui/`. */
export function addManagementPage(app: FastifyInstance): void {
  // Its addresses are relative.
  app.get('/ui', (_, reply) => reply.redirect('/ui/', 308));
  addSite(app, { root, headers }, '/ui/');
}

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { NearfarError } from '../../../core/index.ts';
import type { SiteOptions } from '../context.ts';
import { contentTypeOf } from './content-types.ts';
import { sendFile } from './send-file.ts';

/**
 * Static pages: built assets, whose names carry a hash, are kept for ever; all else is checked with the server each time.
 * @param at Where they are, with a slash at its end.
 */
export function addSite(app: FastifyInstance, { root, elsewhere, headers = {} }: SiteOptions, at = '/'): void {
  app.route<{ Params: { readonly '*': string } }>({
    method: ['GET', 'HEAD'],
    url: `${at}*`,
    handler: async (request, reply) => {
      const asked = request.params['*'];
      const path = asked === '' || asked.endsWith('/') ? `${asked}index.html` : asked;
      const found = isInside(path) ? await findFile([join(root, path), elsewhere?.(path)]) : undefined;
      if (!found) throw new NearfarError('not-found', `no page ${request.raw.url?.split('?', 1)[0]}`);
      reply.headers(headers);
      await sendFile(request, reply, {
        body: { path: found.path },
        bytes: found.size,
        contentType: contentTypeOf(path),
        cacheControl: path.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
        etag: `W/"${found.size.toString(16)}-${Math.trunc(found.mtimeMs).toString(16)}"`,
      });
      return reply;
    },
  });
}

/** No empty, hidden or climbing part, no backslash (a separator on Windows) and no drive or stream (`:`). */
function isInside(path: string): boolean {
  return path.split('/').every((part) => part !== '' && !part.startsWith('.') && !/[\\:\0]/.test(part));
}

async function findFile(paths: readonly (string | undefined)[]): Promise<{ path: string; size: number; mtimeMs: number } | undefined> {
  for (const path of paths) {
    const found = path === undefined ? undefined : await stat(path).catch(() => undefined);
    if (path !== undefined && found?.isFile()) return { path, size: found.size, mtimeMs: found.mtimeMs };
  }
  return undefined;
}

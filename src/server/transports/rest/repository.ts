import type { FastifyInstance } from 'fastify';
import { NearfarError } from '../../../core/index.ts';
import type { RestContext } from '../context.ts';
import { contentTypeOf } from './content-types.ts';
import { sendFile } from './send-file.ts';

/** The model repository for browsers: `/models/{name}/versions.json` and the immutable files of each version. */
export function addRepository(app: FastifyInstance, { files }: RestContext): void {
  app.route<{ Params: { readonly '*': string } }>({
    method: ['GET', 'HEAD'],
    url: '/models/*',
    handler: async (request, reply) => {
      const path = request.params['*'];
      const file = await files.find(path);
      if (!file) throw new NearfarError('not-found', `no published file ${path}`, { details: { path } });
      await sendFile(request, reply, {
        body: file.body,
        bytes: file.bytes,
        contentType: contentTypeOf(path),
        cacheControl: file.isImmutable ? `${request.identity ? 'private' : 'public'}, max-age=31536000, immutable` : 'no-cache',
        etag: `"${file.digest}"`,
      });
      return reply;
    },
  });
}

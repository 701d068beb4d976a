import type { FastifyInstance } from 'fastify';
import { parseBody, rulesSchema, shadowSchema } from '../../rollout/index.ts';
import type { RestContext } from '../context.ts';
import { changeOverRest } from './change.ts';
import { bodyJson } from './rest-call.ts';

interface Path {
  readonly Params: { readonly model: string };
}

/** Shadow runs of a model, and rollouts by rules: what they are, what they found; and calls that begin and end them. */
export function addRollouts(app: FastifyInstance, context: RestContext): void {
  const { rollouts } = context.admin;
  const path = '/nearfar/v1/models/:model';

  app.get<Path>(`${path}/shadow`, async ({ params }) => ({ report: rollouts.shadow(params.model) ?? null }));
  app.put<Path>(`${path}/shadow`, (request) =>
    changeOverRest(context, request, async (options) => {
      const shadow = parseBody('a shadow such as {"label": "canary", "share": 10}', shadowSchema, bodyJson(request));
      return { report: (await rollouts.setShadow(request.params.model, shadow, options)) ?? null };
    }),
  );
  app.delete<Path>(`${path}/shadow`, async (request, reply) => {
    await changeOverRest(context, request, (options) => rollouts.setShadow(request.params.model, undefined, options));
    return reply.code(204).send();
  });

  app.get<Path>(`${path}/rollout`, async ({ params }) => rollouts.status(params.model));
  app.put<Path>(`${path}/rollout`, (request) =>
    changeOverRest(context, request, async (options) => {
      const rules = parseBody('a rollout', rulesSchema, bodyJson(request));
      const { model } = request.params;
      return rules.dryRun ? rollouts.dryRun(model, rules) : rollouts.start(model, rules, options);
    }),
  );
  app.delete<Path>(`${path}/rollout`, (request) =>
    changeOverRest(context, request, (options) => rollouts.abort(request.params.model, options)),
  );
}

import { type DescMessage, fromJson, type MessageShape } from '@bufbuild/protobuf';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import * as v from 'valibot';
import { ModelServerConfigSchema, NearfarError, ServingModelConfigSchema, type Traffic } from '../../../core/index.ts';
import { describeModel, toModelSource, toModelSources } from '../../model-config.ts';
import type { ModelSource } from '../../repository/index.ts';
import type { RestContext } from '../context.ts';
import { canonicalVersion } from '../model-spec.ts';
import { changeOverRest } from './change.ts';
import { bodyJson } from './rest-call.ts';

const modelPath = '/nearfar/v1/models/:model';

interface Path {
  readonly Params: { readonly model: string; readonly label: string; readonly version: string };
}

/** What is configured, and calls that change it: everything at once or one model, label or version at a time. */
export function addModelAdmin(app: FastifyInstance, context: RestContext): void {
  const { models } = context.admin;

  app.get('/nearfar/v1/config', async () => describeAll(models.models));
  app.get<Path>(`${modelPath}/config`, async ({ params }) => describeModel(known(params.model)));

  app.register(async (routes) => {
    routes.put<{ Params: Partial<Path['Params']> }>('/nearfar/v1/config', (request) =>
      changeOverRest(context, request, async (options) => {
        await models.replaceAll(toModelSources(parseBody(ModelServerConfigSchema, request)), options);
        return describeAll(models.models);
      }),
    );
    routes.put<Path>(modelPath, (request) =>
      changeOverRest(context, request, async (options) => {
        await models.put(parseModel(request.params.model, request), options);
        return describeModel(known(request.params.model));
      }),
    );
    routes.delete<Path>(modelPath, async (request, reply) => {
      await changeOverRest(context, request, (options) => models.remove(request.params.model, options));
      return reply.code(204).send();
    });
    routes.put<Path>(`${modelPath}/labels/:label`, (request) =>
      changeOverRest(context, request, async (options) => {
        const { model, label } = request.params;
        await models.setLabel(model, label, versionOfBody(request), options);
        return describeLabels(model);
      }),
    );
    routes.delete<Path>(`${modelPath}/labels/:label`, async (request, reply) => {
      await changeOverRest(context, request, (options) => models.setLabel(request.params.model, request.params.label, undefined, options));
      return reply.code(204).send();
    });
    routes.post<Path>(`${modelPath}/labels/:label/rollback`, (request) =>
      changeOverRest(context, request, async (options) => {
        const { model, label } = request.params;
        await models.rollBack(model, label, options);
        return describeLabels(model);
      }),
    );
    routes.put<Path>(`${modelPath}/traffic`, (request) =>
      changeOverRest(context, request, async (options) => {
        const { model } = request.params;
        await models.setTraffic(model, sharesOfBody(request), options);
        return { traffic: context.servables.traffic(model) ?? {} };
      }),
    );
    routes.put<Path>(`${modelPath}/versions/:version`, (request) =>
      changeOverRest(context, request, async (options) => {
        const { model, version } = request.params;
        await models.setLoaded(model, parseVersion(version), true, options);
        return describeModel(known(model));
      }),
    );
    routes.delete<Path>(`${modelPath}/versions/:version`, async (request, reply) => {
      await changeOverRest(context, request, (options) =>
        models.setLoaded(request.params.model, parseVersion(request.params.version), false, options),
      );
      return reply.code(204).send();
    });
  });

  function describeLabels(name: string): object {
    return { ...describeModel(known(name)), labels: models.labels(name) };
  }

  function known(name: string): ModelSource {
    const source = models.source(name);
    if (source) return source;
    throw new NearfarError('not-found', `Could not find any versions of model ${name}`, { details: { name } });
  }
}

/** The ModelServerConfig as JSON, with the names of its text form. */
function describeAll(models: readonly ModelSource[]): object {
  return { model_config_list: { config: models.map(describeModel) } };
}

/** The platform may be left out, and the name, which the path has. */
function parseModel(name: string, request: FastifyRequest): ModelSource {
  const config = parseBody(ServingModelConfigSchema, request);
  if (config.name !== '' && config.name !== name) {
    throw new NearfarError('invalid-argument', `the path names model ${name}, the body ${config.name}`, {
      details: { want: name, got: config.name },
    });
  }
  return toModelSource({ ...config, name, modelPlatform: config.modelPlatform || 'tensorflow' });
}

function parseBody<Desc extends DescMessage>(schema: Desc, request: FastifyRequest): MessageShape<Desc> {
  try {
    return fromJson(schema, bodyJson(request));
  } catch (cause) {
    if (cause instanceof NearfarError) throw cause;
    throw new NearfarError('invalid-argument', cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function versionOfBody(request: FastifyRequest): string {
  const body: unknown = bodyJson(request);
  const version = typeof body === 'object' && body !== null && 'version' in body ? body.version : undefined;
  if (typeof version === 'string' || typeof version === 'number') return parseVersion(String(version));
  throw new NearfarError('invalid-argument', 'expected a body such as {"version": 3}', { details: { got: version } });
}

const share = v.pipe(v.number(), v.minValue(0), v.maxValue(100));
/** A list would pass for a record: an empty one would take all shares away. */
const sharesSchema = v.pipe(
  v.custom<object>((body) => !Array.isArray(body)),
  v.record(v.string(), share),
);

function sharesOfBody(request: FastifyRequest): Traffic {
  const body: unknown = bodyJson(request);
  const parsed = v.safeParse(sharesSchema, body);
  if (parsed.success) return parsed.output;
  throw new NearfarError('invalid-argument', 'expected shares in percent by label, such as {"stable": 90, "canary": 10}', {
    details: { got: body },
  });
}

function parseVersion(text: string): string {
  if (/^\d+$/.test(text)) return canonicalVersion(text);
  throw new NearfarError('invalid-argument', `a version is a whole number, got ${text}`, { details: { got: text } });
}

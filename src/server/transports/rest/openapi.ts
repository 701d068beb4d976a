import type { FastifyInstance } from 'fastify';
import { errorStatuses } from '../../../core/index.ts';

// What is served over HTTP, as OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1). A test compares its paths with the routes.

type Json = Readonly<Record<string, unknown>>;

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const parameter = (name: string) => ({ $ref: `#/components/parameters/${name}` });
const object = (properties: Json, required: readonly string[] = Object.keys(properties)): Json => ({
  type: 'object',
  properties,
  required,
});
const array = (items: Json): Json => ({ type: 'array', items });
const map = (additionalProperties: Json | boolean): Json => ({ type: 'object', additionalProperties });
const text: Json = { type: 'string' };
const number: Json = { type: 'number' };
const count: Json = { type: 'integer', minimum: 0 };
const flag: Json = { type: 'boolean' };
const orNull = (schema: Json): Json => ({ anyOf: [schema, { type: 'null' }] });
const time: Json = { type: 'string', format: 'date-time' };
const anything: Json = {};

const versionNumber: Json = { type: 'string', pattern: '^[0-9]+$', description: 'a positive int64 as a decimal string' };
const digest: Json = { type: 'string', pattern: '^sha256:[0-9a-f]{64}$' };
const states = ['START', 'LOADING', 'AVAILABLE', 'UNLOADING', 'END', 'UNKNOWN'];

const json = (schema: Json): Json => ({ 'application/json': { schema } });

interface Operation {
  readonly summary: string;
  readonly tag: string;
  readonly query?: readonly Json[];
  readonly body?: Json;
  /** Content of the answer, by its type; none for 204. */
  readonly answer?: Json;
  readonly status?: number;
}

/** Every answer that is none of success has the same form. */
function operation({ summary, tag, query = [], body, answer, status = answer ? 200 : 204 }: Operation): Json {
  return {
    summary,
    tags: [tag],
    ...(query.length > 0 && { parameters: query }),
    ...(body && { requestBody: { required: true, content: body } }),
    responses: {
      [status]: { description: status === 204 ? 'done' : summary, ...(answer && { content: answer }) },
      default: { description: 'why not', content: json(ref('Error')) },
    },
  };
}

const queryOf = (name: string, schema: Json, description: string): Json => ({ name, in: 'query', schema, description });

const tensorFlow = 'TensorFlow Serving';
const oip = 'Open Inference Protocol';
const management = 'Management';
const browsers = 'Browsers';
const health = 'Health';

function tensorFlowPaths(): Json {
  const paths: Record<string, Json> = {};
  for (const [suffix, names] of versionPaths) {
    const parameters = ['model', ...names].map(parameter);
    const base = `/v1/models/{model}${suffix}`;
    const examples = json(object({ signature_name: text, context: map(anything), examples: array(map(anything)) }, ['examples']));
    paths[base] = { parameters, get: operation({ summary: 'States of versions', tag: tensorFlow, answer: json(ref('ModelStatus')) }) };
    paths[`${base}/metadata`] = {
      parameters,
      get: operation({ summary: 'Signatures of a version', tag: tensorFlow, answer: json(ref('ModelMetadata')) }),
    };
    paths[`${base}:predict`] = {
      parameters,
      post: operation({
        summary: 'Predicts, by rows (instances) or by columns (inputs)',
        tag: tensorFlow,
        body: json(object({ signature_name: text, instances: array(anything), inputs: anything }, [])),
        answer: json({ anyOf: [object({ predictions: anything }), object({ outputs: anything })] }),
      }),
    };
    paths[`${base}:classify`] = {
      parameters,
      post: operation({
        summary: 'Classes of examples with their scores',
        tag: tensorFlow,
        body: examples,
        answer: json(object({ results: array(array({ type: 'array', prefixItems: [text, anything] })) })),
      }),
    };
    paths[`${base}:regress`] = {
      parameters,
      post: operation({
        summary: 'A number for each example',
        tag: tensorFlow,
        body: examples,
        answer: json(object({ results: array(anything) })),
      }),
    };
  }
  return {
    '/v1/models': { get: operation({ summary: 'States of every model', tag: tensorFlow, answer: json(ref('ModelStatus')) }) },
    ...paths,
  };
}

/** What may stand behind the name of a model, and the parameters in it. */
const versionPaths: readonly (readonly [string, readonly string[]])[] = [
  ['', []],
  ['/versions/{version}', ['version']],
  ['/labels/{label}', ['label']],
];

function openInferencePaths(): Json {
  const binary = { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } };
  const paths: Record<string, Json> = {
    '/v2': { get: operation({ summary: 'Name, version and extensions of the server', tag: oip, answer: json(ref('ServerMetadata')) }) },
    '/v2/health/live': { get: operation({ summary: 'Whether the server lives', tag: health, answer: json(object({ live: flag })) }) },
    '/v2/health/ready': {
      get: operation({
        summary: 'Whether every model can answer; 503 where not',
        tag: health,
        answer: json(object({ live: flag, ready: flag })),
      }),
    },
    '/v2/models/stats': { get: operation({ summary: 'Counters of every model', tag: oip, answer: json(ref('Statistics')) }) },
  };
  for (const [suffix, names] of versionPaths.slice(0, 2)) {
    const parameters = ['model', ...names].map(parameter);
    const base = `/v2/models/{model}${suffix}`;
    paths[base] = { parameters, get: operation({ summary: 'Inputs and outputs', tag: oip, answer: json(ref('InferenceMetadata')) }) };
    paths[`${base}/ready`] = {
      parameters,
      get: operation({ summary: 'Whether it can answer', tag: oip, answer: json(object({ name: text, ready: flag })) }),
    };
    paths[`${base}/config`] = { parameters, get: operation({ summary: "Triton's ModelConfig", tag: oip, answer: json(map(anything)) }) };
    paths[`${base}/stats`] = { parameters, get: operation({ summary: 'Counters', tag: oip, answer: json(ref('Statistics')) }) };
    paths[`${base}/infer`] = {
      parameters,
      post: operation({
        summary: 'Infers; tensors in JSON, or as bytes behind it (Inference-Header-Content-Length)',
        tag: oip,
        body: { ...json(ref('InferRequest')), ...binary },
        answer: { ...json(ref('InferResponse')), ...binary },
      }),
    };
  }
  for (const [base, names] of [
    ['/v2/repository', []],
    ['/v2/repository/{repository}', ['repository']],
  ] as const) {
    paths[`${base}/index`] = {
      parameters: names.map(parameter),
      post: operation({
        summary: 'Every model and version with its state',
        tag: oip,
        body: json(object({ ready: flag }, [])),
        answer: json(array(ref('IndexEntry'))),
      }),
    };
    for (const [action, summary] of [
      ['load', 'Loads a model'],
      ['unload', 'Unloads a model'],
    ] as const) {
      paths[`${base}/models/{model}/${action}`] = {
        parameters: [...names, 'model'].map(parameter),
        post: operation({ summary, tag: oip, body: json(object({ parameters: map(anything) }, [])), answer: json(object({})) }),
      };
    }
  }
  return paths;
}

function taskPaths(): Json {
  const picture = { 'image/*': { schema: { type: 'string', format: 'binary' } } };
  return Object.fromEntries(
    versionPaths.map(([suffix, names]) => [
      `/nearfar/v1/models/{model}${suffix}/tasks/{task}`,
      {
        parameters: ['model', ...names, 'task'].map(parameter),
        post: operation({
          summary: 'Does a task: of a picture, of a text, a row or a sound',
          tag: browsers,
          query: [
            queryOf('topK', { type: 'integer', minimum: 1 }, 'how many classes'),
            queryOf('threshold', number, 'least score of an object'),
            queryOf('maxDetections', { type: 'integer', minimum: 1 }, 'how many objects'),
          ],
          body: { ...json(anything), ...picture },
          answer: json(ref('TaskAnswer')),
        }),
      },
    ]),
  );
}

const limits = [
  queryOf('model', text, 'of this model alone'),
  queryOf('before', { type: 'integer', minimum: 1 }, 'older than the one with this id'),
  queryOf('limit', { type: 'integer', minimum: 1, maximum: 1000 }, 'at most so many (100)'),
];

function managementPaths(): Json {
  const of = (...names: string[]) => ({ parameters: names.map(parameter) });
  const model = '/nearfar/v1/models/{model}';
  const get = (summary: string, answer: Json, query: readonly Json[] = []) => ({
    get: operation({ summary, tag: management, answer: json(answer), query }),
  });
  const config = json(ref('ModelConfig'));
  return {
    '/nearfar/v1/models': get('Every model with its versions, states, labels and shares', object({ models: array(ref('Model')) })),
    '/nearfar/v1/batching': get('How signatures are batched', object({ signatures: array(ref('Batching')) })),
    '/nearfar/v1/session': {
      ...get('Who is signed in, and how to sign in', ref('Session')),
      post: operation({
        summary: 'Begins a session of the page by an API key; where callers have to say who they are',
        tag: management,
        body: json(object({ key: text })),
        answer: json(object({ name: text, roles: array(text) })),
      }),
      delete: operation({ summary: 'Ends the session of the page', tag: management }),
    },
    '/nearfar/v1/login': {
      get: operation({
        summary: 'Sends a browser to the OpenID provider',
        tag: management,
        query: [queryOf('next', text, 'path to come back to (/ui)')],
        status: 302,
      }),
    },
    '/nearfar/v1/login/callback': {
      get: operation({ summary: 'Where the OpenID provider sends it back', tag: management, status: 302 }),
    },
    '/nearfar/v1/history': get('What was changed and by whom, newest first', object({ entries: array(ref('HistoryEntry')) }), limits),
    '/nearfar/v1/failures': get('What failed by the server, or was refused, newest first', object({ failures: array(ref('Failure')) }), [
      ...limits,
      queryOf('kind', { enum: ['request', 'load', 'refused'] }, 'of this kind; else requests and loads'),
    ]),
    '/nearfar/v1/charts': get(
      'Requests, errors and latencies of the last hour',
      object({ stepMs: count, points: array(ref('ChartPoint')) }),
      [
        queryOf('model', text, 'of this model; else of the whole server'),
        queryOf('version', versionNumber, 'of this version of it'),
        queryOf('minutes', { type: 'integer', minimum: 1 }, 'of the last minutes (60)'),
      ],
    ),
    '/nearfar/v1/events': {
      get: operation({
        summary: 'What changes, as Server-Sent Events: models, history, failure, charts',
        tag: management,
        answer: { 'text/event-stream': { schema: text } },
      }),
    },
    '/nearfar/v1/reports': {
      ...get('What clients reported of their calls, by version and class of device', object({ rows: array(map(anything)) })),
      post: operation({ summary: 'Reports of calls, from clients', tag: browsers, body: json(map(anything)) }),
    },
    '/nearfar/v1/stores': get('How the stores answer that models are read from', object({ stores: array(ref('Store')) })),
    '/nearfar/v1/refresh': {
      post: operation({
        summary: 'Looks for changes now; the body may be the event of a bucket',
        tag: management,
        answer: json(object({ models: array(text), stores: array(ref('Store')) }, ['stores'])),
      }),
    },
    [`${model}/refresh`]: {
      ...of('model'),
      post: operation({
        summary: 'Looks for changes of a model now',
        tag: management,
        answer: json(object({ model: text, store: ref('Store') }, ['model'])),
      }),
    },
    '/nearfar/v1/openapi.json': get('This document', map(anything)),
    '/nearfar/v1/config': {
      ...get('What is configured', object({ model_config_list: object({ config: array(ref('ModelConfig')) }) })),
      put: operation({
        summary: 'Supersedes all that is configured',
        tag: management,
        body: json(map(anything)),
        answer: json(object({ model_config_list: object({ config: array(ref('ModelConfig')) }) })),
      }),
    },
    [`${model}/config`]: { ...of('model'), ...get('How a model is configured', ref('ModelConfig')) },
    [model]: {
      ...of('model'),
      put: operation({ summary: 'Adds a model, or changes it', tag: management, body: config, answer: config }),
      delete: operation({ summary: 'Serves a model no more', tag: management }),
    },
    [`${model}/labels/{label}`]: {
      ...of('model', 'label'),
      put: operation({
        summary: 'Points a label at a version',
        tag: management,
        body: json(object({ version: { anyOf: [versionNumber, { type: 'integer', minimum: 1 }] } })),
        answer: config,
      }),
      delete: operation({ summary: 'Takes a label away', tag: management }),
    },
    [`${model}/labels/{label}/rollback`]: {
      ...of('model', 'label'),
      post: operation({ summary: 'Points a label at the version that it had before', tag: management, answer: config }),
    },
    [`${model}/traffic`]: {
      ...of('model'),
      put: operation({
        summary: 'Shares clients out among labels, in percent',
        tag: management,
        body: json(ref('Traffic')),
        answer: json(object({ traffic: ref('Traffic') })),
      }),
    },
    [`${model}/drift`]: {
      ...of('model'),
      ...get(
        'How far answers are from those of a reference, by version and output',
        object({ model: text, samplingRate: number, outputs: array(ref('Drift')) }),
      ),
    },
    [`${model}/versions/{version}/baseline`]: {
      ...of('model', 'version'),
      post: operation({
        summary: 'Compares later answers with those of now',
        tag: management,
        answer: json(object({ model: text, version: versionNumber, digest, source: text, at: time, outputs: array(map(anything)) })),
      }),
    },
    [`${model}/feedback`]: {
      ...of('model'),
      ...get(
        'How right predictions were, by version and output',
        object({ model: text, isTaken: flag, outputs: array(ref('FeedbackReport')) }),
      ),
      post: operation({
        summary: 'What was right, of predictions whose id was asked for (nearfar-prediction-id)',
        tag: browsers,
        body: json({ anyOf: [ref('Feedback'), object({ feedback: array(ref('Feedback')) })] }),
        answer: json(object({ accepted: count, refused: array(object({ index: count, code: text, error: text })) })),
      }),
    },
    [`${model}/shadow`]: {
      ...of('model'),
      ...get('What shadow runs found', map(anything)),
      put: operation({
        summary: 'Lets a version answer a share of the requests silently, and compares',
        tag: management,
        body: json(object({ version: versionNumber, label: text, share: { type: 'number', minimum: 0, maximum: 100 } }, ['share'])),
        answer: json(map(anything)),
      }),
      delete: operation({ summary: 'Ends shadow runs', tag: management }),
    },
    [`${model}/rollout`]: {
      ...of('model'),
      ...get('The rollout of a model, what was measured, and what would be decided now', map(anything)),
      put: operation({
        summary: 'Begins a rollout by rules; with dryRun it says what it would do',
        tag: management,
        body: json(object({ label: text, steps: array(map(anything)), conditions: map(anything), dryRun: { type: 'boolean' } }, [])),
        answer: json(map(anything)),
      }),
      delete: operation({ summary: 'Ends a rollout: all clients get stable', tag: management, answer: json(map(anything)) }),
    },
    [`${model}/uploads`]: {
      ...of('model'),
      ...get('Uploads of a model that are not complete', object({ uploads: array(ref('Upload')) })),
      post: operation({
        summary: 'Announces a version that is to be uploaded, or goes on with one that was announced alike',
        tag: management,
        body: json(
          object(
            { version: { anyOf: [versionNumber, { type: 'integer', minimum: 1 }] }, labels: array(text), files: array(ref('UploadFile')) },
            ['files'],
          ),
        ),
        answer: json(ref('Upload')),
      }),
    },
    [`${model}/uploads/{upload}`]: {
      ...of('model', 'upload'),
      ...get('What an upload lacks', ref('Upload')),
      delete: operation({ summary: 'Gives an upload up', tag: management }),
    },
    [`${model}/uploads/{upload}/files/{path}`]: {
      ...of('model', 'upload', 'path'),
      ...get('How much of a file is there', ref('UploadProgress')),
      put: operation({
        summary: 'Sends a file, or with Content-Range the part of it that comes next',
        tag: management,
        body: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
        answer: json(ref('UploadProgress')),
      }),
    },
    [`${model}/uploads/{upload}/complete`]: {
      ...of('model', 'upload'),
      post: operation({
        summary: 'Publishes a version whose files are all there',
        tag: management,
        answer: json(object({ model: text, version: versionNumber, digest }, ['model', 'version'])),
      }),
    },
    [`${model}/versions/{version}`]: {
      ...of('model', 'version'),
      ...get('What is in a version', ref('VersionDetails')),
      put: operation({ summary: 'Loads a version beside the others', tag: management, answer: config }),
      delete: operation({ summary: 'Unloads a version', tag: management }),
    },
  };
}

function otherPaths(): Json {
  const page = { 'text/plain': { schema: text } };
  return {
    '/healthz': { get: operation({ summary: 'Whether the server lives', tag: health, answer: json(object({ status: text })) }) },
    '/readyz': {
      get: operation({ summary: 'Whether every model can answer; 503 where not', tag: health, answer: json(object({ status: text })) }),
    },
    '/metrics': { get: operation({ summary: 'Metrics for Prometheus', tag: health, answer: page }) },
    '/models/{file}': {
      parameters: [parameter('file')],
      get: operation({
        summary: 'The repository for browsers: versions.json, manifests and files, by ranges',
        tag: browsers,
        answer: { '*/*': { schema: { type: 'string', format: 'binary' } } },
      }),
    },
  };
}

const schemas: Json = {
  Error: object(
    {
      error: { type: 'string', description: "TensorFlow Serving's text where it has one" },
      code: { type: 'string', enum: Object.keys(errorStatuses) },
      details: map(anything),
    },
    ['error'],
  ),
  ModelStatus: object({
    model_version_status: array(
      object({
        version: versionNumber,
        state: { type: 'string', enum: states },
        status: object({ error_code: text, error_message: text }),
      }),
    ),
  }),
  ModelMetadata: object({ model_spec: map(anything), metadata: map(anything) }),
  ServerMetadata: object({ name: text, version: text, extensions: array(text) }),
  InferenceMetadata: object({
    name: text,
    versions: array(text),
    platform: text,
    inputs: array(ref('TensorMetadata')),
    outputs: array(ref('TensorMetadata')),
  }),
  TensorMetadata: object({ name: text, datatype: text, shape: array({ type: 'integer', minimum: -1 }) }),
  InferTensor: object({ name: text, shape: array(count), datatype: text, parameters: map(anything), data: anything }, [
    'name',
    'shape',
    'datatype',
  ]),
  InferRequest: object(
    {
      id: text,
      parameters: map(anything),
      inputs: array(ref('InferTensor')),
      outputs: array(object({ name: text, parameters: map(anything) }, ['name'])),
    },
    ['inputs'],
  ),
  InferResponse: object({ model_name: text, model_version: text, id: text, outputs: array(ref('InferTensor')) }, ['model_name', 'outputs']),
  Statistics: object({ model_stats: array(map(anything)) }),
  IndexEntry: object({ name: text, version: text, state: text, reason: text }, ['name', 'state']),
  Traffic: { type: 'object', additionalProperties: { type: 'number', minimum: 0, maximum: 100 } },
  Version: object(
    {
      version: versionNumber,
      state: { type: 'string', enum: states },
      digest,
      labels: array(text),
      error: text,
      backend: text,
      variant: text,
      tasks: array(text),
    },
    ['version', 'state', 'labels'],
  ),
  Model: object(
    { name: text, labels: map(versionNumber), traffic: ref('Traffic'), versions: array(ref('Version')), published: array(versionNumber) },
    ['name', 'labels', 'versions', 'published'],
  ),
  VersionDetails: object(
    {
      model: text,
      version: versionNumber,
      state: { type: 'string', enum: states },
      digest,
      labels: array(text),
      error: text,
      backend: text,
      variant: text,
      platform: text,
      parallelism: count,
      license: text,
      description: text,
      signatures: map(anything),
      tasks: map(anything),
      variants: array(object({ id: text, format: text, precision: text, requires: array(text), bytes: count })),
      goldenExamples: count,
      memoryBytes: count,
      inFlight: count,
      loadedAt: time,
      bytes: count,
      batching: array(ref('Batching')),
    },
    ['model', 'version', 'state', 'labels', 'batching'],
  ),
  Store: object({ location: text, lastAnswerAt: time, nextAskAt: time, error: text, failingSince: time }, ['location']),
  UploadFile: object({ path: text, bytes: count, digest }),
  UploadProgress: object({ offset: count, bytes: count }),
  Upload: object({
    upload: text,
    model: text,
    version: versionNumber,
    missing: array(object({ path: text, bytes: count, digest, offset: count })),
  }),
  Batching: object(
    {
      model: text,
      version: versionNumber,
      signature: text,
      batching: { enum: ['fixed', 'auto'] },
      maxBatchSize: number,
      batchTimeoutMicros: number,
      tuning: map(anything),
    },
    ['model', 'version', 'signature', 'batching', 'maxBatchSize', 'batchTimeoutMicros'],
  ),
  ModelConfig: { type: 'object', description: "the JSON form of TensorFlow Serving's ModelConfig", additionalProperties: true },
  HistoryEntry: object(
    {
      id: count,
      at: time,
      server: text,
      who: text,
      way: text,
      action: text,
      model: text,
      folder: text,
      version: text,
      from: anything,
      to: anything,
      outcome: text,
      message: text,
    },
    ['id', 'at', 'server', 'who', 'way', 'action', 'model', 'outcome'],
  ),
  Failure: object(
    {
      id: count,
      time,
      lastTime: time,
      count,
      kind: { enum: ['request', 'load', 'refused'] },
      model: text,
      version: text,
      signature: text,
      api: text,
      code: text,
      message: text,
      traceId: text,
    },
    ['id', 'time', 'lastTime', 'count', 'kind', 'model', 'code', 'message'],
  ),
  ChartPoint: object({
    time,
    requests: count,
    errors: count,
    refused: count,
    latencyP50Ms: orNull(number),
    latencyP99Ms: orNull(number),
    queueMs: orNull(number),
    batchSize: orNull(number),
    inFlight: count,
    memoryBytes: count,
  }),
  Session: object({ authentication: flag, signIn: array(text), name: text, roles: array(text), models: array(text), csrf: text }, [
    'authentication',
  ]),
  Drift: object({
    version: versionNumber,
    signature: text,
    output: text,
    rows: count,
    present: orNull(ref('Answers')),
    reference: orNull(ref('Answers')),
    distances: array(
      object({
        of: { enum: ['classes', 'confidence', 'values', 'mean'] },
        measure: { enum: ['psi', 'jensen-shannon', 'ks', 'cosine', 'deviations'] },
        value: number,
        isLarge: flag,
      }),
    ),
  }),
  Answers: object({ kind: { enum: ['classes', 'numbers', 'vectors'] }, rows: count }),
  Feedback: object({ id: text, row: count, label: { anyOf: [text, count] }, value: number }, ['id']),
  FeedbackReport: object({ version: versionNumber, signature: text, output: text, kind: { enum: ['classes', 'numbers'] }, count }),
  TaskAnswer: object(
    { model_name: text, model_version: text, digest, backend: text, variant: text, predictions: array(map(anything)), output: anything },
    ['model_name', 'model_version', 'digest', 'backend', 'variant'],
  ),
};

const parameters: Json = Object.fromEntries(
  [
    ['model', text, 'name of a model'],
    ['version', versionNumber, 'number of a version'],
    ['label', text, 'movable name of a version'],
    ['task', text, 'such as image-classification'],
    ['repository', text, 'any name: there is one repository'],
    ['file', text, 'path below the repository'],
    ['upload', text, 'id of an upload'],
    ['path', text, 'path of a file in its version'],
  ].map(([name, schema, description]) => [name, { name, in: 'path', required: true, schema, description }]),
);

/** The document, of a server of this version. */
export function openApiDocument(serverVersion: string): Json {
  return {
    openapi: '3.1.1',
    info: {
      title: 'nearfar',
      version: serverVersion,
      description:
        "TensorFlow Serving's REST API, the Open Inference Protocol, and nearfar's own API. Errors have one form and a stable code.",
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    tags: [tensorFlow, oip, browsers, management, health].map((name) => ({ name })),
    paths: { ...tensorFlowPaths(), ...openInferencePaths(), ...taskPaths(), ...managementPaths(), ...otherPaths() },
    components: {
      schemas,
      parameters,
      securitySchemes: {
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
        bearer: { type: 'http', scheme: 'bearer', description: 'an API key or a token' },
      },
    },
    // Where the server asks who calls, which GET /nearfar/v1/session tells.
    security: [{}, { apiKey: [] }, { bearer: [] }],
  };
}

export function addOpenApi(app: FastifyInstance, { serverVersion }: { readonly serverVersion: string }): void {
  app.get('/nearfar/v1/openapi.json', async () => openApiDocument(serverVersion));
}

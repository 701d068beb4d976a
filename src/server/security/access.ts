import { NearfarError } from '../../core/index.ts';

/**
 * What somebody may do: ask for predictions, see how the server and its models are, change what is served, change the configuration as a
 * whole. Who may operate may read, an admin may do everything; nobody else has a role that was not given.
 */
export const roles = ['predict', 'read', 'operate', 'admin'] as const;
export type Role = (typeof roles)[number];

/**
 * Who a call is for: everyone; whoever has a role, whichever it is; those of one role. `audit` is for the role `read`, and without
 * authentication for those who may change what is served; `files`, `metrics` and `reports` are for one role unless they are opened; `page` is
 * open, and shows those who have to log in where.
 */
export type Access = 'open' | 'signed-in' | Role | 'audit' | 'files' | 'metrics' | 'reports' | 'page';

/** Who may take each route of HTTP, by its method and its path; that of GET is that of HEAD, `ANY` stands for all methods without a row. */
export const httpAccess = {
  'GET /healthz': 'open',
  'GET /readyz': 'open',
  // Of all paths that --monitoring_config_file may name.
  'GET /metrics': 'metrics',

  'GET /v1/*': 'signed-in',
  'POST /v1/*': 'predict',
  'ANY /v1/*': 'open', // refused, or told what the headers allow a page to do

  'GET /v2': 'signed-in',
  'GET /v2/health/live': 'open',
  'GET /v2/health/ready': 'open',
  'GET /v2/models/stats': 'read',
  'GET /v2/models/:model': 'signed-in',
  'GET /v2/models/:model/ready': 'signed-in',
  'GET /v2/models/:model/config': 'signed-in',
  'GET /v2/models/:model/stats': 'read',
  'POST /v2/models/:model/infer': 'predict',
  'GET /v2/models/:model/versions/:version': 'signed-in',
  'GET /v2/models/:model/versions/:version/ready': 'signed-in',
  'GET /v2/models/:model/versions/:version/config': 'signed-in',
  'GET /v2/models/:model/versions/:version/stats': 'read',
  'POST /v2/models/:model/versions/:version/infer': 'predict',
  'POST /v2/repository/index': 'read',
  'POST /v2/repository/models/:model/load': 'operate',
  'POST /v2/repository/models/:model/unload': 'operate',
  'POST /v2/repository/:repository/index': 'read',
  'POST /v2/repository/:repository/models/:model/load': 'operate',
  'POST /v2/repository/:repository/models/:model/unload': 'operate',

  'GET /models/*': 'files',

  'GET /nearfar/v1/models': 'read',
  'GET /nearfar/v1/stores': 'read',
  'POST /nearfar/v1/refresh': 'operate',
  'POST /nearfar/v1/models/:model/refresh': 'operate',
  'GET /nearfar/v1/batching': 'read',
  'GET /nearfar/v1/config': 'read',
  'PUT /nearfar/v1/config': 'admin',
  'GET /nearfar/v1/history': 'audit',
  'GET /nearfar/v1/models/:model/config': 'read',
  'PUT /nearfar/v1/models/:model': 'operate',
  'DELETE /nearfar/v1/models/:model': 'operate',
  'PUT /nearfar/v1/models/:model/labels/:label': 'operate',
  'DELETE /nearfar/v1/models/:model/labels/:label': 'operate',
  'POST /nearfar/v1/models/:model/labels/:label/rollback': 'operate',
  'PUT /nearfar/v1/models/:model/traffic': 'operate',
  'PUT /nearfar/v1/models/:model/versions/:version': 'operate',
  'DELETE /nearfar/v1/models/:model/versions/:version': 'operate',
  'POST /nearfar/v1/models/:model/tasks/:task': 'predict',
  'POST /nearfar/v1/models/:model/versions/:version/tasks/:task': 'predict',
  'POST /nearfar/v1/models/:model/labels/:label/tasks/:task': 'predict',
  'GET /nearfar/v1/models/:model/versions/:version': 'read',
  'GET /nearfar/v1/charts': 'read',
  'GET /nearfar/v1/models/:model/drift': 'read',
  'POST /nearfar/v1/models/:model/versions/:version/baseline': 'operate',
  'GET /nearfar/v1/models/:model/feedback': 'read',
  'POST /nearfar/v1/models/:model/feedback': 'predict',
  'GET /nearfar/v1/openapi.json': 'open',
  'GET /nearfar/v1/events': 'audit',
  'GET /nearfar/v1/failures': 'audit',
  'GET /nearfar/v1/models/:model/uploads': 'operate',
  'POST /nearfar/v1/models/:model/uploads': 'operate',
  'GET /nearfar/v1/models/:model/uploads/:upload': 'operate',
  'GET /nearfar/v1/models/:model/uploads/:upload/files/*': 'operate',
  'PUT /nearfar/v1/models/:model/uploads/:upload/files/*': 'operate',
  'POST /nearfar/v1/models/:model/uploads/:upload/complete': 'operate',
  'DELETE /nearfar/v1/models/:model/uploads/:upload': 'operate',
  'PUT /nearfar/v1/models/:model/shadow': 'operate',
  'PUT /nearfar/v1/models/:model/rollout': 'operate',
  'DELETE /nearfar/v1/models/:model/rollout': 'operate',
  'DELETE /nearfar/v1/models/:model/shadow': 'operate',
  'GET /nearfar/v1/models/:model/shadow': 'read',
  'GET /nearfar/v1/models/:model/rollout': 'read',

  'GET /nearfar/v1/session': 'open',
  'POST /nearfar/v1/session': 'open',
  'DELETE /nearfar/v1/session': 'open',
  'GET /nearfar/v1/login': 'open',
  'GET /nearfar/v1/login/callback': 'open',

  // The page holds nothing of the server's: what it shows it asks for.
  'GET /ui': 'page',
  'GET /ui/*': 'page',

  'GET /nearfar/v1/reports': 'read',
  'POST /nearfar/v1/reports': 'reports',

  // Static pages, such as the demo.
  'GET /*': 'open',
  // What pages ask beforehand, without credentials.
  'OPTIONS *': 'open',
  // A path that is there under other methods: 405.
  'ANY other': 'open',
} as const satisfies Readonly<Record<string, Access>>;

export type HttpRow = keyof typeof httpAccess;

/** Who may call each method of gRPC. */
export const grpcAccess = {
  '/tensorflow.serving.PredictionService/Predict': 'predict',
  '/tensorflow.serving.PredictionService/Classify': 'predict',
  '/tensorflow.serving.PredictionService/Regress': 'predict',
  '/tensorflow.serving.PredictionService/MultiInference': 'predict',
  '/tensorflow.serving.PredictionService/GetModelMetadata': 'signed-in',
  '/tensorflow.serving.ModelService/GetModelStatus': 'signed-in',
  '/tensorflow.serving.ModelService/HandleReloadConfigRequest': 'admin',

  '/inference.GRPCInferenceService/ServerLive': 'open',
  '/inference.GRPCInferenceService/ServerReady': 'open',
  '/inference.GRPCInferenceService/ServerMetadata': 'signed-in',
  '/inference.GRPCInferenceService/ModelReady': 'signed-in',
  '/inference.GRPCInferenceService/ModelMetadata': 'signed-in',
  '/inference.GRPCInferenceService/ModelConfig': 'signed-in',
  '/inference.GRPCInferenceService/ModelStatistics': 'read',
  '/inference.GRPCInferenceService/ModelInfer': 'predict',
  '/inference.GRPCInferenceService/ModelStreamInfer': 'predict',
  '/inference.GRPCInferenceService/RepositoryIndex': 'read',
  '/inference.GRPCInferenceService/RepositoryModelLoad': 'operate',
  '/inference.GRPCInferenceService/RepositoryModelUnload': 'operate',
  // Answered that they are not served.
  '/inference.GRPCInferenceService/SystemSharedMemoryStatus': 'signed-in',
  '/inference.GRPCInferenceService/SystemSharedMemoryRegister': 'signed-in',
  '/inference.GRPCInferenceService/SystemSharedMemoryUnregister': 'signed-in',
  '/inference.GRPCInferenceService/CudaSharedMemoryStatus': 'signed-in',
  '/inference.GRPCInferenceService/CudaSharedMemoryRegister': 'signed-in',
  '/inference.GRPCInferenceService/CudaSharedMemoryUnregister': 'signed-in',
  '/inference.GRPCInferenceService/TraceSetting': 'signed-in',
  '/inference.GRPCInferenceService/LogSettings': 'signed-in',

  '/grpc.health.v1.Health/Check': 'open',
  '/grpc.health.v1.Health/Watch': 'open',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': 'signed-in',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': 'signed-in',
} as const satisfies Readonly<Record<string, Access>>;

/**
 * Who may take a route.
 * @throws {NearfarError} `internal` for one that has no row: nothing is served of which nobody has said for whom.
 */
export function accessOfRoute(method: string, url: string): Access {
  const path = url.replace(/\/tasks\/[a-z-]+$/, '/tasks/:task');
  const access = rowOf(httpAccess, `${method === 'HEAD' ? 'GET' : method} ${path}`) ?? rowOf(httpAccess, `ANY ${path}`);
  if (access) return access;
  throw new NearfarError('internal', `the route ${method} ${url} has no row in src/server/security/access.ts: who may take it?`);
}

/**
 * Who may call a method, `/package.Service/Method`.
 * @throws {NearfarError} `internal` for one that has no row.
 */
export function accessOfMethod(path: string): Access {
  const access = rowOf(grpcAccess, path);
  if (access) return access;
  throw new NearfarError('internal', `the method ${path} has no row in src/server/security/access.ts: who may call it?`);
}

/** Whether it changes what is served. */
export function isChange(access: Access): boolean {
  return access === 'operate' || access === 'admin';
}

function rowOf(table: Readonly<Record<string, Access>>, row: string): Access | undefined {
  return Object.hasOwn(table, row) ? table[row] : undefined;
}

import { readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create, type JsonObject, type MessageInitShape, toJson } from '@bufbuild/protobuf';
import {
  type ModelServerConfig,
  ModelServerConfigSchema,
  ModelType,
  NearfarError,
  type NearfarOptions,
  NearfarOptions_SignatureChange,
  NearfarOptions_Transition,
  NearfarOptionsSchema,
  parseTextMessage,
  type ServingModelConfig,
  ServingModelConfigSchema,
} from '../core/index.ts';
import { toBatchingOptions } from './batching/index.ts';
import type { Batching, ModelOptions } from './model-options.ts';
import {
  isRemote,
  type ModelPlatform,
  type ModelSource,
  modelPlatforms,
  resolveStoreLocation,
  type VersionPolicy,
} from './repository/index.ts';

// TensorFlow Serving's ModelServerConfig, with its rules and the texts of its errors.

/**
 * Reads the models of a ModelServerConfig in text form.
 * @throws {NearfarError} `not-found` when the file cannot be read; what {@link toModelSources} throws.
 */
export function readModelConfigFile(file: string): readonly ModelSource[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT' ? 'No such file or directory' : String(cause);
    throw new NearfarError('not-found', `--model_config_file: ${file}; ${reason}`, { cause, details: { file } });
  }
  const config = parseTextMessage(ModelServerConfigSchema, text, { file });
  return config.config.case === undefined ? [] : toModelSources(config);
}

/**
 * The models of a ModelServerConfig.
 * @throws {NearfarError} `invalid-argument` for what TensorFlow Serving refuses, in its words; `unsupported` for a base path that is no
 * folder on disk.
 */
export function toModelSources({ config }: ModelServerConfig): readonly ModelSource[] {
  if (config.case !== 'modelConfigList') {
    throw new NearfarError(
      'invalid-argument',
      'ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported',
    );
  }
  const sources = config.value.config.map(toModelSource);
  assertNamesDiffer(sources);
  return sources;
}

/** @throws {NearfarError} `invalid-argument`. */
export function assertNamesDiffer(sources: readonly ModelSource[]): void {
  const names = new Set<string>();
  for (const { name } of sources) {
    if (names.has(name)) {
      throw new NearfarError('invalid-argument', `Illegal to list model ${name} multiple times in config list`, { details: { name } });
    }
    names.add(name);
  }
}

/**
 * Checks that no model changes its platform.
 * @throws {NearfarError} `invalid-argument`.
 */
export function assertPlatformsStay(before: readonly ModelSource[], after: readonly ModelSource[]): void {
  const platforms = new Map(before.map(({ name, platform }) => [name, platform ?? 'tensorflow']));
  for (const { name, platform: now = 'tensorflow' } of after) {
    const was = platforms.get(name);
    if (was === undefined || was === now) continue;
    throw new NearfarError(
      'invalid-argument',
      `Illegal to change a model's platform. For model ${name} platform was ${was} and new platform requested is ${now}`,
      { details: { name, was, now } },
    );
  }
}

/** @throws {NearfarError} as {@link toModelSources}. */
export function toModelSource(config: ServingModelConfig): ModelSource {
  const { name, modelVersionPolicy, versionLabels, loggingConfig, nearfar } = config;
  // It becomes a folder of the cache and a part of paths.
  if (name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name)) {
    throw new NearfarError('invalid-argument', `a model's name has a character and no slash, got "${name}"`, { details: { name } });
  }
  return {
    name,
    basePath: resolveBasePath(name, config.basePath),
    platform: platformOf(config),
    policy: policyOf(modelVersionPolicy?.policyChoice),
    labels: Object.fromEntries(Object.entries(versionLabels).map(([label, version]) => [label, String(version)])),
    logging: loggingConfig,
    options: nearfar && toModelOptions(name, nearfar),
  };
}

/** The inverse of {@link toModelSource}, with every default written out. */
export function toModelConfig({
  name,
  basePath,
  platform = 'tensorflow',
  policy,
  labels = {},
  logging,
  options,
}: ModelSource): ServingModelConfig {
  return create(ServingModelConfigSchema, {
    name,
    basePath,
    modelPlatform: platform,
    modelVersionPolicy: policyInit(policy ?? { kind: 'latest', count: 1 }),
    versionLabels: Object.fromEntries(Object.entries(labels).map(([label, version]) => [label, BigInt(version)])),
    ...(logging && { loggingConfig: logging }),
    ...(options && Object.keys(options).length > 0 && { nearfar: toNearfarOptions(options) }),
  });
}

/** What is configured for a model as JSON, with the names of its text form. */
export function describeModel(source: ModelSource): JsonObject {
  const json = toJson(ServingModelConfigSchema, toModelConfig(source), { useProtoFieldName: true, alwaysEmitImplicit: false });
  return json as JsonObject; // as every message but the well-known ones
}

/**
 * The folder or the store of a base path.
 * @throws {NearfarError} `invalid-argument` for a relative one; `unsupported` for a place that cannot be read.
 */
export function resolveBasePath(name: string, basePath: string): string {
  if (basePath.startsWith('file:')) return fileURLToPath(basePath);
  if (isRemote(basePath)) {
    return resolveStoreLocation(basePath);
  }
  if (!isAbsolute(basePath)) {
    throw new NearfarError('invalid-argument', `Expected model ${name} to have an absolute path or URI; got base_path()=${basePath}`, {
      details: { name, basePath },
    });
  }
  return resolve(basePath);
}

function platformOf({ name, modelType, modelPlatform }: ServingModelConfig): ModelPlatform {
  if (modelType !== ModelType.MODEL_TYPE_UNSPECIFIED) {
    if (modelPlatform !== '') {
      throw new NearfarError(
        'invalid-argument',
        'Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform.',
      );
    }
    if (modelType === ModelType.TENSORFLOW) return 'tensorflow';
    throw new NearfarError('invalid-argument', `ModelServerConfig::model_type choice ${modelType} not supported.`);
  }
  if (modelPlatform === '') {
    throw new NearfarError(
      'invalid-argument',
      'Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform.',
    );
  }
  const known = modelPlatforms.find((platform) => platform === modelPlatform);
  if (known) return known;
  throw new NearfarError('invalid-argument', `Model ${name} requests unsupported platform ${modelPlatform}`, {
    details: { name, want: modelPlatforms, got: modelPlatform },
  });
}

type PolicyChoice = NonNullable<ServingModelConfig['modelVersionPolicy']>['policyChoice'];

function policyOf(choice: PolicyChoice | undefined): VersionPolicy | undefined {
  switch (choice?.case) {
    case 'latest':
      // Theirs takes 0 for 1.
      return { kind: 'latest', count: Math.max(1, choice.value.numVersions) };
    case 'all':
      return { kind: 'all' };
    case 'specific':
      return { kind: 'specific', versions: choice.value.versions.map(String) };
    case undefined:
      return undefined;
  }
}

type PolicyInit = NonNullable<MessageInitShape<typeof ServingModelConfigSchema>['modelVersionPolicy']>;

function policyInit(policy: VersionPolicy): PolicyInit {
  switch (policy.kind) {
    case 'latest':
      return { policyChoice: { case: 'latest', value: { numVersions: policy.count } } };
    case 'all':
      return { policyChoice: { case: 'all', value: {} } };
    case 'specific':
      return { policyChoice: { case: 'specific', value: { versions: policy.versions.map(BigInt) } } };
  }
}

const transitions = [
  [NearfarOptions_Transition.AVAILABILITY_PRESERVING, 'availability-preserving'],
  [NearfarOptions_Transition.RESOURCE_PRESERVING, 'resource-preserving'],
] as const satisfies readonly (readonly [NearfarOptions_Transition, ModelOptions['transition']])[];

const signatureChanges = [
  [NearfarOptions_SignatureChange.REPORT, 'report'],
  [NearfarOptions_SignatureChange.REFUSE, 'refuse'],
] as const satisfies readonly (readonly [NearfarOptions_SignatureChange, ModelOptions['signatureChange']])[];

function toModelOptions(
  name: string,
  { transition, signatureChange, batchingChoice, resultCacheTtlMs, driftSamplingRate, feedback }: NearfarOptions,
): Partial<ModelOptions> {
  const batching = batchingOf(name, batchingChoice);
  return {
    ...(transition !== NearfarOptions_Transition.TRANSITION_UNSPECIFIED && { transition: lookUp(transitions, 'transition', transition) }),
    ...(signatureChange !== NearfarOptions_SignatureChange.SIGNATURE_CHANGE_UNSPECIFIED && {
      signatureChange: lookUp(signatureChanges, 'signature_change', signatureChange),
    }),
    ...(batching !== undefined && { batching }),
    ...(resultCacheTtlMs !== undefined && { resultCacheTtlMs: Number(resultCacheTtlMs) }),
    ...(driftSamplingRate !== undefined && { driftSamplingRate: assertShare('drift_sampling_rate', driftSamplingRate) }),
    ...(feedback !== undefined && { feedback }),
  };
}

/** Proto3 lets any number through. */
function lookUp<N extends number, V>(table: readonly (readonly [N, V])[], field: string, number: number): V {
  const row = table.find(([known]) => known === number);
  if (row) return row[1];
  throw new NearfarError('invalid-argument', `nearfar.${field} has no value ${number}`, { details: { field, got: number } });
}

function assertShare(field: string, share: number): number {
  if (share >= 0 && share <= 1) return share;
  throw new NearfarError('invalid-argument', `nearfar.${field} is a share from 0 to 1, got ${share}`, { details: { field, got: share } });
}

function batchingOf(name: string, choice: NearfarOptions['batchingChoice']): Batching | undefined {
  switch (choice.case) {
    case 'batching':
      return { kind: 'fixed', options: toBatchingOptions(choice.value, `the batching parameters of ${name}`) };
    case 'batchingAuto':
      return { kind: 'auto', p99TargetMs: choice.value.p99TargetMs };
    case 'batchingOff':
      return 'off';
    case undefined:
      return undefined;
  }
}

function toNearfarOptions(options: Partial<ModelOptions>): NearfarOptions {
  const { transition, signatureChange, batching, resultCacheTtlMs, driftSamplingRate, feedback } = options;
  return create(NearfarOptionsSchema, {
    transition: transitions.find(([, name]) => name === transition)?.[0] ?? NearfarOptions_Transition.TRANSITION_UNSPECIFIED,
    signatureChange:
      signatureChanges.find(([, name]) => name === signatureChange)?.[0] ?? NearfarOptions_SignatureChange.SIGNATURE_CHANGE_UNSPECIFIED,
    ...(batching !== undefined && { batchingChoice: batchingChoiceOf(batching) }),
    ...(resultCacheTtlMs !== undefined && { resultCacheTtlMs: BigInt(resultCacheTtlMs) }),
    ...(driftSamplingRate !== undefined && { driftSamplingRate }),
    ...(feedback !== undefined && { feedback }),
  });
}

type BatchingInit = NonNullable<MessageInitShape<typeof NearfarOptionsSchema>['batchingChoice']>;

function batchingChoiceOf(batching: Batching): BatchingInit {
  if (batching === 'off') return { case: 'batchingOff', value: {} };
  if (batching.kind === 'auto') return { case: 'batchingAuto', value: { p99TargetMs: batching.p99TargetMs } };
  const { options } = batching;
  return {
    case: 'batching',
    value: {
      ...options,
      maxBatchSize: BigInt(options.maxBatchSize),
      batchTimeoutMicros: BigInt(options.batchTimeoutMicros),
      maxEnqueuedBatches: BigInt(options.maxEnqueuedBatches),
      numBatchThreads: BigInt(options.numBatchThreads),
      maxExecutionBatchSize: BigInt(options.maxExecutionBatchSize),
      allowedBatchSizes: options.allowedBatchSizes.map(BigInt),
    },
  };
}

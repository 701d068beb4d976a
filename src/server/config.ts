import { readFileSync } from 'node:fs';
import { availableParallelism, homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type BackendId, NearfarError, readPublicKey } from '../core/index.ts';
import { resolveBatching } from './batching/index.ts';
import { type ChannelArguments, parseChannelArguments } from './channel-arguments.ts';
import { type FlagValues, parseFlags } from './flags.ts';
import { type LogLevel, logLevels } from './log.ts';
import { assertNamesDiffer, readModelConfigFile, resolveBasePath } from './model-config.ts';
import type { Batching, ModelOptions } from './model-options.ts';
import { defaultMetricsPaths, readMonitoringConfig } from './monitoring-config.ts';
import type { DriftReference } from './quality/index.ts';
import { isRemote, type ModelSource, type RepositoryStore, resolveStoreLocation } from './repository/index.ts';
import { resolveLogging } from './request-log/index.ts';
import { type Authentication, assertAuthentication, readAuthentication } from './security/index.ts';
import { readSslConfig, type TlsIdentity } from './ssl-config.ts';
import type { SiteOptions } from './transports/index.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Everything the server can be told. */
export interface ServerConfig {
  /** Address to listen on. @default '0.0.0.0', as tensorflow_model_server */
  readonly host: string;
  /** 0 takes any free port. @default 8500 */
  readonly grpcPort: number | 'off';
  /** 0 takes any free port. @default 8501 */
  readonly restPort: number | 'off';
  /** Path of a Unix socket that gRPC listens on too. @default undefined, none */
  readonly grpcSocketPath: string | undefined;
  /** Options of the gRPC server, by their names in gRPC. @default {} */
  readonly grpcChannelArguments: ChannelArguments;
  /** Key and certificates of all ports; the Unix socket has no TLS. @default undefined, no TLS */
  readonly tls: TlsIdentity | undefined;
  /** Of its own, HTTP and gRPC, for calls that change what is served; without it they are taken from loopback. */
  readonly adminAddress: Address | undefined;
  /** How callers say who they are. @default {}, nobody has to */
  readonly authentication: Authentication;
  /** With authentication, whether calls that change what is served are taken at every address. @default false, as without it */
  readonly changesOnPublicPort: boolean;
  /** Folders that models of calls may be in, besides those that are configured. @default undefined: any without authentication, none with it */
  readonly allowedModelRoots: readonly string[] | undefined;
  readonly models: readonly ModelSource[];
  /** Where `models` was read from, and is read again: a ModelServerConfig in text form. */
  readonly modelConfigFile: string | undefined;
  /** Pause between two looks at that file, in milliseconds; 0 reads it again only when asked to. @default 0 */
  readonly modelConfigPollMs: number;
  /** Whether a label may name a version that is not there. @default false */
  readonly allowsLabelsOfMissingVersions: boolean;
  /** A repository root, a folder or a URL (`https://`, `s3://`, `gs://`): each folder in it that holds versions is a model. */
  readonly modelsRoot: string | undefined;
  /** A store of your own in place of `modelsRoot`. @default undefined */
  readonly store: RepositoryStore | undefined;
  /** Pause between two questions to a store that is not on disk, in milliseconds; 0 asks once. @default 60_000 */
  readonly storePollMs: number;
  /** Largest size of what is kept of stores, in bytes. @default 21_474_836_480 (20 GiB) */
  readonly storeCacheBytes: number;
  /** Hosts that redirects of a store may lead to, besides its own. @default [] */
  readonly storeRedirectHosts: readonly string[];
  /** Pause between two looks at the version directories, in milliseconds; 0 looks once, below 0 never. @default 1000 */
  readonly pollIntervalMs: number;
  /** Deadline of a REST request that brings none. @default 30_000 */
  readonly restTimeoutMs: number;
  /** Origins that may send predictions from a browser; `*` is any. @default [] */
  readonly corsAllowedOrigins: readonly string[];
  /** gRPC answers carry `tensor_content` instead of typed values. @default false */
  readonly respondsWithTensorContent: boolean;
  /** Backends to try, in this order; `auto` is GPU first where a real adapter is there, then onnx-cpu, then tfjs-wasm. @default 'auto' */
  readonly backends: readonly BackendId[] | 'auto';
  /** Variants to try before the others of their version, in this order, by their ids in the manifest. @default [], the manifest's order */
  readonly variants: readonly string[];
  /** Whether a GPU adapter made of software counts. @default false */
  readonly allowSoftwareAdapter: boolean;
  /** Threads of one engine session. @default the number of cores less one, at least 1 */
  readonly engineThreads: number;
  /** Runs of CPU models that take less are done on the event loop, in milliseconds; 0 for none. @default 0.1 */
  readonly inlineRunsBelowMs: number;
  /** How many engine workers have each version, and so how many of its runs go on side by side. @default 1 */
  readonly engineWorkers: number;
  /**
   * Most engine workers (threads, some 50 MB each). Up to here a version is loaded in workers that nothing else waits for; beyond, versions
   * share workers. @default 8
   */
  readonly maxEngineWorkers: number;
  /** How often each recorded warm-up request runs when a version loads; 0: they are not read. @default 1 */
  readonly warmupIterations: number;
  /** What holds for models that have no option of their own. */
  readonly modelDefaults: Partial<ModelOptions>;
  /** Versions that load at the same time. @default Infinity */
  readonly loadThreads: number;
  /** Versions that unload at the same time. @default Infinity */
  readonly unloadThreads: number;
  /** Whether Classify and Regress refuse a signature that was exported for another method. @default false */
  readonly checksSignatureMethod: boolean;
  /** Retries of a failed load before it is given up. @default Infinity */
  readonly maxLoadRetries: number;
  /** Pause before the first retry, in milliseconds; each further one is twice as long. @default 1000 */
  readonly firstLoadRetryMs: number;
  /** Longest pause between two retries, in milliseconds. @default 60_000 */
  readonly maxLoadRetryMs: number;
  /** Tags of the graph that is taken of a SavedModel. @default ['serve'], or the graph without tags where none has that */
  readonly savedModelTags: readonly string[] | undefined;
  /** Where imported TensorFlow Serving directories are kept. @default `nearfar` in the user's cache folder */
  readonly cacheDir: string;
  /** The SQLite file that says who changed what. @default undefined: it is known until the server ends; of `nearfar serve`, `nearfar/history.sqlite` in the user's state folder */
  readonly historyFile: string | undefined;
  /** The PostgreSQL database that holds the history in place of a file, `postgres://…`: for servers on several machines. @default undefined */
  readonly historyUrl: string | undefined;
  /** Public keys in PEM (P-256, P-384 or P-521): versions that none of them signed are not served. @default [], signatures are not looked at */
  readonly trust: readonly string[];
  /** Most bytes of one version that is uploaded; 0 takes no uploads. @default 17_179_869_184 (16 GiB) */
  readonly maxUploadBytes: number;
  /** Predictions taken and not yet answered; more are refused as `overloaded`. @default 512 */
  readonly maxInFlight: number;
  /** Of one client, which is an address; more are refused as `rate-limited`. @default Infinity */
  readonly maxInFlightPerClient: number;
  /** Predictions a second of one client; more are refused as `rate-limited`. @default Infinity */
  readonly rateLimitPerClient: number;
  /** Most bytes of answers kept in memory. @default 0, none are */
  readonly resultCacheBytes: number;
  /** How long answers are kept where a result cache is on and the model does not say it, in milliseconds. @default 3_600_000 */
  readonly resultCacheTtlMs: number;
  /** URL of a Redis that keeps answers for all servers that name it. @default undefined, none */
  readonly resultCacheRedis: string | undefined;
  /** Longest time a request waits for that Redis, in milliseconds; a later answer is a miss. @default 50 */
  readonly redisTimeoutMs: number;
  /** Most bytes of decoded and resized pictures kept in memory. @default 0, none are */
  readonly inputCacheBytes: number;
  /** How requests of models that say nothing of their own are batched. @default 'off' */
  readonly batching: Batching;
  /** Versions bring their own batching parameters in `batching_params.pbtxt`; those that do not are not batched. @default false */
  readonly hasVersionBatching: boolean;
  /** How long a closing server, not ready any more, still takes requests, in milliseconds. @default 250 */
  readonly lameDuckMs: number;
  /** How long it then waits for what is in flight, in milliseconds. @default 20_000 */
  readonly gracePeriodMs: number;
  /** Static pages at `/`, such as the demo; the command line has no flag for them. */
  readonly site: SiteOptions | undefined;
  /** @default 'info' */
  readonly logLevel: LogLevel;
  /** Logs every request at level `info`, without what is in it; else that is done at `debug`. @default false */
  readonly accessLog: boolean;
  /** Paths of the page for Prometheus. @default ['/metrics', '/monitoring/prometheus/metrics'] */
  readonly metricsPaths: readonly string[];
  /** Base URL of an OpenTelemetry collector that takes traces by OTLP over HTTP. @default undefined, no traces */
  readonly otlpEndpoint: string | undefined;
  /** Share of the requests that begin a trace, 0 to 1; one that comes with a trace does as its caller does. @default 1 */
  readonly traceSamplingRatio: number;
  /** The one folder that sampled requests are written to, of models whose `logging_config` asks for it. @default undefined, none are */
  readonly requestLogDir: string | undefined;
  /** Folder of event files for TensorBoard. @default undefined, none are written */
  readonly tensorboardDir: string | undefined;
  /** How often they are written, in milliseconds. @default 30_000 */
  readonly tensorboardIntervalMs: number;
  /** Answers, in rows, that are compared with as many of a reference. @default 1000 */
  readonly driftWindowRows: number;
  /** Whose answers those of a version are compared with: its own first ones, or those of the version before it. @default 'first' */
  readonly driftReference: DriftReference;
  /** Where references are kept. @default undefined, in memory */
  readonly driftDir: string | undefined;
  /** How long after its prediction feedback is taken, in milliseconds. @default 604_800_000 (a week) */
  readonly feedbackTtlMs: number;
  /** What ids of predictions are signed with; made when it is not there. @default undefined, they end with the process */
  readonly feedbackKeyFile: string | undefined;
}

/** What an embedding application writes: everything has a default but the models. */
export type ServerOptions = { readonly [N in keyof ServerConfig]?: ServerConfig[N] | undefined };

type Environment = Readonly<Record<string, string | undefined>>;

function defaults(environment: Environment): ServerConfig {
  return {
    host: '0.0.0.0',
    grpcPort: 8500,
    restPort: 8501,
    grpcSocketPath: undefined,
    grpcChannelArguments: {},
    tls: undefined,
    adminAddress: undefined,
    authentication: {},
    changesOnPublicPort: false,
    allowedModelRoots: undefined,
    models: [],
    modelConfigFile: undefined,
    modelConfigPollMs: 0,
    allowsLabelsOfMissingVersions: false,
    modelsRoot: undefined,
    store: undefined,
    storePollMs: 60_000,
    storeCacheBytes: 20 * 2 ** 30,
    storeRedirectHosts: [],
    pollIntervalMs: 1000,
    restTimeoutMs: 30_000,
    corsAllowedOrigins: [],
    respondsWithTensorContent: false,
    backends: 'auto',
    variants: [],
    allowSoftwareAdapter: false,
    engineThreads: Math.max(1, availableParallelism() - 1),
    inlineRunsBelowMs: 0.1,
    engineWorkers: 1,
    maxEngineWorkers: 8,
    warmupIterations: 1,
    modelDefaults: {},
    loadThreads: Number.POSITIVE_INFINITY,
    unloadThreads: Number.POSITIVE_INFINITY,
    checksSignatureMethod: false,
    maxLoadRetries: Number.POSITIVE_INFINITY,
    firstLoadRetryMs: 1000,
    maxLoadRetryMs: 60_000,
    savedModelTags: undefined,
    cacheDir: join(environment['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'nearfar'),
    historyFile: undefined,
    historyUrl: undefined,
    trust: [],
    maxUploadBytes: 16 * 2 ** 30,
    maxInFlight: 512,
    maxInFlightPerClient: Number.POSITIVE_INFINITY,
    rateLimitPerClient: Number.POSITIVE_INFINITY,
    resultCacheBytes: 0,
    resultCacheTtlMs: 3_600_000,
    resultCacheRedis: undefined,
    redisTimeoutMs: 50,
    inputCacheBytes: 0,
    batching: 'off',
    hasVersionBatching: false,
    lameDuckMs: 250,
    gracePeriodMs: 20_000,
    site: undefined,
    logLevel: 'info',
    accessLog: false,
    metricsPaths: defaultMetricsPaths,
    otlpEndpoint: undefined,
    traceSamplingRatio: 1,
    requestLogDir: undefined,
    tensorboardDir: undefined,
    tensorboardIntervalMs: 30_000,
    driftWindowRows: 1000,
    driftReference: 'first',
    driftDir: undefined,
    feedbackTtlMs: 7 * 24 * 3_600_000,
    feedbackKeyFile: undefined,
  };
}

/**
 * Fills what is not given and freezes the result.
 * @throws {NearfarError} `invalid-argument` when nothing is to be served or two models have one name.
 */
export function resolveConfig(options: ServerOptions, environment: Environment = process.env): ServerConfig {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const config: ServerConfig = Object.freeze({ ...defaults(environment), ...given });
  assertNamesDiffer(config.models);
  for (const { name, logging } of config.models) resolveLogging(name, logging, config.requestLogDir);
  if (config.models.length === 0 && config.modelConfigFile === undefined && config.modelsRoot === undefined && !config.store) {
    throw new NearfarError(
      'invalid-argument',
      'nothing to serve: name a model (--model_name, --model_base_path), a --model_config_file or a folder of models (--models)',
    );
  }
  assertAuthentication(config);
  if (config.grpcPort === 'off' && config.grpcSocketPath === undefined && config.restPort === 'off') {
    throw new NearfarError(
      'invalid-argument',
      'nothing to listen on: gRPC needs a port (--port) or a socket (--grpc_socket_path), REST a port',
    );
  }
  return config;
}

/**
 * The configuration that a command line and an environment ask for; flags win over the environment.
 * `MODEL_NAME` and `MODEL_BASE_PATH` (the folder of all models) mean what they mean in TensorFlow Serving's container;
 * `PORT` is the HTTP port, `GRPC_PORT` the gRPC port and `NEARFAR_REDIS_URL` the Redis of `--result_cache_redis`.
 * @throws {NearfarError} `unsupported` for a flag that cannot be honoured; `invalid-argument`.
 */
export function parseConfig(argv: readonly string[], environment: Environment): { config: ServerConfig; warnings: readonly string[] } {
  const { values, warnings } = parseFlags(argv);
  const channel = parseChannelArguments(values.grpc_channel_arguments ?? '');
  const options = { ...toOptions(values, environment), grpcChannelArguments: channel.values };
  return { config: resolveConfig(options, environment), warnings: [...warnings, ...channel.warnings] };
}

function toOptions(flags: FlagValues, environment: Environment): ServerOptions {
  const retryMs = flags.load_retry_interval_micros === undefined ? undefined : flags.load_retry_interval_micros / 1000;
  return {
    host: flags.host,
    grpcPort: parsePort('port', flags.port ?? parsePortVariable('GRPC_PORT', environment)),
    restPort: parsePort('rest_api_port', flags.rest_api_port ?? parsePortVariable('PORT', environment)),
    adminAddress: flags.admin_address === undefined ? undefined : parseAddress('admin_address', flags.admin_address),
    grpcSocketPath: flags.grpc_socket_path ? resolve(flags.grpc_socket_path) : undefined,
    tls: flags.ssl_config_file ? readSslConfig(flags.ssl_config_file) : undefined,
    authentication: parseAuthentication(flags),
    changesOnPublicPort: flags.allow_changes_on_public_port,
    allowedModelRoots: flags.allowed_model_roots?.split(',').map((root) => resolve(root.trim())),
    ...parseModels(flags, environment),
    modelConfigPollMs: toMilliseconds(flags.model_config_file_poll_wait_seconds),
    allowsLabelsOfMissingVersions: flags.allow_version_labels_for_unavailable_models,
    modelsRoot: flags.models === undefined ? undefined : parseModelsRoot(flags.models),
    storePollMs: toMilliseconds(flags.store_poll_wait_seconds),
    storeCacheBytes: orDefault(flags.store_cache_bytes),
    storeRedirectHosts: flags.store_redirect_hosts?.split(',').map((host) => host.trim()),
    pollIntervalMs: toMilliseconds(flags.file_system_poll_wait_seconds),
    restTimeoutMs: flags.rest_api_timeout_in_ms,
    corsAllowedOrigins: flags.rest_api_enable_cors_support ? ['*'] : flags.cors_allowed_origins?.split(',').map((origin) => origin.trim()),
    respondsWithTensorContent: flags.enable_serialization_as_tensor_content,
    backends: flags.backend === undefined ? undefined : parseBackends(flags.backend),
    variants: flags.variant?.split(',').map((id) => id.trim()),
    allowSoftwareAdapter: flags.allow_software_adapter,
    engineWorkers: orDefault(flags.engine_workers),
    maxEngineWorkers: orDefault(flags.max_engine_workers),
    warmupIterations: flags.enable_model_warmup === false ? 0 : orDefault(flags.num_request_iterations_for_warmup),
    modelDefaults: parseModelDefaults(flags),
    engineThreads: parseEngineThreads(flags),
    inlineRunsBelowMs: flags.inline_runs_below_micros === undefined ? undefined : flags.inline_runs_below_micros / 1000,
    loadThreads: orDefault(flags.num_load_threads),
    unloadThreads: orDefault(flags.num_unload_threads),
    checksSignatureMethod: flags.enable_signature_method_name_check,
    maxLoadRetries: flags.max_num_load_retries,
    firstLoadRetryMs: retryMs === undefined ? undefined : Math.min(retryMs, 1000),
    maxLoadRetryMs: retryMs,
    savedModelTags: flags.saved_model_tags === undefined ? undefined : parseTags(flags.saved_model_tags),
    cacheDir: flags.cache_dir === undefined ? undefined : resolve(flags.cache_dir),
    historyUrl: parseHistoryUrl(flags.history_url ?? environment['NEARFAR_HISTORY_URL'] ?? ''),
    historyFile: parseStateFile(flags.history_file, 'history.sqlite', environment),
    trust: flags.trust?.split(',').map(readPublicKeyFile),
    maxUploadBytes: flags.max_upload_bytes,
    maxInFlight: orDefault(flags.max_inflight),
    maxInFlightPerClient: orDefault(flags.max_inflight_per_client),
    rateLimitPerClient: orDefault(flags.rate_limit_per_client),
    resultCacheBytes: flags.result_cache_bytes,
    resultCacheTtlMs: flags.result_cache_ttl_ms,
    redisTimeoutMs: orDefault(flags.result_cache_redis_timeout_ms),
    resultCacheRedis: parseRedisUrl(flags.result_cache_redis ?? environment['NEARFAR_REDIS_URL'] ?? ''),
    inputCacheBytes: flags.input_cache_bytes,
    batching: resolveBatching({
      isEnabled: flags.enable_batching ?? false,
      parametersFile: flags.batching_parameters_file || undefined,
      p99TargetMs: orDefault(flags.batching_p99_target_ms),
    }),
    hasVersionBatching: flags.enable_batching && flags.enable_per_model_batching_parameters,
    lameDuckMs: toMilliseconds(flags.lame_duck_seconds),
    gracePeriodMs: toMilliseconds(flags.shutdown_grace_period_seconds),
    logLevel: flags.log_level === undefined ? undefined : parseLogLevel(flags.log_level),
    accessLog: flags.access_log,
    metricsPaths: flags.monitoring_config_file === undefined ? undefined : readMonitoringConfig(flags.monitoring_config_file),
    otlpEndpoint: flags.otlp_endpoint || environment['OTEL_EXPORTER_OTLP_ENDPOINT'] || undefined,
    traceSamplingRatio: parseRatio(flags.trace_sampling_ratio ?? environment['OTEL_TRACES_SAMPLER_ARG']),
    requestLogDir: flags.request_log_dir === undefined ? undefined : resolve(flags.request_log_dir),
    tensorboardDir: flags.tensorboard_dir ? resolve(flags.tensorboard_dir) : undefined,
    tensorboardIntervalMs: toMilliseconds(orDefault(flags.tensorboard_interval_seconds)),
    driftWindowRows: orDefault(flags.drift_window_rows),
    driftReference: parseDriftReference(flags.drift_reference),
    driftDir: parseStateFile(flags.drift_dir, 'drift', environment),
    feedbackTtlMs: toMilliseconds(orDefault(flags.feedback_ttl_seconds)),
    feedbackKeyFile: parseStateFile(flags.feedback_key_file, 'feedback.key', environment),
  };
}

function parseAuthentication({ auth_config_file: file, api_keys_file: keys }: FlagValues): Authentication | undefined {
  const read = file ? readAuthentication(resolve(file)) : {};
  if (!keys) return read;
  if (read.apiKeysFile === undefined) return { ...read, apiKeysFile: resolve(keys) };
  throw new NearfarError('invalid-argument', '--api_keys_file and the apiKeysFile of --auth_config_file are the same: give one of them');
}

function parseModelsRoot(location: string): string {
  if (!isRemote(location)) return resolve(location);
  return resolveStoreLocation(location);
}

/** @throws {NearfarError} `invalid-argument`, without the URL: it may have a password. */
function parseHistoryUrl(url: string): string | undefined {
  if (url === '') return undefined;
  if (URL.canParse(url) && /^postgres(ql)?:$/.test(new URL(url).protocol)) return url;
  throw new NearfarError('invalid-argument', '--history_url expects postgres://user@host/database');
}

/** What outlives the server, in the user's state folder unless it is said where; an empty name keeps nothing. */
function parseStateFile(path: string | undefined, name: string, environment: Environment): string | undefined {
  const folder = join(environment['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'nearfar');
  return path === '' ? undefined : resolve(path ?? join(folder, name));
}

function parseDriftReference(text: string | undefined): DriftReference | undefined {
  if (text === undefined || text === 'first' || text === 'previous') return text;
  throw new NearfarError('invalid-argument', `--drift_reference expects first or previous; got ${text}`);
}

function readPublicKeyFile(path: string): string {
  let pem: string;
  try {
    pem = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new NearfarError('not-found', `--trust: cannot read ${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  readPublicKey(pem);
  return pem;
}

/** The models of the config file, else the one of `--model_name` and `--model_base_path`, else that of the container's environment. */
function parseModels(flags: FlagValues, environment: Environment): Pick<ServerOptions, 'models' | 'modelConfigFile'> {
  if (flags.model_config_file) {
    const file = resolve(flags.model_config_file);
    return { models: readModelConfigFile(file), modelConfigFile: file };
  }
  const name = flags.model_name ?? environment['MODEL_NAME'] ?? 'default';
  if (flags.model_base_path) return { models: [{ name, basePath: parseBasePath(name, flags.model_base_path) }] };
  const isNamed = environment['MODEL_NAME'] !== undefined || environment['MODEL_BASE_PATH'] !== undefined;
  if (isNamed && flags.models === undefined) {
    // The entry point of TensorFlow Serving's image: --model_base_path=${MODEL_BASE_PATH}/${MODEL_NAME}, from /models and model.
    const folder = flags.model_name ?? environment['MODEL_NAME'] ?? 'model';
    const root = parseBasePath(folder, environment['MODEL_BASE_PATH'] ?? '/models');
    return { models: [{ name: folder, basePath: isRemote(root) ? `${root}/${folder}` : join(root, folder) }] };
  }
  if (flags.model_name !== undefined) throw new NearfarError('invalid-argument', '--model_name needs --model_base_path');
  return { models: [] };
}

/** On the command line a path may start from the working directory, in a config file it may not. */
function parseBasePath(name: string, path: string): string {
  return resolveBasePath(name, /^[a-z][a-z0-9+.-]+:/i.test(path) ? path : resolve(path));
}

/** Threads of an engine are what TensorFlow Serving calls intra-op parallelism; operations of a graph run one after the other. */
function parseEngineThreads(flags: FlagValues): number | undefined {
  const session = orDefault(flags.tensorflow_session_parallelism);
  const intraOp = orDefault(flags.tensorflow_intra_op_parallelism);
  if (session !== undefined && intraOp !== undefined && orDefault(flags.tensorflow_inter_op_parallelism) !== undefined) {
    throw new NearfarError(
      'invalid-argument',
      'expected --tensorflow_session_parallelism, or --tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism; got all three',
    );
  }
  return intraOp ?? session;
}

/** Separated by commas; `serve` alone is the default, which also takes a graph without tags. */
function parseTags(text: string): readonly string[] | undefined {
  const tags = text.split(',').map((tag) => tag.trim());
  return tags.length === 1 && tags[0] === 'serve' ? undefined : tags.filter((tag) => tag !== '');
}

/** On the command line 0 switches a port off, as in TensorFlow Serving. */
function parsePort(flag: string, port: number | undefined): number | 'off' | undefined {
  if (port === undefined) return undefined;
  if (port < 0 || port > 65_535) throw new NearfarError('invalid-argument', `--${flag} expects a port from 0 to 65535, got ${port}`);
  return port === 0 ? 'off' : port;
}

/** `host:port`, `[::1]:port`. */
function parseAddress(flag: string, text: string): Address {
  const [, host, port] = /^(.+):(\d+)$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) {
    throw new NearfarError('invalid-argument', `--${flag} expects HOST:PORT, got ${text}`, { details: { flag, got: text } });
  }
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}

function parsePortVariable(name: string, environment: Environment): number | undefined {
  const text = environment[name];
  if (text === undefined || text === '') return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new NearfarError('invalid-argument', `${name} in the environment expects a port, got ${text}`, { details: { name, got: text } });
}

const backendIds: Readonly<Record<BackendId, true>> = {
  'tfjs-webgpu': true,
  'tfjs-wasm': true,
  'tfjs-cpu': true,
  'onnx-webgpu': true,
  'onnx-wasm': true,
  'onnx-cpu': true,
  'onnx-cuda': true,
  'onnx-tensorrt': true,
};

function parseBackends(text: string): readonly BackendId[] | 'auto' {
  if (text === 'auto') return 'auto';
  const isBackend = (name: string): name is BackendId => Object.hasOwn(backendIds, name);
  return text.split(',').map((name) => {
    if (isBackend(name)) return name;
    throw new NearfarError('invalid-argument', `--backend expects auto or one of ${Object.keys(backendIds).join(', ')}; got ${name}`);
  });
}

function parseModelDefaults(flags: FlagValues): Partial<ModelOptions> {
  return {
    ...(flags.resource_preserving && { transition: 'resource-preserving' }),
    ...(flags.refuse_signature_changes && { signatureChange: 'refuse' }),
    ...(flags.drift_monitor !== undefined && { driftSamplingRate: assertRatio('drift_monitor', flags.drift_monitor) }),
    ...(flags.feedback !== undefined && { feedback: flags.feedback }),
  };
}

function parseRedisUrl(text: string): string | undefined {
  if (text === '' || (/^rediss?:\/\//.test(text) && URL.canParse(text))) return text || undefined;
  // The text may hold a password.
  throw new NearfarError(
    'invalid-argument',
    '--result_cache_redis, or NEARFAR_REDIS_URL in the environment, expects redis://host:port/database or rediss://…',
  );
}

function parseLogLevel(text: string): LogLevel {
  const level = logLevels.find((candidate) => candidate === text);
  if (level) return level;
  throw new NearfarError('invalid-argument', `--log_level expects one of ${logLevels.join(', ')}; got ${text}`);
}

function parseRatio(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  return assertRatio('trace_sampling_ratio', Number(text));
}

function assertRatio(flag: string, ratio: number): number {
  if (ratio >= 0 && ratio <= 1) return ratio;
  throw new NearfarError('invalid-argument', `--${flag} expects a number from 0 to 1, got ${ratio}`);
}

/** Zero and less mean the default, as for TensorFlow Serving's thread counts. */
function orDefault(count: number | undefined): number | undefined {
  return count !== undefined && count > 0 ? count : undefined;
}

function toMilliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000;
}

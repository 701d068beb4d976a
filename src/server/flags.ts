import { NearfarError } from '../core/index.ts';

type Kind = 'string' | 'int' | 'float' | 'bool';

/** How a flag is treated. `refused` flags stop the start when set to another value than their default. */
type Flag = { readonly kind: Kind; readonly help: string } & (
  | { readonly treatment: 'honoured' | 'accepted' }
  | { readonly treatment: 'refused'; readonly whenNot: string; readonly reason: string }
);

/** @param help What it does here, in a line. */
const honoured = <K extends Kind>(kind: K, help: string) => ({ kind, treatment: 'honoured', help }) as const;
/** Taken without effect. @param help Why there is nothing to do. */
const accepted = (kind: Kind, help: string) => ({ kind, treatment: 'accepted', help }) as const;
/** @param reason Why it cannot be honoured when set to another value than its default. */
const refused = (kind: Kind, whenNot: string, reason: string) => ({ kind, treatment: 'refused', whenNot, reason, help: reason }) as const;

const noTensorFlowLite = 'there is no TensorFlow Lite engine';
const noXla = 'graphs are not compiled by XLA';

/** The flags of tensorflow_model_server; docs/serving-flags.md has a row for each. */
const theirFlags = {
  port: honoured('int', 'gRPC port (8500; 0 is off)'),
  rest_api_port: honoured('int', 'HTTP port (8501; 0 is off)'),
  grpc_socket_path: honoured('string', 'Unix socket that gRPC listens on too, without TLS'),
  grpc_channel_arguments: honoured('string', 'key=value,…: ages of connections, keepalive, limits of streams and messages'),
  ssl_config_file: honoured('string', 'TLS on all ports: SSLConfig in text form, with keys and certificates as PEM'),
  rest_api_timeout_in_ms: honoured('int', 'longest time a REST request may take (30000)'),
  rest_api_enable_cors_support: honoured('bool', 'pages of any origin may ask for predictions'),
  model_name: honoured('string', 'name of the one model (default)'),
  model_base_path: honoured('string', 'folder of the one model; its folders whose names are numbers are its versions'),
  model_config_file: honoured('string', 'serve the models of this ModelServerConfig in text form; wins over the two above'),
  model_config_file_poll_wait_seconds: honoured('int', 'look at that file again after so many seconds (0: on SIGHUP alone)'),
  allow_version_labels_for_unavailable_models: honoured('bool', 'a label may name a version that is not there yet'),
  file_system_poll_wait_seconds: honoured('int', 'pause between two looks for versions (1; 0 looks until all has settled, below 0 never)'),
  saved_model_tags: honoured('string', 'tags of the graph that is taken of a SavedModel, by commas (serve)'),
  max_num_load_retries: honoured('int', 'give a version up after so many retries (without end)'),
  load_retry_interval_micros: honoured('int', 'longest pause between two retries (60000000)'),
  num_load_threads: honoured('int', 'versions that load at the same time (0: any number)'),
  num_unload_threads: honoured('int', 'versions that unload at the same time (0: any number)'),
  enable_model_warmup: honoured('bool', 'run the recorded requests of a version before it is available (true)'),
  num_request_iterations_for_warmup: honoured('int', 'how often each of them runs (0: once)'),
  tensorflow_session_parallelism: honoured('int', 'threads of an engine (0: all cores but one)'),
  tensorflow_intra_op_parallelism: honoured('int', 'the same; wins over tensorflow_session_parallelism'),
  enable_batching: honoured('bool', 'join requests of one signature to batches'),
  batching_parameters_file: honoured('string', 'how: BatchingParameters in text form; needs --enable_batching'),
  enable_per_model_batching_parameters: honoured('bool', 'how, by the batching_params.pbtxt of each version'),
  monitoring_config_file: honoured('string', 'MonitoringConfig in text form: whether and at which path metrics are served'),
  enable_signature_method_name_check: honoured('bool', 'Classify and Regress refuse a signature that was exported for another method'),
  enable_serialization_as_tensor_content: honoured('bool', 'gRPC answers carry tensor_content instead of typed values'),
  version: honoured('bool', 'print the version and end'),

  tensorflow_inter_op_parallelism: honoured('int', 'without effect, an engine runs one operation of a graph at a time'),
  rest_api_num_threads: accepted('int', 'requests are taken on one thread; engines have their own'),
  grpc_max_threads: accepted('int', 'requests are taken on one thread; engines have their own'),
  tensorflow_session_config_file: accepted('string', 'there is no TensorFlow session to configure'),
  flush_filesystem_caches: accepted('bool', 'the caches of the file system are left to it'),
  remove_unused_fields_from_bundle_metagraph: accepted('bool', 'of a SavedModel only what is served is kept anyway'),
  num_tflite_pools: accepted('int', noTensorFlowLite),
  num_tflite_interpreters_per_pool: accepted('int', noTensorFlowLite),
  xla_cpu_compilation_enabled: accepted('bool', noXla),
  xla_gpu_compilation_enabled: accepted('bool', noXla),
  enable_profiler: accepted('bool', 'the profiler service answers UNIMPLEMENTED'),
  thread_pool_factory_config_file: accepted('string', 'there is no thread pool of TensorFlow to configure'),
  mixed_precision: accepted('string', 'the precision is chosen when a model is published'),
  skip_initialize_tpu: accepted('bool', 'there is no TPU'),
  enable_grpc_healthcheck_service: accepted('bool', 'grpc.health.v1 is always served'),

  use_alts_credentials: refused('bool', 'false', 'ALTS exists on Google Cloud only'),
  platform_config_file: refused('string', '', 'there are no TensorFlow platforms to configure'),
  per_process_gpu_memory_fraction: refused(
    'float',
    '0',
    'WebGPU and ONNX Runtime say neither how much memory a GPU has nor how much is theirs, so a share of it cannot be kept to',
  ),
  prefer_tflite_model: refused('bool', 'false', noTensorFlowLite),
} as const satisfies Record<string, Flag>;

/** Flags that tensorflow_model_server does not have. */
const ourFlags = {
  models: honoured('string', 'serve every model in this folder, or of this store: https://…, s3://bucket/prefix, gs://bucket/prefix'),
  store_poll_wait_seconds: honoured('float', 'pause between two questions to a store that is not on disk (60; 0 asks once)'),
  store_cache_bytes: honoured('int', 'largest size of what is kept of stores under --cache_dir (20 GiB)'),
  store_redirect_hosts: honoured('string', 'hosts that redirects of a store may lead to besides its own, by commas'),
  host: honoured('string', 'address to listen on (0.0.0.0)'),
  admin_address: honoured(
    'string',
    'HOST:PORT of its own for calls that change what is served, HTTP and gRPC (loopback on the other ports)',
  ),
  api_keys_file: honoured('string', 'callers need an API key of this file, which `nearfar keys` writes'),
  auth_config_file: honoured(
    'string',
    'how callers say who they are: API keys, tokens (JWT), login of the page (OIDC), client certificates',
  ),
  allow_changes_on_public_port: honoured('bool', 'with authentication, take calls that change what is served at every address'),
  allowed_model_roots: honoured(
    'string',
    'folders that models of calls may be in, by commas (any; with authentication those of --models and the config file)',
  ),
  backend: honoured('string', 'auto, or backends in the order to try: onnx-cpu, tfjs-wasm, tfjs-webgpu, onnx-webgpu, …'),
  variant: honoured('string', 'variants to try before the others of their version, by their ids and by commas, under each backend'),
  engine_workers: honoured('int', 'runs of one version side by side, each in an engine worker of its own (1)'),
  max_engine_workers: honoured('int', 'most engine workers; beyond, versions share them and wait for each other (8)'),
  resource_preserving: honoured('bool', 'unload the old version of a model before the new one loads'),
  refuse_signature_changes: honoured('bool', 'do not load a version that clients of the one before it cannot use'),
  allow_software_adapter: honoured('bool', 'take a GPU adapter that is made of software'),
  inline_runs_below_micros: honoured('int', 'runs of CPU models that take less are not sent to a thread (100; 0: all are)'),
  cors_allowed_origins: honoured('string', 'pages that may ask for predictions, by commas; * is any'),
  history_url: honoured(
    'string',
    'PostgreSQL database that holds the history in place of a file (postgres://…); or NEARFAR_HISTORY_URL, which other processes cannot see',
  ),
  history_file: honoured('string', 'SQLite file that says who changed what is served; empty: kept in memory alone'),
  cache_dir: honoured('string', 'where imported TensorFlow Serving versions, and what comes from stores, are kept'),
  trust: honoured('string', 'serve only versions signed by one of these public keys, PEM files by commas'),
  max_upload_bytes: honoured('int', 'most bytes of one version that is uploaded (17179869184; 0: no uploads)'),
  max_inflight: honoured('int', 'requests taken before more are refused as overloaded (512)'),
  max_inflight_per_client: honoured('int', 'of one client, before more are refused as rate-limited (no limit)'),
  rate_limit_per_client: honoured('int', 'requests a second of one client (no limit)'),
  result_cache_bytes: honoured('int', 'answers kept in memory and given again to equal requests (0, none)'),
  result_cache_redis: honoured(
    'string',
    'answers kept in Redis: redis://host:port/database (a password is safer in the environment, NEARFAR_REDIS_URL)',
  ),
  result_cache_redis_timeout_ms: honoured('int', 'how long a request waits for Redis before its answer is computed (50)'),
  result_cache_ttl_ms: honoured('int', 'how long (3600000)'),
  input_cache_bytes: honoured('int', 'decoded pictures kept in memory (0, none)'),
  batching_p99_target_ms: honoured('int', 'measure whether and how to batch, for this 99th percentile of the latency'),
  lame_duck_seconds: honoured('float', 'after SIGTERM requests are still taken for so long, while readiness is false (0.25)'),
  shutdown_grace_period_seconds: honoured('int', 'how long running requests may take after SIGTERM (20)'),
  log_level: honoured('string', 'fatal, error, warn, info, debug, trace, silent (info)'),
  access_log: honoured('bool', 'a line in the log for every request'),
  otlp_endpoint: honoured('string', 'where traces go, in OTLP over HTTP'),
  trace_sampling_ratio: honoured('string', 'share of the requests that are traced'),
  request_log_dir: honoured('string', 'folder under which models may log requests'),
  tensorboard_dir: honoured('string', 'folder of event files for TensorBoard, with what the server measures'),
  tensorboard_interval_seconds: honoured('int', 'how often that is written (30)'),
  drift_monitor: honoured('float', 'share of the answers, 0 to 1, that are looked at for drift (0)'),
  drift_window_rows: honoured('int', 'answers that are compared with as many of a reference (1000)'),
  drift_reference: honoured('string', 'first: the first answers of a version; previous: those of the version before it (first)'),
  drift_dir: honoured('string', 'where references are kept; empty: in memory alone'),
  feedback: honoured('bool', 'clients may ask for ids of predictions, to tell later what was right'),
  feedback_ttl_seconds: honoured('int', 'how long after its prediction feedback is taken (604800)'),
  feedback_key_file: honoured(
    'string',
    'what ids of predictions are signed with, made when it is not there; empty: they end with the process',
  ),
} as const satisfies Record<string, Flag>;

const flags = { ...theirFlags, ...ourFlags };

/** Every flag with what it does here; for the help, and for what checks that the documents are complete. */
export function describeFlags(): readonly { readonly name: string; readonly isOurs: boolean; readonly flag: Flag }[] {
  return Object.entries(flags).map(([name, flag]) => ({ name, isOurs: Object.hasOwn(ourFlags, name), flag }));
}

type Flags = typeof flags;
interface Kinds {
  readonly string: string;
  readonly int: number;
  readonly float: number;
  readonly bool: boolean;
}
type Honoured = { [N in keyof Flags]: Flags[N]['treatment'] extends 'honoured' ? N : never }[keyof Flags];

/** The honoured flags that were given, by name. */
export type FlagValues = { readonly [N in Honoured]?: Kinds[Flags[N]['kind']] };

/** The values of the honoured flags, and what the operator should be told about the others. */
export interface ParsedFlags {
  readonly values: FlagValues;
  readonly warnings: readonly string[];
}

/**
 * Reads `--name=value`, `--name value` and bare booleans; `-` in names may stand for `_`. An unknown flag becomes a warning,
 * as in TensorFlow Serving.
 * @throws {NearfarError} `unsupported` for a flag that cannot be honoured; `invalid-argument` for a value that cannot be read.
 */
export function parseFlags(argv: readonly string[]): ParsedFlags {
  const values: Record<string, string | number | boolean> = {};
  const warnings: string[] = [];
  const rest = [...argv];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    const { name, inline } = splitArgument(argument);
    const flag = findFlag(name);
    const isBool = flag?.kind === 'bool';
    const text = inline ?? takeValue(rest, isBool);
    if (!flag) {
      warnings.push(`unknown flag --${name} is ignored`);
      continue;
    }
    if (text === undefined && !isBool) throw new NearfarError('invalid-argument', `--${name} needs a value`, { details: { flag: name } });
    const value = parseValue(name, flag.kind, text ?? 'true');
    if (flag.treatment === 'refused' && String(value) !== flag.whenNot) {
      throw new NearfarError('unsupported', `--${name}=${value} cannot be honoured: ${flag.reason}`, { details: { flag: name } });
    }
    if (flag.treatment === 'accepted') warnings.push(`--${name} is accepted without effect: ${flag.help}`);
    if (flag.treatment === 'honoured') values[name] = value;
  }
  return { values, warnings };
}

function splitArgument(argument: string): { name: string; inline: string | undefined } {
  const [, dashed, inline] = /^--([^=]+)(?:=(.*))?$/s.exec(argument) ?? [];
  if (dashed === undefined) {
    throw new NearfarError('invalid-argument', `unexpected argument ${argument}: flags are written --name=value`, {
      details: { argument },
    });
  }
  return { name: dashed.replaceAll('-', '_'), inline };
}

function findFlag(name: string): Flag | undefined {
  return Object.hasOwn(flags, name) ? flags[name as keyof Flags] : undefined;
}

/** The next argument when it is a value; behind a boolean only what reads as one is. */
function takeValue(rest: string[], isBool: boolean): string | undefined {
  const next = rest[0];
  const isValue = next !== undefined && (isBool ? Object.hasOwn(booleans, next) : !next.startsWith('--'));
  return isValue ? rest.shift() : undefined;
}

const booleans: Readonly<Record<string, boolean>> = { true: true, '1': true, false: false, '0': false };

function parseValue(name: string, kind: Kind, text: string): string | number | boolean {
  const fail = (want: string): never => {
    throw new NearfarError('invalid-argument', `--${name} expects ${want}, got ${text}`, { details: { flag: name, want, got: text } });
  };
  switch (kind) {
    case 'string':
      return text;
    case 'int':
      return /^-?\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : fail('a whole number');
    case 'float':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : fail('a number');
    case 'bool':
      return (Object.hasOwn(booleans, text) ? booleans[text] : undefined) ?? fail('true or false');
  }
}

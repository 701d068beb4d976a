import { NearfarError } from '../core/index.ts';

/** How a flag is treated. `refused` flags stop the start when set to another value than their default. */
type Flag =
  | { readonly kind: 'string' | 'int' | 'bool'; readonly treatment: 'honoured' | 'accepted' }
  | { readonly kind: 'string' | 'int' | 'bool'; readonly treatment: 'refused'; readonly whenNot: string; readonly reason: string };

const honoured = <K extends Flag['kind']>(kind: K) => ({ kind, treatment: 'honoured' }) as const;
/** Taken without effect: what it tunes does not exist here. */
const accepted = (kind: Flag['kind']) => ({ kind, treatment: 'accepted' }) as const;
const refused = (kind: Flag['kind'], whenNot: string, reason: string) => ({ kind, treatment: 'refused', whenNot, reason }) as const;

/** The flags of tensorflow_model_server, then our own. */
const flags = {
  port: honoured('int'),
  rest_api_port: honoured('int'),
  rest_api_timeout_in_ms: honoured('int'),
  rest_api_enable_cors_support: honoured('bool'),
  model_name: honoured('string'),
  model_base_path: honoured('string'),
  file_system_poll_wait_seconds: honoured('int'),
  max_num_load_retries: honoured('int'),
  load_retry_interval_micros: honoured('int'),
  tensorflow_session_parallelism: honoured('int'),
  tensorflow_intra_op_parallelism: honoured('int'),
  enable_serialization_as_tensor_content: honoured('bool'),
  monitoring_config_file: honoured('string'),
  enable_batching: honoured('bool'),
  batching_parameters_file: honoured('string'),
  enable_per_model_batching_parameters: honoured('bool'),

  rest_api_num_threads: accepted('int'),
  grpc_max_threads: accepted('int'),
  num_load_threads: accepted('int'),
  num_unload_threads: accepted('int'),
  tensorflow_inter_op_parallelism: accepted('int'),
  tensorflow_session_config_file: accepted('string'),
  flush_filesystem_caches: accepted('bool'),
  remove_unused_fields_from_bundle_metagraph: accepted('bool'),
  num_tflite_pools: accepted('int'),
  num_tflite_interpreters_per_pool: accepted('int'),
  xla_cpu_compilation_enabled: accepted('bool'),
  xla_gpu_compilation_enabled: accepted('bool'),
  enable_profiler: accepted('bool'),
  thread_pool_factory_config_file: accepted('string'),
  mixed_precision: accepted('string'),
  skip_initialize_tpu: accepted('bool'),
  // grpc.health.v1 is always served.
  enable_grpc_healthcheck_service: accepted('bool'),
  // A label may always name a version that is still loading; it moves when that version is available.
  allow_version_labels_for_unavailable_models: accepted('bool'),

  model_config_file: refused(
    'string',
    '',
    'ModelServerConfig files are not read yet; name one model, or a folder of models with --models DIR',
  ),
  model_config_file_poll_wait_seconds: refused('int', '0', 'ModelServerConfig files are not read yet'),
  grpc_socket_path: refused('string', '', 'gRPC listens on a TCP port only'),
  grpc_channel_arguments: refused('string', '', 'gRPC channel arguments are not mapped yet'),
  ssl_config_file: refused('string', '', 'TLS is not there yet; put a proxy in front'),
  use_alts_credentials: refused('bool', 'false', 'ALTS exists on Google Cloud only'),
  platform_config_file: refused('string', '', 'there are no TensorFlow platforms to configure'),
  per_process_gpu_memory_fraction: refused('string', '0', 'a memory budget per GPU is not there yet'),
  saved_model_tags: refused('string', 'serve', 'SavedModels are read with the tag serve only'),
  enable_model_warmup: refused('bool', 'true', 'golden examples always run before a version is available'),
  num_request_iterations_for_warmup: refused('int', '0', 'recorded warm-up requests are not read yet'),
  prefer_tflite_model: refused('bool', 'false', 'there is no TensorFlow Lite engine'),
  enable_signature_method_name_check: refused('bool', 'false', 'method names of signatures are not checked yet'),

  host: honoured('string'),
  models: honoured('string'),
  backend: honoured('string'),
  allow_software_adapter: honoured('bool'),
  cors_allowed_origins: honoured('string'),
  cache_dir: honoured('string'),
  trust: honoured('string'),
  max_inflight: honoured('int'),
  max_inflight_per_client: honoured('int'),
  rate_limit_per_client: honoured('int'),
  result_cache_bytes: honoured('int'),
  result_cache_ttl_ms: honoured('int'),
  result_cache_redis: honoured('string'),
  input_cache_bytes: honoured('int'),
  batching_p99_target_ms: honoured('int'),
  shutdown_grace_period_seconds: honoured('int'),
  log_level: honoured('string'),
  access_log: honoured('bool'),
  otlp_endpoint: honoured('string'),
  trace_sampling_ratio: honoured('string'),
  request_log_dir: honoured('string'),
} as const satisfies Record<string, Flag>;

type Flags = typeof flags;
interface Kinds {
  readonly string: string;
  readonly int: number;
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
    if (flag.treatment === 'accepted') warnings.push(`--${name} is accepted without effect`);
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

/** The next argument when it is a value; behind a boolean only `true` and `false` are. */
function takeValue(rest: string[], isBool: boolean): string | undefined {
  const next = rest[0];
  const isValue = isBool ? next === 'true' || next === 'false' : next !== undefined && !next.startsWith('--');
  return isValue ? rest.shift() : undefined;
}

function parseValue(name: string, kind: Flag['kind'], text: string): string | number | boolean {
  const fail = (want: string): never => {
    throw new NearfarError('invalid-argument', `--${name} expects ${want}, got ${text}`, { details: { flag: name, want, got: text } });
  };
  switch (kind) {
    case 'string':
      return text;
    case 'int':
      return /^-?\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : fail('a whole number');
    case 'bool':
      return { true: true, '1': true, false: false, '0': false }[text] ?? fail('true or false');
  }
}

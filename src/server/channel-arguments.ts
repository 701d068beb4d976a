import { NearfarError } from '../core/index.ts';

/** Options of the gRPC server by their names in gRPC, in the units of gRPC. */
export type ChannelArguments = Readonly<Partial<Record<ChannelArgument, number>>>;

const known = [
  'grpc.max_connection_age_ms',
  'grpc.max_connection_age_grace_ms',
  'grpc.max_connection_idle_ms',
  'grpc.keepalive_time_ms',
  'grpc.keepalive_timeout_ms',
  'grpc.max_concurrent_streams',
  'grpc.max_receive_message_length',
  'grpc.max_send_message_length',
] as const;

type ChannelArgument = (typeof known)[number];

/** Those that may be -1, for no limit. */
const unlimited: ReadonlySet<ChannelArgument> = new Set(['grpc.max_receive_message_length', 'grpc.max_send_message_length']);

const maxInt32 = 2 ** 31 - 1;

/**
 * Reads `key=value,key=value`, as `--grpc_channel_arguments` has them.
 * @returns The arguments that the server has, and a warning for each that it has not.
 * @throws {NearfarError} `invalid-argument`.
 */
export function parseChannelArguments(text: string): { readonly values: ChannelArguments; readonly warnings: readonly string[] } {
  const values: Partial<Record<ChannelArgument, number>> = {};
  const warnings: string[] = [];
  for (const part of text.split(',').filter((argument) => argument.trim() !== '')) {
    const [, name = '', value = ''] = /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(part) ?? [];
    if (name === '') throw wrong(`expects key=value,key=value; got ${part}`);
    const argument = known.find((candidate) => candidate === name);
    if (argument) values[argument] = parseNumber(argument, value);
    else warnings.push(`--grpc_channel_arguments: ${name} is not known here and has no effect; these have one: ${known.join(', ')}`);
  }
  return { values, warnings };
}

function parseNumber(argument: ChannelArgument, text: string): number {
  if (text === '-1' && unlimited.has(argument)) return -1;
  if (/^\d+$/.test(text) && Number(text) <= maxInt32) return Number(text);
  throw wrong(`${argument} expects a whole number up to ${maxInt32}, got ${text}`);
}

function wrong(message: string): NearfarError {
  return new NearfarError('invalid-argument', `--grpc_channel_arguments: ${message}`);
}

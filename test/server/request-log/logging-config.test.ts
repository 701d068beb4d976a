import { expect, test } from 'vitest';
import { LoggingConfigSchema, parseTextMessage } from '../../../src/core/index.ts';
import { resolveLogging } from '../../../src/server/request-log/index.ts';

const resolve = (text: string, directory: string | undefined = '/var/log/nearfar') =>
  resolveLogging('m', parseTextMessage(LoggingConfigSchema, text), directory);

test('is off unless a model asks for it', () => {
  expect(resolveLogging('m', undefined, '/var/log/nearfar')).toBeUndefined();
  expect(resolve('sampling_config { sampling_rate: 1 }')).toBeUndefined();
});

test('writes below the folder of logs', () => {
  const logging = resolve('log_collector_config { type: "file" filename_prefix: "a/m" } sampling_config { sampling_rate: 0.1 }');

  expect(logging).toEqual({ prefix: '/var/log/nearfar/a/m', samplingRate: 0.1 });
});

test.each(['../m', 'a/../../m', '/etc/m', '/var/log/nearfar', '/var/log/nearfar-other/m', '', '.', 'a/', 'a\\0b'])(
  'refuses the prefix %j, which leaves that folder or names no file in it',
  (prefix) => {
    expect(() => resolve(`log_collector_config { filename_prefix: "${prefix}" }`)).toThrow(
      expect.objectContaining({
        code: 'invalid-argument',
        message: expect.stringContaining('filename_prefix is a path in /var/log/nearfar'),
      }),
    );
  },
);

test('refuses a rate that is no share, a collector that is not there, and logs without a folder', () => {
  const collector = 'log_collector_config { filename_prefix: "m" }';

  expect(() => resolve(`${collector} sampling_config { sampling_rate: 2 }`)).toThrow('sampling_rate is from 0 to 1, got 2');
  expect(() => resolve('log_collector_config { type: "sponge" }')).toThrow('Cannot find LogCollector::Factory for type: sponge');
  expect(() => resolveLogging('m', parseTextMessage(LoggingConfigSchema, collector), undefined)).toThrow('needs --request_log_dir');
});

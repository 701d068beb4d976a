import { describe, expect, test } from 'vitest';
import { parseConfig, resolveConfig } from '../../src/server/config.ts';

const parse = (argv: string[], environment: Record<string, string> = {}) => parseConfig(argv, environment);

describe('flags', () => {
  test('are written --name=value, --name value and bare for booleans', () => {
    const { config, warnings } = parse([
      '--port=9000',
      '--rest_api_port',
      '9001',
      '--model_name=m',
      '--model_base_path',
      '/models/m',
      '--rest_api_enable_cors_support',
      '--allow-software-adapter=true',
      '--enable_signature_method_name_check',
    ]);

    expect(config).toMatchObject({
      grpcPort: 9000,
      restPort: 9001,
      models: [{ name: 'm', basePath: '/models/m' }],
      corsAllowedOrigins: ['*'],
      allowSoftwareAdapter: true,
      checksSignatureMethod: true,
    });
    expect(warnings).toEqual([]);
  });

  test('have the defaults of TensorFlow Serving, but for the REST port and endless retries', () => {
    const { config } = parse(['--model_base_path=/models/m']);

    expect(config).toMatchObject({
      grpcPort: 8500,
      restPort: 8501,
      models: [{ name: 'default', basePath: '/models/m' }],
      pollIntervalMs: 1000,
      restTimeoutMs: 30_000,
      corsAllowedOrigins: [],
      backends: 'auto',
      maxLoadRetries: Number.POSITIVE_INFINITY,
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  test('switch a port off with 0', () => {
    expect(parse(['--models=/models', '--rest_api_port=0']).config.restPort).toBe('off');
  });

  test('that are unknown are named and the start goes on', () => {
    const { config, warnings } = parse(['--models=/models', '--no_such_flag=1', '--other_flag', 'value', '--port=1']);

    expect(warnings).toEqual(['unknown flag --no_such_flag is ignored', 'unknown flag --other_flag is ignored']);
    expect(config.grpcPort).toBe(1);
  });

  test('without effect here are named', () => {
    expect(parse(['--models=/models', '--grpc_max_threads=4']).warnings).toEqual(['--grpc_max_threads is accepted without effect']);
  });

  test.each(['--model_config_file=/m.config', '--ssl_config_file=/ssl.config', '--prefer_tflite_model=true'])(
    'that cannot be honoured end the start with the reason: %s',
    (flag) => {
      expect(() => parse(['--models=/models', flag])).toThrow(expect.objectContaining({ code: 'unsupported' }));
    },
  );

  test('that cannot be honoured may hold their default', () => {
    expect(parse(['--models=/models', '--ssl_config_file=', '--saved_model_tags=serve']).warnings).toEqual([]);
  });

  test.each([
    ['--port=http', /--port expects a whole number/],
    ['--port=70000', /from 0 to 65535/],
    ['--port', /--port needs a value/],
    ['--allow_software_adapter=maybe', /expects true or false/],
    ['--backend=tfjs-webgl', /--backend expects auto or one of/],
    ['--log_level=loud', /--log_level expects/],
    ['stray', /unexpected argument stray/],
  ])('with a value that cannot be read are refused: %s', (flag, message) => {
    expect(() => parse(['--models=/models', flag])).toThrow(message);
  });

  test('name one backend or several, in order', () => {
    expect(parse(['--models=/m', '--backend=tfjs-webgpu,onnx-cpu']).config.backends).toEqual(['tfjs-webgpu', 'onnx-cpu']);
  });

  test('name a base path on disk only', () => {
    expect(() => parse(['--model_base_path=s3://bucket/m'])).toThrow(expect.objectContaining({ code: 'unsupported' }));
    expect(parse(['--model_base_path=file:///models/m']).config.models[0]?.basePath).toBe('/models/m');
  });
});

describe('environment', () => {
  test('names the model as in the container of TensorFlow Serving', () => {
    expect(parse([], { MODEL_NAME: 'resnet' }).config.models).toEqual([{ name: 'resnet', basePath: '/models/resnet' }]);
    expect(parse([], { MODEL_NAME: 'resnet', MODEL_BASE_PATH: '/data' }).config.models).toEqual([
      { name: 'resnet', basePath: '/data/resnet' },
    ]);
  });

  test('gives way to flags', () => {
    const environment = { MODEL_NAME: 'resnet', PORT: '80', GRPC_PORT: '81' };

    const { config } = parse(['--model_base_path=/elsewhere', '--rest_api_port=8080'], environment);

    expect(config).toMatchObject({ models: [{ name: 'resnet', basePath: '/elsewhere' }], restPort: 8080, grpcPort: 81 });
  });
});

test('a server needs a model, and each name once', () => {
  expect(() => resolveConfig({})).toThrow(/nothing to serve/);
  const models = ['/a', '/b'].map((basePath) => ({ name: 'm', basePath }));
  expect(() => resolveConfig({ models })).toThrow(/two models are named m/);
});

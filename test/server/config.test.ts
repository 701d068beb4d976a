import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { writeModelConfigList } from '../../src/publish/model-config.ts';
import { parseConfig, resolveConfig } from '../../src/server/config.ts';
import { toModelConfig, toModelSource } from '../../src/server/model-config.ts';
import { openTempFolder } from '../support/model-folder.ts';

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
      variants: [],
      maxLoadRetries: Number.POSITIVE_INFINITY,
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  test('leave a Redis with a password to the environment', () => {
    const environment = { NEARFAR_REDIS_URL: 'rediss://:secret@redis:6379/0' };

    expect(parse(['--models=/m'], environment).config.resultCacheRedis).toBe('rediss://:secret@redis:6379/0');
    expect(parse(['--models=/m', '--result_cache_redis=redis://other:1'], environment).config.resultCacheRedis).toBe('redis://other:1');
    expect(parse(['--models=/m', '--result_cache_redis_timeout_ms=200']).config.redisTimeoutMs).toBe(200);
    expect(() => parse(['--models=/m'], { NEARFAR_REDIS_URL: 'http://:secret@redis' })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') }),
    );
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
    expect(parse(['--models=/models', '--grpc_max_threads=4']).warnings).toEqual([
      '--grpc_max_threads is accepted without effect: requests are taken on one thread; engines have their own',
    ]);
  });

  test.each(['--per_process_gpu_memory_fraction=0.5', '--use_alts_credentials', '--prefer_tflite_model=true'])(
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

  test('take 1 and 0 behind a boolean for its value', () => {
    const { config } = parse([
      '--models',
      '/m',
      '--enable_serialization_as_tensor_content',
      '0',
      '--allow_software_adapter',
      '1',
      '--port',
      '2',
    ]);

    expect(config).toMatchObject({ respondsWithTensorContent: false, allowSoftwareAdapter: true, grpcPort: 2 });
  });

  test('say threads of the engine in one way or the other', () => {
    expect(parse(['--models=/m', '--tensorflow_session_parallelism=3']).config.engineThreads).toBe(3);
    expect(parse(['--models=/m', '--tensorflow_intra_op_parallelism=2', '--tensorflow_inter_op_parallelism=5']).config.engineThreads).toBe(
      2,
    );
    const all = ['session', 'intra_op', 'inter_op'].map((kind) => `--tensorflow_${kind}_parallelism=1`);
    expect(() => parse(['--models=/m', ...all])).toThrow(/got all three/);
  });

  test('name one backend or several, and variants, in order', () => {
    expect(parse(['--models=/m', '--variant=onnx-float16, onnx-float32']).config.variants).toEqual(['onnx-float16', 'onnx-float32']);
    expect(parse(['--models=/m', '--backend=tfjs-webgpu,onnx-cpu']).config.backends).toEqual(['tfjs-webgpu', 'onnx-cpu']);
  });

  test('name a base path on disk or in a store', () => {
    const basePath = (text: string) => parse([`--model_base_path=${text}`]).config.models[0]?.basePath;

    expect(basePath('file:///models/m')).toBe('/models/m');
    expect(basePath('s3://bucket/m/')).toBe('s3://bucket/m');
    expect(basePath('gs://bucket/m?anonymous=true')).toBe('gs://bucket/m?anonymous=true');
    expect(basePath('https://Models.Example.com/a/../m/')).toBe('https://models.example.com/m');
    expect(parse(['--models=https://models.example.com/all/']).config.modelsRoot).toBe('https://models.example.com/all');
    expect(parse([], { MODEL_NAME: 'm', MODEL_BASE_PATH: 's3://bucket/all' }).config.models).toEqual([
      { name: 'm', basePath: 's3://bucket/all/m' },
    ]);
  });

  test.each([
    ['ftp://host/m', 'unsupported'],
    ['http://', 'invalid-argument'],
    ['https://host/m?version=1', 'invalid-argument'],
    ['https://host/a%2f..%2fm', 'invalid-argument'],
    ['https://name:secret@host/m', 'invalid-argument'],
  ])('refuse the store %s, and repeat no secret', (location, code) => {
    const refused = (flag: string) => {
      try {
        return parse([`--${flag}=${location}`]);
      } catch (error) {
        return error;
      }
    };

    for (const flag of ['models', 'model_base_path']) {
      expect(refused(flag)).toMatchObject({ code });
      expect(JSON.stringify(refused(flag)) + String(refused(flag))).not.toContain('secret');
    }
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

describe('a model config file', () => {
  const file = async (text: string) => {
    const folder = await openTempFolder();
    const path = join(folder.path, 'models.config');
    await writeFile(path, text);
    return { path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
  };
  const list = (...configs: string[]) => `model_config_list { ${configs.map((config) => `config { ${config} }`).join(' ')} }`;

  test('names models with policies, labels and our own options, and wins over the flags of a single model', async () => {
    await using written = await file(`
      # Two of them.
      model_config_list: {
        config: { name: "a", base_path: "/models/a", model_platform: "tensorflow"
          model_version_policy { specific { versions: 3 versions: 9007199254740993 } }
          version_labels { key: "stable" value: 3 } version_labels { key: "canary" value: 9007199254740993 } },
        config: { name: "b", base_path: "file:///models/b", model_platform: "onnx", model_version_policy: { latest: { num_versions: 2 } }
          nearfar { transition: RESOURCE_PRESERVING signature_change: REFUSE result_cache_ttl_ms: 0 batching_off {} } },
        config { name: "c" base_path: "/models/c" model_type: TENSORFLOW model_version_policy < all <> > }
      }`);

    const { config } = parse([
      `--model_config_file=${written.path}`,
      '--model_config_file_poll_wait_seconds',
      '2',
      '--model_base_path=/other',
    ]);

    expect(config).toMatchObject({ modelConfigFile: written.path, modelConfigPollMs: 2000 });
    expect(config.models).toMatchObject([
      {
        name: 'a',
        basePath: '/models/a',
        policy: { kind: 'specific', versions: ['3', '9007199254740993'] },
        labels: { stable: '3', canary: '9007199254740993' },
      },
      {
        name: 'b',
        basePath: '/models/b',
        platform: 'onnx',
        policy: { kind: 'latest', count: 2 },
        options: { transition: 'resource-preserving', signatureChange: 'refuse', resultCacheTtlMs: 0, batching: 'off' },
      },
      { name: 'c', platform: 'tensorflow', policy: { kind: 'all' } },
    ]);
    expect(config.models).toHaveLength(3);
    expect(config.models.map(toModelConfig).map(toModelSource)).toEqual(config.models.map((source) => ({ labels: {}, ...source })));
  });

  test('may be empty: models come later', async () => {
    await using written = await file('# nothing yet');

    expect(parse([`--model_config_file=${written.path}`]).config.models).toEqual([]);
  });

  test('as nearfar config writes it is read', async () => {
    const names = ['plain', 'with "quotes" and \\', 'größer'];
    await using written = await file(
      writeModelConfigList(names.map((name) => ({ name: name.replace(/[\\]/g, ''), basePath: `/models/${name}`, platform: 'onnx' }))),
    );

    const { models } = parse([`--model_config_file=${written.path}`]).config;

    expect(models.map(({ basePath, platform }) => ({ basePath, platform }))).toEqual(
      names.map((name) => ({ basePath: `/models/${name}`, platform: 'onnx' })),
    );
  });

  const a = 'name: "a" base_path: "/a" model_platform: "tensorflow"';
  test.each([
    [
      'improperly formatted file',
      /Error parsing text-format tensorflow.serving.ModelServerConfig: .*models.config: 1:12: Message type .* has no field named "improperly"/,
    ],
    [
      'model_config_list {\n  config {\n    nmae: "a"\n  }\n}',
      /models.config: 3:9: Message type "tensorflow.serving.ModelConfig" has no field named "nmae"/,
    ],
    [list(a, a), /Illegal to list model a multiple times in config list/],
    [
      list('name: "a" base_path: "models/a" model_platform: "tensorflow"'),
      /Expected model a to have an absolute path or URI; got base_path\(\)=models\/a/,
    ],
    [list('name: "a" base_path: "/a" model_platform: "caffe"'), /Model a requests unsupported platform caffe/],
    [list('name: "a" base_path: "/a"'), /Illegal setting neither ModelServerConfig::model_type/],
    [list(`${a} model_type: TENSORFLOW`), /Illegal setting both ModelServerConfig::model_type/],
    [list('name: "a" base_path: "/a" model_type: OTHER'), /model_type choice 2 not supported/],
    [list('name: "../a" base_path: "/a" model_platform: "onnx"'), /no slash, got "..\/a"/],
    [list('name: "a" base_path: "hdfs://host/a" model_platform: "onnx"'), /got hdfs:/],
    ['custom_model_config { [type.googleapis.com/x] {} }', /Any written out/],
    ['custom_model_config {}', /Only ModelConfigList is currently supported/],
  ])('that is wrong is refused in the words of TensorFlow Serving: %s', async (text, message) => {
    await using written = await file(text);

    expect(() => parse([`--model_config_file=${written.path}`])).toThrow(message);
  });

  test('that is not there is named', () => {
    expect(() => parse(['--model_config_file=/no/such.config'])).toThrow('/no/such.config; No such file or directory');
  });
});

test('a server needs a model, and each name once', () => {
  expect(() => resolveConfig({})).toThrow(/nothing to serve/);
  const models = ['/a', '/b'].map((basePath) => ({ name: 'm', basePath }));
  expect(() => resolveConfig({ models })).toThrow('Illegal to list model m multiple times in config list');
});
